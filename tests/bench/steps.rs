//! The steps of one request, each in a function of its own that valgrind counts: see `check.py`.
//!
//! Counts of instructions hardly depend on what else a machine does, so a step that became dearer shows on any.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program of the benchmarks stops at what it cannot do"
)]

use std::hint::black_box;

use chrono::{DateTime, Utc};
use console_gate::assertion::AssertionSigner;
use console_gate::settings::values::AssertionAlgorithm;
use policy::decision::body::BodyFacts;
use policy::decision::{Caller, Control, Permit, Question, Target, decide};
use policy::firewall::{HeadSearch, HeadState, Policy, Request, inspect};
use policy::identity::Principal;
use policy::identity::flask_cookie::CookieVerifier;
use policy::ids::{Epoch, RequestId};
use policy::mapping::{Found, Mapping, Row};
use policy::method::Method;
use policy::rbac::Access;
use policy::response::{RequestContext, ResponseHead};

use fixture::PATH;

mod fixture;

/// As often as each step is done; `check.py` divides by it.
const TIMES: usize = 1_000;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n\
Connection: keep-alive\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\nVary: Cookie\r\n\r\n";

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
    let mapping = fixture::mapping();
    let policy = Policy::default();
    let now = DateTime::from_timestamp(1_795_255_200, 0).unwrap();
    let (verifier, cookie) = fixture::cookie(now);
    let signer = fixture::signer(AssertionAlgorithm::Hs256);
    let (principal, access) = fixture::anna();
    let head = fixture::head(&cookie);
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
