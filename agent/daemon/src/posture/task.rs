//! The task that keeps the posture judged: whatever tells of a change (netlink, inotify, D-Bus, the configuration) has only the checks
//! judged anew that read what changed; a slow sweep catches the rest. Between two events it sleeps. SELinux is heard at all times, also while a
//! sweep waits for somebody's answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eyewall_core::config::Config;
use eyewall_core::event;
use eyewall_core::hostname::node_name;
use eyewall_core::posture::checks::selinux::transitions::STATUS;
use eyewall_core::posture::history::{Actor, Change, History};
use eyewall_core::posture::read::selinux::StatusPage;
use eyewall_core::posture::read::selinux_netlink::Message;
use eyewall_core::posture::selinux_watch::Watch;
use eyewall_core::posture::ssh_plan::asks_anew;
use eyewall_core::posture::{Evidence, Expectations, Report, Word, checks, judge, sources};
use eyewall_core::time::Time;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::actor;
use super::capture::{self, Paths};
use super::look::{Places, Round};
use super::netlink::SelinuxNotices;
use super::once::Scratch;
use super::pace::Pace;
use super::saved::Saved;
use super::signals::Signals;
use super::sshd;
use super::sweep::{Given, Scope, host, is_probe, sweep};
use crate::events::Events;
use crate::hints::Hints;
use crate::host as this_host;
use crate::supervisor::Heartbeat;

/// The longest round: a sweep in which everything that is asked answers at the last moment, and the wait before it.
pub const ROUND: Duration = Duration::from_secs(600);
/// A sweep with every probe takes two seconds; one that hangs is given up.
const SWEEP_WITHIN: Duration = Duration::from_secs(180);
/// How often the network is asked; see [`Scope::NoProbes`].
const PROBES_EVERY: Duration = Duration::from_secs(3_600);
/// The loop turns at least so often, for its sign of life.
const TURN: Duration = Duration::from_secs(300);
/// A file that changes is often one of several.
const SETTLE: Duration = Duration::from_millis(50);
/// While a host boots, and when a pod comes, jobs end by the dozen, and a look at every unit takes a tenth of a second.
const UNITS_APART: Duration = Duration::from_secs(1);
/// A service that was started listens a moment later, and one that was reloaded has read its files a moment later: sockets are looked at again
/// after this, and sshd is asked.
const LATER: Duration = Duration::from_secs(3);
/// The status page follows the notice within microseconds.
const PAGE_FOLLOWS: Duration = Duration::from_millis(20);
/// The audit daemon writes a record within this.
const AUDIT_FOLLOWS: Duration = Duration::from_secs(2);
/// Who made a change is searched for so many times at once; somebody who flips the mode all the time is found by one of them.
const SEARCHES_MAX: usize = 4;

/// What the task is given.
#[derive(Debug)]
pub struct Deps {
    /// The settings in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// Where its state goes.
    pub status: watch::Sender<Option<Arc<Posture>>>,
    /// Where its story goes.
    pub events: Events,
    /// Whoever wants it judged now.
    pub wanted: mpsc::Receiver<oneshot::Sender<Arc<Posture>>>,
    /// Its sign of life, at least every [`ROUND`].
    pub heartbeat: Heartbeat,
    /// The clock.
    pub clock: fn() -> SystemTime,
    /// In 0..1, for jitter.
    pub draw: fn() -> f64,
    /// Where its history survives restarts (`StateDirectory=` of the unit); without, it is kept in memory only.
    pub state: Option<PathBuf>,
    /// Where files for a probe may lie (`RuntimeDirectory=` of the unit); without, nothing is asked over the network.
    pub scratch: Option<PathBuf>,
}

/// What is published.
#[derive(Clone, Debug)]
pub struct Posture {
    /// Every verdict.
    pub report: Report,
    /// The changes that are kept, oldest first.
    pub changes: Vec<Change>,
}

/// Runs until the agent ends.
pub async fn run(deps: Deps) {
    let wake = Arc::new(Notify::new());
    let (hints, _) = Hints::new(Arc::clone(&wake));
    let config = Arc::clone(&deps.config.borrow());
    let (saved, history, watch) = Saved::open(deps.state.as_deref());
    let notices = match SelinuxNotices::open() {
        Ok(notices) => Some(notices),
        Err(error) => {
            tracing::info!(
                "SELinux tells nothing here ({error}); its mode is looked at every {:?}",
                config.posture.interval
            );
            None
        }
    };
    let mut task = Task {
        paths: Paths { root: PathBuf::from("/"), config },
        places: Places::default(),
        evidence: None,
        report: None,
        history,
        watch,
        saved,
        hints,
        wake,
        notices,
        actors: JoinSet::new(),
        ask_at: None,
        pace: Pace::default(),
        probed: None,
        deps,
    };
    task.begin_watch();
    // First watched, then looked at: what changes in between is looked at again.
    task.follow_files();
    task.look(&Scope::Everything).await;
    task.follow().await;
}

#[derive(Debug)]
struct Task {
    deps: Deps,
    paths: Paths,
    places: Places,
    evidence: Option<Evidence>,
    report: Option<Report>,
    history: History,
    watch: Option<Watch>,
    saved: Saved,
    hints: Hints,
    wake: Arc<Notify>,
    /// What SELinux tells; `None` where it tells nothing.
    notices: Option<SelinuxNotices>,
    /// Searches for who made a change of SELinux's, each with its time: the record may come seconds later, and the next change must not wait.
    actors: JoinSet<(Time, Option<Actor>)>,
    /// When sshd is to be asked anew, because something changed.
    ask_at: Option<Instant>,
    pace: Pace,
    /// When the network was asked last.
    probed: Option<Instant>,
}

impl Task {
    async fn follow(&mut self) {
        let wake = Arc::clone(&self.wake);
        let mut signals = Signals::connect().await;
        let mut swept = Instant::now();
        let (mut later, mut units_at): (Option<Instant>, Option<Instant>) = (None, None);
        let mut units_seen = Instant::now();
        loop {
            self.deps.heartbeat.touch();
            self.follow_files();
            let interval = self.paths.config.posture.interval;
            let due = (swept + interval).min(Instant::now() + TURN);
            let due = [later, units_at, self.ask_at].into_iter().flatten().fold(due, Instant::min);
            tokio::select! {
                notice = heard(self.notices.as_ref()) => {
                    self.selinux(notice).await;
                }
                Some(found) = self.actors.join_next(), if !self.actors.is_empty() => {
                    if let Ok((at, Some(actor))) = found {
                        self.attribute(at, &actor);
                    }
                }
                () = wake.notified() => {
                    sleep(SETTLE).await;
                    self.look(&Scope::Only(files_and_sshd())).await;
                }
                () = signals.changed() => {
                    units_at.get_or_insert((Instant::now() + SETTLE).max(units_seen + UNITS_APART));
                }
                changed = self.deps.config.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.paths.config = Arc::clone(&self.deps.config.borrow_and_update());
                    self.look(&Scope::NoProbes).await;
                }
                Some(answer) = self.deps.wanted.recv() => {
                    self.look(&Scope::Everything).await;
                    swept = Instant::now();
                    if let Some(posture) = self.deps.status.borrow().clone() {
                        // Who asked may have gone away.
                        let _ = answer.send(posture);
                    }
                }
                () = sleep_until(due) => {
                    if units_at.take_if(|at| *at <= Instant::now()).is_some() {
                        self.look(&Scope::Only(units())).await;
                        units_seen = Instant::now();
                        later = Some(units_seen + LATER);
                    }
                    if later.take_if(|later| *later <= Instant::now()).is_some() {
                        self.look(&Scope::Only(BTreeSet::from(["netlink:sockets", "proc:sshd"]))).await;
                    }
                    if self.ask_at.take_if(|at| *at <= Instant::now()).is_some() {
                        self.look(&Scope::Only(of_sshd())).await;
                    }
                    if swept + interval <= Instant::now() {
                        let spread = PROBES_EVERY.mul_f64(0.9 + 0.2 * (self.deps.draw)());
                        let probes = self.probed.is_none_or(|probed| probed.elapsed() >= spread);
                        self.look(if probes { &Scope::Everything } else { &Scope::NoProbes }).await;
                        swept = Instant::now();
                    }
                }
            }
        }
    }

    /// Watches the files that the checks read.
    fn follow_files(&mut self) {
        let watched = self.watched();
        let watched: Vec<&Path> = watched.iter().map(PathBuf::as_path).collect();
        self.hints.follow(&watched);
        if self.hints.has_grown() {
            self.wake.notify_one();
        }
    }

    /// The files that the checks read, for inotify: those with a name, and those of keys, whose places accounts and sshd's settings tell.
    fn watched(&self) -> Vec<PathBuf> {
        let named = sources().into_values().filter(|source| capture::is_file(source)).filter_map(|source| {
            let (scheme, path) = capture::scheme(source.id);
            let path = self.paths.fill(path)?;
            // What the kernel makes up has no inotify worth the name, except the mode.
            let made_up =
                (path.starts_with("/proc/") || path.starts_with("/sys/")) && path != "/sys/fs/selinux/enforce";
            let path = self.paths.at(&path);
            (path.is_absolute() && !made_up).then(|| if scheme == "list" { path.join("*") } else { path })
        });
        named.chain(sshd::places_of_keys(&self.paths, self.evidence.as_ref())).collect()
    }

    fn begin_watch(&mut self) {
        let now = Time((self.deps.clock)());
        let (Some(page), Some(boot_id)) = (self.page(), boot_id(&self.paths)) else { return };
        self.watch = Some(match self.watch.take() {
            Some(saved) => Watch::resume(saved, &boot_id, page, now),
            None => Watch::begin(&boot_id, page, now),
        });
    }

    fn page(&self) -> Option<StatusPage> {
        // Odd while it is being written: once more.
        (0..3).find_map(|_| {
            let bytes = std::fs::read(self.paths.at("/sys/fs/selinux/status")).ok()?;
            StatusPage::parse(bytes.get(..StatusPage::LENGTH)?)
        })
    }

    /// SELinux told of changes: judged at once, and again when the status page has followed. Who it was is searched for meanwhile. Returns
    /// what was looked at.
    async fn selinux(&mut self, told: std::io::Result<Vec<Message>>) -> BTreeSet<&'static str> {
        let messages = match told {
            Ok(messages) => messages,
            Err(error) => {
                let interval = self.paths.config.posture.interval;
                tracing::warn!("SELinux' notices ended ({error}); its mode is looked at every {interval:?}");
                self.notices = None;
                return BTreeSet::new();
            }
        };
        let now = Time((self.deps.clock)());
        if let Some(watch) = &mut self.watch {
            for message in &messages {
                watch.hear(*message, now);
            }
        }
        let mut scope = BTreeSet::from(["file:/sys/fs/selinux/enforce", "node:selinux-watch", STATUS.id]);
        if messages.iter().any(|message| matches!(message, Message::PolicyLoad(_))) || messages.is_empty() {
            scope.extend([
                "bytes:/sys/fs/selinux/policy",
                "node:selinux-permissive-types",
                "node:selinux-policy-files",
            ]);
        }
        self.glance(&scope).await;
        sleep(PAGE_FOLLOWS).await;
        self.account();
        self.glance(&scope).await;
        if self.actors.len() < SEARCHES_MAX {
            let paths = self.paths.clone();
            self.actors.spawn(async move { (now, actor::of_selinux(&paths, now, AUDIT_FOLLOWS).await) });
        }
        scope
    }

    fn attribute(&mut self, at: Time, actor: &Actor) {
        let named = ["selinux-mode", "selinux-transitions", "selinux-permissive-domains"];
        let found: Vec<Change> =
            named.iter().filter_map(|check| self.history.attribute(check, at, actor).cloned()).collect();
        for change in &found {
            let uid = actor.login_uid.to_string();
            self.deps.events.emit(
                &event::POSTURE_ACTOR,
                format!("The change of {} was made by the user who logged in as uid {uid}", change.check),
                &[("check", &change.check), ("uid", &uid)],
            );
        }
        if !found.is_empty() {
            self.save();
            self.publish();
        }
    }

    fn account(&mut self) {
        let now = Time((self.deps.clock)());
        if let (Some(page), Some(watch)) = (self.page(), &mut self.watch) {
            watch.account(page, now);
        }
    }

    /// What is expected of this host; `None`, told, where the configuration contradicts itself.
    fn expectations(&self) -> Option<Expectations> {
        let config = &self.paths.config;
        let faults = match Expectations::new(this_host::os(config), config) {
            Ok(expect) => return Some(expect),
            Err(faults) => faults,
        };
        for fault in faults {
            tracing::error!(eyewall_kind = fault.kind(), "[posture]: {fault}; what was expected before stays in force");
        }
        None
    }

    /// Looks, judges what that concerns, and tells what changed. That may take seconds, in which SELinux is heard.
    async fn look(&mut self, scope: &Scope) {
        let Some(expect) = self.expectations() else { return };
        let scratch = if asks_over_the_network(scope) { self.scratch() } else { None };
        let scope = match scope {
            Scope::Everything if scratch.is_none() => &Scope::NoProbes,
            Scope::Only(_) if scratch.is_none() && asks_over_the_network(scope) => return,
            scope => scope,
        };
        let config = Arc::clone(&self.paths.config);
        let node = node_name(config.node.name.as_deref(), &this_host::hostname()).ok();
        let now = (self.deps.clock)();
        let (paths, places, watch) = (self.paths.clone(), self.places.clone(), self.watch.clone());
        let mut round = Round::of_daemon(&paths, &places, node.as_ref(), now);
        let this = host(&round, expect.os.id);
        let mut evidence = self.evidence.clone().unwrap_or_else(|| Evidence::new(this.clone(), Time(now)));
        evidence.host = this;
        let given = Given { watch: watch.as_ref(), scratch: scratch.as_ref().map_or(Path::new("/"), Scratch::path) };
        let mut meanwhile = BTreeSet::new();
        let mut news = {
            let mut swept = pin!(timeout(SWEEP_WITHIN, sweep(&mut round, &mut evidence, scope, &given)));
            loop {
                tokio::select! {
                    biased;
                    notice = heard(self.notices.as_ref()) => meanwhile.extend(self.selinux(notice).await),
                    swept = &mut swept => break swept.unwrap_or_else(|_| {
                        tracing::warn!("a look at the host did not end within {} s", SWEEP_WITHIN.as_secs());
                        BTreeSet::new()
                    }),
                }
            }
        };
        // What was looked at while the sweep went on is younger than what the sweep found.
        if let Some(younger) = &self.evidence {
            for id in meanwhile {
                if let Some(found) = younger.sources.get(id) {
                    evidence.sources.insert(id.to_owned(), found.clone());
                    news.insert(id);
                }
            }
        }
        let now = Instant::now();
        if *scope == Scope::Everything {
            self.probed = Some(now);
        }
        if asks_over_the_network(scope) {
            self.pace.note(now);
        } else if asks_anew(&news, &evidence) && self.probed.is_some() {
            self.ask_at.get_or_insert(self.pace.next(now + LATER));
        }
        self.conclude(evidence, &expect, &news, !matches!(scope, Scope::Only(_)));
    }

    /// Looks at what can be looked at without waiting for anybody.
    async fn glance(&mut self, ids: &BTreeSet<&'static str>) {
        let Some(expect) = self.expectations() else { return };
        let now = (self.deps.clock)();
        let (paths, places) = (self.paths.clone(), self.places.clone());
        let mut round = Round::of_daemon(&paths, &places, None, now);
        let mut evidence = self.evidence.take().unwrap_or_else(|| Evidence::new(host(&round, expect.os.id), Time(now)));
        let given = Given { watch: self.watch.as_ref(), scratch: Path::new("/") };
        let news = sweep(&mut round, &mut evidence, &Scope::Only(ids.clone()), &given).await;
        if self.report.is_some() {
            self.conclude(evidence, &expect, &news, false);
        } else {
            // The first look is under way, and judges this too.
            self.evidence = Some(evidence);
        }
    }

    /// A directory for the probes' files.
    fn scratch(&self) -> Option<Scratch> {
        let made = Scratch::new(self.deps.scratch.as_deref()?);
        made.inspect_err(|error| {
            tracing::warn!("no files for probes can be made ({error}): nothing is asked over the network")
        })
        .ok()
    }

    /// Judges what the `news` concern, or everything, and tells what changed.
    fn conclude(&mut self, evidence: Evidence, expect: &Expectations, news: &BTreeSet<&'static str>, whole: bool) {
        let told = match &mut self.report {
            // Ages are judged by the present, so a whole sweep judges everything.
            Some(report) if !whole => {
                let concerned: Vec<_> = checks()
                    .filter(|check| check.reads.iter().any(|read| news.contains(read.source.id)))
                    .map(|check| check.judge(&evidence, expect))
                    .collect();
                let changes = self.history.record(evidence.host.boot_id.as_deref(), &concerned);
                let any = !concerned.is_empty();
                report.renew(evidence.captured_at, concerned);
                any.then_some(changes)
            }
            _ => {
                let report = judge(&evidence, expect);
                let changes = self.history.record(evidence.host.boot_id.as_deref(), &report.findings);
                self.report = Some(report);
                Some(changes)
            }
        };
        self.evidence = Some(evidence);
        let Some(changes) = told else { return };
        for change in &changes {
            self.tell(change);
        }
        if !changes.is_empty() || whole {
            self.save();
        }
        self.publish();
    }

    fn tell(&self, change: &Change) {
        let event = match change.after.verdict.word() {
            Word::Fail => &event::POSTURE_FAILED,
            Word::Unknown => &event::POSTURE_UNKNOWN,
            Word::Pass | Word::Waived | Word::NotApplicable if change.before.is_some() => &event::POSTURE_GOOD,
            _ => return,
        };
        let before = change.before.as_ref().map_or("not-judged", |before| before.verdict.word().as_str());
        let facts: Vec<String> =
            change.after.facts.iter().take(8).map(|fact| format!("{}={}", fact.name, fact.value)).collect();
        let facts = facts.join("; ");
        self.deps.events.emit(
            event,
            format!("{}: {}", change.check, change.after.reason.message),
            &[
                ("check", &change.check),
                ("kind", &change.after.reason.kind),
                ("verdict", change.after.verdict.word().as_str()),
                ("verdict_before", before),
                ("evidence", &facts),
            ],
        );
    }

    fn save(&self) {
        self.saved.write(&self.history, self.watch.as_ref());
    }

    fn publish(&self) {
        if let Some(report) = &self.report {
            let posture = Posture { report: report.clone(), changes: self.history.changes().to_vec() };
            self.deps.status.send_replace(Some(Arc::new(posture)));
        }
    }
}

/// The next messages; never where nobody tells. Lost ones are an empty list: whatever they were, everything is looked at.
async fn heard(notices: Option<&SelinuxNotices>) -> std::io::Result<Vec<Message>> {
    let Some(notices) = notices else { return std::future::pending().await };
    loop {
        match notices.next().await? {
            None => return Ok(Vec::new()),
            Some(datagram) => {
                let messages = Message::parse(&datagram);
                if !messages.is_empty() {
                    return Ok(messages);
                }
            }
        }
    }
}

/// Does that ask programs over the network?
fn asks_over_the_network(scope: &Scope) -> bool {
    match scope {
        Scope::Everything => true,
        Scope::NoProbes => false,
        Scope::Only(ids) => sources().into_values().any(|source| ids.contains(source.id) && is_probe(source)),
    }
}

/// The sshd that runs: how it was started and which sockets there are, and how it answers.
fn of_sshd() -> BTreeSet<&'static str> {
    let around = ["netlink:sockets", "proc:sshd"];
    around.into_iter().chain(sshd::sources_of_probes().map(|source| source.id)).collect()
}

/// Every source of the file system, and what sshd makes of its files.
fn files_and_sshd() -> BTreeSet<&'static str> {
    let of_files = sources().into_values().filter(|source| capture::is_file(source)).map(|source| source.id);
    of_files.chain(sshd::sources_of_files().map(|source| source.id)).collect()
}

/// What systemd's doings may change.
fn units() -> BTreeSet<&'static str> {
    let own = [
        "dbus:units",
        "dbus:agent-unit",
        "netlink:sockets",
        "proc:contexts",
        "proc:kubelet-argv",
        "node:kubelet-image",
    ];
    own.into_iter().chain(sshd::sources_of_files().map(|source| source.id)).collect()
}

fn boot_id(paths: &Paths) -> Option<String> {
    let text = std::fs::read_to_string(paths.at("/proc/sys/kernel/random/boot_id")).ok()?;
    Some(text.trim().to_owned())
}
