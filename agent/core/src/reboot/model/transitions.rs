//! Every change of state there is for one host, with one thing that leads there, against a table that a person can read: one that has no
//! row fails, and so does a row of one that cannot happen.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use super::world::World;
use super::{Decided, followers};
use crate::reboot::RebootState;

/// Each pair of states that follow each other, with everything that can be between them. `down` is between two boots.
fn walk() -> BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>> {
    let mut decided = Decided::default();
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let alone = World { faults: 1, ..World::new(1, 1) };
    let worlds = [alone, World { sick: 2, rollback: true, ..alone }];
    let mut known = HashSet::from(worlds);
    let mut open = VecDeque::from(worlds);
    let state = |world: &World, decided: &mut Decided| {
        if world.hosts[0].up { decided.of(world, 0).state.as_str() } else { "down" }
    };
    while let Some(world) = open.pop_front() {
        let before = state(&world, &mut decided);
        for (name, next) in followers(&world, &mut decided) {
            let after = state(&next, &mut decided);
            if after != before {
                found.entry((before, after)).or_default().insert(name);
            }
            if known.insert(next) {
                open.push_back(next);
            }
        }
    }
    println!("{} worlds, {} transitions", known.len(), found.len());
    found
}

const TRANSITIONS: &[(&str, &str, &str)] = &[
    ("cordoning", "down", "the power is cut"),
    ("cordoning", "draining", "cordon"),
    ("cordoning", "letting-go", "cordon"),
    ("cordoning", "rebooting", "somebody reboots it"),
    ("cordoning", "renewing-certificate", "the certificate grows short"),
    ("cordoning", "undoing", "an operator holds it"),
    ("cordoning", "waiting", "it is not good any more"),
    ("down", "gate", "it boots"),
    ("down", "held-back", "it boots"),
    ("down", "idle", "it boots"),
    ("down", "unknown", "it boots"),
    ("draining", "cordoning", "an admin uncordons it"),
    ("draining", "down", "the power is cut"),
    ("draining", "letting-go", "the drain ends"),
    ("draining", "rebooting", "the shutdown begins"),
    ("draining", "renewing-certificate", "the certificate grows short"),
    ("draining", "undoing", "an operator holds it"),
    ("draining", "waiting", "it is not good any more"),
    ("gate", "down", "the power is cut"),
    ("gate", "granted", "an operator forces a reboot"),
    ("gate", "held-back", "it takes too long to get good"),
    ("gate", "idle", "free"),
    ("gate", "rebooting", "somebody reboots it"),
    ("gate", "rolling-back", "it takes too long to get good"),
    ("gate", "undoing", "an operator frees the slot"),
    ("gate", "unknown", "free"),
    ("gate", "waiting", "free"),
    ("granted", "cordoning", "amend"),
    ("granted", "draining", "amend"),
    ("granted", "letting-go", "the force's deadline passes"),
    ("held-back", "down", "the power is cut"),
    ("held-back", "gate", "somebody takes its slot away"),
    ("held-back", "granted", "uncordon"),
    ("held-back", "idle", "somebody takes its slot away"),
    ("held-back", "rebooting", "somebody reboots it"),
    ("held-back", "rolling-back", "the wait is over"),
    ("held-back", "undoing", "an operator frees the slot"),
    ("held-back", "unknown", "the API server goes away"),
    ("idle", "down", "the power is cut"),
    ("idle", "rebooting", "somebody reboots it"),
    ("idle", "unknown", "the API server goes away"),
    ("idle", "waiting", "a release is staged"),
    ("letting-go", "cordoning", "an admin uncordons it"),
    ("letting-go", "down", "the power is cut"),
    ("letting-go", "draining", "the agent is killed"),
    ("letting-go", "rebooting", "let-go"),
    ("letting-go", "renewing-certificate", "the certificate grows short"),
    ("letting-go", "undoing", "an operator holds it"),
    ("letting-go", "waiting", "it is not good any more"),
    ("rebooting", "down", "the boot ends"),
    ("rebooting", "draining", "the agent is killed"),
    ("rebooting", "rolling-back", "the agent is killed"),
    ("rebooting", "undoing", "half a minute passes"),
    ("renewing-certificate", "cordoning", "renew"),
    ("renewing-certificate", "draining", "renew"),
    ("renewing-certificate", "letting-go", "renew"),
    ("rolling-back", "down", "the power is cut"),
    ("rolling-back", "gate", "somebody takes its slot away"),
    ("rolling-back", "granted", "an operator forces a reboot"),
    ("rolling-back", "held-back", "an operator holds it"),
    ("rolling-back", "rebooting", "rollback"),
    ("rolling-back", "undoing", "an operator frees the slot"),
    ("rolling-back", "unknown", "the API server goes away"),
    ("undoing", "cordoning", "a release is staged"),
    ("undoing", "draining", "a release is staged"),
    ("undoing", "gate", "free"),
    ("undoing", "held-back", "give-up"),
    ("undoing", "idle", "free"),
    ("undoing", "letting-go", "a release is staged"),
    ("undoing", "waiting", "free"),
    ("unknown", "gate", "the API server is back"),
    ("unknown", "held-back", "the API server is back"),
    ("unknown", "idle", "the API server is back"),
    ("unknown", "rolling-back", "the API server is back"),
    ("unknown", "waiting", "the OS answers again"),
    ("waiting", "cordoning", "take"),
    ("waiting", "down", "the power is cut"),
    ("waiting", "draining", "take"),
    ("waiting", "idle", "the update is withdrawn"),
    ("waiting", "letting-go", "all is good"),
    ("waiting", "rebooting", "somebody reboots it"),
    ("waiting", "renewing-certificate", "take"),
    ("waiting", "unknown", "the OS cannot be asked"),
];

#[test]
fn every_transition_has_its_row() {
    let found = walk();
    let mut rows = BTreeSet::new();
    for (from, to, by) in TRANSITIONS {
        assert!(rows.insert((*from, *to)), "{from} -> {to}: two rows");
        let leads = found.get(&(*from, *to)).is_some_and(|names| names.contains(by));
        assert!(leads, "{from} -> {to}: not by {by:?}, but by {:?}", found.get(&(*from, *to)));
    }
    let missing: Vec<_> = found.iter().filter(|(pair, _)| !rows.contains(*pair)).collect();
    assert!(missing.is_empty(), "these can happen and have no row: {missing:?}");
    // What must never follow, whatever happens, so that a walk that finds too much is noticed too.
    for (from, to) in [
        ("idle", "letting-go"),
        ("gate", "letting-go"),
        ("held-back", "letting-go"),
        ("waiting", "rolling-back"),
        ("cordoning", "gate"),
        ("draining", "idle"),
    ] {
        assert!(!found.contains_key(&(from, to)), "{from} -> {to}: by {:?}", found[&(from, to)]);
    }
    let states: BTreeSet<_> = rows.iter().flat_map(|(from, to)| [*from, *to]).collect();
    for state in RebootState::ALL.map(RebootState::as_str) {
        // Here everything is coordinated, and the OS always knows what it runs.
        assert_eq!(states.contains(state), !matches!(state, "off" | "proving"), "{state}");
    }
}
