//! The platform's claims: what the cloud's metadata service gives to everybody who asks on this node. On bare metal nobody is asked.

use crate::posture::boot::{self, CMDLINE};
use crate::posture::claim;
use crate::posture::read::metadata::{Finding, Metadata, Platform, Question};
use crate::posture::read::user_data::Contents;
use crate::posture::{
    Accepts, Check, Grade, Judged, Seen, Severity, Source, Unseen, Verdict, Worth, needs, nothing_promised,
};

/// [`Metadata`]: what was asked by [`Platform::requests`], and what the answers meant.
pub const METADATA: Source = Source::record("http:metadata");

const BASE: Check = Check {
    id: "",
    title: "",
    claim: &claim::METADATA_AWS,
    severity: Severity::Medium,
    reads: &[needs(&CMDLINE), needs(&METADATA)],
    judge: |seen| credentials(seen, &Platform::Aws),
    worth: Worth::Proves("The user data was read in full, and what was found in it is said."),
    not: "What an older version of it held, and who has read it.",
    cis: &[],
    expects: Accepts::OneOf(&["stored", "none"]),
    promised: nothing_promised,
};

/// No credential of the account is offered at this moment.
const ACCOUNT: Check = Check {
    severity: Severity::High,
    judge: |seen| account(seen, &Platform::Aws),
    worth: Worth::Proves("The metadata service was asked, and offers none."),
    not: "That none is attached tomorrow, or lies in a file.",
    expects: Accepts::Nothing,
    ..BASE
};

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "metadata-digitalocean",
        title: "No cluster credential is in DigitalOcean's metadata",
        claim: &claim::METADATA_DIGITALOCEAN,
        severity: Severity::High,
        judge: |seen| credentials(seen, &Platform::Digitalocean),
        worth: Worth::Proves("The droplet's user data was read in full, and no cluster credential is in it."),
        expects: Accepts::Nothing,
        ..BASE
    },
    Check { id: "metadata-aws", title: "What is in AWS' metadata is what is declared of it", ..BASE },
    Check {
        id: "metadata-azure",
        title: "What is in Azure's metadata is what is declared of it",
        claim: &claim::METADATA_AZURE,
        judge: |seen| credentials(seen, &Platform::Azure),
        ..BASE
    },
    Check {
        id: "metadata-google-cloud",
        title: "What is in Google Cloud's metadata is what is declared of it",
        claim: &claim::METADATA_GOOGLE_CLOUD,
        judge: |seen| credentials(seen, &Platform::Gcp),
        ..BASE
    },
    Check {
        id: "metadata-session-required",
        title: "AWS' metadata service answers nobody without a session token",
        severity: Severity::High,
        judge: session,
        worth: Worth::Proves("The service refused a plain request (IMDSv1) from this host."),
        not: "That pods do not get a session token: with a hop limit above 1 they do.",
        expects: Accepts::Nothing,
        ..BASE
    },
    Check {
        id: "account-digitalocean",
        title: "No account credential is offered to the droplet",
        claim: &claim::ACCOUNT_DIGITALOCEAN,
        judge: |seen| account(seen, &Platform::Digitalocean),
        worth: Worth::Reports(
            "DigitalOcean's metadata has no way that is known to ask for one, and none was found in the user data.",
        ),
        expects: Accepts::Nothing,
        ..BASE
    },
    Check {
        id: "account-aws",
        title: "No account credential is offered to the EC2 instance",
        claim: &claim::ACCOUNT_AWS,
        ..ACCOUNT
    },
    Check {
        id: "account-azure",
        title: "No account credential is offered to the Azure instance",
        claim: &claim::ACCOUNT_AZURE,
        judge: |seen| account(seen, &Platform::Azure),
        ..ACCOUNT
    },
    Check {
        id: "account-google-cloud",
        title: "No account credential is offered to the Google Cloud instance",
        claim: &claim::ACCOUNT_GOOGLE_CLOUD,
        judge: |seen| account(seen, &Platform::Gcp),
        ..ACCOUNT
    },
];

/// What the metadata service said, if this host is on that platform; else why the check is not about it.
fn asked(seen: &Seen<'_>, about: &Platform) -> Result<Result<Metadata, Judged>, Unseen> {
    let boot = boot::this(seen)?;
    let word = boot.last("ignition.platform.id").or_else(|| boot.last("flatcar.oem.id"));
    let Some(platform) = word.map(Platform::named) else {
        return Ok(Err(Judged::unknown(
            "no-platform",
            "The kernel command line does not say on which platform this host runs (ignition.platform.id), so nobody was asked.",
        )));
    };
    if platform != *about {
        let sentence = format!("This host runs on {}, and the check is about {}.", platform.name(), about.name());
        return Ok(Err(Judged::not_applicable("another-platform", sentence)));
    }
    let item = seen.one(&METADATA)?;
    let metadata: Metadata = item.record()?;
    if metadata.platform != platform {
        return Err(item.malformed(format!(
            "It is what {} said, and this host runs on {}.",
            metadata.platform.name(),
            platform.name()
        )));
    }
    Ok(Ok(metadata))
}

/// Why a question has no answer that says anything.
fn no_answer(question: Question, finding: Option<&Finding>) -> Judged {
    let what = match question {
        Question::Session => "a session",
        Question::WithoutSession => "anything without a session",
        Question::Service => "what it is",
        Question::UserData => "the user data",
        Question::Account => "account credentials",
    };
    match finding {
        None => Judged::unknown("not-asked", format!("The metadata service was not asked for {what}.")),
        Some(Finding::Silence) => Judged::unknown(
            "no-answer",
            format!(
                "The metadata service did not answer when it was asked for {what}: is 169.254.169.254 reachable from this host?"
            ),
        ),
        Some(Finding::Unreadable(kind)) => {
            Judged::unknown("not-readable", format!("The answer for {what} could not be read ({kind})."))
        }
        Some(Finding::Unclear(status)) => Judged::unknown(
            "another-answer",
            format!("The metadata service answered {status} when it was asked for {what}, which says nothing."),
        )
        .fact("status", status.to_string()),
        Some(_) => Judged::unknown("another-answer", format!("The answer for {what} is one for another question.")),
    }
}

/// Whatever a stranger at the address says: it proves nothing of the platform.
fn by_its_service(metadata: &Metadata, judged: Judged) -> Judged {
    if metadata.is_recognised() || !matches!(judged.verdict, Verdict::Pass(_)) {
        return judged;
    }
    Judged::unknown(
        "not-recognised",
        format!(
            "What answers at 169.254.169.254 does not show itself as {}'s metadata service, so its answers say nothing: is a proxy in the way?",
            metadata.platform.name()
        ),
    )
}

fn credentials(seen: &Seen<'_>, about: &Platform) -> Result<Judged, Unseen> {
    let metadata = match asked(seen, about)? {
        Ok(metadata) => metadata,
        Err(judged) => return Ok(judged),
    };
    let contents = match metadata.finding(Question::UserData) {
        Some(Finding::UserData(contents)) => contents,
        other => return Ok(no_answer(Question::UserData, other)),
    };
    let open = metadata.finding(Question::WithoutSession) == Some(&Finding::Open);
    Ok(told(by_its_service(&metadata, judge_contents(seen, about, contents, open)), contents))
}

fn judge_contents(seen: &Seen<'_>, about: &Platform, contents: &Contents, open: bool) -> Judged {
    let place = about.name();
    let never = *about == Platform::Digitalocean || seen.expected() == Some("none");
    if contents.has_credential() && never {
        let judged = Judged::fail(
            "stored",
            format!(
                "A cluster credential is in {place}'s metadata, where every pod on the node may ask for it. Take it out, and put a new token in the cluster."
            ),
        );
        return if open { judged.raised_to(Severity::Critical) } else { judged };
    }
    if contents.has_credential() {
        let reach = if open {
            " The service answers without a session token, so every pod that reaches 169.254.169.254 can become a node: see metadata-session-required."
        } else {
            " A pod that may reach 169.254.169.254 can read it: see that a NetworkPolicy forbids it."
        };
        return Judged::pass(
            Grade::Configured,
            "stored",
            format!("A cluster credential is in {place}'s metadata, as the page says it is.{reach}"),
        );
    }
    if !contents.is_whole() {
        return Judged::unknown(
            "in-parts",
            format!(
                "{place}'s metadata has no cluster credential that was seen, but parts of it are elsewhere or could not be decoded."
            ),
        );
    }
    if seen.expected() == Some("stored") {
        return Judged::fail(
            "none",
            format!(
                "No cluster credential is in {place}'s metadata, and it is declared that one is: a new node does not join with this."
            ),
        );
    }
    Judged::pass(Grade::ProvedByBehaviour, "none", format!("No cluster credential is in {place}'s metadata."))
}

fn told(judged: Judged, contents: &Contents) -> Judged {
    let judged = judged
        .fact("kubeconfig", contents.kubeconfig.to_string())
        .facts("token-in", &contents.tokens_in)
        .facts("key-in", &contents.keys_in)
        .facts("elsewhere", &contents.elsewhere)
        .facts("undecodable", &contents.undecodable);
    match &contents.token_id_sha256 {
        Some(hash) => judged.fact("token-id-sha256", hash),
        None => judged,
    }
}

fn session(seen: &Seen<'_>) -> Result<Judged, Unseen> {
    let metadata = match asked(seen, &Platform::Aws)? {
        Ok(metadata) => metadata,
        Err(judged) => return Ok(judged),
    };
    let judged = match metadata.finding(Question::WithoutSession) {
        Some(Finding::Closed) => Judged::pass(
            Grade::ProvedByBehaviour,
            "required",
            "A request without a session token is answered with 401.",
        ),
        Some(Finding::Open) => {
            let judged = Judged::fail(
                "open",
                "AWS' metadata service answers without a session token (IMDSv1), as Typhoon leaves it on workers: every request that can be tricked out of a pod or a proxy reaches it. Set http_tokens = \"required\".",
            );
            match metadata.finding(Question::UserData) {
                // The token in the user data makes anybody a node.
                Some(Finding::UserData(contents)) if contents.has_credential() => {
                    judged.fact("user-data", "holds a cluster credential").raised_to(Severity::Critical)
                }
                _ => judged,
            }
        }
        other => no_answer(Question::WithoutSession, other),
    };
    Ok(by_its_service(&metadata, judged))
}

fn account(seen: &Seen<'_>, about: &Platform) -> Result<Judged, Unseen> {
    let metadata = match asked(seen, about)? {
        Ok(metadata) => metadata,
        Err(judged) => return Ok(judged),
    };
    let contents = match metadata.finding(Question::UserData) {
        Some(Finding::UserData(contents)) => Some(contents),
        _ => None,
    };
    if let Some(places) = contents.map(|contents| &contents.accounts_in).filter(|places| !places.is_empty()) {
        return Ok(Judged::fail(
            "in-user-data",
            format!("A key of a cloud account is in {}'s user data, where every pod on the node may ask for it: take it out, and make a new one.", about.name()),
        )
        .facts("key-in", places));
    }
    if *about == Platform::Digitalocean {
        let judged = match metadata.finding(Question::UserData) {
            Some(Finding::UserData(contents)) if !contents.is_whole() => Judged::unknown(
                "in-parts",
                "No key of an account was seen in the user data, but parts of it are elsewhere or could not be decoded.",
            ),
            Some(Finding::UserData(_)) => Judged::pass(
                Grade::HoldsOnlyBecause(
                    "DigitalOcean's metadata offers no account credentials that we know of".to_owned(),
                ),
                "none-offered",
                "DigitalOcean's metadata has no way that is known to ask for an account credential, and none was found in the user data.",
            ),
            other => no_answer(Question::UserData, other),
        };
        return Ok(by_its_service(&metadata, judged));
    }
    let judged = match metadata.finding(Question::Account) {
        Some(Finding::NoAccount) => Judged::pass(
            Grade::ProvedByBehaviour,
            "none",
            format!("{} offers no account credential to this host.", about.name()),
        ),
        Some(Finding::Account(count)) => Judged::fail(
            "offered",
            format!(
                "{} offers {count} account credential(s) to this host, and so to every pod that may reach 169.254.169.254: detach the role, or give the pods' traffic no way there.",
                about.name()
            ),
        ),
        other => no_answer(Question::Account, other),
    };
    Ok(by_its_service(&metadata, judged))
}
