//! Audit: what happened, as typed events; and the writer that makes them durable before anything is answered.

pub mod drift;
pub mod event;
pub mod spool;
pub mod writer;

pub use event::{AccessDenied, AuditEvent, AuditRecord};
pub use writer::AuditWriter;
