//! The steps of one request, each in a function of its own that valgrind counts: see `check.py`.
//!
//! Counts of instructions hardly depend on what else a machine does, so a step that became dearer shows on any.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program of the benchmarks stops at what it cannot do"
)]

use std::hint::black_box;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use console_gate::assertion::AssertionSigner;
use console_gate::settings::secrets::{NamedKey, Secret};
use console_gate::settings::values::AssertionAlgorithm;
use policy::decision::body::BodyFacts;
use policy::decision::{Caller, Control, Permit, Question, Target, decide};
use policy::firewall::{HeadSearch, HeadState, Policy, Request, inspect};
use policy::identity::Principal;
use policy::identity::flask_cookie::{CookieLimits, CookieVerifier, SigningKeys};
use policy::ids::{AdminId, Epoch, RequestId};
use policy::mapping::{Found, Mapping, Row};
use policy::method::Method;
use policy::rbac::{Access, LegacyRole, Standing};
use policy::response::{RequestContext, ResponseHead};

/// As often as each step is done; `check.py` divides by it.
const TIMES: usize = 1_000;

const PATH: &str = "/console/customers/7/tickets";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n\
Connection: keep-alive\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\nVary: Cookie\r\n\r\n";

fn head(cookie: &str) -> Vec<u8> {
    format!(
        "GET {PATH}?page=2 HTTP/1.1\r\nHost: console.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Referer: https://console.example.com/console/customers/\r\nCookie: theme=dark; session={cookie}\r\n\
         Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\r\n"
    )
    .into_bytes()
}

#[inline(never)]
fn step_find_head(head: &[u8], policy: &Policy) {
    let state = HeadSearch::default().advance(black_box(head), &policy.limits);
    assert_eq!(state, HeadState::Complete(head.len()));
}

#[inline(never)]
fn step_firewall(head: &[u8], policy: &Policy) -> Request {
    inspect(black_box(head), policy).unwrap()
}

#[inline(never)]
fn step_match(mapping: &Mapping) -> &Row {
    let Found::Row(row) = mapping.find(black_box(PATH), Method::Get) else { panic!("no row") };
    row
}

#[inline(never)]
fn step_cookie(verifier: &CookieVerifier, cookie: &str, now: DateTime<Utc>) {
    black_box(verifier.verify(black_box(cookie), now).unwrap());
}

#[inline(never)]
fn step_decide(mapping: &Mapping, row: &Row, principal: &Principal, access: &Access) -> Permit {
    let control = Control { epoch: Epoch(1), rbac_v2: true, may_enforce: true };
    let question = Question {
        upgrade: false,
        target: Target::Row(row, mapping.rollout_of(row)),
        caller: Caller::Known(principal, access),
        control: Some(&control),
        body: &BodyFacts::NotRead,
    };
    decide(black_box(&question)).outcome.unwrap()
}

#[inline(never)]
fn step_assertion(
    signer: &AssertionSigner,
    permit: &Permit,
    mapping: &Mapping,
    id: RequestId,
    now: DateTime<Utc>,
) {
    black_box(signer.sign(black_box(permit), mapping.sha256(), Method::Get, PATH, id, now));
}

#[inline(never)]
fn step_response() {
    let context = RequestContext { method: Method::Get, upgrade: false };
    black_box(ResponseHead::parse(black_box(RESPONSE), context).unwrap());
}

#[inline(never)]
fn step_request_id() -> RequestId {
    console_gate::random::request_id()
}

fn main() {
    let file = include_str!("../../routes.toml").replace("= \"legacy\"", "= \"v2\"");
    let mapping = Mapping::parse("routes.toml", &file).unwrap();
    let policy = Policy::default();
    let now = DateTime::from_timestamp(1_795_255_200, 0).unwrap();
    let keys = SigningKeys::new(b"a secret of some length", [b"an older one"]).unwrap();
    let verifier = CookieVerifier::new(keys, CookieLimits::default());
    let cookie = verifier.sign(&serde_json::json!({ "admin_id": "anna", "_fresh": true }), now);
    let key = NamedKey { id: "k1".into(), secret: Secret::new(vec![7; 32]) };
    let signer = AssertionSigner::new(AssertionAlgorithm::Hs256, &[key], "console", 30).unwrap();
    let principal = Principal::Admin { id: AdminId::new("anna"), session: None };
    let access = Access {
        standing: Standing::Active,
        legacy: [LegacyRole::literal("ops")].into(),
        roles: ["console-user", "console-audit-user", "console-manager"].map(Arc::from).into(),
        ..Access::nothing(Epoch(1))
    };
    let head = head(&cookie);
    for _ in 0..TIMES {
        step_find_head(&head, &policy);
        step_firewall(&head, &policy);
        let row = step_match(&mapping);
        step_cookie(&verifier, &cookie, now);
        let permit = step_decide(&mapping, row, &principal, &access);
        let id = step_request_id();
        step_assertion(&signer, &permit, &mapping, id, now);
        step_response();
    }
}
