//! The grants at a past time: the present ones, without the changes recorded since.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::CallerKind;

use super::{Change, Changed, Held, History, Holder, Period, Present, Unless};

/// The holders that a change may concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Concerns {
    Everybody,
    /// The holders with these indexes.
    Some(BTreeSet<usize>),
}

/// The grants at a time, which only moves forward.
pub(super) struct Past<'p> {
    pub(super) history: &'p History<'p>,
    catalog: Catalog,
    /// Indexed like the holders.
    states: Vec<State>,
    indexes: HashMap<Arc<str>, usize>,
    /// The first change that has not been made yet.
    next: usize,
    misfits: BTreeSet<String>,
}

struct State {
    groups: BTreeSet<Arc<str>>,
    is_blocked: bool,
    is_disabled: bool,
    /// When the gate last disabled the admin in the table of admins.
    disabled_at: Option<DateTime<Utc>>,
}

impl<'p> Past<'p> {
    /// Goes back from now to `time`, newest change first. A change recorded at `time` itself counts as made.
    pub(super) fn at(history: &'p History<'p>, time: DateTime<Utc>) -> Past<'p> {
        let admins = history.holders.iter().enumerate().filter(|(_, one)| one.kind == CallerKind::Admin);
        let state = |holder: &Holder| State {
            groups: holder.groups.clone(),
            is_blocked: holder.is_blocked,
            is_disabled: holder.standing == Present::Disabled,
            disabled_at: None,
        };
        let mut past = Past {
            history,
            catalog: history.catalog.clone(),
            states: history.holders.iter().map(state).collect(),
            indexes: admins.map(|(index, holder)| (holder.id.clone(), index)).collect(),
            next: history.changes.len(),
            misfits: BTreeSet::new(),
        };
        for changed in history.changes.iter().filter(|changed| changed.is_added) {
            if let Change::Disabled { admin } = &changed.change
                && let Some(index) = past.indexes.get(admin)
            {
                past.states[*index].disabled_at = Some(changed.at);
            }
        }
        while let Some(changed) = past.next.checked_sub(1).map(|last| &history.changes[last]) {
            if changed.at <= time {
                break;
            }
            past.next -= 1;
            if !past.set(&changed.change, !changed.is_added) {
                past.misfits.insert(misfit(changed));
            }
        }
        past
    }

    /// The times in the period at which something may change, starting with its beginning, and the holders that each
    /// concerns.
    pub(super) fn points(&self, period: &Period) -> BTreeMap<DateTime<Utc>, Concerns> {
        let mut points = BTreeMap::from([(period.from, Concerns::Everybody)]);
        let mut add = |time: DateTime<Utc>, holder: Option<usize>| {
            if !period.has_inside(time) {
                return;
            }
            let known = points.entry(time).or_insert_with(|| Concerns::Some(BTreeSet::new()));
            match (known, holder) {
                (Concerns::Some(these), Some(index)) => {
                    these.insert(index);
                }
                (known, None) => *known = Concerns::Everybody,
                (Concerns::Everybody, Some(_)) => {}
            }
        };
        for rule in &self.history.rules {
            add(rule.from, None);
        }
        for changed in &self.history.changes {
            match &changed.change {
                Change::Member { admin, .. } | Change::Disabled { admin } | Change::Blocked { admin } => {
                    if let Some(index) = self.indexes.get(admin) {
                        add(changed.at, Some(*index));
                    }
                }
                Change::GroupRole { .. } | Change::Inherits { .. } | Change::Permits { .. } => {
                    add(changed.at, None);
                }
            }
        }
        for (index, holder) in self.history.holders.iter().enumerate() {
            let spans = holder.spans.iter().flat_map(|held| [Some(held.from), held.until]);
            let ends = holder.legacy.iter().map(|(_, end)| *end);
            for time in spans.chain(ends).flatten() {
                add(time, Some(index));
            }
        }
        points
    }

    /// Makes every change that was recorded until then.
    pub(super) fn go_to(&mut self, time: DateTime<Utc>) {
        while let Some(changed) = self.history.changes.get(self.next).filter(|changed| changed.at <= time) {
            self.next += 1;
            self.set(&changed.change, changed.is_added);
        }
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(super) fn groups(&self, index: usize) -> &BTreeSet<Arc<str>> {
        &self.states[index].groups
    }

    /// Whether a holder was active at that time, or possibly was.
    pub(super) fn may_be_active(&self, index: usize, time: DateTime<Utc>) -> bool {
        let (holder, state) = (&self.history.holders[index], &self.states[index]);
        if holder.kind == CallerKind::Machine {
            return holder.spans.iter().any(|held| held.what == Held::Token && held.is_live(time));
        }
        let is_known = || time >= self.history.now || state.disabled_at.is_some_and(|at| at <= time);
        match holder.standing {
            _ if state.is_blocked => false,
            Present::Gone => time < self.history.now,
            _ if state.is_disabled => holder.standing == Present::Disabled && !is_known(),
            _ => true,
        }
    }

    /// The uncertainty about a holder that could make the request.
    pub(super) fn unless(&self, index: usize) -> Option<Unless> {
        match self.history.holders[index].standing {
            Present::Gone => Some(Unless::GoneNow),
            Present::Disabled if self.states[index].disabled_at.is_none() => Some(Unless::DisabledNow),
            Present::Disabled | Present::Enabled => None,
        }
    }

    /// The places where the recorded changes do not fit the present grants.
    pub(super) fn misfits(self) -> Vec<String> {
        self.misfits.into_iter().collect()
    }

    /// Sets whether something exists; `false` if that did not change anything.
    fn set(&mut self, change: &Change, is_there: bool) -> bool {
        match change {
            Change::Member { admin, group } => {
                let Some(index) = self.indexes.get(admin) else { return true };
                set(&mut self.states[*index].groups, group, is_there)
            }
            // Disabling twice changes nothing.
            Change::Disabled { admin } => {
                if let Some(index) = self.indexes.get(admin) {
                    self.states[*index].is_disabled = is_there;
                }
                true
            }
            Change::Blocked { admin } => {
                if let Some(index) = self.indexes.get(admin) {
                    self.states[*index].is_blocked = is_there;
                }
                true
            }
            Change::GroupRole { group, role } => {
                set(self.catalog.group_roles.entry(group.clone()).or_default(), role, is_there)
            }
            Change::Inherits { role, parent } => {
                set(self.catalog.inherits.entry(role.clone()).or_default(), parent, is_there)
            }
            Change::Permits { role, permission } => {
                set(self.catalog.role_permissions.entry(role.clone()).or_default(), permission, is_there)
            }
        }
    }
}

fn set(names: &mut BTreeSet<Arc<str>>, name: &Arc<str>, is_there: bool) -> bool {
    if is_there { names.insert(name.clone()) } else { names.remove(name) }
}

fn misfit(changed: &Changed) -> String {
    let (was, what) = (if changed.is_added { "added" } else { "removed" }, &changed.change);
    let what = match what {
        Change::Member { admin, group } => format!("`{admin}` in `{group}`"),
        Change::GroupRole { group, role } => format!("`{role}` of `{group}`"),
        Change::Inherits { role, parent } => format!("`{parent}` inherited by `{role}`"),
        Change::Permits { role, permission } => format!("`{permission}` of `{role}`"),
        Change::Disabled { admin } | Change::Blocked { admin } => format!("`{admin}`"),
    };
    let at = changed.at.format("%Y-%m-%d %H:%M:%SZ");
    let is = if changed.is_added { "is not there after it" } else { "is there after it" };
    format!("{what} was {was} at {at} and {is}: an unrecorded change came between")
}
