//! Layout by person: callers with the same gains and losses together, with their routes.

use std::collections::BTreeMap;

use super::super::report::route_of;
use super::super::summary::counted;
use super::super::{AccessChange, Change, ProfileKind};
use super::{ImpactText, Tone, joined, names, sign, tone};

/// The most names of callers with the same changes; the rest is only counted.
const MOST_NAMES: usize = 6;
/// The most routes of one direction; the rest is only counted.
const MOST_ROUTES: usize = 12;

/// The gains and losses of a person, as indices into the changes.
type Effect = [Vec<usize>; 2];

impl<'i, 'm> ImpactText<'i, 'm> {
    pub(super) fn people(&self, print: &mut impl FnMut(Tone, &str)) {
        // Groups and legacy roles are shown if no real caller is known.
        let is_real = |kind| matches!(kind, ProfileKind::Admin | ProfileKind::Machine);
        let profiles = self.impact.population.profiles();
        let are_real = profiles.iter().any(|profile| is_real(profile.kind));
        let mut alike: BTreeMap<(ProfileKind, Effect), Vec<&'i str>> = BTreeMap::new();
        for (index, profile) in profiles.iter().enumerate() {
            let effect = [AccessChange::Gain, AccessChange::Loss].map(|direction| {
                let shown = self.view.directions().any(|one| one == direction);
                let changes = self.impact.changes.iter().enumerate();
                let of_profile = changes.filter(|(_, change)| shown && change.of(direction).contains(index));
                of_profile.map(|(place, _)| place).collect::<Vec<_>>()
            });
            let members = profile.members.iter().map(|member| &**member);
            let caller = self.view.caller.as_deref();
            let asked: Vec<&str> = members.filter(|one| caller.is_none_or(|caller| caller == *one)).collect();
            let is_shown = is_real(profile.kind) || !are_real;
            if is_shown && !asked.is_empty() && effect.iter().any(|one| !one.is_empty()) {
                alike.entry((profile.kind, effect)).or_default().extend(asked);
            }
        }
        if let (Some(caller), true) = (&self.view.caller, alike.is_empty()) {
            print(Tone::Plain, "");
            print(Tone::Heading, &format!("{caller} neither gains nor loses access"));
        }
        for ((kind, effect), mut members) in alike {
            members.sort_unstable();
            print(Tone::Plain, "");
            print(Tone::Heading, &self.title_of(kind, &members));
            for (direction, places) in [AccessChange::Gain, AccessChange::Loss].into_iter().zip(&effect) {
                self.routes(direction, places, print);
            }
        }
    }

    fn title_of(&self, kind: ProfileKind, members: &[&str]) -> String {
        let word = match kind {
            ProfileKind::Admin => "admin",
            ProfileKind::Machine => "machine",
            ProfileKind::LegacyRole => "legacy role",
            ProfileKind::Group => "group",
            ProfileKind::NoRole => return joined(members.iter()),
        };
        format!("{}: {}", counted(members.len(), word), names(members, self.view.most(MOST_NAMES)))
    }

    fn routes(&self, direction: AccessChange, places: &[usize], print: &mut impl FnMut(Tone, &str)) {
        let changes: Vec<&Change<'_>> = places.iter().map(|place| &self.impact.changes[*place]).collect();
        // A route with several kinds of requests is one route.
        let mut routes: Vec<(Option<&str>, String)> = Vec::new();
        for change in changes {
            let route = route_of(&change.region);
            if routes.last().is_none_or(|(last, _)| *last != route) {
                routes.push((route, format!("{}  {}", self.title(change), self.demands(change))));
            }
        }
        let most = self.view.most(MOST_ROUTES);
        for (_, line) in routes.iter().take(most) {
            print(tone(direction), &format!("  {} {line}", sign(direction)));
        }
        if routes.len() > most {
            let rest = counted(routes.len() - most, "more route");
            print(tone(direction), &format!("  {} {rest} (--full lists all)", sign(direction)));
        }
    }
}
