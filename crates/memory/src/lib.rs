//! Gives memory that was freed back to the system.
//!
//! glibc keeps what a thread has freed in that thread's arena, among what is still used: a gate that has read ten large
//! mappings would keep four times what one takes (docs/decisions/0089). The call is not in the gate's own crate, which
//! forbids unsafe code.

/// Returns the pages of freed memory to the system, where that is glibc's to do; elsewhere it does nothing.
///
/// It locks each arena in turn, for milliseconds: call it where it may wait, and seldom.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe function that does it")]
pub fn give_back() {
    // SAFETY: `malloc_trim` may be called at any time from any thread, and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Returns the pages of freed memory to the system, where that is glibc's to do; elsewhere it does nothing.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    /// Kibibytes.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("a process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn what_lies_free_between_used_blocks_is_given_back() {
        // Small blocks, of which each hundredth stays: no heap ends in free memory.
        let mut blocks: Vec<Vec<u8>> = (0..100_000).map(|_| vec![1; 1_000]).collect();
        let mut number = 0;
        blocks.retain(|_| {
            number += 1;
            number % 100 == 0
        });
        let before = resident();
        super::give_back();
        let after = resident();
        assert_eq!(blocks.len(), 1_000);
        assert!(after + 50_000 < before, "{before} KiB, then {after} KiB");
    }
}
