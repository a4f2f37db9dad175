//! Reports which gates act on a change, after a command that may have revoked something.

use std::sync::Arc;

use anyhow::Context as _;
use clock::SystemClock;
use store::SharedStore;

use crate::freshness::barrier::{Barrier, Settled};
use crate::settings::LONGEST_BARRIER;

/// Waits until every gate acts on what was committed before, and prints which gates do.
///
/// # Errors
///
/// The database did not answer. The change itself is committed.
pub(super) async fn wait_and_report(store: SharedStore) -> anyhow::Result<()> {
    super::announce(sentence(&settled(store).await?));
    Ok(())
}

/// Waits until every gate acts on what was committed before, and prints nothing: standard output is for a program.
///
/// # Errors
///
/// As [`wait_and_report`].
pub(super) async fn wait(store: SharedStore) -> anyhow::Result<()> {
    settled(store).await.map(drop)
}

async fn settled(store: SharedStore) -> anyhow::Result<Settled> {
    Barrier::new(store, Arc::new(SystemClock)).settle_now(LONGEST_BARRIER).await.context(
        "the change is committed, but whether every gate applies it yet could not be determined; each does within \
         its `max_staleness_ms`",
    )
}

fn sentence(settled: &Settled) -> String {
    let Settled { waited, acknowledged, lapsed } = settled;
    let acknowledged = match acknowledged.as_slice() {
        [] if lapsed.is_empty() => {
            return "In force: no gate uses pushed state, so it applies to the next request.".into();
        }
        [] => String::new(),
        [one] => format!(" {one} has acknowledged it."),
        several => format!(" {} gates have acknowledged it: {}.", several.len(), several.join(", ")),
    };
    let lapsed = match lapsed.as_slice() {
        [] => String::new(),
        silent => format!(
            " {} did not respond before its lease expired: it has stopped, or reads the database for each request.",
            silent.join(", ")
        ),
    };
    format!("In force after {} ms.{acknowledged}{lapsed}", waited.as_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_operator_reads_who_acts_on_it() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let table = [
            (
                names(&[]),
                names(&[]),
                "In force: no gate uses pushed state, so it applies to the next request.",
            ),
            (names(&["a/1"]), names(&[]), "In force after 7 ms. a/1 has acknowledged it."),
            (
                names(&["a/1", "b/2"]),
                names(&["c/3"]),
                "In force after 7 ms. 2 gates have acknowledged it: a/1, b/2. c/3 did not respond before its lease \
                 expired: it has stopped, or reads the database for each request.",
            ),
        ];
        for (acknowledged, lapsed, expected) in table {
            let settled = Settled { waited: Duration::from_millis(7), acknowledged, lapsed };
            assert_eq!(sentence(&settled), expected);
        }
    }
}
