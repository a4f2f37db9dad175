//! The handshake: from a connection to a stream that is read like any other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use pingora::protocols::Stream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{Error, InvalidMessage, PeerIncompatible};

use super::CertificateHolder;
use super::stream::TlsStream;

/// What becomes of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    /// It took too long, all of it together.
    Timeout,
    /// The client went away, as health checks of a load balancer do.
    Closed,
    /// What came is no TLS: most often plain HTTP.
    NotTls,
    /// The client knows no version that the gate speaks.
    Version,
    /// The client ended it by an alert: as a rule it does not trust the certificate.
    Alert,
    /// Everything else: no cipher or protocol in common, or a broken client.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 7] = [
        Outcome::Completed,
        Outcome::Timeout,
        Outcome::Closed,
        Outcome::NotTls,
        Outcome::Version,
        Outcome::Alert,
        Outcome::Failed,
    ];

    /// The word in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Timeout => "timeout",
            Outcome::Closed => "closed",
            Outcome::NotTls => "not_tls",
            Outcome::Version => "version",
            Outcome::Alert => "alert",
            Outcome::Failed => "failed",
        }
    }

    fn of(error: &io::Error) -> Outcome {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            // Not TLS's own: the connection broke.
            return Outcome::Closed;
        };
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Outcome::NotTls,
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // TLS 1.1 and older did not have it yet.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => Outcome::Version,
            Error::AlertReceived(_) => Outcome::Alert,
            _ => Outcome::Failed,
        }
    }
}

/// Shakes hands under the certificate that runs.
pub struct Acceptor {
    certificates: Arc<CertificateHolder>,
    patience: Duration,
}

impl Acceptor {
    /// `patience` is for the whole handshake, not for each read.
    pub fn new(certificates: Arc<CertificateHolder>, patience: Duration) -> Acceptor {
        Acceptor { certificates, patience }
    }

    /// Shakes hands.
    ///
    /// # Errors
    ///
    /// There was no handshake, which is counted and logged. The connection comes back where something is left to be
    /// sent over it: the alert that tells why.
    pub async fn accept(&self, stream: Stream) -> Result<Stream, Option<Stream>> {
        let acceptor = TlsAcceptor::from(self.certificates.config());
        let handshake = timeout(self.patience, acceptor.accept(stream).into_fallible()).await;
        let (outcome, result) = match handshake {
            Ok(Ok(stream)) => (Outcome::Completed, Ok(Box::new(TlsStream::new(stream)) as Stream)),
            Ok(Err((error, stream))) => (Outcome::of(&error), Err(Some(stream))),
            Err(_) => (Outcome::Timeout, Err(None)),
        };
        counter!("gate_tls_handshakes_total", "outcome" => outcome.word()).increment(1);
        match outcome {
            Outcome::Completed | Outcome::Closed => {}
            outcome => tracing::info!(reason = outcome.word(), "a TLS handshake was not completed"),
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::AlertDescription;

    use super::*;

    #[test]
    fn an_error_is_told_in_one_word() {
        let tls = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let table = [
            (io::ErrorKind::UnexpectedEof.into(), Outcome::Closed),
            (io::ErrorKind::ConnectionReset.into(), Outcome::Closed),
            (tls(Error::InvalidMessage(InvalidMessage::InvalidContentType)), Outcome::NotTls),
            (tls(Error::InvalidMessage(InvalidMessage::MessageTooShort)), Outcome::Failed),
            (tls(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)), Outcome::Version),
            (tls(Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon)), Outcome::Failed),
            (tls(Error::AlertReceived(AlertDescription::UnknownCA)), Outcome::Alert),
            (tls(Error::NoApplicationProtocol), Outcome::Failed),
        ];
        for (error, expected) in table {
            assert_eq!(Outcome::of(&error), expected, "{error:?}");
        }
    }
}
