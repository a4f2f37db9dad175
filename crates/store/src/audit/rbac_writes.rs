//! The records of an actor's memberships and grants beside the audit, erased with it.

use crate::StoreError;
use crate::engine::connection::Connection;
use crate::engine::sql::sql;

/// What the triggers have recorded of an actor goes, and its block with it where the admin itself is gone.
pub(super) async fn erase_rbac_writes(connection: &mut Connection, actor_id: &str) -> Result<(), StoreError> {
    for statement in [ERASE_BLOCK, ASK, ERASE_WRITES] {
        connection.execute(sql(statement).bind(actor_id)).await?;
    }
    Ok(())
}

/// An erasure that was requested by hand may be of an admin who is still there, and stays blocked.
const ERASE_BLOCK: &str = "
    DELETE FROM gate_blocked_admins
     WHERE admin_id = $1 AND EXISTS (SELECT 1 FROM gate_pending_erasures p WHERE p.actor_id = $1)";
/// An actor's rows may be deleted once an erasure is requested (migration 0400).
const ASK: &str =
    "INSERT INTO gate_pending_erasures (actor_id) VALUES ($1) ON CONFLICT (actor_id) DO NOTHING";
const ERASE_WRITES: &str =
    "DELETE FROM gate_rbac_changes WHERE relation IN ('rbac_user_groups', 'gate_grants') AND subject = $1";
