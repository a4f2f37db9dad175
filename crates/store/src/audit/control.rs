//! The chain that commands share: its head is a row that its writer locks.

use ledger::chain::{CONTROL, Head};
use ledger::event::ChainHead;

use super::ControlChain;
use crate::StoreError;

pub(super) const CONTROL_CHAIN: &str = "
    SELECT c.sequence AS head_sequence, c.mac AS head_mac, e.sequence AS end_sequence, e.mac AS end_mac
      FROM (SELECT 1 AS one) o
      LEFT JOIN gate_audit_control c ON c.id = o.one
      LEFT JOIN (SELECT sequence, mac FROM gate_audit_events WHERE chain_id = 'control'
                  ORDER BY sequence DESC LIMIT 1) e ON true";

/// Locks the row first, so that the next writer waits, and reads the mac as it then is.
pub(super) const TAKE_CONTROL: &str = "
    UPDATE gate_audit_control SET sequence = sequence + 1 WHERE id = 1 RETURNING sequence - 1 AS sequence, mac";

pub(super) const LEAVE_CONTROL: &str = "UPDATE gate_audit_control SET mac = $1 WHERE id = 1";

#[derive(sqlx::FromRow)]
pub(super) struct HeadRow {
    sequence: i64,
    mac: String,
}

#[derive(sqlx::FromRow)]
pub(super) struct ControlColumns {
    head_sequence: Option<i64>,
    head_mac: Option<String>,
    end_sequence: Option<i64>,
    end_mac: Option<String>,
}

impl From<ControlColumns> for ControlChain {
    fn from(row: ControlColumns) -> Self {
        let named = |sequence: Option<i64>, mac: Option<String>| {
            Some(ChainHead { chain: CONTROL.to_owned(), sequence: sequence?, mac: mac? })
        };
        ControlChain {
            head: named(row.head_sequence, row.head_mac),
            end: named(row.end_sequence, row.end_mac),
        }
    }
}

/// Where the next row of the commands' chain goes. The error about a broken head is for an operator: nothing is recorded,
/// and so nothing changes, until it is repaired.
pub(super) fn control_head(row: Option<HeadRow>) -> Result<Head, StoreError> {
    let wrong = |what: &str| {
        StoreError::Broken(format!(
            "gate_audit_control {what}, so the chain of commands cannot go on: it was changed outside the gate. Run \
             `console-gate audit verify --checkpoints ...`; then set it to the last row of the chain `{CONTROL}`"
        ))
    };
    match row {
        None => Err(wrong("has no row")),
        Some(HeadRow { sequence: 0, .. }) => Ok(Head::default()),
        Some(row) => Head::from_columns(row.sequence, &row.mac).ok_or_else(|| wrong("names no head")),
    }
}

/// The next place of the commands' chain is taken where its head was set back.
pub(super) fn control_row(error: StoreError) -> StoreError {
    match error {
        StoreError::Conflict(cause) | StoreError::Refused(cause) => StoreError::Broken(format!(
            "the chain of commands did not take its next row ({cause}). If that row is there already, \
             gate_audit_control was set back: run `console-gate audit verify --checkpoints ...`"
        )),
        other => other,
    }
}
