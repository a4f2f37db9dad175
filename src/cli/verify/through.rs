//! `--through`: whether Console lets in the callers that the gate let in, tested with requests that are not probes.
//!
//! Probes are never forwarded: the holder of a probe key could otherwise read Console as anybody. So a person of the
//! operator's choice sends the requests, by a cookie of their own, with the outcome of a request from their browser.
//! First, a probe with the same cookie shows whether the gate would let it in. Only such requests are sent, and only
//! GET and HEAD on rows that ask for a role.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use policy::mapping::RowKind;
use policy::method::Method;
use serde::Serialize;
use workbench::soak::refusals;
use workbench::verify::{Case, Plan};

use crate::outbound::{Outbound, OutboundError, Request, Url};

/// Views may take their time.
const TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The cookie of a logged-in person. Never printed.
#[derive(Clone)]
pub(super) struct Cookie(String);

impl FromStr for Cookie {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Cookie, &'static str> {
        let is_cookie =
            text.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
        let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',');
        if is_cookie && is_clean {
            return Ok(Cookie(text.to_owned()));
        }
        Err("write NAME=VALUE, as the browser sends it: one cookie, without spaces, `;` and `,`")
    }
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(hidden)")
    }
}

impl Cookie {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What Console answered to one request that the gate let in.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Passage {
    pub route: String,
    pub method: &'static str,
    pub path: String,
    /// Which cookie, counted from 1.
    pub cookie: usize,
    /// The gate that decided: `v2` or `legacy`.
    pub gate: String,
    /// `None` without an answer.
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub request_id: String,
    /// Whether the answer redirects the person to the login page.
    pub leads_to_login: bool,
    /// Whether the route is among `own_refusals`, so that a refusal is the view's own.
    pub refuses_by_itself: bool,
    /// `access_denied` rows that name the request: in that case the gate refused it.
    pub audit_rows: usize,
}

impl Passage {
    /// Whether Console refused a request that the gate let in.
    pub(super) fn is_refused(&self) -> bool {
        (matches!(self.status, Some(401 | 403)) || self.leads_to_login)
            && self.audit_rows == 0
            && !self.refuses_by_itself
    }

    /// Whether Console's answer is unknown.
    pub(super) fn is_unanswered(&self) -> bool {
        !matches!(self.status, Some(status) if !(502..=504).contains(&status)) || self.audit_rows > 0
    }
}

/// The whole result.
#[derive(Debug, Default, Serialize)]
pub(super) struct Through {
    pub passages: Vec<Passage>,
    /// Rows with GET or HEAD that no cookie's holder may open, so that no request was sent.
    pub not_tried: Vec<String>,
}

impl Through {
    /// The findings, a sentence each.
    pub(super) fn findings(&self) -> Vec<String> {
        let refused_by = |gate: &str| {
            let refused = self.passages.iter().filter(|one| one.gate == gate && one.is_refused());
            refused.map(|one| (one.route.as_str(), one.status.unwrap_or(403), 1)).collect::<Vec<_>>()
        };
        let mut findings: Vec<String> =
            refusals::in_words(refused_by("v2").into_iter()).into_iter().collect();
        let legacy = refused_by("legacy");
        if !legacy.is_empty() {
            let routes: BTreeSet<&str> = legacy.iter().map(|(route, ..)| *route).collect();
            let routes: Vec<&str> = routes.into_iter().collect();
            findings.push(format!(
                "Console refused {} request(s) that the legacy gate allowed: its decorators differ from `legacy` of {}",
                legacy.len(),
                routes.join(", ")
            ));
        }
        for one in self.passages.iter().filter(|one| one.is_unanswered()) {
            let why = match (&one.problem, one.status, one.audit_rows) {
                (Some(problem), ..) => problem.clone(),
                (None, _, 1..) => "the gate denied it, after it had allowed the probe".to_owned(),
                (None, status, 0) => format!("status {}", status.unwrap_or_default()),
            };
            findings.push(format!("no answer from Console to {} {}: {why}", one.method, one.path));
        }
        findings
    }
}

/// One request that may be sent for real.
pub(super) struct Attempt<'p> {
    pub route: &'p str,
    pub method: Method,
    pub path: &'p str,
}

/// The requests of a plan that may be sent for real, each once.
pub(super) fn attempts<'p>(plan: &'p Plan<'_>) -> Vec<Attempt<'p>> {
    let mut seen = BTreeSet::new();
    let is_sent = |case: &&Case<'_>| {
        matches!(case.method, Method::Get | Method::Head)
            && case.row.is_some_and(|row| matches!(row.kind, RowKind::Gated { .. }))
    };
    let mut attempts = Vec::new();
    for case in plan.cases.iter().filter(is_sent) {
        let Some(row) = case.row else { continue };
        if seen.insert((case.method.as_str(), case.path.as_str())) {
            attempts.push(Attempt { route: &row.route, method: case.method, path: &case.path });
        }
    }
    attempts
}

/// Sends real requests.
pub(super) struct Sender {
    url: Url,
    host: Option<String>,
    outbound: Outbound,
}

impl Sender {
    pub(super) fn new(url: Url, host: Option<String>) -> Result<Sender, OutboundError> {
        Ok(Sender { url, host, outbound: Outbound::new(Vec::new(), TIMEOUT, ANSWER_BYTES)? })
    }

    /// The status, the request's id and the target of a redirect, or why there is no answer.
    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        cookie: &Cookie,
    ) -> Result<(u16, String, String), OutboundError> {
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend(self.host.as_deref().map(|host| ("host", host)));
        let request = Request::Any { method: method.as_str(), body: None };
        let answer = self.outbound.send(&self.url.at(target), request, &headers).await?;
        let field = |name: &str| {
            answer.fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        Ok((answer.status, field("x-request-id"), field("location")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(status: Option<u16>, leads_to_login: bool) -> Passage {
        Passage {
            route: "GET /orders/".into(),
            method: "GET",
            path: "/orders/".into(),
            cookie: 1,
            gate: "v2".into(),
            status,
            problem: None,
            request_id: "r".into(),
            leads_to_login,
            refuses_by_itself: false,
            audit_rows: 0,
        }
    }

    #[test]
    fn a_redirect_to_the_login_page_is_a_refusal_and_another_is_an_answer() {
        for (status, leads_to_login, is_refused) in [
            (302, true, true),
            (303, true, true),
            (307, true, true),
            (302, false, false),
            (301, false, false),
            (304, false, false),
            (200, false, false),
            (404, false, false),
            (401, false, true),
            (403, false, true),
        ] {
            let one = passage(Some(status), leads_to_login);
            assert_eq!(one.is_refused(), is_refused, "{status} {leads_to_login}");
            assert!(!one.is_unanswered(), "{status}");
            let through = Through { passages: vec![one.clone()], not_tried: Vec::new() };
            assert_eq!(through.findings().len(), usize::from(is_refused), "{:?}", through.findings());
            // The view's own answer, and the gate's own refusal, are nothing of Console's decorators.
            let own = Passage { refuses_by_itself: true, ..one.clone() };
            let of_the_gate = Passage { audit_rows: 1, ..one };
            assert!(!own.is_refused() && !of_the_gate.is_refused() && of_the_gate.is_unanswered());
        }
        let through = Through { passages: vec![passage(Some(302), true)], not_tried: Vec::new() };
        let expected = "Console answered with a redirect to its login page to 1 request that V2 allowed: its own decorators \
                        still decide (GET /orders/ 1)";
        assert!(through.findings()[0].starts_with(expected), "{:?}", through.findings());
    }
}
