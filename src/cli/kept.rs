//! The mappings that the gates on a database have run, and what a step between two of them does to whom.

use anyhow::Context as _;

use super::diff::print_text;
use crate::ids::MappingSha256;
use crate::impact::{Impact, Population, Switches, impact};
use crate::mapping::Mapping;
use crate::registry::Registry;
use crate::store::SharedStore;
use crate::store::mappings::StoredActivation;

/// How far back is looked.
const MOST: u32 = 1_000;

/// Those that took effect, the latest first.
pub(super) async fn activated(store: &SharedStore) -> anyhow::Result<Vec<StoredActivation>> {
    let mut activations = store.activations(MOST).await?;
    activations.retain(|activation| activation.outcome == "activated");
    Ok(activations)
}

/// The mapping whose SHA-256 begins so.
pub(super) fn beginning(activated: &[StoredActivation], beginning: &str) -> anyhow::Result<MappingSha256> {
    let mut matching: Vec<&str> = activated
        .iter()
        .map(|activation| activation.sha256.as_str())
        .filter(|sha256| sha256.starts_with(beginning))
        .collect();
    matching.sort_unstable();
    matching.dedup();
    match matching.as_slice() {
        [one] => Ok(MappingSha256::new(*one)),
        [] => anyhow::bail!("no activated mapping begins with `{beginning}`"),
        _ => anyhow::bail!("`{beginning}` begins more than one mapping"),
    }
}

/// The mapping with this hash, as it is kept.
pub(super) async fn mapping(store: &SharedStore, sha256: &MappingSha256) -> anyhow::Result<Mapping> {
    let text = store.mapping_text(sha256).await?;
    let text = text.with_context(|| format!("the text of the mapping {sha256} is not kept"))?;
    Ok(Mapping::parse(sha256.as_str(), &text)?)
}

/// Compares two mappings for everybody in the registry, with V2 in force, and hands the impact on.
pub(super) fn compared<T>(
    old: &Mapping,
    new: &Mapping,
    registry: &Registry,
    tell: impl FnOnce(&Impact<'_>) -> T,
) -> T {
    let population = Population::new(&registry.catalog, &registry.people, &Default::default(), &[old, new]);
    tell(&impact(old, new, &registry.catalog, &population, Switches { rbac_v2: true }))
}

/// Prints what a step from one mapping to another does to whom.
pub(super) fn print_impact(old: &Mapping, new: &Mapping, name: &str, registry: &Registry) {
    compared(old, new, registry, |impact| print_text(impact, name));
}
