//! placeholder
use super::Finding;
use clap::Args;
/// Everything on one port with no set-up
#[derive(Debug, Args)]
pub struct Demo {}
pub(super) fn run(_command: &Demo) -> anyhow::Result<Finding> {
    Ok(Finding::Clean)
}
