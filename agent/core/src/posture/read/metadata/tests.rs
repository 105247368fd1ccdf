use proptest::prelude::*;

use super::*;

#[test]
fn the_platform_is_on_the_kernel_line() {
    for (line, want) in [
        ("ignition.platform.id=aws", Some(Platform::Aws)),
        ("flatcar.oem.id=ec2", Some(Platform::Aws)),
        ("ignition.platform.id=azure", Some(Platform::Azure)),
        ("flatcar.oem.id=gce", Some(Platform::Gcp)),
        ("ignition.platform.id=digitalocean", Some(Platform::Digitalocean)),
        ("ignition.platform.id=metal", Some(Platform::Metal)),
        ("ignition.platform.id=qemu", Some(Platform::Other("qemu".to_owned()))),
        ("ignition.platform.id=aws flatcar.oem.id=metal", Some(Platform::Aws)),
        ("ro quiet", None),
    ] {
        assert_eq!(Platform::of(&KernelLine::parse(line).expect("a line")), want, "{line}");
    }
}

#[test]
fn where_nothing_may_be_asked_nothing_is() {
    for platform in [Platform::Metal, Platform::Other("qemu".to_owned())] {
        assert!(platform.requests().is_empty(), "{platform:?}");
    }
    for platform in [Platform::Aws, Platform::Azure, Platform::Gcp, Platform::Digitalocean] {
        let questions: Vec<Question> = platform.requests().iter().map(|request| request.question).collect();
        assert!(questions.contains(&Question::UserData), "{platform:?}");
        let sign = if platform == Platform::Aws { Question::Session } else { Question::Service };
        assert!(questions.contains(&sign), "{platform:?} is recognised by {sign:?}");
        for request in platform.requests() {
            assert_eq!(request.method == "PUT", request.question == Question::Session, "{platform:?} {}", request.path);
            // Without it Azure and Google answer nothing, and a request that was redirected to them is not answered.
            let told = request.question == Question::Service;
            assert!(!told || *request == platform.requests()[0], "{platform:?}: whoever is asked is known first");
            let marked = request.headers.iter().any(|(name, _)| name.starts_with("metadata"));
            let wanted = matches!(platform, Platform::Azure | Platform::Gcp);
            assert_eq!(marked, wanted, "{platform:?} {}", request.path);
        }
    }
}

#[test]
fn answers_are_read_as_each_service_means_them() {
    use Question::{Account, Service, Session, UserData, WithoutSession};
    let none = || Finding::UserData(Contents::default());
    let plain = |form| Finding::UserData(Contents { form, ..Contents::default() });
    let ignition = || plain(user_data::Form::Ignition);
    let config = br#"{"ignition":{"version":"3.4.0"}}"#.as_slice();
    for (name, platform, question, status, body, want) in [
        ("session", Platform::Aws, Session, 200, b"AQAEA==".as_slice(), Finding::Session),
        ("a session with a line end", Platform::Aws, Session, 200, b"a\r\nb", Finding::Unclear(200)),
        ("no session", Platform::Aws, Session, 403, b"", Finding::Unclear(403)),
        ("v1 open", Platform::Aws, WithoutSession, 200, b"ami-id\n", Finding::Open),
        ("v1 closed", Platform::Aws, WithoutSession, 401, b"", Finding::Closed),
        ("service off", Platform::Aws, WithoutSession, 403, b"", Finding::Unclear(403)),
        ("user data", Platform::Aws, UserData, 200, config, ignition()),
        ("no user data", Platform::Aws, UserData, 404, b"<html>", none()),
        ("empty user data", Platform::Digitalocean, UserData, 200, b"", none()),
        ("user data forbidden", Platform::Gcp, UserData, 403, config, Finding::Unclear(403)),
        ("azure's is base64", Platform::Azure, UserData, 200, b"eyJpZ25pdGlvbiI6eyJ2ZXJzaW9uIjoiMy40LjAifX0=", ignition()),
        ("azure's is not base64", Platform::Azure, UserData, 200, config, Finding::Unreadable("not-base64".to_owned())),
        ("azure has none", Platform::Azure, UserData, 200, b"", none()),
        ("bad gzip", Platform::Aws, UserData, 200, &[0x1f, 0x8b, 9], Finding::Unreadable("malformed".to_owned())),
        ("no role", Platform::Aws, Account, 404, b"<html>Not Found</html>", Finding::NoAccount),
        ("a role", Platform::Aws, Account, 200, b"my-role", Finding::Account(1)),
        ("an empty list of roles", Platform::Aws, Account, 200, b"", Finding::Unclear(200)),
        ("a session is wanted", Platform::Aws, Account, 401, b"", Finding::Unclear(401)),
        ("no service account", Platform::Gcp, Account, 200, b"", Finding::NoAccount),
        ("service accounts", Platform::Gcp, Account, 200, b"default/\n1-compute@developer/\n", Finding::Account(2)),
        ("an identity", Platform::Azure, Account, 200, br#"{"access_token":"x"}"#, Finding::Account(1)),
        (
            "no identity",
            Platform::Azure,
            Account,
            400,
            br#"{"error":"invalid_request","error_description":"Identity not found"}"#,
            Finding::NoAccount,
        ),
        (
            "several identities",
            Platform::Azure,
            Account,
            400,
            br#"{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId"}"#,
            Finding::Unclear(400),
        ),
        ("azure is busy", Platform::Azure, Account, 429, b"", Finding::Unclear(429)),
        ("a droplet", Platform::Digitalocean, Service, 200, b"3164444", Finding::Recognised),
        ("an instance", Platform::Gcp, Service, 200, b"4520031799277581759\n", Finding::Recognised),
        ("azure", Platform::Azure, Service, 200, br#"{"apiVersions":["2021-01-01"]}"#, Finding::Recognised),
        ("a stranger's page", Platform::Gcp, Service, 200, b"<html>", Finding::Unclear(200)),
        ("a stranger's empty page", Platform::Digitalocean, Service, 200, b"", Finding::Unclear(200)),
        ("a stranger's JSON", Platform::Azure, Service, 200, br#"{"apiVersions":[]}"#, Finding::Unclear(200)),
        ("a stranger's refusal", Platform::Digitalocean, Service, 404, b"1", Finding::Unclear(404)),
        ("digitalocean has none to ask", Platform::Digitalocean, Account, 200, b"x", Finding::Unclear(200)),
    ] {
        assert_eq!(read(&platform, question, Answer::Http { status, body }), want, "{name}");
        assert_eq!(read(&platform, question, Answer::Silence), Finding::Silence, "{name}");
    }
    assert_eq!(read(&Platform::Aws, UserData, Answer::TooLong), Finding::Unreadable("too-large".to_owned()));
    assert_eq!(read(&Platform::Azure, Account, Answer::TooLong), Finding::Unclear(0));
}

proptest! {
    #[test]
    fn any_answer_is_a_finding_that_does_not_quote_it(
        status in 100_u16..600,
        body in proptest::collection::vec(any::<u8>(), 0..200),
        which in 0_usize..4,
        question in 0_usize..5,
    ) {
        let platforms = [Platform::Aws, Platform::Azure, Platform::Gcp, Platform::Digitalocean];
        let questions = [Question::Session, Question::WithoutSession, Question::UserData, Question::Account, Question::Service];
        let mut body = body;
        body.extend(b"\nqqzz1234567890zz");
        let finding = read(&platforms[which], questions[question], Answer::Http { status, body: &body });
        let text = serde_json::to_string(&finding).expect("plain");
        prop_assert!(!text.contains("qqzz1234567890zz"));
    }
}
