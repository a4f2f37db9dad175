//! A Postgres server for tests, with one database for each test.
//!
//! ```ignore
//! #[path = "../support/postgres.rs"]
//! mod postgres;
//! let url = postgres::Postgres::shared().database();
//! ```
//!
//! `make test` starts one server for the whole run and names it in `TEST_DATABASE_URL`; the databases (`gate_test_...`) are
//! created there and stay until the server goes. Without it, each test process starts its own.
//!
//! A `static` is never dropped, and a test process may be killed, so the server does not depend on this process to
//! clean up: a shell is between the two, and when its standard input closes, for whatever reason, it kills the
//! server and removes its folder.

// Each test binary includes this file and uses its own part of it.
#![allow(dead_code, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};

/// How long a server may take to answer after its start. A busy machine is slow, a broken server is slow for ever.
const START_LIMIT: Duration = Duration::from_secs(60);

/// `init`, `start`, `stop` and `crash` are answered with a line each. SIGQUIT is Postgres's immediate shutdown: a crash, as far
/// as its clients can see, and the quickest way to end a server whose data nobody will read.
///
/// A server that is killed must not start another process meanwhile: one that outlived it would keep the next from
/// starting, by the memory that they share. So it is stopped first, and each of its processes is waited for.
///
/// The trap: an answer to a test that has been killed meanwhile must not kill the shell before it has cleaned up.
const KEEPER: &str = r#"
trap '' PIPE
init() { "$BIN/initdb" $INITDB_OPTIONS -D "$FOLDER/data" </dev/null >>"$FOLDER/log" 2>&1; }
start() { "$BIN/postgres" -D "$FOLDER/data" </dev/null >>"$FOLDER/log" 2>&1 & server=$!; }
stop() { kill -QUIT "$server"; wait "$server"; server=; true; }
crash() {
    kill -STOP "$server"
    until grep -q '^State:.T' "/proc/$server/status"; do :; done
    read -r children <"/proc/$server/task/$server/children"
    kill -KILL "$server" $children
    wait "$server"
    for child in $children; do
        while read -r _ _ state _ <"/proc/$child/stat" && [ "$state" != Z ]; do :; done 2>/dev/null
    done
    server=
    true
}
while read -r order; do if "$order"; then echo "$order"; else echo "$order failed"; fi; done
[ -z "$server" ] || stop
rm -rf "$FOLDER"
"#;

/// Without a password: what is in a test's database is nobody's secret.
const INITDB_OPTIONS: &str = "--no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C";

/// Over TCP, as everybody's Postgres is: what is slow only there is not seen over a Unix socket. The rest is as Postgres ships it.
const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
max_connections = 200
";

/// Of a server that no test crashes: a commit need not outlive it.
const UNCRASHED: &str = "
fsync = off
synchronous_commit = off
full_page_writes = off
";

/// Free memory, in KiB, from which on a shared server keeps its data in `/dev/shm`. The largest test binary makes 2 GiB of
/// databases.
const ROOM_KIB: u64 = 6 * 1024 * 1024;

/// A running server.
pub(crate) struct Postgres {
    /// The database `postgres` of the server, as its superuser.
    maintenance: PgConnectOptions,
    keeper: Option<Mutex<Keeper>>,
}

/// The shell that starts, stops and finally removes the server.
struct Keeper {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Postgres {
    /// The server of this test process, started on first use; or the one that `TEST_DATABASE_URL` names.
    pub(crate) fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("TEST_DATABASE_URL") {
            Ok(url) => {
                let maintenance =
                    PgConnectOptions::from_str(&url).expect("TEST_DATABASE_URL is a postgres URL");
                Postgres { maintenance, keeper: None }
            }
            Err(_) => Postgres::start_in(roomy_folder(), UNCRASHED),
        })
    }

    /// A server of the caller's own, which may be stopped and restarted. It ends when the value is dropped.
    pub(crate) fn start() -> Postgres {
        Postgres::start_in("/tmp", "")
    }

    fn start_in(parent: &str, more: &str) -> Postgres {
        let bin = installation();
        // Not `temp_dir()`: a socket's path is limited to 107 bytes, and `nobody` has to be able to reach it.
        let folder = tempfile::Builder::new()
            .prefix("gate-pg-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .expect("a folder");
        let folder = folder.keep();
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
        }

        let mut keeper = command("/bin/sh", &folder, user);
        keeper.arg("-c").arg(KEEPER);
        keeper.env("BIN", bin).env("FOLDER", &folder).env("INITDB_OPTIONS", INITDB_OPTIONS);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own: Ctrl-C must end the tests and leave the shell alive to clean up after them.
        let mut process = keeper.process_group(0).spawn().expect("/bin/sh runs");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("standard output is piped"));
        let port = free_port();
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let configuration = folder.join("data/postgresql.auto.conf");
        let place = format!("port = {port}\nunix_socket_directories = '{}'\n", folder.display());
        let server = Postgres {
            maintenance: PgConnectOptions::from_str(&url).expect("a URL that was just written"),
            keeper: Some(Mutex::new(Keeper { process, orders, answers, folder })),
        };
        server.order("init");
        std::fs::write(configuration, format!("{CONFIGURATION}{more}{place}"))
            .expect("the new server's configuration can be written");
        server.restart();
        server
    }

    /// The URL of a new, empty database.
    pub(crate) fn database(&self) -> String {
        // template0, because nobody can be connected to it, which would make the copy fail.
        self.copy_of("template0")
    }

    /// The URL of a new copy of the database `template`, which is created and given to `make` where the server lacks it.
    pub(crate) fn copy(&self, template: &str, make: fn(&str)) -> String {
        static MADE: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
        let key = (self.maintenance.to_url_lossy().to_string(), template.to_owned());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if made.insert(key) {
            self.ensure(template, make);
        }
        drop(made);
        self.copy_of(template)
    }

    /// Makes a template, unless another process has: each makes one under a name of its own, and the first to rename it wins.
    fn ensure(&self, template: &str, make: fn(&str)) {
        let options = self.maintenance.clone();
        let query = AssertSqlSafe(format!("SELECT count(*) FROM pg_database WHERE datname = '{template}'"));
        let count: i64 = blocking(async move {
            let mut connection = PgConnection::connect_with(&options).await?;
            sqlx::query_scalar(query).fetch_one(&mut connection).await
        })
        .expect("the test server lists its databases");
        if count > 0 {
            return;
        }
        let name = new_name();
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE template0"));
        make(&self.url_of(&name));
        self.execute(&format!(
            "DO $$ BEGIN ALTER DATABASE {name} RENAME TO {template}; EXCEPTION WHEN duplicate_database THEN NULL; END $$"
        ));
    }

    fn copy_of(&self, template: &str) -> String {
        let name = new_name();
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"));
        self.url_of(&name)
    }

    fn url_of(&self, name: &str) -> String {
        self.maintenance.clone().database(name).to_url_lossy().to_string()
    }

    /// Runs statements on the database `postgres`: roles, for example, belong to the server and not to a database.
    pub(crate) fn execute(&self, statements: &str) {
        let statements = sqlx::AssertSqlSafe(statements.to_owned());
        let options = self.maintenance.clone();
        blocking(async move {
            let mut connection = PgConnection::connect_with(&options).await?;
            connection.execute(sqlx::raw_sql(statements)).await?;
            connection.close().await
        })
        .expect("the test server takes the statements");
    }

    /// Kills the server as a crash would; the data stay.
    pub(crate) fn stop(&self) {
        self.order("stop");
    }

    /// Kills the server and each of its processes with SIGKILL; the data stay.
    pub(crate) fn crash(&self) {
        self.order("crash");
    }

    /// Starts the server again and waits until it takes connections.
    pub(crate) fn restart(&self) {
        self.order("start");
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let options = self.maintenance.clone();
            let attempt = blocking(async move { PgConnection::connect_with(&options).await?.close().await });
            match attempt {
                Ok(()) => return,
                Err(error) if Instant::now() > deadline => {
                    panic!("no Postgres: {error}\n{}", self.keeper().log())
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn order(&self, order: &str) {
        let mut keeper = self.keeper();
        let orders = keeper.orders.as_mut().expect("the orders are open until the drop");
        writeln!(orders, "{order}").expect("the keeper reads its orders");
        let mut answer = String::new();
        keeper.answers.read_line(&mut answer).expect("the keeper answers");
        assert!(answer.trim_end() == order, "`{order}` was not done: {answer}\n{}", keeper.log());
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        let keeper = self.keeper.as_ref().expect("a server of TEST_DATABASE_URL is not ours to stop");
        keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// What `initdb` and the server have said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// A port for a server that stops and comes back: below those that connections are given, or one of them could have it then.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let seed = uuid::Uuid::new_v4().as_u128();
    let ports = (0..1_000).map(|step| 10_240 + ((seed + step * 7_919) % 20_000) as u16);
    ports.into_iter().find(free).expect("a free port")
}

fn new_name() -> String {
    format!("gate_test_{}", uuid::Uuid::now_v7().simple())
}

/// A file system in memory where it has room.
fn roomy_folder() -> &'static str {
    let asked = Command::new("df").args(["--output=avail", "/dev/shm"]).output();
    let printed =
        asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let free_kib = printed.lines().nth(1).and_then(|line| line.trim().parse::<u64>().ok());
    if free_kib.is_some_and(|free_kib| free_kib >= ROOM_KIB) { "/dev/shm" } else { "/tmp" }
}

/// The folder that holds `initdb` and `postgres`.
fn installation() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian and Ubuntu keep the server's programs out of PATH. The newest version first.
    let mut packaged: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    packaged.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    folders.extend(packaged.into_iter().map(|(_, folder)| folder));
    let is_complete = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    folders.into_iter().find(is_complete).expect(
        "no Postgres server: neither PATH nor /usr/lib/postgresql/*/bin has `initdb` and `postgres`; \
         install one (`apt-get install postgresql`) or name a running one in TEST_DATABASE_URL",
    )
}

/// The user and group id of `nobody`, where this is root: Postgres refuses to run as root, and no file permission binds
/// root. `None` for everybody else.
pub(crate) fn unprivileged_user() -> Option<(u32, u32)> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
    let nobody = users.lines().find(|line| line.starts_with("nobody:")).expect("there is a user `nobody`");
    let mut ids = nobody.split(':').skip(2).map(|id| id.parse().expect("a number in /etc/passwd"));
    Some((ids.next().expect("a user id"), ids.next().expect("a group id")))
}

/// A command in `folder` as `user`, free of what the environment says about some other Postgres.
fn command(program: impl AsRef<Path>, folder: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Runs a future to its end on a thread of its own, so that a test which is itself a future may call it.
pub(crate) fn blocking<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime for one connection").block_on(future)
    });
    thread.join().expect("the thread of one connection does not panic")
}
