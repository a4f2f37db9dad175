//! The signed assertion: the principal of a request that was let in, with its method and path.
//!
//! Console can refuse requests without one, so that no caller bypasses the gate. It is a JWT (RFC 7519) in compact
//! form, at most 60 seconds old: HS256 with a secret that Console shares (about a microsecond), or EdDSA with a
//! published key set if Console runs elsewhere. Only signing happens here, and only these two algorithms, so there is
//! no parser to attack and no `alg` to confuse.

mod claims;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use policy::decision::Permit;
use policy::ids::{MappingSha256, RequestId};
use policy::method::Method;
use sha2::Sha256;
use uuid::fmt::Hyphenated;

use self::claims::Claims;
use crate::settings::secrets::NamedKey;
use crate::settings::values::AssertionAlgorithm;

/// The header that carries the assertion to Console.
pub const HEADER: &str = "x-console-gate-assertion";

/// Where the key set is published when assertions are signed with EdDSA.
pub const JWKS_PATH: &str = "/.well-known/console-gate/jwks.json";

const ISSUER: &str = "console-gate";

/// The most bytes for the names of a caller's groups. gunicorn and others refuse a field of more than 8 KiB, which
/// would lock out an admin in hundreds of groups. Beyond this limit no groups are claimed.
const GROUPS_BYTES: usize = 3_072;

/// A key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no key to sign assertions with")]
    NoKey,
    #[error("the key `{0}` is not an Ed25519 seed of 32 bytes")]
    NotASeed(String),
}

#[derive(Clone)]
enum Key {
    Hs256(Hmac<Sha256>),
    EdDsa(Arc<SigningKey>),
}

/// Signs assertions.
pub struct AssertionSigner {
    key: Key,
    /// The encoded JOSE header and its dot: the same for every assertion.
    header: String,
    audience: String,
    lifetime_seconds: i64,
    jwks: Option<String>,
    /// The opening of the last signed assertion: most assertions share it.
    opening: ArcSwapOption<Opening>,
}

/// The beginning of every assertion of one second under one mapping: a third of the text to write, encode and hash.
struct Opening {
    mapping: MappingSha256,
    issued: i64,
    /// The encoded header, its dot and the first claims.
    encoded: Box<[u8]>,
    /// The signer's key; HS256 has hashed these bytes already.
    key: Key,
}

impl AssertionSigner {
    /// Prepares the first key for signing; the others are published so that what they signed still verifies.
    ///
    /// # Errors
    ///
    /// There is no key, or one that the algorithm cannot use.
    pub fn new(
        algorithm: AssertionAlgorithm,
        keys: &[NamedKey],
        audience: &str,
        lifetime_seconds: u64,
    ) -> Result<AssertionSigner, KeyError> {
        let first = keys.first().ok_or(KeyError::NoKey)?;
        let (key, name, jwks) = match algorithm {
            AssertionAlgorithm::Hs256 => {
                let mac =
                    Hmac::<Sha256>::new_from_slice(first.secret.expose()).map_err(|_| KeyError::NoKey)?;
                (Key::Hs256(mac), "HS256", None)
            }
            AssertionAlgorithm::EdDsa => {
                let public: Vec<serde_json::Value> = keys.iter().map(public_jwk).collect::<Result<_, _>>()?;
                let jwks = serde_json::json!({ "keys": public }).to_string();
                (Key::EdDsa(Arc::new(signing_key(first)?)), "EdDSA", Some(jwks))
            }
        };
        let header = serde_json::json!({ "alg": name, "typ": "JWT", "kid": first.id }).to_string();
        Ok(AssertionSigner {
            key,
            header: format!("{}.", URL_SAFE_NO_PAD.encode(header)),
            audience: audience.to_owned(),
            lifetime_seconds: i64::try_from(lifetime_seconds).unwrap_or(60).min(60),
            jwks,
            opening: ArcSwapOption::empty(),
        })
    }

    /// The public keys as a JWK set (RFC 7517, RFC 8037), where there are public keys.
    pub fn jwks(&self) -> Option<&str> {
        self.jwks.as_deref()
    }

    /// The assertion for one request that was permitted under a mapping. `path` is the path as it goes upstream, byte
    /// for byte.
    pub fn sign(
        &self,
        permit: &Permit,
        mapping: &MappingSha256,
        method: Method,
        path: &str,
        request: RequestId,
        now: DateTime<Utc>,
    ) -> String {
        let principal = permit.principal();
        let opening = self.opening(mapping, now.timestamp());
        let mut claims = Claims::go_on();
        claims.text("sub", principal.map_or("", |principal| principal.id()));
        let session = principal.and_then(|principal| principal.session());
        claims.text("sid", session.map_or("", |session| session.as_str()));
        claims.text("kind", principal.map_or("anonymous", |principal| principal.kind()));
        claims.text("method", method.as_str());
        claims.text("path", path);
        claims.text("route", permit.route().map_or("", |route| route));
        claims.texts("roles", permit.roles_used().iter().map(AsRef::as_ref));
        claims.text("rid", request.text(&mut [0; Hyphenated::LENGTH]));
        // The gate that let the request in: Console's own checks step back for `v2` alone.
        claims.text("gate", permit.let_in_by().word());
        claims.text("cluster", permit.cluster().map_or("", |cluster| cluster));
        claims.texts("groups", groups(permit));
        if let Some(login) = permit.login() {
            claims.texts("amr", login.amr());
            if let Some(at) = login.auth_time() {
                claims.number("auth_time", at.timestamp());
            }
        }
        if permit.notifies_customer() {
            // The server has to notify the customer of the request, if the row requires that for one of the caller's
            // roles.
            claims.text("notify", "customer");
        }
        opening.signed(&claims.end())
    }

    fn opening(&self, mapping: &MappingSha256, issued: i64) -> Arc<Opening> {
        let last = self.opening.load();
        if let Some(opening) = &*last
            && opening.issued == issued
            && opening.mapping == *mapping
        {
            return opening.clone();
        }
        let opening = Arc::new(self.open(mapping, issued));
        self.opening.store(Some(opening.clone()));
        opening
    }

    fn open(&self, mapping: &MappingSha256, issued: i64) -> Opening {
        let mut claims = Claims::begin();
        claims.text("iss", ISSUER);
        claims.text("aud", &self.audience);
        claims.text("mapping", mapping.as_str());
        claims.number("iat", issued);
        claims.number("exp", issued + self.lifetime_seconds);
        let mut encoded = self.header.clone().into_bytes();
        encode(claims.pause().as_bytes(), &mut encoded);
        let mut key = self.key.clone();
        if let Key::Hs256(mac) = &mut key {
            mac.update(&encoded);
        }
        Opening { mapping: mapping.clone(), issued, encoded: encoded.into(), key }
    }
}

impl Opening {
    /// The assertion with these claims besides its own.
    fn signed(&self, claims: &str) -> String {
        let mut token = Vec::with_capacity(self.encoded.len() + claims.len() * 4 / 3 + 96);
        token.extend_from_slice(&self.encoded);
        encode(claims.as_bytes(), &mut token);
        let (hs256, eddsa);
        let signature: &[u8] = match &self.key {
            Key::Hs256(begun) => {
                let mut mac = begun.clone();
                mac.update(&token[self.encoded.len()..]);
                hs256 = mac.finalize().into_bytes();
                &hs256
            }
            Key::EdDsa(key) => {
                eddsa = key.sign(&token).to_bytes();
                &eddsa
            }
        };
        token.push(b'.');
        encode(signature, &mut token);
        // All of it is ASCII.
        String::from_utf8(token).unwrap_or_default()
    }
}

/// Base64url without padding (RFC 7515 section 2), written in place.
fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let before = out.len();
    out.resize(before + base64::encoded_len(bytes.len(), false).unwrap_or(0), 0);
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut out[before..]).unwrap_or(0);
    out.truncate(before + written);
}

fn groups(permit: &Permit) -> Vec<&str> {
    let groups: Vec<&str> = permit.groups().iter().map(AsRef::as_ref).collect();
    let bytes: usize = groups.iter().map(|group| group.len() + 3).sum();
    if bytes > GROUPS_BYTES { Vec::new() } else { groups }
}

fn signing_key(key: &NamedKey) -> Result<SigningKey, KeyError> {
    let seed: &[u8; 32] = key.secret.expose().try_into().map_err(|_| KeyError::NotASeed(key.id.clone()))?;
    Ok(SigningKey::from_bytes(seed))
}

fn public_jwk(key: &NamedKey) -> Result<serde_json::Value, KeyError> {
    let public = signing_key(key)?.verifying_key();
    Ok(serde_json::json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "alg": "EdDSA",
        "kid": key.id,
        "x": URL_SAFE_NO_PAD.encode(public.as_bytes()),
    }))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
    use serde_json::Value;

    use super::*;
    use crate::settings::secrets::Secret;
    use policy::decision::body::BodyFacts;
    use policy::decision::{Caller, Question, Target, decide};
    use policy::identity::Principal;
    use policy::ids::{AdminId, Epoch};
    use policy::mapping::{Mapping, Rollout};
    use policy::rbac::Access;
    use std::sync::Arc;

    fn permit() -> Permit {
        let file = "version = 1\nblueprints.b.routes.\"GET /x\" = { public = true }\n";
        let mapping = Mapping::parse("t", file).unwrap();
        let target = Target::Row(&mapping.rows()[0], &Rollout::LEGACY);
        let question = Question {
            upgrade: false,
            target,
            caller: Caller::Nobody,
            control: None,
            body: &BodyFacts::NotRead,
        };
        decide(&question).outcome.expect("a public row")
    }

    fn key(id: &str, length: usize) -> NamedKey {
        NamedKey { id: id.into(), secret: Secret::new(vec![7; length]) }
    }

    fn parts(token: &str) -> (Value, Value, Vec<u8>) {
        let parts: Vec<Vec<u8>> =
            token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        (
            serde_json::from_slice(&parts[0]).unwrap(),
            serde_json::from_slice(&parts[1]).unwrap(),
            parts[2].clone(),
        )
    }

    #[test]
    fn the_claims_say_who_what_and_for_how_long() {
        let signer =
            AssertionSigner::new(AssertionAlgorithm::Hs256, &[key("k1", 32)], "console", 3_600).unwrap();
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let id = crate::random::request_id();
        let mapping = MappingSha256::new("ab12");
        let (header, claims, _) = parts(&signer.sign(&permit(), &mapping, Method::Get, "/x", id, now));
        assert_eq!(header["alg"], "HS256");
        assert_eq!(header["kid"], "k1");
        assert_eq!(claims["iss"], "console-gate");
        assert_eq!(claims["aud"], "console");
        assert_eq!(
            (&claims["method"], &claims["path"], &claims["route"]),
            (&"GET".into(), &"/x".into(), &"GET /x".into())
        );
        assert_eq!(claims["rid"], id.to_string());
        assert_eq!(
            (&claims["gate"], &claims["cluster"], &claims["mapping"], &claims["groups"]),
            (&"public".into(), &"".into(), &"ab12".into(), &serde_json::json!([]))
        );
        // However long the settings ask for: at most a minute.
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
        assert_eq!(signer.jwks(), None);
    }

    /// What repeated assertions share is kept: each still says its own second and mapping, and its signature is the one
    /// that is made of the whole text at once.
    #[test]
    fn assertions_that_share_their_beginning_are_signed_as_if_they_did_not() {
        for (algorithm, bytes) in [(AssertionAlgorithm::Hs256, 64), (AssertionAlgorithm::EdDsa, 32)] {
            let keys = [key("k1", bytes)];
            // Audiences of all lengths by three, because Base64 goes by threes.
            for audience in ["c", "co", "con", "\"\u{e9}\n"] {
                let kept = AssertionSigner::new(algorithm, &keys, audience, 30).unwrap();
                for (second, mapping) in [(1, "a"), (1, "a"), (2, "a"), (2, "b"), (1, "a"), (1, "b")] {
                    let now = DateTime::from_timestamp(1_790_000_000 + second, 999_000_000).unwrap();
                    let (mapping, id) = (MappingSha256::new(mapping), crate::random::request_id());
                    let sign = |signer: &AssertionSigner| {
                        signer.sign(&permit(), &mapping, Method::Get, "/x", id, now)
                    };
                    let token = sign(&kept);
                    let (_, claims, signature) = parts(&token);
                    assert_eq!(claims["iat"], now.timestamp());
                    assert_eq!(claims["exp"], now.timestamp() + 30);
                    assert_eq!(
                        (&claims["mapping"], &claims["aud"]),
                        (&mapping.as_str().into(), &audience.into())
                    );
                    assert_eq!(claims["rid"], id.to_string());
                    assert_eq!(token, sign(&AssertionSigner::new(algorithm, &keys, audience, 30).unwrap()));
                    if algorithm == AssertionAlgorithm::Hs256 {
                        let mut mac = Hmac::<Sha256>::new_from_slice(keys[0].secret.expose()).unwrap();
                        mac.update(token.rsplit_once('.').unwrap().0.as_bytes());
                        mac.verify_slice(&signature).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn groups_are_claimed_unless_they_would_not_fit_a_header_field() {
        let file = "version = 1\nblueprints.b.routes.\"GET /x\" = { session = true }\n";
        let mapping = Mapping::parse("t", file).unwrap();
        let anna = Principal::Admin { id: AdminId::new("anna"), session: None };
        let signer =
            AssertionSigner::new(AssertionAlgorithm::Hs256, &[key("k1", 32)], "console", 30).unwrap();
        for (count, claimed) in [(0, 0), (2, 2), (200, 200), (2_000, 0)] {
            let groups = (0..count).map(|number| Arc::from(format!("group-{number}"))).collect();
            let access = Access { groups, ..Access::nothing(Epoch(1)) };
            let target = Target::Row(&mapping.rows()[0], &Rollout::LEGACY);
            let caller = Caller::Known(&anna, &access);
            let body = &BodyFacts::NotRead;
            let question = Question { upgrade: false, target, caller, control: None, body };
            let permit = decide(&question).outcome.expect("a session row");
            let id = crate::random::request_id();
            let token = signer.sign(&permit, mapping.sha256(), Method::Get, "/x", id, Utc::now());
            let (_, claims, _) = parts(&token);
            assert_eq!(claims["groups"].as_array().map(Vec::len), Some(claimed));
            assert_eq!(claims["gate"], "session");
            assert!(token.len() < 8_000, "{}", token.len());
        }
    }

    #[test]
    fn an_eddsa_assertion_verifies_with_the_published_key() {
        let keys = [key("new", 32), key("old", 32)];
        let signer = AssertionSigner::new(AssertionAlgorithm::EdDsa, &keys, "console", 30).unwrap();
        let set: Value = serde_json::from_str(signer.jwks().unwrap()).unwrap();
        assert_eq!(set["keys"][1]["kid"], "old");
        let public = URL_SAFE_NO_PAD.decode(set["keys"][0]["x"].as_str().unwrap()).unwrap();
        let public = VerifyingKey::from_bytes(public.as_slice().try_into().unwrap()).unwrap();
        let token = signer.sign(
            &permit(),
            &MappingSha256::new("m"),
            Method::Get,
            "/x",
            crate::random::request_id(),
            Utc::now(),
        );
        let signed = token.rsplit_once('.').unwrap().0;
        let signature = Signature::from_slice(&parts(&token).2).unwrap();
        public.verify(signed.as_bytes(), &signature).unwrap();
        assert!(public.verify(b"something else", &signature).is_err());
    }

    #[test]
    fn a_key_that_cannot_sign_is_refused_at_start() {
        assert!(matches!(
            AssertionSigner::new(AssertionAlgorithm::EdDsa, &[key("k", 33)], "c", 30),
            Err(KeyError::NotASeed(_))
        ));
        assert!(matches!(
            AssertionSigner::new(AssertionAlgorithm::Hs256, &[], "c", 30),
            Err(KeyError::NoKey)
        ));
    }
}
