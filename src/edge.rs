//! The proxy: one request from the socket to Console and back.
//!
//! ```text
//! socket -> front (reads the head, firewall) -> gate (route, identity, access, decision, audit)
//!        -> gateway (pingora: upstream call, only with a permit) -> Console
//! ```
//!
//! Nothing is decided here: the firewall and [`crate::ruling`] do that, and the store is out of reach.

mod body_watch;
pub mod front;
pub mod gateway;
pub mod listener;
mod overdue;
mod socket;
pub mod tls;
pub mod upstream;
