//! The summary of an impact in a few sentences, for a reader that reads no further.

use std::collections::{BTreeMap, BTreeSet};

use super::report::route_of;
use super::{AccessChange, Change, Counts, Impact, ProfileKind};

impl Impact<'_> {
    /// The changes for callers that no profile names, and whether changes may be missing; the gravest first. The
    /// direction is that of the change, if the warning is about one.
    pub fn warnings(&self) -> Vec<(Option<AccessChange>, String)> {
        let uncovered = |is_quiet, direction, sentence: &str| {
            let turns = |change: &Change<'_>| {
                let region = &change.region;
                region.is_uncovered() && region.is_quiet() == is_quiet && change.strangers == Some(direction)
            };
            self.changes.iter().any(turns).then(|| (Some(direction), sentence.to_owned()))
        };
        let opens = [
            uncovered(
                false,
                AccessChange::Gain,
                "what no row covers opens to anyone, logged in or not: only Console decides",
            ),
            uncovered(
                true,
                AccessChange::Gain,
                "paths that are not quiet any more open to anyone, logged in or not: only Console decides",
            ),
        ];
        let closes = [
            uncovered(
                false,
                AccessChange::Loss,
                "what no row covers closes: admins get 403, everyone else is redirected to log in",
            ),
            uncovered(true, AccessChange::Loss, "quiet paths close: 404 for anyone"),
        ];
        let routes = [AccessChange::Gain, AccessChange::Loss].into_iter().flat_map(|direction| {
            self.routes_by_nameless(direction).into_iter().map(move |sentence| (Some(direction), sentence))
        });
        let incomplete = "INCOMPLETE: there are too many patterns to compare every path";
        let incomplete = (!self.complete).then(|| (None, incomplete.to_owned()));
        let (opens, closes) = (opens.into_iter().flatten(), closes.into_iter().flatten());
        opens.chain(routes).chain(closes).chain(incomplete).collect()
    }

    /// How many rows open or close to each unnamed kind of caller, one sentence each.
    fn routes_by_nameless(&self, direction: AccessChange) -> Vec<String> {
        let mut routes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for change in &self.changes {
            for who in change.nameless(direction) {
                routes.entry(who).or_default().extend(route_of(&change.region));
            }
        }
        let verb = |count| match (direction, count) {
            (AccessChange::Gain, 1) => "opens",
            (AccessChange::Gain, _) => "open",
            (AccessChange::Loss, 1) => "closes",
            (AccessChange::Loss, _) => "close",
        };
        let counts =
            routes.into_iter().map(|(who, routes)| (who, routes.len())).filter(|(_, count)| *count > 0);
        counts.map(|(who, count)| format!("{} {} to {who}", counted(count, "route"), verb(count))).collect()
    }

    /// N admins, N routes: gains and losses.
    pub fn headline(&self) -> String {
        let routes = counted(self.new.rows().len(), "route");
        let admins = match self.population.count(ProfileKind::Admin) {
            0 => String::new(),
            admins => format!("{}, ", counted(admins, "admin")),
        };
        if self.changes.is_empty() {
            return format!("{admins}{routes}: no one gains or loses access");
        }
        // Without a database no admin is known; the changes for roles and groups follow.
        match (admins.is_empty(), self.routes_changed()) {
            (true, 0) => format!("{routes}: none change"),
            (true, changed) => format!("{routes}: {changed} change"),
            (false, _) => format!("{admins}{routes}: {}", gains_and_losses(self.counts(ProfileKind::Admin))),
        }
    }

    /// Everything in one line, for lists: the warnings, and how much each kind of caller gains and loses.
    pub fn in_one_line(&self) -> String {
        let warnings = self.warnings().into_iter().map(|(_, warning)| warning);
        let machines = self.counts(ProfileKind::Machine);
        let machines = (machines != Counts::default()).then(|| {
            format!(
                "{}: {}",
                counted(self.population.count(ProfileKind::Machine), "machine"),
                gains_and_losses(machines)
            )
        });
        warnings.chain([self.headline()]).chain(machines).collect::<Vec<_>>().join("; ")
    }
}

pub(super) fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

pub(super) fn gains_and_losses(counts: Counts) -> String {
    format!(
        "{}, {}",
        counted(counts.gains, "gain"),
        if counts.losses == 1 { "1 loss".to_owned() } else { format!("{} losses", counts.losses) }
    )
}
