//! An impact as text that a reviewer can paste into a pull request: first the warnings about access for anyone and the
//! amount of changes, then the changes, with those that are alike together, or by route, or by person.

mod by_person;
mod by_route;
mod grouped;

use std::fmt::{self, Write as _};

use policy::diagnostic::Lines;

use super::report::route_of;
use super::summary::{counted, gains_and_losses};
use super::{AccessChange, Change, Counts, Impact, ProfileKind};
use crate::report::style::{USUAL_COLUMNS, columns};

/// The layout of the changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Routes with the same changes together, and people by their way of access.
    #[default]
    Grouped,
    Routes,
    People,
}

/// The selection of changes that are shown, and their layout.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub layout: Layout,
    /// Only gains, or only losses.
    pub only: Option<AccessChange>,
    /// Only the gains and losses of this caller, by the id of an admin or machine.
    pub caller: Option<String>,
    /// Every name and route, regardless of their number.
    pub full: bool,
}

impl View {
    fn directions(&self) -> impl Iterator<Item = AccessChange> + use<> {
        let only = self.only;
        [AccessChange::Gain, AccessChange::Loss]
            .into_iter()
            .filter(move |direction| only.is_none_or(|only| only == *direction))
    }

    /// The most entries of a list that are shown; by default `usual`.
    fn most(&self, usual: usize) -> usize {
        if self.full { usize::MAX } else { usual }
    }
}

/// The kind of a line, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Heading,
    Gain,
    Loss,
}

/// Writes line by line, so that a large impact is not kept as text.
pub struct ImpactText<'i, 'm> {
    impact: &'i Impact<'m>,
    lines: Lines<'m>,
    /// The name of the new file, for places.
    file: &'i str,
    view: View,
}

impl<'i, 'm> ImpactText<'i, 'm> {
    pub fn new(impact: &'i Impact<'m>, file: &'i str, view: View) -> Self {
        ImpactText { impact, lines: Lines::new(impact.new.source()), file, view }
    }

    /// Passes each line to `print`.
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
        match (self.view.layout, &self.view.caller) {
            (Layout::People, _) | (_, Some(_)) => self.people(&mut print),
            (Layout::Grouped, None) => self.groups(&mut print),
            (Layout::Routes, None) => {
                for change in self.shown() {
                    print(Tone::Plain, "");
                    self.change(change, &mut print);
                }
            }
        }
    }

    /// The changes in the selected directions.
    fn shown(&self) -> impl Iterator<Item = &'i Change<'m>> {
        self.impact.changes.iter().filter(|change| {
            self.view.directions().any(|direction| {
                change.nameless(direction).next().is_some() || change.of(direction).count_ones(..) > 0
            })
        })
    }

    fn beside(&self) -> Vec<String> {
        let impact = self.impact;
        let kinds = [
            (ProfileKind::Machine, "machine"),
            (ProfileKind::LegacyRole, "legacy role"),
            (ProfileKind::Group, "group"),
        ];
        let mut lines = Vec::from_iter(self.people_affected());
        let of_kinds =
            kinds.into_iter().filter(|(kind, _)| impact.population.count(*kind) > 0).map(|(kind, word)| {
                format!(
                    "{}: {}",
                    counted(impact.population.count(kind), word),
                    gains_and_losses(impact.counts(kind))
                )
            });
        lines.extend(of_kinds);
        lines.push(
            match impact.switches.rbac_v2 {
                true => "FLAG_RBAC_V2 is assumed on and promoted: V2 decides clusters in mode v2",
                false => "FLAG_RBAC_V2 is assumed off: the legacy gate decides every row",
            }
            .into(),
        );
        lines
    }
}

impl ImpactText<'_, '_> {
    /// The number of admins that gain or lose anything at all.
    fn people_affected(&self) -> Option<String> {
        let all = self.impact.population.count(ProfileKind::Admin);
        let Counts { gains, losses } = self.impact.people(ProfileKind::Admin);
        let verb = |count, one: &str, more: &str| if count == 1 { one.to_owned() } else { more.to_owned() };
        let loses = format!("{losses} of {all} {} something", verb(losses, "loses", "lose"));
        let gains_something = format!("{gains} {} something", verb(gains, "gains", "gain"));
        (gains + losses > 0).then(|| format!("of the admins, {loses}, {gains_something}"))
    }

    /// The callers that gain or lose but that no profile names.
    fn nameless(&self, change: &Change<'_>) -> Vec<(&'static str, AccessChange)> {
        let directions = self.view.directions();
        directions.flat_map(|direction| change.nameless(direction).map(move |who| (who, direction))).collect()
    }

    /// The name of a change: its row, or a phrase for requests without one.
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

    /// An example request, if the row's name does not suffice: another row decided before, or no row does, or the
    /// change affects only some of its methods.
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

    /// The requirements of the rows, before and after.
    fn demands(&self, change: &Change<'_>) -> String {
        let [before, after] = self.impact.demands_in_words(change);
        // A change of grants does not change the requirements.
        if before == after { before } else { format!("{before} -> {after}") }
    }
}

/// The row that decided before, if it is a different one.
fn decided_before(change: &Change<'_>) -> Option<String> {
    match (change.region.old, change.region.new) {
        (Some(old), Some(new)) if old.route != new.route => Some(format!("decided by {} before", old.route)),
        _ => None,
    }
}

/// The first names, and the number of further ones.
fn names(all: &[&str], most: usize) -> String {
    // Counting a single remaining name would not be shorter.
    let shown = if all.len() <= most.saturating_add(1) { all.len() } else { most };
    let named = joined(all[..shown].iter());
    match all.len() - shown {
        0 => named,
        more => format!("{named} and {more} more"),
    }
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

/// `left` and, at the right edge if both fit, `right`.
fn beside(left: &str, right: &str) -> String {
    let used = left.chars().count() + right.chars().count();
    match USUAL_COLUMNS.checked_sub(used) {
        Some(gap) if gap >= 2 => format!("{left}{}{right}", " ".repeat(gap)),
        _ => format!("{left}\n    {right}"),
    }
}

/// Lines of at most [`columns`] characters, broken at spaces.
fn wrapped(indent: &str, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = indent.to_owned();
    for word in text.split(' ') {
        let is_empty = line.trim().is_empty();
        if !is_empty && line.chars().count() + 1 + word.chars().count() > columns() {
            lines.push(std::mem::replace(&mut line, format!("{indent}  ")));
        } else if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
