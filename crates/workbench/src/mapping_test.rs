//! `routes.test.toml`: tests of a mapping, decided without a gate. Pure.
//!
//! A test file has *cases* (a caller, a request, the answer that it must get) and *invariants* (statements about all
//! possible callers and requests). Every answer comes from [`decide_with`](policy::decision::decide_with), the function
//! that a gate calls, for the row that [`Target::of`](policy::decision::Target::of) finds.
//!
//! [`verify`](crate::verify) is the counterpart against a running gate: it derives its cases from the mapping, and shows
//! that the gate decides by it. A test file shows that the mapping is the intended one.

pub mod caller;
pub mod coverage;
pub mod init;
pub mod invariants;
pub mod judge;
pub mod junit;
pub mod mutants;
mod names;
mod requests;
mod run;
mod space;
mod suite;
#[cfg(test)]
mod tests;
pub mod text;

use std::sync::Arc;

use policy::decision::Control;
use policy::diagnostic::Diagnostics;
use policy::firewall::Policy;
use policy::mapping::Mapping;
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::Person;

pub use names::GrantName;
pub use run::{Failure, Outcome, findings, run};
pub use suite::{Case, Expect, Invariant, InvariantKind, Who, registry_of};

/// Everything that the answers depend on.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub mapping: &'a Mapping,
    /// The name of the mapping's file, for places.
    pub mapping_file: &'a str,
    pub catalog: &'a Catalog,
    /// The people that cases can name; none without a database.
    pub people: &'a [Person],
    pub control: Control,
    pub break_glass: &'a BreakGlassRules,
    /// The policy of the firewall.
    pub policy: &'a Policy,
}

/// A sound test file, with its names resolved in one world.
#[derive(Clone, Debug)]
pub struct TestFile {
    pub path: String,
    pub source: Arc<str>,
    pub cases: Vec<Case>,
    pub invariants: Vec<Invariant>,
}

impl TestFile {
    /// Reads a test file. `path` is only for messages.
    ///
    /// # Errors
    ///
    /// Every mistake at once: unknown names, rows, keys and words. A syntax error is reported alone.
    pub fn read(path: &str, source: &str, world: &World<'_>) -> Result<TestFile, Diagnostics> {
        suite::read(path, source, world)
    }
}
