//! The gate's own responses: a page for a browser, a fragment for htmx, a problem document for an API.

use askama::Template;
use policy::firewall::Request;
use serde_json::json;

use super::offer::{ASK_PATH, Offer};

/// Which form of an answer a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Page,
    /// htmx: swapped into a page.
    Fragment,
    /// `application/problem+json` (RFC 9457).
    Problem,
}

impl Form {
    /// The form for a request that could not be read: a browser shows what it is by the line that begins its Accept, and
    /// where that is not certain, the answer is for a program.
    pub fn of_unread(head: &[u8]) -> Form {
        let names_html = head.split(|&byte| byte == b'\n').any(|line| {
            line.split_at_checked(7).is_some_and(|(name, kinds)| {
                name.eq_ignore_ascii_case(b"accept:") && kinds.windows(9).any(|kind| kind == b"text/html")
            })
        });
        if names_html { Form::Page } else { Form::Problem }
    }

    /// htmx sends a field of its own; a browser names `text/html` before anything else; all others are programs.
    pub fn wanted_by(request: &Request) -> Form {
        let text = |name| request.fields().value(name).and_then(|value| std::str::from_utf8(value).ok());
        if text("hx-request") == Some("true") {
            return Form::Fragment;
        }
        let accepts_html = text("accept").is_some_and(|accept| {
            accept
                .split(',')
                .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
        });
        if accepts_html { Form::Page } else { Form::Problem }
    }

    /// The value of Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Page | Form::Fragment => "text/html; charset=utf-8",
            Form::Problem => "application/problem+json",
        }
    }
}

/// A link of a page: what a person can do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub words: &'static str,
    pub address: String,
}

/// A message to a person or a program.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    pub status: u16,
    /// A stable word, the last part of a problem document's `type`.
    pub word: &'a str,
    pub title: &'a str,
    pub detail: &'a str,
    pub advice: &'a str,
    /// What would have been enough.
    pub needed: String,
    /// What an operator runs to see why, and what could be granted.
    pub command: String,
    pub request_id: String,
    /// Where to ask for the missing access.
    pub offer: Option<&'a Offer>,
    /// What else a person can do.
    pub ways: &'a [Way],
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    title: &'a str,
    detail: &'a str,
    advice: &'a str,
    needed: &'a str,
    command: &'a str,
    request_id: &'a str,
    offer: Option<&'a Offer>,
    ask_path: &'a str,
    ways: &'a [Way],
}

#[derive(Template)]
#[template(path = "fragment.html")]
struct MessageFragment<'a> {
    title: &'a str,
    detail: &'a str,
    needed: &'a str,
    request_id: &'a str,
    offer: Option<&'a Offer>,
    ask_path: &'a str,
    ways: &'a [Way],
}

impl Message<'_> {
    /// The body in the form that was asked for.
    pub fn render(&self, form: Form) -> String {
        let rendered = match form {
            Form::Page => MessagePage {
                title: self.title,
                detail: self.detail,
                advice: self.advice,
                needed: &self.needed,
                command: &self.command,
                request_id: &self.request_id,
                offer: self.offer,
                ask_path: ASK_PATH,
                ways: self.ways,
            }
            .render(),
            Form::Fragment => MessageFragment {
                title: self.title,
                detail: self.detail,
                needed: &self.needed,
                request_id: &self.request_id,
                offer: self.offer,
                ask_path: ASK_PATH,
                ways: self.ways,
            }
            .render(),
            Form::Problem => Ok(self.problem()),
        };
        // Rendering strings into a string fails only without memory; the status still tells what matters.
        rendered.unwrap_or_default()
    }

    fn problem(&self) -> String {
        let mut problem = json!({
            "type": format!("urn:console-gate:{}", self.word),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": self.request_id,
        });
        if !self.needed.is_empty() {
            problem["needed"] = json!(self.needed);
        }
        if !self.command.is_empty() {
            problem["explain"] = json!(self.command);
        }
        if let Some(Offer { route, groups, .. }) = self.offer {
            problem["request_access"] =
                json!({ "method": "POST", "path": ASK_PATH, "route": route, "groups": groups });
        }
        format!("{problem}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_a_page_for_a_request_that_could_not_be_read() {
        let table = [
            ("GET //x HTTP/1.1\r\nHost: h\r\nAccept: text/html,application/xhtml+xml\r\n\r\n", Form::Page),
            ("GET //x HTTP/1.1\r\naccept: text/html\r\n", Form::Page),
            ("GET //x HTTP/1.1\r\nAccept: */*\r\n\r\n", Form::Problem),
            ("GET /accept:text/html HTTP/1.1\r\nX-Accept: text/html\r\n\r\n", Form::Problem),
            ("\x16\x03\x01", Form::Problem),
            ("", Form::Problem),
        ];
        for (head, expected) in table {
            assert_eq!(Form::of_unread(head.as_bytes()), expected, "{head:?}");
        }
    }
}
