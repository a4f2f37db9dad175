//! Values read from the gate's state at the time of the scrape, so that nothing is shown that has ended.

use std::collections::HashSet;

use policy::mapping::{ClusterMode, Mapping};

use super::exposition::{Exposition, Kind, escaped};
use crate::admin::AdminState;
use crate::version;

/// The families of the recorder whose labels name rows and clusters of the mapping.
const OF_THE_MAPPING: [(&str, &str); 4] = [
    ("gate_cluster_fallback{", "cluster=\""),
    ("gate_drift_total{", "cluster=\""),
    ("gate_unknown_machines_total{", "route=\""),
    ("gate_upstream_refusals_total{", "route=\""),
];

/// Writes the state of the gate.
pub(super) fn write(state: &AdminState, mapping: &Mapping, into: &mut Exposition) {
    let build = [("version", env!("CARGO_PKG_VERSION")), ("commit", version::commit())];
    into.family("gate_build_info", Kind::Gauge, "1, with the version and the commit of this build")
        .sample(&build, 1);
    into.family("gate_mapping_info", Kind::Gauge, "1 for the running mapping")
        .sample(&[("sha256", mapping.sha256().as_str())], 1);
    let traffic = &state.gate.traffic;
    into.gauge("gate_requests_in_flight", "requests that are being served", traffic.in_flight());
    into.gauge("gate_connections", "connections of clients that are open", traffic.connections());
    write_rows(state, into);
    write_pools(state, into);
    write_control(state, mapping, into);
}

fn write_rows(state: &AdminState, into: &mut Exposition) {
    let rows = state.gate.traffic.rows();
    let mut family = into.family(
        "gate_route_requests_total",
        Kind::Counter,
        "requests, by row of the mapping and outcome",
    );
    for row in &rows {
        for (outcome, count) in row.outcomes() {
            family.sample(&[("route", &row.route), ("cluster", &row.cluster), ("outcome", outcome)], count);
        }
    }
    let help = "answers of Console and of servers beside it, by row of the mapping and class of their status";
    let mut family = into.family("gate_upstream_answers_total", Kind::Counter, help);
    for row in &rows {
        for (class, count) in row.answers() {
            family.sample(&[("route", &row.route), ("cluster", &row.cluster), ("status", class)], count);
        }
    }
    let help = "time that these answers took until their heads came, by row of the mapping";
    let mut family = into.family("gate_route_upstream_seconds_total", Kind::Counter, help);
    for row in rows.iter().filter(|row| row.answers().next().is_some()) {
        family.sample(&[("route", &row.route), ("cluster", &row.cluster)], row.upstream_seconds());
    }
}

fn write_pools(state: &AdminState, into: &mut Exposition) {
    let pools = state.store.pools();
    let help = "connections to the database, by pool and whether something uses them";
    let mut family = into.family("gate_database_connections", Kind::Gauge, help);
    for pool in &pools {
        family.sample(&[("pool", pool.name), ("state", "idle")], pool.idle);
        family.sample(&[("pool", pool.name), ("state", "used")], pool.used);
    }
    let help = "connections to the database that a pool may have";
    let mut family = into.family("gate_database_connections_max", Kind::Gauge, help);
    for pool in &pools {
        family.sample(&[("pool", pool.name)], pool.most);
    }
}

/// The switches as they were last read, and what follows for each cluster.
fn write_control(state: &AdminState, mapping: &Mapping, into: &mut Exposition) {
    let Some((age, control)) = state.gate.access.last_seen() else { return };
    into.gauge(
        "gate_epoch_age_seconds",
        "time since the epoch and the switches were last read",
        age.as_secs_f64(),
    );
    let number = |is: bool| u8::from(is);
    into.gauge("gate_rbac_v2_enabled", "1 while FLAG_RBAC_V2 is on", number(control.rbac_v2));
    let help = "1 while V2 may be enforced: outside production, and in production once its flag is promoted";
    into.gauge("gate_rbac_v2_promoted", help, number(control.may_enforce));
    let help = "1 for the mode of a cluster that is in force, after fall-backs";
    let mut family = into.family("gate_cluster_mode", Kind::Gauge, help);
    let is_v2_in_force = control.rbac_v2 && control.may_enforce;
    for (name, rollout) in mapping.clusters() {
        let in_force = match rollout.mode {
            ClusterMode::V2 if !is_v2_in_force => ClusterMode::Legacy,
            mode => mode,
        };
        for (mode, word) in
            [(ClusterMode::Legacy, "legacy"), (ClusterMode::Shadow, "shadow"), (ClusterMode::V2, "v2")]
        {
            family.sample(&[("cluster", name), ("mode", word)], number(in_force == mode));
        }
    }
}

/// What the recorder has, without the series of rows and clusters that the running mapping does not have.
pub(super) fn without_ended(text: &str, mapping: &Mapping) -> String {
    let routes: HashSet<String> = mapping.rows().iter().map(|row| escaped(&row.route)).collect();
    let clusters: HashSet<String> = mapping.clusters().keys().map(|name| escaped(name)).collect();
    let is_current = |line: &&str| {
        let Some((_, label)) = OF_THE_MAPPING.iter().find(|(name, _)| line.starts_with(name)) else {
            return true;
        };
        let Some((_, value)) = line.split_once(label) else { return true };
        let value = until_quote(value);
        let names = if label.starts_with("route") { &routes } else { &clusters };
        // Of a request that no row covers, or a row that is in no cluster.
        value.is_empty() || names.contains(value)
    };
    let mut kept = String::with_capacity(text.len());
    for line in text.lines().filter(is_current) {
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// A label's value, still escaped, as far as its closing quote.
fn until_quote(text: &str) -> &str {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text, |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_rows_and_clusters_that_are_gone_are_left_out() {
        let text = "version = 1\n[clusters]\nC = \"v2\"\n[blueprints.b]\ncluster = \"C\"\n[blueprints.b.routes]\n\
                    'GET /<any(\"a\",\"b\"):x>' = { legacy = [\"ops\"], role = \"r\" }\n";
        let mapping = Mapping::parse("routes.toml", text).unwrap();
        let kept = [
            "# TYPE gate_drift_total counter",
            "gate_drift_total{cluster=\"C\",direction=\"x\"} 1",
            "gate_drift_total{cluster=\"\",direction=\"x\"} 1",
            "gate_upstream_refusals_total{route=\"GET /<any(\\\"a\\\",\\\"b\\\"):x>\",status=\"403\",gate=\"v2\"} 1",
            "gate_upstream_refusals_total{route=\"\",status=\"403\",gate=\"unmapped\"} 1",
            "gate_requests_total{outcome=\"denied\"} 1",
        ];
        let ended = [
            "gate_drift_total{cluster=\"D\",direction=\"x\"} 1",
            "gate_cluster_fallback{cluster=\"D\",reason=\"flag_off\"} 1",
            "gate_upstream_refusals_total{route=\"GET /old\",status=\"403\",gate=\"v2\"} 1",
            "gate_unknown_machines_total{route=\"GET /old\"} 1",
        ];
        let all: Vec<&str> = kept.iter().chain(&ended).copied().collect();
        assert_eq!(without_ended(&all.join("\n"), &mapping), format!("{}\n", kept.join("\n")));
    }
}
