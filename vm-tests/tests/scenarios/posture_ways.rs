//! Every other way in: a second sshd, another server behind port 22, a console that asks for nothing, a pod that listens.

use anyhow::{Context as _, Result, ensure};

use crate::posture::{Story, findings};

/// A pod's, as the kubelet names control groups with systemd's driver.
const POD: &str = "1f2e3d4c-0000-4000-8000-0123456789ab";

const GETTY: &str = "/etc/systemd/system/console-getty.service.d";

/// To 127.0.0.0/8 and from the test's own side port 22 stays what it is.
const DNAT: &str = "add table ip test; add chain ip test out { type nat hook output priority -100; }; \
                    add rule ip test out ip daddr 10.0.2.15 tcp dport 22 dnat to 10.0.2.15:2222";

/// Changes and undoes, one after the other.
pub async fn tell(story: &mut Story<'_>) -> Result<()> {
    // From a login, where no policy keeps sshd from another port than 22.
    let script = "ssh-keygen -q -t ed25519 -N '' -f /root/host; setsid -f systemd-run -q --scope --unit=second \
                  /usr/sbin/sshd -D -p 2222 -h /root/host </dev/null >/dev/null 2>&1";
    let named = [("second-sshd", "second-sshd"), ("listeners-expected", "listener")];
    story.change("a second sshd on port 2222", script, &named).await?;

    // Nothing tells an unprivileged listener of new rules: it is seen by asking, hourly or when somebody wants it.
    let script = format!("nft '{DNAT}'; {}", Story::ask());
    story.change("a DNAT on port 22, at the next probe", &script, &[("ssh-host-key", "another-server")]).await?;
    story.undo(&format!("nft delete table ip test; {}", Story::ask()), &["ssh-host-key"]).await?;
    story.undo("systemctl stop second.scope", &["second-sshd", "listeners-expected"]).await?;

    let script = format!(
        "mkdir -p {GETTY}; printf '[Service]\\nExecStart=\\nExecStart=-/sbin/agetty --autologin core --noclear - linux\\n' > \
         {GETTY}/autologin.conf; systemctl -q enable console-getty"
    );
    story.change("autologin on a getty", &script, &[("console-autologin", "autologin")]).await?;
    let script = format!("systemctl -q disable console-getty; rm -r {GETTY}; systemctl daemon-reload");
    story.undo(&script, &["console-autologin"]).await?;

    let (slice, container) = (POD.replace('-', "_"), "7".repeat(64));
    let script = format!(
        "setsid -f systemd-run -q --scope --slice=kubepods-besteffort-pod{slice}.slice --unit=cri-containerd-{container} \
         busybox nc -l -p 31337 </dev/null >/dev/null 2>&1"
    );
    story.change("a listener in a pod's cgroup", &script, &[("listeners-expected", "listener")]).await?;
    let finding = findings(story.vm).await?.remove("listeners-expected").context("listeners-expected")?;
    let facts = finding["facts"].to_string();
    ensure!(facts.contains("31337/tcp on ") && facts.contains(&format!(" by pod {POD}")), "whose it is: {facts}");
    // As a container ends: with its last process, and no job of systemd's tells of it.
    story.undo("kill $(pidof busybox)", &["listeners-expected"]).await
}
