//! `console-gate keygen`

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use rand::TryRngCore as _;
use rand::rngs::OsRng;

use super::Finding;

/// Print a fresh key for CONSOLE_GATE_KEYS: for HS256 and for EdDSA alike
#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// The key's id, by which Console finds it
    #[arg(long, default_value = "k1")]
    id: String,
}

pub(super) fn run(command: &Keygen) -> anyhow::Result<Finding> {
    anyhow::ensure!(
        !command.id.is_empty()
            && command.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
        "a key id is made of letters, digits, `-`, `_` and `.`"
    );
    let mut key = zeroize::Zeroizing::new([0_u8; 32]);
    OsRng.try_fill_bytes(key.as_mut())?;
    println!("{}:{}", command.id, STANDARD.encode(key.as_ref()));
    Ok(Finding::Clean)
}
