//! Everybody whom the gate may have to decide about, and what was granted to each.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::LegacyRole;

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    Admin,
    Machine,
}

/// An enabled admin or a live machine token, with its direct grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub kind: CallerKind,
    /// The primary key of `admins` or `gate_machine_tokens`.
    pub id: Arc<str>,
    pub legacy: BTreeSet<LegacyRole>,
    pub groups: BTreeSet<Arc<str>>,
    /// Whether a break-glass session is live, which grants the roles of [`BREAK_GLASS`] (RBAC V2 design, I-3).
    pub break_glass: bool,
}

/// The group whose roles a break-glass session grants.
pub const BREAK_GLASS: &str = "break-glass";
