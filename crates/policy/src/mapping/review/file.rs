//! Remarks about the file as a whole.

use std::ops::Range;

use toml::de::DeTable;

use crate::diagnostic::Diagnostic;
use crate::mapping::table::{Mapping, RowKind, Unmapped};

/// `unmapped = "forward"`.
pub(super) fn unmapped_is_forwarded(mapping: &Mapping) -> Option<Diagnostic> {
    (mapping.unmapped() == Unmapped::Forward).then(|| {
        Diagnostic::new(
            "unmapped-forwarded",
            key_span(mapping.source(), &["unmapped"]),
            "requests without a row are forwarded without a check",
        )
        .suggest("write `unmapped = \"deny\"` once the table is complete")
    })
}

/// Clusters without any row that has a gate: flipping such a cluster changes nothing.
pub(super) fn clusters_that_decide_nothing(mapping: &Mapping) -> Vec<Diagnostic> {
    let decides = |name: &str| {
        let mut gated = mapping.rows().iter().filter(|row| matches!(row.kind, RowKind::Gated { .. }));
        gated.any(|row| row.cluster.as_deref() == Some(name))
    };
    let idle = mapping.clusters().keys().filter(|name| !decides(name));
    idle.map(|name| {
        Diagnostic::new(
            "idle-cluster",
            key_span(mapping.source(), &["clusters", name]),
            format!("the cluster `{name}` has no row with a role: its mode has no effect"),
        )
        .suggest("remove it, or assign it to the blueprints that it is meant for")
    })
    .collect()
}

/// The place of a key; the start of the file if the key is not written there.
pub(super) fn key_span(source: &str, path: &[&str]) -> Range<usize> {
    let Ok(document) = DeTable::parse(source) else { return 0..0 };
    let mut table = Some(document.get_ref());
    let mut span = 0..0;
    for name in path {
        let Some((key, value)) = table.and_then(|table| table.get_key_value(*name)) else { break };
        span = key.span();
        table = value.get_ref().as_table();
    }
    span
}
