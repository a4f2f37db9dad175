//! Which build this is.

use std::sync::LazyLock;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let details: Vec<&str> = [option_env!("CONSOLE_GATE_COMMIT"), option_env!("CONSOLE_GATE_COMMIT_DATE")]
        .into_iter()
        .flatten()
        .collect();
    match details.as_slice() {
        [] => env!("CARGO_PKG_VERSION").to_owned(),
        details => format!("{} ({})", env!("CARGO_PKG_VERSION"), details.join(", ")),
    }
});

/// The commit, if the build was given it (`make release`).
pub fn commit() -> &'static str {
    option_env!("CONSOLE_GATE_COMMIT").unwrap_or("unknown")
}

/// The version and, if the build was given them (`make release`), the commit and its date.
pub fn version() -> &'static str {
    &VERSION
}
