//! The statements by which a session is read that the cookie only names.

use std::sync::Arc;

use super::{AdminStatement, NO_SESSION, part};
use crate::StoreError;
use crate::console::Console;
use crate::console::select::RESERVED_PREFIX;
use crate::engine::connection::Connection;
use crate::engine::sql::Statement;

/// How a session is read.
#[derive(Debug)]
pub(crate) struct SessionPlan {
    pub(crate) read: SessionRead,
    /// Whether the value looked up can be a key; planned and not run.
    probe: Arc<str>,
    /// Whether a change of the session's row is listed under the value of the column `id`.
    pub(crate) is_keyed: bool,
}

/// The statement, asked with what the session is looked up by.
#[derive(Debug)]
pub(crate) enum SessionRead {
    /// The session, whose it is and what they hold.
    Whole(Arc<str>),
    /// The session with its payload, beside the epoch.
    Row(Arc<str>),
}

/// The admin of the session. Of two sessions with one key, neither is anybody's.
const HOLDER: &str = "(SELECT CASE WHEN COUNT(*) = 1 THEN MIN(CAST(gate__s.admin_id AS TEXT)) END
                         FROM gate__session gate__s)";

/// The statement that reads a session of the gate's own, and what its admin holds, by the SHA-256 of its token. A session of a
/// lesser scope opens nothing here: only the pages of `identity` rows know it.
pub(super) async fn login_session(
    console: &Console,
    connection: &mut Connection,
) -> Result<Arc<str>, StoreError> {
    const SESSION: &str = "
        SELECT id, admin_id, methods, stepped_up_at_utc, last_used_at_utc,
               CASE WHEN idle_ends_at_utc < absolute_ends_at_utc THEN idle_ends_at_utc ELSE absolute_ends_at_utc END AS ends,
               CASE WHEN ended_at_utc IS NULL AND scope = 'full' THEN 'limited_session' ELSE 'revoked_session' END AS state
          FROM gate_sessions WHERE token_sha256 = $1";
    let facts = format!(
        "SELECT c.state, c.id, CAST(c.ends AS TEXT), NULL FROM {RESERVED_PREFIX}session c
         UNION ALL
         SELECT 'session_admin', {HOLDER}, NULL, NULL FROM gate_epoch
         UNION ALL
         SELECT 'login_methods', c.methods, CAST(c.stepped_up_at_utc AS TEXT), c.last_used_at_utc
           FROM {RESERVED_PREFIX}session c
         UNION ALL
         {NO_SESSION}"
    );
    let whole = AdminStatement::make(console, connection, HOLDER, part("session", SESSION), facts).await?;
    Ok(whole.text)
}

impl SessionPlan {
    pub(super) async fn make(
        console: &Console,
        connection: &mut Connection,
    ) -> Result<Option<SessionPlan>, StoreError> {
        let Some(sessions) = console.sessions(connection, "$1").await? else { return Ok(None) };
        let (text, state, end) = (&sessions.text, sessions.state("c"), sessions.end("c"));
        let read = if console.relations.session_payload {
            let row = format!(
                "SELECT e.epoch AS epoch, c.gate__there AS there, CAST(c.id AS TEXT) AS id, c.payload AS payload,
                        {state} AS kind, {end} AS ends
                   FROM gate_epoch e
                   LEFT JOIN (SELECT 1 AS gate__there, s.* FROM (\n{text}) s) c ON 1 = 1"
            );
            SessionRead::Row(row.into())
        } else {
            let facts = format!(
                "SELECT {state}, CAST(c.id AS TEXT), {end}, NULL FROM {RESERVED_PREFIX}session c
                 UNION ALL
                 SELECT 'session_admin', {HOLDER}, NULL, NULL FROM gate_epoch
                 UNION ALL
                 {NO_SESSION}"
            );
            let part = part("session", text);
            let whole = AdminStatement::make(console, connection, HOLDER, part, facts).await?;
            SessionRead::Whole(whole.text)
        };
        let is_keyed = console.lists_sessions(connection).await?;
        let probe = format!("SELECT 1 AS one FROM (\n{text}) c LIMIT 0").into();
        Ok(Some(SessionPlan { read, probe, is_keyed }))
    }

    /// Plans the SELECT of sessions with `key`, and reads nothing: an error is the key's.
    pub(crate) fn probe(&self, key: &str) -> Statement<'static> {
        Statement::composed(self.probe.clone()).once().bind(key.to_owned())
    }
}
