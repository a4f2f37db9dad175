//! One exchange: a request is decided by [`crate::ruling`], and Console or the gate itself answers it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use clock::http_date;
use metrics::counter;
use policy::decision::Permit;
use policy::firewall::{Refusal, Request};
use policy::ids::RequestId;
use policy::method::Method;
use policy::rbac::BreakGlassPart;
use policy::response::{ResponseFraming, ResponseHead};
use uuid::fmt::Hyphenated;

use super::access_log::Line;
use super::body::{BodyMeter, HeldBody, RequestBody};
use super::client::{Client, Head, Length};
use super::driven::{Stalled, driven};
use super::leg::{Call, Failure, Source, UpstreamHead};
use super::legs::{Legs, Way};
use super::limits::{ClientLimits, OverLimit};
use super::meters::Meters;
use super::rewrite::{Names, Passage};
use super::spool::Spool;
use crate::assertion;
use crate::journal::refused::RefusedSample;
use crate::ruling::Gate;
use crate::ruling::client::{client_address, client_scheme, request_id};
use crate::ruling::message::Form;
use crate::ruling::own_routes::MOST_BODY_BYTES;
use crate::ruling::probing::Probed;
use crate::ruling::request::{Incoming, Permitted};
use crate::ruling::response::{HSTS, Response};
use crate::ruling::troubles::{AssertionRefused, Whose};
use crate::ruling::ways::{Asked, Help};
use crate::spans::{self, Attribute, HeadTimes, Trace, Value, route_template};
use crate::traffic::{Ended, Traffic};

/// The gate between its clients and Console.
pub struct Gateway {
    gate: Arc<Gate>,
    legs: Legs,
    limits: ClientLimits,
    pub(super) meters: Meters,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) peer: Option<IpAddr>,
    pub(super) is_over_tls: bool,
    /// When its head came, where requests are traced.
    pub(super) times: Option<HeadTimes>,
}

/// The state of a request while it is served.
struct Exchange {
    id: RequestId,
    started: Instant,
    origin: Origin,
    outcome: &'static str,
    status: u16,
    /// Its line in the access log.
    line: Line,
    /// The break-glass sessions that it rests on.
    break_glass: Option<Arc<BreakGlassPart>>,
}

impl Exchange {
    fn whose(&self, request: &Request) -> Whose<'_> {
        Whose {
            method: request.method().as_str(),
            route: self.line.route.as_deref(),
            actor: self.line.actor.as_deref(),
            upstream: self.line.upstream.as_deref().unwrap_or("console"),
            id: self.id,
        }
    }
}

impl Gateway {
    pub(super) fn new(gate: Arc<Gate>, legs: Legs, limits: ClientLimits) -> Gateway {
        Gateway { gate, legs, limits, meters: Meters::new() }
    }

    /// What counts connections, for those who accept them.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.gate.traffic
    }

    /// What bounds a client, for those who accept connections.
    pub(super) fn limits(&self) -> &ClientLimits {
        &self.limits
    }

    /// Serves one request to its end.
    pub(super) async fn serve(&self, client: &mut Client<'_>, request: &Request, origin: Origin) {
        let _served = self.gate.traffic.request();
        let mut exchange = Exchange {
            id: request_id(request.request_id(), self.gate.options.trusted_hops),
            started: Instant::now(),
            origin,
            outcome: "failed",
            status: 0,
            line: Line::default(),
            break_glass: None,
        };
        let trace = self.trace(request, &exchange);
        self.exchange(client, request, &mut exchange, trace.as_ref()).await;
        if let Some(part) = &exchange.break_glass {
            self.gate.break_glass_answered(part, exchange.id, exchange.status);
        }
        let took = exchange.started.elapsed();
        self.meters.ended(exchange.outcome, took);
        let line = &exchange.line;
        let upstream = line.upstream_status.zip(line.upstream_took);
        self.gate.traffic.ended(&Ended { route: line.route.as_deref(), outcome: exchange.outcome, upstream });
        if self.gate.options.access_log {
            exchange.line.write(request, exchange.id, (exchange.status, exchange.outcome), took);
        }
        self.end_trace(trace, request, &exchange);
    }

    /// The trace of a request that begins, where it is traced.
    fn trace(&self, request: &Request, exchange: &Exchange) -> Option<Trace> {
        let tracer = self.gate.tracer.as_ref()?;
        let times = exchange.origin.times;
        let begun = times.map_or(exchange.started, |times| times.first_byte);
        let trace = tracer.begin(request.fields().value("traceparent"), begun)?;
        if let Some(times) = &times {
            trace.head(times);
        }
        Some(trace)
    }

    /// Ends the trace of a request with its outcome. It contains neither the path nor the principal.
    fn end_trace(&self, trace: Option<Trace>, request: &Request, exchange: &Exchange) {
        let (Some(tracer), Some(trace)) = (&self.gate.tracer, trace) else { return };
        let (method, line) = (request.method().as_str(), &exchange.line);
        let route = line.route.as_deref().map(route_template);
        let mut attributes: Vec<Attribute> = vec![
            ("http.request.method", Value::Word(method)),
            ("url.scheme", Value::Word(if exchange.origin.is_over_tls { "https" } else { "http" })),
            ("gate.request_id", Value::Text(exchange.id.to_string())),
            ("gate.outcome", Value::Word(exchange.outcome)),
        ];
        if exchange.status > 0 {
            attributes.push(("http.response.status_code", Value::Number(exchange.status.into())));
        }
        if let Some(route) = &route {
            attributes.push(("http.route", Value::Text(route.clone().into_owned())));
        }
        attributes.extend(line.reason.map(|reason| ("gate.reason", Value::Word(reason))));
        attributes.extend(line.gate.map(|gate| ("gate.in_force", Value::Word(gate))));
        attributes.extend(line.cluster.clone().map(|cluster| ("gate.cluster", Value::Shared(cluster))));
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        tracer.end(trace, name, attributes, exchange.status >= 500 || exchange.status == 0);
    }

    /// Whether requests are traced, for those who read their heads.
    pub(super) fn is_traced(&self) -> bool {
        self.gate.tracer.is_some()
    }

    async fn exchange(
        &self,
        client: &mut Client<'_>,
        request: &Request,
        exchange: &mut Exchange,
        trace: Option<&Trace>,
    ) {
        let options = &self.gate.options;
        let meter = BodyMeter::new(self.gate.policy.limits.body_bytes, options.body_time);
        let mut body = RequestBody::new(request, Spool::for_request(&self.legs.buffers), meter);
        if let Some(jwks) = self.gate.assertions.jwks()
            && request.method() == Method::Get
            && request.target().path() == assertion::JWKS_PATH
        {
            return self.finish(client, request, &mut body, &key_set(jwks), exchange).await;
        }
        let probe = match self.gate.probe(request).await {
            Probed::No => None,
            Probed::Yes(accepted) => Some(accepted),
            Probed::Answered(answer) => {
                return self.finish(client, request, &mut body, &answer.named("probe"), exchange).await;
            }
        };
        let address = client_address(exchange.origin.peer, request.forwarded_for(), options.trusted_hops);
        let is_probe = probe.is_some();
        let upgrade = request.upgrade();
        let incoming =
            Incoming { request, id: exchange.id, client: address, probe, upgrade, serves_own: true, trace };
        let outcome = {
            let mut held = HeldBody { client: &mut *client, body: &mut body, time: options.body_time };
            self.gate.authorize(&incoming, &mut held).await
        };
        self.meters.decided(exchange.started.elapsed());
        let answer = match outcome {
            Ok(Permitted { permit, .. }) if is_probe => self.gate.probe_passed(&permit, exchange.id),
            Ok(permitted) => {
                exchange.line.of_permit(&permitted.permit);
                exchange.break_glass.clone_from(&permitted.break_glass);
                let admitted = self.limits.admit(address, &permitted.permit);
                match admitted {
                    Ok(_place) if permitted.permit.served_by_gate() => {
                        return self.serve_here(client, &incoming, body, &permitted, exchange).await;
                    }
                    Ok(_place) => {
                        let asked = (address, trace);
                        return self.forward(client, request, body, permitted, asked, exchange).await;
                    }
                    Err(over) => over_limit(over, self.gate.asked(request, exchange.id)),
                }
            }
            Err(response) => response,
        };
        self.finish(client, request, &mut body, &answer, exchange).await;
    }

    /// Answers a permitted request that the gate itself serves.
    async fn serve_here(
        &self,
        client: &mut Client<'_>,
        incoming: &Incoming<'_>,
        mut body: RequestBody,
        permitted: &Permitted,
        exchange: &mut Exchange,
    ) {
        let request = incoming.request;
        body.spool.of_stranger(permitted.permit.principal().is_none());
        let bytes = match body.take_within(client, MOST_BODY_BYTES).await {
            Ok(bytes) => bytes,
            Err(stop) => return self.fail(client, request, &stop.into(), exchange).await,
        };
        let answer = self.gate.serve_own(incoming, permitted, &bytes).await;
        self.finish(client, request, &mut body, &answer, exchange).await;
    }

    /// Sends a permitted request to Console, and its response to the client.
    async fn forward(
        &self,
        client: &mut Client<'_>,
        request: &Request,
        mut body: RequestBody,
        permitted: Permitted,
        (address, trace): (Option<IpAddr>, Option<&Trace>),
        exchange: &mut Exchange,
    ) {
        let Permitted { permit, mapping, admitted, .. } = permitted;
        exchange.outcome = "forwarded";
        body.spool.of_stranger(permit.principal().is_none());
        // A mapping that names a server which this gate does not have is not activated.
        let (Some(Way { leg, host, withheld }), Some(assertions)) =
            (self.legs.of(&permit), self.gate.assertions_for(&permit))
        else {
            return self.fail(client, request, &Failure::NoServer, exchange).await;
        };
        let is_streamed = permit.stream() && !client.body_has_ended();
        if is_streamed {
            body.give_leave(client);
        } else if let Err(stop) = body.read(client).await {
            return self.fail(client, request, &stop.into(), exchange).await;
        }
        let options = &self.gate.options;
        let of_console = options.upstream_host.as_deref().filter(|_| permit.upstream().is_none());
        let host = host.or(of_console).unwrap_or(request.host());
        let scheme =
            client_scheme(exchange.origin.is_over_tls, request.forwarded_proto(), options.trusted_hops);
        let assertion = assertions.sign(
            &permit,
            &mapping,
            request.method(),
            request.target().path_raw(),
            exchange.id,
            self.gate.clock.now(),
        );
        let traced = trace.map(Trace::call);
        let traceparent = traced.as_ref().map(spans::Call::traceparent);
        let head = UpstreamHead {
            request,
            traceparent: traceparent.as_deref().zip(trace.map(Trace::is_continued)),
            id: exchange.id,
            host,
            length: (!is_streamed).then(|| body.spool.len()),
            upgrade: permit.upgrade(),
            client: address,
            scheme,
            assertion: &assertion,
            withheld,
        };
        let mut call = Call {
            request,
            id: exchange.id,
            upgrade: permit.upgrade(),
            head: head.write(),
            passage: Passage {
                names: Names { upstream: host, public: request.host(), scheme },
                withheld,
                sets_hsts: self.hsts(exchange.origin).is_some(),
            },
            is_taken: body.spool.is_empty() && !is_streamed,
            source: if is_streamed { Source::streamed(body) } else { Source::Spool(body.spool) },
        };
        let asked = Instant::now();
        let answered = leg.ask(client, &mut call).await;
        let took = asked.elapsed();
        exchange.line.upstream_took = Some(took);
        if let Some(call) = traced {
            let status = answered.as_ref().map_or(0, |answered| answered.head.status());
            let mut attributes = vec![("http.request.method", Value::Word(request.method().as_str()))];
            if status > 0 {
                attributes.push(("http.response.status_code", Value::Number(status.into())));
            }
            let upstream = exchange.line.upstream.clone();
            let upstream = upstream.map_or(Value::Word("console"), Value::Shared);
            attributes.push(("gate.upstream", upstream));
            call.end(attributes, status == 0 || status >= 500);
        }
        let answered = match answered {
            Ok(answered) => answered,
            Err(failure) => return self.fail(client, request, &failure, exchange).await,
        };
        leg.seconds.record(took);
        exchange.status = answered.head.status();
        exchange.line.upstream_status = Some(exchange.status);
        self.look_at_answer(&permit, request, &answered.head, exchange);
        if self.begin(client, &answered.head, &call.passage, exchange).is_err() {
            return self.fail(client, request, &Failure::ClientGone, exchange).await;
        }
        if answered.head.switches() {
            if flush(client).await
                && let Client::Http1(connection) = client
            {
                tokio::select! {
                    () = leg.tunnel(connection, answered) => {}
                    () = self.gate.until_refused(request, admitted.as_ref()) => exchange.outcome = "ended",
                }
            }
            return;
        }
        let lasts = matches!(answered.head.framing(), ResponseFraming::Chunked | ResponseFraming::UntilClose);
        let relayed = if lasts {
            let relay = leg.relay(client, answered, &mut call);
            tokio::select! {
                relayed = relay => Some(relayed),
                () = self.gate.until_refused(request, admitted.as_ref()) => None,
            }
        } else {
            Some(leg.relay(client, answered, &mut call).await)
        };
        match relayed {
            Some(Ok(())) => {}
            Some(Err(failure)) => self.fail(client, request, &failure, exchange).await,
            None => {
                exchange.outcome = "ended";
                client.cut();
            }
        }
    }

    /// Looks for answers that say something about the operation: refusals, errors.
    fn look_at_answer(&self, permit: &Permit, request: &Request, head: &ResponseHead, exchange: &Exchange) {
        let status = head.status();
        let whose = exchange.whose(request);
        if let Some(value) = head.fields().value(AssertionRefused::HEADER) {
            // That is no refusal of Console's own: it never saw the request.
            let refused = AssertionRefused::parse(value);
            return self.gate.troubles.assertion_refused(&whose, &refused, self.gate.clock.now());
        }
        let location = head.fields().value("location");
        let location = location.and_then(|value| std::str::from_utf8(value).ok());
        self.gate.refusals.observe(permit, status, location, exchange.id);
        if status >= 500 {
            self.gate.troubles.server_failed(&whose, status);
        }
    }

    /// Begins the client's response with the head of Console's.
    fn begin(
        &self,
        client: &mut Client<'_>,
        head: &ResponseHead,
        passage: &Passage<'_>,
        exchange: &Exchange,
    ) -> Result<(), super::client::ClientGone> {
        let mut room = [0; Hyphenated::LENGTH];
        let id = exchange.id.text(&mut room);
        let hsts = self.hsts(exchange.origin);
        // RFC 9110 6.6.1: a recipient that forwards a response without Date adds one.
        let date = head.fields().value("date").is_none().then(|| self.date());
        let passed = passage.fields(head);
        let mut fields: Vec<(&[u8], &[u8])> = Vec::with_capacity(passed.len() + 3);
        fields.extend(passed.iter().map(|(name, value)| (*name, value.as_ref())));
        fields.push((b"x-request-id", id.as_bytes()));
        if let Some(date) = &date {
            fields.push((b"date", date.as_bytes()));
        }
        if let Some(hsts) = hsts {
            fields.push((HSTS.as_bytes(), hsts.as_bytes()));
        }
        let length = match head.framing() {
            _ if head.switches() => Length::Tunnel,
            ResponseFraming::None => Length::None(head.content_length()),
            ResponseFraming::Length(length) => Length::Known(length),
            ResponseFraming::Chunked | ResponseFraming::UntilClose => Length::Unknown,
        };
        client.begin(&Head { status: head.status(), reason: head.reason(), fields: &fields, length })
    }

    /// The Strict-Transport-Security value of every response over TLS.
    fn hsts(&self, origin: Origin) -> Option<&str> {
        self.gate.options.hsts.as_deref().filter(|_| origin.is_over_tls)
    }

    /// The time now, as Date has it (RFC 9110 5.6.7).
    pub(super) fn date(&self) -> String {
        http_date(self.gate.clock.now())
    }

    /// The sample of what the firewall refuses.
    pub(super) fn refused(&self) -> &RefusedSample {
        &self.gate.refused
    }

    /// Answers a request that the firewall refuses, over HTTP/2: over HTTP/1 the front does, without an exchange.
    pub(super) async fn refuse(
        &self,
        client: &mut Client<'_>,
        refusal: Refusal,
        (method, path): (&[u8], &[u8]),
        form: Form,
        origin: Origin,
    ) {
        let id = crate::random::request_id();
        self.gate.refused.observe(refusal, method, path, id);
        self.meters.count("refused");
        self.write(client, &Response::to_refusal(refusal, form, id), false, origin).await;
    }

    /// Answers a request that goes no further. What it still sends is read, so that the connection can be used again.
    async fn finish(
        &self,
        client: &mut Client<'_>,
        request: &Request,
        body: &mut RequestBody,
        response: &Response,
        exchange: &mut Exchange,
    ) {
        (exchange.outcome, exchange.status) = (response.outcome, response.status);
        exchange.line.of_answer(response.about.as_deref());
        if response.closes() {
            client.close_after();
        } else {
            body.swallow(client).await;
        }
        self.write(client, response, request.method() == Method::Head, exchange.origin).await;
    }

    async fn write(&self, client: &mut Client<'_>, response: &Response, is_head: bool, origin: Origin) {
        let length = response.body.len() as u64;
        let mut fields: Vec<(&[u8], &[u8])> =
            response.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let date = self.date();
        fields.push((b"date", date.as_bytes()));
        if let Some(hsts) = self.hsts(origin) {
            fields.push((HSTS.as_bytes(), hsts.as_bytes()));
        }
        let length = if is_head { Length::None(Some(length)) } else { Length::Known(length) };
        let head = Head { status: response.status, reason: b"", fields: &fields, length };
        if client.begin(&head).is_err() {
            return;
        }
        if !is_head {
            client.push(Bytes::from(response.body.clone()));
        }
        client.end();
        flush(client).await;
    }

    /// Ends a request that could not be completed: with an answer, if the client has got none yet.
    async fn fail(
        &self,
        client: &mut Client<'_>,
        request: &Request,
        failure: &Failure,
        exchange: &mut Exchange,
    ) {
        let status = failure.status();
        counter!("gate_upstream_errors_total", "kind" => failure.kind()).increment(1);
        self.gate.troubles.not_completed(&exchange.whose(request), failure.kind(), status, failure);
        exchange.outcome = match failure {
            Failure::Body(_) if status > 0 => "refused",
            _ => "failed",
        };
        if status == 0 || client.has_begun() {
            client.cut();
            return;
        }
        exchange.status = status;
        let (word, title, detail) = match status {
            504 => ("timeout", "Console did not answer in time", "Try again in a moment."),
            503 => (
                "unavailable",
                "Not available",
                "The gate has no room for this body now. Try again in a moment.",
            ),
            502 => ("bad-gateway", "Console did not answer", "Try again in a moment."),
            413 => ("refused", "Content Too Large", "The request was not understood."),
            408 => ("refused", "Request Timeout", "The request did not arrive in time."),
            _ => ("refused", "Bad Request", "The request was not understood."),
        };
        client.close_after();
        let help = if status >= 500 { Help::Again } else { Help::Elsewhere };
        let asked = self.gate.asked(request, exchange.id);
        let answer = Response::to(asked, help, (status, word), title, detail);
        self.write(client, &answer, request.method() == Method::Head, exchange.origin).await;
    }
}

/// Sends the queued bytes, as long as the client reads. Returns whether everything was sent.
async fn flush(client: &mut Client<'_>) -> bool {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
    let flushed = driven(client, |client, context, pulse| {
        pulse.awaits(Stalled::ClientTakes, Some(PATIENCE));
        client.poll_flush(context, &mut pulse.moved)
    });
    matches!(flushed.await, Ok(Ok(())))
}

fn key_set(jwks: &str) -> Response {
    Response {
        outcome: "jwks",
        status: 200,
        fields: vec![
            ("content-type", "application/jwk-set+json".to_owned()),
            ("cache-control", "public, max-age=300".to_owned()),
        ],
        body: jwks.to_owned(),
        about: None,
    }
}

fn over_limit(over: OverLimit, asked: Asked<'_>) -> Response {
    counter!("gate_limited_total", "limit" => over.word()).increment(1);
    tracing::info!(limit = over.word(), request_id = %asked.id, "a client has reached a limit");
    let detail = "Too many requests from your address. Try again in a moment.";
    Response::to(asked, Help::Again, (429, "limited"), "Too Many Requests", detail)
        .named("limited")
        .with("retry-after", "1".to_owned())
}
