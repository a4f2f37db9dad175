//! A refusal of an endpoint, as RFC 9457 has it.

use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why an endpoint refuses a request.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// `type`, where it is not `about:blank`.
    kind: Option<String>,
    title: &'static str,
    detail: String,
    /// The mistakes, by part of the request.
    errors: Vec<Value>,
    /// In seconds.
    retry_after: Option<u64>,
}

impl Problem {
    /// A refusal with a status, its title and a sentence.
    pub fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, kind: None, title, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "Bad Request", detail)
    }

    /// 401: no token, or an invalid one.
    pub fn unauthorized() -> Problem {
        let detail = "an active service token is required: Authorization: Bearer ...";
        Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", detail)
    }

    /// 403: a valid token without access to this endpoint.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "Forbidden", detail)
    }

    /// 413 for a body over its limit, with `limit` in words; 408 for one that did not arrive whole in its time.
    pub fn of_body(rejection: &BytesRejection, limit: String) -> Problem {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(limit),
            _ => {
                let detail = "the body did not arrive whole, or not in time";
                Problem::new(StatusCode::REQUEST_TIMEOUT, "Request Timeout", detail)
            }
        }
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large", detail)
    }

    /// 429: wait for so many seconds.
    pub fn too_many(seconds: u64) -> Problem {
        let detail = format!("this token exceeded its rate limit; wait {seconds} s");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", detail);
        Problem { retry_after: Some(seconds), ..problem }
    }

    /// 429: others have to be decided or lapse first.
    pub fn too_many_pending() -> Problem {
        let detail = "too many requests of this service are pending already";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", detail);
        Problem { retry_after: Some(3_600), ..problem }
    }

    /// 503: ask again.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", detail);
        Problem { retry_after: Some(1), ..problem }
    }

    /// With a type that programs know.
    #[must_use]
    pub fn of_type(self, kind: String) -> Problem {
        Problem { kind: Some(kind), ..self }
    }

    /// Adds the mistakes, by part of the request.
    #[must_use]
    pub fn with_errors(self, errors: Vec<Value>) -> Problem {
        Problem { errors, ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = self.kind.as_deref().unwrap_or("about:blank");
        let mut body = json!({ "type": kind, "title": self.title, "status": self.status.as_u16(), "detail": self.detail });
        if !self.errors.is_empty() {
            body["errors"] = Value::Array(self.errors);
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
