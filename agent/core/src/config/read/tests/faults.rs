//! One table: each way to get a key wrong, and what is told of it.

use super::{read, source};

/// `line:column kind key`, for each fault of the one file.
fn told(text: &str) -> Vec<String> {
    match read(&[source("f.toml", text)]) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(|f| format!("{}:{} {} {}", f.line, f.column, f.kind, f.key)).collect(),
    }
}

#[test]
fn each_fault_has_its_place_its_kind_and_its_key() {
    let pinned = format!("quay.io/a/b:1@sha256:{}", "0".repeat(64));
    let one_unpinned = format!("[kubelet]\nrequire_digest = true\nimages = [\"{pinned}\", \"quay.io/a/b:1\"]");
    for (name, text, want) in [
        // Keys
        ("unknown table", "[nod]\n", &["1:2 unknown-key nod"][..]),
        ("key outside its table", "role = \"worker\"", &["1:1 unknown-key role"]),
        (
            "unknown in a list of tables",
            "[[posture.waive]]\ncheck = \"a\"\nwhy = \"b\"\nuntil = \"2027-01-01\"\nx = 1",
            &["5:1 unknown-key posture.waive[0].x"],
        ),
        (
            "missing in a list of tables",
            "[[posture.waive]]\nwhy = \"b\"",
            &["1:1 missing-key posture.waive[0].check", "1:1 missing-key posture.waive[0].until"],
        ),
        // Types
        ("table wanted", "node = 3", &["1:8 wrong-type node"]),
        ("list of tables", "[[node]]", &["1:1 wrong-type node"]),
        ("text wanted", "[node]\nname = 3", &["2:8 wrong-type node.name"]),
        ("boolean wanted", "[reboot]\nrollback = \"yes\"", &["2:12 wrong-type reboot.rollback"]),
        ("number wanted", "[certificates]\nkeep = 3.0", &["2:8 wrong-type certificates.keep"]),
        ("list wanted", "[kubelet]\nimages = \"quay.io/a/b:1\"", &["2:10 wrong-type kubelet.images"]),
        (
            "text in a list wanted",
            "[kubelet]\nextra_args = [1, \"--v=2\", true]",
            &["2:15 wrong-type kubelet.extra_args[0]", "2:27 wrong-type kubelet.extra_args[2]"],
        ),
        ("text in a map wanted", "[kubelet.labels]\na = 1", &["2:5 wrong-type kubelet.labels.a"]),
        (
            "a date is no text",
            "[[posture.waive]]\ncheck = \"a\"\nwhy = \"b\"\nuntil = 2027-01-01",
            &["4:9 wrong-type posture.waive[0].until"],
        ),
        // Values
        (
            "address",
            "[cluster]\ndns = [\"10.3.0.10/16\"]\ndomain = \"Cluster\"",
            &["2:8 bad-address cluster.dns[0]", "3:10 bad-name cluster.domain"],
        ),
        ("role", "[node]\nrole = \"master\"", &["2:8 unknown-word node.role"]),
        ("localhost", "[node]\nname = \"localhost\"", &["2:8 bad-node-name node.name"]),
        ("upper case", "[node]\nname = \"Node\"", &["2:8 bad-node-name node.name"]),
        ("relative path", "[socket]\npath = \"run/x.sock\"", &["2:8 bad-path socket.path"]),
        ("mount path", "[certificates]\ndirectory = \"/a:rw\"", &["2:13 bad-path certificates.directory"]),
        ("dotted path", "[certificates]\ndirectory = \"/a/../b\"", &["2:13 bad-path certificates.directory"]),
        ("root", "[certificates]\ndirectory = \"/\"", &["2:13 bad-path certificates.directory"]),
        ("one fraction", "[certificates]\nrenew_at = [0.5]", &["2:12 bad-fraction certificates.renew_at"]),
        ("fractions reversed", "[certificates]\nrenew_at = [0.7, 0.6]", &["2:12 bad-fraction certificates.renew_at"]),
        (
            "zero and nan",
            "[certificates]\nrenew_at = [0, nan]",
            &["2:13 bad-fraction certificates.renew_at[0]", "2:16 bad-fraction certificates.renew_at[1]"],
        ),
        ("huge", "[certificates]\nkeep = 99999999999999999999", &["2:8 out-of-range certificates.keep"]),
        ("no images", "[kubelet]\nimages = []", &["2:10 empty kubelet.images"]),
        ("unit", "[kubelet]\nunit = \"kubelet\"", &["2:8 bad-unit kubelet.unit"]),
        ("unit of nothing", "[kubelet]\nunit = \".service\"", &["2:8 bad-unit kubelet.unit"]),
        ("health", "[kubelet]\nhealth = \"127.0.0.1:10250\"", &["2:10 bad-url kubelet.health"]),
        (
            "label",
            "[kubelet.labels]\n\"node-role.kubernetes.io/worker\" = \"\"",
            &["2:36 bad-label kubelet.labels.\"node-role.kubernetes.io/worker\""],
        ),
        ("taint", "[kubelet]\ntaints = [\"a=b\"]", &["2:11 bad-taint kubelet.taints[0]"]),
        (
            "flag",
            "[kubelet]\nextra_args = [\"--v=2\", \"--rotate-certificates\"]",
            &["2:24 bad-argument kubelet.extra_args[1]"],
        ),
        ("interval too short", "[posture]\ninterval = \"1s\"", &["2:12 out-of-range posture.interval"]),
        ("duration", "[posture]\ninterval = \"ten\"", &["2:12 bad-duration posture.interval"]),
        ("check", "[posture.expect]\nSELinux = \"x\"", &["2:11 bad-check-id posture.expect.SELinux"]),
        (
            "day",
            "[[posture.waive]]\ncheck = \"a\"\nwhy = \" \"\nuntil = \"2027-02-29\"",
            &["3:7 empty posture.waive[0].why", "4:9 bad-date posture.waive[0].until"],
        ),
        (
            "time in a date",
            "[[posture.waive]]\ncheck = \"a\"\nwhy = \"b\"\nuntil = \"2027-01-01T00:00\"",
            &["4:9 bad-date posture.waive[0].until"],
        ),
        (
            "window",
            "[[reboot.windows]]\ndays = [\"Sat\", \"Caturday\"]\nstart = \"24:00\"\nlength = \"8d\"",
            &[
                "2:16 unknown-word reboot.windows[0].days[1]",
                "3:9 bad-window reboot.windows[0].start",
                "4:10 out-of-range reboot.windows[0].length",
            ],
        ),
        (
            "window without days",
            "[[reboot.windows]]\ndays = []\nstart = \"1:00\"\nlength = \"0s\"",
            &[
                "2:8 empty reboot.windows[0].days",
                "3:9 bad-window reboot.windows[0].start",
                "4:10 out-of-range reboot.windows[0].length",
            ],
        ),
        ("time zone", "[reboot]\ntime_zone = \"../../etc/passwd\"", &["2:13 bad-time-zone reboot.time_zone"]),
        ("group", "[reboot]\ngroup = \"A b\"", &["2:9 bad-name reboot.group"]),
        ("textfile", "[metrics]\ntextfile = \"/a/b.txt\"", &["2:12 bad-path metrics.textfile"]),
        // Together
        (
            "digest wanted of the default",
            "[kubelet]\nrequire_digest = true",
            &["2:18 image-without-digest kubelet.require_digest"],
        ),
        ("digest wanted", &one_unpinned, &["3:100 image-without-digest kubelet.images[1]"]),
        (
            "digest wanted of a bad image",
            "[kubelet]\nrequire_digest = true\nimages = [\"x\"]",
            &["3:11 bad-image kubelet.images[0]"],
        ),
        ("fleetlock without its server", "[reboot]\nlock = \"fleetlock\"", &["2:8 missing-key reboot.lock"]),
        (
            "fleetlock with a bad server",
            "[reboot]\nlock = \"fleetlock\"\nfleetlock_url = \"x\"",
            &["3:17 bad-url reboot.fleetlock_url"],
        ),
        (
            "a second owner",
            "[kubelet]\nextra_args = [\"--bootstrap-kubeconfig=/x\"]",
            &["2:15 bad-argument kubelet.extra_args[0]"],
        ),
        // Syntax
        ("no quotes", "[node]\nrole = worker\nos = \"x\"", &["2:8 syntax ", "3:6 unknown-word node.os"]),
        ("open quote", "[node]\nname = \"a\nrole = \"worker\"", &["2:10 syntax "]),
        ("twice", "[node]\nos = \"auto\"\nos = \"fcos\"", &["3:1 syntax "]),
        ("two broken lines", "[node]\nos = \nrole = \n", &["2:6 syntax ", "3:8 syntax "]),
        (
            "a broken header loses its keys only",
            "[kubelet\nimages = []\n[node]\nos = 1\n",
            &["1:9 syntax ", "4:6 wrong-type node.os"],
        ),
        ("not text at all", "\u{0}\u{1}", &["1:3 syntax "]),
    ] {
        assert_eq!(told(text), want, "{name}");
    }
}
