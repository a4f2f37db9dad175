//! The table of framings.

/// What is left of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It carries another request.
    Open,
    Closed,
}
use After::{Closed, Open};

/// The body of a request as it is upstream.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    None,
    Length(&'static str),
    /// Chunked in the canonical spelling, with this data.
    Chunks(&'static str),
    /// The body never ended: upstream sees a closed connection, before any last chunk. The head may not have
    /// been sent at all.
    Unfinished,
}

/// What is tested, what is sent (`@` is the number of the case), the statuses of the answers, what comes
/// upstream, and whether the connection is kept.
pub type Case = (&'static str, String, &'static [u16], &'static [(&'static str, Body)], After);

pub const FIELDS: &str = "Host: console.test\r\n";

fn post(fields: &str, rest: &str) -> String {
    format!("POST /open/@/a HTTP/1.1\r\n{FIELDS}{fields}\r\n{rest}")
}

fn get(fields: &str) -> String {
    format!("GET /open/@/a HTTP/1.1\r\n{FIELDS}{fields}\r\n")
}

fn chunked(rest: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", rest)
}

/// A request that is in no place to be one.
const SMUGGLED: &str = "GET /open/@/smuggled HTTP/1.1\r\nHost: console.test\r\n\r\n";
const NOTHING: &[(&str, Body)] = &[];

/// A case of which nothing comes but a 400.
fn refused(what: &'static str, sent: String) -> Case {
    (what, sent, REFUSED, NOTHING, Closed)
}
const REFUSED: &[u16] = &[400];

pub fn lengths() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        (
            "a length",
            post("Content-Length: 5\r\n", "hello"),
            &[200],
            &[("POST a", Body::Length("hello"))],
            Open,
        ),
        ("a length of 0", post("Content-Length: 0\r\n", ""), &[200], &[("POST a", Body::Length(""))], Open),
        ("no length, no body", post("", ""), &[200], &[("POST a", Body::None)], Open),
        (
            "what follows the length is a request of its own",
            post("Content-Length: 5\r\n", &format!("hello{}", SMUGGLED.replace("/open/", "/inside/"))),
            &[200, 302],
            &[("POST a", Body::Length("hello"))],
            Open,
        ),
        (
            "a request within a body is a body",
            post("Content-Length: 56\r\n", "GET /open/smuggled HTTP/1.1\r\nHost: console.test\r\n\r\n12345"),
            &[200],
            &[("POST a", Body::Length("GET /open/smuggled HTTP/1.1\r\nHost: console.test\r\n\r\n12345"))],
            Open,
        ),
        (
            "a small body that nobody wants is read",
            post("Content-Length: 5\r\n", "hello").replace("/open/", "/inside/"),
            &[302],
            NOTHING,
            Open,
        ),
        (
            "a body that never comes",
            post("Content-Length: 5\r\n", "hel"),
            &[408],
            &[("POST a", Body::Unfinished)],
            Closed,
        ),
        refused(
            "length and coding",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        refused(
            "coding and length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ),
        refused("two equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        refused("two lengths", post("Content-Length: 5\r\nContent-Length: 0\r\n", "hello")),
        refused("two lengths, cases differ", post("Content-Length: 0\r\ncontent-length: 5\r\n", "hello")),
        refused("white space before the colon", post("Content-Length : 5\r\n", "hello")),
        (
            "a length over the limit",
            post("Content-Length: 9999999999999999\r\n", "hello"),
            &[413],
            NOTHING,
            Closed,
        ),
    ];
    for length in [
        "",
        "05",
        "00",
        "+5",
        "-5",
        "-0",
        "5,5",
        "5, 5",
        "5 5",
        "5;",
        "5.0",
        "1e1",
        "0x5",
        "5_0",
        "five",
        "\"5\"",
        "99999999999999999999",
    ] {
        cases.push(refused(
            "an odd length",
            post(&format!("Content-Length: {length}\r\n"), &format!("hello{SMUGGLED}")),
        ));
    }
    for coding in [
        "Chunked",
        "CHUNKED",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "chunked;q=1",
        "\"chunked\"",
        "xchunked",
        "chunked,",
        ",chunked",
        "",
        "\x0bchunked",
        "chunked\x0b",
    ] {
        cases.push(refused(
            "an odd coding",
            post(&format!("Transfer-Encoding: {coding}\r\n"), &format!("0\r\n\r\n{SMUGGLED}")),
        ));
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
    ] {
        cases.push(refused("an odd field", post(fields, &format!("0\r\n\r\n{SMUGGLED}"))));
    }
    cases
}

/// The gate walks the chunks itself, by sizes and line ends alone, and what follows the last one is the next request,
/// decided by itself.
pub fn chunks() -> Vec<Case> {
    const HELLO: &[(&str, Body)] = &[("POST a", Body::Chunks("hello"))];
    const UNFINISHED: &[(&str, Body)] = &[("POST a", Body::Unfinished)];
    let whole = [
        ("one chunk", "5\r\nhello\r\n0\r\n\r\n"),
        ("two chunks", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ("leading zeros", "0005\r\nhello\r\n0\r\n\r\n"),
        ("zeros at the end", "5\r\nhello\r\n000\r\n\r\n"),
        // Extensions and trailers mean nothing to Console, and none of them reaches it.
        ("an extension", "5;ext=1\r\nhello\r\n0\r\n\r\n"),
        ("a quoted extension", "5;ext=\"a;b\"\r\nhello\r\n0;last\r\n\r\n"),
        ("a trailer", "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"),
        ("a trailer that frames", "5\r\nhello\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\n\r\n"),
        (
            "a trailer that routes",
            "5\r\nhello\r\n0\r\nHost: evil\r\nX_User: root\r\nRemote-User: root\r\n\r\n",
        ),
    ];
    let broken = [
        ("white space after the size", "5 \t\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF within an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("a last chunk without a size", "5\r\nhello\r\n\r\n\r\n"),
        ("a last chunk of nothing but an extension", "5\r\nhello\r\n;a\r\n\r\n"),
        ("bare LF everywhere", "5\nhello\n0\n\n"),
        ("bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
        ("bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
        ("bare CR after the size", "5\rhello\r\n0\r\n\r\n"),
        ("CR CR LF", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("no CRLF after the data", "5\r\nhello0\r\n\r\n"),
        ("more data than the size says", "3\r\nhello\r\n0\r\n\r\n"),
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a minus", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a space within the size", "0 5\r\nhello\r\n0\r\n\r\n"),
        ("an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("no hexadecimal", "g\r\nhello\r\n0\r\n\r\n"),
        ("a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a size that wraps around 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("the greatest size", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("a trailer with a bare LF", "5\r\nhello\r\n0\r\nX: 1\n\r\n"),
        ("a NUL for a size", "\0\r\nhello\r\n0\r\n\r\n"),
    ];
    let starved = [
        ("no last chunk", "5\r\nhello\r\n"),
        ("half a chunk", "5\r\nhel"),
        ("half a size", "5"),
        ("no blank line at the end", "5\r\nhello\r\n0\r\n"),
    ];
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(whole.map(|(what, rest)| (what, chunked(rest), &[200][..], HELLO, Open)));
    cases.extend(
        broken.map(|(what, rest)| (what, chunked(&format!("{rest}{SMUGGLED}")), REFUSED, UNFINISHED, Closed)),
    );
    cases.extend(starved.map(|(what, rest)| (what, chunked(rest), &[408][..], UNFINISHED, Closed)));
    cases.push((
        "behind the last chunk",
        chunked(&format!("5\r\nhello\r\n0\r\n\r\n{SMUGGLED}")),
        &[200, 200],
        &[("POST a", Body::Chunks("hello")), ("GET smuggled", Body::None)],
        Open,
    ));
    cases.push(("a size over the limit", chunked("5000\r\nhello"), &[408], UNFINISHED, Closed));
    cases.push(("an empty body", chunked("0\r\n\r\n"), &[200], &[("POST a", Body::Chunks(""))], Open));
    cases
}

pub fn heads() -> Vec<Case> {
    let plain: &[(&str, Body)] = &[("GET a", Body::None)];
    let mut cases: Vec<Case> = vec![
        ("nothing odd", get(""), &[200], plain, Open),
        ("close", get("Connection: close\r\n"), &[200], plain, Closed),
        ("keep-alive and close", get("Connection: keep-alive, close\r\n"), &[200], plain, Closed),
        ("HTTP/1.0", get("").replace("HTTP/1.1", "HTTP/1.0"), &[200], plain, Closed),
        (
            "HTTP/1.0, kept",
            get("Connection: keep-alive\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            &[200],
            plain,
            Open,
        ),
        refused("HTTP/1.0 with a coding", chunked("0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0")),
        refused("a blank line before the request line", format!("\r\n{}", get(""))),
        refused("a bare LF before the request line", format!("\n{}", get(""))),
        ("HEAD", get("").replace("GET", "HEAD"), &[200], &[("HEAD a", Body::None)], Open),
        refused("HTTP/0.9", "GET /open/@/a\r\n\r\n".to_owned()),
        ("HTTP/1.2", get("").replace("HTTP/1.1", "HTTP/1.2"), &[505], NOTHING, Closed),
        refused("http/1.1", get("").replace("HTTP/1.1", "http/1.1")),
        refused("an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (
            "a body on GET",
            get("Content-Length: 5\r\n") + "hello",
            &[200],
            &[("GET a", Body::Length("hello"))],
            Open,
        ),
        (
            "chunks on GET",
            get("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
            &[200],
            &[("GET a", Body::Chunks("hello"))],
            Open,
        ),
        (
            "a body on DELETE",
            (get("Content-Length: 5\r\n") + "hello").replace("GET", "DELETE"),
            &[200],
            &[("DELETE a", Body::Length("hello"))],
            Open,
        ),
        // Flask answers 405 to a method that no rule has; the gate does so without saying which paths there are.
        (
            "CONNECT",
            format!("CONNECT console.test:443 HTTP/1.1\r\n{FIELDS}\r\n{SMUGGLED}"),
            &[405],
            NOTHING,
            Closed,
        ),
        ("TRACE", get("").replace("GET", "TRACE"), &[405], NOTHING, Closed),
        ("an unknown method", get("").replace("GET", "PROPFIND"), &[405], NOTHING, Closed),
        refused("a method in small letters", get("").replace("GET", "get")),
        ("absolute form", get("").replace("/open/@", "http://console.test/open/@"), &[200], plain, Open),
        refused("absolute form of another host", get("").replace("/open/@", "http://evil.test/open/@")),
        refused(
            "absolute form against Host",
            get("")
                .replace("/open/@", "http://console.test/open/@")
                .replace("Host: console.test", "Host: evil.test"),
        ),
        refused("authority form", get("").replace("/open/@/a", "console.test:80")),
        refused("no host", get("").replace(FIELDS, "")),
        refused("two hosts", get(FIELDS)),
        refused("an obs-fold", get("X-A: 1\r\n 2\r\n")),
        refused("an obs-fold by a tab", get("X-A: 1\r\n\t2\r\n")),
        refused("a fold of the first field", get("").replace("Host", " Host")),
        refused("bare LF", get("").replace("\r\n", "\n")),
        refused("one bare LF", get("X-A: 1\nX-B: 2\r\n")),
        refused("a bare LF that ends the head", get("").replace("\r\n\r\n", "\r\n\n") + SMUGGLED),
        refused("a bare CR", get("X-A: 1\rX-B: 2\r\n")),
        refused("a NUL in a value", get("X-A: 1\0\r\n")),
        refused("a NUL in a name", get("X-\0A: 1\r\n")),
        refused("no colon", get("X-A\r\n")),
        refused("an empty name", get(": 1\r\n")),
        refused("tabs in the request line", get("").replacen(' ', "\t", 2)),
        refused("a space before the method", format!(" {}", get(""))),
        refused("two spaces", get("").replacen(' ', "  ", 1)),
        // What Java and curl offer may be ignored (RFC 9110 7.8).
        (
            "an upgrade to h2c",
            get(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            ),
            &[200],
            plain,
            Open,
        ),
        (
            "an upgrade to h2c with a body",
            post(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 5\r\n",
                "hello",
            ),
            &[200],
            &[("POST a", Body::Length("hello"))],
            Open,
        ),
        refused("an upgrade to h2c or WebSocket", get("Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n")),
        // Perl's LWP.
        ("TE and close", get("Connection: TE, close\r\nTE: deflate,gzip;q=0.3\r\n"), &[200], plain, Closed),
        ("TE", get("Connection: TE\r\nTE: trailers\r\n"), &[200], plain, Open),
        refused("an upgrade without Connection", get("Upgrade: websocket\r\n")),
        refused(
            "a WebSocket where no row allows it, and a request in its wake",
            get(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ) + SMUGGLED,
        ),
        ("a head that never ends", format!("GET /open/@/a HTTP/1.1\r\n{FIELDS}"), &[408], NOTHING, Closed),
        ("Expect on no body", get("Expect: 100-continue\r\n"), &[200], plain, Open),
        (
            "Expect and a body at once",
            post("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"),
            &[200],
            &[("POST a", Body::Length("hello"))],
            Open,
        ),
    ];
    for expectation in ["", "100", "200-ok", "100-continue, x", "100-continue;q=1"] {
        cases.push(refused(
            "an odd Expect",
            post(&format!("Content-Length: 5\r\nExpect: {expectation}\r\n"), "hello"),
        ));
    }
    for name in [
        "Cookie",
        "X-Console-Gate-Assertion",
        "Content-Length",
        "Transfer-Encoding",
        "close, X-Request-Id",
        "TE, Cookie",
    ] {
        cases.push(refused("a named field", get(&format!("Connection: {name}\r\n"))));
    }
    cases
}
