//! The proxy: one request from the socket to Console and back.
//!
//! ```text
//! socket -> front (reads the head, firewall) -> gateway -> ruling (route, identity, access, decision, audit)
//!                                                  \-> leg (only with a permit) -> Console
//! ```
//!
//! pingora accepts, hands over, drains, and keeps the connections to Console; HTTP/2 is the h2 crate's. Heads and
//! bodies of HTTP/1 are read and written here, both ways. Nothing is decided here: the firewall and [`crate::ruling`]
//! do that, and the store is not reachable from here.

mod access_log;
mod alarm;
mod body;
mod byte_queue;
mod client;
mod driven;
pub mod front;
pub mod gateway;
mod leg;
mod legs;
pub mod limits;
pub mod listener;
mod meters;
mod overdue;
mod piece;
mod rewrite;
mod socket;
pub mod spool;
pub mod tls;
pub mod upstream;
mod withheld;
