//! TLS at the gate's own address, for where nothing in front of it ends TLS.
//!
//! The gate ends TLS itself, before anything else touches the connection, and hands on a stream like any other
//! ([`stream`]): the front reads heads off it and the firewall judges them exactly as over plain HTTP. The certificate
//! and its key are checked against each other before they are used ([`pair`]) and swapped live ([`holder`], [`watch`]).
//!
//! TLS 1.2 and 1.3 with ring's cipher suites: forward secrecy and authenticated encryption in every one of them. Early
//! data (0-RTT) stays off, because it can be replayed. Sessions are resumed from the gate's memory, never from tickets
//! under a long-lived key, and never across a swap of the certificate.

pub mod handshake;
pub mod holder;
pub mod pair;
pub mod stream;
pub mod watch;

pub use handshake::Acceptor;
pub use holder::CertificateHolder;
pub use pair::TlsError;

#[cfg(test)]
mod fixtures;
