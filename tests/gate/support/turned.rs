//! A clock that a test turns, by libfaketime, for a gate alone. Monotonic time is left as it is: a clock that is set does
//! not change that either.

use std::path::{Path, PathBuf};

/// The clock of a gate, and of the commands beside it.
pub struct Turned {
    file: PathBuf,
}

impl Turned {
    /// A clock that shows the true time.
    pub fn new(folder: &Path) -> Turned {
        let clock = Turned { file: folder.join("clock") };
        clock.turn("+0");
        clock
    }

    /// Turns the clock to so much before or after the true time, in the words of faketime(1).
    pub fn turn(&self, by: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, by).expect("a file");
        std::fs::rename(new, &self.file).expect("a swap");
    }

    /// What a process that goes by this clock has in its environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", libfaketime().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }
}

/// Where distributions put it: `/usr/lib/ARCHITECTURE/faketime`, or without the architecture.
fn libfaketime() -> PathBuf {
    let name = "faketime/libfaketimeMT.so.1";
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let within = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let within = within.flatten().map(|entry| entry.path());
    let mut places =
        folders.iter().cloned().chain(within.collect::<Vec<_>>()).map(|folder| folder.join(name));
    places.find(|place| place.exists()).expect(
        "no libfaketime: `make test` installs it, or install the package `faketime` (`apt-get install faketime`)",
    )
}
