//! `console-gate explain METHOD PATH [--as ADMIN | --group GROUP | --legacy-role ROLE | --machine TOKEN | --unauthenticated]`

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use clock::SystemClock;
use policy::mapping::Mapping;
use policy::mapping::parse::sha256_of;
use policy::method::Method;
use policy::rbac::LegacyRole;
use serde::Serialize;
use store::SharedStore;
use workbench::explanation::Explanation;
use workbench::explanation::text::text;
use workbench::report::style::Style;

use super::help::Examples;
use super::serve::flag_at_start;
use super::{Common, Ended, TextOrJson, kept, with_store};
use crate::facts::explanation::{CallerName, Explainer};
use crate::facts::{self, GateRuns, Running, WorkbenchError};
use crate::freshness::{AccessResolver, Posture};
use crate::settings::{Environment, Settings};

pub(super) const EXAMPLES: Examples = &[(
    "explain",
    &[
        "console-gate --config gate.toml explain GET /console/customers/ --as admin-07",
        "console-gate --mapping routes.toml explain POST /console/orders/12/refund --group raxx-support-team",
    ],
)];

/// Explain how a request is decided
///
/// Shows which row decides it, which gate is in force, and the answer for a caller. Uses the mapping that the gates on
/// this database run; with `--mapping FILE`, that file.
///
/// For a caller, shows the grants that give access, or what is missing and which grants would be enough. Exits 1 if the
/// request would be denied or, for a row that reads the body, if it would be denied with some body.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The request's method; `get` is GET
    #[arg(value_parser = method)]
    method: String,
    /// The request's path, as a browser would send it
    path: String,
    /// Decide for the admin with this id
    #[arg(id = "as", long = "as", value_name = "ADMIN", group = "asker")]
    asked: Option<String>,
    /// Decide for a hypothetical member of only this group
    #[arg(long, value_name = "GROUP", group = "asker")]
    group: Option<String>,
    /// Decide for a hypothetical caller with this legacy role and no group
    #[arg(long, value_name = "ROLE", group = "asker")]
    legacy_role: Option<LegacyRole>,
    /// Decide for the machine whose token has this id
    #[arg(long, value_name = "TOKEN", group = "asker")]
    machine: Option<String>,
    /// Decide for a caller without a session and without a token
    #[arg(long, group = "asker")]
    unauthenticated: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

pub(super) fn run(command: &Explain, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let posture = Posture {
        flag_at_start: flag_at_start("FLAG_RBAC_V2")?,
        production: settings.environment == Environment::Production,
    };
    let ((file, running), explainer) = with_store(&settings, async |store| {
        let subject = subject(&store, &settings, common.mapping.is_some()).await?;
        let resolver = AccessResolver::start(store.clone(), Arc::new(SystemClock), posture, 1);
        let mapping = &subject.1.mapping;
        let explainer =
            Explainer::read(&resolver, &store, mapping, chrono::Utc::now(), command.caller_name()).await?;
        Ok((subject, explainer))
    })?;
    let policy = crate::server::policy(&settings);
    let explanation = explainer.explain(&running.mapping, &file, &policy, &command.method, &command.path);
    print(&explanation, &running, command.format)?;
    Ok(if explanation.passes() == Some(false) { Ended::Findings } else { Ended::Clean })
}

/// A method as it is sent: methods are in capitals, but a person may not type them that way.
fn method(text: &str) -> Result<String, Infallible> {
    let capitals = text.to_ascii_uppercase();
    Ok(if Method::parse(&capitals).is_some() { capitals } else { text.to_owned() })
}

impl Explain {
    fn caller_name(&self) -> Option<CallerName> {
        let admin = self.asked.clone().map(CallerName::Admin);
        admin
            .or_else(|| self.group.clone().map(CallerName::Group))
            .or_else(|| self.legacy_role.clone().map(CallerName::LegacyRole))
            .or_else(|| self.machine.clone().map(CallerName::Machine))
            .or(self.unauthenticated.then_some(CallerName::Unauthenticated))
    }
}

/// The mapping to explain, and its name: the file if it was named or is running; otherwise the mapping that the gates
/// on this database run, as after a rollback.
pub(super) async fn subject(
    store: &SharedStore,
    settings: &Settings,
    is_named: bool,
) -> anyhow::Result<(String, Running)> {
    let file = settings.mapping.file.display().to_string();
    let read =
        || crate::text_file::read(&settings.mapping.file).with_context(|| format!("cannot read {file}"));
    if !is_named {
        match facts::running(store).await {
            Ok(running) if read().is_ok_and(|source| sha256_of(&source) == *running.mapping.sha256()) => {
                return Ok((file, running));
            }
            Ok(running) => {
                return Ok((format!("the running mapping {}", running.mapping.sha256().short()), running));
            }
            Err(WorkbenchError::NoMapping) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mapping = Mapping::parse(&file, &read()?)?;
    Ok((file, Running { mapping, differing: Vec::new() }))
}

/// The whole JSON output.
#[derive(Serialize)]
struct Printed<'t> {
    #[serde(flatten)]
    explanation: &'t Explanation,
    #[serde(skip_serializing_if = "<[GateRuns]>::is_empty")]
    gates_differ: &'t [GateRuns],
}

fn print(explanation: &Explanation, running: &Running, format: TextOrJson) -> anyhow::Result<()> {
    match format {
        TextOrJson::Text => {
            kept::warn_where_gates_differ(running);
            print!("{}", text(explanation, Style::of(&std::io::stdout())));
        }
        TextOrJson::Json => {
            let printed = Printed { explanation, gates_differ: &running.differing };
            println!("{}", serde_json::to_string_pretty(&printed)?);
        }
    }
    Ok(())
}
