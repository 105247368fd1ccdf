//! Captures sources into evidence: all of them, or those that something said has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use eyewall_core::posture::checks::selinux::transitions::WATCH;
use eyewall_core::posture::evidence::Host;
use eyewall_core::posture::selinux_watch::Watch;
use eyewall_core::posture::{Capture, Evidence, Source, sources};
use eyewall_core::time::Time;

use super::look::Round;
use super::sshd;

/// Which sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Everything,
    /// All but what asks other programs over the network: sshd's log is to have a line from us an hour, not one each ten minutes.
    NoProbes,
    /// These.
    Only(BTreeSet<&'static str>),
}

/// Is this a source that a network probe fills?
pub fn is_probe(source: &Source) -> bool {
    sshd::sources_of_probes().iter().any(|probe| probe.id == source.id)
        || matches!(source.id, "http:metadata" | "tls:etcd-client" | "tls:etcd-peer" | "probe:apiserver-anonymous")
}

impl Scope {
    fn wants(&self, source: &Source) -> bool {
        match self {
            Self::Everything => true,
            Self::NoProbes => !is_probe(source),
            Self::Only(ids) => ids.contains(source.id),
        }
    }
}

/// What a sweep is given beside the host.
#[derive(Debug)]
pub struct Given<'a> {
    /// What was heard of SELinux, if somebody listens.
    pub watch: Option<&'a Watch>,
    /// A directory for files with public keys.
    pub scratch: &'a Path,
}

/// Captures what `scope` wants. Returns the sources of which anything is news.
pub async fn sweep(
    round: &mut Round<'_>,
    evidence: &mut Evidence,
    scope: &Scope,
    given: &Given<'_>,
) -> BTreeSet<&'static str> {
    let wanted: BTreeMap<&'static str, &'static Source> =
        sources().into_iter().filter(|(_, source)| scope.wants(source)).collect();
    evidence.captured_at = Time(round.now);
    let mut news = BTreeSet::new();
    let any = |group: &[&'static Source]| group.iter().any(|source| wanted.contains_key(source.id));
    let together = [sshd::sources_of_files().to_vec(), sshd::sources_of_probes().to_vec()].concat();
    for (id, source) in &wanted {
        if together.iter().any(|one| one.id == *id) {
            continue;
        }
        let found = if *id == WATCH.id {
            let capture = given.watch.map_or(Capture::Missing, Capture::record);
            vec![((*id).to_owned(), capture)]
        } else {
            round.look(source).await
        };
        if put(evidence, source, found, Time(round.now)) {
            news.insert(*id);
        }
    }
    if any(&sshd::sources_of_files()) {
        let bus = round.bus().await.ok();
        let found = sshd::look(round.paths, bus.as_ref()).await;
        spread(evidence, &sshd::sources_of_files(), &found, Time(round.now), &mut news);
    }
    if any(&sshd::sources_of_probes()) {
        let found = sshd::probe(round.paths, given.scratch).await;
        spread(evidence, &sshd::sources_of_probes(), &found, Time(round.now), &mut news);
    }
    news
}

fn spread(
    evidence: &mut Evidence,
    group: &[&'static Source],
    found: &[(String, Capture)],
    at: Time,
    news: &mut BTreeSet<&'static str>,
) {
    for source in group {
        let of_source = found.iter().filter(|(id, _)| source.is(id)).cloned().collect();
        if put(evidence, source, of_source, at) {
            news.insert(source.id);
        }
    }
}

/// Replaces all that is known of a source, and says whether that is news: a member of a family that is gone is.
fn put(evidence: &mut Evidence, source: &Source, found: Vec<(String, Capture)>, at: Time) -> bool {
    let gone: Vec<String> = evidence
        .sources
        .keys()
        .filter(|id| source.is(id) && !found.iter().any(|(new, _)| new == *id))
        .cloned()
        .collect();
    let mut news = !gone.is_empty();
    for id in gone {
        evidence.sources.remove(&id);
    }
    for (id, capture) in found {
        news |= evidence.put(&id, Some(at), capture);
    }
    news
}

/// Which host this is.
pub fn host(round: &Round<'_>, os: &str) -> Host {
    let boot_id = std::fs::read_to_string(round.paths.at("/proc/sys/kernel/random/boot_id"));
    Host {
        name: round.node.map(|node| node.as_str().to_owned()),
        os: os.to_owned(),
        role: match round.paths.config.node.role {
            eyewall_core::config::Role::Worker => "worker",
            eyewall_core::config::Role::Controller => "controller",
        }
        .to_owned(),
        boot_id: boot_id.ok().map(|id| id.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_a_way_to_be_looked_at() {
        let known_records = include_str!("look.rs");
        for (id, source) in sources() {
            let in_group = [sshd::sources_of_files().to_vec(), sshd::sources_of_probes().to_vec()]
                .concat()
                .iter()
                .any(|one| one.id == id);
            let known = super::super::capture::is_file(source)
                || in_group
                || id == WATCH.id
                || known_records.contains(&format!("\"{id}\" =>"));
            assert!(known, "nobody looks at {id}");
        }
    }

    #[test]
    fn a_member_that_is_gone_is_news() {
        static FAMILY: Source = Source::text("file:/etc/x/*");
        let host = Host { name: None, os: "generic".to_owned(), role: "worker".to_owned(), boot_id: None };
        let mut evidence = Evidence::new(host, Time::from_unix(0));
        let one = |text| vec![("file:/etc/x/a".to_owned(), Capture::text(text))];
        let at = Time::from_unix(1);
        assert!(put(&mut evidence, &FAMILY, one("1"), at));
        assert!(!put(&mut evidence, &FAMILY, one("1"), at));
        assert!(put(&mut evidence, &FAMILY, one("2"), at));
        assert!(put(&mut evidence, &FAMILY, Vec::new(), at));
        assert!(evidence.sources.is_empty());
    }
}
