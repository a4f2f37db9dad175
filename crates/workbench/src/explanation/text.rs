//! An explanation as text: a label in front of each paragraph, 80 columns.

use std::fmt;

use policy::decision::{Direction, Reason, WhyLegacy};
use policy::rbac::Standing;
use policy::rbac::census::BREAK_GLASS;

use super::answer::{AnswerReport, Ending, ShadowReport, Way};
use super::asker::AskerKind;
use super::caller::CallerReport;
use super::gate::{Decides, Demanded, GateReport, Part, RuleReport};
use super::grants::Grant;
use super::rivals::Rival;
use super::{Explanation, KindReport, Route, RowReport, UnmappedReport};
use crate::report::style::{Style, columns};
use crate::report::text::wrapped;

/// The indentation of the text after the labels.
const INDENT: usize = 11;

/// The denials that a grant for the ticket would end.
const TICKET_REASONS: [Reason; 2] = [Reason::TicketRequired, Reason::NoTicketGrant];

/// The most additional roles of a grant that are named; the rest is only counted.
const MOST_NAMES: usize = 2;

/// A paragraph with its label; with an empty label, it continues the previous one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paragraph {
    pub label: String,
    pub text: String,
}

/// The explanation in paragraphs: of the route, then of the caller.
pub fn paragraphs(explanation: &Explanation) -> (Vec<Paragraph>, Vec<Paragraph>) {
    let mut route = Page::default();
    route.route(explanation);
    if let Some(gate) = &explanation.gate {
        route.gate(gate);
    }
    let mut caller = Page::default();
    if let Some(report) = &explanation.caller {
        caller.caller(report);
    }
    (route.paragraphs, caller.paragraphs)
}

/// The whole text, with a newline at its end.
pub fn text(explanation: &Explanation, style: Style) -> String {
    let line = |Paragraph { label, text }: &Paragraph| {
        let lines = wrapped(text, columns(), INDENT, INDENT + 2);
        let rest = lines.get(INDENT..).unwrap_or_default();
        let gap = " ".repeat(INDENT.saturating_sub(label.len()));
        format!("{}{gap}{rest}\n", style.bold(label))
    };
    let (route, caller) = paragraphs(explanation);
    let route: String = route.iter().map(line).collect();
    match caller.as_slice() {
        [] => route,
        caller => format!("{route}\n{}", caller.iter().map(line).collect::<String>()),
    }
}

#[derive(Default)]
struct Page {
    paragraphs: Vec<Paragraph>,
}

impl Page {
    fn line(&mut self, label: &str, text: &str) {
        self.paragraphs.push(Paragraph { label: label.to_owned(), text: text.to_owned() });
    }

    fn route(&mut self, explanation: &Explanation) {
        match &explanation.route {
            Route::Refused { status, reason, why } => {
                self.line("refused", &format!("the firewall answers {status}: {reason}"));
                self.line("", why);
            }
            Route::Row(row) => {
                self.row(row, &explanation.file);
                self.rivals(&explanation.rivals);
                self.cluster(row);
            }
            Route::Redirect(row) => {
                self.row(row, &explanation.file);
                self.line(
                    "slash",
                    "the path lacks the row's trailing slash: Console answers allowed callers with 308, or with the \
                     view where its rule has strict_slashes=False",
                );
                self.rivals(&explanation.rivals);
                self.cluster(row);
            }
            Route::WrongMethod { allowed, unmapped } => {
                self.line("row", unmapped_in_words(*unmapped));
                self.line("method", &format!("the path has rows only for {allowed}"));
                self.rivals(&explanation.rivals);
            }
            Route::NoRow { nearest, unmapped } => {
                self.line("row", unmapped_in_words(*unmapped));
                self.rivals(&explanation.rivals);
                for place in nearest {
                    self.line("near", &format!("`{}`, line {}", place.route, place.line));
                }
            }
        }
    }

    fn row(&mut self, row: &RowReport, file: &str) {
        self.line("row", &row.route);
        self.line("", &format!("{file}:{}, blueprint {}", row.line, row.blueprint));
        for value in &row.values {
            self.line("", &format!("{} = {}", value.name, value.value));
        }
        if row.served_by_gate {
            self.line("", "the gate itself serves it, Console never sees it");
        }
        if let Some(name) = &row.upstream {
            self.line("", &format!("upstream {name} has it, Console never sees it"));
        }
        if !row.notifies.is_empty() {
            let roles = row.notifies.join(" or ");
            self.line("", &format!("the customer is notified of requests by {roles}"));
        }
    }

    fn rivals(&mut self, rivals: &[Rival]) {
        for rival in rivals {
            let rival_in_words = format!("`{}`, line {}: {}", rival.route, rival.line, rival.lost.in_words());
            self.line("rival", &rival_in_words);
        }
    }

    fn cluster(&mut self, row: &RowReport) {
        match (&row.cluster, &row.rollout) {
            (Some(cluster), Some(rollout)) => self.line("cluster", &format!("{cluster}, {rollout}")),
            _ => self.line("cluster", "none"),
        }
        match row.kind {
            KindReport::Session => self.line("gate", "any admin who is logged in"),
            KindReport::Public => self.line("gate", "none: anyone, logged in or not"),
            KindReport::Machine => {
                self.line("gate", "a bearer token or a signature, which Console verifies");
            }
            KindReport::Upstream => self.line("gate", "Console's own decorators decide"),
            KindReport::Gone => self.line("gate", "none: the route was deleted, every request gets 410"),
            KindReport::Gated => {}
        }
    }

    fn gate(&mut self, gate: &GateReport) {
        for part in &gate.in_force {
            let who = match part.of {
                Part::Cohort => "the cohort: ",
                Part::Rest => "the rest: ",
                Part::Everybody => "",
            };
            self.line("gate", &format!("{who}{}", part.in_words));
            match part.why_legacy {
                Some(WhyLegacy::KillSwitch) => {
                    self.line("", "the kill-switch puts every row on its legacy gate");
                }
                Some(WhyLegacy::NotPromoted) => {
                    self.line("", "in production V2 is enforced only after its promotion");
                }
                Some(WhyLegacy::Cluster | WhyLegacy::Undecided) | None => {}
            }
        }
        if let Some(undecided) = &gate.undecided {
            for (option, role) in &undecided.options {
                self.line("option", &format!("{option}: {role}"));
            }
        }
        if let Some(decided) = &gate.decided {
            self.line("decided", &decided.to_string());
        }
        match &gate.legacy {
            Some(roles) => self.line("legacy", &roles.join(" or ")),
            None => self.line("legacy", "none: the legacy gate denies everyone"),
        }
        match (&gate.v2, &gate.ticket) {
            (Some(v2), Some(ticket)) => self.line("v2", &format!("{} {ticket}", v2.requirement)),
            (Some(v2), None) => {
                self.demanded(&v2.requirement, v2);
                gate.also.iter().for_each(|also| self.demanded(&format!("and {}", also.requirement), also));
            }
            (None, _) => {}
        }
        for rule in &gate.when {
            let RuleReport { field, equals, demanded } = rule;
            let text = format!("and {} for a body with {field} = {equals}", demanded.requirement);
            self.demanded(&text, &rule.demanded);
        }
        if !gate.when.is_empty() {
            self.line("", "V2 denies an unreadable or missing body");
        }
        if gate.takes_machines {
            self.line("", "an enrolled machine token is accepted instead of a session");
            self.line(
                "",
                match gate.takes_unknown_machines {
                    true => "unknown machines are left to Console until V2 decides",
                    false => "unknown machines are refused; `token enroll` enrolls one",
                },
            );
        }
    }

    fn demanded(&mut self, text: &str, demanded: &Demanded) {
        self.line("v2", text);
        self.line(
            "",
            &match demanded.held_through.is_empty() {
                true => "no group has it".to_owned(),
                false => format!("granted through {}", demanded.held_through.join(", ")),
            },
        );
    }

    fn caller(&mut self, caller: &CallerReport) {
        let label = match caller.kind {
            AskerKind::Admin => "admin",
            AskerKind::Machine => "machine",
            AskerKind::Group => "group",
            AskerKind::LegacyRole => "role",
            AskerKind::Unauthenticated => "caller",
        };
        self.line(label, &caller.name);
        for flaw in &caller.unusable {
            self.line("unusable", &format!("{flaw}: it grants nothing"));
        }
        match caller.kind {
            AskerKind::Admin if caller.standing != Standing::Active => return self.inactive(caller),
            AskerKind::Admin | AskerKind::Machine => {}
            AskerKind::Group => self.line("", "a hypothetical caller in only this group"),
            AskerKind::LegacyRole => self.line("", "a hypothetical caller in no group"),
            AskerKind::Unauthenticated => {
                return caller.answers.iter().for_each(|answer| self.answer(answer, caller));
            }
        }
        let legacy: Vec<String> = caller.legacy.iter().map(ToString::to_string).collect();
        self.line("legacy", &words(&legacy));
        self.line("groups", &words(&caller.groups));
        if caller.break_glass {
            self.line("", "and an active break-glass session");
        }
        if let Some(part) = &caller.part {
            let side = if part.in_cohort { "in the cohort" } else { "in the rest" };
            self.line("part", &format!("{side}: {}", part.why));
        }
        for answer in &caller.answers {
            self.answer(answer, caller);
        }
    }

    /// An admin that the gate treats as unauthenticated.
    fn inactive(&mut self, caller: &CallerReport) {
        let who = match caller.standing {
            Standing::Disabled => "the admin is disabled",
            Standing::SessionEnded => "the session has ended",
            Standing::Unknown | Standing::Active => "no admin has this id",
        };
        if let Some(answer) = caller.answers.first() {
            self.line("answer", &format!("{who}: {}", answer_in_words(answer)));
        }
        if let Some(closest) = &caller.closest {
            self.line("", &format!("did you mean {closest}?"));
        }
    }

    fn answer(&mut self, answer: &AnswerReport, caller: &CallerReport) {
        let body = answer.body.as_ref().map_or_else(String::new, |body| format!(" for {body}"));
        let by = answer.decided_by.map_or_else(String::new, |gate| format!(" (by the {} gate)", gate.word()));
        self.line("answer", &format!("{}{body}{by}", answer_in_words(answer)));
        for way in &answer.through {
            self.line("through", &way_in_words(way, &caller.name));
        }
        for missing in &answer.missing {
            self.line("missing", missing);
        }
        for requirement in &answer.held_by_nobody {
            self.line("", &format!("no group has {requirement}: joining a group cannot grant access"));
        }
        for (index, grant) in answer.enough.iter().enumerate() {
            self.line(if index == 0 { "enough" } else { "or" }, &grant_in_words(grant));
        }
        let is_unreadable = answer.reason == Some(Reason::BodyUnreadable.word());
        if answer.decided_by == Some(Decides::V2) && answer.answer == Ending::Deny && !is_unreadable {
            let of_ticket = TICKET_REASONS.iter().any(|reason| answer.reason == Some(reason.word()));
            match of_ticket {
                true => self.line("or", "a grant of the role for that ticket and customer (`ticket grant`)"),
                false => self.line("not enough", "a ticket-scoped grant: this row asks for no ticket"),
            }
        }
        if let Some(shadow) = &answer.shadow {
            self.line("shadow", &shadow_in_words(shadow));
        }
    }
}

fn unmapped_in_words(unmapped: UnmappedReport) -> &'static str {
    match unmapped {
        UnmappedReport::Deny => "none: denied, and audited as unmapped_route",
        UnmappedReport::Forward => "none: forwarded, Console decides",
        UnmappedReport::Quiet => "none: quiet, answered 404 and not audited",
    }
}

fn answer_in_words(answer: &AnswerReport) -> String {
    match answer.answer {
        Ending::Allow => "allowed".to_owned(),
        Ending::Deny => format!("denied: {}", answer.reason.unwrap_or_default()),
        Ending::Login => "redirected to log in".to_owned(),
        Ending::Unauthorized => "401: a credential is required".to_owned(),
        Ending::Unknown => "403: a login is required".to_owned(),
        Ending::Gone => "410: the route was deleted".to_owned(),
        Ending::Quiet => "404: there is nothing at this address".to_owned(),
    }
}

fn way_in_words(way: &Way, name: &str) -> String {
    // A hypothetical caller has the name of the group or the role.
    let is_named = match way {
        Way::LegacyRole { role } => role == name,
        Way::Group { group, .. } => group == name,
        Way::BreakGlass { .. } | Way::Ticket { .. } => false,
    };
    if is_named { way.to_string() } else { format!("{name} -> {way}") }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (beginning, roles, permission) = match self {
            Way::LegacyRole { role } => return write!(f, "legacy role {role}"),
            Way::Ticket { ticket, customer, role } => {
                return write!(f, "{role} for ticket {ticket} and customer {customer}");
            }
            Way::Group { group, roles, permission } => (group.as_str(), roles, permission),
            Way::BreakGlass { roles, permission } => ("break-glass session", roles, permission),
        };
        let names =
            [beginning].into_iter().chain(roles.iter().map(String::as_str)).chain(permission.as_deref());
        f.write_str(&names.collect::<Vec<&str>>().join(" -> "))
    }
}

fn grant_in_words(grant: &Grant) -> String {
    match grant {
        Grant::Groups { groups, brings } => {
            format!("membership in {} ({})", groups.join(" and "), brings_in_words(brings))
        }
        Grant::BreakGlass { brings } => {
            format!("a {BREAK_GLASS} session, for 4 hours at most ({})", brings_in_words(brings))
        }
        Grant::LegacyRole { role } => format!("legacy role {role}"),
    }
}

fn brings_in_words(brings: &[String]) -> String {
    match brings {
        [] => "grants no role".to_owned(),
        few if few.len() <= MOST_NAMES => format!("grants {}", few.join(" and ")),
        many => format!("grants {} roles", many.len()),
    }
}

fn shadow_in_words(shadow: &ShadowReport) -> String {
    match shadow.direction {
        Direction::WouldNewlyAllow => "V2 would allow the request".to_owned(),
        Direction::WouldNewlyDeny => {
            format!("V2 would deny it: {}, {}", shadow.reason, shadow.required.join(", "))
        }
    }
}

fn words(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
