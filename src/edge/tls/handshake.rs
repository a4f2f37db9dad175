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

/// The outcome of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeOutcome {
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

impl HandshakeOutcome {
    /// All of them.
    pub const ALL: [HandshakeOutcome; 7] = [
        HandshakeOutcome::Completed,
        HandshakeOutcome::Timeout,
        HandshakeOutcome::Closed,
        HandshakeOutcome::NotTls,
        HandshakeOutcome::Version,
        HandshakeOutcome::Alert,
        HandshakeOutcome::Failed,
    ];

    /// The word in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            HandshakeOutcome::Completed => "completed",
            HandshakeOutcome::Timeout => "timeout",
            HandshakeOutcome::Closed => "closed",
            HandshakeOutcome::NotTls => "not_tls",
            HandshakeOutcome::Version => "version",
            HandshakeOutcome::Alert => "alert",
            HandshakeOutcome::Failed => "failed",
        }
    }

    fn of(error: &io::Error) -> HandshakeOutcome {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            // Not TLS's own: the connection broke.
            return HandshakeOutcome::Closed;
        };
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => HandshakeOutcome::NotTls,
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // TLS 1.1 and older did not have it yet.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => HandshakeOutcome::Version,
            Error::AlertReceived(_) => HandshakeOutcome::Alert,
            _ => HandshakeOutcome::Failed,
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
    /// sent over it: the alert with the reason.
    pub async fn accept(&self, stream: Stream) -> Result<Stream, Option<Stream>> {
        let acceptor = TlsAcceptor::from(self.certificates.config());
        let handshake = timeout(self.patience, acceptor.accept(stream).into_fallible()).await;
        let (outcome, result) = match handshake {
            Ok(Ok(stream)) => (HandshakeOutcome::Completed, Ok(Box::new(TlsStream::new(stream)) as Stream)),
            Ok(Err((error, stream))) => (HandshakeOutcome::of(&error), Err(Some(stream))),
            Err(_) => (HandshakeOutcome::Timeout, Err(None)),
        };
        counter!("gate_tls_handshakes_total", "outcome" => outcome.word()).increment(1);
        match outcome {
            HandshakeOutcome::Completed | HandshakeOutcome::Closed => {}
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
    fn an_error_has_one_word() {
        let tls = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let table = [
            (io::ErrorKind::UnexpectedEof.into(), HandshakeOutcome::Closed),
            (io::ErrorKind::ConnectionReset.into(), HandshakeOutcome::Closed),
            (tls(Error::InvalidMessage(InvalidMessage::InvalidContentType)), HandshakeOutcome::NotTls),
            (tls(Error::InvalidMessage(InvalidMessage::MessageTooShort)), HandshakeOutcome::Failed),
            (tls(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)), HandshakeOutcome::Version),
            (
                tls(Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon)),
                HandshakeOutcome::Failed,
            ),
            (tls(Error::AlertReceived(AlertDescription::UnknownCA)), HandshakeOutcome::Alert),
            (tls(Error::NoApplicationProtocol), HandshakeOutcome::Failed),
        ];
        for (error, expected) in table {
            assert_eq!(HandshakeOutcome::of(&error), expected, "{error:?}");
        }
    }
}
