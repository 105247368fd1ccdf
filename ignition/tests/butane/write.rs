//! Writes the sources, for people: what is said is from the fragment, why is said here.

use std::fmt::Write as _;

use eyewall_ignition::{Os, Platform, Role};

use super::{SNIPPETS, Told, cases, fragment_of, variant};

pub(super) fn all() {
    let directory = cases::path("butane");
    std::fs::create_dir_all(&directory).unwrap();
    for os in [Os::Fcos, Os::Flatcar] {
        for role in [Role::Worker, Role::Controller] {
            let told = fragment_of(os, role, Platform::Azure);
            let head = format!(
                "# Eyewall on a {} {role}. `eyewall-ignition` prints the same; a test compares them.\n\
                 # Put the release's URL and SHA-512 in, and merge it over Typhoon's config: {role}_snippets = [...].\n\
                 # On AWS, DigitalOcean and bare metal add {os}-aws.yaml, {os}-digitalocean.yaml or {os}-metal.yaml after it.\n\
                 # Why each line of a unit is there stands in units/.\n",
                system(os),
            );
            std::fs::write(directory.join(format!("{os}-{role}.yaml")), yaml(os, &head, &told)).unwrap();
        }
        for platform in SNIPPETS {
            let base = fragment_of(os, Role::Worker, Platform::Azure);
            let told = difference(&base, fragment_of(os, Role::Worker, platform));
            let head = format!(
                "# What {platform} needs over {os}-worker.yaml or {os}-controller.yaml: merge it after that one.\n"
            );
            std::fs::write(directory.join(format!("{os}-{platform}.yaml")), yaml(os, &head, &told)).unwrap();
        }
    }
}

fn system(os: Os) -> &'static str {
    match os {
        Os::Fcos => "Fedora CoreOS",
        Os::Flatcar => "Flatcar",
        Os::Generic => "systemd",
    }
}

/// What `full` says and `base` does not.
fn difference(base: &Told, mut full: Told) -> Told {
    full.directories.retain(|path, mode| base.directories.get(path) != Some(mode));
    full.files.retain(|path, file| base.files.get(path) != Some(file));
    full.units.retain(|name, unit| base.units.get(name) != Some(unit));
    for (name, unit) in &mut full.units {
        let Some(base) = base.units.get(name) else {
            continue;
        };
        unit.contents.take_if(|contents| base.contents.as_ref() == Some(contents));
        unit.enabled.take_if(|enabled| base.enabled == Some(*enabled));
        unit.mask.take_if(|mask| base.mask == Some(*mask));
        unit.dropins.retain(|name, text| base.dropins.get(name) != Some(text));
    }
    full
}

fn yaml(os: Os, head: &str, told: &Told) -> String {
    let (variant, version) = variant(os);
    let mut out = format!("{head}variant: {variant}\nversion: {version}\n");
    if !told.directories.is_empty() || !told.files.is_empty() {
        out += "storage:\n";
    }
    if !told.directories.is_empty() {
        out += "  # What must be there before the agent's sandbox is made.\n  directories:\n";
    }
    for (path, mode) in &told.directories {
        let mode = mode.unwrap();
        writeln!(out, "    - path: {path}\n      mode: 0{mode:o}").unwrap();
    }
    if !told.files.is_empty() {
        out += "  files:\n";
    }
    for (path, file) in &told.files {
        out += &why(path);
        let mode = file.mode.unwrap();
        writeln!(out, "    - path: {path}\n      mode: 0{mode:o}\n      overwrite: true\n      contents:").unwrap();
        match &file.hash {
            Some(hash) => {
                writeln!(out, "        source: {}\n        verification:\n          hash: {hash}", file.content)
                    .unwrap()
            }
            None => out += &format!("        inline: {}", block(&file.content, 10)),
        }
    }
    if !told.units.is_empty() {
        out += "systemd:\n  units:\n";
    }
    for (name, unit) in &told.units {
        out += &why(name);
        writeln!(out, "    - name: {name}").unwrap();
        for (key, value) in [("enabled", unit.enabled), ("mask", unit.mask)] {
            if let Some(value) = value {
                writeln!(out, "      {key}: {value}").unwrap();
            }
        }
        if let Some(contents) = &unit.contents {
            out += &format!("      contents: {}", block(contents, 8));
        }
        if !unit.dropins.is_empty() {
            out += "      dropins:\n";
        }
        for (name, contents) in &unit.dropins {
            out += &format!("        - name: {name}\n          contents: {}", block(contents, 12));
        }
    }
    out
}

/// A literal block: the lines as they are, blank ones without blanks.
fn block(text: &str, indent: usize) -> String {
    assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text:?} is no simple block");
    let mut out = String::from("|\n");
    for line in text.lines() {
        if !line.is_empty() {
            write!(out, "{:indent$}{line}", "").unwrap();
        }
        out.push('\n');
    }
    out
}

fn why(name: &str) -> String {
    let why = match name {
        "/opt/bin/eyewall" => "The agent and the tool that asks it: one binary.",
        "/etc/eyewall/eyewall.toml" => "Only what differs from the defaults.",
        "/etc/systemd/logind.conf.d/inhibitors.conf" => {
            "The kubelet may hold a shutdown up for as long as its grace period."
        }
        "/etc/sysusers.d/eyewall.conf" => "Who may read the status.",
        "/etc/tmpfiles.d/eyewall.conf" => "The same directories at each boot, should one go.",
        "docker.service" => "As Typhoon has it: the runtime on Flatcar; never started beside podman on Fedora CoreOS.",
        "locksmithd.service" => "As Typhoon has it: it reboots without asking the cluster.",
        "eyewall-catalog.service" => "Teaches `journalctl -x` the agent's events.",
        "eyewall.service" => "The agent, in its sandbox.",
        "eyewall.socket" => "Where it is asked.",
        "kubelet.service" => "Takes the place of Typhoon's own kubelet.service.",
        "kubelet.path" => "The bootstrap kubeconfig is copied here later: this waits for it.",
        _ => return String::new(),
    };
    format!("    # {why}\n")
}
