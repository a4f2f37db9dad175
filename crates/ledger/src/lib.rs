//! The audit's records and the proof that none was changed: the half of the audit that needs no database.
//!
//! ```text
//! event -> record -> draft -> (chain) -> entry -> database
//!                                           \-> checkpoint, periodically, to a second place
//! ```
//!
//! - [`event`]: the typed events; [`customer`]: events that services report about their customers.
//! - [`canonical`]: the bytes of a record that are signed; [`chain`]: the MAC of each record over the one before.
//! - [`keys`]: the keys of the chain; [`note`]: a record that a change writes in its own transaction.
//! - [`checkpoint`]: the heads of all chains, signed; [`verify`]: whether stored rows are the written ones.

#![forbid(unsafe_code)]

pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod customer;
pub mod entry;
pub mod event;
pub mod hexadecimal;
pub mod keys;
pub mod note;
pub mod storable;
pub mod verify;

pub use entry::{Draft, Entry};
pub use event::{AccessDenied, AuditEvent, AuditRecord};
pub use note::{Notary, Note};
