//! Freshness without a database: the real resolver, keeper and barrier over a store that the tests control.
//!
//! Time is tokio's, and does not move unless a test turns it. What a real database does is in `tests/gate/push.rs` and
//! `tests/store/instances.rs`; that the protocol is right, however its steps interleave, in `tests/model`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod barrier;
mod fake;
mod loader;
mod push;
mod sessions;
mod strangers;
