//! The task that sends spans to the collector, behind the requests.

use std::time::Duration;

use metrics::{Counter, counter};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Attribute, Done, Message, wire};
use crate::journal::log_limit::LogLimit;
use crate::outbound::{Outbound, Request, Url};
use crate::settings::secrets::Secret;

/// Requests in one batch, and how long the first of them waits for others.
const BATCH: usize = 256;
const GATHER: Duration = Duration::from_secs(1);
/// The pauses before a batch that the collector could not take is sent again.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The destination of spans.
pub struct Collector {
    pub outbound: Outbound,
    pub url: Url,
    /// Further header fields: they may hold a key.
    pub headers: Vec<(String, Secret)>,
    /// The attributes of this process, for all spans.
    pub resource: Vec<Attribute>,
}

/// The traces that wait to be sent.
pub struct Exporting {
    queued: mpsc::Receiver<Message>,
    sent: Counter,
    lost: Counter,
    log: LogLimit,
}

impl Exporting {
    pub(super) fn new(queued: mpsc::Receiver<Message>) -> Exporting {
        let sent = counter!("gate_traces_sent_total");
        let lost = counter!("gate_traces_dropped_total", "reason" => "collector");
        sent.absolute(0);
        lost.absolute(0);
        Exporting { queued, sent, lost, log: LogLimit::default() }
    }

    /// Sends batches until every tracer is dropped.
    pub async fn run(mut self, collector: Collector) {
        while let Some(first) = self.queued.recv().await {
            let (batch, finishing) = self.gather(first).await;
            if !batch.is_empty() {
                self.send(&collector, &batch).await;
            }
            if let Some(done) = finishing {
                let _ = done.send(());
            }
        }
    }

    async fn gather(&mut self, first: Message) -> (Vec<Done>, Option<oneshot::Sender<()>>) {
        let deadline = Instant::now() + GATHER;
        let mut batch = Vec::new();
        let mut next = Some(first);
        loop {
            match next {
                Some(Message::Done(done)) => batch.push(*done),
                Some(Message::Finish(done)) => return (batch, Some(done)),
                None => return (batch, None),
            }
            if batch.len() >= BATCH {
                return (batch, None);
            }
            next = timeout_at(deadline, self.queued.recv()).await.ok().flatten();
        }
    }

    async fn send(&self, collector: &Collector, batch: &[Done]) {
        let body = wire::export(&collector.resource, batch);
        let mut pauses = AGAIN.iter();
        loop {
            let problem = match collector.send(&body).await {
                Ok(()) => return self.sent.increment(batch.len() as u64),
                Err(problem) => problem,
            };
            match pauses.next() {
                Some(pause) if problem.may_pass => sleep(*pause).await,
                _ => {
                    self.lost.increment(batch.len() as u64);
                    if let Some(not_logged_before) = self.log.is_due(&()) {
                        let (problem, traces) = (problem.words, batch.len());
                        tracing::warn!(
                            problem,
                            traces,
                            not_logged_before,
                            "traces were not taken by the collector of [otlp]"
                        );
                    }
                    return;
                }
            }
        }
    }
}

/// Why a batch was not taken.
struct Problem {
    words: String,
    /// Whether the same batch may be taken later (OTLP 1.x, "Failures").
    may_pass: bool,
}

impl Collector {
    async fn send(&self, body: &[u8]) -> Result<(), Problem> {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value.expose()).ok()?)))
            .collect();
        let request = Request::Any { method: "POST", body: Some(("application/x-protobuf", body)) };
        match self.outbound.send(&self.url, request, &headers).await {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(()),
            Ok(reply) => Err(Problem {
                words: format!("status {}", reply.status),
                may_pass: matches!(reply.status, 429 | 502 | 503 | 504),
            }),
            Err(error) => Err(Problem { words: error.to_string(), may_pass: true }),
        }
    }
}
