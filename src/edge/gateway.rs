//! pingora's phases. Each delegates; none decides.

mod body;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{counter, histogram};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use policy::firewall::{Framing, Http2Start, Refusal, Request, inspect_fields};
use policy::ids::RequestId;

use super::body_watch::BodyWatch;
use crate::assertion;
use crate::edge::upstream::Upstreams;
use crate::ruling::Gate;
use crate::ruling::client::{client_address, client_scheme};
use crate::ruling::message::Form;
use crate::ruling::probing::Probed;
use crate::ruling::request::{Incoming, Permitted};
use crate::ruling::response::{HSTS, Response};
use body::{HeldBody, is_too_slow, swallow_body};

/// The gate as pingora sees it.
pub struct Gateway {
    gate: Arc<Gate>,
    upstreams: Arc<Upstreams>,
}

impl Gateway {
    /// Serves what `gate` lets through from `upstreams`.
    pub fn new(gate: Arc<Gate>, upstreams: Arc<Upstreams>) -> Gateway {
        Gateway { gate, upstreams }
    }
}

/// A request that the front has read, on its way through pingora.
pub struct Arrival {
    pub request: Option<Box<Request>>,
    pub peer: Option<IpAddr>,
}

/// What is known of a request while it is served.
pub struct Context {
    id: RequestId,
    started: Instant,
    request: Option<Box<Request>>,
    peer: Option<IpAddr>,
    /// Without it there is no upstream call.
    permit: Option<Permitted>,
    /// Bytes of body that came so far, and since when.
    body_bytes: u64,
    body_began: Option<Instant>,
    /// Over HTTP/2, where pingora does not bound how long it waits for a body.
    body_watch: Option<BodyWatch>,
    /// Whether the gate has told the client to go on and Console need not.
    continued: bool,
    /// How many servers did not take the connection.
    refused_connections: usize,
    /// Whether the request had its second chance, after a server went while it had it.
    asked_again: bool,
    outcome: &'static str,
}

impl Context {
    fn client(&self, gate: &Gate) -> Option<IpAddr> {
        let hops = self.request.as_ref().map_or(&[][..], |request| request.forwarded_for());
        client_address(self.peer, hops, gate.options.trusted_hops)
    }
}

impl Gateway {
    /// The request as the front read it, or, over HTTP/2, as the firewall takes pingora's fields.
    fn admit(&self, session: &mut Session, context: &mut Context) -> Result<(), Refusal> {
        if context.request.is_some() {
            return Ok(());
        }
        let ends_stream = session.as_downstream_mut().is_body_empty();
        let head = session.req_header();
        if head.version != http::Version::HTTP_2 {
            // A request that came round the front was never inspected.
            return Err(Refusal::MalformedHead);
        }
        context.body_watch = head.extensions.get().cloned();
        let start = Http2Start {
            method: head.method.as_str().as_bytes(),
            path: head.raw_path(),
            authority: head.uri.authority().map(|authority| authority.as_str().as_bytes()),
            ends_stream,
        };
        let fields = head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let request = inspect_fields(&start, fields, &self.gate.policy)?;
        context.peer =
            session.client_addr().and_then(|address| address.as_inet().map(std::net::SocketAddr::ip));
        context.request = Some(Box::new(request));
        Ok(())
    }

    async fn answer(&self, session: &mut Session, context: &Context, answer: &Response) -> Result<()> {
        let mut head = ResponseHeader::build(answer.status, Some(answer.fields.len() + 2))?;
        for (name, value) in &answer.fields {
            head.insert_header(*name, value.as_str())?;
        }
        head.insert_header("content-length", answer.body.len().to_string())?;
        if let Some(hsts) = self.hsts(session) {
            head.insert_header(HSTS, hsts)?;
        }
        let is_head =
            context.request.as_ref().is_some_and(|request| request.method() == policy::method::Method::Head);
        session.write_response_header(Box::new(head), is_head).await?;
        if !is_head {
            session.write_response_body(Some(Bytes::from(answer.body.clone())), true).await?;
        }
        Ok(())
    }

    /// What every answer over TLS says of coming back over plain HTTP.
    fn hsts(&self, session: &Session) -> Option<&str> {
        self.gate.options.hsts.as_deref().filter(|_| is_over_tls(session))
    }

    async fn rule(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        if let Err(refusal) = self.admit(session, context) {
            return self.refuse(session, context, refusal).await;
        }
        let Some(request) = context.request.take() else {
            return self.refuse(session, context, Refusal::MalformedHead).await;
        };
        if let Some(jwks) = self.gate.assertions.jwks()
            && request.method() == policy::method::Method::Get
            && request.target().path() == assertion::JWKS_PATH
        {
            let keys = Response {
                outcome: "jwks",
                status: 200,
                fields: vec![
                    ("content-type", "application/jwk-set+json".to_owned()),
                    ("cache-control", "public, max-age=300".to_owned()),
                ],
                body: jwks.to_owned(),
            };
            return self.finish(session, context, &keys).await;
        }
        let probe = match self.gate.probe(&request).await {
            Probed::No => None,
            Probed::Yes(accepted) => Some(accepted),
            Probed::Answered(answer) => {
                context.request = Some(request);
                return self.finish(session, context, &answer.named("probe")).await;
            }
        };
        let client = client_address(context.peer, request.forwarded_for(), self.gate.options.trusted_hops);
        let upgrade = request.upgrade();
        let is_probe = probe.is_some();
        let incoming = Incoming { request: &request, id: context.id, client, probe, upgrade };
        let mut body = HeldBody {
            session: session.as_downstream_mut(),
            expects_continue: request.expect_continue(),
            continued: false,
            time: self.gate.options.body_time,
        };
        let outcome = self.gate.authorize(&incoming, &mut body).await;
        context.continued = body.continued;
        histogram!("gate_decision_seconds").record(context.started.elapsed());
        context.request = Some(request);
        match outcome {
            Ok(Permitted { permit, .. }) if is_probe => {
                self.finish(session, context, &self.gate.probe_passed(&permit, context.id)).await
            }
            Ok(permit) => {
                context.outcome = "forwarded";
                context.permit = Some(permit);
                Ok(false)
            }
            Err(response) => self.finish(session, context, &response).await,
        }
    }

    /// Answers a request that goes no further. What it still sends is read, so that the connection can be used again.
    async fn finish(
        &self,
        session: &mut Session,
        context: &mut Context,
        response: &Response,
    ) -> Result<bool> {
        context.outcome = response.outcome;
        if response.closes() {
            session.set_keepalive(None);
        } else {
            swallow_body(session, context.request.as_deref()).await;
        }
        self.answer(session, context, response).await?;
        Ok(true)
    }

    async fn refuse(&self, session: &mut Session, context: &mut Context, refusal: Refusal) -> Result<bool> {
        counter!("gate_refusals_total", "reason" => refusal.word()).increment(1);
        tracing::info!(reason = refusal.word(), request_id = %context.id, "a request was refused");
        self.finish(session, context, &Response::to_refusal(refusal, context.id)).await
    }
}

fn is_over_tls(session: &Session) -> bool {
    session.as_downstream().digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            id: crate::random::request_id(),
            started: Instant::now(),
            request: None,
            peer: None,
            permit: None,
            body_bytes: 0,
            body_began: None,
            body_watch: None,
            continued: false,
            refused_connections: 0,
            asked_again: false,
            outcome: "failed",
        }
    }

    /// pingora hands over here what the front left with the connection.
    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        context: &mut Context,
        left: Box<dyn std::any::Any + Send + Sync>,
    ) {
        if let Ok(arrival) = left.downcast::<Arrival>() {
            context.request = arrival.request;
            context.peer = arrival.peer;
        }
    }

    fn init_downstream_modules(&self, _modules: &mut pingora::modules::http::HttpModules) {
        // None: Console compresses what it wants compressed.
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        self.rule(session, context).await
    }

    async fn upstream_peer(&self, _session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        if context.permit.is_none() {
            return Error::e_explain(ErrorType::HTTPStatus(500), "an upstream call without a permit");
        }
        match self.upstreams.pick() {
            Some(peer) => Ok(Box::new(peer)),
            None => Error::e_explain(ErrorType::HTTPStatus(502), "no upstream server"),
        }
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let (Some(Permitted { permit, mapping }), Some(request)) = (&context.permit, &context.request) else {
            return Error::e_explain(ErrorType::HTTPStatus(500), "an upstream call without a permit");
        };
        let target = request.target();
        if request.version() == policy::firewall::Version::Http2 {
            // Over HTTP/1 pingora has parsed what the gate wrote; here the gate writes it now.
            let stale: Vec<http::HeaderName> = upstream.headers.keys().cloned().collect();
            for name in stale {
                upstream.remove_header(&name);
            }
            for (name, value) in request.fields().iter() {
                upstream.append_header(name.to_owned(), value)?;
            }
            if let Framing::Length(length) = request.framing() {
                upstream.insert_header("content-length", length.to_string())?;
            }
        }
        if let Some(watch) = context.body_watch.as_ref().filter(|_| request.framing() != Framing::None) {
            watch.waits();
        }
        upstream.set_raw_path(target.raw().as_bytes())?;
        upstream.insert_header("host", self.gate.options.upstream_host.as_str())?;
        if context.continued {
            upstream.remove_header("expect");
        }
        if let Some(client) = context.client(&self.gate) {
            upstream.insert_header("x-forwarded-for", client.to_string())?;
        }
        let hops = self.gate.options.trusted_hops;
        let scheme = client_scheme(is_over_tls(session), request.forwarded_proto(), hops);
        upstream.insert_header("x-forwarded-proto", scheme)?;
        upstream.insert_header("x-forwarded-host", request.host())?;
        upstream.insert_header("x-request-id", context.id.to_string())?;
        let assertion = self.gate.assertions.sign(
            permit,
            mapping,
            request.method(),
            target.path_raw(),
            context.id,
            self.gate.clock.now(),
        );
        upstream.insert_header(assertion::HEADER, assertion)?;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Context,
    ) -> Result<()> {
        // Over HTTP/2 a body often ends in an empty frame. As a chunk it is the end already, and when pingora then ends
        // the body, Console would find a second end where it looks for its next request.
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        if let Some(watch) = &context.body_watch {
            if end_of_stream { watch.has_ended() } else { watch.waits() }
        }
        context.body_bytes += body.as_ref().map_or(0, |part| part.len() as u64);
        // A declared length was held against the limit already; chunks are counted as they come. What an upgraded
        // connection carries is no body.
        let is_upgrade = context.request.as_ref().is_some_and(|request| request.upgrade());
        if !is_upgrade && context.body_bytes > self.gate.policy.limits.body_bytes {
            context.outcome = "refused";
            return Error::e_explain(ErrorType::HTTPStatus(413), "the body is over its limit");
        }
        // pingora bounds each read: without this, a byte a minute would hold a connection and a thread of Console's.
        let began = *context.body_began.get_or_insert_with(Instant::now);
        if !is_upgrade
            && !end_of_stream
            && is_too_slow(began.elapsed(), context.body_bytes, self.gate.options.body_time)
        {
            context.outcome = "refused";
            return Error::e_explain(ErrorType::HTTPStatus(408), "the body arrives too slowly");
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        // A tunnel that the row does not allow, or that nobody asked for, would carry requests past every decision.
        let may_switch = context.request.as_ref().is_some_and(|request| request.upgrade())
            && context.permit.as_ref().is_some_and(|permitted| permitted.permit.upgrade());
        if response.status == http::StatusCode::SWITCHING_PROTOCOLS && !may_switch {
            return Error::e_explain(ErrorType::HTTPStatus(502), "an upgrade that was not requested");
        }
        if let Some(Permitted { permit, .. }) = &context.permit {
            let location = response.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
            self.gate.refusals.observe(permit, response.status.as_u16(), location, context.id);
        }
        response.insert_header("x-request-id", context.id.to_string())?;
        if let Some(hsts) = self.hsts(session) {
            response.insert_header(HSTS, hsts)?;
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        self.upstreams.suspect(peer);
        context.refused_connections += 1;
        // Nothing was sent, so another server may be asked; each once.
        error.set_retry(self.upstreams.may_try_another(context.refused_connections));
        error
    }

    /// Whether to ask again, when the server went while it had the request.
    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut Context,
        was_kept_connection: bool,
    ) -> Box<Error> {
        let server_went = *error.esource() == ErrorSource::Upstream
            && matches!(
                error.etype(),
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
            );
        // Only what changes nothing (RFC 9110 9.2.1), and only while the client has seen nothing: a request that
        // changes something may have done so before the server went. A kept connection may just have been idle for too
        // long; one that was opened for this request gets one second chance.
        let changes_nothing = context.request.as_ref().is_some_and(|request| {
            request.method().is_safe() && request.framing() == Framing::None && !request.upgrade()
        });
        let chance = was_kept_connection || !context.asked_again;
        let again = server_went && changes_nothing && chance && session.response_written().is_none();
        context.asked_again |= again && !was_kept_connection;
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        // The socket's word for a body that is framed as it must not be.
        let malformed = error
            .root_cause()
            .downcast_ref::<std::io::Error>()
            .is_some_and(|cause| cause.kind() == std::io::ErrorKind::InvalidData);
        let status = match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(status), _) => *status,
            (_, ErrorSource::Downstream) if malformed => 400,
            (
                ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout,
                ErrorSource::Upstream,
            ) => 504,
            (_, ErrorSource::Upstream) => 502,
            (ErrorType::ReadTimedout, ErrorSource::Downstream) => 408,
            (
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed,
                ErrorSource::Downstream,
            ) => 0,
            (_, ErrorSource::Downstream) => 400,
            _ => 500,
        };
        let kind = match status {
            504 => "timeout",
            502 => "broken",
            0 => "client_gone",
            408 | 413 | 400 => "client",
            _ => "internal",
        };
        counter!("gate_upstream_errors_total", "kind" => kind).increment(1);
        tracing::warn!(kind, status, cause = %error.etype().as_str(), request_id = %context.id, "a request was not completed");
        if context.outcome == "forwarded" {
            context.outcome = "failed";
        }
        if status > 0 && session.response_written().is_none() {
            let form = context.request.as_ref().map_or(Form::Problem, |request| Form::wanted_by(request));
            let (word, title, detail) = match status {
                504 => ("timeout", "Console did not answer in time", "Try again in a moment."),
                502 => ("bad-gateway", "Console did not answer", "Try again in a moment."),
                413 => ("refused", "Content Too Large", "The request was not understood."),
                408 => ("refused", "Request Timeout", "The request did not arrive in time."),
                400 => ("refused", "Bad Request", "The request was not understood."),
                _ => ("internal", "Something went wrong", "The gate could not complete the request."),
            };
            session.set_keepalive(None);
            let answer = Response::plain(status, word, title, detail, form, context.id);
            // The client may be gone already; there is nobody else to tell.
            let _ = self.answer(session, context, &answer).await;
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, context: &mut Context) {
        counter!("gate_requests_total", "outcome" => context.outcome).increment(1);
        histogram!("gate_request_seconds").record(context.started.elapsed());
        if tracing::enabled!(tracing::Level::DEBUG) {
            let status = session.response_written().map_or(0, |response| response.status.as_u16());
            let route = context.permit.as_ref().and_then(|one| one.permit.route().map(ToString::to_string));
            tracing::debug!(outcome = context.outcome, status, route, request_id = %context.id, "request");
        }
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &Context,
        _error: &Error,
        _about: ProxyWarnLogContext,
    ) -> bool {
        // As below.
        true
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        // pingora's message would hold the client's bytes; `fail_to_proxy` logs without them.
        true
    }
}
