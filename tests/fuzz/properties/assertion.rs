//! The assertion: whatever a caller is called and asks for, the claims say that and nothing else.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use console_gate::assertion::AssertionSigner;
use console_gate::settings::secrets::{NamedKey, Secret};
use console_gate::settings::values::AssertionAlgorithm;
use hmac::{Hmac, KeyInit as _, Mac as _};
use policy::decision::body::BodyFacts;
use policy::decision::{Caller, Permit, Question, Target, decide};
use policy::identity::Principal;
use policy::ids::{AdminId, Epoch, SessionId};
use policy::mapping::{ClusterMode, Mapping, Rollout};
use policy::method::Method;
use policy::rbac::Access;
use serde_json::{Value, json};
use sha2::Sha256;

use super::input::Input;

const KEY: [u8; 32] = [7; 32];
const MAPPING: &str = "version = 1\n[blueprints.b.routes]\n\"* /*\" = { session = true }\n";

static SIGNER: LazyLock<AssertionSigner> = LazyLock::new(|| {
    let key = NamedKey { id: "k1".to_owned(), secret: Secret::new(KEY.to_vec()) };
    AssertionSigner::new(AssertionAlgorithm::Hs256, &[key], "console", 30).expect("a key of 32 bytes")
});
static ROW: LazyLock<Mapping> = LazyLock::new(|| Mapping::parse("m", MAPPING).expect("a sound mapping"));

/// The bytes are a method, an admin's id, a session's id and a path, in text that may hold anything.
pub fn assertion(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let method = input.choose(&Method::ALL);
    let issued = i64::from(input.four_bytes());
    let text = String::from_utf8_lossy(input.rest());
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (id, session, path) = (part(), part(), part());
    let permit = permit(&id, &session);
    let request = console_gate::random::request_id();
    let moment = DateTime::from_timestamp(issued, 0).expect("32 bits of seconds are in range");
    let token = SIGNER.sign(&permit, ROW.sha256(), method, &path, request, moment);

    // The token goes into a header field.
    assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, claims, signature] = parts.as_slice() else { panic!("{token} has no three parts") };
    let signed = &token[..header.len() + 1 + claims.len()];
    assert_eq!(decoded(signature), mac(signed.as_bytes()));
    assert_eq!(parsed(header), json!({ "alg": "HS256", "typ": "JWT", "kid": "k1" }));
    let expected = json!({
        "iss": "console-gate", "aud": "console", "sub": id, "sid": session, "kind": "admin",
        "iat": issued, "exp": issued + 30, "method": method.as_str(), "path": path,
        "route": "* /*", "roles": [], "rid": request.to_string(),
        "gate": "session", "cluster": "", "mapping": ROW.sha256().as_str(), "groups": [],
    });
    assert_eq!(parsed(claims), expected);
    // One more bit, one claim changed: the signature is that of nothing else.
    assert_ne!(mac(format!("{signed}A").as_bytes()), decoded(signature));
    true
}

fn permit(id: &str, session: &str) -> Permit {
    let principal = Principal::Admin { id: AdminId::new(id), session: Some(SessionId::new(session)) };
    let access = Access::nothing(Epoch(1));
    let question = Question {
        upgrade: false,
        target: Target::Row(&ROW.rows()[0], &Rollout::everybody(ClusterMode::V2)),
        caller: Caller::Known(&principal, &access),
        control: None,
        body: &BodyFacts::NotRead,
    };
    decide(&question).outcome.expect("a session row lets every admin in")
}

fn mac(message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).expect("hmac takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).expect("base64url")
}

fn parsed(part: &str) -> Value {
    serde_json::from_slice(&decoded(part)).expect("JSON")
}
