//! Layout by route: each change with everyone that gains or loses by it.

use super::super::summary::counted;
use super::super::{AccessChange, Change, Profile, ProfileKind};
use super::{ImpactText, Tone, beside, decided_before, joined, names, sign, tone, wrapped};

/// The most callers of one profile that are named; the rest is only counted.
const MOST_NAMES: usize = 6;
/// The most profiles listed per direction and route; the rest is only counted.
const MOST_PROFILES: usize = 12;

impl ImpactText<'_, '_> {
    pub(super) fn change(&self, change: &Change<'_>, print: &mut impl FnMut(Tone, &str)) {
        print(Tone::Heading, &beside(&self.title(change), &self.place(change)));
        let region = &change.region;
        if let Some(example) = self.example(change) {
            print(Tone::Plain, &format!("  for requests such as {example}"));
        }
        if let Some(before) = decided_before(change) {
            print(Tone::Plain, &format!("  {before}"));
        }
        if let Some(requests) = change.requests.in_words() {
            for line in wrapped("  ", &requests) {
                print(Tone::Plain, &line);
            }
        }
        for line in wrapped("  ", &self.demands(change)) {
            print(Tone::Plain, &line);
        }
        if let Some(decided) = region.new.and_then(|row| row.decided.as_deref()) {
            for line in wrapped("  ", &format!("decided: {decided}")) {
                print(Tone::Plain, &line);
            }
        }
        for (who, direction) in self.nameless(change) {
            print(tone(direction), &format!("  {} {who}", sign(direction)));
        }
        // A change for anyone includes everyone: the names are in the JSON.
        let named = self.view.directions().filter(|direction| {
            (*direction, change.strangers) != (AccessChange::Gain, Some(AccessChange::Gain))
        });
        for direction in named {
            self.profiles(change, direction, print);
        }
    }

    fn profiles(&self, change: &Change<'_>, direction: AccessChange, print: &mut impl FnMut(Tone, &str)) {
        let impact = self.impact;
        let (named, rest) = alike(impact.who(change, direction), self.view.most(MOST_PROFILES));
        for profile in &named {
            let who = who(profile, self.view.most(MOST_NAMES));
            for line in wrapped("  ", &format!("{} {who}", sign(direction))) {
                print(tone(direction), &line);
            }
            let had = if direction == AccessChange::Loss { "had: " } else { "" };
            for way in impact.through(change, direction, profile) {
                for line in wrapped("      ", &format!("{had}{way}")) {
                    print(Tone::Plain, &line);
                }
            }
        }
        if rest > 0 {
            print(tone(direction), &format!("  {} {rest} more (--full lists all)", sign(direction)));
        }
    }
}

/// The first profiles, and the number of remaining callers. Profiles that differ only in the position of their members
/// in a cohort's percentage are combined.
fn alike<'p>(profiles: impl Iterator<Item = &'p Profile>, most: usize) -> (Vec<Profile>, usize) {
    let grants = |one: &Profile| (one.kind, one.legacy.clone(), one.groups.clone(), one.break_glass);
    let mut merged: Vec<Profile> = Vec::new();
    let mut rest = 0;
    for profile in profiles {
        let same = |last: &&mut Profile| profile.percentile.is_some() && grants(last) == grants(profile);
        if let Some(last) = merged.last_mut().filter(same) {
            last.members.extend(profile.members.iter().cloned());
        } else if merged.len() < most {
            merged.push(profile.clone());
        } else {
            rest += profile.members.len();
        }
    }
    (merged, rest)
}

fn who(profile: &Profile, most: usize) -> String {
    let members = |word| {
        let all: Vec<&str> = profile.members.iter().map(|member| &**member).collect();
        format!("{}: {}", counted(all.len(), word), names(&all, most))
    };
    let name = &profile.members[0];
    match profile.kind {
        ProfileKind::LegacyRole if profile.groups.is_empty() => format!("legacy role {name}, in no group"),
        ProfileKind::LegacyRole => format!("legacy role {name}, in {}", joined(profile.groups.iter())),
        ProfileKind::Group => format!("group {name}"),
        ProfileKind::NoRole => name.to_string(),
        ProfileKind::Admin => members("admin"),
        ProfileKind::Machine => members("machine"),
    }
}
