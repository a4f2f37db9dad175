//! Asking the gate.

use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use workbench::verify::{Case, Plan, Who};

use super::people::People;
use super::report::{CaseResult, Running};
use super::through::{self, Cookie, Passage, Sender, Through};
use crate::journal::refusals::leads_to;
use crate::outbound::{Outbound, Request, Url};
use crate::ruling::probe::{self, ProbeKeys};
use crate::settings::Settings;
use crate::settings::secrets::probe_keys;

/// The characters that a path must escape.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES: usize = 256 * 1024;

/// Sends probes.
pub(super) struct Asker {
    url: Url,
    host: Option<String>,
    outbound: Outbound,
    keys: ProbeKeys,
}

impl Asker {
    pub(super) fn new(url: Url, host: Option<String>, settings: &Settings) -> anyhow::Result<Asker> {
        let environment = |name: &str| std::env::var(name).ok();
        let keys = ProbeKeys::new(&probe_keys(settings, environment)?).with_context(|| {
            format!(
                "the gate accepts probes only with a key: set {} here and at the gate",
                settings.probe.keys_env
            )
        })?;
        Ok(Asker { url, host, outbound: Outbound::new(Vec::new(), TIMEOUT, ANSWER_BYTES)?, keys })
    }

    /// What the gate runs. This is asked first: a gate that does not answer it accepts no probes.
    pub(super) async fn running(&self) -> anyhow::Result<Running> {
        let signed = self.keys.sign("GET", probe::PATH, None, Utc::now());
        let url = self.url.at(probe::PATH);
        let mut headers = vec![(probe::HEADER, signed.as_str())];
        headers.extend(self.host.as_deref().map(|host| ("host", host)));
        let answer = self.outbound.send(&url, Request::Get, &headers).await?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body)
                .context("the server there is not a gate that accepts probes"),
            400 => {
                anyhow::bail!(
                    "the gate refuses the probe: it has no probe key, a different key, or a different clock"
                )
            }
            status => anyhow::bail!("the gate answers a probe with {status}"),
        }
    }

    /// Asks every case, one after the other; on a terminal, it shows the progress.
    pub(super) async fn ask_all(&self, plan: &Plan<'_>, people: &People) -> anyhow::Result<Vec<CaseResult>> {
        let mut outcomes = Vec::with_capacity(plan.cases.len());
        let mut progress = super::super::progress::Progress::new("asked", plan.cases.len());
        for case in &plan.cases {
            let asked = self.ask(case, people).await;
            outcomes.push(asked.with_context(|| format!("{} {}", case.method, case.path))?);
            progress.step();
        }
        progress.end();
        Ok(outcomes)
    }

    /// Sends real requests through `sender`: those that may be sent, with each cookie whose probe the gate lets in.
    pub(super) async fn ask_through(
        &self,
        plan: &Plan<'_>,
        sender: &Sender,
        cookies: &[Cookie],
        settings: &Settings,
    ) -> anyhow::Result<Through> {
        let attempts = through::attempts(plan);
        let mut through = Through::default();
        let mut progress = super::super::progress::Progress::new("sent", attempts.len());
        for attempt in &attempts {
            let target = utf8_percent_encode(attempt.path, PATH).to_string();
            let method = attempt.method.as_str();
            let before = through.passages.len();
            for (number, cookie) in cookies.iter().enumerate() {
                let gate = self.gate_that_allows(method, &target, cookie).await;
                let Some(gate) = gate.with_context(|| format!("{method} {}", attempt.path))? else {
                    continue;
                };
                let sent = sender.send(attempt.method, &target, cookie).await;
                let (status, request_id, location, problem) = match sent {
                    Ok((status, id, location)) => (Some(status), id, location, None),
                    Err(error) => (None, String::new(), String::new(), Some(error.to_string())),
                };
                let leads_to_login =
                    matches!(status, Some(300..400)) && leads_to(&location, &settings.session.login_path);
                through.passages.push(Passage {
                    route: attempt.route.to_owned(),
                    method,
                    path: attempt.path.to_owned(),
                    cookie: number + 1,
                    gate,
                    status,
                    problem,
                    request_id,
                    leads_to_login,
                    refuses_by_itself: settings.upstream.own_refusals.iter().any(|own| own == attempt.route),
                    audit_rows: 0,
                });
            }
            if through.passages.len() == before {
                through.not_tried.push(format!("{method} {}", attempt.path));
            }
            progress.step();
        }
        progress.end();
        Ok(through)
    }

    /// The gate that would let in the cookie's owner: `v2` or `legacy`.
    async fn gate_that_allows(
        &self,
        method: &str,
        target: &str,
        cookie: &Cookie,
    ) -> anyhow::Result<Option<String>> {
        let signed = self.keys.sign(method, target, None, Utc::now());
        let mut headers = vec![(probe::HEADER, signed.as_str()), ("cookie", cookie.as_str())];
        headers.extend(self.host.as_deref().map(|host| ("host", host)));
        let request = Request::Any { method, body: None };
        let answer = self.outbound.send(&self.url.at(target), request, &headers).await?;
        // An answer to HEAD has no body: a header names the gate that decided.
        let gate = answer.fields.get(probe::GATE).and_then(|value| value.to_str().ok());
        Ok(gate.filter(|gate| answer.status == 200 && matches!(*gate, "v2" | "legacy")).map(str::to_owned))
    }

    async fn ask(&self, case: &Case<'_>, people: &People) -> anyhow::Result<CaseResult> {
        let target = utf8_percent_encode(&case.path, PATH).to_string();
        let method = case.method.as_str();
        let person = match &case.who {
            Who::Admin(holding) => Some(people.with(holding).context("a throwaway admin is missing")?),
            Who::Nobody | Who::Bearer => None,
        };
        let signed = self.keys.sign(method, &target, person, Utc::now());
        let mut headers = vec![(probe::HEADER, signed.as_str())];
        headers.extend(self.host.as_deref().map(|host| ("host", host)));
        if case.who == Who::Bearer {
            headers.push(("authorization", "Bearer gate-verify"));
        }
        let body = case.body.as_ref().map(|(content_type, text)| (*content_type, text.as_bytes()));
        let request = Request::Any { method, body };
        let answer = self.outbound.send(&self.url.at(&target), request, &headers).await?;
        anyhow::ensure!(answer.status != 400, "the gate refused the probe");
        let field = |name: &str| {
            answer.fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        // Only a gate that stopped the request at the decision sets this header.
        let is_probe_answer = field(probe::HEADER) == "answered";
        Ok(CaseResult::new(
            case,
            person.map(|person| person.id.as_str()),
            answer.status,
            is_probe_answer,
            field("x-request-id"),
        ))
    }
}
