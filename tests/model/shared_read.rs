//! Strict: one read for all who wait (`src/access/shared_read.rs`). A caller gets a read that began after it asked.

use stateright::{Checker as _, Model, Property};

const NEVER_STALE: &str = "a strict answer is never from before its request";

struct SharedRead {
    /// Who asks while a read is under way shares that one: the mistake that the queue is there to avoid.
    joins_the_read_under_way: bool,
    requests: u8,
    commits: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    epoch: u8,
    asked: u8,
    /// The epochs that were committed when each asked.
    waiting: Vec<u8>,
    /// Those whom the read under way is for, and what it saw, once the database has looked.
    reading: Option<(Vec<u8>, Option<u8>)>,
    was_stale: bool,
    answered: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Commit,
    Ask,
    BeginToRead,
    DatabaseLooks,
    Answer,
}

impl Model for SharedRead {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.epoch < self.commits {
            actions.push(Action::Commit);
        }
        if world.asked < self.requests {
            actions.push(Action::Ask);
        }
        match &world.reading {
            None if !world.waiting.is_empty() => actions.push(Action::BeginToRead),
            None => {}
            Some((_, None)) => actions.push(Action::DatabaseLooks),
            Some((_, Some(_))) => actions.push(Action::Answer),
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Commit => world.epoch += 1,
            Action::Ask => {
                world.asked += 1;
                match &mut world.reading {
                    Some((callers, _)) if self.joins_the_read_under_way => callers.push(world.epoch),
                    _ => world.waiting.push(world.epoch),
                }
            }
            Action::BeginToRead => world.reading = Some((std::mem::take(&mut world.waiting), None)),
            Action::DatabaseLooks => world.reading.as_mut()?.1 = Some(world.epoch),
            Action::Answer => {
                let (callers, seen) = world.reading.take()?;
                world.was_stale |= callers.iter().any(|committed| seen < Some(*committed));
                world.answered += u8::try_from(callers.len()).ok()?;
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_STALE, |_, world: &World| !world.was_stale),
            Property::sometimes("everybody is answered", |model: &SharedRead, world: &World| {
                world.answered == model.requests
            }),
        ]
    }
}

#[test]
fn strict_is_never_stale() {
    let world = SharedRead { joins_the_read_under_way: false, requests: 4, commits: 3 };
    world.checker().spawn_bfs().join().assert_properties();
}

#[test]
fn the_checker_finds_a_caller_who_joins_a_read_under_way() {
    let world = SharedRead { joins_the_read_under_way: true, requests: 2, commits: 1 };
    assert!(world.checker().spawn_bfs().join().discovery(NEVER_STALE).is_some());
}
