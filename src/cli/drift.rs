//! `console-gate drift`

use clap::{Args, ValueEnum};

use super::{Common, Finding, with_store};
use crate::store::drift::StoredDrift;

/// List where the legacy gate and V2 disagreed in shadow mode
///
/// Who would newly be denied or allowed if the cluster went V2, where, why, how often, first and last seen; the latest
/// first. Exit code 1 says that there is any, so that a promotion can be held.
#[derive(Debug, Args)]
pub(super) struct Drift {
    /// Only this cluster
    #[arg(long)]
    cluster: Option<String>,
    /// Only this direction
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// How it is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Direction {
    /// Those who are let in today and would not be
    Deny,
    /// Those who are kept out today and would not be
    Allow,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Direction::Deny => crate::decision::Direction::WouldNewlyDeny.word(),
            Direction::Allow => crate::decision::Direction::WouldNewlyAllow.word(),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(command: &Drift, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    with_store(&settings, async |store| {
        let mut rows = store.drift().await?;
        rows.retain(|row| {
            command.cluster.as_ref().is_none_or(|cluster| row.cluster.as_ref() == Some(cluster))
                && command.direction.is_none_or(|direction| row.direction == direction.word())
        });
        match command.format {
            Format::Text => print_text(&rows),
            Format::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
        }
        Ok(if rows.is_empty() { Finding::Clean } else { Finding::Findings })
    })
}

fn print_text(rows: &[StoredDrift]) {
    println!("{}", summary(rows));
    for row in rows {
        let cluster = row.cluster.as_deref().filter(|cluster| !cluster.is_empty()).unwrap_or("-");
        println!("\n{cluster}  {}  {}", row.direction, row.route);
        println!(
            "    {} {}: legacy {}, V2 {} ({})",
            row.actor_kind, row.actor_id, row.legacy_answer, row.v2_answer, row.reason
        );
        println!(
            "    {} time(s), {} to {}, mapping {}",
            row.count,
            row.first_seen_at_utc.format("%Y-%m-%d %H:%M:%SZ"),
            row.last_seen_at_utc.format("%Y-%m-%d %H:%M:%SZ"),
            row.mapping_sha256.get(..12).unwrap_or(&row.mapping_sha256),
        );
    }
}

/// First of all how bad it is.
fn summary(rows: &[StoredDrift]) -> String {
    if rows.is_empty() {
        return "no disagreement".to_owned();
    }
    let count = |direction: Direction| rows.iter().filter(|row| row.direction == direction.word()).count();
    let people: std::collections::BTreeSet<_> =
        rows.iter().map(|row| (&row.actor_kind, &row.actor_id)).collect();
    let requests: i64 = rows.iter().map(|row| row.count).sum();
    format!(
        "{} would newly be denied, {} would newly be allowed; {} caller(s), {requests} request(s)",
        count(Direction::Deny),
        count(Direction::Allow),
        people.len(),
    )
}
