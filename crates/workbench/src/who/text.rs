//! The answer of `who` as text.

use chrono::{DateTime, Utc};
use policy::decision::WhyLegacy;
use policy::rbac::census::CallerKind;
use policy::rbac::grant::Origin;

use super::{Could, Decided, HeldBy, Interval, Passing, Through, Unless, Who};
use crate::report::style::{Style, columns};
use crate::report::text::{harmless, wrapped};

/// The whole text, with a newline at its end.
pub fn text(who: &Who, style: Style) -> String {
    let mut page = Page { text: String::new(), style };
    let period = match who.until {
        None => format!("at {}", in_seconds(who.from)),
        Some(until) => format!("from {} until {}", in_seconds(who.from), in_seconds(until)),
    };
    page.heading(&format!("{} {}, {period}", who.method, who.path));
    if let Some(why) = &who.refused {
        page.line(2, &format!("no caller: the firewall refuses the request: {why}"));
        return page.text;
    }
    for decided in &who.rows {
        page.line(2, &format!("{}{}", time_of(who, decided.from, decided.until), decider(decided)));
    }
    page.heading("Who could");
    for (intervals, callers) in [
        (&who.anybody, "anybody, logged in or not"),
        (&who.machines_of_console, "machines whose token Console verifies"),
    ] {
        for Interval { from, until } in intervals {
            page.line(2, &format!("{}{callers}", time_of(who, *from, *until)));
        }
    }
    let is_known = who.rows.iter().all(|decided| decided.by.mapping_sha256.is_some());
    match is_known && !who.rows.is_empty() {
        false => page.line(2, "not known for the time of which no mapping is known"),
        true if who.people.is_empty() && who.anybody.is_empty() => {
            page.line(2, "no admin and no machine that the gate knows");
        }
        true => {}
    }
    for person in &who.people {
        page.line(2, &name(person));
        for could in &person.times {
            page.could(who, could);
        }
    }
    page.text
}

struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&format!("{}\n", self.style.bold(&harmless(text))));
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.text.push_str(&wrapped(&harmless(text), columns(), indent, indent + 2));
        self.text.push('\n');
    }

    fn could(&mut self, who: &Who, could: &Could) {
        let Interval { from, until } = could.at;
        let ways: Vec<String> = could.through.iter().map(through).collect();
        let by = if ways.is_empty() { "without a role".to_owned() } else { ways.join("; or ") };
        let some = if could.with_some_bodies { ", with some bodies only" } else { "" };
        self.line(4, &format!("{}{by}{some}", time_of(who, from, until)));
    }
}

/// Sentences below a report, under a heading.
pub fn notes(heading: &str, notes: &[String], style: Style) -> String {
    let mut page = Page { text: String::new(), style };
    page.text.push('\n');
    page.text.push_str(&format!("{}\n", style.bold(heading)));
    for note in notes {
        page.line(2, note);
    }
    page.text
}

/// The kind and the id of a caller, with the uncertainty about it.
pub fn name(person: &Passing) -> String {
    let name = match (person.kind, &person.name) {
        (CallerKind::Machine, Some(name)) => format!("machine {name} ({})", person.id),
        (kind, _) => format!("{} {}", kind.word(), person.id),
    };
    match person.unless {
        None => name,
        Some(Unless::DisabledNow) => {
            format!("{name}, unless disabled by then: is disabled now, and since when was not recorded")
        }
        Some(Unless::GoneNow) => format!("{name}, if an admin at the time: is none now"),
    }
}

/// A way in words, with the end of the grant with which it begins.
pub fn through(through: &Through) -> String {
    let held: Vec<String> = through.held_by.iter().filter_map(held_by).collect();
    match held.is_empty() {
        true => through.chain.clone(),
        false => format!("{} ({})", through.chain, held.join(", ")),
    }
}

fn held_by(held: &HeldBy) -> Option<String> {
    let kind = match held.origin {
        Origin::Direct => return None,
        Origin::Timed => "grant",
        Origin::Request => "approved request",
        Origin::Ticket => "ticket",
        Origin::BreakGlass => "session",
    };
    let id = held.id.as_deref().unwrap_or_default();
    Some(match held.until {
        Some(until) => format!("{kind} {id} until {}", in_seconds(until)),
        None => format!("{kind} {id} until its ticket is closed"),
    })
}

fn decider(decided: &Decided) -> String {
    let by = &decided.by;
    let Some(sha256) = &by.mapping_sha256 else {
        return "no mapping is known: no caller is listed".to_owned();
    };
    let mapping = format!("mapping {}", sha256.get(..12).unwrap_or(sha256));
    let Some(route) = &by.route else { return format!("{mapping}: no row, {}", by.asks) };
    let cluster = by.cluster.as_ref().zip(by.rollout.as_ref());
    let cluster = cluster.map_or_else(String::new, |(name, rollout)| format!(", cluster {name} {rollout}"));
    let why = match by.why_legacy {
        Some(WhyLegacy::KillSwitch) => ", FLAG_RBAC_V2 is off",
        Some(WhyLegacy::NotPromoted) => ", FLAG_RBAC_V2 is not promoted",
        Some(WhyLegacy::Undecided) => ", undecided",
        Some(WhyLegacy::Cluster) | None => "",
    };
    let gate = if by.gate == "none" { String::new() } else { format!(", decided by {}{why}", by.gate) };
    format!("{mapping}: `{route}` asks for {}{cluster}{gate}", by.asks)
}

/// A prefix with the time of an entry; empty if a single moment was requested.
fn time_of(who: &Who, from: DateTime<Utc>, until: Option<DateTime<Utc>>) -> String {
    let whole = from == who.from && until == who.until;
    match until {
        None => String::new(),
        Some(_) if whole => "all the time: ".to_owned(),
        Some(until) => format!("{} until {}: ", in_seconds(from), in_seconds(until)),
    }
}

/// A time to the second.
pub fn in_seconds(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
