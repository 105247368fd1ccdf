//! Several hosts, one table: every order in which things can happen to two of them, up to a number of faults, and many random ones for up to
//! four. Steps are cut off, replies lost, agents killed, the power cut, releases change and never get good, people hold, force and free.

mod happenings;
mod steps;
mod transitions;
mod world;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::*;
use steps::End;
use world::{Good, View, World};

/// What was decided for each view: it is looked up some hundred times as often as it is made.
#[derive(Default)]
struct Decided(HashMap<View, Decision>);

impl Decided {
    fn of(&mut self, world: &World, at: usize) -> &Decision {
        let view = world.view(at);
        self.0.entry(view).or_insert_with(|| view.decide())
    }
}

/// Every world that can follow, with what led there.
fn followers(world: &World, decided: &mut Decided) -> Vec<(&'static str, World)> {
    let mut all = world.nature();
    for at in world.indices() {
        if !world.hosts[at].up {
            continue;
        }
        let decision = decided.of(world, at);
        if let Some(rule) = world.broken(at, decision) {
            panic!("{rule}: host {at} would {decision:?} in {}", world.tell());
        }
        let ends = World::ends(&decision.step);
        let name = decision.step.as_str();
        all.extend(ends.first().map(|end| (name, world.carry(at, &decision.step, *end))));
        if world.faults > 0 {
            all.extend(ends.iter().skip(1).map(|end| (name, world.carry(at, &decision.step, *end).faulty())));
        }
    }
    all.extend(world.faults());
    for (_, next) in &mut all {
        next.settle();
        if let Some(rule) = next.wrong() {
            panic!("{rule}: from {} to {}", world.tell(), next.tell());
        }
    }
    all
}

impl World {
    /// What follows from the rest: a host that boots has been away for as long as its slot says so.
    fn settle(&mut self) {
        for at in self.indices() {
            let taken = self.table[at];
            let host = &mut self.hosts[at];
            // Its reboot is over when it has been proved, or an operator says so, or it did not come.
            let word = host.free == Some(host.boot);
            let stays =
                host.up && !host.shutting && host.coming.is_none() && taken.is_none_or(|taken| taken.boot == host.boot);
            let proved = host.up && host.good == Good::Passed;
            if word || stays || proved {
                host.away = false;
            }
        }
    }

    /// For the one who reads what went wrong.
    fn tell(&self) -> String {
        let hosts: Vec<_> =
            self.indices().map(|at| format!("{:?} with {:?}", self.hosts[at], self.table[at])).collect();
        let rest = World { hosts: World::new(0, 0).hosts, table: [None; world::HOSTS], ..*self };
        let rest = format!("{rest:?}");
        format!("{}\n  and {}", hosts.join("\n  "), &rest[rest.find("count").unwrap_or(0)..])
    }

    /// Nothing goes wrong any more, and all time that is needed passes: every host has its turn, and nothing is left over.
    fn comes_to_rest(mut self, decided: &mut Decided) -> Result<u32, String> {
        self.faults = 0;
        self.sick = 0;
        let mut held_back = [0; world::HOSTS];
        for round in 0..400 {
            let mut is_still = true;
            for at in self.indices() {
                if self.hosts[at].up {
                    let decision = decided.of(&self, at);
                    if let Some(rule) = self.broken(at, decision) {
                        return Err(rule.to_owned());
                    }
                    held_back[at] = if decision.state == RebootState::HeldBack { held_back[at] + 1 } else { 0 };
                    if !matches!(decision.step, Step::Idle { .. }) {
                        let step = decision.step.clone();
                        self = self.carry(at, &step, End::Done);
                        is_still = false;
                    }
                }
                let mut natural = Vec::new();
                self.nature_of(at, &mut natural);
                if let Some((_, next)) = natural.into_iter().find(|(name, _)| *name != "it takes too long to get good")
                {
                    self = next;
                    is_still = false;
                }
                // What waits for a person gets one.
                if held_back[at] > 10 && self.hosts[at].up {
                    self.hosts[at].free = Some(self.hosts[at].boot);
                    held_back[at] = 0;
                    is_still = false;
                }
                self.settle();
                if let Some(rule) = self.wrong() {
                    return Err(rule.to_owned());
                }
            }
            self.api = true;
            self.hours = world::Hours::Open;
            if is_still && round > 1 && held_back.iter().all(|rounds| *rounds == 0) {
                let left = self.indices().find_map(|at| self.left_over(at).map(|left| format!("host {at}: {left}")));
                return left.map_or(Ok(round), Err);
            }
        }
        Err("it does not come to rest".to_owned())
    }
}

/// Until nothing new is found.
const EVER: u32 = u32::MAX;

fn explore(name: &str, first: World, deepest: u32) -> (usize, usize) {
    let mut decided = Decided::default();
    let mut known = HashSet::from([first]);
    let mut open = VecDeque::from([(first, 0)]);
    let (mut looked, mut rested) = (0_u32, 0_u32);
    while let Some((world, depth)) = open.pop_front() {
        // Every so often: from wherever it has come to, it must come to rest.
        looked += 1;
        if looked % 151 == 0 {
            rested += 1;
            if let Err(what) = world.comes_to_rest(&mut decided) {
                panic!("{name}: {what}, from {}", world.tell());
            }
        }
        if depth == deepest {
            continue;
        }
        for (_, next) in followers(&world, &mut decided) {
            if known.insert(next) {
                open.push_back((next, depth + 1));
            }
        }
    }
    println!("{name}: {} worlds, {} views, {rested} ways to rest", known.len(), decided.0.len());
    (known.len(), decided.0.len())
}

#[test]
fn two_hosts_and_one_slot_whatever_happens() {
    let world = World::new(2, 1);
    for (name, world, depth) in [
        ("nothing goes wrong", world, EVER),
        ("one fault", World { faults: 1, ..world }, EVER),
        ("an eager OS", World { faults: 1, eager: true, ..world }, EVER),
        ("a sick release", World { faults: 1, sick: 2, rollback: true, ..world }, EVER),
        ("two faults", World { faults: 2, ..world }, 8),
        ("a sick release, two faults", World { faults: 2, sick: 2, rollback: true, eager: true, ..world }, 8),
    ] {
        explore(name, world, depth);
    }
}

/// Host 0 goes by the book until this is so.
fn by_the_book(mut world: World, until: impl Fn(&World) -> bool) -> World {
    let mut decided = Decided::default();
    for _ in 0..100 {
        if until(&world) {
            return world;
        }
        if world.hosts[0].up {
            let step = decided.of(&world, 0).step.clone();
            if !matches!(step, Step::Idle { .. }) {
                world = world.carry(0, &step, End::Done);
                continue;
            }
        }
        let mut natural = Vec::new();
        world.nature_of(0, &mut natural);
        world = natural.swap_remove(0).1;
    }
    panic!("by the book it does not come there: {}", world.tell());
}

/// From where the most is at stake, more may go wrong.
#[test]
fn in_the_middle_of_it() {
    let world = World::new(2, 1);
    let sick = World { sick: 2, rollback: true, ..world };
    for (name, world, depth) in [
        ("let go", by_the_book(world, |world| world.hosts[0].coming.is_some()), 5),
        ("drained", by_the_book(world, |world| world.hosts[0].drain == world::Draining::Done), 4),
        ("booted", by_the_book(world, |world| world.hosts[0].boot == 1 && world.hosts[0].up), 4),
        ("rolled back", by_the_book(sick, |world| world.hosts[0].boot == 2 && world.hosts[0].up), 5),
    ] {
        explore(name, World { faults: 3, ..world }, depth);
    }
}

/// A generator that is the same everywhere (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % limit
    }
}

#[test]
fn up_to_four_hosts_in_many_random_orders() {
    let mut decided = Decided::default();
    let mut steps = BTreeMap::<&str, u32>::new();
    for seed in 1..=200_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let count = u8::try_from(2 + dice.below(3)).unwrap();
        let mut world = World::new(count, u8::try_from(1 + dice.below(2)).unwrap());
        world.eager = dice.below(2) == 0;
        world.rollback = dice.below(2) == 0;
        world.sick = if dice.below(2) == 0 { 2 } else { 0 };
        let mut story = Vec::new();
        for _ in 0..250 {
            // Faults are as likely as a step or time, but do not drown them.
            world.faults = u8::from(dice.below(4) == 0);
            let mut next = followers(&world, &mut decided);
            if dice.below(20) == 0 {
                let at = dice.below(usize::from(count));
                if world.hosts[at].up {
                    next = vec![("its view lags", world.lagging(at))];
                }
            }
            if next.is_empty() {
                break;
            }
            let (name, chosen) = next[dice.below(next.len())];
            *steps.entry(name).or_default() += 1;
            story.push(name);
            world = chosen;
        }
        if let Err(what) = world.comes_to_rest(&mut decided) {
            panic!("seed {seed}: {what}, after {story:?}, from {}", world.tell());
        }
    }
    println!("{} views, {steps:#?}", decided.0.len());
    for step in ["take", "amend", "free", "renew", "cordon", "uncordon", "drain", "stop-drain", "let-go", "rollback"] {
        assert!(steps.contains_key(step), "{step} was never done, so nothing is said about it");
    }
}
