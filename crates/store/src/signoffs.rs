//! Sign-offs: who has explained which disagreement, and what the explanation is about.

use chrono::{DateTime, Utc};
use ledger::Note;
use policy::decision::Direction;
use policy::rbac::census::CallerKind;
use workbench::drift::{Fingerprints, Key, SignOff};

use crate::engine::connection::Connection;
use crate::engine::sql::{Statement, sql};
use crate::{Store, StoreError};

impl Store {
    /// Keeps a sign-off, with an audit record, in one transaction. A disagreement has one: a later one replaces it.
    pub async fn sign_off(&self, sign_off: &SignOff, note: &Note) -> Result<(), StoreError> {
        let SignOff { key, fingerprints, .. } = sign_off;
        let keep = keyed(KEEP, key)
            .bind(&sign_off.reason)
            .bind(&sign_off.signed_by)
            .bind(sign_off.signed_at_utc)
            .bind(&fingerprints.demand_sha256)
            .bind(&fingerprints.grants_sha256);
        self.change(note, async |change| change.execute(keep).await.map(drop)).await
    }

    /// Takes a sign-off back; `false` when there is none.
    pub async fn withdraw_sign_off(&self, key: &Key, note: &Note) -> Result<bool, StoreError> {
        self.change(note, async |change| change.execute_or_undo(keyed(WITHDRAW, key)).await).await
    }

    /// Every sign-off, whether it is still active or not.
    pub async fn sign_offs(&self) -> Result<Vec<SignOff>, StoreError> {
        let rows: Vec<Stored> = self.all(sql(LIST)).await?;
        rows.into_iter().map(SignOff::try_from).collect()
    }
}

/// A statement whose first arguments are the key.
fn keyed<'q>(text: &'static str, key: &'q Key) -> Statement<'q> {
    let statement = sql(text).bind(&key.route).bind(key.actor_kind.word());
    statement.bind(&key.actor_id).bind(key.direction.word())
}

const KEEP: &str = "
    INSERT INTO gate_drift_signoffs (
        route, actor_kind, actor_id, direction, reason, signed_by, signed_at_utc, demand_sha256, grants_sha256
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (route, actor_kind, actor_id, direction) DO UPDATE
       SET reason = excluded.reason, signed_by = excluded.signed_by, signed_at_utc = excluded.signed_at_utc,
           demand_sha256 = excluded.demand_sha256, grants_sha256 = excluded.grants_sha256";

const WITHDRAW: &str = "
    DELETE FROM gate_drift_signoffs
     WHERE route = $1 AND actor_kind = $2 AND actor_id = $3 AND direction = $4";

const LIST: &str = "SELECT * FROM gate_drift_signoffs ORDER BY route, actor_kind, actor_id, direction";

const ERASE: &str = "DELETE FROM gate_drift_signoffs WHERE actor_kind = 'admin' AND actor_id = $1";

const REWORD: &str = "
    UPDATE gate_drift_signoffs SET reason = $5, signed_by = $6
     WHERE route = $1 AND actor_kind = $2 AND actor_id = $3 AND direction = $4";

/// Replaces an erased name.
const ERASED: &str = "(erased)";

/// The text without a name that it holds as a word of its own, in whatever case; `None` where it does not.
fn without_name(text: &str, name: &str) -> Option<String> {
    let is_apart = |neighbour: Option<char>| neighbour.is_none_or(|letter| !letter.is_alphanumeric());
    let (mut rest, mut without, mut last) = (text, String::new(), None);
    while let Some(first) = rest.chars().next() {
        let after = rest.get(name.len()..).unwrap_or_default();
        let is_name =
            !name.is_empty() && rest.get(..name.len()).is_some_and(|part| part.eq_ignore_ascii_case(name));
        if is_name && is_apart(last) && is_apart(after.chars().next()) {
            without.push_str(ERASED);
            (rest, last) = (after, None);
        } else {
            without.push(first);
            (rest, last) = (&rest[first.len_utf8()..], Some(first));
        }
    }
    (without != text).then_some(without)
}

#[derive(sqlx::FromRow)]
struct Stored {
    route: String,
    actor_kind: String,
    actor_id: String,
    direction: String,
    reason: String,
    signed_by: String,
    signed_at_utc: DateTime<Utc>,
    demand_sha256: String,
    grants_sha256: String,
}

impl TryFrom<Stored> for SignOff {
    type Error = StoreError;

    fn try_from(row: Stored) -> Result<Self, StoreError> {
        let broken = |what: &str| StoreError::Broken(format!("gate_drift_signoffs has an unknown {what}"));
        Ok(SignOff {
            key: Key {
                route: row.route,
                actor_kind: CallerKind::parse(&row.actor_kind).ok_or_else(|| broken("actor_kind"))?,
                actor_id: row.actor_id,
                direction: Direction::parse(&row.direction).ok_or_else(|| broken("direction"))?,
            },
            reason: row.reason,
            signed_by: row.signed_by,
            signed_at_utc: row.signed_at_utc,
            fingerprints: Fingerprints { demand_sha256: row.demand_sha256, grants_sha256: row.grants_sha256 },
        })
    }
}

/// Removes an admin's disagreements, and the admin's name from the reasons given for others.
pub(super) async fn erase_sign_offs(connection: &mut Connection, actor_id: &str) -> Result<(), StoreError> {
    connection.execute(sql(ERASE).bind(actor_id)).await?;
    let rows: Vec<Stored> = connection.all(sql(LIST)).await?;
    for row in rows {
        let signed_by = (row.signed_by == actor_id).then(|| ERASED.to_owned());
        let reason = without_name(&row.reason, actor_id);
        if signed_by.is_none() && reason.is_none() {
            continue;
        }
        let reword = sql(REWORD)
            .bind(row.route)
            .bind(row.actor_kind)
            .bind(row.actor_id)
            .bind(row.direction)
            .bind(reason.unwrap_or(row.reason))
            .bind(signed_by.unwrap_or(row.signed_by));
        connection.execute(reword).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_where_it_is_a_word() {
        let table = [
            ("anna leaves, Anna said", "anna", Some("(erased) leaves, (erased) said")),
            ("joanna and annabel stay", "anna", None),
            ("(anna)", "anna", Some("((erased))")),
            ("\u{e9}anna \u{e9}", "anna", None),
            ("", "anna", None),
            ("anna", "", None),
            ("a@b.c is a@b.cd", "a@b.c", Some("(erased) is a@b.cd")),
        ];
        for (text, name, expected) in table {
            assert_eq!(without_name(text, name).as_deref(), expected, "{text}");
        }
    }
}
