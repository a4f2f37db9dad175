//! The `process_*` metrics that every exporter has, from /proc. Elsewhere there are none.

use std::fs;

use super::exposition::{Exposition, Kind};

/// The unit of times in /proc: USER_HZ, which is 100 in Linux's ABI, whatever the kernel's own tick is.
const TICKS: f64 = 100.0;

/// Writes the kernel's figures of this process.
pub(super) fn write(into: &mut Exposition) {
    if let Some(Times { used, started }) = times() {
        into.family("process_cpu_seconds_total", Kind::Counter, "processor time of this process")
            .sample(&[], used);
        if let Some(boot) = boot_time() {
            into.gauge(
                "process_start_time_seconds",
                "when this process started, as a Unix time",
                boot + started,
            );
        }
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (field, name, help, unit) in [
        ("VmRSS:", "process_resident_memory_bytes", "memory of this process that is in RAM", 1024),
        ("VmSize:", "process_virtual_memory_bytes", "address space of this process", 1024),
        ("Threads:", "process_threads", "threads of this process", 1),
    ] {
        if let Some(value) = number_after(&status, field) {
            into.gauge(name, help, value.saturating_mul(unit));
        }
    }
    if let Ok(folder) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder itself.
        into.gauge("process_open_fds", "file descriptors that are open", folder.count().saturating_sub(1));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = number_after(&limits, "Max open files") {
        into.gauge("process_max_fds", "file descriptors that may be open", most);
    }
}

struct Times {
    used: f64,
    /// Since the machine's start.
    started: f64,
}

fn times() -> Option<Times> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may have spaces and parentheses in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse::<f64>().ok();
    Some(Times { used: (field(14)? + field(15)?) / TICKS, started: field(22)? / TICKS })
}

/// When the machine was started, as a Unix time.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// The number behind the name of a field, at the start of a line.
fn number_after(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_this_process() {
        let mut exposition = Exposition::default();
        write(&mut exposition);
        let text = exposition.into_text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
            line.unwrap_or_else(|| panic!("{name}\n{text}"))
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        // The kernel reports the machine's start in whole seconds.
        assert!((0.0..86_400.0).contains(&(now - value("process_start_time_seconds") + 2.0)), "{text}");
        assert!(value("process_resident_memory_bytes") > 1_000_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds_total") >= 0.0);
    }
}
