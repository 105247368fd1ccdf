//! The real binary and the metadata services of four clouds at their own address, in a network of its own: what it asks, what it makes of the
//! answers, and that nothing of them is told. Needs root.

mod kept;
mod strangers;
mod user_data;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::metadata::aws::{Aws, Tokens};
use tests::metadata::azure::{Azure, Identities};
use tests::metadata::digitalocean::Digitalocean;
use tests::metadata::gcp::Gcp;
use tests::metadata::{Asked, Manner, Metadata, Service};
use tests::namespace::{alone, lay_over};
use tests::node::Node;
use user_data::{MARK, base64, elsewhere, forms_of_mark, gzip, harmless, kubeconfig, packed, plain};

/// A check, its verdict and the kind of its reason.
type Wanted<'a> = (&'a str, &'a str, &'a str);

/// A host on a platform.
struct Case<'a> {
    name: &'a str,
    /// `ignition.platform.id=`.
    platform: &'a str,
    manner: Manner,
    /// `[posture] expect`.
    expect: &'a str,
    want: Vec<Wanted<'a>>,
}

fn case<'a>(name: &'a str, platform: &'a str, manner: Manner, want: &[Wanted<'a>]) -> Case<'a> {
    Case { name, platform, manner, expect: "", want: want.to_vec() }
}

fn http(service: impl Service + 'static) -> Manner {
    Manner::Http(Box::new(service))
}

/// The verb's text on stdout; what it wrote to stderr is looked through too.
async fn told(node: &Node, arguments: &[&str]) -> Result<String> {
    let output = node.command(arguments)?.output().await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    holds_no_mark(&format!("{arguments:?}"), &format!("{out}{err}"))?;
    ensure!(!out.is_empty(), "{arguments:?} says nothing: {err}");
    Ok(out.into_owned())
}

fn holds_no_mark(what: &str, text: &str) -> Result<()> {
    for form in forms_of_mark() {
        ensure!(!text.contains(&form), "{what} tells what the service said ({form}): {text}");
    }
    Ok(())
}

fn finding<'a>(report: &'a Value, check: &str) -> Result<&'a Value> {
    let findings = report["findings"].as_array().context("findings")?;
    findings.iter().find(|finding| finding["check"] == check).with_context(|| format!("no {check}"))
}

/// A host that booted with this kernel command line.
fn boots_with(node: &Node, line: &str) -> Result<()> {
    let file = node.path("cmdline");
    std::fs::write(&file, format!("BOOT_IMAGE=/vmlinuz root=LABEL=root {line} quiet\n"))?;
    lay_over(&file, Path::new("/proc/cmdline"))
}

/// Judges a host, compares, and looks for the mark in everything that the binary says of it. What it asked is returned.
fn judge(case: Case<'_>) -> Result<Vec<Asked>> {
    let name = case.name;
    let judged = alone(async move || {
        let node = Node::new("node-a")?;
        node.configure(case.expect)?;
        boots_with(&node, &format!("ignition.platform.id={}", case.platform))?;
        // As far as EC2's default lets an answer go.
        let service = Metadata::start(case.manner, 1).await?;
        let report: Value = serde_json::from_str(&told(&node, &["check", "--json"]).await?)?;
        for (check, verdict, kind) in case.want {
            let finding = finding(&report, check)?;
            let got = (finding["verdict"].as_str(), finding["reason"]["kind"].as_str());
            ensure!(got == (Some(verdict), Some(kind)), "{check}: {got:?}, not {verdict} {kind}: {finding}");
        }
        Ok(service.asked())
    });
    judged.with_context(|| name.to_owned())
}

fn aws(tokens: Tokens, user_data: Option<Vec<u8>>, role: Option<&str>) -> Manner {
    http(Aws { tokens, user_data, role: role.map(str::to_owned), session: format!("AQAEA{MARK}==") })
}

#[test]
fn aws_is_judged_as_it_is() -> Result<()> {
    let stored = ("metadata-aws", "pass", "stored");
    let none = ("metadata-aws", "pass", "none");
    let open = ("metadata-session-required", "fail", "open");
    let required = ("metadata-session-required", "pass", "required");
    let no_account = ("account-aws", "pass", "none");
    let role = format!("{MARK}-role");
    let cases = [
        case("a worker of Typhoon's", "aws", aws(Tokens::Optional, Some(plain()), None), &[stored, open, no_account]),
        case("IMDSv2", "aws", aws(Tokens::Required, Some(packed()), None), &[stored, required, no_account]),
        case(
            "all of it gzip",
            "aws",
            aws(Tokens::Required, Some(gzip(&plain())), None),
            &[stored, required, no_account],
        ),
        case("no user data", "aws", aws(Tokens::Required, None, None), &[none, required, no_account]),
        case("harmless", "aws", aws(Tokens::Optional, Some(harmless()), None), &[none, open, no_account]),
        case(
            "a role",
            "aws",
            aws(Tokens::Required, Some(harmless()), Some(&role)),
            &[("account-aws", "fail", "offered")],
        ),
        case(
            "a config elsewhere",
            "aws",
            aws(Tokens::Required, Some(elsewhere()), None),
            &[("metadata-aws", "unknown", "in-parts"), required],
        ),
        case(
            "a broken gzip",
            "aws",
            aws(Tokens::Required, Some(gzip(&plain())[..40].to_vec()), None),
            &[("metadata-aws", "unknown", "not-readable"), no_account],
        ),
        case(
            "turned off",
            "aws",
            aws(Tokens::Disabled, Some(plain()), Some(&role)),
            &[
                ("metadata-aws", "unknown", "another-answer"),
                ("metadata-session-required", "unknown", "another-answer"),
                ("account-aws", "unknown", "another-answer"),
            ],
        ),
        Case {
            name: "declared to have none",
            platform: "aws",
            manner: aws(Tokens::Optional, Some(packed()), None),
            expect: "[posture]\nexpect = { metadata-aws = \"none\" }\n",
            want: vec![("metadata-aws", "fail", "stored"), open],
        },
    ];
    for case in cases {
        let (name, asked) = (case.name, judge(case)?);
        let paths: Vec<(&str, &str)> = asked.iter().map(|asked| (asked.method.as_str(), asked.path.as_str())).collect();
        let want = [
            ("PUT", "/latest/api/token"),
            ("GET", "/latest/meta-data/"),
            ("GET", "/latest/user-data"),
            ("GET", "/latest/meta-data/iam/security-credentials/"),
        ];
        ensure!(paths == want, "{name}: the role's own credentials are asked for by nobody: {paths:?}");
        let with_session: Vec<bool> =
            asked.iter().map(|asked| asked.header("x-aws-ec2-metadata-token").is_some()).collect();
        let given = name != "turned off";
        ensure!(with_session == [false, false, given, given], "{name}: {with_session:?}");
    }
    Ok(())
}

#[test]
fn azure_is_judged_as_it_is() -> Result<()> {
    let azure = |user_data: &[u8], identities| http(Azure { user_data: base64(user_data), identities });
    let token = || Identities::One(format!("{MARK}-access-token"));
    let no_account = ("account-azure", "pass", "none");
    let cases = [
        case(
            "a worker",
            "azure",
            azure(&packed(), Identities::None),
            &[("metadata-azure", "pass", "stored"), no_account],
        ),
        case("a controller", "azure", azure(b"", Identities::None), &[("metadata-azure", "pass", "none"), no_account]),
        case("an identity", "azure", azure(&harmless(), token()), &[("account-azure", "fail", "offered")]),
        case(
            "several identities",
            "azure",
            azure(&harmless(), Identities::Several),
            &[("metadata-azure", "pass", "none"), ("account-azure", "unknown", "another-answer")],
        ),
        case(
            "no base64",
            "azure",
            http(Azure { user_data: plain(), identities: Identities::None }),
            &[("metadata-azure", "unknown", "not-readable"), no_account],
        ),
    ];
    for case in cases {
        let (name, asked) = (case.name, judge(case)?);
        let places: Vec<&str> = asked.iter().map(Asked::place).collect();
        let want = ["/metadata/versions", "/metadata/instance/compute/userData", "/metadata/identity/oauth2/token"];
        ensure!(places == want, "{name}: {places:?}");
    }
    Ok(())
}

#[test]
fn google_cloud_is_judged_as_it_is() -> Result<()> {
    let gcp = |user_data: Option<Vec<u8>>, accounts: &[&str]| {
        http(Gcp { user_data, accounts: accounts.iter().map(|account| (*account).to_owned()).collect() })
    };
    let account = format!("{MARK}-compute@developer.gserviceaccount.com");
    let no_account = ("account-google-cloud", "pass", "none");
    let stored = ("metadata-google-cloud", "pass", "stored");
    let cases = [
        case("as the page has it", "gcp", gcp(Some(packed()), &[]), &[stored, no_account]),
        case("no user data", "gcp", gcp(None, &[]), &[("metadata-google-cloud", "pass", "none"), no_account]),
        case(
            "an account",
            "gcp",
            gcp(Some(plain()), &["default", &account]),
            &[stored, ("account-google-cloud", "fail", "offered")],
        ),
    ];
    for case in cases {
        let (name, asked) = (case.name, judge(case)?);
        let places: Vec<&str> = asked.iter().map(Asked::place).collect();
        let want = [
            "/computeMetadata/v1/instance/id",
            "/computeMetadata/v1/instance/attributes/user-data",
            "/computeMetadata/v1/instance/service-accounts/",
        ];
        ensure!(places == want, "{name}: an account's token is asked for by nobody: {places:?}");
    }
    Ok(())
}

#[test]
fn digitalocean_is_judged_as_it_is() -> Result<()> {
    let droplet = |user_data: Vec<u8>| http(Digitalocean { user_data });
    let none = ("metadata-digitalocean", "pass", "none");
    let stored = ("metadata-digitalocean", "fail", "stored");
    let no_account = ("account-digitalocean", "pass", "none-offered");
    // The token's own form, with the mark in it, has no letters beyond f; so the mark stands beside it.
    let api_token = format!("#!/bin/sh\n# {MARK}\nexport TOKEN=dop_v1_{}\n", "0123456789abcdef".repeat(4));
    let script = format!(
        "#!/bin/sh\ncat > /etc/{MARK} <<END\n-----BEGIN EC PRIVATE KEY-----\n{MARK}\n-----END EC PRIVATE KEY-----\nEND\n"
    );
    let cases = [
        case("as the page has it", "digitalocean", droplet(harmless()), &[none, no_account]),
        case("no user data", "digitalocean", droplet(Vec::new()), &[none, no_account]),
        case("the kubeconfig", "digitalocean", droplet(packed()), &[stored, no_account]),
        case("a script with the kubeconfig", "digitalocean", droplet(kubeconfig().into_bytes()), &[stored]),
        case("a script with a key", "digitalocean", droplet(script.into_bytes()), &[stored]),
        case("a file in a file", "digitalocean", droplet(gzip(&packed())), &[stored]),
        case(
            "a token of the account",
            "digitalocean",
            droplet(api_token.into_bytes()),
            &[none, ("account-digitalocean", "fail", "in-user-data")],
        ),
    ];
    for case in cases {
        let (name, asked) = (case.name, judge(case)?);
        let places: Vec<&str> = asked.iter().map(Asked::place).collect();
        ensure!(places == ["/metadata/v1/id", "/metadata/v1/user-data"], "{name}: {places:?}");
    }
    Ok(())
}

/// On bare metal, on a platform of which nothing is known, and where the kernel's command line names none.
#[test]
fn where_nobody_may_be_asked_nobody_is() -> Result<()> {
    let every = ["metadata-aws", "metadata-azure", "metadata-google-cloud", "metadata-digitalocean", "account-aws"];
    for (line, verdict, kind) in [
        ("ignition.platform.id=metal", "not-applicable", "another-platform"),
        ("flatcar.oem.id=pxe", "not-applicable", "another-platform"),
        ("ignition.platform.id=qemu", "not-applicable", "another-platform"),
        ("ignition.platform.id=AWS", "not-applicable", "another-platform"),
        ("xignition.platform.id=aws", "unknown", "no-platform"),
    ] {
        let judged = alone(async || {
            let node = Node::new("node-a")?;
            boots_with(&node, line)?;
            let service = Metadata::start(aws(Tokens::Optional, Some(plain()), Some("role")), 64).await?;
            let report: Value = serde_json::from_str(&told(&node, &["check", "--json"]).await?)?;
            for check in every {
                let finding = finding(&report, check)?;
                let got = (finding["verdict"].as_str(), finding["reason"]["kind"].as_str());
                ensure!(got == (Some(verdict), Some(kind)), "{check}: {finding}");
            }
            ensure!(service.connections() == 0, "{} connections: {:?}", service.connections(), service.asked());
            Ok(())
        });
        judged.with_context(|| line.to_owned())?;
    }
    Ok(())
}

/// An older Flatcar has another word on its command line.
#[test]
fn the_words_of_an_older_flatcar_are_known() -> Result<()> {
    for (line, check) in [
        ("flatcar.oem.id=ec2", "metadata-aws"),
        ("flatcar.oem.id=gce", "metadata-google-cloud"),
        ("flatcar.oem.id=azure", "metadata-azure"),
        ("flatcar.oem.id=digitalocean", "metadata-digitalocean"),
    ] {
        let judged = alone(async || {
            let node = Node::new("node-a")?;
            boots_with(&node, line)?;
            let manner = match check {
                "metadata-aws" => aws(Tokens::Required, None, None),
                "metadata-google-cloud" => http(Gcp { user_data: None, accounts: Vec::new() }),
                "metadata-azure" => http(Azure { user_data: Vec::new(), identities: Identities::None }),
                _ => http(Digitalocean { user_data: Vec::new() }),
            };
            let _service = Metadata::start(manner, 64).await?;
            let report: Value = serde_json::from_str(&told(&node, &["check", "--json"]).await?)?;
            let finding = finding(&report, check)?;
            ensure!(finding["verdict"] == "pass" && finding["reason"]["kind"] == "none", "{finding}");
            Ok(())
        });
        judged.with_context(|| line.to_owned())?;
    }
    Ok(())
}
