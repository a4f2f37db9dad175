//! The unit of work of every audited change: the change and its audit row, both or neither.

use std::ops::{Deref, DerefMut};

use ledger::Note;

use crate::audit::enter;
use crate::engine::connection::{Connection, Transaction};
use crate::engine::sql::Statement;
use crate::{Store, StoreError};

/// A change that is being made: statements run in its transaction.
pub(crate) struct Change {
    transaction: Transaction,
    event: String,
    is_undone: bool,
}

impl Change {
    /// The id of the audit row that records the change.
    pub(crate) fn event(&self) -> &str {
        &self.event
    }

    /// Runs a statement; where it changes no row, the change is undone and `false` returned.
    pub(crate) async fn execute_or_undo(&mut self, statement: Statement<'_>) -> Result<bool, StoreError> {
        let has_changed = self.execute(statement).await? > 0;
        self.is_undone |= !has_changed;
        Ok(has_changed)
    }

    /// Seals and writes a further record of the change.
    pub(crate) async fn enter(&mut self, note: &Note) -> Result<(), StoreError> {
        enter(&mut self.transaction, note).await.map(drop)
    }

    /// Undoes the change and its audit row: nothing is changed then, whatever the work returns.
    pub(crate) fn undo(&mut self) {
        self.is_undone = true;
    }
}

impl Store {
    /// Makes a change within the limit of one operation. See [`Store::long_change`].
    pub(crate) async fn change<T>(
        &self,
        note: &Note,
        work: impl AsyncFnOnce(&mut Change) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.bounded(self.long_change(note, work)).await
    }

    /// Records `note` and does `work` in one transaction, for as long as that takes. An error undoes both.
    ///
    /// The record is written first (RBAC V2 design, I-9): when it cannot be written, nothing changes.
    pub(crate) async fn long_change<T>(
        &self,
        note: &Note,
        work: impl AsyncFnOnce(&mut Change) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let event = enter(&mut transaction, note).await?;
        self.mirror_note(&mut transaction, note.record()).await?;
        let mut change = Change { transaction, event, is_undone: false };
        let outcome = work(&mut change).await;
        if change.is_undone {
            change.transaction.rollback().await?;
            return outcome;
        }
        let value = outcome?;
        change.transaction.commit().await?;
        Ok(value)
    }
}

impl Deref for Change {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.transaction
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.transaction
    }
}
