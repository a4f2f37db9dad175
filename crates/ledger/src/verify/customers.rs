//! Customers' events, each compared with its twin in the chain.

use serde_json::Value;

use super::{Fault, Kind, Verifier};
use crate::customer::CustomerEvent;

/// A row of `customer_audit_events`, or a twin whose row is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCustomer {
    /// The stored value.
    pub id: String,
    /// `None` if the row is missing, or lacks a required value.
    pub event: Option<CustomerEvent>,
    /// The id of the `admin_erased` event that blanked the row.
    pub erased_by: Option<String>,
    /// The twin's record about the row; `None` if there is no twin.
    pub twin: Option<Value>,
}

impl<F: FnMut(Fault)> Verifier<F> {
    /// Takes a customer's event. Its twin was already proved, or found to be changed, as a row of its chain.
    pub fn customer(&mut self, stored: &StoredCustomer) {
        let kind = match (&stored.event, &stored.twin) {
            (_, None) => Some(Kind::Inserted),
            (None, Some(_)) => Some(Kind::Removed),
            (Some(event), Some(twin)) => {
                self.summary.customer_events += 1;
                self.customer_kind(stored, event, twin)
            }
        };
        if let Some(kind) = kind {
            self.summary.findings += 1;
            (self.report)(Fault { customer_event: Some(stored.id.clone()), ..Fault::of(kind) });
        }
    }

    fn customer_kind(
        &mut self,
        stored: &StoredCustomer,
        event: &CustomerEvent,
        twin: &Value,
    ) -> Option<Kind> {
        let is_whole = match &stored.erased_by {
            None => event.is_committed_to_by(twin),
            // Erased only in name.
            Some(_) if event.actor_id.is_some() || event.salt.is_some() => false,
            Some(erased_by) => {
                self.claims.customer_erased(erased_by);
                self.summary.customer_events_erased += 1;
                event.is_what_erasure_left_of(twin)
            }
        };
        (!is_whole).then_some(Kind::Edited)
    }
}
