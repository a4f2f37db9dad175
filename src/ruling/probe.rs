//! The probe: a request that the gate decides for real and never forwards, for `console-gate verify`.
//!
//! It carries [`HEADER`] with a time and a MAC over its method and target, made with a key that only the gate and whoever
//! verifies it have. A request with this field whose MAC does not hold is refused by every gate, so what was meant as a
//! probe goes upstream nowhere, not even at a gate that has no key. What was decided is real: a denial has its audit row.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ledger::hexadecimal;
use sha2::Sha256;

use crate::settings::secrets::{NamedKey, Secret};

/// The field of a probe.
pub const HEADER: &str = "x-gate-probe";
/// Where a gate tells a probe what it is running.
pub const PATH: &str = "/.well-known/console-gate/probe";
/// How far the clocks of the two may be apart, in seconds: whoever saw a probe can repeat it for as long.
const TOLERANCE: u64 = 60;

/// The keys that the gate and its verifier share: the first signs, all are accepted.
#[derive(Clone)]
pub struct ProbeKeys(Vec<Secret>);

impl ProbeKeys {
    /// `None` where there is no key: then every probe is refused.
    pub fn new(keys: &[NamedKey]) -> Option<ProbeKeys> {
        (!keys.is_empty()).then(|| ProbeKeys(keys.iter().map(|key| key.secret.clone()).collect()))
    }

    /// The value of [`HEADER`] for a request.
    pub fn sign(&self, method: &str, target: &str, now: DateTime<Utc>) -> String {
        let time = now.timestamp();
        let mac = self.0.first().map(|key| mac(key, method, target, time).finalize().into_bytes());
        format!("{time}.{}", hexadecimal::encode(mac.as_deref().unwrap_or_default()))
    }

    /// Whether the value was made for this request, at about this time.
    pub fn accept(&self, value: &[u8], method: &str, target: &str, now: DateTime<Utc>) -> bool {
        let parts = std::str::from_utf8(value).ok().and_then(|value| value.split_once('.'));
        let Some((Ok(time), Some(claimed))) =
            parts.map(|(time, mac)| (time.parse::<i64>(), hexadecimal::decode::<32>(mac)))
        else {
            return false;
        };
        let is_recent = now.timestamp().abs_diff(time) <= TOLERANCE;
        is_recent && self.0.iter().any(|key| mac(key, method, target, time).verify_slice(&claimed).is_ok())
    }
}

/// Neither a method nor a target holds a line break, so no two requests have the same text.
fn mac(key: &Secret, method: &str, target: &str, time: i64) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key.expose())
        .expect("HMAC takes a key of any length")
        .chain_update(format!("console-gate probe\n{time}\n{method}\n{target}"))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn keys(byte: u8) -> ProbeKeys {
        let key = NamedKey { id: "p".into(), secret: Secret::new(vec![byte; 32]) };
        ProbeKeys::new(&[key]).unwrap()
    }

    #[test]
    fn a_probe_is_for_one_request_and_a_minute() {
        let now = Utc::now();
        let value = keys(7).sign("POST", "/x?y", now);
        assert!(keys(7).accept(value.as_bytes(), "POST", "/x?y", now + TimeDelta::seconds(60)));
        for (keys, value, method, target, at) in [
            (keys(7), value.as_str(), "POST", "/x?y", now + TimeDelta::seconds(62)),
            (keys(7), &value, "POST", "/x?y", now - TimeDelta::seconds(62)),
            (keys(7), &value, "GET", "/x?y", now),
            (keys(7), &value, "POST", "/x", now),
            (keys(8), &value, "POST", "/x?y", now),
            (keys(7), &value[..value.len() - 2], "POST", "/x?y", now),
            (keys(7), "", "POST", "/x?y", now),
            (keys(7), "1.", "POST", "/x?y", now),
        ] {
            assert!(!keys.accept(value.as_bytes(), method, target, at), "{value} {method} {target} {at}");
        }
        assert!(ProbeKeys::new(&[]).is_none());
    }
}
