//! Answers that the gate gives itself.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use policy::decision::{Denial, Reason, Rejection};
use policy::firewall::{Refusal, Request};
use policy::ids::RequestId;
use policy::method::Method;

use super::explain_command::explain_command;
use super::message::{Form, Message};
use super::offer::{CONTENT_SECURITY_POLICY, Offer};

/// The characters that a query value must escape.
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// RFC 6797. Only over TLS: over plain HTTP anybody could have said it, and clients ignore it.
pub const HSTS: &str = "strict-transport-security";

/// A whole response, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The outcome of the request, for `gate_requests_total`.
    pub outcome: &'static str,
    pub status: u16,
    pub fields: Vec<(&'static str, String)>,
    pub body: String,
    /// For the access log and the metrics.
    pub about: Option<Box<About>>,
}

/// What a rejection is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub route: Option<Arc<str>>,
    pub cluster: Option<Arc<str>>,
    /// Of a denial, as is its reason.
    pub actor: Option<String>,
    pub reason: Option<&'static str>,
}

impl Response {
    fn new(message: &Message<'_>, form: Form) -> Response {
        let fields = vec![
            ("content-type", form.content_type().to_owned()),
            // One caller's answer must not reach another from a cache.
            ("cache-control", "no-store".to_owned()),
            ("x-request-id", message.request_id.clone()),
        ];
        Response {
            outcome: "answered",
            status: message.status,
            fields,
            body: message.render(form),
            about: None,
        }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Response {
        self.fields.push((name, value));
        self
    }

    /// The response to a request that was decided and does not go upstream; a denial with what can be asked for.
    pub fn to_rejection(
        rejection: &Rejection,
        request: &Request,
        id: RequestId,
        login_path: &str,
        offer: Option<&Offer>,
    ) -> Response {
        let form = Form::wanted_by(request);
        match rejection {
            Rejection::Denied(denial) => denied(denial, explain_command(denial, request), offer, form, id),
            Rejection::Login => login(request, form, id, login_path),
            Rejection::Unauthorized => unauthorized(form, id).named("unauthorized"),
            Rejection::Gone => {
                Response::plain(410, "gone", "Gone", "This address has been removed.", form, id).named("gone")
            }
            Rejection::Quiet => {
                let detail = "There is nothing at this address.";
                Response::plain(404, "not_found", "Not Found", detail, form, id).named("quiet")
            }
            Rejection::Upgrade => Response::to_refusal(Refusal::Upgrade, form, id),
        }
    }

    /// The response where the gate could not decide, or could not record the denial.
    pub fn unavailable(request: &Request, id: RequestId) -> Response {
        unavailable(Form::wanted_by(request), id)
    }

    /// Whether the connection is closed behind it: what a refused request still sends is nothing that anybody reads.
    pub fn closes(&self) -> bool {
        self.outcome == "refused"
    }

    /// With what it is about.
    #[must_use]
    pub fn about(self, about: About) -> Response {
        Response { about: Some(Box::new(about)), ..self }
    }

    /// With another word for the outcome of the request.
    #[must_use]
    pub fn named(self, outcome: &'static str) -> Response {
        Response { outcome, ..self }
    }

    /// A short answer with a status, a word and a sentence.
    pub fn plain(status: u16, word: &str, title: &str, detail: &str, form: Form, id: RequestId) -> Response {
        let message =
            Message { status, word, title, detail, request_id: id.to_string(), ..Message::default() };
        Response::new(&message, form)
    }

    /// The answer to what the firewall refused. It says no more than a client needs, and nothing of what it sent.
    pub fn to_refusal(refusal: Refusal, form: Form, id: RequestId) -> Response {
        let status = refusal.status();
        let title = match status {
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            413 => "Content Too Large",
            414 => "URI Too Long",
            431 => "Request Header Fields Too Large",
            505 => "HTTP Version Not Supported",
            _ => "Bad Request",
        };
        let message = Message {
            status,
            word: "refused",
            title,
            detail: "The gate does not accept this request in the form in which it arrived.",
            advice: "If you followed a link, report it to your administrator, with the request ID.",
            request_id: id.to_string(),
            ..Message::default()
        };
        let response = Response::new(&message, form).named("refused");
        if refusal == Refusal::UnknownMethod {
            // RFC 9110 15.5.6. The same for every path: which of them a path takes is not for strangers to know.
            let allow: Vec<&str> = Method::ALL.into_iter().map(Method::as_str).collect();
            return response.with("allow", allow.join(", "));
        }
        response
    }

    /// The whole answer as HTTP/1.1, after which the connection is closed.
    pub fn to_closing_bytes(&self) -> Vec<u8> {
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Refused");
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.fields {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", self.body.len()));
        bytes.push_str(&self.body);
        bytes.into_bytes()
    }
}

fn denied(
    denial: &Denial,
    command: Option<String>,
    offer: Option<&Offer>,
    form: Form,
    id: RequestId,
) -> Response {
    let message = Message {
        status: 403,
        word: denial.lack.reason.word(),
        title: "Access denied",
        detail: reason_in_words(denial.lack.reason),
        advice: match offer {
            Some(_) => "",
            None => "To request access, send these details to your administrator, with the request ID.",
        },
        needed: denial.lack.required.join(", "),
        command: command.unwrap_or_default(),
        request_id: id.to_string(),
        offer,
    };
    let response = Response::new(&message, form).named("denied");
    match (form, offer) {
        (Form::Page, Some(_)) => response.with("content-security-policy", CONTENT_SECURITY_POLICY.to_owned()),
        _ => response,
    }
}

/// 302 to the login page with the way back. htmx follows a 302 inside its own request and would swap the login page
/// into a corner of the old one, so the answer makes it navigate instead.
fn login(request: &Request, form: Form, id: RequestId, login_path: &str) -> Response {
    let location = if request.method().is_safe() && !request.target().is_asterisk() {
        format!("{login_path}?next={}", utf8_percent_encode(request.target().raw(), QUERY_VALUE))
    } else {
        login_path.to_owned()
    };
    let response = match form {
        Form::Fragment => unauthorized(form, id).with("hx-redirect", location),
        Form::Page | Form::Problem => {
            Response::plain(302, "login", "Log in first", "You must log in to see this page.", form, id)
                .with("location", location)
        }
    };
    response.named("login")
}

fn unauthorized(form: Form, id: RequestId) -> Response {
    Response::plain(401, "unauthorized", "Log in first", "This address requires a credential.", form, id)
        .with("www-authenticate", "Bearer".to_owned())
}

fn unavailable(form: Form, id: RequestId) -> Response {
    let detail = "The gate cannot check access right now. Try again in a moment.";
    Response::plain(503, "unavailable", "Not available", detail, form, id)
        .named("unavailable")
        .with("retry-after", "2".to_owned())
}

/// The reason that a denial page may show.
fn reason_in_words(reason: Reason) -> &'static str {
    match reason {
        Reason::MissingLegacyRole | Reason::MissingRole => {
            "Your account does not have the role that this page requires."
        }
        Reason::MissingPermission => "Your account does not have the permission that this page requires.",
        Reason::BodyUnreadable => "The request has a body that the gate cannot read for this action.",
        Reason::NoLegacyGate => "This page is not available yet.",
        Reason::LegacyRolesGone => "This page asks for a role of a list that no longer exists.",
        Reason::UnmappedRoute => "The gate has no rule for this address.",
        Reason::TicketRequired => {
            "This page is for one ticket and one customer: the address must name both, each once."
        }
        Reason::NoTicketGrant => "Your account does not have access to this customer for this ticket.",
        Reason::TicketClosed => "The ticket is closed, so the access that was granted for it has ended.",
        Reason::TicketGrantsOff => "Access for tickets is switched off.",
    }
}
