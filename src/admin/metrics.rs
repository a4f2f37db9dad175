//! `/metrics`: the Prometheus text format.

use std::time::Duration;

use axum::extract::State;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use policy::firewall::Refusal;

use super::AdminState;
use crate::edge::tls::handshake::Outcome;

/// From a tenth of a millisecond, a warm decision, to the database's time limit.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// How often samples are sorted into their histograms, scraped or not.
const KEEP_UP: Duration = Duration::from_secs(5);

/// Installs the process's recorder and declares every metric, so that a counter is there before its first event.
///
/// # Errors
///
/// A recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .install_recorder()?;
    describe_counter!("gate_requests_total", "requests, by what became of them");
    describe_counter!("gate_denials_total", "audited denials, by reason");
    describe_counter!("gate_refusals_total", "requests that the firewall refused, by reason");
    describe_counter!("gate_unavailable_total", "decisions that were not possible and were answered 503");
    describe_counter!("gate_unmapped_total", "requests that no row of the mapping covers");
    describe_counter!("gate_epoch_reads_total", "reads of the epoch, each shared by all who waited");
    describe_gauge!(
        "gate_push_trusted",
        "1 while pushed knowledge may be trusted, 0 while push is strict; absent where no row asked for push"
    );
    describe_counter!("gate_push_reconnects_total", "times that the connection which listens was given up");
    describe_counter!("gate_access_hits_total", "access resolutions that a cached answer was current for");
    describe_counter!("gate_access_loads_total", "access resolutions that the cache did not have");
    describe_counter!(
        "gate_token_lookups_refused_total",
        "requests with a token that nobody is known to have, over the number that may wait to be looked up"
    );
    describe_counter!(
        "gate_unusable_rows_total",
        "rows of the access tables that grant nothing because they cannot be read, each time one is read, by kind"
    );
    describe_counter!("gate_epoch_went_back_total", "times that the database was older than before");
    describe_counter!("gate_drift_total", "disagreements of the two gates in shadow mode");
    describe_counter!("gate_drift_lost_total", "occurrences of disagreements that were lost");
    describe_counter!("gate_decisions_lost_total", "requests that the decision log lost");
    describe_gauge!(
        "gate_evidence_behind_seconds",
        "how long ago everything was written that there was to write, by kind"
    );
    describe_counter!("gate_sentry_reports_total", "reports to the error tracker, by what became of them");
    describe_counter!("gate_audit_failures_total", "audit rows that were not durable in time");
    describe_counter!("gate_audit_spooled_total", "audit rows that went to the spool");
    describe_counter!("gate_audit_replayed_total", "audit rows of the spool that the database has now");
    describe_counter!("gate_audit_spool_damaged_total", "lines of a spool that were torn or altered");
    describe_counter!("gate_audit_refused_total", "audit rows that the database refuses for what they say");
    describe_counter!(
        "gate_erasures_total",
        "admins that were erased from the audit after their row was deleted"
    );
    describe_counter!("gate_audit_checkpoints_total", "checkpoints of the chain, by what became of them");
    describe_gauge!("gate_audit_spool_bytes", "bytes of the spool that the database does not have yet");
    describe_counter!("gate_ingested_events_total", "customers' events that services reported, by service");
    describe_counter!("gate_evaluations_total", "questions of other services, by the answer");
    describe_counter!("gate_forward_auth_total", "requests that a proxy in front asked about, by the ruling");
    describe_counter!("gate_mapping_reloads_total", "mapping files taken up or refused");
    describe_counter!("gate_mapping_looks_total", "looks at the mapping file and at the rollback in force");
    describe_gauge!(
        "gate_mapping_file_changing_seconds",
        "for how long the mapping file has not stayed the same; it is not taken up meanwhile"
    );
    describe_gauge!("gate_mapping_pinned", "1 while a rollback rules here instead of the file");
    describe_counter!("gate_upstream_errors_total", "requests that were not completed, by kind");
    describe_counter!("gate_connections_refused_total", "connections over the limit");
    describe_counter!("gate_tls_handshakes_total", "TLS handshakes, by what became of them");
    describe_counter!("gate_tls_reloads_total", "TLS certificates taken up or refused after the first");
    describe_gauge!(
        "gate_tls_certificate_expiry_seconds",
        "when the running certificate expires, as a Unix time"
    );
    describe_gauge!("gate_mapping_info", "1 for the mapping that runs");
    describe_gauge!("gate_upstream_healthy", "1 for a server of which an address answered its last check");
    describe_gauge!(
        "gate_upstream_addresses",
        "addresses of a server, by whether they answered their last check"
    );
    describe_gauge!(
        "gate_clock_ahead_seconds",
        "by how much the time by which things expire is ahead of the machine's clock"
    );
    describe_histogram!("gate_decision_seconds", "from a request's head to its decision, audit included");
    describe_histogram!("gate_request_seconds", "from a request's head to the end of its answer");
    describe_histogram!("gate_epoch_read_seconds", "one read of the epoch");
    describe_histogram!("gate_audit_write_seconds", "from a denial to its durable row");
    for outcome in
        ["forwarded", "denied", "login", "unauthorized", "gone", "refused", "unavailable", "failed"]
    {
        counter!("gate_requests_total", "outcome" => outcome).absolute(0);
    }
    for outcome in ["forwarded", "denied", "login", "unauthorized", "gone", "refused", "unavailable"] {
        counter!("gate_forward_auth_total", "outcome" => outcome).absolute(0);
    }
    for decision in ["true", "false", "unavailable"] {
        counter!("gate_evaluations_total", "decision" => decision).absolute(0);
    }
    for refusal in Refusal::ALL {
        counter!("gate_refusals_total", "reason" => refusal.word()).absolute(0);
    }
    for outcome in ["activated", "refused"] {
        counter!("gate_mapping_reloads_total", "outcome" => outcome).absolute(0);
        counter!("gate_tls_reloads_total", "outcome" => outcome).absolute(0);
    }
    for outcome in Outcome::ALL {
        counter!("gate_tls_handshakes_total", "outcome" => outcome.word()).absolute(0);
    }
    for plain in [
        "gate_audit_failures_total",
        "gate_audit_spooled_total",
        "gate_audit_replayed_total",
        "gate_audit_spool_damaged_total",
        "gate_audit_refused_total",
        "gate_drift_lost_total",
        "gate_decisions_lost_total",
        "gate_unavailable_total",
        "gate_unmapped_total",
        "gate_access_hits_total",
        "gate_access_loads_total",
        "gate_epoch_reads_total",
        "gate_epoch_went_back_total",
        "gate_token_lookups_refused_total",
        "gate_connections_refused_total",
    ] {
        counter!(plain).absolute(0);
    }
    Ok(handle)
}

/// Sorts samples into their histograms now and then. Until they are sorted they are kept one by one, so that a gate which
/// nobody scrapes would keep one for each request that it ever served.
pub async fn keep_up(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(KEEP_UP).await;
        handle.run_upkeep();
    }
}

/// The metrics now.
pub async fn metrics(State(state): State<AdminState>) -> String {
    for (kind, progress) in state.gate.evidence() {
        gauge!("gate_evidence_behind_seconds", "kind" => kind).set(progress.behind.as_secs_f64());
    }
    state.metrics.run_upkeep();
    state.metrics.render()
}
