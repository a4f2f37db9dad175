//! What the tests share: certificates, a Console, a gate, a client.

pub mod certificates;
pub mod client;
pub mod console;
pub mod frames;
pub mod gate;
#[path = "../support/template.rs"]
mod template;

pub use certificates::{Authority, Issued};
pub use client::Client;
pub use console::Console;
pub use gate::{Gate, Setup};

use std::time::{Duration, Instant};

/// How long anything may take that happens by itself.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is yes.
pub async fn until(what: &str, mut asked: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !asked().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
