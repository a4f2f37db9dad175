//! Audit: what happened, as typed events; the chain that makes tampering show; and the writer that makes rows durable
//! before anything is answered.
//!
//! ```text
//! event -> record -> draft -> (chain) -> entry -> database, or spool -> database
//!                                           \-> checkpoint, now and then, to a second place
//! ```

mod backlog;
mod bringing;
pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod checkpoint_sink;
pub mod checkpoints;
pub mod control_watch;
pub mod customer;
pub mod drift;
pub mod entry;
pub mod erasure;
pub mod event;
pub mod hexadecimal;
pub mod keys;
pub mod kms;
pub mod note;
pub mod orphans;
pub mod spool;
mod storable;
pub mod verify;
pub mod writer;

pub use entry::{Draft, Entry};
pub use event::{AccessDenied, AuditEvent, AuditRecord};
pub use note::{Notary, Note};
pub use writer::{AuditError, AuditWriter};
