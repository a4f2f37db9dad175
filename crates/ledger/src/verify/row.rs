//! A row with all computed values that do not depend on its place.

use serde_json::Value;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::chain::{Link, Mac, content_hash, personal_digest, row_mac};
use crate::event::{AuditRecord, ChainHead};
use crate::hexadecimal;
use crate::keys::KeyRing;

/// A linked row.
#[derive(Debug)]
pub(super) struct LinkedRow {
    pub(super) id: Uuid,
    /// The stored sequence.
    pub(super) stored: i64,
    pub(super) key_id: String,
    /// The hash of the columns.
    pub(super) own_hash: Mac,
    /// The hash that the row states.
    pub(super) said_hash: Option<Mac>,
    pub(super) mac: Option<Mac>,
    /// Whether the columns agree with the digests stored with them.
    pub(super) is_whole: bool,
    pub(super) said: Said,
}

/// A row's claims about other rows.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Nothing,
    /// A `chain_started`.
    Heads(Vec<ChainHead>),
    /// An `admin_erased`.
    Erased {
        rows: u64,
        customer_rows: u64,
    },
    /// A `migration_applied`: how many rows of each table of grants had no sealed row.
    Unsealed(Vec<(String, u64)>),
}

impl LinkedRow {
    pub(super) fn read(
        record: &AuditRecord,
        link: Link,
        erased_by: Option<&str>,
        text: &mut String,
    ) -> LinkedRow {
        let is_personal_whole = match (link.personal_salt.as_deref(), erased_by) {
            (Some(salt), None) => hexadecimal::decode(salt).is_some_and(|salt: [u8; 16]| {
                hexadecimal::encode(&personal_digest(record, &salt, text)) == link.personal_digest
            }),
            (None, Some(_)) => {
                let values = [
                    &record.actor_id,
                    &record.subject_id,
                    &record.session_id,
                    &record.client_address,
                    &record.path,
                    &record.note,
                ];
                values.into_iter().all(Option::is_none)
            }
            (Some(_), Some(_)) | (None, None) => false,
        };
        let own_hash = content_hash(record, &link.personal_digest, text);
        let said_hash = hexadecimal::decode(&link.content_hash);
        LinkedRow {
            id: record.id,
            stored: link.sequence,
            own_hash,
            said_hash,
            mac: hexadecimal::decode(&link.mac),
            is_whole: is_personal_whole && said_hash == Some(own_hash),
            said: Said::read(record),
            key_id: link.key_id,
        }
    }

    /// Whether the row was sealed at `place` after the row with the mac `previous`. Both the columns and the stated
    /// hash are tested: either may have been changed, and the other may still prove the place.
    pub(super) fn follows(&self, keys: &KeyRing, chain: &str, place: i64, previous: &Mac) -> bool {
        let Some(mac) = &self.mac else { return false };
        self.macs_at(keys, chain, place, previous)
            .into_iter()
            .flatten()
            .any(|right| bool::from(right.ct_eq(mac)))
    }

    /// The macs that the row would have at `place`.
    pub(super) fn macs_at(
        &self,
        keys: &KeyRing,
        chain: &str,
        place: i64,
        previous: &Mac,
    ) -> [Option<Mac>; 2] {
        let Some(key) = keys.find(&self.key_id) else { return [None, None] };
        let said = self.said_hash.filter(|said| *said != self.own_hash);
        let mac = |hash: &Mac| row_mac(key, chain, place, previous, hash);
        [Some(mac(&self.own_hash)), said.as_ref().map(mac)]
    }
}

impl Said {
    fn read(record: &AuditRecord) -> Said {
        let detail = |name: &str| record.detail.as_ref().and_then(|detail| detail.get(name));
        match &*record.event_type {
            "chain_started" => {
                let heads = detail("heads").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                Said::Heads(
                    heads.iter().filter_map(|head| serde_json::from_value(head.clone()).ok()).collect(),
                )
            }
            // An event without a number accounts for no row.
            "admin_erased" => {
                let count = |name: &str| detail(name).and_then(Value::as_u64).unwrap_or(0);
                Said::Erased { rows: count("rows"), customer_rows: count("customer_rows") }
            }
            "migration_applied" => match detail("unsealed").and_then(Value::as_object) {
                None => Said::Nothing,
                Some(tables) => Said::Unsealed(
                    tables
                        .iter()
                        .filter_map(|(table, count)| Some((table.clone(), count.as_u64()?)))
                        .collect(),
                ),
            },
            _ => Said::Nothing,
        }
    }
}
