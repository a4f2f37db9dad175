//! Who may shake hands, and who is sent away how.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{AlertDescription, Error, ProtocolVersion, SupportedProtocolVersion};

use crate::support::{Client, Gate, PATIENCE, Setup, until};

/// What a client met instead of a handshake.
fn tls_error(error: &std::io::Error) -> &Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_from_the_version_that_the_settings_name() {
    let refused = None;
    type Row = (&'static SupportedProtocolVersion, Option<ProtocolVersion>);
    let table: [(&'static str, [Row; 2]); 3] = [
        ("", [(&TLS12, Some(ProtocolVersion::TLSv1_2)), (&TLS13, Some(ProtocolVersion::TLSv1_3))]),
        (
            "min_version = \"1.2\"",
            [(&TLS12, Some(ProtocolVersion::TLSv1_2)), (&TLS13, Some(ProtocolVersion::TLSv1_3))],
        ),
        ("min_version = \"1.3\"", [(&TLS12, refused), (&TLS13, Some(ProtocolVersion::TLSv1_3))]),
    ];
    for (setting, rows) in table {
        let gate = Gate::start(&Setup::tls(setting)).await;
        for (offered, expected) in rows {
            let client = Client::speaking(&gate.authority, gate.address, &[offered], &[]);
            match (client.shake_hands().await, expected) {
                (Ok(stream), Some(_)) => assert_eq!(stream.get_ref().1.protocol_version(), expected),
                (Err(error), None) => {
                    assert_eq!(*tls_error(&error), Error::AlertReceived(AlertDescription::ProtocolVersion));
                    assert_eq!(
                        gate.metric("gate_tls_handshakes_total{outcome=\"version\"}").await,
                        Some(1.0)
                    );
                }
                (outcome, expected) => panic!("{setting} {offered:?}: {outcome:?} for {expected:?}"),
            }
        }
    }
}

/// A ClientHello whose only version is 3.2, which is TLS 1.1 (RFC 4346 7.4.1.2), with suites that it had.
fn hello_of_tls_1_1(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend([0, 4, 0xc0, 0x14, 0x00, 0x2f]); // ECDHE_RSA_AES_256_CBC_SHA, RSA_AES_128_CBC_SHA
    body.extend([1, 0]); // no compression
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn tls_1_1_is_refused_by_an_alert() {
    const HANDSHAKE_FAILURE: u8 = 40;
    const PROTOCOL_VERSION: u8 = 70;
    // supported_groups with secp256r1 and signature_algorithms with rsa_pkcs1_sha256, as a client sends them
    // that supports more and is configured for 1.1.
    let restricted = [0, 16, 0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 1];
    let table = [(&[][..], HANDSHAKE_FAILURE), (&restricted[..], PROTOCOL_VERSION)];
    let gate = Gate::start(&Setup::TLS).await;
    for (count, (extensions, description)) in (1_u32..).zip(table) {
        let mut stream = TcpStream::connect(gate.address).await.unwrap();
        stream.write_all(&hello_of_tls_1_1(extensions)).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        // One alert record of two bytes, fatal (RFC 5246 7.2).
        assert_eq!((answer[0], &answer[3..]), (21, &[0, 2, 2, description][..]), "{extensions:?}");
        let refused = gate.metric("gate_tls_handshakes_total{outcome=\"version\"}").await;
        assert_eq!(refused, Some(f64::from(count)), "{extensions:?}");
    }
}

#[tokio::test]
async fn http2_is_agreed_on_only_where_it_is_on_and_other_protocols_never() {
    const NONE: &str = "";
    let table = [
        ("", &[][..], Ok(NONE)),
        ("", &["http/1.1"][..], Ok("http/1.1")),
        ("", &["h2", "http/1.1"][..], Ok("http/1.1")),
        ("", &["h2"][..], Err(AlertDescription::NoApplicationProtocol)),
        ("", &["ftp"][..], Err(AlertDescription::NoApplicationProtocol)),
        ("http2 = true", &["h2", "http/1.1"][..], Ok("h2")),
        ("http2 = true", &["h2"][..], Ok("h2")),
        ("http2 = true", &["http/1.1"][..], Ok("http/1.1")),
        ("http2 = true", &[][..], Ok(NONE)),
    ];
    let (without, with) = (Gate::start(&Setup::TLS).await, Gate::start(&Setup::tls("http2 = true")).await);
    for (setting, offered, expected) in table {
        let gate = if setting.is_empty() { &without } else { &with };
        let client = Client::speaking(&gate.authority, gate.address, &[&TLS12, &TLS13], offered);
        match (client.shake_hands().await, expected) {
            (Ok(stream), Ok(expected)) => {
                let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
                assert_eq!(agreed, expected.as_bytes(), "{setting} {offered:?}");
            }
            (Err(error), Err(expected)) => assert_eq!(*tls_error(&error), Error::AlertReceived(expected)),
            (outcome, expected) => panic!("{setting} {offered:?}: {outcome:?} for {expected:?}"),
        }
    }
}

/// More than is read at once: a connection that is closed with bytes unread is reset, and the client would see that
/// instead of the alert.
#[tokio::test]
async fn plain_http_is_sent_away_by_an_alert_and_a_clean_close() {
    let gate = Gate::start(&Setup::TLS).await;
    let padding = "x".repeat(200_000);
    let request = format!("GET /open/page HTTP/1.1\r\nHost: console.test\r\nX-Padding: {padding}\r\n\r\n");
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!((answer.first(), answer.len()), (Some(&21), 7), "{answer:?}");
    assert_eq!(gate.console.reached(), 0);
    assert_eq!(gate.metric("gate_tls_handshakes_total{outcome=\"not_tls\"}").await, Some(1.0));
    assert_eq!(gate.client().connect().await.get("/open/page").await.status, 200);
}

/// A byte now and then keeps a limit that is per read from ever ending; this one is for the whole handshake.
#[tokio::test]
async fn a_slow_handshake_is_closed_in_time() {
    let gate = Gate::start(&Setup::tls("handshake_timeout_ms = 1000")).await;
    let mut slow = TcpStream::connect(gate.address).await.unwrap();
    let begun = Instant::now();
    // The head of a record of 16 kB, which never comes to its end.
    let mut next: &[u8] = &[22, 3, 1, 0x40, 0];
    let mut answer = [0_u8; 16];
    loop {
        assert!(begun.elapsed() < PATIENCE, "it was never closed");
        let _ = slow.write_all(next).await;
        next = &[1];
        match timeout(Duration::from_millis(100), slow.read(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => panic!("an answer: {:?}", &answer[..read]),
            Err(_still_open) => {}
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "closed after {:?}", begun.elapsed());
    let timeouts = async || gate.metric("gate_tls_handshakes_total{outcome=\"timeout\"}").await;
    until("it is counted", async || timeouts().await == Some(1.0)).await;
    assert_eq!(gate.client().connect().await.get("/open/page").await.status, 200);
}

/// Of three that say nothing, one is turned away: which one is up to the gate's threads.
#[tokio::test]
async fn a_handshake_takes_a_place_among_the_connections() {
    let patient = Setup { firewall: "max_connections = 2", ..Setup::tls("handshake_timeout_ms = 60000") };
    let gate = Gate::start(&patient).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(gate.address).await.unwrap());
    }
    let turned_away = async || gate.metric("gate_connections_refused_total").await;
    until("one is turned away", async || turned_away().await == Some(1.0)).await;
    assert!(gate.client().shake_hands().await.is_err());
    assert_eq!(turned_away().await, Some(2.0));
    drop(silent);
    until("a place is free again", async || gate.client().shake_hands().await.is_ok()).await;
}
