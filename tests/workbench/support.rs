//! A folder with a migrated database, and the real binary in it.

#[path = "../gate/support/seed.rs"]
#[allow(unreachable_pub, dead_code, reason = "it is the gate's tests' own, who use all of it")]
pub(crate) mod seed;
#[path = "../support/template.rs"]
mod template;

use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::Connection as _;
use template::AUDIT_KEYS;

const BINARY: &str = env!("CARGO_BIN_EXE_console-gate");

/// What a command did.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CommandOutput {
    /// As the golden files have it: the exit code, then everything that was printed.
    pub(crate) fn text(&self) -> String {
        format!("exit {}\n\n{}{}", self.code, self.stdout, self.stderr)
    }
}

/// A folder of its own; it goes with this value.
pub(crate) struct Workbench {
    folder: tempfile::TempDir,
    /// What golden files are wrapped at; empty says nothing to the binary.
    columns: &'static str,
}

impl Workbench {
    /// With SQLite and the documents' roles.
    pub(crate) fn new() -> Workbench {
        let bench = Workbench { folder: tempfile::tempdir().expect("a folder"), columns: "80" };
        template::seeded().sqlite(&bench.path("gate.sqlite"));
        bench
    }

    /// The same, where nothing says how wide the output is.
    pub(crate) fn of_unknown_width(mut self) -> Workbench {
        self.columns = "";
        self
    }

    /// Runs the binary in the folder with further variables.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> CommandOutput {
        self.finish(Command::new(BINARY).args(arguments).envs(variables.iter().copied()))
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    /// Changes the database.
    pub(crate) fn sql(&self, statements: &str) {
        self.sql_of("gate.sqlite", statements);
    }

    /// Changes a database in the folder.
    pub(crate) fn sql_of(&self, name: &str, statements: &str) {
        let file = self.folder.path().join(name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let url = format!("sqlite:{}", file.display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("the database");
            sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
                .execute(&mut connection)
                .await
                .expect("the statements");
        });
    }

    /// Runs the binary in the folder, without what the tests' own environment may say to it.
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.finish(Command::new(BINARY).args(arguments))
    }

    /// The same with no more address space than that.
    pub(crate) fn run_within_kibibytes(&self, limit: u64, arguments: &[&str]) -> CommandOutput {
        let script = format!("ulimit -v {limit}; exec \"$0\" \"$@\"");
        self.finish(Command::new("sh").args(["-c", &script, BINARY]).args(arguments))
    }

    /// Runs a script of a shell in the folder, which stops at the first command that fails; `console-gate` is the binary.
    pub(crate) fn run_script(&self, script: &str) -> CommandOutput {
        let folder = Path::new(BINARY).parent().expect("the folder of the binary");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        self.finish(Command::new("sh").env("PATH", path).args(["-euc", script]))
    }

    /// The binary in the folder, as [`run`](Self::run) runs it, to be started by the caller.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut program = Command::new(BINARY);
        self.prepare(program.args(arguments));
        program
    }

    fn finish(&self, program: &mut Command) -> CommandOutput {
        self.prepare(program);
        let output = program.output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("the binary writes UTF-8");
        CommandOutput {
            code: output.status.code().expect("it ended by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The environment, without what the tests' own may say to the binary.
    fn prepare(&self, program: &mut Command) {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONSOLE_GATE_")) {
            let is_given = program.get_envs().any(|(given, value)| *given == *name && value.is_some());
            if !is_given {
                program.env_remove(name);
            }
        }
        program
            .env("CONSOLE_GATE_DATABASE_URL", "sqlite:gate.sqlite")
            .env("CONSOLE_GATE_AUDIT_KEYS", AUDIT_KEYS)
            .env("COLUMNS", self.columns)
            .current_dir(self.folder.path());
    }
}

/// A file of the project.
pub(crate) fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the project.
pub(crate) fn project_text(path: &str) -> String {
    std::fs::read_to_string(project_file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares `text` with a file of `tests/workbench/golden`; with UPDATE_GOLDEN set, writes it there.
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = format!("tests/workbench/golden/{name}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let file = project_file(&path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("the golden file can be written");
    }
    let golden = project_text(&path);
    assert!(text == golden, "{path} is not what was printed:\n{text}\n--- golden ---\n{golden}");
}
