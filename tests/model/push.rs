//! Push, leases and the barrier: `src/access/{push,keeper,barrier}.rs` without the rest.
//!
//! Every step that takes time in the world is a step here, and any number of other steps may come between two of them:
//! a statement is sent, the database carries it out, the answer is acted on. A connection that dies silently is one
//! whose next step never comes. Signs are lost at will. All clocks run at one rate; nothing compares their values.

use stateright::{Model, Property};

/// How long pushed knowledge may be trusted, and how long a lease is, in ticks.
pub(crate) const MAX_STALENESS: u8 = 2;
pub(crate) const GATES: usize = 2;

pub(crate) const BARRIER_HOLDS: &str = "after the barrier, no gate allows by the old epoch";
pub(crate) const BOUND_HOLDS: &str = "without the barrier, no gate is staler than max_staleness";

/// The rules of the protocol, each of which can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    AsBuilt,
    /// Trust counts from when the answer came, not from before the renewal was sent.
    TrustFromTheAnswer,
    /// A sign is acknowledged when it comes, and the row is read after.
    AcknowledgeBeforeActing,
    /// One statement renews the lease and reads the row: it reads by a snapshot from before it is committed.
    RenewInTheStatementThatReads,
    /// The barrier counts a lease from before it looked.
    WaitFromBeforeTheLook,
    /// A command that has waited a lease out ends it, even if it was renewed meanwhile.
    EndWhateverWasRenewed,
    /// A lease ends by the database's clock, which somebody sets forward.
    LeasesByTheDatabasesClock,
}

/// A small world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) rules: Rules,
    pub(crate) gates: usize,
    pub(crate) revocations: u8,
    pub(crate) ticks: u8,
    /// Whether the database may carry out a renewal after the gate has given it up.
    pub(crate) late_renewals: bool,
}

/// Where a gate's task is. `until` is up to when it may trust what it reads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Disconnected,
    Renewing {
        until: u8,
    },
    /// Only where one statement does both: the snapshot is taken, the renewal not yet committed.
    Committing {
        until: u8,
        read: u8,
    },
    Reading {
        until: u8,
    },
    HasRead {
        until: u8,
        read: u8,
    },
    Acknowledging {
        until: u8,
        then_reads: bool,
    },
    Resting {
        until: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gate {
    /// The epoch, and until when it may be trusted.
    known: Option<(u8, u8)>,
    acts_on: u8,
    phase: Phase,
    /// A sign that is on its way or waits to be read.
    sign: Option<u8>,
    /// A renewal that the gate has given up on and the database may yet carry out.
    late: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    acknowledged: u8,
    ended: bool,
    /// Since a barrier last looked: the model's form of the count of renewals.
    renewed: bool,
    /// By the database's clock.
    until: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Revoker {
    AtRest,
    Committed,
    Looking { began: u8 },
    Waiting { over: u8, open: [bool; GATES] },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    now: u8,
    /// How far the database's clock is ahead.
    skew: u8,
    epoch: u8,
    /// Until when a gate may act on an epoch before this one.
    grace: [u8; 3],
    /// What a barrier has returned for.
    settled: u8,
    revoker: Revoker,
    gates: [Gate; GATES],
    leases: [Option<Lease>; GATES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Tick,
    SetTheDatabasesClockForward,
    Beat(usize),
    DatabaseAnswers(usize),
    ActOnTheAnswer(usize),
    SeeTheSign(usize),
    LoseTheSign(usize),
    GiveUp(usize),
    LateRenewal(usize),
    Revoke,
    Look,
    SeeTheLeases,
    Check,
}

impl World {
    fn trusts(&self, gate: usize) -> Option<u8> {
        self.gates[gate].known.filter(|(_, until)| self.now < *until).map(|(epoch, _)| epoch)
    }

    fn renew(&mut self, gate: usize, acknowledged: u8) {
        let until = self.now + self.skew + MAX_STALENESS;
        self.leases[gate] = Some(Lease { acknowledged, ended: false, renewed: true, until });
    }

    /// Times that are over are all alike: so that there are fewer worlds.
    fn forget_the_past(&mut self) {
        let now = self.now;
        let past = |time: &mut u8| {
            if *time <= now {
                *time = 0;
            }
        };
        for gate in &mut self.gates {
            gate.known = gate.known.filter(|(_, until)| now < *until);
            match &mut gate.phase {
                Phase::Disconnected => {}
                Phase::Renewing { until }
                | Phase::Committing { until, .. }
                | Phase::Reading { until }
                | Phase::HasRead { until, .. }
                | Phase::Acknowledging { until, .. }
                | Phase::Resting { until } => past(until),
            }
        }
        self.grace.iter_mut().for_each(past);
    }
}

impl Protocol {
    fn look(&self, world: &mut World, began: u8) {
        let from = if self.rules == Rules::WaitFromBeforeTheLook { began } else { world.now };
        let mut open = [false; GATES];
        for (gate, lease) in world.leases.iter_mut().enumerate() {
            if let Some(lease) = lease {
                lease.renewed = false;
                open[gate] = !lease.ended && lease.acknowledged < world.epoch;
            }
        }
        world.revoker = Revoker::Waiting { over: from + MAX_STALENESS, open };
    }

    /// Takes out who has acknowledged and who has lapsed; the barrier returns when nobody is left.
    fn check(&self, world: &mut World, over: u8, mut open: [bool; GATES]) {
        for (gate, is_open) in open.iter_mut().enumerate().filter(|(_, is_open)| **is_open) {
            let Some(lease) = &mut world.leases[gate] else { continue };
            let lapsed = match self.rules {
                Rules::LeasesByTheDatabasesClock => world.now + world.skew >= lease.until,
                _ => world.now >= over,
            };
            if lapsed && (!lease.renewed || self.rules == Rules::EndWhateverWasRenewed) {
                lease.ended = true;
            }
            *is_open = !(lapsed || lease.ended || lease.acknowledged >= world.epoch);
        }
        world.revoker = Revoker::Waiting { over, open };
        if !open.contains(&true) {
            world.settled = world.epoch;
            world.revoker = Revoker::AtRest;
        }
    }

    fn database_answers(&self, world: &mut World, gate: usize) {
        let acts_on = world.gates[gate].acts_on;
        let next = match world.gates[gate].phase {
            Phase::Renewing { until } if self.rules == Rules::RenewInTheStatementThatReads => {
                Phase::Committing { until, read: world.epoch }
            }
            Phase::Renewing { until } => {
                world.renew(gate, acts_on);
                Phase::Reading { until }
            }
            Phase::Committing { until, read } => {
                world.renew(gate, acts_on);
                Phase::HasRead { until, read }
            }
            Phase::Reading { until } => Phase::HasRead { until, read: world.epoch },
            Phase::Acknowledging { until, then_reads } => {
                world.renew(gate, acts_on);
                if then_reads { Phase::Reading { until } } else { Phase::Resting { until } }
            }
            same => same,
        };
        world.gates[gate].phase = next;
    }

    fn act_on_the_answer(&self, world: &mut World, gate: usize, until: u8, read: u8) {
        let trusted_until = match self.rules {
            Rules::TrustFromTheAnswer => world.now + MAX_STALENESS,
            _ => until,
        };
        let gate = &mut world.gates[gate];
        gate.known = Some((read, trusted_until));
        gate.phase = if gate.acts_on == read {
            Phase::Resting { until }
        } else {
            Phase::Acknowledging { until, then_reads: false }
        };
        gate.acts_on = read;
    }

    fn see_the_sign(&self, gate: &mut Gate, until: u8, sign: u8) {
        gate.sign = None;
        if sign <= gate.acts_on {
            return;
        }
        if self.rules == Rules::AcknowledgeBeforeActing {
            gate.acts_on = sign;
            gate.phase = Phase::Acknowledging { until, then_reads: true };
        } else {
            gate.known = None;
            gate.phase = Phase::Reading { until };
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let gate = Gate { known: None, acts_on: 0, phase: Phase::Disconnected, sign: None, late: None };
        vec![World {
            now: 1,
            skew: 0,
            epoch: 0,
            grace: [0; 3],
            settled: 0,
            revoker: Revoker::AtRest,
            gates: [gate; GATES],
            leases: [None; GATES],
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.now < self.ticks {
            actions.push(Action::Tick);
        }
        if self.rules == Rules::LeasesByTheDatabasesClock && world.skew == 0 {
            actions.push(Action::SetTheDatabasesClockForward);
        }
        for (number, gate) in world.gates.iter().enumerate().take(self.gates) {
            match gate.phase {
                Phase::Disconnected => actions.push(Action::Beat(number)),
                Phase::Resting { .. } => {
                    actions.push(Action::Beat(number));
                    actions.push(Action::GiveUp(number));
                    if gate.sign.is_some() {
                        actions.push(Action::SeeTheSign(number));
                    }
                }
                Phase::HasRead { .. } => {
                    actions.push(Action::ActOnTheAnswer(number));
                    actions.push(Action::GiveUp(number));
                }
                _ => {
                    actions.push(Action::DatabaseAnswers(number));
                    actions.push(Action::GiveUp(number));
                }
            }
            if gate.sign.is_some() {
                actions.push(Action::LoseTheSign(number));
            }
            if gate.late.is_some() {
                actions.push(Action::LateRenewal(number));
            }
        }
        match world.revoker {
            Revoker::AtRest if world.epoch < self.revocations => actions.push(Action::Revoke),
            Revoker::AtRest => {}
            Revoker::Committed => actions.push(Action::Look),
            Revoker::Looking { .. } => actions.push(Action::SeeTheLeases),
            Revoker::Waiting { .. } => actions.push(Action::Check),
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Tick => {
                world.now += 1;
                world.forget_the_past();
            }
            Action::SetTheDatabasesClockForward => world.skew = MAX_STALENESS,
            Action::Beat(gate) => {
                world.gates[gate].phase = Phase::Renewing { until: world.now + MAX_STALENESS };
            }
            Action::DatabaseAnswers(gate) => self.database_answers(&mut world, gate),
            Action::ActOnTheAnswer(gate) => {
                let Phase::HasRead { until, read } = world.gates[gate].phase else { return None };
                self.act_on_the_answer(&mut world, gate, until, read);
            }
            Action::SeeTheSign(gate) => {
                let gate = &mut world.gates[gate];
                let (Phase::Resting { until }, Some(sign)) = (gate.phase, gate.sign) else { return None };
                self.see_the_sign(gate, until, sign);
            }
            Action::LoseTheSign(gate) => world.gates[gate].sign = None,
            Action::GiveUp(gate) => {
                let gate = &mut world.gates[gate];
                let was_sent = matches!(gate.phase, Phase::Renewing { .. } | Phase::Acknowledging { .. });
                if was_sent && self.late_renewals {
                    gate.late = Some(gate.acts_on);
                }
                (gate.known, gate.sign, gate.phase) = (None, None, Phase::Disconnected);
            }
            Action::LateRenewal(gate) => {
                let acknowledged = world.gates[gate].late.take()?;
                world.renew(gate, acknowledged);
            }
            Action::Revoke => {
                world.epoch += 1;
                world.grace[usize::from(world.epoch)] = world.now + MAX_STALENESS;
                world.revoker = Revoker::Committed;
                for gate in &mut world.gates[..self.gates] {
                    if gate.phase != Phase::Disconnected {
                        gate.sign = Some(world.epoch);
                    }
                }
            }
            Action::Look => world.revoker = Revoker::Looking { began: world.now },
            Action::SeeTheLeases => {
                let Revoker::Looking { began } = world.revoker else { return None };
                self.look(&mut world, began);
            }
            Action::Check => {
                let Revoker::Waiting { over, open } = world.revoker else { return None };
                self.check(&mut world, over, open);
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(BARRIER_HOLDS, |_, world: &World| {
                (0..GATES).all(|gate| world.trusts(gate).is_none_or(|epoch| epoch >= world.settled))
            }),
            Property::always(BOUND_HOLDS, |_, world: &World| {
                (0..GATES).all(|gate| {
                    world.trusts(gate).is_none_or(|epoch| {
                        epoch >= world.epoch || world.now < world.grace[usize::from(epoch) + 1]
                    })
                })
            }),
            // What could not happen could not go wrong either.
            Property::sometimes("a gate trusts what is no longer so", |_, world: &World| {
                (0..GATES).any(|gate| world.trusts(gate).is_some_and(|epoch| epoch < world.epoch))
            }),
            Property::sometimes(
                "the barrier returns, and a gate trusts what it waited for",
                |_, world: &World| {
                    world.settled > 0 && (0..GATES).any(|gate| world.trusts(gate) == Some(world.settled))
                },
            ),
            Property::sometimes("the barrier waits a lease out", |_, world: &World| {
                world.settled > 0 && world.leases.iter().flatten().any(|lease| lease.ended)
            }),
        ]
    }
}
