//! A caller and the outcomes of its request.

use std::borrow::Cow;

use policy::decision::Target;
use policy::mapping::Rollout;
use policy::method::Method;
use policy::rbac::Standing;
use serde::Serialize;

use super::Facts;
use super::answer::{AnswerReport, CallerQuestion, Ending, ForTicket, Passage};
use super::asker::{Asker, AskerKind, PartReport, Subject};

/// A caller and the outcome of its request.
#[derive(Debug, Serialize)]
pub struct CallerReport {
    pub kind: AskerKind,
    pub name: String,
    /// The gate treats an inactive admin as unauthenticated.
    pub standing: Standing,
    /// The id that was probably intended, if no admin has this one.
    pub closest: Option<String>,
    pub legacy: Vec<String>,
    pub groups: Vec<String>,
    pub break_glass: bool,
    /// The caller's unusable rows in the access tables, which grant nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unusable: Vec<String>,
    /// The caller's side, if the row's cluster has a cohort.
    pub part: Option<PartReport>,
    /// One for each kind of body that the row distinguishes; otherwise a single one.
    pub answers: Vec<AnswerReport>,
    /// Whether the request passes, with every kind of body.
    pub passes: bool,
}

/// Explains the outcome for `asker`.
pub(super) fn report(
    target: &Target<'_>,
    method: Method,
    asker: &Asker<'_>,
    facts: &Facts<'_>,
) -> CallerReport {
    let subject = Subject::of(asker, facts);
    let rollout = match target {
        Target::Row(_, rollout) => subject.rollout(rollout),
        Target::Unmapped(_) => Cow::Borrowed(&Rollout::LEGACY),
    };
    let target = match target {
        Target::Row(row, _) => Target::Row(row, &rollout),
        Target::Unmapped(unmapped) => Target::Unmapped(*unmapped),
    };
    let asked = CallerQuestion { target, method, subject: &subject, facts };
    let answers: Vec<AnswerReport> = asked.bodies().into_iter().map(|body| asked.answer(body)).collect();
    let access = &subject.access;
    CallerReport {
        kind: subject.kind,
        name: subject.name.to_owned(),
        standing: access.standing,
        closest: subject.closest.map(ToOwned::to_owned),
        legacy: access.legacy.iter().map(ToString::to_string).collect(),
        groups: access.groups.iter().map(ToString::to_string).collect(),
        break_glass: subject.break_glass,
        unusable: access.flaws.iter().map(ToString::to_string).collect(),
        part: subject.part(&target),
        passes: answers.iter().all(|answer| answer.answer == Ending::Allow),
        answers,
    }
}

/// Whether a real caller passes, and by which grants: like [`report`], without the grants that would change a denial.
pub(crate) fn passage(
    target: Target<'_>,
    method: Method,
    asker: &Asker<'_>,
    tickets: &[&ForTicket],
    facts: &Facts<'_>,
) -> Option<Passage> {
    let subject = Subject::of(asker, facts);
    CallerQuestion { target, method, subject: &subject, facts }.passage(tickets)
}
