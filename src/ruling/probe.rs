//! The probe: a request that the gate decides for real and never forwards, for `console-gate verify`.
//!
//! It carries [`HEADER`] with a time and a MAC over its method and target, by a key that only the gate and its verifier
//! have. Under the same MAC it can state its principal and what that person holds ([`Stated`]), so that no person has
//! to be created in the database for it. Every gate refuses a request with this field whose MAC is wrong, so no
//! intended probe is ever forwarded, not even by a gate that has no key. What was decided is real: a denial has its
//! audit row.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ledger::hexadecimal;
use policy::identity::Stated;
use sha2::Sha256;

use crate::settings::secrets::{NamedKey, Secret};

/// The field of a probe.
pub const HEADER: &str = "x-gate-probe";
/// The field of the answer to a probe that names what would have let it in.
pub const GATE: &str = "x-gate-probe-gate";
/// Where a gate reports to a probe what it is running.
pub const PATH: &str = "/.well-known/console-gate/probe";
/// How far the clocks of the two may be apart, in seconds: anyone who saw a probe can repeat it for as long.
const TOLERANCE: u64 = 60;

/// The keys that the gate and its verifier share: the first signs, all are accepted.
#[derive(Clone)]
pub struct ProbeKeys(Vec<Secret>);

impl ProbeKeys {
    /// `None` where there is no key: then every probe is refused.
    pub fn new(keys: &[NamedKey]) -> Option<ProbeKeys> {
        (!keys.is_empty()).then(|| ProbeKeys(keys.iter().map(|key| key.secret.clone()).collect()))
    }

    /// The value of [`HEADER`] for a request, from a stated person or from the one that its credential names.
    pub fn sign(&self, method: &str, target: &str, stated: Option<&Stated>, now: DateTime<Utc>) -> String {
        let time = now.timestamp();
        // Serialising texts into memory cannot fail; a statement of nothing is refused.
        let stated = stated.map(|stated| serde_json::to_vec(stated).unwrap_or_default());
        let stated = stated.map_or_else(String::new, |stated| format!(".{}", URL_SAFE_NO_PAD.encode(stated)));
        let mac = self.0.first().map(|key| mac(key, method, target, &stated, time).finalize().into_bytes());
        format!("{time}.{}{stated}", hexadecimal::encode(mac.as_deref().unwrap_or_default()))
    }

    /// The principal that the probe states, if the value was made for this request at about this time.
    pub fn accept(&self, value: &[u8], method: &str, target: &str, now: DateTime<Utc>) -> Option<Accepted> {
        let (time, rest) = std::str::from_utf8(value).ok()?.split_once('.')?;
        let (claimed, stated) = rest.split_at_checked(64)?;
        let (time, claimed) = (time.parse::<i64>().ok()?, hexadecimal::decode::<32>(claimed)?);
        let is_recent = now.timestamp().abs_diff(time) <= TOLERANCE;
        let is_ours = |key: &Secret| mac(key, method, target, stated, time).verify_slice(&claimed).is_ok();
        if !is_recent || !self.0.iter().any(is_ours) {
            return None;
        }
        match stated.strip_prefix('.') {
            None => stated.is_empty().then_some(Accepted { stated: None }),
            Some(stated) => {
                let stated: Stated = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(stated).ok()?).ok()?;
                let is_nobodys = stated.id.starts_with(Stated::PREFIX);
                is_nobodys.then(|| Accepted { stated: Some(Arc::new(stated)) })
            }
        }
    }
}

/// A probe whose MAC is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub stated: Option<Arc<Stated>>,
}

/// Neither a method nor a target holds a line break, so no two requests have the same text.
fn mac(key: &Secret, method: &str, target: &str, stated: &str, time: i64) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key.expose())
        .expect("HMAC takes a key of any length")
        .chain_update(format!("console-gate probe\n{time}\n{method}\n{target}\n{stated}"))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn keys(byte: u8) -> ProbeKeys {
        let key = NamedKey { id: "p".into(), secret: Secret::new(vec![byte; 32]) };
        ProbeKeys::new(&[key]).unwrap()
    }

    fn carla() -> Stated {
        let set = |name: &str| [name.to_owned()].into();
        let id = format!("{}1", Stated::PREFIX);
        Stated { id, legacy: set("ops"), groups: set("g"), roles: set("r") }
    }

    #[test]
    fn a_probe_is_for_one_request_and_a_minute() {
        let now = Utc::now();
        for stated in [None, Some(carla())] {
            let value = keys(7).sign("POST", "/x?y", stated.as_ref(), now);
            let later = now + TimeDelta::seconds(60);
            let accepted = keys(7).accept(value.as_bytes(), "POST", "/x?y", later).expect("ours");
            assert_eq!(accepted.stated.as_deref(), stated.as_ref());
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
                assert_eq!(keys.accept(value.as_bytes(), method, target, at), None, "{value} {method} {at}");
            }
        }
        assert!(ProbeKeys::new(&[]).is_none());
    }

    #[test]
    fn whom_a_probe_states_is_under_its_mac_and_no_admin() {
        let now = Utc::now();
        let accepts = |value: &str| keys(7).accept(value.as_bytes(), "GET", "/x", now).is_some();
        let value = keys(7).sign("GET", "/x", Some(&carla()), now);
        let (plain, stated) = value.rsplit_once('.').expect("three parts");
        assert!(accepts(&value));
        // The signed statement cannot be removed, changed, or added to another probe.
        assert!(!accepts(plain));
        let other = Stated { legacy: ["superadmin".to_owned()].into(), ..carla() };
        let other = keys(7).sign("GET", "/x", Some(&other), now);
        assert!(!accepts(&format!("{plain}.{}", other.rsplit_once('.').expect("three parts").1)));
        assert!(!accepts(&format!("{}.{stated}", keys(7).sign("GET", "/x", None, now))));
        for id in ["", "anna", "gate-verify"] {
            let anna = Stated { id: id.into(), ..carla() };
            assert!(!accepts(&keys(7).sign("GET", "/x", Some(&anna), now)), "{id}");
        }
    }
}
