//! Requests that were not served, in the log: who asked for what, and why they got nothing. A line for each cause and route
//! in some minutes; the metrics count all.

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use metrics::counter;
use policy::ids::RequestId;

use crate::journal::log_limit::LogLimit;

/// Logs what went wrong, at most once in some minutes for each cause and route.
#[derive(Default)]
pub struct Troubles {
    log: LogLimit,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'w> {
    pub method: &'static str,
    pub route: Option<&'w str>,
    /// An admin or a machine, where one had to be known.
    pub actor: Option<&'w str>,
    /// The server that it was for.
    pub upstream: &'w str,
    pub id: RequestId,
}

impl Troubles {
    /// A permitted request got no whole answer.
    pub fn not_completed(&self, whose: &Whose<'_>, kind: &'static str, status: u16, cause: &dyn Display) {
        let Some(not_logged_before) = self.log.is_due(&(kind, whose.route)) else { return };
        let Whose { method, route, actor, upstream, id } = *whose;
        tracing::warn!(
            kind,
            status,
            %cause,
            method,
            route,
            actor,
            upstream,
            request_id = %id,
            not_logged_before,
            "a request was not completed"
        );
    }

    /// A server answered that it has failed.
    pub fn server_failed(&self, whose: &Whose<'_>, status: u16) {
        let Some(not_logged_before) = self.log.is_due(&("answer", status, whose.route)) else { return };
        let Whose { method, route, actor, upstream, id } = *whose;
        tracing::warn!(
            status,
            method,
            route,
            actor,
            upstream,
            request_id = %id,
            not_logged_before,
            "a server answered with an error of its own: its log shows why, under this request id"
        );
    }

    /// The gate could not decide, or not record what it decided.
    pub fn unavailable(&self, whose: &Whose<'_>, kind: &'static str, error: &dyn Display) {
        let Some(not_logged_before) = self.log.is_due(&("unavailable", kind, whose.route)) else { return };
        let Whose { method, route, id, .. } = *whose;
        tracing::error!(%error, status = 503, method, route, request_id = %id, not_logged_before, "the gate is unavailable");
    }

    /// Console's side refused the assertion of a request.
    pub fn assertion_refused(&self, whose: &Whose<'_>, refused: &AssertionRefused, now: DateTime<Utc>) {
        let AssertionRefused { reason, at } = *refused;
        counter!(
            "gate_assertion_refusals_total", "upstream" => whose.upstream.to_owned(), "reason" => reason.word
        )
        .increment(1);
        let Some(not_logged_before) = self.log.is_due(&("assertion", reason.word, whose.upstream)) else {
            return;
        };
        let Whose { method, route, actor, upstream, id } = *whose;
        let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        tracing::warn!(
            reason = reason.word,
            upstream,
            gate_time = time(now),
            upstream_time = at.map(time),
            ahead_seconds = at.map(|at| (at - now).num_seconds()),
            method,
            route,
            actor,
            request_id = %id,
            not_logged_before,
            "the upstream's console-gate package refused the gate's assertion, so the caller got 403: {}",
            reason.remedy
        );
    }
}

/// Why Console's side refuses an assertion.
#[derive(Debug, PartialEq, Eq)]
pub struct AssertionReason {
    /// The word in the header, and the label of the metric.
    pub word: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The reasons that Console's side has words for; the last one is for any other word.
pub static ASSERTION_REASONS: [AssertionReason; 12] = [
    AssertionReason {
        word: "clock",
        remedy: "its clock and the gate's are too far apart; set both by NTP (`upstream_time` is its own)",
    },
    AssertionReason {
        word: "key",
        remedy: "it has no key of this id; give it the gate's keys (CONSOLE_GATE_KEYS), the new one first there, then here",
    },
    AssertionReason {
        word: "signature",
        remedy: "its key of this id is another one than the gate's; compare the two values of CONSOLE_GATE_KEYS",
    },
    AssertionReason {
        word: "algorithm",
        remedy: "it expects another algorithm; compare `algorithm` of [assertion] with CONSOLE_GATE_KEYS (HS256) and \
                 CONSOLE_GATE_JWKS (EdDSA) there",
    },
    AssertionReason {
        word: "audience",
        remedy: "compare `audience` of [assertion] with CONSOLE_GATE_AUDIENCE there",
    },
    AssertionReason {
        word: "lifetime",
        remedy: "`lifetime_seconds` of [assertion] is longer than it takes (60 seconds, unless it is configured)",
    },
    AssertionReason {
        word: "replay",
        remedy: "it has seen the assertion before; something between the gate and it repeats requests",
    },
    AssertionReason {
        word: "replay-cache",
        remedy: "its replay cache is full; raise CONSOLE_GATE_REPLAY_CACHE there",
    },
    AssertionReason {
        word: "request",
        remedy: "it got another path, method or request id than the gate sent; something between rewrites requests, or \
                 CONSOLE_GATE_SCRIPT_NAME there is wrong",
    },
    AssertionReason {
        word: "missing",
        remedy: "the request came without X-Console-Gate-Assertion; something between removes the header",
    },
    AssertionReason { word: "malformed", remedy: "something between the gate and it has changed the header" },
    AssertionReason {
        word: "other",
        remedy: "its log shows why; its version of the package may be newer than this gate",
    },
];

/// That Console's side refused an assertion, as it reports in [`AssertionRefused::HEADER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssertionRefused {
    pub reason: &'static AssertionReason,
    /// Its own time.
    pub at: Option<DateTime<Utc>>,
}

impl AssertionRefused {
    /// Of responses to the gate; no client gets it.
    pub const HEADER: &'static str = "x-console-gate-refused";

    /// Reads `clock; time=1790000000`.
    pub fn parse(value: &[u8]) -> AssertionRefused {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let (word, rest) = text.split_once(';').unwrap_or((text, ""));
        let known = ASSERTION_REASONS.iter().find(|reason| reason.word == word.trim());
        let time = rest.trim().strip_prefix("time=").and_then(|seconds| i64::from_str(seconds).ok());
        AssertionRefused {
            reason: known.unwrap_or(&ASSERTION_REASONS[ASSERTION_REASONS.len() - 1]),
            at: time.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_of_the_known_reasons_with_a_time_or_without() {
        for (value, word, at) in [
            ("clock; time=1790000000", "clock", Some(1_790_000_000)),
            ("key", "key", None),
            ("key; time=soon", "key", None),
            ("replay;time=5", "replay", Some(5)),
            ("<script>; time=9223372036854775807", "other", None),
            ("", "other", None),
        ] {
            let refused = AssertionRefused::parse(value.as_bytes());
            assert_eq!(refused.reason.word, word, "{value}");
            assert_eq!(refused.at.map(|at| at.timestamp()), at, "{value}");
        }
        assert_eq!(AssertionRefused::parse(b"\xff").reason.word, "other");
    }
}
