//! Asking the gate.

use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use policy::identity::flask_cookie::SigningKeys;
use serde_json::json;
use workbench::verify::{Case, Plan, Who};

use super::people::People;
use super::report::{CaseResult, Running};
use crate::outbound::{Outbound, Request, Url};
use crate::ruling::probe::{self, ProbeKeys};
use crate::settings::Settings;
use crate::settings::secrets::{probe_keys, session_key};
use crate::store::people::NewPerson;

/// What stands in a path as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES: usize = 256 * 1024;

/// Sends probes.
pub(super) struct Asker {
    url: Url,
    host: Option<String>,
    outbound: Outbound,
    keys: ProbeKeys,
    cookies: SigningKeys,
    cookie_name: String,
    admin_id_key: String,
    session_id_key: Option<String>,
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
        let secret = session_key(settings, environment).context("the key that signs sessions")?;
        let none: [&[u8]; 0] = [];
        let session = &settings.session;
        Ok(Asker {
            url,
            host,
            outbound: Outbound::new(Vec::new(), TIMEOUT, ANSWER_BYTES)?,
            keys,
            cookies: SigningKeys::new(secret.expose(), none)?,
            cookie_name: session.cookie_name.clone(),
            admin_id_key: session.admin_id_key.clone(),
            session_id_key: session.session_id_key.clone(),
        })
    }

    /// Whether Console records sessions, so that a cookie has to name one.
    pub(super) fn keeps_sessions(&self) -> bool {
        self.session_id_key.is_some()
    }

    /// What runs at the gate. This is asked first: a gate that does not answer it takes no probes.
    pub(super) async fn running(&self) -> anyhow::Result<Running> {
        let signed = self.keys.sign("GET", probe::PATH, Utc::now());
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

    /// Asks every case, one after the other; on a terminal, with the progress.
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

    async fn ask(&self, case: &Case<'_>, people: &People) -> anyhow::Result<CaseResult> {
        let target = utf8_percent_encode(&case.path, PATH).to_string();
        let method = case.method.as_str();
        let signed = self.keys.sign(method, &target, Utc::now());
        let person = match &case.who {
            Who::Admin(holding) => Some(people.with(holding).context("a throwaway admin is missing")?),
            Who::Nobody | Who::Bearer => None,
        };
        let cookie = person.map(|person| self.cookie(person));
        let mut headers = vec![(probe::HEADER, signed.as_str())];
        headers.extend(self.host.as_deref().map(|host| ("host", host)));
        headers.extend(cookie.as_deref().map(|cookie| ("cookie", cookie)));
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
        // Only a gate that stopped the request at the decision says so itself.
        let is_probe_answer = field(probe::HEADER) == "answered";
        Ok(CaseResult::new(
            case,
            person.map(|person| person.id.as_str()),
            answer.status,
            is_probe_answer,
            field("x-request-id"),
        ))
    }

    fn cookie(&self, person: &NewPerson) -> String {
        let mut payload = json!({ self.admin_id_key.as_str(): person.id.as_str() });
        if let (Some(key), Some(session)) = (&self.session_id_key, &person.session) {
            payload[key.as_str()] = session.as_str().into();
        }
        format!("{}={}", self.cookie_name, self.cookies.sign(&payload, Utc::now()))
    }
}
