//! What one caller holds: the algorithm of the RBAC V2 design, section 3.4, in one statement and one snapshot.

mod assemble;
mod session;
mod stated;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use policy::decision::ticket::TicketName;
use policy::identity::Subject;
use policy::ids::{AdminId, Epoch, InstanceId, SessionId};
use policy::rbac::Access;
use policy::rbac::break_glass::BreakGlassRules;

use self::assemble::{Fact, assemble};
use crate::console::composed;
use crate::control::{ControlReading, ControlRow};
use crate::engine::connection::{Connection, Pool};
use crate::engine::sql::{Statement, sql};
use crate::engine::tolerant::readable_times;
use crate::instances::{ControlFeed, Lease};
use crate::tickets::TicketAccess;
use crate::{Store, StoreError};

/// What access is decided from: what callers hold, the control row, and the gates that have it pushed. A trait, because
/// the tests of freshness have a database of their own, which fails on purpose.
#[async_trait]
pub trait AccessSource: Send + Sync + 'static {
    /// As [`Store::access`].
    async fn access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError>;

    /// As [`Store::ticket_access`].
    async fn ticket_access(
        &self,
        admin: &AdminId,
        name: &TicketName,
        now: DateTime<Utc>,
    ) -> Result<TicketAccess, StoreError>;

    /// As [`Store::control_since`].
    async fn control_since(&self, known: Option<Epoch>) -> Result<ControlReading, StoreError>;

    /// As [`Store::control`].
    async fn control(&self) -> Result<ControlRow, StoreError> {
        Ok(self.control_since(None).await?.row)
    }

    /// As [`Store::feed`].
    async fn feed(&self) -> Result<Box<dyn ControlFeed>, StoreError>;

    /// As [`Store::leases`].
    async fn leases(&self) -> Result<Vec<Lease>, StoreError>;

    /// As [`Store::end_leases`].
    async fn end_leases(&self, leases: &[Lease], now: DateTime<Utc>) -> Result<(), StoreError>;

    /// As [`Store::leave`].
    async fn leave(&self, instance: &InstanceId) -> Result<(), StoreError>;
}

#[async_trait]
impl AccessSource for Store {
    async fn access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError> {
        Store::access(self, subject, now).await
    }

    async fn ticket_access(
        &self,
        admin: &AdminId,
        name: &TicketName,
        now: DateTime<Utc>,
    ) -> Result<TicketAccess, StoreError> {
        Store::ticket_access(self, admin, name, now).await
    }

    async fn control_since(&self, known: Option<Epoch>) -> Result<ControlReading, StoreError> {
        Store::control_since(self, known).await
    }

    async fn feed(&self) -> Result<Box<dyn ControlFeed>, StoreError> {
        Store::feed(self).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        Store::leases(self).await
    }

    async fn end_leases(&self, leases: &[Lease], now: DateTime<Utc>) -> Result<(), StoreError> {
        Store::end_leases(self, leases, now).await
    }

    async fn leave(&self, instance: &InstanceId) -> Result<(), StoreError> {
        Store::leave(self, instance).await
    }
}

impl Store {
    /// Everything that `subject` holds at `now`, with the epoch of the same snapshot. A row that cannot be used grants
    /// nothing, and is among the flaws.
    ///
    /// # Errors
    ///
    /// The database is away, or has no epoch; then nothing is known and nothing may be allowed.
    pub async fn access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError> {
        if let Subject::Machine(digest) = subject {
            let look = sql(UNKNOWN_TOKEN).bind(digest.to_hex());
            let look = async { self.access_pool.acquire().await?.first(look).await };
            let unknown: Option<(i64,)> = self.bounded(look).await?;
            if let Some((epoch,)) = unknown {
                return Ok(Access::nothing(Epoch(epoch)));
            }
        }
        let result = Box::pin(self.read_access(subject, now)).await;
        match result {
            Err(StoreError::Schema(_)) => {
                // Console's tables have changed, perhaps: what was made for the old ones is made again, once.
                self.console.forget();
                Box::pin(self.read_access(subject, now)).await
            }
            result => result,
        }
    }

    /// Sets the rules on who may have a break-glass session; the first call counts.
    pub fn set_break_glass_rules(&self, rules: BreakGlassRules) {
        if self.break_glass.set(rules).is_err() {
            tracing::debug!("the rules of break-glass are set already");
        }
    }

    /// Who may have a break-glass session.
    pub fn break_glass_rules(&self) -> &BreakGlassRules {
        self.break_glass.get_or_init(BreakGlassRules::default)
    }

    async fn read_access(&self, subject: &Subject, now: DateTime<Utc>) -> Result<Access, StoreError> {
        let nothing = None::<&str>;
        let (id, session) = match subject {
            Subject::Admin { id, session } => (id.as_str(), session.as_ref().map(SessionId::as_str)),
            Subject::Machine(digest) => {
                let statement = self.token_statement().await?.bind(digest.to_hex()).bind(nothing);
                return assemble(
                    self.facts(timed(statement)).await?,
                    subject,
                    now,
                    None,
                    self.break_glass_rules(),
                );
            }
            Subject::Enrolled(id) => {
                let statement = self.token_statement().await?.bind(nothing).bind(id.as_str().to_owned());
                return assemble(
                    self.facts(timed(statement)).await?,
                    subject,
                    now,
                    None,
                    self.break_glass_rules(),
                );
            }
            Subject::Stated(stated) => {
                return assemble(
                    self.facts(stated::statement(stated)).await?,
                    subject,
                    now,
                    None,
                    self.break_glass_rules(),
                );
            }
            Subject::Session(key) => return self.session_access(key, now).await,
        };
        let plan = self.read_plan().await?;
        let read = |session: Option<&'_ str>| {
            let statement = composed(plan.admin.clone()).bind(id.to_owned());
            self.facts(timed(statement.bind(session.map(str::to_owned))))
        };
        match read(session).await {
            Ok(facts) => assemble(facts, subject, now, Some(&plan), self.break_glass_rules()),
            // A value was refused: the id, perhaps, as what the column holds.
            Err(StoreError::Refused(message)) => {
                let epoch = self.control().await?.epoch;
                if self.is_no_value(plan.probe_admin(id)).await? {
                    return Ok(Access::nothing(epoch));
                }
                // Perhaps no session can have such a key.
                if let Some(probe) = session.and_then(|session| plan.probe_session(session))
                    && self.is_no_value(probe).await?
                {
                    return assemble(read(None).await?, subject, now, Some(&plan), self.break_glass_rules());
                }
                Err(StoreError::Refused(message))
            }
            Err(error) => Err(error),
        }
    }

    /// How the database would read the access of an admin: its plan, line by line. For tests, and for an operator who wonders.
    ///
    /// # Errors
    ///
    /// As of [`Store::access`].
    pub async fn access_plan(
        &self,
        id: &AdminId,
        session: Option<&SessionId>,
    ) -> Result<Vec<String>, StoreError> {
        let plan = self.read_plan().await?;
        let (first, last) = readable_times();
        let head = match &self.pool {
            Pool::Postgres(_) => "EXPLAIN ",
            Pool::Sqlite(_) => "EXPLAIN QUERY PLAN ",
        };
        let explain = composed(format!("{head}{}", plan.admin)).once();
        let explain = explain.bind(id.as_str()).bind(session.map(SessionId::as_str)).bind(first).bind(last);
        let explained = async {
            let mut connection = self.access_pool.acquire().await?;
            Ok(match &mut connection {
                Connection::Postgres(_) => {
                    let lines: Vec<(String,)> = connection.all(explain).await?;
                    lines.into_iter().map(|(line,)| line).collect()
                }
                Connection::Sqlite(_) => {
                    let lines: Vec<(i64, i64, i64, String)> = connection.all(explain).await?;
                    lines.into_iter().map(|(.., line)| line).collect()
                }
            })
        };
        self.bounded(explained).await
    }

    async fn facts(&self, statement: Statement<'_>) -> Result<Vec<Fact>, StoreError> {
        self.bounded(async { self.access_pool.acquire().await?.all(statement).await }).await
    }

    /// Whether a statement that reads nothing is refused for the value that is bound to it.
    async fn is_no_value(&self, probe: Statement<'_>) -> Result<bool, StoreError> {
        let outcome: Result<Vec<(i32,)>, StoreError> =
            self.bounded(async { self.access_pool.acquire().await?.all(probe).await }).await;
        match outcome {
            Ok(_) => Ok(false),
            Err(StoreError::Refused(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// With the bounds between which a time can be read.
fn timed(statement: Statement<'_>) -> Statement<'_> {
    let (first, last) = readable_times();
    statement.bind(first).bind(last)
}

/// The epoch, if the token is unknown: an unauthenticated caller can present any number of those, so this is looked up by
/// the index alone before the walk through groups and roles.
const UNKNOWN_TOKEN: &str = "
    SELECT epoch FROM gate_epoch
     WHERE NOT EXISTS (SELECT 1 FROM gate_machine_tokens WHERE token_sha256 = $1)";
