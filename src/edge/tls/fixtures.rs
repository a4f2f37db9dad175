//! Certificates and files for the unit tests.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};

use super::pair::PairFiles;
use crate::settings::TlsVersion;

/// A self-signed certificate and its key, in PEM.
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Made {
    /// The time of these tests.
    pub(super) fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    /// Valid for an hour from noon.
    pub(super) fn valid() -> Made {
        Made::valid_between(0, 3600)
    }

    /// Valid from and to so many seconds after noon.
    pub(super) fn valid_between(from: i64, to: i64) -> Made {
        let mut parameters = rcgen::CertificateParams::new(["console.test".to_owned()]).unwrap();
        let day_zero = rcgen::date_time_ymd(1970, 1, 1);
        let at = |seconds: i64| {
            let since = Made::noon().timestamp() + seconds;
            day_zero + std::time::Duration::from_secs(u64::try_from(since).unwrap())
        };
        parameters.not_before = at(from);
        parameters.not_after = at(to);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Made {
            certificate: pem("CERTIFICATE", certificate.der()),
            key: pem("PRIVATE KEY", &key.serialize_der()),
        }
    }
}

/// The two files, in a folder of their own.
pub(super) struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub(super) fn holding(certificate: &str, key: &str) -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        files.put(certificate, key);
        files
    }

    pub(super) fn put(&self, certificate: &str, key: &str) {
        std::fs::write(self.folder.path().join("tls.crt"), certificate).unwrap();
        std::fs::write(self.key(), key).unwrap();
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    pub(super) fn pair(&self) -> PairFiles {
        PairFiles {
            certificate: self.folder.path().join("tls.crt"),
            key: self.key(),
            min_version: TlsVersion::V1_2,
            http2: false,
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
