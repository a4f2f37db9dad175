//! An operator's error tracker, if there is one: Sentry, or another service that accepts its envelopes.
//!
//! `SENTRY_DSN` in the environment specifies its address. It gets the errors that the gate logs, and each disagreement
//! when it is first seen. These name routes, clusters, mappings and requests, and no person: ids of callers, paths and
//! addresses stay in the log and the audit. A separate thread sends them, behind a bounded queue, so that an
//! unavailable or hanging tracker costs a counter and nothing else.

mod dsn;
mod report;
mod sender;

use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};

use metrics::counter;
use tokio::sync::mpsc;

pub use self::dsn::{Dsn, DsnError};
use self::report::Report;
use self::sender::Sender;
use crate::outbound::{Outbound, OutboundError};

/// The target of events that the tracker gets although they are not errors.
pub const NOTABLE: &str = "console_gate::notable";

/// Reports that wait to be sent.
const QUEUE: usize = 128;
const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES: usize = 64 * 1024;
/// How long the end of the process waits for the last reports.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Why there is no tracker.
#[derive(Debug, thiserror::Error)]
pub enum SentryError {
    #[error(transparent)]
    Dsn(#[from] DsnError),
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("the error tracker's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

enum Message {
    Report(Box<Report>),
    Finish(blocking::Sender<()>),
}

/// A layer of the log that queues reports, so that logging does not wait.
#[derive(Clone, Debug)]
pub struct Tracker {
    queue: mpsc::Sender<Message>,
    environment: &'static str,
}

/// Sends the waiting reports when it is dropped, for a short time.
#[derive(Debug)]
pub struct FlushOnDrop {
    queue: mpsc::Sender<Message>,
}

/// Starts reporting to the tracker of `dsn`. `environment` is where the gate runs.
///
/// # Errors
///
/// TLS or a thread is not available.
pub fn start(dsn: Dsn, environment: &'static str) -> Result<(Tracker, FlushOnDrop), SentryError> {
    let sender = Sender::new(Outbound::new(Vec::new(), TIMEOUT, ANSWER_BYTES)?, dsn);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (queue, messages) = mpsc::channel(QUEUE);
    std::thread::Builder::new()
        .name("sentry".into())
        .spawn(move || runtime.block_on(carry(sender, messages)))?;
    Ok((Tracker { queue: queue.clone(), environment }, FlushOnDrop { queue }))
}

async fn carry(mut sender: Sender, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        match message {
            Message::Report(report) => {
                let outcome = sender.deliver(&report, Instant::now()).await;
                counter!("gate_sentry_reports_total", "outcome" => outcome.word()).increment(1);
            }
            Message::Finish(done) => {
                let _ = done.send(());
            }
        }
    }
}

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        let (done, finished) = blocking::channel();
        if self.queue.try_send(Message::Finish(done)).is_ok() {
            let _ = finished.recv_timeout(FLUSH_TIME);
        }
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Tracker {
    fn on_event(&self, event: &tracing::Event<'_>, _context: tracing_subscriber::layer::Context<'_, S>) {
        let Some(report) = Report::of(event, self.environment, chrono::Utc::now()) else { return };
        if self.queue.try_send(Message::Report(Box::new(report))).is_err() {
            counter!("gate_sentry_reports_total", "outcome" => "dropped").increment(1);
        }
    }
}

#[cfg(test)]
mod tests;
