//! The freshness protocol as a model, checked in every interleaving.
//!
//! With stateright, and not with loom or shuttle: those run the real code under every (or many) orders of the threads
//! of *one* process, and what they find are mistakes of memory order. This protocol is between processes and a
//! database, about messages that are late or lost and about time that passes; nothing of it is in the memory order of
//! one process. stateright checks a transition system, and shows the steps that lead to what it finds.
//!
//! A rule that is broken on purpose shows that the checker would find it broken by mistake.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

mod cache;
mod push;
mod push_tests;
mod shared_read;
