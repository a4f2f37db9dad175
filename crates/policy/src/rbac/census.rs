//! Every principal that the gate may have to decide about, with their grants.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::LegacyRole;
use super::catalog::Catalog;

/// The kind of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    Admin,
    Machine,
}

impl CallerKind {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            CallerKind::Admin => "admin",
            CallerKind::Machine => "machine",
        }
    }

    /// The kind of a stable word.
    pub fn parse(word: &str) -> Option<CallerKind> {
        [CallerKind::Admin, CallerKind::Machine].into_iter().find(|kind| kind.word() == word)
    }
}

/// An enabled admin or a live machine token, with its direct grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub kind: CallerKind,
    /// The primary key of `admins` or `gate_machine_tokens`.
    pub id: Arc<str>,
    /// Shared by all that hold the same, as the groups are.
    pub legacy: Arc<BTreeSet<LegacyRole>>,
    /// The groups that it is in, by membership or by a live grant with an end.
    pub groups: Arc<BTreeSet<Arc<str>>>,
    /// Whether a break-glass session is live. A session grants the roles of [`BREAK_GLASS`] (RBAC V2 design, I-3).
    pub break_glass: bool,
}

impl Person {
    /// The groups whose roles the person holds. See [`granting_groups`].
    pub fn granting_groups(&self) -> impl Iterator<Item = &str> {
        granting_groups(&self.groups, self.break_glass)
    }

    /// Every role held, including inherited ones.
    pub fn roles(&self, catalog: &Catalog) -> BTreeSet<Arc<str>> {
        self.granting_groups().flat_map(|group| catalog.roles_of_group(group)).collect()
    }
}

/// The place of a caller in a census, whose order is that of kind and id; otherwise where it would be.
pub fn place_of(people: &[Person], kind: CallerKind, id: &str) -> Result<usize, usize> {
    people.binary_search_by(|person| (person.kind, &*person.id).cmp(&(kind, id)))
}

/// Each caller of two censuses, as it is in either.
pub fn beside<'p>(
    before: &'p [Person],
    after: &'p [Person],
) -> impl Iterator<Item = [Option<&'p Person>; 2]> {
    let mut sides = [before, after].map(|people| people.iter().peekable());
    std::iter::from_fn(move || {
        let place = |person: &&'p Person| (person.kind, &*person.id);
        let first = sides.iter_mut().filter_map(|side| side.peek().map(place)).min()?;
        Some(sides.each_mut().map(|side| side.next_if(|person| place(person) == first)))
    })
}

/// The group whose roles a break-glass session grants. A member holds none of the group's roles without a session:
/// break-glass is never an ordinary working role (RBAC V2 design, I-4). A setting names the groups whose members may
/// start one ([`BreakGlassRules`](super::break_glass::BreakGlassRules)); by default this group is among them.
pub const BREAK_GLASS: &str = "break-glass";

/// The groups whose roles a member of `groups` holds: all of them except [`BREAK_GLASS`], and [`BREAK_GLASS`] while a
/// session is live.
pub fn granting_groups(groups: &BTreeSet<Arc<str>>, break_glass: bool) -> impl Iterator<Item = &str> {
    groups
        .iter()
        .map(AsRef::as_ref)
        .filter(|group| *group != BREAK_GLASS)
        .chain(break_glass.then_some(BREAK_GLASS))
}
