//! Answers that the gate gives itself.

use std::sync::Arc;

use std::time::Duration;

use policy::decision::{Denial, Reason, Rejection};
use policy::firewall::Refusal;
use policy::ids::RequestId;
use policy::mapping::Forbidden;
use policy::method::Method;

use super::explain_command::explain_command;
use super::message::{Form, Message};
use super::offer::{CONTENT_SECURITY_POLICY, Offer};
use super::ways::{Asked, Help};

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
    pub fn to_rejection(rejection: &Rejection, asked: Asked<'_>, offer: Option<&Offer>) -> Response {
        let (form, id) = (asked.form(), asked.id);
        match rejection {
            Rejection::Denied(denial) if denial.answer == Forbidden::Redirect => login(asked).named("denied"),
            Rejection::Denied(denial) => denied(denial, asked, offer),
            Rejection::Login => login(asked),
            Rejection::Unauthorized => unauthorized(asked).named("unauthorized"),
            Rejection::Unknown => {
                let detail = "This address is for people who are logged in.";
                Response::to(asked, Help::LogIn, (403, "unknown"), "Access denied", detail)
                    .named("unauthorized")
            }
            Rejection::Gone => {
                let detail = "This address has been removed.";
                Response::to(asked, Help::Elsewhere, (410, "gone"), "Gone", detail).named("gone")
            }
            Rejection::Quiet => {
                let detail = "There is nothing at this address.";
                Response::to(asked, Help::Elsewhere, (404, "not_found"), "Not Found", detail).named("quiet")
            }
            Rejection::Upgrade => Response::to_refusal(Refusal::Upgrade, form, id),
            Rejection::StepUp(age) => step_up(asked, *age),
        }
    }

    /// The response where the gate could not decide, or could not record the denial.
    pub fn unavailable(asked: Asked<'_>) -> Response {
        let detail = "The gate cannot check access right now. Try again in a moment.";
        Response::to(asked, Help::Again, (503, "unavailable"), "Not available", detail)
            .named("unavailable")
            .with("retry-after", "2".to_owned())
    }

    /// Whether the connection is closed behind it: the rest of a refused request is discarded.
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

    /// A short answer with a sentence, and on a page with what a person can do next.
    pub fn to(
        asked: Asked<'_>,
        help: Help,
        (status, word): (u16, &str),
        title: &str,
        detail: &str,
    ) -> Response {
        let ways = asked.ways(help);
        let request_id = asked.id.to_string();
        let message = Message { status, word, title, detail, request_id, ways: &ways, ..Message::default() };
        Response::new(&message, asked.form())
    }

    /// The answer to a request that the firewall refused. It tells no more than a client needs, and repeats nothing of the
    /// request.
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

fn denied(denial: &Denial, asked: Asked<'_>, offer: Option<&Offer>) -> Response {
    let form = asked.form();
    let ways = asked.ways(Help::OtherAccount);
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
        command: explain_command(denial, asked.request).unwrap_or_default(),
        request_id: asked.id.to_string(),
        offer,
        ways: &ways,
    };
    let response = Response::new(&message, form).named("denied");
    match (form, offer) {
        (Form::Page, Some(_)) => response.with("content-security-policy", CONTENT_SECURITY_POLICY.to_owned()),
        _ => response,
    }
}

/// 302 to the login page with the way back. htmx follows a 302 inside its own request and would swap the login page
/// into a corner of the old one, so the answer makes it navigate instead.
fn login(asked: Asked<'_>) -> Response {
    let (form, id, location) = (asked.form(), asked.id, asked.login_address());
    let response = match form {
        Form::Fragment => unauthorized(asked).with("hx-redirect", location),
        Form::Page | Form::Problem => {
            Response::plain(302, "login", "Log in first", "You must log in to see this page.", form, id)
                .with("location", location)
        }
    };
    response.named("login")
}

/// To the page on which a passkey signs; without a login of the gate's own, nothing can (RFC 9470).
fn step_up(asked: Asked<'_>, age: Duration) -> Response {
    let detail = "This address requires a passkey that has signed a moment ago.";
    let response = Response::to(asked, Help::LogIn, (401, "step_up"), "Use your passkey", detail);
    let challenge =
        format!("Bearer error=\"insufficient_user_authentication\", max_age=\"{}\"", age.as_secs());
    let response = match (asked.form(), asked.step_up_address()) {
        (Form::Page, Some(location)) => Response { status: 302, ..response }.with("location", location),
        (Form::Fragment, Some(location)) => response.with("hx-redirect", location),
        (Form::Page | Form::Fragment | Form::Problem, _) => response,
    };
    response.with("www-authenticate", challenge).named("step-up")
}

fn unauthorized(asked: Asked<'_>) -> Response {
    let detail = "This address requires a credential.";
    Response::to(asked, Help::LogIn, (401, "unauthorized"), "Log in first", detail)
        .with("www-authenticate", "Bearer".to_owned())
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
