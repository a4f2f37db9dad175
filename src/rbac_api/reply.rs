//! Answers of the RBAC API: JSON, or a problem (RFC 9457).

use grants::PeopleError;
use grants::authority::Sentence;
use policy::ids::RequestId;
use serde_json::{Map, Value};
use store::StoreError;

use crate::freshness::AccessError;
use crate::ruling::own_routes::Refusal;
use crate::ruling::response::Response;
use crate::ruling::ways::{Asked, Help};

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
}

impl Reply {
    /// 200 with a body.
    pub(crate) fn ok(body: Value) -> Reply {
        Reply { status: 200, fields: Vec::new(), body: Some(body) }
    }

    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Reply {
        Reply { status, fields: Vec::new(), body: None }
    }

    /// 200 with a text of another kind than JSON.
    pub(super) fn text(kind: &str, text: String) -> Reply {
        Reply::ok(Value::String(text)).with("content-type", kind)
    }

    /// With another status.
    #[must_use]
    pub(crate) fn with_status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }

    /// Adds a field.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.fields.push((name, value.into()));
        self
    }
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    title: &'static str,
    pub(crate) detail: String,
    /// What programs read.
    pub(super) members: Map<String, Value>,
    fields: Vec<(&'static str, String)>,
    /// Of a 403: what the audit has.
    pub(crate) refusal: Option<Box<Refusal>>,
}

/// An answer, or why there is none.
pub(crate) type Outcome = Result<Reply, Problem>;

impl Problem {
    pub(crate) fn new(status: u16, detail: impl Into<String>) -> Problem {
        let title = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            409 => "Conflict",
            412 => "Precondition Failed",
            415 => "Unsupported Media Type",
            422 => "Unprocessable Content",
            429 => "Too Many Requests",
            428 => "Precondition Required",
            _ => "Unavailable",
        };
        let fields = match status {
            503 => vec![("retry-after", "1".to_owned())],
            _ => Vec::new(),
        };
        Problem { status, title, detail: detail.into(), members: Map::new(), fields, refusal: None }
    }

    /// 403, with the word by which the audit has its reason, and who could do it instead.
    pub(crate) fn forbidden(reason: &'static str, detail: impl Into<String>, could: &[&str]) -> Problem {
        let refusal = Refusal { reason, required: Vec::new() };
        Problem { refusal: Some(Box::new(refusal)), ..Problem::new(403, detail) }.with("could", could)
    }

    /// The same, with the sentence of the rule that forbids it.
    pub(super) fn by_rule(sentence: Sentence, detail: impl Into<String>, could: &[&str]) -> Problem {
        Problem::forbidden(sentence.word(), detail, could).with("rule", sentence.letter().to_string())
    }

    /// Adds what was missing to what the audit has.
    #[must_use]
    pub(super) fn requiring(mut self, required: impl IntoIterator<Item = String>) -> Problem {
        self.refusal.get_or_insert_default().required.extend(required);
        self
    }

    /// 404 of a path that leads nowhere.
    pub(super) fn nothing_here() -> Problem {
        Problem::new(404, "the RBAC API has nothing at this address")
    }

    /// 503, with its cause in the log.
    pub(crate) fn unavailable(cause: &dyn std::fmt::Display) -> Problem {
        tracing::error!(%cause, "the RBAC API could not answer");
        Problem::new(503, "the database could not be used; try again")
    }

    /// Adds what programs read.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header field.
    #[must_use]
    pub(crate) fn with_field(mut self, name: &'static str, value: impl Into<String>) -> Problem {
        self.fields.push((name, value.into()));
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Conflict(cause) => {
                tracing::warn!(%cause, "the RBAC API: a change met a conflict");
                Problem::new(
                    409,
                    "the change contradicts what is stored; read it again and repeat the request",
                )
            }
            StoreError::OutOfRange(said) => Problem::new(422, said),
            error => Problem::unavailable(&error),
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Problem {
        Problem::unavailable(&error)
    }
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Problem {
        let said = error.to_string();
        match error {
            PeopleError::Store(error) => error.into(),
            PeopleError::Changing => Problem::new(503, said),
            PeopleError::Unknown { kind, name, .. } => {
                Problem::new(422, said).with("unknown", serde_json::json!({ "kind": kind, "name": name }))
            }
            PeopleError::NoAdmin(_) => Problem::new(422, "there is no such admin"),
            PeopleError::Exists { .. } => Problem::new(409, said),
            PeopleError::Cycle(roles) => Problem::new(422, said).with("cycle", roles),
            PeopleError::BadName(_) => Problem::new(422, said),
            PeopleError::OfConsole(_) | PeopleError::Plan(_) | PeopleError::Ended(_) => {
                Problem::new(422, said)
            }
        }
    }
}

/// The outcome of a request that a form has sent, for the person who sent it.
pub(super) fn page(outcome: &Outcome, asked: Asked<'_>) -> Response {
    let (status, title, detail) = match outcome {
        Ok(Reply { status, body, .. }) => {
            let request = body.as_ref().and_then(|body| body["id"].as_str()).unwrap_or_default();
            let detail = format!(
                "Request {request} waits for approval. Open the page again when it is approved, or ask those who approve."
            );
            (*status, "Request sent", detail)
        }
        Err(Problem { status, detail, .. }) => {
            let mut letters = detail.chars();
            let first = letters.next().map(|letter| letter.to_uppercase().to_string());
            (*status, "Request not sent", format!("{}{}.", first.unwrap_or_default(), letters.as_str()))
        }
    };
    let word = if status < 400 { "served" } else { "declined" };
    Response::to(asked, Help::Elsewhere, (status, word), title, &detail).named(word)
}

/// An outcome as a whole response.
pub(crate) fn response(outcome: Outcome, id: RequestId) -> Response {
    let mut fields = vec![("cache-control", "no-store".to_owned()), ("x-request-id", id.to_string())];
    let (status, kind, body, more) = match outcome {
        Ok(Reply { status, fields, body }) => (status, "application/json", body, fields),
        Err(Problem { status, title, detail, mut members, fields, refusal: _ }) => {
            let own = [
                ("type", "about:blank".into()),
                ("title", title.into()),
                ("status", status.into()),
                ("detail", detail.into()),
                ("request_id", id.to_string().into()),
            ];
            members.extend(own.map(|(name, value): (&str, Value)| (name.to_owned(), value)));
            (status, "application/problem+json", Some(Value::Object(members)), fields)
        }
    };
    let is_text = more.iter().any(|(name, _)| *name == "content-type");
    fields.extend(more);
    if body.is_some() && !is_text {
        fields.push(("content-type", kind.to_owned()));
    }
    let outcome = if status < 400 { "served" } else { "declined" };
    let body = match body {
        Some(Value::String(text)) if is_text => text,
        body => body.map(|body| body.to_string()).unwrap_or_default(),
    };
    Response { outcome, status, fields, body, about: None }
}
