//! The access state as of one epoch, from which a change is computed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::identity::Subject;
use policy::ids::{AdminId, Epoch};
use policy::rbac::break_glass::BreakGlassRules;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person, place_of};
use policy::rbac::grant::Origin;
use policy::rbac::{LegacyRole, Standing};
use store::access_grants::{AccessGrant, GrantsOf};
use store::grantors::Grantor;
use store::rbac_changes::{RbacChange, StoredMembership, StoredTimedGrant, TicketGrant};
use store::tickets::StoredTicketGrant;
use store::tokens::StoredToken;
use store::{SharedStore, StoreError};

use super::PeopleError;
use super::authority::holdings::{Machine, Until, of_admin};
use super::joined::Joined;
use crate::registry::Registry;

/// The owner of the table of admins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminTable {
    /// The gate itself: it adds and disables admins.
    Gate,
    /// Console: the gate reads the table, and blocks admins in a table of its own.
    Console,
}

/// The access state.
pub struct State {
    pub registry: Registry,
    pub epoch: Epoch,
    /// Every membership, including those of disabled or deleted admins.
    pub memberships: Arc<[StoredMembership]>,
    /// Every membership with an end that was not revoked.
    pub timed: Arc<[StoredTimedGrant]>,
    /// The grants for tickets that were not revoked. Like the next two fields, read only for a change.
    pub(super) tickets: Vec<TicketGrant>,
    /// The break-glass sessions that were not ended.
    pub(super) sessions: Arc<[AccessGrant]>,
    /// The live machine tokens.
    pub(super) machines: Vec<Machine>,
    /// The grantors: who may give what to others without holding it.
    pub grantors: Arc<[Grantor]>,
    /// Who may start a break-glass session.
    pub eligible: BreakGlassRules,
    /// The moment of this state.
    pub now: DateTime<Utc>,
    /// Admins that the change names and the registry does not contain: they are disabled; with what they would hold.
    pub(super) disabled: BTreeMap<Arc<str>, Person>,
    /// Those among them that only the gate blocks.
    pub(super) blocked: Vec<String>,
}

impl State {
    /// Reads the state from which `wanted` is computed.
    ///
    /// # Errors
    ///
    /// The database did not answer, or access changed during every attempt to read it.
    pub async fn read(
        store: &SharedStore,
        wanted: &[RbacChange],
        now: DateTime<Utc>,
    ) -> Result<State, PeopleError> {
        for _ in 0..super::TRIES {
            let epoch = store.control().await?.epoch;
            let registry = Registry::read(store, now).await?;
            let granted = store.granted(now).await?.ok_or(PeopleError::Changing)?;
            // Merely showing the state needs no more than the displayed parts.
            let (tickets, sessions, machines) = match wanted.is_empty() {
                true => Default::default(),
                false => (tickets(store).await?, sessions(store).await?, machines(store, &registry).await?),
            };
            let mut state = State {
                registry,
                epoch,
                memberships: granted.memberships,
                timed: granted.timed,
                tickets,
                sessions: sessions.into(),
                machines,
                grantors: granted.grantors,
                eligible: store.break_glass_rules().clone(),
                now,
                disabled: BTreeMap::new(),
                blocked: Vec::new(),
            };
            for admin in wanted.iter().filter_map(RbacChange::admin) {
                if !state.is_active(admin) {
                    state.look_up(store, admin, now).await?;
                }
            }
            if store.control_since(Some(epoch)).await?.only_sessions_changed_since(epoch) {
                return Ok(state);
            }
        }
        Err(PeopleError::Changing)
    }

    async fn look_up(
        &mut self,
        store: &SharedStore,
        admin: &str,
        now: DateTime<Utc>,
    ) -> Result<(), PeopleError> {
        let subject = Subject::Admin { id: AdminId::new(admin), session: None };
        if store.access(&subject, now).await?.standing != Standing::Disabled {
            return Ok(());
        }
        if store.is_blocked(admin).await? {
            self.blocked.push(admin.to_owned());
        }
        let words = match store.legacy_words_of(admin).await {
            // Console keeps legacy roles elsewhere: the impact does not include the routes that they open again.
            Err(StoreError::Schema(_) | StoreError::Forbidden(_)) => Vec::new(),
            words => words?,
        };
        let joined = self.joined();
        let timed = self.timed_of(admin).iter().filter(|grant| grant.span().is_live(now));
        let timed = timed.map(|grant| Arc::from(grant.group.as_str()));
        let groups: BTreeSet<Arc<str>> = joined.groups_of(admin).cloned().chain(timed).collect();
        let legacy: BTreeSet<LegacyRole> = words.iter().filter_map(|word| LegacyRole::parse(word)).collect();
        let person = Person {
            kind: CallerKind::Admin,
            id: admin.into(),
            legacy: legacy.into(),
            groups: groups.into(),
            break_glass: false,
        };
        self.disabled.insert(admin.into(), person);
        Ok(())
    }

    /// Leaves out a membership with an end, to show the state after that end.
    pub(super) fn without_timed(&mut self, id: &str) {
        let Some(ended) = self.timed.iter().find(|grant| grant.id == id).cloned() else { return };
        self.timed = self.timed.iter().filter(|grant| grant.id != id).cloned().collect();
        let holds = self.is_member(&ended.admin, &ended.group)
            || self
                .timed_of(&ended.admin)
                .iter()
                .any(|grant| grant.group == ended.group && grant.span().is_live(self.now));
        if let Ok(place) = place_of(&self.registry.people, CallerKind::Admin, &ended.admin)
            && !holds
        {
            let person = &mut Arc::make_mut(&mut self.registry.people)[place];
            Arc::make_mut(&mut person.groups).remove(ended.group.as_str());
        }
    }

    /// Whether there is an enabled admin with that id.
    pub(super) fn is_active(&self, admin: &str) -> bool {
        self.registry.person(CallerKind::Admin, admin).is_some()
    }

    pub(super) fn admins(&self) -> impl Iterator<Item = &Person> {
        self.registry.people.iter().filter(|person| person.kind == CallerKind::Admin)
    }

    /// The memberships without an end.
    pub fn joined(&self) -> Joined {
        Joined::new(self.memberships.clone())
    }

    /// The memberships of an admin with an end, over or not.
    pub fn timed_of(&self, admin: &str) -> &[StoredTimedGrant] {
        of_admin(&self.timed, admin, |grant| &grant.admin)
    }

    fn is_member(&self, admin: &str, group: &str) -> bool {
        self.joined().contains(admin, group)
    }
}

/// The grants for tickets as given, over or not. A grant whose end cannot be read counts as over; no request can name a
/// customer that is not a number.
async fn tickets(store: &SharedStore) -> Result<Vec<TicketGrant>, StoreError> {
    let as_granted = |stored: StoredTicketGrant| {
        let StoredTicketGrant { id, admin, role, ticket, customer, is_limited, ends, .. } = stored;
        let ends = if is_limited { ends.or(Some(DateTime::UNIX_EPOCH)) } else { None };
        TicketGrant { id, admin, role, ticket, customer: customer.parse().unwrap_or_default(), ends }
    };
    Ok(store.ticket_grants(None).await?.into_iter().map(as_granted).collect())
}

/// The tokens in the registry, which are the live ones, with their ends.
async fn machines(store: &SharedStore, registry: &Registry) -> Result<Vec<Machine>, StoreError> {
    let machine = |token: StoredToken| {
        let groups = registry.person(CallerKind::Machine, &token.id)?.groups.clone();
        let until = token.expires_at_utc.map_or(Until::Never, Until::At);
        let StoredToken { id, name, created_by, .. } = token;
        Some(Machine { id, name, created_by, groups, until })
    };
    Ok(store.tokens().await?.into_iter().filter_map(machine).collect())
}

async fn sessions(store: &SharedStore) -> Result<Vec<AccessGrant>, StoreError> {
    let mut grants = store.access_grants(GrantsOf { admin: None, of: Some(BREAK_GLASS) }).await?;
    grants.retain(|grant| grant.origin == Origin::BreakGlass && grant.revoked_at.is_none());
    Ok(grants)
}
