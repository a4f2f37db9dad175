//! A certificate authority that the client trusts.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The name that the gate's certificates are for.
pub const HOST: &str = "console.test";

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
}

/// A certificate and its key.
pub struct Issued {
    /// In PEM, with that of the authority behind it.
    pub certificate: String,
    pub key: String,
    /// The certificate alone, as a client sees it.
    pub der: CertificateDer<'static>,
    pub not_after: DateTime<Utc>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().clone();
        Authority { issuer: Issuer::new(parameters, key), certificate }
    }

    /// A certificate for [`HOST`] that has begun yesterday and lasts for 90 days.
    pub fn issue(&self) -> Issued {
        self.issue_until(Utc::now() + TimeDelta::days(90))
    }

    /// A certificate for [`HOST`] that ends then.
    pub fn issue_until(&self, not_after: DateTime<Utc>) -> Issued {
        let mut parameters = CertificateParams::new([HOST.to_owned()]).unwrap();
        let at = |time: DateTime<Utc>| {
            let since = Duration::from_secs(u64::try_from(time.timestamp()).unwrap());
            rcgen::date_time_ymd(1970, 1, 1) + since
        };
        parameters.not_before = at(not_after - TimeDelta::days(91));
        parameters.not_after = at(not_after);
        let key = KeyPair::generate().unwrap();
        let der = parameters.signed_by(&key, &self.issuer).unwrap().der().clone();
        Issued {
            certificate: format!("{}{}", pem("CERTIFICATE", &der), pem("CERTIFICATE", &self.certificate)),
            key: pem("PRIVATE KEY", &key.serialize_der()),
            der,
            not_after,
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
