//! The settings that flags and variables of a serving gate override.

use clap::Args;

use super::Common;
use crate::settings::{Address, Settings};

/// Settings that are often set without a file.
#[derive(Debug, Default, Args)]
pub(super) struct Overrides {
    /// The address for callers: `host:port` or `unix:/path`
    #[arg(long, env = "CONSOLE_GATE_LISTEN")]
    pub listen: Option<Address>,
    /// The address for health, metrics and the API: `host:port` or `unix:/path`
    #[arg(long, env = "CONSOLE_GATE_ADMIN")]
    pub admin: Option<Address>,
    /// The addresses of Console's servers, separated by commas
    #[arg(long, env = "CONSOLE_GATE_UPSTREAM", value_delimiter = ',')]
    pub upstream: Vec<Address>,
}

impl Overrides {
    /// The settings with which a gate would serve.
    pub(super) fn settings(&self, common: &Common) -> anyhow::Result<Settings> {
        let mut settings = common.settings()?;
        if let Some(address) = &self.listen {
            settings.listen.proxy.clone_from(address);
        }
        if let Some(address) = &self.admin {
            settings.listen.admin.clone_from(address);
        }
        if !self.upstream.is_empty() {
            settings.upstream.servers.clone_from(&self.upstream);
        }
        Ok(settings)
    }
}
