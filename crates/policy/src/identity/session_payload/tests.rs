//! Every vector of Django and Flask-Session, and the bounds.

use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::*;
use crate::identity::itsdangerous::{DigestMethod, KeyDerivation, Signing};

const VECTORS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/session_vectors.jsonl"));

fn reader_of(vector: &Json) -> PayloadReader {
    let format = match vector["format"].as_str().unwrap() {
        "json" => PayloadFormat::Json,
        "msgpack" => PayloadFormat::Msgpack,
        "django" => {
            let signing = Signing {
                salt: vector["salt"].as_str().unwrap().into(),
                digest: DigestMethod::Sha256,
                derivation: KeyDerivation::DjangoConcat,
            };
            let fallbacks = vector["fallbacks"].as_array().unwrap().iter().map(|key| key.as_str().unwrap());
            let secret = vector["secret"].as_str().unwrap().as_bytes();
            PayloadFormat::Django(Keys::new(&signing, secret, fallbacks).unwrap())
        }
        other => panic!("{other}"),
    };
    PayloadReader { format, admin_id_key: vector["key"].as_str().unwrap().to_owned() }
}

#[test]
fn says_of_every_vector_what_the_libraries_say() {
    let mut counts = [0, 0, 0];
    for line in VECTORS.lines() {
        let vector: Json = serde_json::from_str(line).unwrap();
        if vector["kind"] != "payload" {
            continue;
        }
        let payload = STANDARD.decode(vector["payload"].as_str().unwrap()).unwrap();
        let read = reader_of(&vector).admin_id(&payload);
        let place = format!("{} {}", vector["format"], vector["note"]);
        assert_eq!(read.is_ok(), vector["readable"] == true, "{place}: {read:?}");
        let admin = read.unwrap_or_default();
        assert_eq!(admin.as_ref().map(AdminId::as_str), vector["admin"].as_str(), "{place}");
        counts[match (vector["readable"] == true, admin.is_some()) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }] += 1;
    }
    assert_eq!(counts, [11, 12, 27]);
}

#[test]
fn sizes_and_depths_are_bounded() {
    let reader = |format| PayloadReader { format, admin_id_key: "admin_id".into() };
    let json = |fill: usize| format!(r#"{{"admin_id":"7","fill":"{}"}}"#, "x".repeat(fill));
    let overhead = json(0).len();
    let read = |payload: String| reader(PayloadFormat::Json).admin_id(payload.as_bytes());
    assert_eq!(read(json(MAX_PAYLOAD_BYTES - overhead)), Ok(Some(AdminId::new("7"))));
    assert_eq!(read(json(MAX_PAYLOAD_BYTES - overhead + 1)), Err(PayloadError::TooLarge));
    assert_eq!(
        read(format!(r#"{{"admin_id":"7","x":{}}}"#, "[".repeat(60_000))).unwrap_err().word(),
        "bad-payload"
    );
    assert_eq!(reader(PayloadFormat::Msgpack).admin_id(&[0x91; 60_000]).unwrap_err().word(), "bad-payload");

    // As Django writes it, 300 bytes that inflate to 200 kB.
    let signing = Signing {
        salt: b"django.contrib.sessions.SessionStore".to_vec(),
        digest: DigestMethod::Sha256,
        derivation: KeyDerivation::DjangoConcat,
    };
    let keys = Keys::new(&signing, b"s3cret", [""; 0]).unwrap();
    let mut bomb = Vec::new();
    let text = format!(r#"{{"admin_id":"7","x":"{}"}}"#, "0".repeat(200_000));
    let mut encoder = flate2::read::ZlibEncoder::new(text.as_bytes(), flate2::Compression::best());
    std::io::Read::read_to_end(&mut encoder, &mut bomb).unwrap();
    let signed = format!(".{}:1vYxyz", URL_SAFE_NO_PAD.encode(&bomb));
    let payload = format!("{signed}:{}", URL_SAFE_NO_PAD.encode(keys.sign(&signed)));
    assert!(payload.len() < 1000);
    assert_eq!(
        reader(PayloadFormat::Django(keys)).admin_id(payload.as_bytes()).unwrap_err().word(),
        "payload-too-large"
    );
}
