//! Every vector of itsdangerous, and what a key shows of itself.

use serde_json::Value as Json;

use super::*;
use crate::identity::itsdangerous::{DigestMethod, KeyDerivation, Signing};

const VECTORS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/session_vectors.jsonl"));
const TOKEN: &str = "WvFqNyBPtXkX3GJvbmT2d7nKBqCmZkqYx1nJc4b6G1o";

fn opaque(lookup: Lookup, key_prefix: &str) -> TokenVerifier {
    TokenVerifier { form: TokenForm::Opaque, lookup, key_prefix: key_prefix.to_owned(), payload: None }
}

fn key(verifier: &TokenVerifier, cookie: &str) -> Result<SessionKey, CookieError> {
    verifier.verify(cookie, DateTime::UNIX_EPOCH)
}

fn verifier_of(vector: &Json) -> TokenVerifier {
    let text = |name: &str| vector[name].as_str().unwrap();
    let signing = Signing {
        salt: text("salt").into(),
        digest: match text("digest") {
            "sha1" => DigestMethod::Sha1,
            "sha256" => DigestMethod::Sha256,
            "sha512" => DigestMethod::Sha512,
            other => panic!("{other}"),
        },
        derivation: match text("derivation") {
            "django-concat" => KeyDerivation::DjangoConcat,
            "concat" => KeyDerivation::Concat,
            "hmac" => KeyDerivation::Hmac,
            "none" => KeyDerivation::None,
            other => panic!("{other}"),
        },
    };
    let fallbacks = vector["fallbacks"].as_array().unwrap().iter().map(|key| key.as_str().unwrap());
    let form = TokenForm::Signed {
        keys: Keys::new(&signing, text("secret").as_bytes(), fallbacks).unwrap(),
        class: match text("signer") {
            "Signer" => SignerClass::Signer,
            "TimestampSigner" => SignerClass::TimestampSigner,
            "URLSafeSerializer" => SignerClass::UrlSafeSerializer,
            "URLSafeTimedSerializer" => SignerClass::UrlSafeTimedSerializer,
            other => panic!("{other}"),
        },
        max_age: vector["max_age"].as_u64().map(Duration::from_secs),
        future_skew: Duration::ZERO,
    };
    TokenVerifier { form, lookup: Lookup::Value, key_prefix: String::new(), payload: None }
}

#[test]
fn says_of_every_vector_what_itsdangerous_says() {
    let mut counts = [0, 0, 0];
    for line in VECTORS.lines() {
        let vector: Json = serde_json::from_str(line).unwrap();
        if vector["kind"] != "signed" {
            continue;
        }
        let now = DateTime::from_timestamp(vector["now"].as_i64().unwrap(), 0).unwrap();
        let verdict = verifier_of(&vector).verify(vector["cookie"].as_str().unwrap(), now);
        let found = verdict.as_ref().map(|key| key.expose().unwrap());
        let place = format!("{} {}", vector["signer"], vector["note"]);
        match vector["token"].as_str() {
            None => {
                assert!(
                    found.is_err_and(|error| *error != CookieError::MalformedToken),
                    "{place}: {found:?}"
                );
                counts[0] += 1;
            }
            // What is signed is no token by that.
            Some(token) if token.len() < 8 => {
                assert_eq!(found, Err(&CookieError::MalformedToken), "{place}");
                counts[1] += 1;
            }
            Some(token) => {
                assert_eq!(found, Ok(token), "{place}");
                counts[2] += 1;
            }
        }
    }
    assert_eq!(counts, [64, 4, 89]);
}

#[test]
fn what_no_token_looks_like_is_not_looked_up() {
    let verifier = opaque(Lookup::Value, "");
    for sound in ["12345678", &"x".repeat(512), "a.b-c_d~e=", "{\"quoted\"}"] {
        assert_eq!(key(&verifier, sound).unwrap().expose(), Some(sound));
    }
    for odd in
        ["", "1234567", &"x".repeat(513), "with space", "tab\tinside", "caf\u{e9}-12345", "nul\0-12345"]
    {
        assert_eq!(key(&verifier, odd), Err(CookieError::MalformedToken), "{odd:?}");
    }
    let long = "x".repeat(4097);
    assert_eq!(key(&verifier, &long), Err(CookieError::TooLong { bytes: 4097, limit: 4096 }));
}

#[test]
fn the_key_is_what_the_table_has() {
    let hashed = hex::lower(Sha256::digest(TOKEN));
    let table = [
        (Lookup::Value, "", TOKEN.to_owned()),
        (Lookup::Value, "session:", format!("session:{TOKEN}")),
        (Lookup::Sha256Hex, "", hashed.clone()),
        (Lookup::Sha256Hex, "s-", format!("s-{hashed}")),
    ];
    for (lookup, prefix, expected) in table {
        let key = key(&opaque(lookup, prefix), TOKEN).unwrap();
        assert_eq!(key.expose(), Some(expected.as_str()));
    }
}

#[test]
fn nothing_of_the_credential_is_shown_or_cached() {
    for lookup in [Lookup::Value, Lookup::Sha256Hex] {
        let key = key(&opaque(lookup, "session:"), TOKEN).unwrap();
        let exposed = key.expose().unwrap().to_owned();
        let digits = hex::lower(Sha256::digest(&exposed));
        assert_eq!(format!("{key:?}"), format!("SessionKey({}...)", &digits[..8]));

        let cached = key.without_credential();
        assert_eq!((cached.expose(), &cached), (None, &key));
        assert_eq!(cached.shown_id(Some("7")).as_str(), &digits[..16], "nothing left to compare with");

        assert_eq!(key.shown_id(Some("7")).as_str(), "7");
        for exposed_as in [Some(exposed.as_str()), Some(TOKEN), Some(&format!("<{TOKEN}>")), Some(""), None] {
            assert_eq!(key.shown_id(exposed_as).as_str(), &digits[..16], "{exposed_as:?}");
        }
    }
}

#[test]
fn one_session_has_one_key_however_its_cookie_is_spelled() {
    let vector = VECTORS
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .find(|vector| vector["note"] == "Flask-Session")
        .unwrap();
    let (verifier, cookie) = (verifier_of(&vector), vector["cookie"].as_str().unwrap());
    for respelled in [format!("{cookie}="), format!("{cookie}!!!!")] {
        assert_eq!(key(&verifier, &respelled), key(&verifier, cookie));
    }
    assert_ne!(key(&opaque(Lookup::Value, ""), "another-token"), key(&verifier, cookie));
}
