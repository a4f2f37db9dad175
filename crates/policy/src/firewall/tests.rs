//! The rules, one table each, through the front door.

use super::*;
use crate::method::Method;

fn policy() -> Policy {
    Policy {
        allowed_hosts: vec!["console.example".to_owned(), "h:8080".to_owned(), "h".to_owned()],
        ..Policy::default()
    }
}

/// A GET of `/` with these further lines, each ended by CR LF.
fn get(lines: &str) -> Result<Request, Refusal> {
    inspect(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes(), &policy())
}

fn post(lines: &str) -> Result<Request, Refusal> {
    inspect(format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes(), &policy())
}

fn written(request: &Request) -> String {
    let mut out = Vec::new();
    request.write_head(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_browser_request_passes() {
    let head = "GET /console/customers/?page=2 HTTP/1.1\r\n\
                Host: Console.Example\r\n\
                User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
                Accept: text/html,*/*;q=0.8\r\n\
                Cookie: theme=dark; session=abc.def; x=\"y\"\r\n\
                X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\
                X-Forwarded-Proto: https\r\n\
                X-Forwarded-For:9.9.9.9\r\n\
                X-Request-Id: forged\r\n\
                Connection: keep-alive\r\n\
                \r\n";
    let request = inspect(head.as_bytes(), &policy()).unwrap();
    assert_eq!(request.method(), Method::Get);
    assert_eq!(request.version(), Version::Http11);
    assert_eq!(request.host(), "console.example");
    assert_eq!(request.target().path(), "/console/customers/");
    assert_eq!(request.target().query(), Some("page=2"));
    assert_eq!(request.session_cookie(), Some("abc.def"));
    assert_eq!(request.framing(), Framing::None);
    assert_eq!(request.forwarded_for(), ["1.2.3.4", "5.6.7.8", "9.9.9.9"]);
    assert_eq!(request.forwarded_proto(), Some("https"));
    assert!(request.keep_alive() && !request.upgrade() && !request.expect_continue());
    assert_eq!(
        written(&request),
        "GET /console/customers/?page=2 HTTP/1.1\r\n\
         host: console.example\r\n\
         user-agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
         accept: text/html,*/*;q=0.8\r\n\
         cookie: theme=dark; session=abc.def; x=\"y\"\r\n\
         \r\n"
    );
}

#[test]
fn canonical_heads() {
    // head, what is written
    let cases = [
        (
            "POST http://h:8080/a?b HTTP/1.1\r\nhOST:h:8080\r\nContent-Length:  5 \r\nExpect: 100-Continue\r\n\r\n",
            "POST /a?b HTTP/1.1\r\nhost: h:8080\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
        ),
        (
            "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: Close, keep-alive\r\n\r\n",
            "PUT /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        ),
        (
            "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\r\n",
            "GET / HTTP/1.0\r\nhost: h\r\nconnection: keep-alive\r\n\r\n",
        ),
        ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", "GET / HTTP/1.0\r\nhost: h\r\nconnection: close\r\n\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\nX-B:\r\nConnection: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: 2\r\nx-b: \r\n\r\n",
        ),
    ];
    for (head, canonical) in cases {
        let request =
            inspect(head.as_bytes(), &policy()).unwrap_or_else(|refusal| panic!("{head}: {refusal:?}"));
        assert_eq!(written(&request), canonical);
        assert_eq!(inspect(canonical.as_bytes(), &policy()), Ok(request));
    }
}

#[test]
fn lines_and_their_ends() {
    let cases: &[(&str, Refusal)] = &[
        ("", Refusal::MalformedHead),
        ("GET / HTTP/1.1\r\n", Refusal::MalformedHead),
        ("GET / HTTP/1.1\r\nHost: h\r\n", Refusal::MalformedHead),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\nx", Refusal::MalformedHead),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n\r\n", Refusal::MalformedHead),
        ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::MalformedHead),
        ("GET / HTTP/1.1\nHost: h\n\n", Refusal::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", Refusal::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", Refusal::BareLineFeed),
        ("GET / HTTP/1.1\r\nX: a\nY: b\r\nHost: h\r\n\r\n", Refusal::BareLineFeed),
        ("GET / HTTP/1.1\r\nX: a\rY: b\r\nHost: h\r\n\r\n", Refusal::BareCarriageReturn),
        ("GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", Refusal::BareCarriageReturn),
        ("GET /a\rb HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::BareCarriageReturn),
        ("GET / HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n", Refusal::FoldedField),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", Refusal::FoldedField),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n", Refusal::FoldedField),
        ("GET / HTTP/1.1\r\nHost: h\r\n \r\n\r\n", Refusal::FoldedField),
        ("GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost: h\r\ncontent_length: 5\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", Refusal::FieldValue),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetCharacter),
        ("GET /x HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetCharacter),
        ("GET  HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
        ("GET //h/a HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::EmptySegment),
    ];
    for &(head, refusal) in cases {
        assert_eq!(inspect(head.as_bytes(), &policy()), Err(refusal), "{head:?}");
    }
}

#[test]
fn hosts_and_absolute_targets() {
    let inspect_host = |target: &str, host: &str| {
        inspect(format!("GET {target} HTTP/1.1\r\n{host}\r\n").as_bytes(), &policy())
            .map(|request| written(&request))
    };
    let accepted = Ok("GET /a HTTP/1.1\r\nhost: h\r\n\r\n".to_owned());
    assert_eq!(inspect_host("http://h/a", "Host: h\r\n"), accepted);
    assert_eq!(inspect_host("HTTPS://H/a", "Host: h\r\n"), accepted);
    let cases = [
        ("/a", "", Refusal::HostMissing),
        ("/a", "Host:\r\n", Refusal::HostMissing),
        ("/a", "Host: h\r\nHost: h\r\n", Refusal::RepeatedField),
        ("/a", "Host: evil.test\r\n", Refusal::HostNotAllowed),
        ("/a", "Host: h, h\r\n", Refusal::HostNotAllowed),
        ("http://h/a", "", Refusal::HostMissing),
        ("http://evil.test/a", "Host: h\r\n", Refusal::HostMismatch),
        ("http://h:80/a", "Host: h\r\n", Refusal::HostMismatch),
        ("http://u@h/a", "Host: h\r\n", Refusal::HostMismatch),
        ("http://u@h/a", "Host: u@h\r\n", Refusal::HostNotAllowed),
        ("http://h/a", "Host: evil.test\r\n", Refusal::HostNotAllowed),
        ("http://h//a", "Host: h\r\n", Refusal::EmptySegment),
    ];
    for (target, host, refusal) in cases {
        assert_eq!(inspect_host(target, host), Err(refusal), "{target} {host}");
    }
    // Without configured hosts nothing vouches for the authority of an absolute form.
    let open = Policy::default();
    assert_eq!(inspect(b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n", &open), Err(Refusal::TargetForm));
    assert!(inspect(b"GET /a HTTP/1.1\r\nHost: any.test:81\r\n\r\n", &open).is_ok());
    assert_eq!(inspect(b"GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", &open), Err(Refusal::HostMalformed));
    // HTTP/1.0 is no way around Host.
    assert_eq!(inspect(b"GET /a HTTP/1.0\r\n\r\n", &open), Err(Refusal::HostMissing));
}

#[test]
fn fields_that_may_occur_once() {
    for field in [
        "Authorization: Bearer x",
        "Content-Type: text/plain",
        "Origin: null",
        "Expect: 100-continue",
        "Upgrade: websocket",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Sec-WebSocket-Version: 13",
        "sec-websocket-key: x",
        "host: h",
    ] {
        assert_eq!(post(&format!("{field}\r\n{field}\r\n")), Err(Refusal::RepeatedField), "{field}");
        let other_case = field.to_ascii_uppercase();
        assert_eq!(
            post(&format!("{field}\r\nX: y\r\n{other_case}\r\n")),
            Err(Refusal::RepeatedField),
            "{field}"
        );
    }
}

#[test]
fn framing_connection_expectation_and_cookies() {
    let cases = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Refusal::LengthAndCoding),
        ("Content-Length: 05\r\n", Refusal::ContentLength),
        ("Content-Length: 5,5\r\n", Refusal::ContentLength),
        ("Content-Length: 9999999999\r\n", Refusal::BodyTooLarge),
        ("Transfer-Encoding: gzip, chunked\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding: Chunked\r\n", Refusal::TransferEncoding),
        ("Connection: Cookie\r\n", Refusal::ConnectionOption),
        ("Connection: keep-alive\r\nConnection: X-User\r\n", Refusal::ConnectionOption),
        ("Expect: 200-ok\r\n", Refusal::Expectation),
        ("Upgrade: h2c, websocket\r\nConnection: upgrade\r\n", Refusal::Upgrade),
    ];
    for (lines, refusal) in cases {
        assert_eq!(post(lines), Err(refusal), "{lines}");
    }
    let on_http10 = b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(inspect(on_http10, &policy()), Err(Refusal::TransferEncoding));
}

#[test]
fn a_websocket_handshake_is_whole_or_refused() {
    let whole = [
        "Connection: keep-alive, Upgrade\r\n",
        "Upgrade: WebSocket\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ];
    let request = get(&whole.concat()).unwrap();
    assert!(request.upgrade());
    assert_eq!(
        written(&request),
        "GET / HTTP/1.1\r\nhost: h\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    assert_eq!(post(&whole.concat()), Err(Refusal::Upgrade));
    for missing in [0, 2, 3] {
        let mut lines = whole;
        lines[missing] = "";
        assert_eq!(get(&lines.concat()), Err(Refusal::Upgrade), "without {}", whole[missing]);
    }
    for further in ["Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n"] {
        assert_eq!(get(&format!("{}{further}", whole.concat())), Err(Refusal::Upgrade), "{further}");
    }
    // Without Upgrade the rest is ordinary fields.
    let plain = get(&[whole[0], whole[2], whole[3]].concat()).unwrap();
    assert!(!plain.upgrade() && !written(&plain).contains("upgrade"));
}

#[test]
fn sizes() {
    let limits =
        Limits { target_bytes: 10, head_bytes: 120, header_count: 3, header_bytes: 40, body_bytes: 5 };
    let policy = Policy { limits, ..Policy::default() };
    let cases = [
        ("GET /123456789 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), None),
        ("GET /1234567890 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), Some(Refusal::TargetTooLong)),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n".to_owned(), None),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nX-Real-IP: 3\r\n\r\n".to_owned(),
            Some(Refusal::TooManyFields),
        ),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(38)), None),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(39)), Some(Refusal::FieldTooLarge)),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(120)), Some(Refusal::HeadTooLarge)),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n".to_owned(), None),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n".to_owned(), Some(Refusal::BodyTooLarge)),
    ];
    for (head, refusal) in cases {
        assert_eq!(inspect(head.as_bytes(), &policy).err(), refusal, "{head}");
    }
    assert_eq!(Refusal::TargetTooLong.status(), 414);
    assert_eq!(Refusal::FieldTooLarge.status(), 431);
    assert_eq!(Refusal::BodyTooLarge.status(), 413);
}

#[test]
fn offers_of_other_protocols_are_ignored() {
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: TE\r\nTE: deflate,gzip;q=0.3\r\n",
        "Upgrade: h2c\r\n",
        "Upgrade: TLS/1.0\r\nConnection: upgrade\r\n",
    ] {
        let request = get(lines).unwrap();
        assert!(!request.upgrade());
        assert_eq!(written(&request), "GET / HTTP/1.1\r\nhost: h\r\n\r\n", "{lines}");
        // Java sends it with a body too; what follows the head is that body, whatever was offered.
        let request = post(&format!("{lines}Content-Length: 5\r\n")).unwrap();
        assert_eq!(request.framing(), Framing::Length(5));
    }
    let closing = get("Connection: TE, close\r\nTE: trailers\r\n").unwrap();
    assert_eq!(written(&closing), "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
}

#[test]
fn fields_that_fold_into_others_are_dropped() {
    let request = get("SCRIPT_NAME: /x\r\nX.Trace: 1\r\nX-A: 2\r\nx_forwarded-for: 3\r\n").unwrap();
    assert_eq!(request.dropped_fields(), ["script_name", "x.trace", "x_forwarded-for"]);
    assert_eq!(written(&request), "GET / HTTP/1.1\r\nhost: h\r\nx-a: 2\r\n\r\n");
    assert_eq!(get("X_A: a\0b\r\n"), Err(Refusal::FieldValue));
    assert_eq!(post("Content_Length: 5\r\n"), Err(Refusal::FieldName));
    let limits = Limits { header_count: 2, header_bytes: 8, ..Limits::default() };
    let policy = Policy { limits, ..policy() };
    let limited = |lines: &str| {
        inspect(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes(), &policy).map(|_| ())
    };
    assert_eq!(limited("X_A: 1\r\n"), Ok(()));
    assert_eq!(limited("X_A: 1\r\nX_B: 1\r\n"), Err(Refusal::TooManyFields));
    assert_eq!(limited("X_A: 12345\r\n"), Err(Refusal::FieldTooLarge));
}

#[test]
fn of_several_session_cookies_none_goes_on_before_one_is_settled() {
    let lines = "Cookie: a=b; session=x\r\nX-A: 1\r\nCookie: session=y; c=d\r\n";
    let request = get(lines).unwrap();
    assert_eq!(request.unsettled_sessions(), ["x", "y"]);
    assert_eq!((request.session_cookie(), request.rewrites_cookie()), (None, true));
    assert_eq!(written(&request), "GET / HTTP/1.1\r\nhost: h\r\nx-a: 1\r\ncookie: a=b; c=d\r\n\r\n");
    request.settle_session(Some(1));
    assert_eq!((request.session_cookie(), request.unsettled_sessions().len()), (Some("y"), 0));
    assert_eq!(
        written(&request),
        "GET / HTTP/1.1\r\nhost: h\r\nx-a: 1\r\ncookie: session=y; a=b; c=d\r\n\r\n"
    );
    // The first word is the last.
    request.settle_session(Some(0));
    assert_eq!(request.session_cookie(), Some("y"));

    let nobody = get(lines).unwrap();
    nobody.settle_session(None);
    assert_eq!((nobody.session_cookie(), nobody.fields().value("cookie")), (None, Some(&b"a=b; c=d"[..])));
    let beyond = get(lines).unwrap();
    beyond.settle_session(Some(2));
    assert_eq!((beyond.session_cookie(), beyond.fields().value("cookie")), (None, Some(&b"a=b; c=d"[..])));

    // One that is spelled oddly counts at once, and can still be taken away.
    let odd = get("Cookie: a=\"; session=x; b=\"\r\n").unwrap();
    assert_eq!((odd.session_cookie(), odd.unsettled_sessions().len()), (Some("x"), 0));
    assert_eq!(odd.fields().value("cookie"), Some(&b"session=x; a=\"; b=\""[..]));
    odd.settle_session(None);
    assert_eq!((odd.session_cookie(), odd.fields().value("cookie")), (None, Some(&b"a=\"; b=\""[..])));

    // One plain session cannot be taken away; two fields, of which WSGI would make nonsense, are written anew.
    let plain = get("Cookie: a=b; session=x\r\n").unwrap();
    plain.settle_session(None);
    assert_eq!(plain.fields().value("cookie"), Some(&b"a=b; session=x"[..]));
    assert_eq!((plain.session_cookie(), plain.rewrites_cookie()), (Some("x"), false));
    let joined = get("Cookie: a=b\r\nCookie: session=x\r\n").unwrap();
    assert_eq!(joined.fields().value("cookie"), Some(&b"session=x; a=b"[..]));
    assert_eq!((joined.session_cookie(), joined.rewrites_cookie()), (Some("x"), true));
    assert_eq!(get("Cookie: session=x y\r\n").unwrap().fields().value("cookie"), None);
}

#[test]
fn a_field_that_a_deployment_strips_has_no_sessions_to_settle() {
    let policy = Policy { strip: StripList::with(["Cookie"]), ..policy() };
    let head = b"GET / HTTP/1.1\r\nHost: h\r\nCookie: session=x; session=y\r\n\r\n";
    let request = inspect(head, &policy).unwrap();
    assert_eq!((request.fields().value("cookie"), request.rewrites_cookie()), (None, false));
}

mod http2 {
    use super::*;

    fn inspect_http2(
        start: Http2Start<'static>,
        fields: &'static [(&'static str, &'static str)],
    ) -> Result<Request, Refusal> {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        inspect_fields(&start, fields, &policy())
    }

    const GET: Http2Start<'static> =
        Http2Start { method: b"GET", path: b"/a?b", authority: Some(b"H"), ends_stream: true };
    const POST: Http2Start<'static> = Http2Start { method: b"POST", ends_stream: false, ..GET };

    #[test]
    fn it_becomes_http1() {
        let fields = &[("cookie", "a=b"), ("te", "trailers"), ("accept", "*/*"), ("cookie", "session=x")];
        let request = inspect_http2(GET, fields).unwrap();
        assert_eq!((request.version(), request.session_cookie()), (Version::Http2, Some("x")));
        assert_eq!(
            written(&request),
            "GET /a?b HTTP/1.1\r\nhost: h\r\naccept: */*\r\ncookie: a=b; session=x\r\n\r\n"
        );
        let request = inspect_http2(POST, &[]).unwrap();
        assert_eq!(written(&request), "POST /a?b HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
        let request = inspect_http2(POST, &[("content-length", "5")]).unwrap();
        assert_eq!(request.framing(), Framing::Length(5));
        let start = Http2Start { authority: None, ..GET };
        assert!(inspect_http2(start, &[("host", "h")]).is_ok());
        let request =
            inspect_http2(GET, &[("x_a", "b"), ("cookie", "session=x"), ("cookie", "session=y")]).unwrap();
        assert_eq!(
            (request.dropped_fields(), request.unsettled_sessions()),
            (&["x_a".into()][..], &["x".into(), "y".into()][..])
        );
    }

    #[test]
    fn it_is_held_to_the_same_rules() {
        let path = |path: &'static [u8]| Http2Start { path, ..GET };
        type Case = (Http2Start<'static>, &'static [(&'static str, &'static str)], Refusal);
        let cases: &[Case] = &[
            (Http2Start { method: b"CONNECT", ..GET }, &[], Refusal::UnknownMethod),
            (Http2Start { authority: None, ..GET }, &[], Refusal::HostMissing),
            (Http2Start { authority: Some(b"evil"), ..GET }, &[], Refusal::HostNotAllowed),
            (path(b"http://h/a"), &[], Refusal::TargetForm),
            (path(b""), &[], Refusal::TargetForm),
            (path(b"/a\r\nX: y"), &[], Refusal::TargetCharacter),
            (path(b"/a HTTP/1.1"), &[], Refusal::TargetCharacter),
            (path(b"/a#b"), &[], Refusal::TargetCharacter),
            (path(b"/a?b#c"), &[], Refusal::TargetCharacter),
            (path(b"//a"), &[], Refusal::EmptySegment),
            (GET, &[("host", "other")], Refusal::HostMismatch),
            (GET, &[("connection", "close")], Refusal::ConnectionFieldOnHttp2),
            (GET, &[("transfer-encoding", "chunked")], Refusal::ConnectionFieldOnHttp2),
            (GET, &[("upgrade", "websocket")], Refusal::ConnectionFieldOnHttp2),
            (GET, &[("te", "gzip")], Refusal::ConnectionFieldOnHttp2),
            (GET, &[("X-A", "b")], Refusal::FieldName),
            (GET, &[(":path", "/b")], Refusal::FieldName),
            (GET, &[("x-a", "b\r\nx: y")], Refusal::FieldValue),
            (GET, &[("x-a", " b")], Refusal::FieldValue),
            (GET, &[("x-a", "b ")], Refusal::FieldValue),
            (GET, &[("content-length", "5")], Refusal::ContentLength),
            (POST, &[("content-length", "5"), ("content-length", "5")], Refusal::RepeatedField),
        ];
        for (start, fields, refusal) in cases {
            assert_eq!(inspect_http2(*start, fields), Err(*refusal), "{start:?} {fields:?}");
        }
    }

    #[test]
    fn it_is_held_to_the_same_limits() {
        let limits = Limits { target_bytes: 10, head_bytes: 40, ..Limits::default() };
        let policy = Policy { limits, ..Policy::default() };
        let inspect = |path, value: &str| {
            let start = Http2Start { path, ..GET };
            inspect_fields(&start, [(&b"x-a"[..], value.as_bytes())], &policy).err()
        };
        assert_eq!(inspect(b"/123456789", ""), None);
        assert_eq!(inspect(b"/1234567890", ""), Some(Refusal::TargetTooLong));
        assert_eq!(inspect(b"/", &"x".repeat(32)), None);
        assert_eq!(inspect(b"/", &"x".repeat(33)), Some(Refusal::HeadTooLarge));
    }
}

#[test]
fn a_line_ends_where_both_bytes_are() {
    type Split<'b> = Result<(&'b [u8], &'b [u8]), Option<Bare>>;
    let table: [(&[u8], Split<'_>); 9] = [
        (b"a\r\nb", Ok((b"a", b"b"))),
        (b"\r\n", Ok((b"", b""))),
        (b"a\r\n\r\n", Ok((b"a", b"\r\n"))),
        (b"", Err(None)),
        (b"a", Err(None)),
        (b"a\nb\r\n", Err(Some(Bare::LineFeed))),
        (b"a\rb\r\n", Err(Some(Bare::CarriageReturn))),
        (b"a\r\r\n", Err(Some(Bare::CarriageReturn))),
        (b"a\r", Err(Some(Bare::CarriageReturn))),
    ];
    for (bytes, expected) in table {
        assert_eq!(split_at_line_end(bytes), expected, "{}", bytes.escape_ascii());
    }
}
