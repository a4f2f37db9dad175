//! What the tests are built on: a database, a Console, gates, people, and a client.

pub mod alone;
pub mod canonical;
pub mod chunks;
pub mod console;
pub mod denial;
pub mod exchange;
pub mod findings;
pub mod freescout;
pub mod gate;
pub mod http;
pub mod nginx;
pub mod recorder;
pub mod scene;
pub mod seed;
pub mod stand_in;
pub mod table;
pub mod transit;
pub mod turned;
pub mod wire;
pub mod world;

#[path = "../support/postgres.rs"]
pub mod postgres;
#[path = "../support/template.rs"]
pub mod template;
#[path = "../support/tier.rs"]
pub mod tier;

pub use console::Console;
pub use findings::Findings;
pub use gate::{Gate, Setup};
pub use http::{Answer, Ask, Client};
pub use seed::Seed;
pub use table::{CsvRow, Probe, Status};
pub use world::{Database, World};

/// A file of the project.
pub fn project_file(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the project.
pub fn project_text(path: &str) -> String {
    std::fs::read_to_string(project_file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
