//! `/metrics`: the Prometheus text format.

mod exposition;
mod process;
mod state;

use std::time::Duration;

use axum::extract::State;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use policy::firewall::Refusal;

use self::exposition::Exposition;
use super::AdminState;
use crate::edge::tls::handshake::HandshakeOutcome;
use crate::traffic::OUTCOMES;

/// From a tenth of a millisecond, a warm decision, to the database's time limit.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// From a quick view of Console's to the time limit of a read.
const UPSTREAM_SECONDS: [f64; 12] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// How often samples are sorted into their histograms, scraped or not.
const KEEP_UP: Duration = Duration::from_secs(5);

/// The counters, each with its description.
const COUNTERS: &[(&str, &str)] = &[
    ("gate_requests_total", "requests, by outcome"),
    ("gate_denials_total", "audited denials, by reason"),
    (
        "gate_denials_repeated_total",
        "denials on unmapped paths that were counted in the row of an earlier one",
    ),
    ("gate_cookies_refused_total", "session cookies that identify no admin, by reason"),
    (
        "gate_sessions_refused_total",
        "verified sessions of people who are unknown or disabled, or that have ended, by reason",
    ),
    ("gate_refusals_total", "requests that the firewall refused, by reason"),
    (
        "gate_dropped_fields_total",
        "header fields that were dropped because a server may fold their names into other ones",
    ),
    ("gate_unavailable_total", "decisions that failed and were answered 503"),
    (
        "gate_unknown_machines_total",
        "requests of machines that are not enrolled, left to Console on rows on their legacy gate; V2 will refuse them, \
         by route",
    ),
    ("gate_unmapped_total", "requests that no row of the mapping covers, quiet paths left out"),
    ("gate_limited_total", "requests beyond a limit of their client, by limit"),
    ("gate_quiet_total", "requests for paths that the mapping calls quiet"),
    ("gate_epoch_reads_total", "reads of the epoch, each shared by all waiting requests"),
    ("gate_push_reconnects_total", "reconnects of the connection that receives changes"),
    ("gate_access_hits_total", "access resolutions answered from the cache"),
    ("gate_access_loads_total", "access resolutions loaded from the database"),
    (
        "gate_token_lookups_refused_total",
        "requests with an unknown token that exceeded the limit of waiting look-ups",
    ),
    (
        "gate_session_lookups_refused_total",
        "requests with a session key that is not in the cache, beyond the limit of waiting look-ups",
    ),
    (
        "gate_session_payloads_refused_total",
        "reads of a session's payload that the gate cannot read, by reason",
    ),
    ("gate_unusable_rows_total", "reads of unusable rows of the access tables, which grant nothing, by kind"),
    ("gate_epoch_went_back_total", "times that the database went back to an older state"),
    ("gate_drift_total", "disagreements between the legacy gate and V2 in shadow mode"),
    ("gate_console_drift_total", "disagreements of Console's own checks that its side reported, by outcome"),
    ("gate_drift_lost_total", "occurrences of disagreements that were lost"),
    ("gate_decisions_lost_total", "requests missing from the decision log"),
    ("gate_sentry_reports_total", "reports to the error tracker, by outcome"),
    ("gate_audit_failures_total", "audit rows that were not durable in time"),
    ("gate_audit_spooled_total", "audit rows that went to the spool"),
    ("gate_audit_replayed_total", "audit rows replayed from the spool into the database"),
    ("gate_audit_spool_damaged_total", "lines of a spool that were incomplete or altered"),
    ("gate_audit_refused_total", "audit rows that the database refuses because of their content"),
    ("gate_audit_mirrored_total", "rows in Console's own audit table, by way"),
    (
        "gate_audit_mirror_failures_total",
        "failures to write to Console's own audit table, by kind; the rows wait",
    ),
    (
        "gate_console_unreadable_total",
        "reads of Console that its tables did not allow, by relation of [console]",
    ),
    ("gate_erasures_total", "admins erased from the audit after their row was deleted"),
    ("gate_audit_checkpoints_total", "checkpoints of the chain, by outcome"),
    ("gate_ingested_events_total", "customers' events that services reported, by service"),
    ("gate_evaluations_total", "AuthZEN evaluations, by decision"),
    ("gate_forward_auth_total", "forward-auth requests, by outcome"),
    ("gate_mapping_reloads_total", "mapping files activated or refused"),
    ("gate_mapping_looks_total", "checks of the mapping file and the rollback in force"),
    (
        "gate_upstream_refusals_total",
        "answers of 401 and 403 that Console gave to requests which the gate had let in, by route, status and what let \
         them in",
    ),
    ("gate_upstream_errors_total", "requests that were not completed, by kind"),
    ("gate_connections_refused_total", "connections over the limit"),
    (
        "gate_admin_connections_closed_total",
        "connections to the admin address that the gate closed, by reason: they took too long, or their slots were \
         needed",
    ),
    ("gate_tls_handshakes_total", "TLS handshakes, by outcome"),
    ("gate_alerts_total", "attempts to send an alert, by channel and outcome"),
    ("gate_tls_reloads_total", "TLS certificates activated or refused after the first"),
    ("gate_audit_control_changed_total", "times that the chain of commands was changed outside of the gate"),
    ("gate_break_glass_requests_total", "requests that were let in only by a break-glass session"),
    ("gate_traces_sent_total", "traces of requests that the collector took"),
    ("gate_traces_dropped_total", "traces of requests that were dropped, by reason"),
    ("gate_freescout_questions_total", "questions to FreeScout, by outcome"),
    ("gate_freescout_webhooks_total", "webhooks of FreeScout, by outcome"),
    ("gate_ticket_grants_ended_total", "grants that ended with their ticket, by reason"),
    (
        "gate_assertion_refusals_total",
        "answers by which Console's side refused the gate's assertion, by upstream and reason",
    ),
];

/// The gauges, each with its description.
const GAUGES: &[(&str, &str)] = &[
    ("gate_buffer_bytes", "bytes of bodies between clients and Console, by kind"),
    (
        "gate_push_trusted",
        "1 while pushed state is trusted, 0 while push rows are read as strict; absent if no row uses push",
    ),
    ("gate_evidence_behind_seconds", "time since all evidence was last written to the database, by kind"),
    ("gate_audit_mirror_waiting", "rows that wait for Console's own audit table"),
    ("gate_audit_mirror_refused", "rows that Console's own audit table refused because of their content"),
    (
        "gate_console_untriggered",
        "1 while a change of Console's tables may go unnoticed, so that they are read for each request",
    ),
    ("gate_audit_spool_bytes", "bytes in the spool that are not in the database yet"),
    (
        "gate_mapping_file_changing_seconds",
        "how long the mapping file has kept changing; it is not activated meanwhile",
    ),
    (
        "gate_mapping_fallback",
        "1 while the mapping that was activated last runs, because the file could not be used at the start",
    ),
    ("gate_mapping_pinned", "1 while a rollback is in force here instead of the file"),
    ("gate_tls_certificate_expiry_seconds", "when the running certificate expires, as a Unix time"),
    ("gate_cluster_fallback", "1 for a cluster that is on V2 but decided by its legacy gate, by reason"),
    ("gate_upstream_healthy", "1 for a server with an address that passed its last health check"),
    ("gate_upstream_addresses", "addresses of a server, by result of their last health check"),
    ("gate_alerts_waiting", "alerts that no channel of theirs has accepted yet"),
    ("gate_alerts_oldest_waiting_seconds", "how long the oldest of them has waited"),
    ("gate_alert_channel_usable", "1 for a channel that accepted its last test message, by channel"),
    (
        "gate_break_glass_usable",
        "1 while a channel accepts alerts, without which no break-glass session starts",
    ),
    ("gate_audit_spool_orphan_bytes", "bytes in the spools that other gates left, not in the database yet"),
    ("gate_audit_spool_unreadable_files", "spools of other gates that this one cannot read"),
    ("gate_freescout_resting", "1 while FreeScout is not asked because it failed several times"),
    ("gate_clock_ahead_seconds", "how far the time used for expiry is ahead of the machine's clock"),
];

/// The histograms, each with its description.
const HISTOGRAMS: &[(&str, &str)] = &[
    ("gate_decision_seconds", "time from a request's head to its decision, audit included"),
    ("gate_request_seconds", "time from a request's head to the end of its response"),
    ("gate_epoch_read_seconds", "time of one read of the epoch"),
    ("gate_audit_write_seconds", "time from a denial to its durable row"),
    ("gate_upstream_seconds", "time until the head of an upstream's answer, by upstream"),
];

/// Installs the process's recorder and declares every metric, so that a counter is there before its first event.
///
/// # Errors
///
/// A recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("gate_upstream_seconds".into()), &UPSTREAM_SECONDS)?
        .install_recorder()?;
    for (name, description) in COUNTERS {
        describe_counter!(*name, *description);
    }
    for (name, description) in GAUGES {
        describe_gauge!(*name, *description);
    }
    for (name, description) in HISTOGRAMS {
        describe_histogram!(*name, *description);
    }
    for outcome in OUTCOMES {
        counter!("gate_requests_total", "outcome" => outcome).absolute(0);
    }
    for outcome in ["forwarded", "denied", "login", "unauthorized", "gone", "quiet", "refused", "unavailable"]
    {
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
    for outcome in HandshakeOutcome::ALL {
        counter!("gate_tls_handshakes_total", "outcome" => outcome.word()).absolute(0);
    }
    for reason in ["late", "displaced", "full"] {
        counter!("gate_admin_connections_closed_total", "reason" => reason).absolute(0);
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
        "gate_quiet_total",
        "gate_denials_repeated_total",
        "gate_dropped_fields_total",
        "gate_access_hits_total",
        "gate_access_loads_total",
        "gate_epoch_reads_total",
        "gate_epoch_went_back_total",
        "gate_token_lookups_refused_total",
        "gate_session_lookups_refused_total",
        "gate_connections_refused_total",
    ] {
        counter!(plain).absolute(0);
    }
    Ok(handle)
}

/// Sorts samples into their histograms now and then. Until they are sorted they are kept one by one, so that an
/// unscraped gate would keep one for each request that it ever served.
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
    let mapping = state.gate.mappings.running();
    let mut exposition = Exposition::default();
    process::write(&mut exposition);
    state::write(&state, &mapping, &mut exposition);
    state::without_ended(&state.metrics.render(), &mapping) + &exposition.into_text()
}
