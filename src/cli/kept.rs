//! The mappings that the gates on a database have run, and the impact of a step between two of them.

use anyhow::Context as _;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use store::SharedStore;
use workbench::report::style::columns;
use workbench::report::text::wrapped;

use crate::facts::Running;

/// The fewest characters by which a mapping can be named.
const SHORTEST: usize = 6;

/// The activated mapping whose SHA-256 has this beginning.
pub(super) async fn beginning(store: &SharedStore, beginning: &str) -> anyhow::Result<MappingSha256> {
    // With fewer characters, another mapping may have the same beginning tomorrow.
    anyhow::ensure!(
        beginning.len() >= SHORTEST && beginning.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "`{beginning}` is not the beginning of a SHA-256: give at least {SHORTEST} hexadecimal characters, as \
         `console-gate history` shows them"
    );
    match store.activated_beginning(beginning).await?.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            anyhow::bail!("no activated mapping begins with `{beginning}`: `console-gate history` lists them")
        }
        _ => anyhow::bail!("more than one mapping begins with `{beginning}`: give more characters"),
    }
}

/// The stored mapping with this hash.
pub(super) async fn mapping(store: &SharedStore, sha256: &MappingSha256) -> anyhow::Result<Mapping> {
    let text = store.mapping_text(sha256).await?;
    let text = text.with_context(|| format!("the text of the mapping {sha256} is not stored"))?;
    Ok(Mapping::parse(sha256.as_str(), &text)?)
}

/// Prints a note if the gates run different mappings: the output then does not apply to all of them.
pub(super) fn warn_where_gates_differ(running: &Running) {
    if let Some(warning) = running.warning() {
        println!("{}\n", wrapped(&warning, columns(), 0, 4));
    }
}
