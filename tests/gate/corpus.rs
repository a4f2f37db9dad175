//! The corpus of odd requests through the real gate to the real app.
//!
//! `tests/data/werkzeug/corpus.jsonl` says what gunicorn and Werkzeug made of each request. Here each one is either
//! refused, and reaches nobody, or it is forwarded as exactly the bytes that were matched, and the view that runs is
//! that of the row that matched.

use std::collections::HashMap;

use serde_json::Value;

use crate::support::canonical::uncanonical;
use crate::support::chunks::unchunk;
use crate::support::exchange::{Exchange, RawAnswer};
use crate::support::http::HOST;
use crate::support::recorder::{Recorded, Recorder};
use crate::support::stand_in::StandIn;
use crate::support::{Database, Findings, Setup, World, project_text};

/// The app's rules as rows: endpoint, methods, path. `/loose` and `/loosedir/` have `strict_slashes=False`, which two
/// rows say.
const RULES: [(&str, &str, &str); 57] = [
    ("root.index", "GET", "/"),
    ("root.health", "GET", "/health"),
    ("root.login", "GET,POST", "/login"),
    ("root.logout", "POST", "/logout"),
    ("root.public", "GET", "/public/<path:p>"),
    ("customers.list", "GET", "/console/customers/"),
    ("customers.create", "POST", "/console/customers/"),
    ("customers.new", "GET", "/console/customers/new"),
    ("customers.export", "GET", "/console/customers/export.csv"),
    ("customers.page", "GET", "/console/customers/page/<int:n>"),
    ("customers.show", "GET", "/console/customers/<id>"),
    ("customers.edit", "POST", "/console/customers/<id>"),
    ("customers.delete", "DELETE", "/console/customers/<id>"),
    ("customers.revoke", "POST", "/console/customers/<id>/<session_id>/revoke"),
    ("customers.notes", "GET", "/console/customers/<id>/notes/"),
    ("customers.bulk", "POST", "/console/customers/bulk"),
    ("console.home", "GET", "/console/"),
    ("console.section", "GET", "/console/<section>"),
    ("console.item", "GET", "/console/<section>/<item>"),
    ("secrets.list", "GET", "/secrets"),
    ("secrets.sop", "GET", "/secrets/<name>/sop"),
    ("secrets.version", "GET", "/secrets/<name>/versions/<int:v>"),
    ("secrets.rotate", "POST", "/api/secrets/<name>/rotate"),
    ("secrets.get", "GET", "/api/secrets/<name>"),
    ("secrets.search", "POST", "/api/secrets/search"),
    ("secrets.put", "PUT,PATCH", "/api/secrets/<name>"),
    ("dashboard.home", "GET", "/dashboard/"),
    ("dashboard.force_poll", "POST", "/dashboard/_force_poll"),
    ("dashboard.widget", "GET", "/dashboard/<widget>"),
    ("misc.user", "GET", "/users/<int:uid>"),
    ("misc.user_roles", "POST", "/users/<int:uid>/roles"),
    ("misc.user_slug", "GET", "/users/<slug>"),
    ("misc.invoice", "GET", "/invoices/<uuid:iid>"),
    ("misc.file", "GET", "/files/<path:p>"),
    ("misc.file_meta", "GET", "/files/<path:p>/meta"),
    ("misc.catch2", "GET", "/<section>/<name>"),
    ("misc.rate", "GET", "/rates/<float:r>"),
    ("misc.report", "GET", "/reports/<any(daily,weekly,monthly):kind>"),
    ("misc.loose", "GET", "/loose"),
    ("misc.loose", "GET", "/loose/"),
    ("misc.loosedir", "GET", "/loosedir"),
    ("misc.loosedir", "GET", "/loosedir/"),
    ("misc.nomerge", "GET", "/nomerge/<x>"),
    ("misc.signed", "GET", "/signed/<int(signed=True):n>"),
    ("misc.fixed", "GET", "/fixed/<int(fixed_digits=4):n>"),
    ("misc.len2", "GET", "/len/<string(length=2):s>"),
    ("misc.paged", "GET", "/paged/"),
    ("misc.paged", "GET", "/paged/<int:page>"),
    ("misc.noopt", "GET", "/noopt"),
    ("rbac.grants", "GET", "/rbac/grants"),
    ("rbac.grant_create", "POST", "/rbac/grants"),
    ("rbac.grant_revoke", "DELETE", "/rbac/grants/<int:gid>"),
    ("rbac.break_glass", "POST", "/rbac/break-glass"),
    ("rbac.audit", "GET", "/rbac/audit/"),
    ("hook.freescout", "POST", "/webhooks/freescout"),
    // Flask's own, which every app has.
    ("static", "GET", "/static/<path:filename>"),
    // Not the app's: a row that no view answers, so that a request which the app does not know can be seen to pass.
    ("", "GET", "/not/in/the/app"),
];

/// What a refusal may be: the firewall's own words for it.
const REFUSALS: [u16; 7] = [400, 405, 408, 413, 414, 431, 505];

/// One line of the corpus, addressed to the tests' host.
struct Case {
    record: Value,
    /// What is sent, packet by packet.
    packets: Vec<Vec<u8>>,
}

/// The outcome of a request.
enum Outcome {
    /// Nothing reached anybody.
    Refused,
    /// It was let in, and its body proved to be none while it was streamed: the client got an error, and upstream saw
    /// a request that never ended.
    Broken,
    /// The gate let it through, as its own assertion and the bytes upstream show.
    Forwarded { route: String, path: String },
}

impl Case {
    fn all() -> Vec<Case> {
        let corpus = project_text("tests/data/werkzeug/corpus.jsonl");
        let cases: Vec<Case> =
            corpus.lines().map(|line| Case::new(serde_json::from_str(line).expect("JSON"))).collect();
        assert_eq!(cases.len(), 1_142);
        cases
    }

    fn new(record: Value) -> Case {
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        let local = |text: &str| {
            latin1(&text.replace("127.0.0.1", HOST).replace("Host: h\r\n", "Host: console.test\r\n"))
        };
        let packets = if let Some(parts) = record["parts"].as_array() {
            parts.iter().map(|part| local(part.as_str().expect("text"))).collect()
        } else if let Some(raw) = record["raw"].as_str() {
            vec![local(raw)]
        } else {
            let version = record["version"].as_str().unwrap_or("HTTP/1.1");
            let mut head = format!("{} {} {version}\r\n", text("method"), text("target"));
            match record.get("host") {
                None => head += "Host: 127.0.0.1\r\n",
                Some(Value::String(host)) => head += &format!("Host: {host}\r\n"),
                Some(_) => {}
            }
            for field in record["headers"].as_array().into_iter().flatten() {
                let part = |index: usize| field[index].as_str().expect("text");
                head += &format!("{}: {}\r\n", part(0), part(1));
            }
            vec![local(&(head + "\r\n"))]
        };
        Case { record, packets }
    }

    fn text(&self, key: &str) -> &str {
        self.record[key].as_str().unwrap_or_default()
    }

    fn is_in(&self, group: char) -> bool {
        self.text("group").starts_with(group)
    }

    fn name(&self) -> String {
        format!(
            "{} {} {} ({})",
            self.text("group"),
            self.text("method"),
            self.text("target"),
            self.text("note")
        )
    }

    /// Whether it has a field that the gate drops and the servers that were recorded did not.
    fn has_a_folding_name(&self) -> bool {
        let fields = self.record["headers"].as_array().into_iter().flatten();
        fields.filter_map(|field| field[0].as_str()).any(|name| name.contains(['_', '.']))
    }

    /// The view that ran when gunicorn was asked directly; automatic OPTIONS run none.
    fn endpoint(&self, server: &str) -> &str {
        if self.record["auto_options"] == true {
            return "";
        }
        let alternative = &self.record["alt"][server];
        let seen = if alternative.is_object() { alternative } else { &self.record };
        seen["endpoint"].as_str().unwrap_or_default()
    }

    /// The target that may go upstream: the client's own, or the origin form of an absolute one that names this host
    /// (RFC 9112 3.2.2).
    fn canonical_target(&self) -> String {
        let target = self.text("target").replace("127.0.0.1", HOST);
        let absolute = target.to_ascii_lowercase();
        let authority = ["http://", "https://"].into_iter().find_map(|scheme| {
            absolute
                .strip_prefix(scheme)?
                .starts_with(&format!("{HOST}/"))
                .then_some(scheme.len() + HOST.len())
        });
        authority.map_or(target.clone(), |end| target[end..].to_owned())
    }

    /// Sends the case over a connection of its own. Those of group G are pipelines that end their connection.
    async fn send(&self, socket: &std::path::Path) -> Vec<RawAnswer> {
        let mut exchange = Exchange::to(socket).await;
        for packet in &self.packets {
            exchange.send(packet).await;
            tokio::task::yield_now().await;
        }
        let is_head = self.text("method") == "HEAD";
        if self.is_in('G') {
            return exchange.answers(is_head).await;
        }
        exchange.answer(is_head).await.into_iter().collect()
    }
}

/// The corpus writes byte n as character n.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).expect("latin-1")).collect()
}

fn setup(upstream: std::path::PathBuf) -> Setup {
    let rows: Vec<String> = RULES
        .iter()
        .map(|(_, methods, path)| format!("\"{methods} {path}\" = {{ public = true }}\n"))
        .collect();
    let mapping = format!("version = 1\n[blueprints.app.routes]\n{}", rows.concat());
    Setup {
        upstream: Some(upstream),
        mapping: Some(Box::leak(mapping.into_boxed_str())),
        firewall: "head_timeout_ms = 1000\nbody_timeout_ms = 1000\n",
        ..Setup::V2
    }
}

/// The endpoint of a row.
fn endpoint_of(route: &str) -> &'static str {
    let rule = RULES.iter().find(|(_, methods, path)| format!("{methods} {path}") == route);
    rule.unwrap_or_else(|| panic!("no row `{route}`")).0
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_refused_or_runs_the_view_of_the_row_that_matched() {
    let world = World::new(Database::Sqlite).await;
    let cases = Case::all();
    let mut findings = Findings::default();
    let outcomes = as_bytes(&world, &cases, &mut findings).await;
    let count =
        |wanted: fn(&Outcome) -> bool| outcomes.iter().flatten().filter(|outcome| wanted(outcome)).count();
    let forwarded = count(|outcome| matches!(outcome, Outcome::Forwarded { .. }));
    let broken = count(|outcome| matches!(outcome, Outcome::Broken));
    println!("{} cases: {forwarded} requests forwarded, {broken} broken off", cases.len());
    for (worker, server) in [("gthread", "g27-gthread"), ("sync", "g27-sync")] {
        let app = StandIn::start(worker);
        let gate = world.gate(&setup(app.socket())).await;
        let mut stopped_by_gunicorn = 0;
        for (case, expected) in cases.iter().zip(&outcomes) {
            let answers = case.send(&gate.socket()).await;
            findings.equal(&format!("{}: answers from {worker}", case.name()), answers.len(), expected.len());
            for (index, (answer, outcome)) in answers.iter().zip(expected).enumerate() {
                let stopped = check_view(&mut findings, case, index, answer, outcome, server);
                stopped_by_gunicorn += usize::from(stopped);
            }
        }
        // gunicorn may or may not log a request that never ended.
        let reached = forwarded - stopped_by_gunicorn;
        let served = app.served(reached).await.len();
        findings.check((reached..=reached + broken).contains(&served), || {
            format!("{worker} served {served} requests, not {reached} to {}", reached + broken)
        });
    }
    findings.conclude(4_000);
}

/// Every case before an upstream that keeps the bytes: what was forwarded, by case and answer.
async fn as_bytes(world: &World, cases: &[Case], findings: &mut Findings) -> Vec<Vec<Outcome>> {
    let upstream = Recorder::start(world.folder(), "corpus.sock");
    let gate = world.gate(&setup(upstream.socket())).await;
    let mut answered = Vec::new();
    for case in cases {
        answered.push(case.send(&gate.socket()).await);
    }
    let mut arrived: HashMap<String, Recorded> = HashMap::new();
    for request in upstream.requests() {
        let id = request.header("x-request-id").unwrap_or_default();
        findings
            .check(!arrived.contains_key(&id), || format!("request {id} arrived twice: {}", request.head));
        arrived.insert(id, request);
    }
    let mut outcomes = Vec::new();
    for (case, answers) in cases.iter().zip(answered) {
        findings.check(!answers.is_empty(), || format!("{}: no answer", case.name()));
        let mut outcome = Vec::new();
        for (index, answer) in answers.iter().enumerate() {
            let request = arrived.remove(answer.request_id());
            outcome.push(check_bytes(findings, case, index, answer, request.as_ref()));
        }
        outcomes.push(outcome);
    }
    for (_, request) in arrived {
        findings.check(false, || format!("came upstream although nobody was answered: {}", request.head));
    }
    outcomes
}

fn check_bytes(
    findings: &mut Findings,
    case: &Case,
    index: usize,
    answer: &RawAnswer,
    request: Option<&Recorded>,
) -> Outcome {
    let name = case.name();
    let Some(request) = request else {
        let is_login = answer.status == 302 && answer.header("location").starts_with("/auth/login");
        findings.check(is_login || REFUSALS.contains(&answer.status), || {
            format!("{name}: the gate itself said {}", answer.head)
        });
        findings.check(!case.is_in('A'), || format!("{name}: canonical, and refused: {}", answer.status));
        // Without a row nobody passes; then no view may have been there to run, except one that a dropped field chose.
        findings.check(!is_login || case.endpoint("").is_empty() || case.has_a_folding_name(), || {
            format!("{name}: no row, but {} ran", case.endpoint(""))
        });
        return Outcome::Refused;
    };
    if REFUSALS.contains(&answer.status) {
        findings.check(case.is_in('G') && unchunk(&request.body).is_none(), || {
            format!("{name}: answered {} and forwarded whole: {}", answer.status, request.head)
        });
        return Outcome::Broken;
    }
    // What follows the first request of a pipeline is always the same one.
    let (method, target) = match index {
        0 => (case.text("method"), case.canonical_target()),
        _ => ("GET", "/users/5".to_owned()),
    };
    let wrong = uncanonical(request, method, &target);
    findings.check(wrong.is_empty(), || format!("{name}: {}", wrong.join("; ")));
    let claims = request.claims();
    let claim = |key: &str| claims[key].as_str().unwrap_or_default().to_owned();
    findings.equal(&format!("{name}: claimed method"), claim("method").as_str(), method);
    let path = target.split('?').next().unwrap_or_default();
    findings.equal(&format!("{name}: claimed path"), claim("path").as_str(), path);
    Outcome::Forwarded { route: claim("route"), path: claim("path") }
}

fn check_view(
    findings: &mut Findings,
    case: &Case,
    index: usize,
    answer: &RawAnswer,
    outcome: &Outcome,
    server: &str,
) -> bool {
    let name = format!("{} [{index}, {server}]", case.name());
    let came_from_the_app = !answer.header("x-args").is_empty();
    // gunicorn has limits of its own, and then no view runs.
    let by_gunicorn =
        case.endpoint(server).is_empty() && case.record["status"] == answer.status && answer.status == 431;
    let is_forwarded = matches!(outcome, Outcome::Forwarded { .. }) && !by_gunicorn;
    findings.equal(&format!("{name}: came from the app"), came_from_the_app, is_forwarded);
    let Outcome::Forwarded { route, path } = outcome else { return false };
    // Flask names the endpoint on automatic OPTIONS too, where no view runs; redirects and 404 have none.
    let is_automatic = case.text("method") == "OPTIONS" && index == 0;
    let ran = if is_automatic { "" } else { answer.header("x-endpoint").trim() };
    findings.check(ran.is_empty() || ran == endpoint_of(route), || {
        format!("{name}: `{route}` was matched on `{path}`, and `{ran}` ran")
    });
    if index == 0 && !case.has_a_folding_name() {
        findings.equal(&format!("{name}: the view as recorded"), ran, case.endpoint(server));
    }
    by_gunicorn
}
