//! A certificate that is replaced under a running gate.

use bytes::Bytes;
use tokio_rustls::rustls::HandshakeKind;

use crate::support::client::certificate;
use crate::support::{Gate, Setup, until};

const REFUSED: &str = "gate_tls_reloads_total{outcome=\"refused\"}";
const ACTIVATED: &str = "gate_tls_reloads_total{outcome=\"activated\"}";
const EXPIRY: &str = "gate_tls_certificate_expiry_seconds";

#[tokio::test]
async fn open_connections_go_on_and_new_ones_see_the_new_certificate() {
    let gate = Gate::start(&Setup::TLS).await;
    let client = gate.client();
    let mut idle = client.connect().await;
    assert_eq!(idle.get("/open/page").await.status, 200);
    let mut busy = client.connect().await;
    let under_way = tokio::spawn(async move { busy.get("/open/held").await.status });
    until("a request is under way", async || gate.console.reached() == 2).await;

    let second = gate.authority.issue();
    gate.put_pair(&second.certificate, &second.key);
    // Every connection on the way there is served, whichever certificate it sees. `Connection` panics otherwise.
    until("a connection sees the new certificate", async || {
        let mut connection = client.connect().await;
        assert_eq!(connection.get("/open/page").await.status, 200);
        assert!([&gate.first.der, &second.der].contains(&&connection.certificate));
        connection.certificate == second.der
    })
    .await;

    assert_eq!(idle.get("/open/page").await.status, 200);
    assert_eq!(idle.certificate, gate.first.der);
    gate.console.release.add_permits(1);
    assert_eq!(under_way.await.unwrap(), 200);
    for _ in 0..10 {
        assert_eq!(client.connect().await.certificate, second.der);
    }
    assert_eq!(gate.metric(ACTIVATED).await, Some(1.0));
    assert_eq!(gate.metric(REFUSED).await, Some(0.0));
}

#[tokio::test]
async fn a_session_is_resumed_but_not_past_a_replaced_certificate() {
    let gate = Gate::start(&Setup::TLS).await;
    let client = gate.client();
    let handshake = async || {
        // What a session is resumed by comes with the first bytes after the handshake.
        let mut stream = client.shake_hands().await.unwrap();
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        let seen = certificate(&stream);
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let request = b"GET /open/page HTTP/1.1\r\nHost: console.test\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        (kind, seen)
    };
    assert_eq!(handshake().await.0, HandshakeKind::Full);
    assert_eq!(handshake().await.0, HandshakeKind::Resumed);
    let second = gate.authority.issue();
    gate.put_pair(&second.certificate, &second.key);
    until("the new pair runs", async || gate.metric(ACTIVATED).await == Some(1.0)).await;
    assert_eq!(handshake().await, (HandshakeKind::Full, second.der));
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_changes_nothing() {
    let gate = Gate::start(&Setup::TLS).await;
    let client = gate.client();
    let (next, other) = (gate.authority.issue(), gate.authority.issue());
    let expired = gate.authority.issue_until(chrono::Utc::now() - chrono::TimeDelta::days(1));
    let half = &next.certificate[..next.certificate.len() / 4];
    let table = [
        ("another key", next.certificate.as_str(), other.key.as_str()),
        ("an expired certificate", &expired.certificate, &expired.key),
        ("half of a file", half, &next.key),
        ("no key", &next.certificate, ""),
    ];
    for (count, (what, certificate, key)) in (1_u32..).zip(table) {
        gate.put_pair(certificate, key);
        until(what, async || gate.metric(REFUSED).await == Some(f64::from(count))).await;
        let mut connection = client.connect().await;
        assert_eq!(connection.certificate, gate.first.der, "{what}");
        assert_eq!(connection.get("/open/page").await.status, 200, "{what}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a time in this millennium is a small whole number")]
    let seconds = |time: chrono::DateTime<chrono::Utc>| Some(time.timestamp() as f64);
    assert_eq!(gate.metric(EXPIRY).await, seconds(gate.first.not_after));

    let good = gate.authority.issue_until(chrono::Utc::now() + chrono::TimeDelta::days(30));
    gate.put_pair(&good.certificate, &good.key);
    until("a sound pair", async || gate.metric(ACTIVATED).await == Some(1.0)).await;
    assert_eq!(client.connect().await.certificate, good.der);
    assert_eq!(gate.metric(EXPIRY).await, seconds(good.not_after));
    assert_eq!(gate.metric(REFUSED).await, Some(4.0));
    // A private key is in no log, whatever was wrong with it.
    for key in [&gate.first.key, &next.key, &other.key, &good.key] {
        assert!(!gate.log().contains(key.lines().nth(1).unwrap()));
    }
}

/// As Kubernetes mounts a secret: the files are links into a folder, whose name is a link that is moved.
#[tokio::test]
async fn a_swapped_link_is_noticed() {
    let gate = Gate::start(&Setup::TLS).await;
    let point_at = |name: &str| {
        let link = gate.file("data.new");
        std::os::unix::fs::symlink(name, &link).unwrap();
        std::fs::rename(link, gate.file("data")).unwrap();
    };
    let version = |name: &str, certificate: &str, key: &str| {
        std::fs::create_dir(gate.file(name)).unwrap();
        std::fs::write(gate.file(name).join("tls.crt"), certificate).unwrap();
        std::fs::write(gate.file(name).join("tls.key"), key).unwrap();
    };
    version("one", &gate.first.certificate, &gate.first.key);
    point_at("one");
    for name in ["tls.crt", "tls.key"] {
        let link = gate.file(&format!("{name}.new"));
        std::os::unix::fs::symlink(format!("data/{name}"), &link).unwrap();
        std::fs::rename(link, gate.file(name)).unwrap();
    }
    let second = gate.authority.issue();
    version("two", &second.certificate, &second.key);
    point_at("two");
    let client = gate.client();
    until("the other folder's pair", async || client.connect().await.certificate == second.der).await;
    assert_eq!(gate.metric(REFUSED).await, Some(0.0));
}

#[tokio::test]
async fn a_hangup_looks_at_the_certificate_too() {
    let gate = Gate::start(&Setup::TLS).await;
    assert!(!gate.log().contains("SIGHUP"));
    gate.signal("HUP");
    until("it is logged", async || gate.log().contains("SIGHUP: the TLS certificate is already active"))
        .await;
    let mut connection = gate.client().connect().await;
    let answer = connection.send("GET", "/open/page", &[], Bytes::new()).await;
    assert_eq!(answer.status, 200);
}

/// Clients would refuse it, and the gate would not start with it either.
#[tokio::test]
async fn a_gate_whose_certificate_has_expired_is_not_ready() {
    let gate = Gate::start(&Setup::TLS).await;
    assert_eq!(gate.readiness().await.1["certificate"], "valid");
    let short = gate.authority.issue_until(chrono::Utc::now() + chrono::TimeDelta::seconds(6));
    gate.put_pair(&short.certificate, &short.key);
    until("it runs", async || gate.metric(ACTIVATED).await == Some(1.0)).await;
    until("it has expired", async || {
        let (status, state) = gate.readiness().await;
        assert_eq!(status == 200, state["certificate"] == "valid", "{state}");
        state["certificate"] == "expired"
    })
    .await;
    let next = gate.authority.issue();
    gate.put_pair(&next.certificate, &next.key);
    until("it is ready again", async || gate.readiness().await.0 == 200).await;
}
