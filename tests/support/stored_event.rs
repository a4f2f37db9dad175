//! An audit record as the store gives it back.

use ledger::Entry;
use sqlx::types::Json;
use store::audit::StoredEvent;

/// How a record must read. Written out field by field: a mix-up of two columns is what this is to find.
pub(crate) fn as_stored(entry: &Entry) -> StoredEvent {
    let Entry { record, link, .. } = entry.clone();
    StoredEvent {
        id: record.id.to_string(),
        event_type: record.event_type.into(),
        occurred_at_utc: record.occurred_at,
        actor_kind: record.actor_kind.into(),
        actor_id: record.actor_id,
        session_id: record.session_id,
        request_id: record.request_id,
        client_address: record.client_address,
        method: record.method.map(Into::into),
        path: record.path,
        route: record.route,
        reason: record.reason.map(Into::into),
        required: record.required.map(Json),
        held: record.held.map(Json),
        mapping_sha256: record.mapping_sha256,
        epoch: record.epoch,
        detail: record.detail.map(Json),
        chain_id: Some(link.chain_id),
        sequence: Some(link.sequence),
        key_id: Some(link.key_id),
        personal_salt: link.personal_salt,
        personal_digest: Some(link.personal_digest),
        content_hash: Some(link.content_hash),
        mac: Some(link.mac),
        erased_by: None,
        subject_id: record.subject_id,
        note: record.note,
    }
}
