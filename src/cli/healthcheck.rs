//! `console-gate healthcheck`

use std::time::Duration;

use clap::Args;

use super::help::Examples;
use super::{Common, Ended};
use crate::outbound::{Outbound, Request, Url};
use crate::settings::Address;

pub(super) const EXAMPLES: Examples = &[(
    "healthcheck",
    &[
        "console-gate healthcheck",
        "console-gate healthcheck --ready --admin unix:/run/console-gate/admin.sock",
    ],
)];

/// For the whole exchange.
const PATIENCE: Duration = Duration::from_secs(3);
const MOST_BYTES: usize = 64 * 1024;

/// Ask a gate on this machine whether it is alive
///
/// For containers whose image has no curl: asks `/healthz` at the admin address of the settings, or `/readyz` with
/// `--ready`. Exits 1 if the gate does not answer 200, and prints what it says.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// Ask whether it can serve, and not only whether it is alive
    #[arg(long)]
    ready: bool,
    /// The admin address: `host:port` or `unix:/path`
    #[arg(long, env = "CONSOLE_GATE_ADMIN")]
    admin: Option<Address>,
}

pub(super) fn run(command: &Healthcheck, common: &Common) -> anyhow::Result<Ended> {
    let admin = match &command.admin {
        Some(admin) => admin.clone(),
        None => common.settings()?.listen.admin,
    };
    let url = url(&admin)?;
    let path = if command.ready { "/readyz" } else { "/healthz" };
    let outbound = Outbound::new(Vec::new(), PATIENCE, MOST_BYTES)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(outbound.send(&url.at(path), Request::Get, &[])) {
        Ok(reply) => {
            let said = String::from_utf8_lossy(&reply.body).trim().to_owned();
            println!("{} {said}", reply.status);
            Ok(if reply.status == 200 { Ended::Clean } else { Ended::Findings })
        }
        Err(error) => {
            println!("{admin}: {error}");
            Ok(Ended::Findings)
        }
    }
}

/// For a gate that listens at every address, this machine's own.
pub(super) fn url(admin: &Address) -> anyhow::Result<Url> {
    Ok(match admin {
        Address::Unix(path) => Url::parse(&format!("unix:{}", path.display()))?,
        Address::Tcp(address) => {
            let own = address.strip_prefix("0.0.0.0:").map(|port| format!("127.0.0.1:{port}"));
            let own = own.or_else(|| address.strip_prefix("[::]:").map(|port| format!("[::1]:{port}")));
            Url::parse(&format!("http://{}/", own.as_ref().unwrap_or(address)))?
        }
    })
}
