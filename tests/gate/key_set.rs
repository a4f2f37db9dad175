//! EdDSA: the assertion that Console gets is signed by a key of the set that the gate publishes, before and after a
//! rotation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use serde_json::Value;

use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Gate, Setup, World};

const OLD: &str = "old:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const BOTH: &str =
    "new:OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=,old:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const MAPPING: &str = "version = 1\n[blueprints.b.routes]\n\"GET /me\" = { session = true }\n";

async fn gate(world: &World, upstream: &Recorder, keys: &str) -> Gate {
    let setup = Setup {
        mapping: Some(MAPPING),
        upstream: Some(upstream.socket()),
        sections: "[assertion]\nalgorithm = \"EdDSA\"\n",
        variables: Some(vec![("CONSOLE_GATE_KEYS", keys.to_owned())]),
        ..Setup::V2
    };
    world.gate(&setup).await
}

/// The published keys: id and key.
async fn published(gate: &Gate) -> Vec<(String, VerifyingKey)> {
    let answer = gate.send(&Ask::get("/.well-known/console-gate/jwks.json")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/jwk-set+json"));
    let set = answer.json();
    let key = |jwk: &Value| {
        assert_eq!((&jwk["kty"], &jwk["crv"]), (&Value::from("OKP"), &Value::from("Ed25519")));
        assert!(jwk.get("d").is_none(), "a private key is published");
        let bytes = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().expect("x")).expect("base64url");
        let key = VerifyingKey::from_bytes(&bytes.try_into().expect("32 bytes")).expect("a key");
        (jwk["kid"].as_str().expect("kid").to_owned(), key)
    };
    set["keys"].as_array().expect("keys").iter().map(key).collect()
}

/// The id of the key that signed what Console got last; the signature holds under it.
fn signed_by(upstream: &Recorder, keys: &[(String, VerifyingKey)]) -> String {
    let requests = upstream.requests();
    let token =
        requests.last().and_then(|request| request.header("x-console-gate-assertion")).expect("an assertion");
    let (signed, signature) = token.rsplit_once('.').expect("a JWT");
    let head = URL_SAFE_NO_PAD.decode(signed.split('.').next().expect("a head")).expect("base64url");
    let head: Value = serde_json::from_slice(&head).expect("JSON");
    assert_eq!(head["alg"], "EdDSA");
    let id = head["kid"].as_str().expect("kid").to_owned();
    let (_, key) = keys.iter().find(|(known, _)| *known == id).expect("a published key");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    key.verify(signed.as_bytes(), &Signature::from_slice(&signature).expect("64 bytes")).expect("it holds");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_console_gets_is_signed_by_a_published_key() {
    let world = World::new(Database::Sqlite).await;
    world.admin("anna", &[], &[]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let ask = || Ask::get("/me").cookie(&world.cookie("anna"));
    let before = gate(&world, &upstream, OLD).await;
    assert_eq!(before.send(&ask()).await.status, 200);
    let old_keys = published(&before).await;
    assert_eq!(signed_by(&upstream, &old_keys), "old");
    // Rotated: the new key signs, and both are published while assertions of the old one may be under way.
    let after = gate(&world, &upstream, BOTH).await;
    assert_eq!(after.send(&ask()).await.status, 200);
    let keys = published(&after).await;
    assert_eq!(signed_by(&upstream, &keys), "new");
    assert!(
        keys.iter().any(|(id, key)| (id, key) == (&old_keys[0].0, &old_keys[0].1)),
        "the old key went too early"
    );
}
