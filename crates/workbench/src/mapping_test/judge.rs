//! The answer to one request of one caller: always [`decide_with`]'s.

use std::borrow::Cow;
use std::fmt;

use policy::decision::body::{BodyError, BodyFacts, BodyKind, BodyReport, ContentHeaders, read};
use policy::decision::ticket::{TicketFacts, TicketName};
use policy::decision::{
    Caller as Sender, Control, Question, Rejection, Target, Verdict, decide_with, gate_word,
};
use policy::mapping::{BodyRule, ClusterMode, Mapping, Rollout, Row, Unmapped};
use policy::method::Method;
use policy::rbac::catalog::Catalog;
use serde::Serialize;

use super::caller::{Caller, Kind, Resolved, rollout_for, way_to};
use crate::explanation::answer::Ending;

/// The modes under which a case is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Under {
    /// Each cluster in the mode that the mapping gives it.
    #[default]
    File,
    /// Every cluster in `legacy`.
    Legacy,
    /// Every cluster in `v2`.
    V2,
    /// Each cluster in its own mode, while `FLAG_RBAC_V2` is off.
    KillSwitch,
}

impl Under {
    /// The words of `under`.
    pub const WORDS: [(&'static str, Under); 4] = [
        ("file", Under::File),
        ("legacy", Under::Legacy),
        ("v2", Under::V2),
        ("kill-switch", Under::KillSwitch),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Under::WORDS.into_iter().find(|(_, under)| *under == self).map_or("file", |(word, _)| word)
    }
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Ends(Ending),
    /// The firewall answers 400.
    Refused,
}

impl Answer {
    /// The answer that a verdict means.
    pub(super) fn of(verdict: &Verdict) -> Answer {
        Answer::Ends(Ending::of(&verdict.outcome))
    }

    /// The word for it, as `routes.test.toml` writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Answer::Ends(Ending::Allow) => "allow",
            Answer::Ends(Ending::Deny) => "deny",
            Answer::Ends(Ending::Login) => "login",
            Answer::Ends(Ending::Unauthorized) => "401",
            Answer::Ends(Ending::Unknown) => "403",
            Answer::Ends(Ending::Quiet) => "404",
            Answer::Ends(Ending::Gone) => "410",
            Answer::Refused => "400",
        }
    }
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Every kind of body that the row distinguishes.
    Every,
    /// The same without unreadable ones.
    EveryReadable,
    Missing,
    Sent {
        content_type: &'static str,
        text: String,
    },
}

/// A request without its body.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    /// Decoded.
    pub path: String,
    pub query: Option<String>,
    /// The index of the row that decides it.
    pub row: Option<usize>,
    /// Why the firewall refuses it.
    pub refused: Option<&'static str>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))
    }
}

/// Who sends a request, with what, and under which modes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub caller: &'a Caller,
    pub resolved: &'a Resolved,
    pub body: &'a Body,
    pub under: Under,
}

/// What decides: a mapping and a registry, with at most one rollout or `unmapped` in place of the mapping's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    pub mapping: &'a Mapping,
    pub catalog: &'a Catalog,
    pub control: Control,
    /// The rollout of a cluster in place of its own.
    pub rollout: Option<(&'a str, &'a Rollout)>,
    pub unmapped: Option<Unmapped>,
}

/// The answer for one kind of body.
#[derive(Clone, Debug)]
pub struct Decided {
    pub answer: Answer,
    pub body: Option<BodyReport>,
    /// Whether Console asks for TOTP after the gate.
    pub steps_up: bool,
    /// Why, in words.
    pub why: String,
}

impl<'a> Ground<'a> {
    pub(super) fn of(mapping: &'a Mapping, catalog: &'a Catalog, control: Control) -> Ground<'a> {
        Ground { mapping, catalog, control, rollout: None, unmapped: None }
    }

    pub(super) fn control(&self, under: Under) -> Control {
        Control { rbac_v2: self.control.rbac_v2 && under != Under::KillSwitch, ..self.control }
    }

    /// The rollout of a row under these modes. Rows without a cluster have none to set.
    pub(super) fn rollout(&self, row: &Row, under: Under) -> Cow<'a, Rollout> {
        let mode = match under {
            Under::Legacy => ClusterMode::Legacy,
            Under::V2 => ClusterMode::V2,
            Under::File | Under::KillSwitch => return Cow::Borrowed(self.rollout_in_file(row)),
        };
        match row.cluster {
            Some(_) if !row.exists_by_v2_alone() => Cow::Owned(Rollout::everybody(mode)),
            _ => Cow::Borrowed(self.rollout_in_file(row)),
        }
    }

    fn rollout_in_file(&self, row: &Row) -> &'a Rollout {
        match (&self.rollout, &row.cluster) {
            (Some((cluster, rollout)), Some(of)) if **of == **cluster && !row.exists_by_v2_alone() => rollout,
            _ => self.mapping.rollout_of(row),
        }
    }

    fn unmapped(&self, path: &str) -> Unmapped {
        match self.unmapped {
            Some(unmapped) if !self.mapping.is_quiet(path) => unmapped,
            _ => self.mapping.unmapped_at(path),
        }
    }

    /// The answers that one request gets, one for each kind of body that it may have.
    pub(super) fn answers(&self, asked: &Asked, row: Option<&Row>, sent: Sent<'_>) -> Vec<Decided> {
        if let Some(why) = asked.refused {
            let why = format!("the firewall refuses it: {why}");
            return vec![Decided { answer: Answer::Refused, body: None, steps_up: false, why }];
        }
        let mut answers = Vec::new();
        self.each(asked, row, sent, |verdict, body| {
            answers.push(Decided {
                answer: Answer::of(verdict),
                body: body.map(BodyKind::report),
                steps_up: steps_up(verdict, row),
                why: why(verdict, sent.caller, self.catalog),
            });
        });
        answers
    }

    /// Decides a request with each kind of body that it may have.
    pub(super) fn each(
        &self,
        asked: &Asked,
        row: Option<&Row>,
        Sent { caller, resolved, body, under }: Sent<'_>,
        mut look: impl FnMut(&Verdict, Option<BodyKind<'_>>),
    ) {
        let rules = row.map_or(&[][..], |row| row.kind.body_rules());
        for (kind, facts) in bodies(asked, body, rules) {
            look(&self.verdict(asked, row, (caller, resolved), under, &facts), kind);
        }
    }

    /// The decision about a request whose body is known.
    pub(super) fn verdict(
        &self,
        asked: &Asked,
        row: Option<&Row>,
        (caller, resolved): (&Caller, &Resolved),
        under: Under,
        body: &BodyFacts,
    ) -> Verdict {
        let rollout = row.map(|row| rollout_for(caller, &self.rollout(row, under)));
        let target = match (row, &rollout) {
            (Some(row), Some(rollout)) => Target::Row(row, rollout),
            _ => Target::Unmapped(self.unmapped(&asked.path)),
        };
        let sender = match caller.kind {
            Kind::Anonymous => Sender::Nobody,
            Kind::Program => Sender::Presented,
            Kind::Admin | Kind::Machine => Sender::at(&target, &resolved.principal, &resolved.access),
        };
        let ticket = match row.and_then(Row::ticket) {
            None => TicketFacts::NotAsked,
            Some(rule) => {
                let (path, query) = (asked.path.as_str(), asked.query.as_deref());
                let named = TicketName::of(rule, self.mapping, path, query, asked.method);
                resolved.ticket(caller, named.as_ref())
            }
        };
        let control = Some(&self.control(under));
        let question = Question { upgrade: false, target, caller: sender, control, body };
        decide_with(&question, &ticket)
    }
}

/// Each kind of body, and the facts about it.
fn bodies<'t>(asked: &Asked, body: &Body, rules: &'t [BodyRule]) -> Vec<(Option<BodyKind<'t>>, BodyFacts)> {
    if rules.is_empty() {
        return vec![(None, BodyFacts::NotRead)];
    }
    let facts = |kind: BodyKind<'t>| (Some(kind), kind.facts(rules));
    match body {
        Body::Every => BodyKind::all(rules, asked.method).into_iter().map(facts).collect(),
        Body::EveryReadable => {
            let kinds = BodyKind::all(rules, asked.method).into_iter();
            kinds.filter(|kind| *kind != BodyKind::Unreadable).map(facts).collect()
        }
        Body::Sent { content_type, text } if asked.method.carries_body() => {
            let headers = ContentHeaders { content_type: Some(content_type), content_encoding: None };
            vec![(None, read(rules, headers, text.as_bytes()))]
        }
        Body::Missing | Body::Sent { .. } => {
            vec![(Some(BodyKind::Unreadable), BodyFacts::Unreadable(BodyError::NoBody))]
        }
    }
}

/// Whether Console asks for TOTP after the gate.
pub(super) fn steps_up(verdict: &Verdict, row: Option<&Row>) -> bool {
    verdict.outcome.is_ok() && row.is_some_and(|row| row.totp.is_some())
}

/// The reason of a verdict, as `explain` names it.
fn why(verdict: &Verdict, caller: &Caller, catalog: &Catalog) -> String {
    let gate = gate_word(verdict.gate);
    match &verdict.outcome {
        Ok(permit) => match verdict.gate {
            None => format!("no role is required ({})", permit.let_in_by().word()),
            Some(_) if permit.roles_used().is_empty() => format!("the {gate} gate leaves it to Console"),
            Some(_) if permit.let_in_by().word() == "legacy" => {
                let roles: Vec<&str> = permit.roles_used().iter().map(AsRef::as_ref).collect();
                format!("the {gate} gate, by legacy role {}", roles.join(" and "))
            }
            Some(_) => {
                let ways = permit.roles_used().iter().map(|role| way_to(caller, role, catalog));
                format!("the {gate} gate, by {}", ways.collect::<Vec<String>>().join(" and "))
            }
        },
        Err(Rejection::Denied(denial)) => {
            let by = if verdict.gate.is_some() { format!("the {gate} gate, ") } else { String::new() };
            format!("{by}{}: requires {}", denial.lack.reason.word(), denial.lack.required.join(" and "))
        }
        Err(Rejection::Login) => "the caller is not logged in: redirect to the login".to_owned(),
        Err(Rejection::Unauthorized) => "the row asks for another credential: 401".to_owned(),
        Err(Rejection::Unknown) => "the caller is not logged in: 403".to_owned(),
        Err(Rejection::Gone) => "the route was deleted: 410".to_owned(),
        Err(Rejection::Quiet) => "there is nothing at this address: 404".to_owned(),
        Err(Rejection::Upgrade) => "the row accepts no WebSocket".to_owned(),
        Err(Rejection::StepUp(_)) => "a passkey has to sign first".to_owned(),
    }
}
