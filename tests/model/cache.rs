//! The cache and its ledger: `src/access.rs` and `src/access/ledger.rs` without the rest.
//!
//! Two subjects, each in a session of its own, and changes that concern one of them or both. Every step that takes time is
//! a step here: a request asks, the control row is read, what was read is acted on, access is read, the answer is kept.
//! Any other step may come between two of them, and answers may come in another order than they were read in.
//!
//! What is checked is the promise itself: whatever is answered was read after the last change that concerns the subject
//! and was committed before the request asked.

use stateright::{Checker as _, Model, Property};

pub(crate) const NEVER_STALE: &str = "no answer is from before a change that its request could have seen";
const SUBJECTS: usize = 2;
const REQUESTS: usize = 2;

/// The rules, each of which can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    AsBuilt,
    /// A number that is not listed is taken for nothing, not for everybody.
    UnlistedConcernsNobody,
    /// The list is believed to begin where it does, not where the reader left off.
    ForgottenConcernsNobody,
    /// The row is acted on before the ledger has taken note of what came with it.
    ActBeforeTakingNote,
    /// Who waits for a load under way takes its answer, whatever it was read at.
    TakeWhateverIsLoaded,
    /// What is kept counts as read when it is kept.
    CountFromTheKeeping,
    /// Numbers are handed out when a change begins, as by a sequence, and not when it is committed.
    NumbersBeforeCommit,
}

#[derive(Clone, Copy, Debug)]
struct Protocol {
    rules: Rules,
    changes: u8,
    /// How many listed numbers are kept.
    remembered: usize,
}

/// Whom a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Concern {
    Everybody,
    One(usize),
}

impl Concern {
    fn is_about(self, subject: usize) -> bool {
        matches!(self, Concern::Everybody) || self == Concern::One(subject)
    }
}

/// What one read of the control row found: its epoch, and what is listed after `asked`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reading {
    asked: Option<u8>,
    epoch: u8,
    listed: Vec<(u8, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// It has not asked yet.
    Idle,
    /// It has arrived; the control row is to be read.
    Asked,
    Read(Reading),
    /// It goes by what was read, and the ledger does not know yet; only where that rule is broken.
    Hasty(Reading),
    /// It goes by this epoch.
    Observed(u8),
    /// Access is to be read, for an answer that was read at `least` or later.
    Loading {
        least: u8,
    },
    /// Access was read at that epoch, and says what it said then.
    Loaded {
        least: u8,
        read: u8,
        version: u8,
    },
    Answered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    subject: usize,
    /// How many changes that concern it were committed when it asked.
    owed: u8,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// What was committed, in that order, each with its number.
    committed: Vec<(u8, Concern)>,
    /// A change that has its number and is not committed; only where numbers are handed out before.
    pending: Option<(u8, Concern)>,
    numbers: u8,
    /// Up to which number the list has forgotten.
    forgotten: u8,
    known: Option<u8>,
    everybody: u8,
    own: [u8; SUBJECTS],
    /// The epoch that an answer counts as read at, and what it says.
    cache: [Option<(u8, u8)>; SUBJECTS],
    requests: Vec<Request>,
    was_stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Begin(Concern),
    Commit,
    Ask(usize, usize),
    ReadControl(usize),
    ActOnIt(usize),
    LookInTheCache(usize),
    ReadAccess(usize),
    Keep(usize),
    /// Takes the answer of another request's load of the same subject.
    Share(usize, usize),
}

impl World {
    fn epoch(&self) -> u8 {
        self.committed.iter().map(|(number, _)| *number).max().unwrap_or(0)
    }

    /// How many changes that concern the subject were committed; what an answer holds is known by this.
    fn version(&self, subject: usize) -> u8 {
        let concerning = self.committed.iter().filter(|(_, concern)| concern.is_about(subject));
        u8::try_from(concerning.count()).unwrap()
    }

    fn learn(&mut self, rules: Rules, reading: &Reading) {
        let Some(known) = self.known.filter(|_| reading.asked.is_some()) else {
            if self.known.is_none_or(|known| reading.epoch > known) {
                self.concern_everybody(reading.epoch);
                self.known = Some(reading.epoch);
            }
            return;
        };
        if reading.epoch <= known {
            return;
        }
        let is_listed = |number: u8| reading.listed.iter().any(|(listed, _)| *listed == number);
        let first = match rules {
            Rules::ForgottenConcernsNobody => {
                reading.listed.first().map_or(known, |(first, _)| known.max(*first - 1))
            }
            _ => known,
        };
        let last = (first + 1..=reading.epoch).rev().find(|number| !is_listed(*number));
        if let Some(last) = last.filter(|_| rules != Rules::UnlistedConcernsNobody) {
            self.concern_everybody(last);
        }
        for (number, subject) in &reading.listed {
            if *number > self.everybody {
                self.own[*subject] = self.own[*subject].max(*number);
            }
        }
        self.known = Some(reading.epoch);
    }

    fn concern_everybody(&mut self, epoch: u8) {
        self.everybody = self.everybody.max(epoch);
    }

    fn least(&self, subject: usize, observed: u8) -> u8 {
        match self.known {
            Some(known) if known >= observed => self.everybody.max(self.own[subject]),
            _ => observed,
        }
    }

    fn answer(&mut self, request: usize, version: u8) {
        self.was_stale |= version < self.requests[request].owed;
        self.requests[request].phase = Phase::Answered;
    }
}

impl Protocol {
    /// Without the broken rules, an answer's number is the epoch of its own snapshot, and its version what it says.
    fn keep(&self, world: &mut World, request: usize, read: u8, version: u8) {
        let subject = world.requests[request].subject;
        let counts_from = match self.rules {
            Rules::CountFromTheKeeping => world.known.unwrap_or(read).max(read),
            _ => read,
        };
        world.cache[subject] = Some((counts_from, version));
    }

    fn act(&self, world: &mut World, request: usize, reading: &Reading) {
        if self.rules == Rules::ActBeforeTakingNote {
            world.requests[request].phase = Phase::Hasty(reading.clone());
            return;
        }
        world.learn(self.rules, reading);
        world.requests[request].phase = Phase::Observed(reading.epoch);
    }

    fn look_in_the_cache(&self, world: &mut World, request: usize) {
        let subject = world.requests[request].subject;
        let (least, late) = match world.requests[request].phase.clone() {
            Phase::Hasty(reading) => {
                // As if all that was read were accounted for already.
                let known = world.known.unwrap_or(reading.epoch).min(reading.epoch);
                (world.least(subject, known), Some(reading))
            }
            Phase::Observed(observed) => (world.least(subject, observed), None),
            _ => return,
        };
        match world.cache[subject] {
            Some((read, version)) if read >= least => world.answer(request, version),
            _ => world.requests[request].phase = Phase::Loading { least },
        }
        if let Some(reading) = late {
            world.learn(self.rules, &reading);
        }
    }

    fn read_control(&self, world: &World) -> Reading {
        let asked = world.known;
        let listed = world.committed.iter().filter_map(|(number, concern)| match concern {
            Concern::One(subject) if asked.is_some_and(|asked| *number > asked) => {
                (*number > world.forgotten).then_some((*number, *subject))
            }
            _ => None,
        });
        let mut listed: Vec<(u8, usize)> = listed.collect();
        listed.sort_unstable();
        Reading { asked, epoch: world.epoch(), listed }
    }

    fn commit(&self, world: &mut World, number: u8, concern: Concern) {
        world.committed.push((number, concern));
        let mut listed: Vec<u8> = world
            .committed
            .iter()
            .filter(|(_, concern)| *concern != Concern::Everybody)
            .map(|(number, _)| *number)
            .collect();
        listed.sort_unstable();
        if let Some(oldest_lost) = listed.len().checked_sub(self.remembered + 1) {
            world.forgotten = listed[oldest_lost];
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let request = Request { subject: 0, owed: 0, phase: Phase::Idle };
        vec![World {
            committed: Vec::new(),
            pending: None,
            numbers: 0,
            forgotten: 0,
            known: None,
            everybody: 0,
            own: [0; SUBJECTS],
            cache: [None; SUBJECTS],
            requests: vec![request; REQUESTS],
            was_stale: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.numbers < self.changes {
            let concerns = [Concern::Everybody, Concern::One(0), Concern::One(1)];
            actions.extend(concerns.map(Action::Begin));
        }
        if world.pending.is_some() {
            actions.push(Action::Commit);
        }
        for (number, request) in world.requests.iter().enumerate() {
            match &request.phase {
                Phase::Idle | Phase::Answered => {
                    actions.extend((0..SUBJECTS).map(|subject| Action::Ask(number, subject)));
                }
                Phase::Asked => actions.push(Action::ReadControl(number)),
                Phase::Read(_) => actions.push(Action::ActOnIt(number)),
                Phase::Hasty(_) | Phase::Observed(_) => actions.push(Action::LookInTheCache(number)),
                Phase::Loading { .. } => {
                    actions.push(Action::ReadAccess(number));
                    actions.extend(
                        (0..REQUESTS)
                            .filter(|other| *other != number)
                            .map(|other| Action::Share(number, other)),
                    );
                }
                Phase::Loaded { .. } => actions.push(Action::Keep(number)),
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Begin(concern) if self.rules == Rules::NumbersBeforeCommit => {
                world.numbers += 1;
                let number = world.numbers;
                // One may wait for its commit while others go by.
                match world.pending {
                    None => world.pending = Some((number, concern)),
                    Some(_) => self.commit(&mut world, number, concern),
                }
            }
            Action::Begin(concern) => {
                world.numbers += 1;
                let number = world.numbers;
                self.commit(&mut world, number, concern);
            }
            Action::Commit => {
                let (number, concern) = world.pending.take()?;
                self.commit(&mut world, number, concern);
            }
            Action::Ask(request, subject) => {
                let owed = world.version(subject);
                world.requests[request] = Request { subject, owed, phase: Phase::Asked };
            }
            Action::ReadControl(request) => {
                world.requests[request].phase = Phase::Read(self.read_control(&world));
            }
            Action::ActOnIt(request) => {
                let Phase::Read(reading) = world.requests[request].phase.clone() else { return None };
                self.act(&mut world, request, &reading);
            }
            Action::LookInTheCache(request) => self.look_in_the_cache(&mut world, request),
            Action::ReadAccess(request) => {
                let Phase::Loading { least } = world.requests[request].phase else { return None };
                let (read, version) = (world.epoch(), world.version(world.requests[request].subject));
                world.requests[request].phase = Phase::Loaded { least, read, version };
            }
            Action::Keep(request) => {
                let Phase::Loaded { least, read, version } = world.requests[request].phase else {
                    return None;
                };
                self.keep(&mut world, request, read, version);
                if read >= least {
                    world.answer(request, version);
                } else {
                    world.requests[request].phase = Phase::Loading { least };
                }
            }
            Action::Share(request, other) => {
                let Phase::Loading { least } = world.requests[request].phase else { return None };
                let Phase::Loaded { read, version, .. } = world.requests[other].phase else { return None };
                let is_mine = world.requests[request].subject == world.requests[other].subject;
                if !is_mine || (read < least && self.rules != Rules::TakeWhateverIsLoaded) {
                    return None;
                }
                world.answer(request, version);
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_STALE, |_, world: &World| !world.was_stale),
            // What could not happen could not go wrong either.
            Property::sometimes("an answer outlives a change that concerns another", |_, world: &World| {
                let outlives = |subject: usize| {
                    let others = Concern::One(1 - subject);
                    let cached = world.cache[subject];
                    let changed = world.committed.iter().any(|(number, concern)| {
                        *concern == others && cached.is_some_and(|(read, _)| *number > read)
                    });
                    changed
                        && world.known == Some(world.epoch())
                        && cached.is_some_and(|(read, _)| read >= world.least(subject, world.epoch()))
                };
                outlives(0) || outlives(1)
            }),
            Property::sometimes("a number is forgotten before it was read", |_, world: &World| {
                world.known.is_some_and(|known| world.forgotten > known)
            }),
        ]
    }
}

const SMALL: Protocol = Protocol { rules: Rules::AsBuilt, changes: 2, remembered: 1 };

fn holds(world: Protocol) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    println!("{world:?}: {} worlds", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn no_answer_is_stale_whatever_comes_between() {
    holds(SMALL);
}

#[test]
#[ignore = "takes minutes; `make race` runs it"]
fn no_answer_is_stale_through_three_changes() {
    holds(Protocol { changes: 3, ..SMALL });
}

/// A way in which the promise fails under the broken rules.
fn found(rules: Rules, remembered: usize) {
    let checker = Protocol { rules, remembered, ..SMALL }.checker().threads(1).spawn_bfs().join();
    let path = checker.discovery(NEVER_STALE).unwrap_or_else(|| panic!("{rules:?} was not found"));
    println!("{rules:?}: broken by {:?}", path.into_actions());
}

#[test]
fn the_checker_finds_unlisted_numbers_that_concern_nobody() {
    found(Rules::UnlistedConcernsNobody, 1);
}

#[test]
fn the_checker_finds_forgotten_numbers_that_concern_nobody() {
    found(Rules::ForgottenConcernsNobody, 1);
}

#[test]
fn the_checker_finds_a_row_that_is_acted_on_before_the_ledger_has_it() {
    found(Rules::ActBeforeTakingNote, 2);
}

#[test]
fn the_checker_finds_an_answer_that_was_read_before_it_was_asked_for() {
    found(Rules::TakeWhateverIsLoaded, 2);
}

#[test]
fn the_checker_finds_answers_that_count_from_when_they_are_kept() {
    found(Rules::CountFromTheKeeping, 2);
}

#[test]
fn the_checker_finds_numbers_that_are_no_order_of_commits() {
    found(Rules::NumbersBeforeCommit, 2);
}
