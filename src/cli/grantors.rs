//! `console-gate grantors add|remove|list`

use clap::{Args, Subcommand};
use store::grantors::Target;
use store::rbac_changes::RbacChange;

use super::help::Examples;
use super::people::{self, How};
use super::{Common, Ended, TextOrJson, with_store};

pub(super) const EXAMPLES: Examples = &[
    ("grantors", &["console-gate --config gate.toml grantors list"]),
    (
        "grantors add",
        &["console-gate --config gate.toml grantors add --group night-shift team-leads --with-approval"],
    ),
    ("grantors remove", &["console-gate --config gate.toml grantors remove --group night-shift team-leads"]),
    ("grantors list", &["console-gate --config gate.toml grantors list --format json"]),
];

/// Let a group's members give a group or role that they lack
#[derive(Debug, Args)]
pub(super) struct Grantors {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let the members of a group give something over the API
    Add {
        #[command(flatten)]
        what: What,
        /// The group of the grantors
        by: String,
        /// Each time another person has to approve it, as `[approval.edits]` says
        #[arg(long)]
        with_approval: bool,
        #[command(flatten)]
        how: How,
    },
    /// Stop the members of a group from giving something
    Remove {
        #[command(flatten)]
        what: What,
        /// The group of the grantors
        by: String,
        #[command(flatten)]
        how: How,
    },
    /// List what may be given, and by the members of which group
    List {
        /// The output format
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
}

/// What is given.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The group that may be given
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The role that may be given
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

impl What {
    fn target(&self) -> anyhow::Result<Target> {
        match (&self.group, &self.role) {
            (Some(group), _) => Ok(Target::Group(group.clone())),
            (None, Some(role)) => Ok(Target::Role(role.clone())),
            (None, None) => anyhow::bail!("say what may be given: `--group` or `--role`"),
        }
    }
}

impl Grantors {
    pub(super) fn only_reads(&self) -> bool {
        match &self.action {
            Action::Add { how, .. } | Action::Remove { how, .. } => how.only_reads(),
            Action::List { .. } => true,
        }
    }
}

pub(super) fn run(command: &Grantors, common: &Common) -> anyhow::Result<Ended> {
    match &command.action {
        Action::Add { what, by, with_approval, how } => {
            let (of, by, with_approval) = (what.target()?, by.clone(), *with_approval);
            people::run(common, how, &[RbacChange::AddGrantor { of, by, with_approval }], false)
        }
        Action::Remove { what, by, how } => {
            let remove = RbacChange::RemoveGrantor { of: what.target()?, by: by.clone() };
            people::run(common, how, &[remove], false)
        }
        Action::List { format } => list(common, *format),
    }
}

fn list(common: &Common, format: TextOrJson) -> anyhow::Result<Ended> {
    with_store(&common.settings()?, async |store| {
        let grantors = store.grantors().await?;
        match format {
            TextOrJson::Json => println!("{}", serde_json::to_string_pretty(&grantors)?),
            TextOrJson::Text => {
                for grantor in &grantors {
                    let with = if grantor.with_approval { ", each time with an approval" } else { "" };
                    println!("members of `{}` may give {}{with}", grantor.by, grantor.of);
                }
            }
        }
        Ok(Ended::Clean)
    })
}
