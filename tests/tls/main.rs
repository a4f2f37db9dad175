//! TLS at the gate, against the real binary: SQLite, certificates made on the spot, and a Console that reports what
//! reached it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]
#![allow(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what the tests may use of `support`"
)]

mod support;

mod cut;
mod handshake;
mod http2;
mod reload;
mod requests;
mod start;
