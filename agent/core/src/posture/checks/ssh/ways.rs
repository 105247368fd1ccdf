//! Every way in that is not sshd on port 22.

use super::probes::{BANNERS, Banners};
use crate::posture::boot::{self, Boot};
use crate::posture::units::{UNITS, Unit, Units, base_name};
use crate::posture::{Grade, Judged, Seen, Severity, Unseen};

/// What systemd has loaded. A list without the journal's own service is not one of a whole host.
pub(super) fn units(seen: &Seen<'_>) -> Result<Units, Unseen> {
    let item = seen.one(&UNITS)?;
    let units: Units = item.record()?;
    match units.get("systemd-journald.service") {
        Some(_) => Ok(units),
        None => Err(item.malformed("It is not the list of all loaded units: systemd-journald.service is not in it.")),
    }
}

fn is_getty(word: &str) -> bool {
    matches!(base_name(word), "agetty" | "getty" | "mingetty" | "login")
}

/// What of a command logs somebody in without asking.
fn logs_in(command: &[String]) -> Option<String> {
    let at = command.iter().take(2).position(|word| is_getty(word))?;
    let (program, arguments) = (base_name(command.get(at)?), command.get(at + 1..)?);
    arguments.iter().enumerate().find_map(|(index, word)| {
        let next = arguments.get(index + 1).map_or("", String::as_str);
        let found = match (program, word.as_str()) {
            ("login", "-f") => true,
            ("login", word) => word.starts_with("-f") && word.len() > 2,
            (_, "-a" | "--autologin" | "-n" | "--skip-login" | "-l" | "--login-program") => true,
            // What agetty passes to login: `-o '-f core'`, or in one word.
            (_, "-o" | "--login-options") => next.split_whitespace().any(|option| option == "-f"),
            (_, word) => {
                let long = ["--autologin=", "--login-program="].iter().any(|flag| word.starts_with(flag));
                let options = word
                    .strip_prefix("--login-options=")
                    .is_some_and(|o| o.split_whitespace().any(|option| option == "-f"));
                // `-acore`; `-a` is no letter of another option's value, because those are words of their own here.
                let short = word.starts_with("-a") && !word.starts_with("--");
                long || options || short
            }
        };
        found.then(|| format!("{program} {word} {next}").trim().to_owned())
    })
}

pub(super) fn autologin(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let units = units(seen)?;
    // Rescue and emergency mode are a check of their own.
    let consoles = units.units.iter().filter(|unit| !is_rescue(unit));
    let found: Vec<String> = consoles
        .filter_map(|unit| {
            Some(format!("{}: {}", unit.name, unit.commands.iter().find_map(|command| logs_in(command))?))
        })
        .collect();
    let judged = match found.first() {
        Some(first) => Judged::fail(
            "autologin",
            format!(
                "A console logs somebody in without asking ({first}): take out the drop-in, or the kernel argument whose generator made it, and \
                 restart the unit."
            ),
        ),
        None => Judged::pass(Grade::Configured, "none", "No console logs anybody in by itself."),
    };
    Ok(judged.facts("unit", &found))
}

fn is_rescue(unit: &Unit) -> bool {
    matches!(unit.name.as_str(), "emergency.service" | "rescue.service")
}

pub(super) fn rescue_shell(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let units = units(seen)?;
    let mut found = Vec::new();
    for unit in units.units.iter().filter(|unit| is_rescue(unit)) {
        if unit.environment.iter().any(|set| set == "SYSTEMD_SULOGIN_FORCE=1") {
            found.push(format!("{}: SYSTEMD_SULOGIN_FORCE=1", unit.name));
        }
        for command in &unit.commands {
            let forced = command.iter().any(|word| base_name(word) == "sulogin")
                && command.iter().any(|w| w == "--force" || w == "-e");
            let shell = command.first().is_some_and(|word| matches!(base_name(word), "sh" | "bash"));
            if forced || shell || logs_in(command).is_some() {
                found.push(format!("{}: {}", unit.name, command.join(" ")));
            }
        }
    }
    let judged = match found.first() {
        Some(first) => Judged::fail(
            "forced-shell",
            format!(
                "Rescue mode gives a root shell without a password to whoever reaches the console ({first}): take out what sets it."
            ),
        ),
        None => {
            Judged::pass(Grade::Configured, "asks", "Rescue and emergency mode give no shell while root is locked.")
        }
    };
    Ok(judged.facts("unit", &found))
}

/// Arguments of a boot that give a shell or start something else than the host.
fn shells(boot: &Boot) -> Vec<String> {
    const INITS: [&str; 4] = ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd"];
    let off = |value: &str| matches!(value, "0" | "no" | "false" | "off");
    let mut found = Vec::new();
    for (name, value) in boot.arguments() {
        let said = || if value.is_empty() { name.to_owned() } else { format!("{name}={value}") };
        match name.replace('-', "_").as_str() {
            "systemd.debug_shell"
            | "rd.systemd.debug_shell"
            | "rd.break"
            | "flatcar.autologin"
            | "coreos.autologin"
                if !off(value) =>
            {
                found.push(said());
            }
            "init" | "rdinit" if !INITS.contains(&value) => found.push(said()),
            "systemd.unit" | "rd.systemd.unit" if value.contains("rescue") || value.contains("emergency") => {
                found.push(said())
            }
            "systemd.run" => found.push("systemd.run".to_owned()),
            "single" | "s" | "S" | "1" | "rescue" | "emergency" | "_b" if value.is_empty() => found.push(said()),
            _ => {}
        }
    }
    found
}

pub(super) fn debug_shell(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let units = units(seen)?;
    let shell = units.get("debug-shell.service").filter(|unit| unit.is_up() || unit.is_enabled());
    let this = boot::this(seen)?;
    let now = shells(&this);
    let next = boot::next(seen)?;
    let next: Vec<(String, String)> =
        next.iter().flat_map(|boot| shells(boot).into_iter().map(|argument| (boot.source.clone(), argument))).collect();
    let judged = if let Some(unit) = shell {
        let how = if unit.is_up() { "runs" } else { "is enabled" };
        Judged::fail(
            "debug-shell",
            format!("debug-shell.service {how}: a root shell without a password on tty9. Disable and stop it."),
        )
    } else if let Some(argument) = now.first() {
        Judged::fail(
            "this-boot",
            format!("This boot was told {argument}, which gives a shell on the console: boot without it."),
        )
    } else if let Some((source, argument)) = next.first() {
        Judged::fail(
            "next-boot",
            format!("The next boot is told {argument} by {source}, which gives a shell on the console: take it out."),
        )
        .raised_to(Severity::High)
    } else {
        Judged::pass(Grade::Configured, "none", "There is no debug shell, and no boot is told to give one.")
    };
    let judged = judged.facts("this-boot", &now);
    Ok(next.iter().fold(judged, |judged, (source, argument)| judged.fact(source, argument)))
}

/// Services that give a shell, or run what somebody outside says: the beginning of a unit's name, and what it is.
const REMOTE: [(&str, &str); 21] = [
    ("cockpit.", "a login in the browser"),
    ("cockpit-", "a login in the browser"),
    ("telnet.", "logins in plain text"),
    ("telnetd.", "logins in plain text"),
    ("inetutils-", "logins in plain text"),
    ("rsh.", "logins without a password"),
    ("rlogin.", "logins without a password"),
    ("rexec.", "logins in plain text"),
    ("dropbear", "another SSH server"),
    ("tinyssh", "another SSH server"),
    ("teleport", "logins by its own authority"),
    ("tailscaled.", "logins by the tailnet, without a TCP port if SSH is on"),
    ("amazon-ssm-agent.", "commands and sessions from the AWS account"),
    ("snap.amazon-ssm-agent", "commands and sessions from the AWS account"),
    ("vmtoolsd.", "commands from the hypervisor"),
    ("open-vm-tools.", "commands from the hypervisor"),
    ("qemu-guest-agent.", "commands from the hypervisor"),
    ("waagent.", "commands and accounts from the Azure subscription"),
    ("walinuxagent.", "commands and accounts from the Azure subscription"),
    ("google-guest-agent.", "accounts and keys from the Google Cloud project"),
    ("xrdp", "a login at a screen"),
];

pub(super) fn other_services(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let units = units(seen)?;
    let allowed: Vec<&str> = seen.allowed().collect();
    let mut found = Vec::new();
    for unit in units.units.iter().filter(|unit| unit.is_up() && !allowed.contains(&unit.name.as_str())) {
        if let Some((_, what)) = REMOTE.iter().find(|(beginning, _)| unit.name.starts_with(beginning)) {
            found.push(format!("{}: {what}", unit.name));
        }
    }
    let judged = match found.first() {
        Some(first) => Judged::fail(
            "another-service",
            format!(
                "A service lets people in beside SSH ({first}): stop and mask it, or allow the unit in [posture] expect."
            ),
        ),
        None => Judged::pass(Grade::Configured, "none", "No service that is known to let people in is up."),
    };
    Ok(judged.facts("unit", &found))
}

/// Units that run the host's sshd: one, or one for each connection, by TCP or by the sockets of systemd-ssh-generator.
fn is_own_sshd(name: &str) -> bool {
    matches!(name, "sshd.service" | "ssh.service" | "sshd@.service" | "ssh@.service")
        || ["sshd@", "ssh@", "sshd-vsock@", "sshd-unix-local@", "sshd-unix-export@"]
            .iter()
            .any(|beginning| name.starts_with(beginning))
}

pub(super) fn second_sshd(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let units = units(seen)?;
    let item = seen.one(&BANNERS)?;
    let banners: Banners = item.record()?;
    let allowed: Vec<&str> = seen.allowed().collect();
    let is_allowed = |port: u16| port == 22 || allowed.contains(&port.to_string().as_str());
    let running = units.units.iter().filter(|unit| unit.is_up() && unit.runs("sshd") && !is_own_sshd(&unit.name));
    let mut found: Vec<String> = running.map(|unit| unit.name.clone()).collect();
    let greeting = banners.tried.iter().filter(|banner| banner.ssh && !is_allowed(banner.port));
    found.extend(greeting.map(|banner| format!("{}:{} greets as SSH", banner.address, banner.port)));
    // A socket unit for sshd on another port starts it at the first connection only.
    for socket in
        units.units.iter().filter(|unit| unit.is_up() && matches!(unit.name.as_str(), "sshd.socket" | "ssh.socket"))
    {
        let ports = socket.listens.iter().filter_map(|listen| listen.rsplit(':').next()?.parse::<u16>().ok());
        found.extend(
            ports.filter(|port| !is_allowed(*port)).map(|port| format!("{} listens on port {port}", socket.name)),
        );
    }
    let judged = if let Some(first) = found.first() {
        Judged::fail(
            "second-sshd",
            format!(
                "There is another SSH server beside the one on port 22 ({first}): find out who started it, and stop it."
            ),
        )
    } else if banners.tried.iter().any(|banner| banner.ssh && banner.port == 22) {
        Judged::pass(Grade::ProvedByBehaviour, "one-sshd", "One sshd runs, on port 22.")
    } else {
        return Err(
            item.malformed("Nothing greeted as SSH on port 22, so the listeners were not tried as they should be.")
        );
    };
    Ok(judged.facts("server", &found).fact("listeners-tried", banners.tried.len().to_string()))
}

pub(super) fn vsock(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let units = units(seen)?;
    let up: Vec<&Unit> = units
        .units
        .iter()
        .filter(|unit| unit.is_up() && unit.name.starts_with("sshd-") && unit.name.ends_with(".socket"))
        .collect();
    let vsock: Vec<&str> = up
        .iter()
        .filter(|unit| unit.name.contains("vsock") || unit.listens.iter().any(|listen| listen.contains("vsock")))
        .map(|unit| unit.name.as_str())
        .collect();
    let judged = match vsock.first() {
        Some(name) => Judged::fail(
            "vsock",
            format!(
                "{name} lets the hypervisor's side reach sshd without any network: keys are still needed. Turn it off with the kernel argument \
                 systemd.ssh_auto=no, or mask the unit."
            ),
        ),
        None => Judged::pass(Grade::Configured, "none", "No AF_VSOCK listener for SSH."),
    };
    Ok(judged.facts("socket", up.iter().map(|unit| unit.name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logs_in_is_found() {
        for (command, want) in [
            ("/sbin/agetty -o '-p_--_\\u' --noclear - linux", None),
            ("/sbin/agetty --autologin core --noclear tty1", Some("agetty --autologin core")),
            ("/sbin/agetty -a core tty1", Some("agetty -a core")),
            ("/sbin/agetty -acore tty1", Some("agetty -acore tty1")),
            ("/sbin/agetty --autologin=core tty1", Some("agetty --autologin=core tty1")),
            ("-/sbin/agetty --noclear tty1", None),
            ("/sbin/agetty -l /bin/sh -n tty1", Some("agetty -l /bin/sh")),
            ("/bin/login -f root", Some("login -f root")),
            ("/bin/login -froot", Some("login -froot")),
            ("/bin/login root", None),
            ("/usr/bin/setsid /sbin/agetty -a core tty1", Some("agetty -a core")),
            ("/bin/cat -a", None),
        ] {
            let command: Vec<String> = command.split(' ').map(|word| word.replace('_', " ")).collect();
            assert_eq!(logs_in(&command).as_deref(), want, "{command:?}");
        }
        let options = ["/sbin/agetty", "-o", "-f core", "tty1"].map(str::to_owned);
        assert_eq!(logs_in(&options).as_deref(), Some("agetty -o -f core"));
    }
}
