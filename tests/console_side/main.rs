//! The commands that read Console's own side: `lint`, `import`, `coverage`; and the script that lists its routes.
//!
//! They run as an operator runs them: the real binary, its arguments, exit codes and output. The small trees are
//! `tests/data/console_src`, where everything can be read, and `tests/data/console_src_odd`, where much cannot; the
//! large one is made of the documents' own table. `tests/data/console_apps` has apps that are run as well.
//! `UPDATE_GOLDEN=1` writes the golden files again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]
#![allow(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what the tests may use of `support`"
)]

mod coverage;
mod dump;
mod import;
mod lint;
mod random_apps;
mod real_apps;
mod support;
