//! An impact as text that a reviewer can paste into a pull request: what opens to anybody and how much changes first, then
//! route by route.

use std::fmt::{self, Write as _};

use policy::diagnostic::Lines;

use super::report::route_of;
use super::summary::{counted, gains_and_losses};
use super::{AccessChange, Change, Impact, Profile, ProfileKind};

/// Callers of one profile that are named before the rest is only counted.
const MOST_NAMES: usize = 6;
/// Profiles a direction and route that are listed before the rest is only counted.
const MOST_PROFILES: usize = 12;
const WIDTH: usize = 80;

/// What a line is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Heading,
    Gain,
    Loss,
}

/// Writes line by line: a large impact is not held as text.
pub struct ImpactText<'i, 'm> {
    impact: &'i Impact<'m>,
    lines: Lines<'m>,
    /// The name of the new file, for places.
    file: &'i str,
}

impl<'i, 'm> ImpactText<'i, 'm> {
    pub fn new(impact: &'i Impact<'m>, file: &'i str) -> Self {
        ImpactText { impact, lines: Lines::new(impact.new.source()), file }
    }

    /// Hands each line to `print`.
    pub fn each_line(&self, mut print: impl FnMut(Tone, &str)) {
        for (direction, warning) in self.impact.warnings() {
            for line in wrapped("", &warning) {
                print(direction.map_or(Tone::Heading, tone), &line);
            }
        }
        print(Tone::Heading, &self.impact.headline());
        for line in self.beside() {
            print(Tone::Plain, &line);
        }
        let clusters = self.impact.cluster_changes();
        if !clusters.is_empty() {
            print(Tone::Plain, "");
            print(Tone::Heading, "Clusters");
            for change in clusters {
                print(Tone::Plain, &format!("  {}  {} -> {}", change.cluster, change.before, change.after));
            }
        }
        if !self.impact.served.is_empty() {
            print(Tone::Plain, "");
            print(Tone::Heading, "Served by");
            for change in &self.impact.served {
                print(Tone::Plain, &format!("  {}  {} -> {}", change.route, change.before, change.after));
            }
        }
        for change in &self.impact.changes {
            print(Tone::Plain, "");
            self.change(change, &mut print);
        }
    }

    fn beside(&self) -> Vec<String> {
        let impact = self.impact;
        let kinds = [
            (ProfileKind::Machine, "machine"),
            (ProfileKind::LegacyRole, "legacy role"),
            (ProfileKind::Group, "group"),
        ];
        let mut lines: Vec<String> = kinds
            .into_iter()
            .filter(|(kind, _)| impact.population.count(*kind) > 0)
            .map(|(kind, word)| {
                format!(
                    "{}: {}",
                    counted(impact.population.count(kind), word),
                    gains_and_losses(impact.counts(kind))
                )
            })
            .collect();
        lines.push(
            match impact.switches.rbac_v2 {
                true => "FLAG_RBAC_V2 is assumed on and promoted: V2 decides clusters in mode v2",
                false => "FLAG_RBAC_V2 is assumed off: the legacy gate decides every row",
            }
            .into(),
        );
        lines
    }

    fn change(&self, change: &Change<'_>, print: &mut impl FnMut(Tone, &str)) {
        print(Tone::Heading, &beside(&self.title(change), &self.place(change)));
        let region = &change.region;
        if let Some(example) = self.example(change) {
            print(Tone::Plain, &format!("  for requests such as {example}"));
        }
        if let (Some(old), Some(new)) = (region.old, region.new)
            && old.route != new.route
        {
            print(Tone::Plain, &format!("  decided by {} before", old.route));
        }
        if let Some(requests) = change.requests.in_words() {
            for line in wrapped("  ", &requests) {
                print(Tone::Plain, &line);
            }
        }
        let [before, after] = self.impact.demands_in_words(change);
        // A change of grants leaves what is asked for as it is.
        let demands = if before == after { before } else { format!("{before} -> {after}") };
        for line in wrapped("  ", &demands) {
            print(Tone::Plain, &line);
        }
        if let Some(decided) = region.new.and_then(|row| row.decided.as_ref()) {
            for line in wrapped("  ", &format!("decided: {decided}")) {
                print(Tone::Plain, &line);
            }
        }
        for (who, direction) in nameless(change) {
            print(tone(direction), &format!("  {} {who}", sign(direction)));
        }
        // Anybody is everybody: the names are in the JSON.
        let named = [AccessChange::Gain, AccessChange::Loss].into_iter().filter(|direction| {
            (*direction, change.strangers) != (AccessChange::Gain, Some(AccessChange::Gain))
        });
        for direction in named {
            self.profiles(change, direction, print);
        }
    }

    fn title(&self, change: &Change<'_>) -> String {
        let uncovered = || match change.region.is_quiet() {
            true => "what no row covers and `quiet` names".to_owned(),
            false => "what no row covers".to_owned(),
        };
        route_of(&change.region).map_or_else(uncovered, ToOwned::to_owned)
    }

    fn place(&self, change: &Change<'_>) -> String {
        match self.impact.line(change, &self.lines) {
            Some(line) => format!("{}:{line}", self.file),
            None if change.region.is_uncovered() => self.file.to_owned(),
            None => "no row now".to_owned(),
        }
    }

    /// A request that is meant, where the row's name does not say it: another row decided before, or none does, or it is
    /// about some of its methods.
    fn example(&self, change: &Change<'_>) -> Option<String> {
        let region = &change.region;
        let is_by_name = match (region.old, region.new) {
            (Some(old), Some(new)) => old.route == new.route,
            (None, Some(row)) | (Some(row), None) => {
                row.methods.iter().all(|method| region.methods.contains(method))
            }
            (None, None) => false,
        };
        (!is_by_name).then(|| format!("{} {}", region.methods, region.example))
    }

    fn profiles(&self, change: &Change<'_>, direction: AccessChange, print: &mut impl FnMut(Tone, &str)) {
        let impact = self.impact;
        let (named, rest) = alike(impact.who(change, direction));
        for profile in &named {
            for line in wrapped("  ", &format!("{} {}", sign(direction), who(profile))) {
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
            print(tone(direction), &format!("  {} {rest} more (--format json lists all)", sign(direction)));
        }
    }
}

/// Those who gain or lose and whom no profile names.
fn nameless(change: &Change<'_>) -> impl Iterator<Item = (&'static str, AccessChange)> {
    [AccessChange::Gain, AccessChange::Loss]
        .into_iter()
        .flat_map(|direction| change.nameless(direction).map(move |who| (who, direction)))
}

/// The whole text, without colours.
impl fmt::Display for ImpactText<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut outcome = Ok(());
        self.each_line(|_, line| {
            if outcome.is_ok() {
                outcome = f.write_str(line).and_then(|()| f.write_char('\n'));
            }
        });
        outcome
    }
}

/// The first profiles, of which those that differ by nothing but where their members fall in a cohort's percentage are
/// taken together, and how many callers are left.
fn alike<'p>(profiles: impl Iterator<Item = &'p Profile>) -> (Vec<Profile>, usize) {
    let grants = |one: &Profile| (one.kind, one.legacy.clone(), one.groups.clone(), one.break_glass);
    let mut merged: Vec<Profile> = Vec::new();
    let mut rest = 0;
    for profile in profiles {
        let same = |last: &&mut Profile| profile.percentile.is_some() && grants(last) == grants(profile);
        if let Some(last) = merged.last_mut().filter(same) {
            last.members.extend(profile.members.iter().cloned());
        } else if merged.len() < MOST_PROFILES {
            merged.push(profile.clone());
        } else {
            rest += profile.members.len();
        }
    }
    (merged, rest)
}

fn who(profile: &Profile) -> String {
    let name = &profile.members[0];
    match profile.kind {
        ProfileKind::LegacyRole if profile.groups.is_empty() => format!("legacy role {name}, in no group"),
        ProfileKind::LegacyRole => format!("legacy role {name}, in {}", joined(profile.groups.iter())),
        ProfileKind::Group => format!("group {name}"),
        ProfileKind::NoRole => name.to_string(),
        ProfileKind::Admin => members("admin", profile),
        ProfileKind::Machine => members("machine", profile),
    }
}

fn members(word: &str, profile: &Profile) -> String {
    let named = joined(profile.members.iter().take(MOST_NAMES));
    match profile.members.len().saturating_sub(MOST_NAMES) {
        0 => format!("{}: {named}", counted(profile.members.len(), word)),
        more => format!("{}: {named} and {more} more", counted(profile.members.len(), word)),
    }
}

fn joined<T: fmt::Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn sign(direction: AccessChange) -> char {
    match direction {
        AccessChange::Gain => '+',
        AccessChange::Loss => '-',
    }
}

fn tone(direction: AccessChange) -> Tone {
    match direction {
        AccessChange::Gain => Tone::Gain,
        AccessChange::Loss => Tone::Loss,
    }
}

/// `left` and, at the right edge where both fit, `right`.
fn beside(left: &str, right: &str) -> String {
    let used = left.chars().count() + right.chars().count();
    match WIDTH.checked_sub(used) {
        Some(gap) if gap >= 2 => format!("{left}{}{right}", " ".repeat(gap)),
        _ => format!("{left}\n    {right}"),
    }
}

/// Lines of at most [`WIDTH`] characters, broken at spaces.
fn wrapped(indent: &str, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = indent.to_owned();
    for word in text.split(' ') {
        let is_empty = line.trim().is_empty();
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, format!("{indent}  ")));
        } else if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
