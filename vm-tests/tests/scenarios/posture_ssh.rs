//! "Logins by SSH key only": what sshd's files say, what the running sshd does, passwords and keys.

use anyhow::{Context as _, Result, ensure};
use vm_tests::Vm;

use crate::posture::{Story, findings};

/// Makes the account `core`, as Fedora CoreOS has it, and allows the key that this test itself comes with: it is root's.
pub async fn make_a_login(vm: &Vm, config: &str) -> Result<()> {
    let print = "ssh-keygen -lf /root/.ssh/authorized_keys.d/ignition | cut -d ' ' -f 2";
    let print = vm.guest().get(print).await?;
    ensure!(print.starts_with("SHA256:"), "the fingerprint: {print}");
    let config = format!("{config}ssh-keys = \"{print}\"\n");
    vm.guest()
        .get(&format!(
            "set -e; useradd --create-home --shell /bin/bash core; ssh-keygen -q -t ed25519 -N '' -f /root/key; \
             install -d -m 700 -o core -g core /home/core/.ssh /home/core/.ssh/authorized_keys.d; \
             install -m 600 -o core -g core /root/key.pub /home/core/.ssh/authorized_keys.d/ignition; \
             restorecon -R /home/core; printf '{}' > /etc/eyewall/eyewall.toml.d/50-posture.toml",
            config.replace('\n', "\\n")
        ))
        .await?;
    Ok(())
}

const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-test.conf";
const UNIT: &str = "/etc/systemd/system/ssh.service.d";

/// Changes and undoes, one after the other.
pub async fn tell(story: &mut Story<'_>) -> Result<()> {
    story
        .change("a password for core", "echo core:secret | chpasswd", &[("accounts-passwords", "password-set")])
        .await?;
    story.undo("usermod --password '!' core", &["accounts-passwords"]).await?;
    // In a directory that is there, but in a file that was not.
    let key = "ssh-keygen -q -t ed25519 -N '' -f /root/other; cp /root/other.pub /root/.ssh/authorized_keys";
    story.change("a key in root's home", key, &[("ssh-keys", "root-key")]).await?;
    story.undo("rm /root/.ssh/authorized_keys", &["ssh-keys"]).await?;

    let files = [("ssh-settings", "password-authentication"), ("ssh-config-loaded", "changed-since")];
    let script = format!("echo 'PasswordAuthentication yes' > {DROP_IN}");
    story.change("PasswordAuthentication in a drop-in", &script, &files).await?;
    let offered = findings(story.vm).await?.remove("ssh-offered-methods").context("ssh-offered-methods")?;
    ensure!(offered["verdict"] == "pass", "the running sshd has not read it yet: {offered}");
    let offers = [("ssh-offered-methods", "password-offered")];
    story.change("... and sshd reloaded", "systemctl reload ssh", &offers).await?;

    // In the place of the other. UsePAM is on: keyboard-interactive asks for the password that way.
    let script = format!("echo 'KbdInteractiveAuthentication yes' > {DROP_IN}; systemctl reload ssh");
    let named = [("ssh-settings", "keyboard-interactive"), ("ssh-offered-methods", "keyboard-interactive-offered")];
    story.change("keyboard-interactive with UsePAM", &script, &named).await?;
    let script = format!("rm {DROP_IN}; systemctl reload ssh");
    story.undo(&script, &["ssh-settings", "ssh-config-loaded", "ssh-offered-methods"]).await?;

    let script = format!(
        "mkdir -p {UNIT}; printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/sshd -D -o PasswordAuthentication=yes\\n' > \
         {UNIT}/test.conf; systemctl daemon-reload; systemctl restart ssh"
    );
    let named = [("ssh-command-line", "options"), ("ssh-offered-methods", "password-offered")];
    story.change("-o on sshd's command line", &script, &named).await?;
    let settings = findings(story.vm).await?.remove("ssh-settings").context("ssh-settings")?;
    ensure!(settings["verdict"] == "pass", "the files say nothing of it: {settings}");
    let script = format!("rm -r {UNIT}; systemctl daemon-reload; systemctl restart ssh");
    story.undo(&script, &["ssh-command-line", "ssh-offered-methods"]).await
}
