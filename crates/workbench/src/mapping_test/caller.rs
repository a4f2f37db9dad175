//! The callers of cases and invariants: hypothetical holdings, or people of the database.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use policy::decision::ticket::{TicketFacts, TicketHolding, TicketName};
use policy::identity::Principal;
use policy::ids::{AdminId, Epoch, MachineTokenId};
use policy::mapping::{Cohort, Rollout};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person, granting_groups};
use policy::rbac::{Access, LegacyRole, Standing};
use serde::Serialize;

type Names = BTreeSet<Arc<str>>;

/// The kinds of callers that a decision distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No credential.
    Anonymous,
    /// A program with a credential that only Console can verify.
    Program,
    Admin,
    /// An enrolled machine token.
    Machine,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Anonymous, Kind::Program, Kind::Admin, Kind::Machine];

    /// The word for it in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Anonymous => "anonymous",
            Kind::Program => "program",
            Kind::Admin => "admin",
            Kind::Machine => "machine",
        }
    }
}

/// Where a caller is in a cohort that is a share of all admins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// In none, like a hypothetical caller of `explain`.
    #[default]
    Outside,
    /// In every share.
    Inside,
    /// As the id of a real caller falls.
    ById,
}

/// A grant of a role for a ticket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketGrant {
    /// The ticket and the customer; `None` for those that the request names.
    pub of: Option<(String, i64)>,
    pub role: Arc<str>,
    pub is_open: bool,
}

/// Everything that a caller holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holdings {
    pub legacy: BTreeSet<LegacyRole>,
    pub groups: Names,
    /// Roles held by themselves, without a group.
    pub roles: Names,
    /// Whether a break-glass session is live.
    pub break_glass: bool,
    pub ticket: Option<TicketGrant>,
    pub share: Share,
}

impl Holdings {
    /// How many grants these are: of two witnesses, the one with fewer is easier to understand.
    pub fn size(&self) -> usize {
        let flags = usize::from(self.break_glass) + usize::from(self.ticket.is_some());
        self.legacy.len() + self.groups.len() + self.roles.len() + flags
    }
}

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    pub kind: Kind,
    pub holdings: Holdings,
    /// As the test file names it; `None` if its holdings describe it.
    pub name: Option<String>,
}

impl Caller {
    /// A caller that its holdings describe.
    pub fn holding(kind: Kind, holdings: Holdings) -> Caller {
        Caller { kind, holdings, name: None }
    }

    /// A caller of a kind without any grant.
    pub fn bare(kind: Kind) -> Caller {
        Caller::holding(kind, Holdings::default())
    }

    /// A caller from the database.
    pub fn of_person(person: &Person) -> Caller {
        let kind = match person.kind {
            CallerKind::Admin => Kind::Admin,
            CallerKind::Machine => Kind::Machine,
        };
        let holdings = Holdings {
            legacy: person.legacy.as_ref().clone(),
            groups: person.groups.as_ref().clone(),
            break_glass: person.break_glass,
            share: Share::ById,
            ..Holdings::default()
        };
        Caller { kind, holdings, name: Some(person.id.to_string()) }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            return f.write_str(name);
        }
        let holdings = &self.holdings;
        let legacy = holdings.legacy.iter().map(|role| format!("legacy role {role}"));
        let groups = holdings.groups.iter().map(|group| format!("group {group}"));
        let roles = holdings.roles.iter().map(|role| format!("role {role}"));
        let mut held: Vec<String> = legacy.chain(groups).chain(roles).collect();
        if holdings.break_glass {
            held.push("a break-glass session".to_owned());
        }
        held.extend(holdings.ticket.iter().map(|grant| format!("role {} for the ticket", grant.role)));
        let kind = match self.kind {
            Kind::Anonymous => return f.write_str("a caller without a credential"),
            Kind::Program => return f.write_str("a program that only Console can verify"),
            Kind::Admin => "an admin",
            Kind::Machine => "a machine",
        };
        match held.is_empty() {
            true => write!(f, "{kind} without any grant"),
            false => write!(f, "{kind} with {}", held.join(" and ")),
        }
    }
}

/// A caller with everything that a decision needs, as one registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub principal: Principal,
    pub access: Access,
    ticket: TicketHolding,
}

impl Resolved {
    pub(super) fn of(caller: &Caller, catalog: &Catalog) -> Resolved {
        let holdings = &caller.holdings;
        let granting = granting_groups(&holdings.groups, holdings.break_glass);
        let mut roles: Names = granting.flat_map(|group| catalog.roles_of_group(group)).collect();
        roles.extend(catalog.with_inherited(holdings.roles.iter().cloned()));
        let id = caller.name.as_deref().unwrap_or("hypothetical");
        let principal = match caller.kind {
            Kind::Machine => Principal::Machine { id: MachineTokenId::new(id) },
            _ => Principal::Admin { id: AdminId::new(id), session: None },
        };
        let ticket = holdings.ticket.as_ref().map_or_else(TicketHolding::default, |grant| {
            let roles = catalog.with_inherited([grant.role.clone()]);
            TicketHolding { permissions: catalog.permissions_of(&roles), roles, is_open: grant.is_open }
        });
        let access = Access {
            standing: Standing::Active,
            legacy: holdings.legacy.clone(),
            groups: holdings.groups.clone(),
            permissions: catalog.permissions_of(&roles),
            roles,
            ..Access::nothing(Epoch(0))
        };
        Resolved { principal, access, ticket }
    }

    /// Whether a grant for a ticket brings a role.
    pub(super) fn has_for_ticket(&self, role: &Arc<str>) -> bool {
        self.ticket.roles.contains(role)
    }

    /// What the gate would know about the ticket of a request that names `named`.
    pub(super) fn ticket(&self, caller: &Caller, named: Option<&TicketName>) -> TicketFacts {
        let is_for = |grant: &TicketGrant| match (&grant.of, named) {
            (None, _) => true,
            (Some((ticket, customer)), Some(named)) => *ticket == named.ticket && *customer == named.customer,
            (Some(_), None) => false,
        };
        match (&caller.holdings.ticket, named) {
            (Some(grant), _) if is_for(grant) => TicketFacts::Named(self.ticket.clone()),
            (_, Some(_)) => TicketFacts::Named(TicketHolding::default()),
            (_, None) => TicketFacts::Unnamed,
        }
    }
}

/// The rollout as it is for this caller: a hypothetical caller has no id that falls into a share.
pub(super) fn rollout_for(caller: &Caller, rollout: &Rollout) -> Rollout {
    let percent = match (&rollout.cohort, caller.holdings.share) {
        (Some(cohort), Share::Outside) if cohort.percent < 100 => 0,
        (Some(cohort), Share::Inside) if cohort.percent > 0 => 100,
        _ => return rollout.clone(),
    };
    let cohort = rollout.cohort.clone().map(|cohort| Cohort { percent, ..cohort });
    Rollout { cohort, ..*rollout }
}

/// How a caller meets a requirement through its groups: the shortest way, or the role held by itself.
pub(super) fn way_to(caller: &Caller, role: &Arc<str>, catalog: &Catalog) -> String {
    use policy::rbac::Requirement::{Permission, Role};
    let holdings = &caller.holdings;
    for requirement in [Role(role.clone()), Permission(role.clone())] {
        if !catalog.defines(&requirement) {
            continue;
        }
        for group in granting_groups(&holdings.groups, holdings.break_glass) {
            if let Some(way) = catalog.way_to(group, &requirement) {
                let start = if group == BREAK_GLASS { "break-glass session" } else { group };
                let mut steps = vec![start];
                steps.extend(way.iter().map(AsRef::as_ref));
                if matches!(requirement, Permission(_)) {
                    steps.push(role);
                }
                return steps.join(" -> ");
            }
        }
    }
    format!("role {role}")
}
