//! `/forward-auth`: a proxy in front of Console asks about each request that it holds.
//!
//! nginx (`auth_request`) names the request in `X-Original-Method` and `X-Original-URI`, Traefik and Caddy in
//! `X-Forwarded-Method`, `-Uri` and `-Host`. The head of that request is written anew from these and from the fields that a
//! ruling depends on, and goes the way of every request: the same firewall, the same ruling, its denial audited before the
//! 403. A 2xx carries the assertion, which the proxy is to hand on to Console.
//!
//! The proxy asks before there is a body. Where V2 needs one to decide, the answer is no (`body_unreadable`).

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use metrics::{counter, histogram};
use policy::decision::body::BodyError;
use policy::firewall::{Request, inspect};
use policy::ids::RequestId;
use tokio::time::Instant;

use super::AdminState;
use crate::assertion;
use crate::ruling::Gate;
use crate::ruling::client::client_address;
use crate::ruling::message::Form;
use crate::ruling::request::{BodySource, Incoming, Permitted};
use crate::ruling::response::Response as Ruled;

/// Which proxy asks, by the fields that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    /// Knows 2xx, 401 and 403 and takes everything else for a failure of its own.
    Nginx,
    /// Traefik or Caddy, which hand any answer but 2xx on to the client.
    Forwarding,
}

/// The request line that a proxy asks about.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RequestLine<'h> {
    method: &'h HeaderValue,
    target: &'h HeaderValue,
}

/// The endpoint.
pub async fn answer(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    let started = Instant::now();
    let id = crate::random::request_id();
    let answer = match asked(&headers) {
        Err(detail) => malformed(detail, id),
        Ok((front, head)) => match inspect(&head, &state.gate.policy) {
            Err(refusal) => {
                state.gate.refused.observe_head(refusal, &head, id);
                Ruled::to_refusal(refusal, Form::of_unread(&head), id)
            }
            Ok(request) => ruled(&state.gate, front, &request, id, asks_for_upgrade(&headers)).await,
        },
    };
    histogram!("gate_decision_seconds").record(started.elapsed());
    counter!("gate_forward_auth_total", "outcome" => answer.outcome).increment(1);
    in_http(&answer)
}

/// Which proxy asks, and the head that it asks about.
///
/// A client can send fields of the other family through a proxy that does not clear them. Two that disagree would let it
/// choose which request is ruled on, so they are refused, as is half of a family.
fn asked(headers: &HeaderMap) -> Result<(Front, Vec<u8>), &'static str> {
    let original = request_line(headers, "x-original-method", "x-original-uri")?;
    let forwarded = request_line(headers, "x-forwarded-method", "x-forwarded-uri")?;
    let (front, line, host) = match (original, forwarded) {
        (Some(original), Some(forwarded)) if original != forwarded => {
            return Err("the proxy's header fields describe two different requests");
        }
        (Some(line), _) => (Front::Nginx, line, "host"),
        (None, Some(line)) => (Front::Forwarding, line, "x-forwarded-host"),
        (None, None) => return Err("the proxy's header fields do not describe the original request"),
    };
    let mut head = [line.method.as_bytes(), b" ", line.target.as_bytes(), b" HTTP/1.1\r\n"].concat();
    let mut write = |name: &str, value: &HeaderValue| {
        head.extend_from_slice(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    };
    for value in headers.get_all(host) {
        write("host", value);
    }
    for (name, value) in headers.iter().filter(|(name, _)| matters(name.as_str())) {
        write(name.as_str(), value);
    }
    head.extend_from_slice(b"\r\n");
    Ok((front, head))
}

fn request_line<'h>(
    headers: &'h HeaderMap,
    method: &str,
    target: &str,
) -> Result<Option<RequestLine<'h>>, &'static str> {
    match (single(headers, method)?, single(headers, target)?) {
        (Some(method), Some(target)) => Ok(Some(RequestLine { method, target })),
        (None, None) => Ok(None),
        _ => Err("the proxy's header fields give a method without a target, or a target without a method"),
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h HeaderValue>, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err("one of the proxy's header fields is repeated"),
    }
}

/// Whether a ruling, or the form of its answer, depends on a field: credentials, what the client takes, where it is, what a
/// preflight asks for.
fn matters(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cookie"
            | "accept"
            | "x-forwarded-for"
            | "origin"
            | "referer"
            | "access-control-request-method"
    ) || name.starts_with("hx-")
        || name.ends_with("-signature")
        || name.contains("-signature-")
}

/// Whether the client asks for a WebSocket. Proxies do not forward `Upgrade` (RFC 9110 7.6.1); their configuration passes
/// it on under another name.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    ["upgrade", "x-forwarded-upgrade"]
        .iter()
        .any(|name| headers.get(*name).is_some_and(|value| !value.is_empty()))
}

async fn ruled(gate: &Gate, front: Front, request: &Request, id: RequestId, upgrade: bool) -> Ruled {
    // The caller is one of the operator's own proxies, and it appended the address of its client.
    let hops = gate.options.trusted_hops.max(1);
    let client = client_address(None, request.forwarded_for(), hops);
    if request.rewrites_cookie() {
        // The proxy forwards the client's own Cookie field, in which Console could read another session than the gate.
        request.settle_session(None);
    }
    let incoming = Incoming { request, id, client, probe: None, upgrade, serves_own: false, trace: None };
    let answer = match gate.authorize(&incoming, &mut NoBody).await {
        // The proxy would pass it on to Console, which the row does not mean.
        Ok(allowed) if allowed.permit.served_by_gate() || allowed.permit.upstream().is_some() => {
            Ruled::unavailable(gate.asked(request, id))
        }
        Ok(allowed) => permitted(gate, &allowed, request, id),
        Err(response) => response,
    };
    if front == Front::Nginx { for_nginx(answer) } else { answer }
}

fn permitted(gate: &Gate, allowed: &Permitted, request: &Request, id: RequestId) -> Ruled {
    let (method, path) = (request.method(), request.target().path_raw());
    let assertion =
        gate.assertions.sign(&allowed.permit, &allowed.mapping, method, path, id, gate.clock.now());
    Ruled {
        outcome: "forwarded",
        status: 200,
        fields: vec![
            ("cache-control", "no-store".to_owned()),
            ("x-request-id", id.to_string()),
            (assertion::HEADER, assertion),
        ],
        body: String::new(),
        about: None,
    }
}

/// A redirect to the login page is a 401 to `auth_request`; `Location` still names the target. A refused upgrade stays 400,
/// of which nginx makes a 500: a 403 would be one without an audit row.
fn for_nginx(answer: Ruled) -> Ruled {
    let status = if answer.status == 302 { 401 } else { answer.status };
    Ruled { status, ..answer }
}

fn malformed(detail: &str, id: RequestId) -> Ruled {
    Ruled::plain(400, "refused", "Bad Request", detail, crate::ruling::message::Form::Problem, id)
        .named("refused")
}

fn in_http(answer: &Ruled) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body.clone()).into_response();
    for (name, value) in &answer.fields {
        match HeaderValue::from_str(value) {
            Ok(value) => drop(response.headers_mut().insert(*name, value)),
            // Without one of its fields an answer means something else.
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
    response
}

/// The body that never comes.
struct NoBody;

#[async_trait]
impl BodySource for NoBody {
    async fn read(&mut self, _limit: usize) -> Result<Vec<u8>, BodyError> {
        Err(BodyError::Incomplete)
    }
}

#[cfg(test)]
mod tests;
