//! Figures out of samples, and how large a test is.

use std::time::Duration;

/// The size of a test: the small edition, or the one of `make faults`.
pub fn size(small: usize, full: usize) -> usize {
    if std::env::var("GATE_FAULTS").is_ok_and(|edition| edition == "full") { full } else { small }
}

/// The time that 99 of 100 do not exceed.
pub fn p99(mut times: Vec<Duration>) -> Duration {
    assert!(times.len() >= 100, "{} samples have no p99", times.len());
    times.sort();
    times[times.len() * 99 / 100]
}

/// The middle one.
pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).expect("no NaN is measured"));
    values[values.len() / 2]
}

pub fn longest(times: impl Iterator<Item = Duration>) -> Duration {
    times.max().unwrap_or_default()
}

/// What a process holds in memory, in KiB: `VmRSS` of proc(5).
pub fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    value.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}
