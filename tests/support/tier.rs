//! Which edition of the tests runs: the quick one of `make test`, or everything in its full size, with `GATE_TIER=all`.

/// `full` with `GATE_TIER=all`, else `quick`.
pub(crate) fn in_tier<T>(quick: T, full: T) -> T {
    if std::env::var("GATE_TIER").is_ok_and(|tier| tier == "all") { full } else { quick }
}
