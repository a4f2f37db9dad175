//! `console-gate promote --environment production [--flag FLAG]`, `promote --to WORD`, `promote --withdraw`, `promote --list`

use chrono::Utc;
use clap::Args;
use ledger::AuditEvent;
use store::control::RBAC_V2_FLAG;

use super::help::Examples;
use super::settled::{wait, wait_and_report};
use super::{Common, Ended, TextOrJson, announce, checkpoint, operator, with_notary, with_store};
use crate::settings::{Environment, Settings};

pub(super) const EXAMPLES: Examples = &[(
    "promote",
    &[
        "console-gate --config gate.toml promote --environment production",
        "console-gate --config gate.toml promote --list",
    ],
)];

/// Promote a flag to an environment, or withdraw its promotion
///
/// A gate with `environment = "production"` enforces V2 only while `FLAG_RBAC_V2` is promoted to production. Which words
/// mean production is `production` in `[environments]`. `--environment production` promotes to that word, `--to prod` to a
/// word of Console's own.
#[derive(Debug, Args)]
pub(super) struct Promote {
    /// The environment to promote the flag to, as `console_flag_promotions` names it; else that of `--environment`
    #[arg(long, value_name = "WORD")]
    to: Option<String>,
    /// The flag
    #[arg(long, default_value = RBAC_V2_FLAG)]
    flag: String,
    /// Withdraw the promotion: the flag goes back to `--to`, `staging` if that is not given
    #[arg(long, conflicts_with = "list")]
    withdraw: bool,
    /// List the promotions
    #[arg(long)]
    list: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

impl Promote {
    pub(super) fn only_reads(&self) -> bool {
        self.list
    }
}

pub(super) fn run(command: &Promote, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    if command.list {
        return list(command, &settings);
    }
    let named = common.environment.map(Environment::word).filter(|_| !command.withdraw);
    let environment = match (command.to.as_deref().or(named), command.withdraw) {
        (Some(word), _) => word,
        (None, true) => "staging",
        (None, false) => {
            anyhow::bail!("say where to: `--environment production`, or `--to` a word of Console's own")
        }
    };
    anyhow::ensure!(!environment.trim().is_empty(), "the environment has no name");
    let means_production = settings.environments.production.iter().any(|word| word == environment);
    let words = settings.environments.production.join(", ");
    anyhow::ensure!(
        !(command.withdraw && means_production),
        "`{environment}` means production ({words}): name another with `--to`"
    );
    with_notary(&settings, async |store, notary| {
        let now = Utc::now();
        let promotions = store.promotions().await?;
        let previous = promotions
            .into_iter()
            .find(|promotion| promotion.flag == command.flag)
            .and_then(|promotion| promotion.environment);
        let event = AuditEvent::FlagPromoted {
            name: command.flag.clone(),
            environment: Some(environment.to_owned()),
            previous: previous.clone(),
            by: operator(),
        };
        let note = notary.note(event.into_record(now));
        store.promote(&command.flag, environment, &operator(), now, &note).await?;
        checkpoint::keep(&settings, &store, &notary).await;
        let was = previous.as_deref().unwrap_or("nowhere");
        if command.format == TextOrJson::Json {
            let report = serde_json::json!({
                "flag": command.flag, "environment": environment, "previous": previous,
                "means_production": means_production,
            });
            announce(serde_json::to_string_pretty(&report)?);
            wait(store).await?;
            return Ok(Ended::Clean);
        }
        announce(format_args!(
            "{} is promoted to `{environment}`; it was promoted to {was} before",
            command.flag
        ));
        if command.flag == RBAC_V2_FLAG {
            announce(if means_production {
                "Gates in production enforce V2 in every cluster that is on V2, while the flag is on."
                    .to_owned()
            } else {
                format!(
                    "Gates in production do not enforce V2: the words for production are {words} (`production` in \
                     [environments])"
                )
            });
        }
        wait_and_report(store).await?;
        Ok(Ended::Clean)
    })
}

fn list(command: &Promote, settings: &Settings) -> anyhow::Result<Ended> {
    with_store(settings, async |store| {
        let promotions = store.promotions().await?;
        if command.format == TextOrJson::Json {
            println!("{}", serde_json::to_string_pretty(&promotions)?);
            return Ok(Ended::Clean);
        }
        for promotion in promotions {
            let environment = promotion.environment.as_deref().unwrap_or("nowhere");
            let note = match settings.environments.production.iter().any(|word| word == environment) {
                true => "  (production)",
                false => "",
            };
            let by = promotion.promoted_by.as_deref().unwrap_or("unknown");
            let at = promotion.promoted_at_utc.map_or_else(
                || "an unreadable time".to_owned(),
                |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
            );
            println!("{}  {environment}{note}  by {by} at {at}", promotion.flag);
        }
        Ok(Ended::Clean)
    })
}
