//! The firewall on a whole head: reading, writing and reading again come to the same request.

use policy::firewall::{
    Framing, HeadSearch, HeadState, Http2Start, Limits, Policy, Refusal, Request, Version, head_state,
    inspect, inspect_fields,
};

use super::naive_head;
use super::request_target::check_target;

/// The fields that the gate writes itself, from what it has understood.
const WRITTEN_BY_THE_GATE: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "expect", "connection", "upgrade"];

/// The bytes are what a client sent so far.
pub fn head(data: &[u8]) -> bool {
    let strict = Policy {
        allowed_hosts: vec!["h".to_owned(), "console.example:8080".to_owned()],
        limits: Limits {
            target_bytes: 64,
            head_bytes: 512,
            header_count: 8,
            header_bytes: 128,
            body_bytes: 1000,
        },
        ..Policy::default()
    };
    let mut is_accepted = false;
    for policy in [Policy::default(), strict] {
        search_byte_by_byte(data, &policy.limits);
        if let Ok(request) = inspect(data, &policy) {
            assert_eq!(head_state(data, &policy.limits), HeadState::Complete(data.len()));
            check_target(request.target(), &policy);
            check_request(&request, &policy);
            check_read(data, &request, &policy);
            check_written(&request, &policy);
            check_http2(&request, &policy);
            is_accepted = true;
        }
    }
    is_accepted
}

/// A client that sends byte by byte gets the answer of one that sends all at once.
fn search_byte_by_byte(data: &[u8], limits: &Limits) {
    let at_once = head_state(data, limits);
    let mut search = HeadSearch::default();
    let bytewise = (0..=data.len())
        .map(|end| search.advance(&data[..end], limits))
        .find(|state| *state != HeadState::Partial)
        .unwrap_or(HeadState::Partial);
    let is_size = |state| matches!(state, HeadState::Refused(Refusal::TargetTooLong | Refusal::HeadTooLarge));
    match (bytewise, at_once) {
        // A line that is too long is seen to be so before its end comes, whatever that end would have been.
        (HeadState::Refused(_), HeadState::Refused(_)) if is_size(bytewise) => {}
        _ => assert_eq!(bytewise, at_once),
    }
}

fn check_request(request: &Request, policy: &Policy) {
    for (name, value) in request.fields().iter() {
        assert!(!policy.strip.strips(name) && !WRITTEN_BY_THE_GATE.contains(&name), "{name}");
        assert!(!name.starts_with("x-forwarded-") && !name.starts_with("x-console-gate-"), "{name}");
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(!name.is_empty() && name.bytes().all(is_name), "{name}");
        assert!(!value.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')), "{name}");
    }
    if let Framing::Length(length) = request.framing() {
        assert!(length <= policy.limits.body_bytes);
    }
    if request.upgrade() {
        assert_eq!(request.framing(), Framing::None);
    }
    let cookies = request.fields().iter().filter(|(name, _)| *name == "cookie").count();
    assert!(cookies <= 1 && (cookies == 1 || request.session_cookie().is_none()));
}

/// The request is what a naive reader finds in the bytes that the client sent: nothing lost, moved or made up.
fn check_read(data: &[u8], request: &Request, policy: &Policy) {
    let naive = naive_head::read(data);
    assert_eq!(naive.method, request.method().as_str().as_bytes());
    let before =
        naive.target.strip_suffix(request.target().raw().as_bytes()).expect("the target's own bytes");
    let host = naive.only("host").expect("every request has a host").to_ascii_lowercase();
    let is_same_site = [b"http://".as_slice(), b"https://"]
        .iter()
        .any(|scheme| before.to_ascii_lowercase() == [scheme, host.as_slice()].concat());
    assert!(before.is_empty() || is_same_site, "{}", before.escape_ascii());
    assert_eq!(host, request.host().as_bytes());

    let is_folding = |name: &str| name.contains(|one: char| !one.is_ascii_alphanumeric() && one != '-');
    let folding: Vec<_> =
        naive.fields.iter().filter(|(name, _)| is_folding(name)).map(|(name, _)| name).collect();
    assert_eq!(request.dropped_fields().iter().collect::<Vec<_>>(), folding);
    let passes = |name: &str| {
        !WRITTEN_BY_THE_GATE.contains(&name)
            && !policy.strip.strips(name)
            && !is_folding(name)
            && name != "cookie"
    };
    let passing: Vec<_> = naive.fields.iter().filter(|(name, _)| passes(name)).cloned().collect();
    let mut kept: Vec<_> =
        request.fields().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // The cookie is written last: it may come in pieces.
    let cookie = kept.pop_if(|(name, _)| name == "cookie").map(|(_, value)| value);
    assert_eq!(kept, passing);
    check_cookies(&naive.all("cookie").join(&b"; "[..]), cookie.as_deref(), request);

    let framing = match (naive.only("content-length"), naive.only("transfer-encoding")) {
        (None, None) => Framing::None,
        (Some(digits), None) => {
            let length = String::from_utf8_lossy(digits).parse().expect("an accepted length is a number");
            assert_eq!(format!("{length}").as_bytes(), digits, "one spelling");
            Framing::Length(length)
        }
        (None, Some(b"chunked")) => Framing::Chunked,
        other => panic!("{other:?} frames nothing"),
    };
    assert_eq!(request.framing(), framing);
    let is_http11 = naive.version == b"HTTP/1.1";
    assert_eq!(request.version(), if is_http11 { Version::Http11 } else { Version::Http10 });
    let keeps = naive.lists("connection", "keep-alive") || is_http11;
    assert_eq!(request.keep_alive(), keeps && !naive.lists("connection", "close"));
    assert!(!request.upgrade() || naive.only("upgrade").is_some());
    assert!(
        !request.upgrade() || naive.lists("connection", "upgrade") && naive.lists("upgrade", "websocket")
    );
}

/// Console gets the cookies that the client sent; of the session's name one at most, the one that the gate judges.
fn check_cookies(sent: &[u8], kept: Option<&[u8]>, request: &Request) {
    let written = sessions(kept.unwrap_or_default());
    assert_eq!(request.session_cookie().map(str::as_bytes).into_iter().collect::<Vec<_>>(), written);
    if !request.rewrites_cookie() {
        assert_eq!(kept.unwrap_or_default(), sent);
        return;
    }
    let judged = request.unsettled_sessions().iter().map(String::as_bytes).chain(written);
    let named = sessions(sent);
    for session in judged {
        let plain = named.contains(&session);
        assert!(plain || !sent.is_ascii(), "a session was made up: {}", session.escape_ascii());
        assert!(session.iter().all(u8::is_ascii_graphic), "{}", session.escape_ascii());
    }
    for session in request.unsettled_sessions().iter().enumerate() {
        let settled = request.clone();
        settled.settle_session(Some(session.0));
        assert_eq!(settled.session_cookie(), Some(session.1.as_str()));
        assert_eq!(sessions(settled.fields().value("cookie").expect("a session")), [session.1.as_bytes()]);
    }
}

/// The values of every cookie of the session's name.
fn sessions(cookies: &[u8]) -> Vec<&[u8]> {
    let pairs = cookies.split(|byte| *byte == b';');
    pairs
        .filter_map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let is_session = halves.next()?.trim_ascii() == b"session";
            is_session.then(|| halves.next().unwrap_or_default().trim_ascii())
        })
        .collect()
}

/// What the gate writes is read as the request that it was written from, and written the same again.
fn check_written(request: &Request, policy: &Policy) {
    let mut written = Vec::new();
    request.write_head(&mut written);
    check_lines(&written, request);
    // The written head may be longer than the one that came (`a:b` has become `a: b`), never refused for its content.
    let roomy = Limits {
        target_bytes: 1 << 20,
        head_bytes: 1 << 20,
        header_count: 1 << 20,
        header_bytes: 1 << 20,
        ..policy.limits
    };
    let again = match inspect(&written, &Policy { limits: roomy, ..policy.clone() }) {
        Ok(again) => again,
        Err(refusal) => panic!("{refusal:?} for what the gate wrote: {}", String::from_utf8_lossy(&written)),
    };
    assert_eq!(again.method(), request.method());
    assert_eq!(again.target(), request.target());
    assert_eq!(again.version(), request.version());
    assert_eq!(again.host(), request.host());
    assert_eq!(again.fields(), request.fields());
    assert_eq!(again.framing(), request.framing());
    assert_eq!(again.session_cookie(), request.session_cookie());
    assert_eq!(again.authorization(), request.authorization());
    assert_eq!(
        (again.upgrade(), again.expect_continue(), again.keep_alive()),
        (request.upgrade(), request.expect_continue(), request.keep_alive()),
    );
    // What the client says about the hops before it is the one thing that is not written.
    assert!(again.forwarded_for().is_empty() && again.forwarded_proto().is_none());
    let mut rewritten = Vec::new();
    again.write_head(&mut rewritten);
    assert_eq!(rewritten, written);
}

/// A naive reader of the written bytes finds each field once and nothing between the lines.
fn check_lines(written: &[u8], request: &Request) {
    let lines: Vec<&[u8]> = written.split(|byte| *byte == b'\n').collect();
    let (end, lines) = lines.split_last().expect("`split` gives at least one piece");
    assert!(end.is_empty(), "bytes behind the blank line");
    let lines: Vec<&[u8]> =
        lines.iter().map(|line| line.strip_suffix(b"\r").expect("every line ends in CR LF")).collect();
    let start = format!("{} {} HTTP/1.", request.method(), request.target().raw());
    assert!(lines[0].starts_with(start.as_bytes()));
    let fields = &lines[1..lines.len() - 1];
    assert_eq!(lines[lines.len() - 1], b"");
    let named = |name: &str| {
        let start = format!("{name}: ");
        fields.iter().filter(|line| line.starts_with(start.as_bytes())).count()
    };
    assert_eq!(named("host"), 1);
    let framed = usize::from(request.framing() != Framing::None);
    assert_eq!(named("content-length") + named("transfer-encoding"), framed);
    assert_eq!(named("upgrade"), usize::from(request.upgrade()));
    assert_eq!(named("expect"), usize::from(request.expect_continue()));
    assert!(named("connection") <= 1 && named("cookie") <= 1);
    let own = 1 + framed + named("upgrade") + named("expect") + named("connection");
    assert_eq!(fields.len(), request.fields().len() + own);
}

/// The same fields over HTTP/2, where they pass, are the same request.
fn check_http2(request: &Request, policy: &Policy) {
    if request.upgrade() || request.target().is_asterisk() {
        return;
    }
    let start = Http2Start {
        method: request.method().as_str().as_bytes(),
        path: request.target().raw().as_bytes(),
        authority: Some(request.host().as_bytes()),
        ends_stream: request.framing() == Framing::None,
    };
    let fields = request.fields().iter().map(|(name, value)| (name.as_bytes(), value));
    if let Ok(other) = inspect_fields(&start, fields, policy) {
        assert_eq!((other.version(), other.method()), (Version::Http2, request.method()));
        assert_eq!((other.target(), other.host()), (request.target(), request.host()));
        assert_eq!(other.fields(), request.fields());
        assert_eq!(other.session_cookie(), request.session_cookie());
    }
}
