//! Memberships without an end: as they are stored, and what a plan makes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::rbac_changes::StoredMembership;

/// Pairs of an admin and a group. What is stored is shared by all plans that change something of it.
#[derive(Clone, Debug)]
pub struct Joined {
    /// By admin and group.
    stored: Arc<[StoredMembership]>,
    /// Pairs that are not as stored, by admin and group: whether they are there.
    changed: BTreeMap<Arc<str>, BTreeMap<Arc<str>, bool>>,
}

impl Joined {
    /// The memberships, which are sorted by admin and group.
    pub fn new(stored: Arc<[StoredMembership]>) -> Joined {
        Joined { stored, changed: BTreeMap::new() }
    }

    /// Whether an admin is in a group.
    pub fn contains(&self, admin: &str, group: &str) -> bool {
        let changed = self.changed.get(admin).and_then(|groups| groups.get(group));
        changed.copied().unwrap_or_else(|| self.is_stored(admin, group))
    }

    /// Puts an admin into a group; `false` if it is there already.
    pub fn insert(&mut self, admin: &str, group: &str) -> bool {
        self.change(admin, group, true)
    }

    /// Takes an admin out of a group; `false` if it is not there.
    pub fn remove(&mut self, admin: &str, group: &str) -> bool {
        self.change(admin, group, false)
    }

    /// The groups of an admin.
    pub fn groups_of(&self, admin: &str) -> impl Iterator<Item = &Arc<str>> {
        let changed = self.changed.get(admin);
        let stored = self.stored_of(admin).iter().map(|one| &one.group);
        let stored = stored.filter(move |group| changed.is_none_or(|groups| !groups.contains_key(&***group)));
        stored.chain(changed.into_iter().flatten().filter(|(_, is_there)| **is_there).map(|(group, _)| group))
    }

    /// Every pair, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let stored = self.stored.iter().map(|one| (&one.admin, &one.group));
        let stored = stored.filter(|(admin, group)| {
            // Most plans change nothing of this.
            let changed = (!self.changed.is_empty()).then(|| self.changed.get(&***admin)).flatten();
            changed.is_none_or(|groups| !groups.contains_key(&***group))
        });
        let changed = self.changed.iter().flat_map(|(admin, groups)| {
            groups.iter().filter(|(_, is_there)| **is_there).map(move |(group, _)| (admin, group))
        });
        stored.chain(changed)
    }

    fn change(&mut self, admin: &str, group: &str, is_there: bool) -> bool {
        let differs = self.contains(admin, group) != is_there;
        if differs {
            self.changed.entry(admin.into()).or_default().insert(group.into(), is_there);
        }
        differs
    }

    fn stored_of(&self, admin: &str) -> &[StoredMembership] {
        let from = self.stored.partition_point(|one| *one.admin < *admin);
        let to = from + self.stored[from..].partition_point(|one| *one.admin == *admin);
        &self.stored[from..to]
    }

    fn is_stored(&self, admin: &str, group: &str) -> bool {
        self.stored_of(admin).iter().any(|one| *one.group == *group)
    }
}
