use proptest::prelude::*;

use super::*;

/// Who has what: `name`, ` all` for any command, ` free` without a password.
fn granted(text: &str) -> (Vec<String>, bool) {
    let mut sudoers = Sudoers::default();
    let whole = sudoers.add("x", text).is_ok();
    let told = |grant: Grant| {
        let all = if grant.everything { " all" } else { "" };
        let free = if grant.without_password { " free" } else { "" };
        format!("{}{all}{free}", grant.who)
    };
    (sudoers.grants().into_iter().map(told).collect(), whole)
}

#[test]
fn rules_are_read_as_sudo_does() {
    for (name, text, want) in [
        ("plain", "root\tALL=(ALL) \tALL\n%wheel ALL=(ALL) ALL", &["%wheel all", "root all"][..]),
        ("group of a runas", "a ALL=(ALL:ALL) ALL\nb ALL=(:g) ALL\nc ALL=() /bin/x\n", &["a all", "b all", "c"]),
        (
            "numbers",
            "#1000 ALL=ALL\n%#10 ALL = ALL\n%:x ALL=ALL\n%:#7 ALL=ALL",
            &["#1000 all", "%#10 all", "%:#7 all", "%:x all"],
        ),
        ("a user like a command", "list ALL=ALL", &["list all"]),
        ("netgroup", "+ops ALL = /bin/x", &["+ops"]),
        ("a list", "a, b,\\\n c ALL, !h1 = NOPASSWD: /bin/x -y z, PASSWD: /bin/y", &["a free", "b free", "c free"]),
        ("tags hold on", "a ALL = NOPASSWD: /bin/x, ALL", &["a all free"]),
        ("and end", "a ALL = PASSWD: /bin/x : h2 = NOEXEC:SETENV: /bin/y", &["a"]),
        ("per host", "a h1 = /bin/x : h2 = NOPASSWD: ALL", &["a all free"]),
        ("options", "a ALL = (root) CWD=/srv TIMEOUT=10m NOPASSWD: /bin/x ! y", &["a free"]),
        ("digest", "a ALL = sha256:c0ffee, sha224:AA+/x== !/bin/x, sudoedit /etc/x, list", &["a"]),
        ("digest like a path", "a ALL = sha384:/AA /bin/x y", &["a"]),
        ("excepted", "a ALL = !/bin/x\n!b ALL = ALL\nc ALL = ALL, !/bin/su", &["c all"]),
        ("twice is not", "!!a ALL = !!/bin/x", &["a"]),
        (
            "aliases",
            "A ALL = C\nUser_Alias A = a, !B : B = !b, c\nCmnd_Alias C = /bin/x, D\nCmnd_Alias D = ALL",
            &["a all", "b all"],
        ),
        ("an alias of itself", "User_Alias A = A, a\nA ALL = ALL", &["a all"]),
        ("an alias of another kind", "Runas_Alias OP = root\nHost_Alias OP = h\nOP OP = (OP) ALL", &["OP all"]),
        ("everybody", "ALL ALL=(ALL) NOPASSWD:ALL", &["ALL all free"]),
        ("nobody is asked", "Defaults:a !authenticate\na ALL=/bin/x", &["a free"]),
        ("asked", "Defaults !!authenticate, !env_reset\na ALL=/bin/x", &["a"]),
        ("quotes", "\"j, d\" ALL=ALL\nj\\ e ALL=ALL", &["j e all", "j, d all"]),
        ("comments", "# a ALL=ALL\n#a ALL=ALL\na ALL=/bin/x # , ALL\n\n   # x", &["a"]),
        ("a comment does not go on", "# x \\\na ALL=ALL", &["a all"]),
        ("a rule goes on to a comment", "a ALL=/bin/x, \\\n /bin/y # x \\\nb ALL=ALL\n", &["a", "b all"]),
        ("signs of arguments", "a ALL=/bin/x a\\,ALL\\=b \\#c", &["a"]),
        (
            "settings",
            "Defaults env_keep += \"A B\", secure_path=/a:/b:/c\nDefaults@h,i lecture\nDefaults!/bin/x !syslog\nDefaults>root x=1\n\
             Defaults env_keep-=\"#1 C\"\nDefaults:a, b x\na ALL=/bin/x",
            &["a"],
        ),
    ] {
        let want: Vec<String> = want.iter().map(|who| (*who).to_owned()).collect();
        assert_eq!(granted(text), (want.clone(), true), "{name}");
        assert_eq!(granted(&keep(text)), (want, true), "{name}, as it is kept: {}", keep(text));
    }
}

#[test]
fn what_is_no_statement_is_a_fault_and_hides_none() {
    for text in [
        "x",
        "a ALL",
        "a ALL=",
        "a ALL=(ALL",
        "a ALL=ALL b ALL=ALL",
        "a ALL=bin",
        "a ALL=WHO:ALL",
        "a ALL=/bin/x ^a|b$",
        "a fe80::1=ALL",
        "a ALL=\"ALL",
        "User_Alias a = b",
        "User_Alias ALL = b",
        "Defaults",
        "Defaults x y ALL=ALL",
        "Defaults:",
        "Defaults x=",
        "@include",
        "@includ x",
        "@includedirx",
        "#1 x",
        "=",
        ":::",
        "}{][",
        "(not understood)",
    ] {
        assert_eq!(granted(&format!("{text}\nz ALL=ALL\n")), (vec!["z all".to_owned()], false), "{text}");
        assert_eq!(keep(text), "(not understood)\n", "{text}");
    }
    let many = "a ALL=ALL\n".repeat(MOST_STATEMENTS);
    assert!(granted(&many).1 && !granted(&(many + "b ALL=ALL\n")).1);
    assert!(!granted("").1 && !granted("a\0").1);
}

#[test]
fn includes_are_told() {
    let mut sudoers = Sudoers::default();
    let text = "#includedir /etc/sudoers.d\n@includedir /a/ \n@include \"b c\"\n#include d\\ e\n#includes nothing\n";
    for text in [text.to_owned(), keep(text)] {
        sudoers.includes.clear();
        sudoers.add("x", &text).expect("statements");
        assert_eq!(sudoers.includes, ["/etc/sudoers.d/", "/a/", "b c", "d e"]);
    }
}

#[test]
fn what_is_kept_has_no_arguments_comments_or_values() {
    let text = "Defaults:a  secure_path = \"/s\", !x # s\na h = (root) CWD=/w NOPASSWD: /bin/x -p s, sudoedit /s \\\n : ALL = D\n";
    assert_eq!(keep(text), "Defaults:a secure_path, !x\na h=(root)CWD=/w NOPASSWD:/bin/x,sudoedit:ALL=D\n");
}

proptest! {
    /// Whatever it is, it is read; and what is kept grants what the file grants.
    #[test]
    fn any_text_is_taken(
        any in "(?s:.{0,200})",
        words in proptest::collection::vec(
            "(a|ALL|B|=|=|,|:|!|\\(|\\)|#|#1|%g|\\\\\n|\n|\"| |/bin/x|NOPASSWD:|User_Alias|Cmnd_Alias|Defaults|CWD|sha256|x)",
            0..20,
        ),
        rule in "(a|B|!a|%g|#1)(, ?(a|B))? ALL ?= ?(\\(ALL\\) )?(NOPASSWD: )?!?(ALL|B|/bin/x( a)?)( ?[,:] ?(ALL|/bin/y b|h=ALL))?( #x)?",
    ) {
        for text in [any, words.join(" "), rule] {
            let kept = keep(&text);
            prop_assert_eq!(&keep(&kept), &kept, "{:?}", text);
            let (before, whole) = granted(&text);
            if whole {
                prop_assert_eq!(granted(&kept).0, before, "{:?} is kept as {:?}", text, kept);
            }
        }
    }
}
