//! The progress of a migration run, and the sessions that it waits for.

use std::fmt;
use std::time::Duration;

/// A step that an operator who watches sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A migration begins, `0400 baseline`.
    Applying(String),
    /// It is applied and committed.
    Applied(String, Duration),
    /// Others hold what a step needs. Between two tries the run holds nothing itself.
    Waiting {
        /// `migration 0400`, or the migration lock.
        what: String,
        /// Which try it is, from 1.
        tries: u32,
        /// Who is in the way, as far as the role may see.
        holders: Vec<LockHolder>,
    },
}

/// A session that holds a lock. What it runs is not shown: statements may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LockHolder {
    /// The process of the server, for `pg_terminate_backend`.
    pub pid: i32,
    pub role: Option<String>,
    pub application: Option<String>,
    /// `active`, `idle in transaction`, ...
    pub state: Option<String>,
    /// How old its transaction is, and its last statement.
    pub transaction_seconds: Option<i64>,
    pub statement_seconds: Option<i64>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        let said = [&self.role, &self.application, &self.state];
        let said: Vec<&str> =
            said.into_iter().flatten().map(String::as_str).filter(|text| !text.is_empty()).collect();
        if !said.is_empty() {
            write!(f, " ({})", said.join(", "))?;
        }
        if let Some(seconds) = self.transaction_seconds {
            write!(f, ", in a transaction for {seconds} s")?;
        }
        if let Some(seconds) = self.statement_seconds {
            write!(f, ", its statement began {seconds} s ago")?;
        }
        Ok(())
    }
}

/// The holders in one line.
pub fn listed(holders: &[LockHolder]) -> String {
    match holders {
        [] => "a session that the role may not see".to_owned(),
        holders => holders.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_reads_as_a_sentence() {
        let holder = LockHolder {
            pid: 4711,
            role: Some("console".into()),
            application: Some(String::new()),
            state: Some("idle in transaction".into()),
            transaction_seconds: Some(613),
            statement_seconds: Some(2),
        };
        let stranger = LockHolder {
            pid: 12,
            role: None,
            application: None,
            state: None,
            transaction_seconds: None,
            statement_seconds: None,
        };
        assert_eq!(
            listed(&[holder, stranger]),
            "process 4711 (console, idle in transaction), in a transaction for 613 s, its statement began 2 s ago; \
             process 12"
        );
        assert_eq!(listed(&[]), "a session that the role may not see");
    }
}
