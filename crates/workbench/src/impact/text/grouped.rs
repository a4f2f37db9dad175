//! Layout by groups of routes with the same changes, and of people with the same way of access: a screen for a cluster,
//! whatever the number of people.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fixedbitset::FixedBitSet;

use super::super::summary::counted;
use super::super::{AccessChange, Change, Profile, ProfileKind};
use super::{ImpactText, Tone, beside, decided_before, joined, names, sign, tone, wrapped};

/// The most names of one way of access; the rest is only counted.
const MOST_NAMES: usize = 3;
/// The most routes of one group; the rest is only counted.
const MOST_ROUTES: usize = 12;
/// The most ways of access of one group and direction.
const MOST_WAYS: usize = 8;

/// The properties that make changes alike: the demand, the kind of request, and the callers that gain and lose.
#[derive(PartialEq, Eq, Hash)]
struct Alike<'c> {
    demands: String,
    requests: Option<String>,
    decided: Option<String>,
    nameless: Vec<(&'static str, AccessChange)>,
    gains: &'c FixedBitSet,
    losses: &'c FixedBitSet,
}

impl<'i, 'm> ImpactText<'i, 'm> {
    pub(super) fn groups(&self, print: &mut impl FnMut(Tone, &str)) {
        let mut groups: Vec<(Alike<'i>, Vec<&'i Change<'m>>)> = Vec::new();
        let mut places: HashMap<Alike<'i>, usize> = HashMap::new();
        for change in self.shown() {
            match places.get(&self.alike(change)) {
                Some(place) => groups[*place].1.push(change),
                None => {
                    places.insert(self.alike(change), groups.len());
                    groups.push((self.alike(change), vec![change]));
                }
            }
        }
        for (alike, changes) in groups {
            print(Tone::Plain, "");
            self.group(&alike, &changes, print);
        }
    }

    fn alike(&self, change: &'i Change<'m>) -> Alike<'i> {
        Alike {
            demands: self.demands(change),
            requests: change.requests.in_words(),
            decided: change.region.new.and_then(|row| row.decided.as_deref()).map(ToString::to_string),
            nameless: self.nameless(change),
            gains: &change.gains,
            losses: &change.losses,
        }
    }

    fn group(&self, alike: &Alike<'i>, changes: &[&'i Change<'m>], print: &mut impl FnMut(Tone, &str)) {
        let heading = match changes[0].region.is_uncovered() {
            true => alike.demands.clone(),
            false => format!("{}: {}", counted(changes.len(), "route"), alike.demands),
        };
        for line in wrapped("", &heading) {
            print(Tone::Heading, &line);
        }
        // Counting a single remaining route would not be shorter.
        let most = match self.view.most(MOST_ROUTES) {
            most if changes.len() == most.saturating_add(1) => changes.len(),
            most => most,
        };
        for change in &changes[..changes.len().min(most)] {
            let route = format!("  {}", self.title(change));
            print(Tone::Plain, &beside(&route, &self.place(change)));
            let example = self.example(change).map(|example| format!("for requests such as {example}"));
            for line in decided_before(change).into_iter().chain(example) {
                print(Tone::Plain, &format!("      {line}"));
            }
        }
        if changes.len() > most {
            let rest = counted(changes.len() - most, "more route");
            print(Tone::Plain, &format!("  and {rest} (--full lists all)"));
        }
        let decided = alike.decided.as_ref().map(|decided| format!("decided: {decided}"));
        for sentence in alike.requests.iter().chain(&decided) {
            for line in wrapped("  ", sentence) {
                print(Tone::Plain, &line);
            }
        }
        for (who, direction) in &alike.nameless {
            print(tone(*direction), &format!("  {} {who}", sign(*direction)));
        }
        // A change for anyone includes everyone: the names are in the JSON.
        let opens = alike.nameless.iter().any(|(who, _)| who.starts_with("anyone"));
        for direction in self.view.directions().filter(|one| !(opens && *one == AccessChange::Gain)) {
            self.callers(changes[0], direction, print);
        }
    }

    /// The callers that gain or lose by a set of like changes, represented by one of them.
    fn callers(&self, change: &Change<'_>, direction: AccessChange, print: &mut impl FnMut(Tone, &str)) {
        let profiles: Vec<&Profile> = self.impact.who(change, direction).collect();
        let mut lines = Vec::new();
        let mut named = BTreeSet::new();
        for (kind, word) in [(ProfileKind::Admin, "admin"), (ProfileKind::Machine, "machine")] {
            let ways = self.by_way(change, direction, kind, &profiles);
            named.extend(ways.keys().flat_map(Way::names).map(ToOwned::to_owned));
            lines.extend(self.in_words(ways, direction, word));
        }
        lines.extend(imagined(&profiles, &named));
        for line in lines.iter().flat_map(|line| wrapped("  ", &format!("{} {line}", sign(direction)))) {
            print(tone(direction), &line);
        }
    }

    /// Callers of one kind by the way that permits them, or did; those with several ways are counted under the first.
    fn by_way(
        &self,
        change: &Change<'_>,
        direction: AccessChange,
        kind: ProfileKind,
        profiles: &[&'i Profile],
    ) -> BTreeMap<Way, Callers<'i>> {
        let [before, after] = self.impact.demands_in_words(change);
        let demand = if direction == AccessChange::Gain { after } else { before };
        let mut ways: BTreeMap<Way, Callers<'i>> = BTreeMap::new();
        for profile in profiles.iter().filter(|profile| profile.kind == kind) {
            let through = self.impact.through(change, direction, profile);
            let way = Way::of(&through, &demand);
            let callers = ways.entry(way).or_default();
            callers.members.extend(profile.members.iter().map(|member| &**member));
            callers.several += if through.len() > 1 { profile.members.len() } else { 0 };
        }
        ways
    }

    fn in_words(&self, ways: BTreeMap<Way, Callers<'i>>, direction: AccessChange, word: &str) -> Vec<String> {
        let mut ways: Vec<_> = ways.into_iter().collect();
        ways.sort_by_key(|(_, callers)| std::cmp::Reverse(callers.members.len()));
        let most = self.view.most(MOST_WAYS);
        let rest: usize = ways.iter().skip(most).map(|(_, callers)| callers.members.len()).sum();
        let mut lines: Vec<String> = Vec::new();
        for (way, mut callers) in ways.into_iter().take(most) {
            callers.members.sort_unstable();
            let how = match (way, direction) {
                (Way::Legacy(roles), _) => format!(" with legacy role {}", roles.join(", ")),
                (Way::Grant(way), AccessChange::Gain) => format!(" through {way}"),
                (Way::Grant(way), AccessChange::Loss) => format!(" who had {way}"),
                (Way::None, _) => String::new(),
            };
            let also = match callers.several {
                0 => String::new(),
                several => format!(" ({several} in another way too)"),
            };
            let named = names(&callers.members, self.view.most(MOST_NAMES));
            lines.push(format!("{}{how}{also}: {named}", counted(callers.members.len(), word)));
        }
        if rest > 0 {
            lines.push(format!("{} in other ways (--full lists all)", counted(rest, word)));
        }
        lines
    }
}

/// Callers with the same way of access.
#[derive(Default)]
struct Callers<'i> {
    members: Vec<&'i str>,
    /// How many of them also have another way.
    several: usize,
}

/// How callers are permitted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// By the legacy gate: with these roles, which are all accepted roles that the callers hold.
    Legacy(Vec<String>),
    /// By a chain of grants that begins with a group.
    Grant(String),
    None,
}

impl Way {
    /// The first of several ways. The required role ends each chain, and is not repeated.
    fn of(through: &[String], demand: &str) -> Way {
        let legacy: Vec<String> = through
            .iter()
            .filter_map(|way| way.strip_prefix("legacy role "))
            .map(ToOwned::to_owned)
            .collect();
        let asked = demand.strip_prefix("role ").map(|role| format!(" -> {role}"));
        match through {
            [] => Way::None,
            _ if legacy.len() == through.len() => Way::Legacy(legacy),
            [first, ..] => {
                let chain = asked.and_then(|end| first.strip_suffix(&end)).unwrap_or(first);
                Way::Grant(chain.to_owned())
            }
        }
    }

    /// The groups and legacy roles with which it begins.
    fn names(&self) -> Vec<&str> {
        match self {
            Way::Legacy(roles) => roles.iter().map(|role| &**role).collect(),
            Way::Grant(chain) => chain.split(" -> ").take(1).collect(),
            Way::None => Vec::new(),
        }
    }
}

/// Hypothetical callers for a group or a legacy role, where no real caller represents it.
fn imagined(profiles: &[&Profile], named: &BTreeSet<String>) -> Vec<String> {
    let of_kind = |kind, in_groups: bool| -> Vec<&str> {
        let profiles = profiles.iter().filter(|one| one.kind == kind && one.groups.is_empty() != in_groups);
        let members = profiles.flat_map(|profile| &profile.members).map(|member| &**member);
        members.filter(|member| !named.contains(*member)).collect()
    };
    let list = |word: &str, names: &[&str]| match names {
        [] => None,
        [one] => Some(format!("{word} {one}")),
        more => Some(format!("{word}s {}", joined(more.iter()))),
    };
    let alone = list("legacy role", &of_kind(ProfileKind::LegacyRole, false));
    let alone = alone.map(|line| format!("{line}, in no group"));
    let with_groups = profiles
        .iter()
        .filter(|one| one.kind == ProfileKind::LegacyRole && !one.groups.is_empty())
        .map(|one| format!("legacy role {}, in {}", joined(one.members.iter()), joined(one.groups.iter())));
    let roleless = profiles.iter().filter(|one| one.kind == ProfileKind::NoRole).flat_map(|one| &one.members);
    let lines = list("group", &of_kind(ProfileKind::Group, true)).into_iter().chain(with_groups).chain(alone);
    lines.chain(roleless.map(ToString::to_string)).collect()
}
