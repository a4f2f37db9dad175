//! The gate's answer to a hypothetical request.
//!
//! Other services ask before they show a button, or where the gate is not in the path. The answer comes from the same
//! parts as a request's: the running mapping, a strict read of what the subject holds, and [`decide`]. But it is not a
//! request: nothing is forwarded or denied, so it leaves no audit row, no drift and no line in the decision
//! log. The service that acts on the answer records that.

use std::sync::Arc;

use async_trait::async_trait;
use policy::decision::body::BodyError;
use policy::decision::{Caller, Control, Question, Verdict, decide_with};
use policy::firewall::Request;
use policy::identity::Subject;
use policy::mapping::{Freshness, Mapping};
use policy::rbac::{Requirement, Standing};

use super::Gate;
use super::tickets::{Asker, with_state};
use crate::freshness::AccessError;
use crate::ruling::request::{BodySource, principal_of, target};

/// What any number of questions are answered by: the mapping that ran, and the switches and the epoch, read then.
pub struct Moment {
    pub mapping: Arc<Mapping>,
    pub control: Control,
}

/// The answer about a request.
#[derive(Debug)]
pub struct Evaluation {
    pub verdict: Verdict,
    /// `None` where no row covers the path.
    pub route: Option<Arc<str>>,
    pub cluster: Option<Arc<str>>,
    /// Whether the subject identifies a principal.
    pub standing: Standing,
}

/// The answer about a role or permission by itself.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    pub held: bool,
    pub standing: Standing,
}

impl Gate {
    /// Reads the switches now, whatever freshness the rows ask for.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn moment(&self) -> Result<Moment, AccessError> {
        let mapping = self.mappings.running();
        Ok(Moment { mapping, control: self.access.observe(Freshness::Strict).await? })
    }

    /// What would become of this request if `subject` made it. A `body` that is not given cannot be read.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn evaluate(
        &self,
        moment: &Moment,
        subject: &Subject,
        request: &Request,
        body: Option<&[u8]>,
    ) -> Result<Evaluation, AccessError> {
        let Moment { mapping, control } = moment;
        let access = self.access.resolve(subject, control.epoch).await?;
        let principal = principal_of(subject, &access);
        let target = target(mapping, request);
        let facts = self
            .body_facts(&target, control, principal.as_ref(), &access, request, &mut GivenBody(body))
            .await;
        let caller = match &principal {
            Some(principal) => Caller::at(&target, principal, &access),
            None => Caller::Nobody,
        };
        let asker = Asker { subject, principal: principal.as_ref(), control, access: &access };
        let asked = self.ticket_question(mapping, &target, &asker, request);
        let (mut ticket, unverified) = self.granted_for_ticket(&asked, control.epoch).await?;
        if let Some(name) = unverified {
            ticket = with_state(ticket, self.is_ticket_open(&name).await?);
        }
        let question =
            Question { upgrade: request.upgrade(), target, caller, control: Some(control), body: &facts };
        let verdict = decide_with(&question, &ticket);
        let row = target.row();
        Ok(Evaluation {
            verdict,
            route: row.map(|row| row.route.clone()),
            cluster: row.and_then(|row| row.cluster.clone()),
            standing: access.standing,
        })
    }

    /// Whether `subject` holds a role or a permission of the RBAC V2 tables, whichever gate is in force.
    ///
    /// # Errors
    ///
    /// The database did not answer.
    pub async fn holding(
        &self,
        moment: &Moment,
        subject: &Subject,
        requirement: &Requirement,
    ) -> Result<Holding, AccessError> {
        let access = self.access.resolve(subject, moment.control.epoch).await?;
        let held = access.standing == Standing::Active && access.meets(requirement);
        Ok(Holding { held, standing: access.standing })
    }
}

/// A body that was given with the question.
struct GivenBody<'b>(Option<&'b [u8]>);

#[async_trait]
impl BodySource for GivenBody<'_> {
    async fn read(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        match self.0 {
            None => Err(BodyError::Incomplete),
            Some(body) if body.len() > limit => Err(BodyError::TooLarge),
            Some(body) => Ok(body.to_vec()),
        }
    }
}
