//! Where keys come from: texts, files, and a key service on a real socket with Vault's documented answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use console_gate::journal::checkpoint_sink::{CheckpointSink as _, HttpSink, SinkError};
use console_gate::journal::checkpoints::{Checkpoints, Destination};
use console_gate::journal::key_file;
use console_gate::journal::kms::TransitKeys;
use console_gate::outbound::{Outbound, OutboundError, Request, Url};
use ledger::chain::{Chain, Head};
use ledger::checkpoint::Checkpoint;
use ledger::keys::{KeyError, KeyRing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::support::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

#[test]
fn a_ring_is_read_or_refused_without_showing_a_key() {
    let key = STANDARD.encode(SECRET);
    let ring = KeyRing::parse(&format!(" a:{key},\nb-2:{}\n", STANDARD.encode([7; 40]))).unwrap();
    assert_eq!(ring.sealing().id(), "a");
    assert!(ring.knows("b-2") && !ring.knows("c"));
    assert_eq!(format!("{ring:?}"), "[Key(a), Key(b-2)]");
    for (text, expected) in [
        (String::new(), "there is no key: expected `id:base64`, or several, separated by commas"),
        (
            format!("a:{key},{key}"),
            "key 2 has no id of 1 to 64 letters, digits, `-`, `_` and `.` before a colon",
        ),
        (format!(":{key}"), "key 1 has no id of 1 to 64 letters, digits, `-`, `_` and `.` before a colon"),
        (format!("a b:{key}"), "key 1 has no id of 1 to 64 letters, digits, `-`, `_` and `.` before a colon"),
        (format!("a:{key}!"), "key `a` is not standard base64"),
        (format!("a:{}", STANDARD.encode(&SECRET[1..])), "key `a` has 31 bytes, at least 32 are required"),
        (format!("a:{key},a:{}", STANDARD.encode([7; 32])), "key id `a` occurs twice"),
        (format!("a:{key},b:{key}"), "keys `a` and `b` are the same key"),
    ] {
        let error = KeyRing::parse(&text).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{error:?}").contains(&key[..8]));
    }
}

#[tokio::test]
async fn keys_from_a_text_and_from_a_file() {
    assert!(KeyRing::parse(OLD).unwrap().knows("old"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let missing = key_file::read(&path).await.unwrap_err();
    assert!(matches!(missing, KeyError::File { .. }), "{missing}");
    std::fs::write(&path, format!("{NEW}\n{OLD}\n")).unwrap();
    assert_eq!(key_file::read(&path).await.unwrap().sealing().id(), "new");
    std::fs::write(&path, "a".repeat(70_000)).unwrap();
    let large = key_file::read(&path).await.unwrap_err();
    assert!(matches!(large, KeyError::LargeFile { .. }), "{large}");
}

/// What the service does with one connection.
#[derive(Clone)]
enum Act {
    Answer(u16, String),
    /// Says more than it sends.
    Truncate,
    Nonsense,
    /// Reads and never answers.
    Hang,
    Close,
}

/// A service that does one thing a connection, the last one for ever. Gives its address and what it was asked.
async fn service(acts: Vec<Act>) -> (Url, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut held = Vec::new();
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let act = acts[number.min(acts.len() - 1)].clone();
            let request = read_request(&mut stream).await;
            heard.lock().unwrap().push(request);
            let answer = match act {
                Act::Answer(status, body) => {
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                }
                Act::Truncate => "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"data\":".to_owned(),
                Act::Nonsense => "220 mail.example ESMTP\r\n".to_owned(),
                Act::Hang => {
                    held.push(stream);
                    continue;
                }
                Act::Close => String::new(),
            };
            // The client may have given up.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

async fn read_request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return text;
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if count == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return text;
        }
    }
}

fn outbound() -> Outbound {
    Outbound::new(Vec::new(), Duration::from_millis(200), 4096).unwrap()
}

fn transit(url: &Url, patience: Duration) -> TransitKeys {
    let token = Zeroizing::new("hvs.token".to_owned());
    TransitKeys::new(
        outbound(),
        url,
        "audit",
        token,
        "k1:vault:v1:AbC+/=,k2:vault:v2:xyz".to_owned(),
        patience,
    )
}

fn plaintext(key: &[u8]) -> Act {
    let encoded = STANDARD.encode(key);
    Act::Answer(
        200,
        format!("{{\"request_id\":\"r\",\"data\":{{\"plaintext\":\"{encoded}\"}},\"warnings\":null}}"),
    )
}

fn errors(status: u16, text: &str) -> Act {
    Act::Answer(status, serde_json::json!({ "errors": [text] }).to_string())
}

#[tokio::test]
async fn keys_are_unwrapped_as_vault_documents_it() {
    let (url, asked) = service(vec![plaintext(SECRET), plaintext(&[9; 32])]).await;
    let source = transit(&url, Duration::from_secs(10));
    assert!(!format!("{source:?}").contains("hvs"));
    let ring = source.keys().await.unwrap();
    assert_eq!(format!("{ring:?}"), "[Key(k1), Key(k2)]");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].starts_with("POST /v1/transit/decrypt/audit HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains("x-vault-token: hvs.token\r\n"), "{}", asked[0]);
    assert!(asked[0].ends_with("\r\n\r\n{\"ciphertext\":\"vault:v1:AbC+/=\"}"), "{}", asked[0]);
    assert!(asked[1].ends_with("{\"ciphertext\":\"vault:v2:xyz\"}"), "{}", asked[1]);
}

#[tokio::test]
async fn a_service_that_is_away_for_a_moment_is_asked_again() {
    let passing = [
        errors(503, "Vault is sealed"),
        errors(500, "internal error"),
        errors(429, "slow down"),
        Act::Truncate,
        Act::Nonsense,
        Act::Hang,
        Act::Close,
        Act::Answer(200, "{}".to_owned()),
        Act::Answer(200, "x".repeat(10_000)),
        Act::Answer(200, "{\"data\":{\"plaintext\":\"!\"}}".to_owned()),
    ];
    for act in passing {
        let (url, asked) = service(vec![act, plaintext(SECRET), plaintext(&[9; 32])]).await;
        let ring = transit(&url, Duration::from_secs(20)).keys().await.unwrap();
        assert!(ring.knows("k1") && ring.knows("k2"));
        assert_eq!(asked.lock().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_service_that_refuses_is_asked_once() {
    for (act, words) in [
        (errors(403, "permission denied"), "status 403: permission denied"),
        (errors(400, "invalid ciphertext:\u{7f} no prefix"), "status 400: invalid ciphertext:  no prefix"),
        (Act::Answer(404, "<html>".to_owned()), "status 404"),
        (Act::Answer(307, String::new()), "status 307"),
    ] {
        let (url, asked) = service(vec![act]).await;
        let error = transit(&url, Duration::from_secs(20)).keys().await.unwrap_err();
        assert!(matches!(&error, KeyError::Refused { id, .. } if id == "k1"), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_start_fails_when_the_service_stays_away() {
    for act in [errors(503, "Vault is sealed"), Act::Hang] {
        let (url, asked) = service(vec![act]).await;
        let started = std::time::Instant::now();
        let error = transit(&url, Duration::from_millis(700)).keys().await.unwrap_err();
        assert!(matches!(&error, KeyError::Unavailable { id, .. } if id == "k1"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(asked.lock().unwrap().len() > 1);
    }
    let short = service(vec![plaintext(&[1; 16])]).await.0;
    let error = transit(&short, Duration::from_secs(5)).keys().await.unwrap_err();
    assert!(matches!(error, KeyError::Short { length: 16, .. }), "{error}");
}

/// The chain is quiet afterwards, so no later checkpoint replaces one that was not taken.
#[tokio::test]
async fn a_checkpoint_that_was_not_taken_is_put_again() {
    let (url, asked) =
        service(vec![errors(507, "full"), errors(507, "full"), Act::Answer(201, String::new())]).await;
    let checkpoints = Checkpoints::start(vec![Destination::Http(HttpSink::new(outbound(), url, None))]);
    let head = |sequence: i64, mac: u8| Head { sequence, mac: [mac; 32] };
    let of = |chain: &str, head: Head| Checkpoint::make(&old_key(), chain, head, start());
    let offered = [
        of("a", head(1, 1)),
        of("control", head(7, 7)),
        of("a", head(2, 2)),
        // It went back: the one before is the evidence.
        of("control", head(7, 9)),
    ];
    for checkpoint in &offered {
        assert!(checkpoints.offer(checkpoint));
    }
    for _ in 0..3 {
        checkpoints.finish().await;
    }
    let asked = asked.lock().unwrap();
    let mut kept: Vec<&str> =
        asked[2..].iter().filter_map(|request| request.split("\r\n\r\n").nth(1)).collect();
    kept.sort_unstable();
    let mut expected = offered[1..].iter().map(Checkpoint::to_line).collect::<Vec<_>>();
    expected.sort_unstable();
    assert_eq!(kept, expected, "the later head of `a` replaces the earlier one");
}

#[tokio::test]
async fn a_checkpoint_is_posted_with_its_token() {
    let (url, asked) = service(vec![Act::Answer(201, String::new()), errors(507, "full"), Act::Close]).await;
    let token = Some(Zeroizing::new("s3cret".to_owned()));
    let sink = HttpSink::new(outbound(), url.join("checkpoints"), token);
    assert!(!format!("{sink:?}").contains("s3cret"));
    let checkpoint = Checkpoint::make(&old_key(), "a", Chain::new("a", old_key()).head(), start());
    sink.put(&checkpoint).await.unwrap();
    assert!(matches!(sink.put(&checkpoint).await.unwrap_err(), SinkError::Refused(507)));
    assert!(matches!(sink.put(&checkpoint).await.unwrap_err(), SinkError::Outbound(_)));
    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with("POST /checkpoints HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains("authorization: Bearer s3cret\r\n"), "{}", asked[0]);
    assert!(asked[0].ends_with(&checkpoint.to_line()), "{}", asked[0]);
}

#[test]
fn addresses() {
    for (text, expected) in [
        ("http://a", "http://a:80/"),
        ("https://a/x?y", "https://a:443/x?y"),
        ("http://[::1]:9/", "http://[::1]:9/"),
    ] {
        assert_eq!(format!("{:?}", Url::parse(text).unwrap()), expected);
    }
    for refused in ["", "/x", "a:80", "ftp://a/", "http://me:s3cret@a/", "http://"] {
        let error = Url::parse(refused).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn tls_trusts_who_is_trusted_and_nobody_else() {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                read_request(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
            }
        }
    });
    let url = Url::parse(&format!("https://localhost:{port}/")).unwrap();
    let patience = Duration::from_secs(10);
    let trusting = Outbound::new(vec![made.cert.der().clone()], patience, 100).unwrap();
    let answer = trusting.send(&url, Request::Get, &[]).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
    let stranger = Outbound::new(Vec::new(), patience, 100).unwrap();
    let error = stranger.send(&url, Request::Get, &[]).await.unwrap_err();
    assert!(matches!(error, OutboundError::Connect(_)), "{error}");
    let by_address = Url::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
    let error = trusting.send(&by_address, Request::Get, &[]).await.unwrap_err();
    assert!(matches!(error, OutboundError::Connect(_)), "{error}");
}
