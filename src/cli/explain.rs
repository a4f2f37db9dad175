//! `console-gate explain METHOD PATH [--as ADMIN | --group GROUP | --legacy-role ROLE]`

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use policy::decision::Control;
use policy::diagnostic::closest;
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::mapping::parse::sha256_of;
use policy::mapping::{Freshness, Mapping};
use policy::rbac::census::{CallerKind, Person};
use policy::rbac::{Access, LegacyRole};
use serde::Serialize;
use workbench::explanation::text::text;
use workbench::explanation::{Asker, Explanation, Facts, explain};
use workbench::report::style::Style;

use super::serve::flag_at_start;
use super::{Common, Ended, TextOrJson, kept, with_store};
use crate::clock::SystemClock;
use crate::facts::registry::Registry;
use crate::facts::{self, GateRuns, Running, WorkbenchError};
use crate::freshness::{AccessResolver, Posture};
use crate::settings::{Environment, Settings};
use crate::store::SharedStore;

/// Explain how a request is decided
///
/// Shows which row decides it, which gate is in force, and the answer for a caller. Uses the mapping that the gates on
/// this database run; with `--mapping FILE`, that file.
///
/// For a caller, shows the grants that give access, or what is missing and which grants would be enough. Exits 1 if the
/// request would be denied or, for a row that reads the body, if it would be denied with some body.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The request's method
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
    #[arg(long, value_name = "ROLE", group = "asker", value_parser = legacy_role)]
    legacy_role: Option<LegacyRole>,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

pub(super) fn run(command: &Explain, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    let (subject, known) = with_store(&settings, async |store| {
        let subject = subject(&store, &settings, common.mapping.is_some()).await?;
        Ok((subject, Known::read(store, &settings, command).await?))
    })?;
    let (file, running) = subject;
    let policy = crate::server::policy(&settings);
    let facts = Facts {
        mapping: &running.mapping,
        file: &file,
        policy: &policy,
        control: &known.control,
        catalog: &known.registry.catalog,
    };
    let asker = known.asker(command)?;
    let explanation = explain(&command.method, &command.path, &facts, asker.as_ref());
    print(&explanation, &running, command.format)?;
    Ok(if explanation.passes() == Some(false) { Ended::Findings } else { Ended::Clean })
}

/// What is explained, and what it is called: the file, where it was named or runs; else what the gates on this database
/// run, as after a rollback.
pub(super) async fn subject(
    store: &SharedStore,
    settings: &Settings,
    is_named: bool,
) -> anyhow::Result<(String, Running)> {
    let file = settings.mapping.file.display().to_string();
    let read =
        || std::fs::read_to_string(&settings.mapping.file).with_context(|| format!("cannot read {file}"));
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

/// All that is printed as JSON.
#[derive(Serialize)]
struct Told<'t> {
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
            let told = Told { explanation, gates_differ: &running.differing };
            println!("{}", serde_json::to_string_pretty(&told)?);
        }
    }
    Ok(())
}

fn legacy_role(name: &str) -> Result<LegacyRole, String> {
    let known = LegacyRole::ALL.map(LegacyRole::as_str).join(", ");
    LegacyRole::parse(name).ok_or(format!("there is no such legacy role; they are {known}"))
}

/// What the database says, as of one epoch.
struct Known {
    control: Control,
    registry: Registry,
    /// What the admin holds who was asked about.
    access: Option<Arc<Access>>,
}

impl Known {
    async fn read(store: SharedStore, settings: &Settings, command: &Explain) -> anyhow::Result<Known> {
        const TRIES: u32 = 5;
        let posture = Posture {
            flag_at_start: flag_at_start()?,
            production: settings.environment == Environment::Production,
        };
        let resolver = AccessResolver::start(store.clone(), Arc::new(SystemClock), posture, 1);
        for _ in 0..TRIES {
            let control = resolver.observe(Freshness::Strict).await?;
            let registry = Registry::read(&store, chrono::Utc::now()).await?;
            let access = match &command.asked {
                Some(id) => {
                    let subject = Subject::Admin { id: AdminId::new(id.as_str()), session: None };
                    Some(resolver.resolve(&subject, control.epoch).await?)
                }
                None => None,
            };
            if store.control_since(Some(control.epoch)).await?.only_sessions_changed_since(control.epoch) {
                return Ok(Known { control, registry, access });
            }
        }
        anyhow::bail!("the access tables kept changing while they were read: try again")
    }

    /// About whom it is asked.
    ///
    /// # Errors
    ///
    /// There is no such group.
    fn asker<'a>(&'a self, command: &'a Explain) -> anyhow::Result<Option<Asker<'a>>> {
        if let (Some(id), Some(access)) = (&command.asked, &self.access) {
            let admins = || self.registry.people.iter().filter(|person| person.kind == CallerKind::Admin);
            let is_asked = |person: &&Person| *person.id == **id;
            let closest = match access.standing {
                policy::rbac::Standing::Unknown => closest(id, admins().map(|person| &*person.id)),
                _ => None,
            };
            let break_glass = admins().find(is_asked).is_some_and(|person| person.break_glass);
            return Ok(Some(Asker::Admin { id, access, break_glass, closest }));
        }
        if let Some(group) = &command.group {
            let groups = &self.registry.catalog.groups;
            if !groups.contains(group.as_str()) {
                let meant = closest(group, groups.iter().map(AsRef::as_ref));
                let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                anyhow::bail!("there is no group `{group}`{meant}");
            }
            return Ok(Some(Asker::Group(group)));
        }
        Ok(command.legacy_role.map(Asker::LegacyRole))
    }
}
