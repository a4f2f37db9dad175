//! `console-gate keygen`

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use ledger::keys::KeyRing;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use super::help::Examples;
use super::{Common, Ended};

pub(super) const EXAMPLES: Examples =
    &[("keygen", &["console-gate keygen", "console-gate keygen --id 2026-11"])];

/// Generate a key for assertions, the audit or probes
///
/// Keys are known by their ids, so two keys must not have the same one.
#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// The id of the key; without it, `k-` and the beginning of its fingerprint
    #[arg(long)]
    id: Option<String>,
}

pub(super) fn run(command: &Keygen, _: &Common) -> anyhow::Result<Ended> {
    if let Some(id) = &command.id {
        anyhow::ensure!(
            !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
            "a key id consists of letters, digits, `-`, `_` and `.`"
        );
        println!("{}", *fresh_key(id)?);
        return Ok(Ended::Clean);
    }
    let key = fresh_key("new")?;
    let fingerprint = KeyRing::parse(&key)?.sealing().fingerprint();
    println!("k-{}{}", &fingerprint[..8], key.trim_start_matches("new"));
    Ok(Ended::Clean)
}

/// A key of 256 random bits, as `id:base64`.
pub(super) fn fresh_key(id: &str) -> anyhow::Result<Zeroizing<String>> {
    let mut key = Zeroizing::new([0_u8; 32]);
    OsRng.try_fill_bytes(key.as_mut())?;
    Ok(Zeroizing::new(format!("{id}:{}", STANDARD.encode(key.as_ref()))))
}
