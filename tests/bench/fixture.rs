//! One request, and what it is decided by: the same for each benchmark.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use console_gate::assertion::AssertionSigner;
use console_gate::settings::secrets::{NamedKey, Secret};
use console_gate::settings::values::AssertionAlgorithm;
use policy::identity::Principal;
use policy::identity::flask_cookie::{CookieLimits, CookieVerifier, SigningKeys};
use policy::ids::{AdminId, Epoch};
use policy::mapping::Mapping;
use policy::rbac::{Access, LegacyRole, Standing};

pub(super) const PATH: &str = "/console/customers/7/tickets";

/// What a browser sends.
pub(super) fn head(cookie: &str) -> Vec<u8> {
    format!(
        "GET {PATH}?page=2 HTTP/1.1\r\nHost: console.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Referer: https://console.example.com/console/customers/\r\nCookie: theme=dark; session={cookie}\r\n\
         Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\r\n"
    )
    .into_bytes()
}

/// The shipped table with all clusters on V2.
pub(super) fn mapping() -> Mapping {
    let file = include_str!("../../routes.toml").replace("= \"legacy\"", "= \"v2\"");
    Mapping::parse("routes.toml", &file).unwrap()
}

/// An admin who may, and what she holds.
pub(super) fn anna() -> (Principal, Access) {
    let access = Access {
        standing: Standing::Active,
        legacy: [LegacyRole::literal("ops")].into(),
        roles: ["console-user", "console-audit-user", "console-manager"].map(Arc::from).into(),
        ..Access::nothing(Epoch(1))
    };
    (Principal::Admin { id: AdminId::new("anna"), session: None }, access)
}

/// What verifies her cookie, with an older key beside the newest; and the cookie, made at `now`.
pub(super) fn cookie(now: DateTime<Utc>) -> (CookieVerifier, String) {
    let keys = SigningKeys::new(b"a secret of some length", [b"an older one"]).unwrap();
    let verifier = CookieVerifier::new(keys, CookieLimits::default());
    let cookie = verifier.sign(&serde_json::json!({ "admin_id": "anna", "_fresh": true }), now);
    (verifier, cookie)
}

pub(super) fn signer(algorithm: AssertionAlgorithm) -> AssertionSigner {
    let key = NamedKey { id: "k1".into(), secret: Secret::new(vec![7; 32]) };
    AssertionSigner::new(algorithm, &[key], "console", 30).unwrap()
}
