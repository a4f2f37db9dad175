//! What the admin of a session holds, where the cookie names only the session.
//!
//! With the admin's id in the session's row, everything is read by one statement. With a payload, the gate decodes it
//! between two statements, in one transaction that reads from one snapshot.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use metrics::counter;
use policy::identity::Subject;
use policy::identity::session_key::{Keeper, SessionKey};
use policy::identity::session_payload::PayloadReader;
use policy::ids::{AdminId, Epoch};
use policy::rbac::Access;
use policy::rbac::flaw::{Flaw, FlawKind};

use super::assemble::{Fact, assemble};
use super::timed;
use crate::console::{ReadPlan, SessionRead, composed};
use crate::engine::tolerant::{Lenient, Raw, readable_times};
use crate::{Store, StoreError};

/// A session's row, beside the epoch.
#[derive(sqlx::FromRow)]
struct SessionRow {
    epoch: i64,
    /// Whether there is one.
    there: Option<i32>,
    #[sqlx(try_from = "Lenient<String>")]
    id: Option<String>,
    payload: Option<Raw>,
    kind: String,
    #[sqlx(try_from = "Lenient<String>")]
    ends: Option<String>,
}

/// What was read.
enum Found {
    Facts(Vec<Fact>),
    /// The session does not identify an admin; perhaps because its payload cannot be read.
    Unidentified(Epoch, Option<Flaw>),
}

impl Store {
    /// What the admin of the session holds.
    pub(super) async fn session_access(
        &self,
        key: &SessionKey,
        now: DateTime<Utc>,
    ) -> Result<Access, StoreError> {
        let looked_up = key.expose().ok_or_else(|| StoreError::Broken("a session without its key".into()))?;
        let plan = self.read_plan().await?;
        if key.keeper() == Keeper::Gate {
            let text = plan
                .login_session
                .clone()
                .ok_or_else(|| StoreError::Unusable("[identity] is not set".into()))?;
            let statement = composed(text).bind(looked_up.to_owned()).bind(None::<String>);
            let facts = self.facts(timed(statement)).await?;
            return assemble(
                facts,
                &Subject::Session(key.clone()),
                now,
                Some(&plan),
                self.break_glass_rules(),
            );
        }
        let missing =
            || StoreError::Unusable("[console] sessions is not set: the session cannot be read".into());
        let session = plan.session.as_ref().ok_or_else(missing)?;
        let found = match (&session.read, key.payload()) {
            (SessionRead::Whole(text), None) => {
                let statement = composed(text.clone()).bind(looked_up.to_owned()).bind(None::<String>);
                self.facts(timed(statement)).await.map(Found::Facts)
            }
            (SessionRead::Row(text), Some(reader)) => {
                self.bounded(self.by_payload(&plan, text, looked_up, reader)).await
            }
            // Both are made from `[session] payload`.
            (SessionRead::Whole(_), Some(_)) | (SessionRead::Row(_), None) => {
                Err(StoreError::Unusable("[session] payload differs from what the store reads".into()))
            }
        };
        match found {
            Ok(Found::Facts(facts)) => {
                let rules = self.break_glass_rules();
                assemble(facts, &Subject::Session(key.clone()), now, Some(&plan), rules)
            }
            Ok(Found::Unidentified(epoch, flaw)) => {
                Ok(Access { flaws: flaw.into_iter().collect(), ..Access::nothing(epoch) })
            }
            // The database's error about a value quotes it, and this one is a credential.
            Err(StoreError::Refused(_)) => {
                let epoch = self.control().await?.epoch;
                match self.is_no_value(session.probe(looked_up)).await? {
                    true => Ok(Access::nothing(epoch)),
                    false => Err(StoreError::Refused("[console] sessions refused a value".into())),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn by_payload(
        &self,
        plan: &ReadPlan,
        text: &Arc<str>,
        looked_up: &str,
        reader: &PayloadReader,
    ) -> Result<Found, StoreError> {
        let mut transaction = self.access_pool.begin_reading().await?;
        let statement = composed(text.clone()).bind(looked_up.to_owned());
        let held = transaction.all(statement).await.and_then(|rows| holder(rows, reader, plan));
        let (admin, session, epoch) = match held {
            Ok(Held::By { admin, session, epoch }) => (admin, session, epoch),
            Ok(Held::Unidentified(epoch, flaw)) => {
                transaction.commit().await?;
                return Ok(Found::Unidentified(epoch, flaw));
            }
            Err(error) => return Err(transaction.given_up(error).await),
        };
        let (first, last) = readable_times();
        let statement = composed(plan.admin.clone()).bind(admin.as_str().to_owned()).bind(None::<String>);
        let mut facts: Vec<Fact> = match transaction.all(statement.bind(first).bind(last)).await {
            Ok(facts) => facts,
            Err(error) => {
                let error = transaction.given_up(error).await;
                // Perhaps no admin can have such an id.
                let is_refused = matches!(error, StoreError::Refused(_));
                return match is_refused && self.is_no_value(plan.probe_admin(admin.as_str())).await? {
                    true => Ok(Found::Unidentified(epoch, None)),
                    false => Err(error),
                };
            }
        };
        transaction.commit().await?;
        facts.push(session);
        facts.push(Fact::named("session_admin", admin.as_str()));
        Ok(Found::Facts(facts))
    }
}

/// Whose session it is.
enum Held {
    By { admin: AdminId, session: Fact, epoch: Epoch },
    Unidentified(Epoch, Option<Flaw>),
}

fn holder(rows: Vec<SessionRow>, reader: &PayloadReader, plan: &ReadPlan) -> Result<Held, StoreError> {
    let mut rows = rows.into_iter();
    let row = rows.next().ok_or_else(|| StoreError::Broken("gate_epoch has no row".into()))?;
    let epoch = Epoch(row.epoch);
    // Of two sessions with one key, neither identifies an admin.
    let (Some(1), None, Some(payload)) = (row.there, rows.next(), row.payload) else {
        return Ok(Held::Unidentified(epoch, None));
    };
    match reader.admin_id(&payload.0) {
        Ok(Some(admin)) => {
            let session = Fact::of_session(row.kind, row.id, row.ends);
            Ok(Held::By { admin, session, epoch })
        }
        Ok(None) => Ok(Held::Unidentified(epoch, None)),
        Err(error) => {
            counter!("gate_session_payloads_refused_total", "reason" => error.word()).increment(1);
            let (table, _) = plan.places.session;
            let flaw = Flaw {
                kind: FlawKind::Unusable,
                table: table.into(),
                column: "payload".into(),
                word: None,
                holder: None,
            };
            Ok(Held::Unidentified(epoch, Some(flaw)))
        }
    }
}
