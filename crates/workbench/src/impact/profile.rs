//! Callers with the same access, combined into profiles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use policy::mapping::Mapping;
use policy::mapping::rollout::percentile;
use policy::rbac::LegacyRole;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person, beside, granting_groups};

type Names = BTreeSet<Arc<str>>;

/// The kind of a profile's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileKind {
    Admin,
    Machine,
    /// A hypothetical admin with one legacy role, in the groups to which `--legacy-as` assigns its holders.
    LegacyRole,
    /// A hypothetical admin in one group, without a legacy role.
    Group,
    /// An admin without any access. Exists only if there is no other profile, so that a row that opens or closes to any
    /// admin is seen.
    NoRole,
}

/// Callers with the same access, which get the same answers from the gate.
#[derive(Clone, Debug)]
pub struct Profile {
    pub kind: ProfileKind,
    /// Ids of admins or machine tokens, or the name of the role or group; sorted, never empty.
    pub members: Vec<Arc<str>>,
    pub legacy: BTreeSet<LegacyRole>,
    pub groups: Names,
    pub break_glass: bool,
    /// Includes every inherited role.
    pub roles: Names,
    pub permissions: Names,
    /// The position of the members among a hundred equal shares, if a cohort needs it.
    pub percentile: Option<u64>,
}

/// The groups of the holders of a legacy role: `superadmin=raxx-platform-admins`.
pub type LegacyAs = BTreeMap<LegacyRole, Names>;

/// All callers that an impact is about.
#[derive(Debug)]
pub struct Population {
    profiles: Vec<Profile>,
    absent: FixedBitSet,
}

impl Population {
    /// The existing people, and one hypothetical caller for each legacy role, and for each group that `legacy_as` does
    /// not name. The legacy roles are those that `mappings`, `people` and `legacy_as` name.
    ///
    /// `mappings` are those that will be evaluated: only a cohort with a percentage separates callers with the same
    /// access.
    pub fn new(
        catalog: &Catalog,
        people: &[Person],
        legacy_as: &LegacyAs,
        mappings: &[&Mapping],
    ) -> Population {
        let real = classes(people.iter().map(|person| [Some(person)]), asks_for_shares(mappings));
        let real = real.into_iter().filter_map(|(Class { kind, held: [held], share }, members)| {
            let (legacy, groups, break_glass) = held?;
            let profile = profile(kind, members, legacy.clone(), groups.clone(), break_glass, catalog);
            Some(Profile { percentile: share, ..profile })
        });
        let roles: BTreeSet<&LegacyRole> = mappings
            .iter()
            .flat_map(|mapping| mapping.legacy_roles())
            .chain(people.iter().flat_map(|person| person.legacy.iter()))
            .chain(legacy_as.keys())
            .collect();
        let of_roles = roles.into_iter().map(|role| {
            let groups = legacy_as.get(role).cloned().unwrap_or_default();
            let members = vec![role.shared()];
            profile(ProfileKind::LegacyRole, members, [role.clone()].into(), groups, false, catalog)
        });
        let named: Names = legacy_as.values().flatten().cloned().collect();
        let of_groups = catalog.groups.difference(&named).map(|group| member(group, catalog));
        let mut profiles: Vec<Profile> = real.chain(of_roles).chain(of_groups).collect();
        if profiles.iter().all(|profile| profile.kind == ProfileKind::Machine) {
            let members = vec![Arc::from("an admin without a role")];
            let none = Names::new();
            profiles.push(profile(ProfileKind::NoRole, members, BTreeSet::new(), none, false, catalog));
        }
        Population { absent: FixedBitSet::with_capacity(profiles.len()), profiles }
    }

    /// The people and groups before and after a change of grants: a profile has the same index and the same members on
    /// both sides. A caller that does not exist on one side is absent there. There are no hypothetical holders of
    /// legacy roles, because grants do not affect legacy roles.
    pub fn pair(
        before: (&Catalog, &[Person]),
        after: (&Catalog, &[Person]),
        mappings: &[&Mapping],
    ) -> [Population; 2] {
        let sides = [before, after];
        let gathered = classes(beside(before.1, after.1), asks_for_shares(mappings));
        let groups: Names = before.0.groups.union(&after.0.groups).cloned().collect();
        [0, 1].map(|side| {
            let catalog = sides[side].0;
            let mut profiles = Vec::new();
            let mut absent = Vec::new();
            for (Class { kind, held, share }, members) in &gathered {
                let (legacy, groups, break_glass) = match held[side] {
                    Some((legacy, groups, break_glass)) => (legacy.clone(), groups.clone(), break_glass),
                    None => {
                        absent.push(profiles.len());
                        Default::default()
                    }
                };
                let profile = profile(*kind, members.clone(), legacy, groups, break_glass, catalog);
                profiles.push(Profile { percentile: *share, ..profile });
            }
            for group in &groups {
                if !catalog.groups.contains(group) {
                    absent.push(profiles.len());
                }
                profiles.push(member(group, catalog));
            }
            let mut set = FixedBitSet::with_capacity(profiles.len());
            set.extend(absent);
            Population { profiles, absent: set }
        })
    }

    /// The profiles whose members do not exist on this side.
    pub(super) fn absent(&self) -> &FixedBitSet {
        &self.absent
    }

    /// The profiles, without duplicates.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The number of callers of a kind.
    pub fn count(&self, kind: ProfileKind) -> usize {
        self.profiles.iter().filter(|profile| profile.kind == kind).map(|profile| profile.members.len()).sum()
    }
}

/// What a caller holds: legacy roles, groups, and whether a session is live.
type Held<'p> = (&'p BTreeSet<LegacyRole>, &'p Names, bool);

/// Callers between which no row of the mappings distinguishes, on any side. Tickets are not part of it: they open routes for
/// one ticket and customer, which no profile shows.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Class<'p, const SIDES: usize> {
    kind: ProfileKind,
    /// `None` where the caller does not exist.
    held: [Option<Held<'p>>; SIDES],
    /// The position among a hundred equal shares, if a cohort needs it.
    share: Option<u64>,
}

/// One caller of several that share their sets, and the ids of all.
type Alike<'p, const SIDES: usize> = ([Option<&'p Person>; SIDES], Vec<Arc<str>>);

/// The members of each class, sorted. Callers that share their sets, as the census makes them, are compared by the address of
/// these: only one of them is compared by value.
fn classes<'p, const SIDES: usize>(
    callers: impl Iterator<Item = [Option<&'p Person>; SIDES]>,
    by_share: bool,
) -> BTreeMap<Class<'p, SIDES>, Vec<Arc<str>>> {
    let address =
        |person: &Person| (Arc::as_ptr(&person.legacy), Arc::as_ptr(&person.groups), person.break_glass);
    let mut shared: HashMap<_, Alike<'_, SIDES>> = HashMap::new();
    for sides in callers {
        let Some(caller) = sides.iter().flatten().next() else { continue };
        let share = by_share.then(|| percentile(&caller.id));
        let key = (caller.kind, sides.map(|person| person.map(address)), share);
        shared.entry(key).or_insert_with(|| (sides, Vec::new())).1.push(caller.id.clone());
    }
    let mut classes: BTreeMap<_, Vec<Arc<str>>> = BTreeMap::new();
    for ((kind, _, share), (sides, members)) in shared {
        let kind = match kind {
            CallerKind::Admin => ProfileKind::Admin,
            CallerKind::Machine => ProfileKind::Machine,
        };
        let held = sides.map(|person| person.map(|one| (&*one.legacy, &*one.groups, one.break_glass)));
        classes.entry(Class { kind, held, share }).or_default().extend(members);
    }
    classes.values_mut().for_each(|members| members.sort());
    classes
}

/// Whether a cohort separates callers with the same access.
fn asks_for_shares(mappings: &[&Mapping]) -> bool {
    let rollouts = mappings.iter().flat_map(|mapping| mapping.clusters().values());
    rollouts.filter_map(|rollout| rollout.cohort.as_ref()).any(|cohort| cohort.percent > 0)
}

/// A hypothetical admin in only one group; for the break-glass group, with a live session.
fn member(group: &Arc<str>, catalog: &Catalog) -> Profile {
    let (groups, break_glass) = ([group.clone()].into(), **group == *BREAK_GLASS);
    profile(ProfileKind::Group, vec![group.clone()], BTreeSet::new(), groups, break_glass, catalog)
}

fn profile(
    kind: ProfileKind,
    members: Vec<Arc<str>>,
    legacy: BTreeSet<LegacyRole>,
    groups: Names,
    break_glass: bool,
    catalog: &Catalog,
) -> Profile {
    let granted = granting_groups(&groups, break_glass);
    let roles: Names = granted.flat_map(|group| catalog.roles_of_group(group)).collect();
    let permissions = catalog.permissions_of(&roles);
    Profile { kind, members, legacy, groups, break_glass, roles, permissions, percentile: None }
}
