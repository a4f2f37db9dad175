//! Who holds what, as of one epoch: what a change is computed from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::identity::Subject;
use policy::ids::{AdminId, Epoch};
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person};
use policy::rbac::grant::Origin;
use policy::rbac::{LegacyRole, Standing};

use super::PeopleError;
use crate::facts::registry::Registry;
use crate::store::access_grants::{AccessGrant, GrantsOf};
use crate::store::rbac_changes::{RbacChange, StoredMembership, StoredTimedGrant};
use crate::store::{SharedStore, StoreError};

/// Who owns the table of admins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminTable {
    /// The gate's own: it adds and disables.
    Gate,
    /// Console's: the gate reads it, and keeps out in a table of its own.
    Console,
}

/// Who holds what.
pub struct State {
    pub registry: Registry,
    pub epoch: Epoch,
    /// Every membership, of admins who are disabled or gone too.
    pub memberships: Vec<StoredMembership>,
    /// Every membership until a time that was not revoked.
    pub timed: Vec<StoredTimedGrant>,
    /// The ids of the grants for tickets that were not revoked; read where the change ends one.
    pub(super) tickets: BTreeSet<String>,
    /// The break-glass sessions that were not ended; read where the change ends one.
    pub(super) sessions: Vec<AccessGrant>,
    /// The moment as of which all this is.
    pub now: DateTime<Utc>,
    /// Those that the change names and the registry does not have: disabled, with what they would hold.
    pub(super) disabled: BTreeMap<Arc<str>, Person>,
    /// Of these, who is kept out by the gate alone.
    pub(super) blocked: Vec<String>,
}

impl State {
    /// Reads what `wanted` is worked out from.
    ///
    /// # Errors
    ///
    /// The database did not answer, or access changed each time while it was read.
    pub async fn read(
        store: &SharedStore,
        wanted: &[RbacChange],
        now: DateTime<Utc>,
    ) -> Result<State, PeopleError> {
        for _ in 0..super::TRIES {
            let epoch = store.control().await?.epoch;
            let registry = Registry::read(store, now).await?;
            let memberships = store.memberships().await?;
            let timed = store.timed_grants().await?;
            let ends_one = |change: &RbacChange| matches!(change, RbacChange::EndTicketGrant { .. });
            let tickets = match wanted.iter().any(ends_one) {
                true => store.ticket_grants(None).await?.into_iter().map(|grant| grant.id).collect(),
                false => BTreeSet::new(),
            };
            let ends_session = |change: &RbacChange| matches!(change, RbacChange::EndBreakGlass { .. });
            let sessions = match wanted.iter().any(ends_session) {
                true => sessions(store).await?,
                false => Vec::new(),
            };
            let (disabled, blocked) = (BTreeMap::new(), Vec::new());
            let mut state =
                State { registry, epoch, memberships, timed, tickets, sessions, now, disabled, blocked };
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
            // Console keeps legacy roles elsewhere: what they open again is not in the impact.
            Err(StoreError::Schema(_) | StoreError::Forbidden(_)) => Vec::new(),
            words => words?,
        };
        let groups = self.memberships.iter().filter(|membership| membership.admin == admin);
        let groups = groups.map(|membership| &membership.group);
        let timed = self.timed.iter().filter(|grant| grant.admin == admin && grant.span().is_live(now));
        let person = Person {
            kind: CallerKind::Admin,
            id: admin.into(),
            legacy: words.iter().filter_map(|word| LegacyRole::parse(word)).collect(),
            groups: groups
                .chain(timed.map(|grant| &grant.group))
                .map(|group| group.as_str().into())
                .collect(),
            break_glass: false,
        };
        self.disabled.insert(admin.into(), person);
        Ok(())
    }

    /// Leaves a membership until a time out, as it will be after its end.
    pub(super) fn without_timed(&mut self, id: &str) {
        let Some(place) = self.timed.iter().position(|grant| grant.id == id) else { return };
        let ended = self.timed.remove(place);
        let holds = self.is_member(&ended.admin, &ended.group)
            || self.timed.iter().any(|grant| {
                grant.admin == ended.admin && grant.group == ended.group && grant.span().is_live(self.now)
            });
        let person = |person: &&mut Person| person.kind == CallerKind::Admin && *person.id == *ended.admin;
        if let Some(person) = self.registry.people.iter_mut().find(person)
            && !holds
        {
            person.groups.remove(ended.group.as_str());
        }
    }

    /// Whether there is an enabled admin with that id.
    pub(super) fn is_active(&self, admin: &str) -> bool {
        self.admins().any(|person| *person.id == *admin)
    }

    pub(super) fn admins(&self) -> impl Iterator<Item = &Person> {
        self.registry.people.iter().filter(|person| person.kind == CallerKind::Admin)
    }

    pub(super) fn is_member(&self, admin: &str, group: &str) -> bool {
        self.memberships.iter().any(|one| one.admin == admin && one.group == group)
    }
}

async fn sessions(store: &SharedStore) -> Result<Vec<AccessGrant>, StoreError> {
    let mut grants = store.access_grants(GrantsOf { admin: None, of: Some(BREAK_GLASS) }).await?;
    grants.retain(|grant| grant.origin == Origin::BreakGlass && grant.revoked_at.is_none());
    Ok(grants)
}
