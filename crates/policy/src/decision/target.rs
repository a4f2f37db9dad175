//! What a request's method and path match in the mapping, and its caller.

use crate::identity::Principal;
use crate::mapping::{BodyRule, Mapping, Rollout, Row, RowKind, Unmapped};
use crate::method::Method;
use crate::rbac::Access;

/// What the request's path and method matched.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A row, and the rollout of its cluster.
    Row(&'a Row, &'a Rollout),
    /// No row.
    Unmapped(Unmapped),
}

/// The path of `OPTIONS *` (RFC 9112 3.2.4). Every other path begins with a slash.
const ASTERISK: &str = "*";

impl<'a> Target<'a> {
    /// What a method and a decoded path match. The gate, its explanations and a replay all use this function, so that
    /// all of them find the same row.
    pub fn of(mapping: &'a Mapping, path: &str, method: Method) -> Target<'a> {
        if path == ASTERISK {
            // It names the server and not a route, so no row can cover it and `unmapped` must not open it.
            return Target::Unmapped(Unmapped::Deny);
        }
        // A redirect runs no view, but it reveals that the route exists: only callers that the row permits may see it.
        match mapping.find(path, method).row() {
            Some(row) => Target::Row(row, mapping.rollout_of(row)),
            None => Target::Unmapped(mapping.unmapped_at(path)),
        }
    }

    /// The row, if there is one.
    pub fn row(&self) -> Option<&'a Row> {
        match self {
            Target::Row(row, _) => Some(row),
            Target::Unmapped(_) => None,
        }
    }

    /// The body rules of the row; empty where the body does not matter.
    pub fn body_rules(&self) -> &'a [BodyRule] {
        self.row().map_or(&[], |row| row.kind.body_rules())
    }
}

/// The caller of a request.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// No known principal.
    Nobody,
    /// An active admin or machine.
    Known(&'a Principal, &'a Access),
    /// A caller with a bearer or HMAC credential that the gate does not know and Console verifies itself (cutover
    /// design, I-7). Machine rows accept it, and so do rows on their legacy gate on which a machine may act instead of
    /// a session.
    Presented,
}

impl<'a> Caller<'a> {
    /// An admin with a session or a machine with its token, as this target sees them. A machine's token is looked up
    /// only on rows that accept machines. On a machine row it is as good as any other credential; elsewhere its holder
    /// counts as unauthenticated.
    pub fn at(target: &Target<'_>, principal: &'a Principal, access: &'a Access) -> Caller<'a> {
        match (principal, target.row().map(|row| &row.kind)) {
            (Principal::Admin { .. }, _)
            | (Principal::Machine { .. }, Some(RowKind::Gated { machine: true, .. })) => {
                Caller::Known(principal, access)
            }
            (Principal::Machine { .. }, Some(RowKind::Machine)) => Caller::Presented,
            (Principal::Machine { .. }, _) => Caller::Nobody,
        }
    }
}
