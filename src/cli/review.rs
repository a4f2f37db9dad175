//! `console-gate review open|list|show|decide|close`

use chrono::{TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum};
use grants::reviews;
use serde_json::json;
use store::SharedStore;
use store::reviews::{Review as Stored, ReviewItem};

use super::help::Examples;
use super::settled::wait_and_report;
use super::{Common, Ended, TextOrJson, announce, checkpoint, operator, with_notary, with_store};
use crate::facts;
use crate::server;

pub(super) const EXAMPLES: Examples = &[
    ("review", &["console-gate --config gate.toml review show"]),
    ("review open", &["console-gate --config gate.toml review open"]),
    ("review list", &["console-gate --config gate.toml review list"]),
    ("review show", &["console-gate --config gate.toml review show --undecided"]),
    (
        "review decide",
        &["console-gate --config gate.toml review decide revoke 17 18 --comment 'not used since May'"],
    ),
    ("review close", &["console-gate --config gate.toml review close 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"]),
];

/// Review grants: open a review, decide each, close it
///
/// A review has an item for each grant, with the roles that it brings and when one of them was used last (from the decision
/// log). Nobody decides about grants of their own. docs/access-reviews.md
#[derive(Debug, Args)]
pub(super) struct Review {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Open a review over everybody's access now
    Open,
    /// List reviews, the newest first
    List {
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Show the items of a review: who holds what, since when it was not used, and what was decided
    Show {
        /// The review's id; without it, the newest one
        id: Option<String>,
        /// Only what nobody has decided yet
        #[arg(long)]
        undecided: bool,
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Keep or revoke the grants of items; what is revoked is in force when this returns
    Decide {
        /// What to do
        #[arg(value_enum)]
        decision: Decision,
        /// The items' ids, as `review show` lists them
        #[arg(required = true)]
        items: Vec<String>,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Close a review of which every item is decided
    Close {
        /// The review's id
        id: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Decision {
    Keep,
    Revoke,
}

impl Review {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.action, Action::List { .. } | Action::Show { .. })
    }
}

pub(super) fn run(command: &Review, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    match &command.action {
        Action::Open => with_notary(&settings, async |store, notary| {
            let running = facts::running(&store).await.ok();
            let mapping = running.as_ref().map(|running| &running.mapping);
            let rules = server::review_rules(&settings);
            let by = (operator(), Utc::now());
            let review = reviews::open(&store, &notary, &rules.terms(), mapping, (&by.0, by.1)).await?;
            checkpoint::keep(&settings, &store, &notary).await;
            let items = store.review_items(&review.id).await?.len();
            announce(format_args!(
                "the review {} is open until {}, with {items} item(s)",
                review.id,
                review.due_at.format("%F %T UTC")
            ));
            if mapping.is_none() {
                announce("no mapping was ever activated, so it is not known what was used");
            }
            Ok(Ended::Clean)
        }),
        Action::List { format } => with_store(&settings, async |store| list(&store, *format).await),
        Action::Show { id, undecided, format } => {
            with_store(&settings, async |store| show(&store, id.as_deref(), *undecided, *format).await)
        }
        Action::Decide { decision, items, comment } => with_notary(&settings, async |store, notary| {
            let keeps = *decision == Decision::Keep;
            for id in items {
                let by = (operator(), comment.as_deref(), Utc::now());
                let item = reviews::decide(&store, &notary, id, keeps, (&by.0, by.1, by.2)).await?;
                let done = if keeps { "kept" } else { "revoked" };
                let admin = item.admin.as_deref().unwrap_or("somebody erased");
                announce(format_args!("{done}: {} of {}", item.granted.escape_debug(), admin.escape_debug()));
            }
            checkpoint::keep(&settings, &store, &notary).await;
            if !keeps {
                wait_and_report(store).await?;
            }
            Ok(Ended::Clean)
        }),
        Action::Close { id } => with_notary(&settings, async |store, notary| {
            reviews::close(&store, &notary, id, (&operator(), Utc::now())).await?;
            checkpoint::keep(&settings, &store, &notary).await;
            announce(format_args!("the review {id} is closed"));
            Ok(Ended::Clean)
        }),
    }
}

async fn list(store: &SharedStore, format: TextOrJson) -> anyhow::Result<Ended> {
    let reviews = store.reviews(100).await?;
    if format == TextOrJson::Json {
        println!("{}", serde_json::to_string_pretty(&reviews)?);
    } else {
        for review in &reviews {
            println!("{}", in_words(review));
        }
        if reviews.is_empty() {
            println!("no reviews");
        }
    }
    Ok(Ended::Clean)
}

fn in_words(review: &Stored) -> String {
    let state = match (&review.closed_at, &review.closed_by) {
        (Some(at), Some(by)) => format!("closed {} by {}", at.format("%F"), by.escape_debug()),
        _ => format!("open until {}", review.due_at.format("%F %T UTC")),
    };
    let (opened, by) = (review.opened_at.format("%F"), review.opened_by.escape_debug());
    format!("{}  opened {opened} by {by}  {state}", review.id)
}

async fn show(
    store: &SharedStore,
    id: Option<&str>,
    undecided: bool,
    format: TextOrJson,
) -> anyhow::Result<Ended> {
    let review = match id {
        Some(id) => store.review(id).await?,
        None => store.reviews(1).await?.into_iter().next(),
    };
    let Some(review) = review else {
        anyhow::bail!("there is no such review: `console-gate review list` lists them");
    };
    let mut items = store.review_items(&review.id).await?;
    let sha256 = reviews::digest(&items);
    items.retain(|item| !undecided || item.decision.is_none());
    if format == TextOrJson::Json {
        let shown: Vec<_> = items.iter().map(as_json).collect();
        let shown = json!({ "review": review, "sha256": sha256, "items": shown });
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(Ended::Clean);
    }
    println!("{}", in_words(&review));
    println!("use is known since {}; the digest of the items is {sha256}", review.used_since.format("%F"));
    let unused = Utc::now() - TimeDelta::days(90);
    for item in &items {
        let used = match item.last_used {
            Some(at) if at < unused => format!("not used since {}", at.format("%F")),
            Some(at) => format!("used {}", at.format("%F")),
            None => "no use known".to_owned(),
        };
        let decided = match (&item.decision, &item.decided_by) {
            (Some(decision), Some(by)) => format!("{decision} by {}", by.escape_debug()),
            _ => format!("undecided ({} when due)", item.overdue),
        };
        let admin = item.admin.as_deref().unwrap_or("(erased)").escape_debug();
        println!(
            "{}  {admin}  {} ({})  {used}  {decided}",
            item.id,
            item.granted.escape_debug(),
            item.origin
        );
    }
    if items.is_empty() {
        println!("no items");
    }
    Ok(Ended::Clean)
}

/// The item with its roles as a list.
fn as_json(item: &ReviewItem) -> serde_json::Value {
    let mut shown = json!(item);
    shown["roles"] = serde_json::from_str(&item.roles).unwrap_or_default();
    shown
}
