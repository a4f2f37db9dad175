//! The protocol holds, and the checker would find it if it did not.

use stateright::{Checker as _, Model as _};

use crate::push::{BARRIER_HOLDS, BOUND_HOLDS, Protocol, Rules};

const ONE_GATE: Protocol =
    Protocol { rules: Rules::AsBuilt, gates: 1, revocations: 2, ticks: 7, late_renewals: true };

fn holds(world: Protocol) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    println!("{world:?}: {} worlds", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn one_gate_through_two_revocations() {
    holds(ONE_GATE);
}

#[test]
fn two_gates_through_a_revocation() {
    holds(Protocol { gates: 2, revocations: 1, ticks: 3, late_renewals: false, ..ONE_GATE });
}

/// Twenty million worlds: minutes. `make race` runs it.
#[test]
#[ignore = "takes minutes; `make race` runs it"]
fn two_gates_with_late_renewals() {
    holds(Protocol { gates: 2, revocations: 1, ticks: 4, ..ONE_GATE });
}

/// A way in which `property` fails under the broken rules.
fn found(rules: Rules, property: &'static str) {
    let world = Protocol { rules, ..ONE_GATE };
    let checker = world.checker().threads(1).spawn_bfs().join();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("{rules:?} was not found"));
    println!("{rules:?}: {property}, broken by {:?}", path.into_actions());
}

#[test]
fn the_checker_finds_trust_that_counts_from_the_answer() {
    found(Rules::TrustFromTheAnswer, BOUND_HOLDS);
    found(Rules::TrustFromTheAnswer, BARRIER_HOLDS);
}

#[test]
fn the_checker_finds_an_acknowledgement_before_the_act() {
    found(Rules::AcknowledgeBeforeActing, BARRIER_HOLDS);
}

#[test]
fn the_checker_finds_a_lease_that_is_renewed_in_the_statement_that_reads() {
    found(Rules::RenewInTheStatementThatReads, BARRIER_HOLDS);
}

#[test]
fn the_checker_finds_a_barrier_that_counts_from_before_it_looked() {
    found(Rules::WaitFromBeforeTheLook, BARRIER_HOLDS);
}

#[test]
fn the_checker_finds_a_renewed_lease_that_is_ended() {
    found(Rules::EndWhateverWasRenewed, BARRIER_HOLDS);
}

#[test]
fn the_checker_finds_a_lease_by_a_clock_that_is_set_forward() {
    found(Rules::LeasesByTheDatabasesClock, BARRIER_HOLDS);
}
