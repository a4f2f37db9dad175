use std::sync::Arc;

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use proptest::prelude::*;

use super::{ClusterHistory, History};
use crate::mapping::{ClusterMode, Mapping, Rollout};

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 29, 12, 0, 0).unwrap()
}

fn mapping(clusters: &str) -> Mapping {
    let file = format!("version = 1\n[clusters]\n{clusters}\n");
    Mapping::parse("t", &file).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// `(cluster, mode of the latest activation, hours in it)`.
fn history(clusters: &[(&str, ClusterMode, i64)]) -> History {
    let of = |(cluster, mode, hours): &(&str, ClusterMode, i64)| {
        let since = Some(now() - TimeDelta::hours(*hours));
        let history = ClusterHistory {
            latest: Some(Rollout::everybody(*mode)),
            shadow_since: since.filter(|_| *mode == ClusterMode::Shadow),
            v2_since: since.filter(|_| *mode == ClusterMode::V2),
        };
        (Arc::from(*cluster), history)
    };
    clusters.iter().map(of).collect()
}

fn missing(file: &str, known: &[(&str, ClusterMode, i64)]) -> Vec<String> {
    let untimely = mapping(file).untimely(None, &history(known), now());
    untimely.into_iter().flat_map(|one| one.missing).collect()
}

/// The design's S8: "S1 to S7 have soaked in staging for at least 24 hours".
#[test]
fn a_cluster_waits_for_those_before_it_and_for_its_own_soak() {
    use ClusterMode::{Legacy, Shadow, V2};
    let file =
        |s1: &str| format!("S1 = \"{s1}\"\nS8 = {{ mode = \"v2\", after = [\"S1\"], soaked_hours = 24 }}");
    let in_time: &[(&str, ClusterMode, i64)] = &[("S1", V2, 24), ("S8", Shadow, 24)];
    let nothing: &[&str] = &[];
    let table = [
        ("v2", in_time, nothing),
        (
            "v2",
            &[("S1", V2, 3), ("S8", Shadow, 24)][..],
            &["`S1` has been in v2 for 3 of 24 hours, until 2026-03-30 09:00Z"][..],
        ),
        (
            "v2",
            &[("S1", V2, 24), ("S8", Shadow, 23)],
            &["`S8` has been in shadow for 23 of 24 hours, until 2026-03-29 13:00Z"],
        ),
        ("v2", &[("S1", V2, 24), ("S8", Legacy, 99)], &["`S8` has been in shadow for 0 of 24 hours"]),
        ("v2", &[("S1", Shadow, 99), ("S8", Shadow, 24)], &["`S1` is not in v2 yet"]),
        ("v2", &[], &["`S1` is not in v2 yet", "`S8` has been in shadow for 0 of 24 hours"]),
        // What has been is no use if the file takes it back.
        ("shadow", &[("S1", V2, 99), ("S8", Shadow, 24)], &["`S1` is shadow in this file"]),
        // Not flipped: it is there already. A way back for others stays open.
        ("legacy", &[("S1", V2, 1), ("S8", V2, 1)], nothing),
        ("v2", &[("S8", V2, 0)], nothing),
    ];
    for (s1, known, expected) in table {
        assert_eq!(missing(&file(s1), known), expected, "{s1} {known:?}");
    }
    // A file that flips nothing is never too early.
    for mode in ["legacy", "shadow"] {
        let waiting = file("legacy").replace("mode = \"v2\"", &format!("mode = \"{mode}\""));
        assert_eq!(missing(&waiting, &[]), nothing, "{mode}");
    }
}

#[test]
fn a_cohort_is_a_flip_and_so_is_everybody_after_it() {
    let cohort = mapping("S1 = { mode = \"v2\", groups = [\"g\"], soaked_hours = 2 }");
    let all = mapping("S1 = { mode = \"v2\", soaked_hours = 2 }");
    let none = History::new();
    let is_untimely = |new: &Mapping, running| !new.untimely(running, &none, now()).is_empty();
    assert!(is_untimely(&cohort, None) && is_untimely(&all, None));
    assert!(is_untimely(&all, Some(&cohort)), "everybody is more than a cohort");
    assert!(!is_untimely(&cohort, Some(&all)) && !is_untimely(&cohort, Some(&cohort)));
    assert!(!is_untimely(&all, Some(&all)));
}

#[test]
fn an_override_is_reported_with_its_reason_and_a_refusal_with_what_is_missing() {
    let file = "S1 = \"legacy\"\nS2 = { mode = \"v2\", after = [\"S1\"] }";
    let refused = mapping(file).untimely(None, &History::new(), now()).remove(0).finding();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        ("out-of-order", "`S2` cannot go to v2 yet: `S1` is legacy in this file")
    );
    let excused = file.replace("] }", "], override = { reason = \"an incident\", ref = \"#9\" } }");
    let allowed = mapping(&excused).untimely(None, &History::new(), now()).remove(0).finding();
    let message =
        "`S2` goes to v2 before its time (`S1` is legacy in this file), by override: an incident (#9)";
    assert_eq!((allowed.code, allowed.message.as_str()), ("order-overridden", message));
}

#[test]
fn mistakes_of_an_order_are_reported_with_their_place() {
    let table = [
        (
            "S1 = { mode = \"v2\", after = [\"S9\"] }",
            "3:30: the cluster `S9` is not in [clusters] [unknown-cluster]",
        ),
        ("S1 = { mode = \"v2\", after = [\"S1\"] }", "3:30: `S1` cannot come after itself [contradiction]"),
        ("S1 = { mode = \"v2\", after = \"S2\" }", "3:29: `after` must be a list of strings, not a string"),
        ("S1 = { mode = \"v2\", soaked_hours = 0 }", "`soaked_hours` must be from 1 to 87600 [out-of-range]"),
        (
            "S1 = { mode = \"v2\", soaked_hours = 1, override = { reason = \"x\" } }",
            "`override` must name its `ref` [missing-key]",
        ),
        (
            "S1 = { mode = \"v2\", soaked_hours = 1, override = { ref = \"x\" } }",
            "`override` must name its `reason` [missing-key]",
        ),
        (
            "S1 = { mode = \"v2\", override = { reason = \"x\", ref = \"#1\" } }",
            "`override` has nothing to override [contradiction]",
        ),
        ("S1 = { after = [], mode = \"v2\", afer = [] }", "`afer` is not a key of a cluster [unknown-key]"),
    ];
    for (clusters, message) in table {
        let mistakes =
            Mapping::parse("t", &format!("version = 1\n[clusters]\n{clusters}\n")).expect_err(clusters);
        let shown = mistakes.one_line_each();
        assert!(shown.contains(message), "{clusters}\n{shown}");
        assert_eq!(mistakes.findings().len(), 1, "{shown}");
    }
    let circle = "S1 = { mode = \"legacy\", after = [\"S2\"] }\nS2 = { mode = \"legacy\", after = [\"S3\"] }\nS3 = { mode = \"legacy\", after = [\"S1\"] }";
    let shown =
        Mapping::parse("t", &format!("version = 1\n[clusters]\n{circle}\n")).unwrap_err().one_line_each();
    assert_eq!(shown.matches("comes after itself, through others").count(), 3, "{shown}");
}

fn mode() -> impl Strategy<Value = ClusterMode> {
    prop::sample::select(vec![ClusterMode::Legacy, ClusterMode::Shadow, ClusterMode::V2])
}

proptest! {
    /// A flip passes exactly if each earlier cluster is in V2 for long enough, in the file and in fact, and the cluster has
    /// been in shadow for as long.
    #[test]
    fn a_flip_passes_exactly_in_its_order_and_after_its_soak(
        hours in 0..30_u32,
        earlier in prop::collection::vec((mode(), mode(), 0..50_i64), 0..4),
        own in (mode(), 0..50_i64),
    ) {
        let mut file = String::new();
        let mut known = Vec::new();
        let names = ["S1", "S2", "S3", "S4"];
        for ((in_file, in_fact, since), name) in earlier.iter().zip(names) {
            file.push_str(&format!("{name} = \"{}\"\n", in_file.as_str()));
            known.push((name, *in_fact, *since));
        }
        let after = names[..earlier.len()].join("\", \"");
        let after = if earlier.is_empty() { String::new() } else { format!("\"{after}\"") };
        let soaked = if hours == 0 { String::new() } else { format!(", soaked_hours = {hours}") };
        file.push_str(&format!("S9 = {{ mode = \"v2\", after = [{after}]{soaked} }}\n"));
        known.push(("S9", own.0, own.1));

        let hours = i64::from(hours);
        let is_flip = own.0 != ClusterMode::V2;
        let in_order = earlier.iter().all(|(in_file, in_fact, since)| {
            *in_file == ClusterMode::V2 && *in_fact == ClusterMode::V2 && *since >= hours
        });
        let has_soaked = hours == 0 || (own.0 == ClusterMode::Shadow && own.1 >= hours);
        prop_assert_eq!(missing(&file, &known).is_empty(), !is_flip || (in_order && has_soaked), "{}", file);
    }
}
