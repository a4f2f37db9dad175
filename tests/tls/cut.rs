//! A client of HTTP/1.0 knows a response without a length to be whole by the end of its connection. Where it is not whole, the
//! connection ends with a reset, over plain TCP and over TLS.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::certificates::HOST;
use crate::support::{Console, Gate, Setup};

/// What is asked for, and whether its response ends in order.
const RESPONSES: [(&str, bool); 3] =
    [("/open/streamed", true), ("/open/cut", false), ("/open/endless", false)];

/// Short enough for the response that never ends.
const TOTAL: &str = "total_timeout_ms = 1000\n";

async fn ask(
    console: &Console,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    target: &str,
    version: &str,
) -> io::Result<String> {
    let request = format!("GET {target} HTTP/{version}\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    while !response.windows(6).any(|part| part == b"a part") {
        assert!(stream.read_buf(&mut response).await? > 0, "{target}: {}", response.escape_ascii());
    }
    console.release.add_permits(1);
    stream.read_to_end(&mut response).await?;
    Ok(String::from_utf8(response).unwrap())
}

async fn answer(gate: &Gate, is_tls: bool, target: &str, version: &str) -> io::Result<String> {
    if is_tls {
        ask(&gate.console, gate.client().shake_hands().await?, target, version).await
    } else {
        ask(&gate.console, TcpStream::connect(gate.address).await?, target, version).await
    }
}

#[tokio::test]
async fn a_cut_response_ends_with_a_reset_for_http_1_0() {
    for setup in [Setup { upstream: TOTAL, ..Setup::PLAIN }, Setup { upstream: TOTAL, ..Setup::TLS }] {
        let is_tls = setup.tls.is_some();
        let gate = Gate::start(&setup).await;
        for (target, is_whole) in RESPONSES {
            match answer(&gate, is_tls, target, "1.0").await {
                Ok(response) => {
                    assert!(is_whole, "TLS {is_tls}, {target} looks whole: {response}");
                    assert!(response.ends_with("\r\n\r\na part"), "TLS {is_tls}, {target}: {response}");
                }
                Err(error) => {
                    assert!(!is_whole, "TLS {is_tls}, {target}: {error}");
                    assert_eq!(
                        error.kind(),
                        io::ErrorKind::ConnectionReset,
                        "TLS {is_tls}, {target}: {error}"
                    );
                }
            }
        }
    }
}

/// Chunks tell it there, and a reset would take what the client has not read yet.
#[tokio::test]
async fn for_http_1_1_it_ends_without_its_last_chunk() {
    let gate = Gate::start(&Setup { upstream: TOTAL, ..Setup::PLAIN }).await;
    for (target, is_whole) in RESPONSES {
        let response = answer(&gate, false, target, "1.1").await.expect("an end in order");
        assert_eq!(response.ends_with("\r\n0\r\n\r\n"), is_whole, "{target}: {response}");
    }
}
