//! A certificate and its private key: read, checked against each other, made into a TLS configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig, version};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use crate::settings::{Tls, TlsVersion};

/// Why a certificate and its key were not taken up. Holds no byte of either: PEM errors quote the line they are about,
/// and that line may be the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("{path} has no PEM certificate")]
    NoCertificate { path: String },
    #[error("{path} has no PEM private key, or only one with a passphrase")]
    NoKey { path: String },
    #[error("the key in {key} does not match the first certificate in {certificate}")]
    Mismatch { certificate: String, key: String },
    #[error("the certificate in {path} is valid only from {from}")]
    NotYetValid { path: String, from: DateTime<Utc> },
    #[error("the certificate in {path} expired at {at}")]
    Expired { path: String, at: DateTime<Utc> },
    #[error("the first certificate in {path} is broken")]
    Broken { path: String },
    #[error("{certificate} and {key} cannot be used: {error}")]
    Unusable { certificate: String, key: String, error: Error },
}

/// The two files, and the versions of TLS and HTTP offered with them.
#[derive(Clone, Debug)]
pub struct PairFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub min_version: TlsVersion,
    pub http2: bool,
}

impl PairFiles {
    /// The files that the settings name; `None` where TLS is off.
    pub fn from_settings(settings: &Tls) -> Option<PairFiles> {
        Some(PairFiles {
            certificate: settings.certificate_file.clone()?,
            key: settings.key_file.clone()?,
            min_version: settings.min_version,
            http2: settings.http2,
        })
    }

    /// What the files hold now.
    pub(super) fn read(&self) -> Result<PairText, TlsError> {
        let certificate = read(&self.certificate)?;
        let key = Zeroizing::new(read(&self.key)?);
        let mut hash = Sha256::new_with_prefix((certificate.len() as u64).to_be_bytes());
        hash.update(&certificate);
        hash.update(&key);
        Ok(PairText { sha256: hash.finalize().into(), certificate, key })
    }

    /// Checks that certificate and key belong together and that the certificate is valid now.
    pub(super) fn check(&self, text: &PairText, now: DateTime<Utc>) -> Result<Pair, TlsError> {
        let path = shown(&self.certificate);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::NoCertificate { path: path.clone() })?;
        let Some(leaf) = chain.first() else { return Err(TlsError::NoCertificate { path }) };
        let key = PrivateKeyDer::from_pem_slice(&text.key)
            .map_err(|_| TlsError::NoKey { path: shown(&self.key) })?;
        let fingerprint = policy::hex::lower(Sha256::digest(leaf));
        let not_after = self.check_validity(leaf, now)?;
        let config = Arc::new(self.configure(chain, key)?);
        Ok(Pair { config, sha256: text.sha256, fingerprint, not_after })
    }

    /// When the certificate ends, if it is valid now. Only the first one counts: clients may know a younger copy of
    /// one further up, and old ones are sent on purpose for old clients.
    fn check_validity(
        &self,
        leaf: &CertificateDer<'_>,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, TlsError> {
        let path = || shown(&self.certificate);
        let broken = || TlsError::Broken { path: path() };
        let certificate = Certificate::from_der(leaf).map_err(|_| broken())?;
        let validity = certificate.tbs_certificate().validity();
        let time = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
            DateTime::from_timestamp(seconds, 0)
        };
        let from = time(validity.not_before).ok_or_else(broken)?;
        let at = time(validity.not_after).ok_or_else(broken)?;
        if now < from {
            return Err(TlsError::NotYetValid { path: path(), from });
        }
        if at < now {
            return Err(TlsError::Expired { path: path(), at });
        }
        Ok(at)
    }

    fn configure(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ServerConfig, TlsError> {
        let (certificate, key_file) = (shown(&self.certificate), shown(&self.key));
        let refused = |error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: certificate.clone(), key: key_file.clone() }
            }
            error => TlsError::Unusable { certificate: certificate.clone(), key: key_file.clone(), error },
        };
        let versions: &[_] = match self.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        // The provider is named, not taken from the process: nothing else may choose the gate's ciphers.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(refused)?;
        // A client that names only other protocols is refused: an answer meant for a browser must not be fed to
        // something that speaks, say, FTP (ALPACA).
        config.alpn_protocols = match self.http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        Ok(config)
    }

    /// Warns where anybody on the machine may read the key. No refusal: Kubernetes mounts secrets that way.
    pub(super) fn warn_of_an_open_key(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        const OTHERS: u32 = 0o007;
        if std::fs::metadata(&self.key).is_ok_and(|key| key.permissions().mode() & OTHERS != 0) {
            tracing::warn!(file = %self.key.display(), "the private key is readable by every user of this machine");
        }
    }
}

/// The bytes of both files.
pub(super) struct PairText {
    /// Over both files: whether they are the ones that run.
    pub(super) sha256: [u8; 32],
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// A certificate and its key, ready for use.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) config: Arc<ServerConfig>,
    pub(super) sha256: [u8; 32],
    /// SHA-256 of the certificate, in hex, as `openssl x509 -fingerprint -sha256` has it.
    pub(super) fingerprint: String,
    pub(super) not_after: DateTime<Utc>,
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable { path: shown(path), error })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Files, Made};
    use super::*;

    /// The problem of a pair, in one word.
    fn outcome(files: &Files) -> &'static str {
        let files = files.pair();
        match files.read().and_then(|text| files.check(&text, Made::noon())) {
            Ok(_) => "taken",
            Err(TlsError::Unreadable { .. }) => "unreadable",
            Err(TlsError::NoCertificate { .. }) => "no certificate",
            Err(TlsError::NoKey { .. }) => "no key",
            Err(TlsError::Mismatch { .. }) => "mismatch",
            Err(TlsError::NotYetValid { .. }) => "not yet valid",
            Err(TlsError::Expired { .. }) => "expired",
            Err(TlsError::Broken { .. }) => "broken",
            Err(TlsError::Unusable { .. }) => "unusable",
        }
    }

    #[test]
    fn only_a_sound_pair_is_taken() {
        let (one, other) = (Made::valid(), Made::valid());
        let garbled = |text: &str| text.replacen("\nM", "\n!", 1);
        let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let table: [(&str, String, String); 12] = [
            ("taken", one.certificate.clone(), one.key.clone()),
            ("taken", format!("{}{}", one.certificate, other.certificate), one.key.clone()),
            ("mismatch", format!("{}{}", other.certificate, one.certificate), one.key.clone()),
            ("mismatch", one.certificate.clone(), other.key.clone()),
            ("no certificate", String::new(), one.key.clone()),
            ("no certificate", one.key.clone(), one.key.clone()),
            ("no certificate", garbled(&one.certificate), one.key.clone()),
            ("no key", one.certificate.clone(), String::new()),
            ("no key", one.certificate.clone(), one.certificate.clone()),
            ("no key", one.certificate.clone(), one.key.replace("PRIVATE", "ENCRYPTED PRIVATE")),
            ("broken", no_der.to_owned(), one.key.clone()),
            ("unusable", one.certificate.clone(), no_key.to_owned()),
        ];
        for (expected, certificate, key) in table {
            let files = Files::holding(&certificate, &key);
            assert_eq!(outcome(&files), expected, "{certificate}");
        }
        let files = Files::holding(&one.certificate, &one.key);
        std::fs::remove_file(files.key()).unwrap();
        assert_eq!(outcome(&files), "unreadable");
    }

    #[test]
    fn a_certificate_counts_from_its_first_second_to_its_last() {
        // Seconds from now to its beginning and to its end.
        let table = [(-60, 60, "taken"), (0, 0, "taken"), (-60, -1, "expired"), (1, 60, "not yet valid")];
        for (from, to, expected) in table {
            let made = Made::valid_between(from, to);
            assert_eq!(outcome(&Files::holding(&made.certificate, &made.key)), expected, "{from} {to}");
        }
    }

    #[test]
    fn an_error_quotes_no_byte_of_a_key() {
        let made = Made::valid();
        let secret_line = made.key.lines().nth(1).unwrap().to_owned();
        // The line that ought to begin a section is one of the key's own.
        let broken = format!("-----BEGIN {secret_line}\n{}", made.key);
        let files = Files::holding(&made.certificate, &broken).pair();
        let error = files.read().and_then(|text| files.check(&text, Made::noon())).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&secret_line), "{error:?}");
    }
}
