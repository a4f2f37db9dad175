//! The process settings: `gate.toml`, the environment, flags.
//!
//! Flags override the environment, which overrides the file, which overrides the defaults. The values are types
//! that exist only when they are sound ([`values`]); every mistake in the file is reported at once ([`load`]). No
//! secret is in here: settings name the variable or file that holds one ([`secrets`]).

pub mod alerts;
mod console;
mod freescout;
pub mod identity;
pub mod load;
mod log;
pub mod otlp;
mod pages;
mod reviews;
mod schema;
pub mod secrets;
pub mod session;
pub mod shown;
mod times;
pub mod values;
mod wording;

use std::collections::{BTreeMap, BTreeSet};

use grants::passkeys::Passkeys;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use policy::mapping::Freshness;
use policy::rbac::break_glass::BreakGlassRules;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::console::mirror::{ColumnSource, MirrorOptions, denials};
use store::control::PRODUCTION;

pub use alerts::Alerts;
pub use console::Console;
pub use freescout::FreeScout;
pub use identity::Identity;
pub use log::Log;
pub use otlp::Otlp;
pub use pages::Pages;
pub use reviews::Reviews;
pub use session::{Session, SessionKind};
pub use values::{
    Address, AddressDetail, DatabaseSetting, Environment, Millis, NewerSchema, PositiveCount, RequestEcho,
    SchemaSetting, SocketMode, TlsVersion,
};

/// Everything in `gate.toml`.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Settings {
    pub environment: Environment,
    pub environments: Environments,
    pub listen: Listen,
    pub tls: Tls,
    pub upstream: Upstream,
    /// Servers beside Console, by the names that rows of the mapping use.
    pub upstreams: BTreeMap<String, Upstream>,
    pub buffers: Buffers,
    pub database: Database,
    pub console: Console,
    pub mapping: MappingFile,
    pub session: Session,
    /// `None` where the gate logs no one in.
    pub identity: Option<Identity>,
    pub access: Access,
    pub firewall: Firewall,
    pub audit: Audit,
    pub assertion: Assertion,
    pub forwarded: Forwarded,
    pub ingest: Ingest,
    pub api: Api,
    pub rbac_api: RbacApi,
    pub admin: Admin,
    pub log: Log,
    pub otlp: Otlp,
    pub retention: Retention,
    pub decisions: Decisions,
    pub probe: Probe,
    pub break_glass: BreakGlass,
    pub freescout: FreeScout,
    pub alerts: Alerts,
    pub reviews: Reviews,
    pub pages: Pages,
}

/// A hundred years: a longer retention is for ever.
pub const MAX_DAYS: u32 = 36_500;

/// Why a gate in production without `allowed_hosts` is refused.
pub const HOSTS_ARE_NEEDED: &str =
    "production requires `allowed_hosts`: the caller must not choose Console's host name";

impl Settings {
    /// Where a caller without a session is sent.
    pub fn login_path(&self) -> String {
        match &self.identity {
            Some(identity) => format!("{}/login", identity.path),
            None => self.session.login_path.clone(),
        }
    }

    /// The names of the servers beside Console.
    pub fn upstream_names(&self) -> BTreeSet<String> {
        self.upstreams.keys().cloned().collect()
    }

    /// The files that the settings name and a gate reads at its start, by their keys.
    pub fn files(&self) -> Vec<(String, &std::path::Path)> {
        let named = [
            ("tls.certificate_file", &self.tls.certificate_file),
            ("tls.key_file", &self.tls.key_file),
            ("session.secret_key_file", &self.session.secret_key_file),
            ("assertion.keys_file", &self.assertion.keys_file),
            ("audit.keys_file", &self.audit.keys_file),
            ("probe.keys_file", &self.probe.keys_file),
            ("freescout.key_file", &self.freescout.key_file),
            ("freescout.webhook_secret_file", &self.freescout.webhook_secret_file),
            ("otlp.headers_file", &self.otlp.headers_file),
        ];
        let alerts = &self.alerts;
        let of_channels = [
            ("alerts.slack.webhook_file", alerts.slack.as_ref().map(|one| &one.webhook_file)),
            ("alerts.smtp.password_file", alerts.smtp.as_ref().map(|one| &one.password_file)),
            ("alerts.postmark.token_file", alerts.postmark.as_ref().map(|one| &one.token_file)),
        ];
        let of_channels = of_channels.into_iter().filter_map(|(key, file)| Some((key, file?)));
        let named = named.into_iter().chain(of_channels);
        let named = named.filter_map(|(key, file)| Some((key.to_owned(), file.as_deref()?)));
        let of_upstreams = self.upstreams.iter().filter_map(|(name, upstream)| {
            let file = upstream.assertion.as_ref()?.keys_file.as_deref()?;
            Some((format!("upstreams.{name}.assertion.keys_file"), file))
        });
        named.chain(of_upstreams).collect()
    }

    /// Whether this is production and any Host would do.
    pub fn lacks_hosts(&self) -> bool {
        self.environment == Environment::Production && self.firewall.allowed_hosts.is_empty()
    }
}

/// What Console calls its environments.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Environments {
    /// The words of `console_flag_promotions.current_env` that mean production.
    pub production: Vec<String>,
}

impl Default for Environments {
    fn default() -> Self {
        Environments { production: PRODUCTION.map(ToOwned::to_owned).to_vec() }
    }
}

/// Who may have a break-glass session, for the emergency that the roles did not foresee.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakGlass {
    /// The groups whose members may have one.
    pub eligible: Vec<String>,
    /// The origin of Console's pages, `https://console.example.org`, for passkeys. Without it no session can be started.
    pub origin: Option<String>,
    /// The relying party of the passkeys: the host of `origin`, or a domain above it.
    pub rp_id: Option<String>,
    /// The permission to close reviews of others' sessions, and to read their requests, besides those who may have one.
    pub review: Option<String>,
}

impl Default for BreakGlass {
    fn default() -> Self {
        let BreakGlassRules { eligible } = BreakGlassRules::default();
        BreakGlass {
            eligible: eligible.iter().map(ToString::to_string).collect(),
            origin: None,
            rp_id: None,
            review: None,
        }
    }
}

impl BreakGlass {
    /// The rules for the resolver.
    pub fn rules(&self) -> BreakGlassRules {
        BreakGlassRules { eligible: self.eligible.iter().map(|group| group.as_str().into()).collect() }
    }

    /// The passkeys that start sessions; `None` where there is no `origin`.
    ///
    /// # Errors
    ///
    /// The settings are invalid: the message states why.
    pub fn passkeys(&self) -> Result<Option<Passkeys>, String> {
        match (&self.origin, &self.rp_id) {
            (Some(origin), rp_id) => Passkeys::new(origin, rp_id.as_deref()).map(Some),
            (None, Some(_)) => Err("`rp_id` needs `origin`".to_owned()),
            (None, None) => Ok(None),
        }
    }
}

/// Where callers and operators connect.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// The gate itself.
    pub proxy: Address,
    /// Health, metrics, services' events and questions. Never to be reached from outside.
    pub admin: Address,
    /// Who may connect to `proxy` where it is a Unix socket.
    pub proxy_mode: SocketMode,
    /// The same for `admin`.
    pub admin_mode: SocketMode,
    /// Cleartext HTTP/2 with prior knowledge (RFC 9113 3.3), for a load balancer that speaks it.
    pub h2c: bool,
    /// How long requests may go on after SIGTERM or SIGQUIT.
    pub drain_ms: Millis,
    /// The socket over which SIGQUIT hands the listening sockets to the next process. Without it, `upgrade.sock` in a folder
    /// of this user's alone: that of the service, or of the session; else in the folder that the gate was started in.
    pub upgrade_socket: Option<std::path::PathBuf>,
    /// Worker threads of the proxy.
    pub threads: PositiveCount,
}

impl Default for Listen {
    fn default() -> Self {
        Listen {
            proxy: Address::tcp("127.0.0.1:8080"),
            admin: Address::tcp("127.0.0.1:9901"),
            proxy_mode: SocketMode(0o660),
            admin_mode: SocketMode(0o600),
            h2c: false,
            drain_ms: Millis(30_000),
            upgrade_socket: None,
            threads: PositiveCount(std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }
}

impl Listen {
    /// Where sockets are handed over.
    pub fn upgrade_socket(&self) -> std::path::PathBuf {
        let folder = |name| std::env::var_os(name).filter(|folder| !folder.is_empty());
        // systemd.exec(5), and the XDG base directories.
        let of_service =
            || folder("RUNTIME_DIRECTORY").map(|folder| std::path::Path::new(&folder).join("upgrade.sock"));
        let of_session = || {
            folder("XDG_RUNTIME_DIR")
                .map(|folder| std::path::Path::new(&folder).join("console-gate-upgrade.sock"))
        };
        let given = self.upgrade_socket.clone().or_else(of_service).or_else(of_session);
        given.unwrap_or_else(|| "console-gate-upgrade.sock".into())
    }
}

/// TLS at the gate's own address, for where nothing in front ends it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM: the gate's own certificate first, then what leads to its authority. TLS is on where this is set.
    pub certificate_file: Option<std::path::PathBuf>,
    /// PEM: the certificate's private key, without a passphrase.
    pub key_file: Option<std::path::PathBuf>,
    pub min_version: TlsVersion,
    /// Offer HTTP/2 too.
    pub http2: bool,
    /// How long a browser shall not come back over plain HTTP; 0 sends no such header (RFC 6797).
    #[serde(deserialize_with = "times::seconds")]
    #[schemars(with = "times::Time")]
    pub hsts_seconds: u64,
    /// For the whole handshake, not for each read.
    pub handshake_timeout_ms: Millis,
}

impl Tls {
    /// Strict-Transport-Security for answers over TLS. Without `includeSubDomains`: the gate does not know them.
    pub fn hsts(&self) -> Option<String> {
        (self.hsts_seconds > 0).then(|| format!("max-age={}", self.hsts_seconds))
    }
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            certificate_file: None,
            key_file: None,
            min_version: TlsVersion::V1_2,
            http2: false,
            hsts_seconds: 365 * 24 * 60 * 60,
            handshake_timeout_ms: Millis(10_000),
        }
    }
}

/// Console, or another server beside it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    pub servers: Vec<Address>,
    /// The Host that Console sees; without it, the client's.
    pub host: Option<String>,
    pub connect_timeout_ms: Millis,
    /// Per read and per write.
    pub read_timeout_ms: Millis,
    pub write_timeout_ms: Millis,
    /// How long an unused connection is kept.
    pub idle_timeout_ms: Millis,
    /// For the whole exchange; 0 sets no bound, which event streams and WebSockets need.
    pub total_timeout_ms: Millis,
    pub pool_size: PositiveCount,
    pub health_path: String,
    pub health_interval_ms: Millis,
    /// How often a server's name is resolved again.
    pub resolve_interval_ms: Millis,
    /// Whether responses name their requests in `X-Console-Gate-Request`.
    pub echo: RequestEcho,
    /// Routes, as the mapping writes them, whose views refuse by themselves callers who have the role: by 401 or 403,
    /// or by sending them to the login page.
    pub own_refusals: Vec<String>,
    /// What another server than Console learns of callers; Console's is [`Assertion`].
    pub assertion: Option<UpstreamAssertion>,
}

/// What a server beside Console learns of callers. It takes no assertion of Console's, and can make none for Console.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamAssertion {
    /// The `aud` of its assertions; without it, the upstream's name.
    pub audience: Option<String>,
    /// The variable that holds its keys where they are shared (HS256), `id:base64`.
    pub keys_env: Option<String>,
    /// The file that holds them instead.
    pub keys_file: Option<std::path::PathBuf>,
}

impl Upstream {
    /// The variable with the keys of this server beside Console, whose name is `name`.
    pub fn keys_env(&self, name: &str) -> String {
        let usual = || format!("CONSOLE_GATE_{}_KEYS", name.to_uppercase().replace('-', "_"));
        self.assertion.as_ref().and_then(|of| of.keys_env.clone()).unwrap_or_else(usual)
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Upstream {
            servers: vec![Address::tcp("127.0.0.1:8000")],
            host: None,
            connect_timeout_ms: Millis(1_000),
            read_timeout_ms: Millis(60_000),
            write_timeout_ms: Millis(60_000),
            idle_timeout_ms: Millis(60_000),
            total_timeout_ms: Millis(0),
            pool_size: PositiveCount(256),
            health_path: "/healthz".into(),
            health_interval_ms: Millis(2_000),
            resolve_interval_ms: Millis(30_000),
            echo: RequestEcho::Compared,
            own_refusals: Vec::new(),
            assertion: None,
        }
    }
}

/// The buffers between a client's pace and Console's: bodies in memory, then in temporary files.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Buffers {
    /// Where the files are. They have no names, and are gone with the process.
    pub folder: std::path::PathBuf,
    /// All that is in memory, and all that is in files.
    pub memory_bytes: u64,
    pub files_bytes: u64,
    /// Of one body; the rest of a longer one goes into a file.
    pub request_memory_bytes: PositiveCount,
    pub response_memory_bytes: PositiveCount,
    /// Of one response; the rest of a longer one comes at the client's pace. 0 keeps no response in a file.
    pub response_file_bytes: u64,
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers {
            folder: std::env::temp_dir(),
            memory_bytes: 256 * 1024 * 1024,
            files_bytes: 4 * 1024 * 1024 * 1024,
            request_memory_bytes: PositiveCount(64 * 1024),
            response_memory_bytes: PositiveCount(64 * 1024),
            response_file_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The database.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    pub url: DatabaseSetting,
    pub max_connections: PositiveCount,
    /// For one operation of a gate that serves.
    pub timeout_ms: Millis,
    /// For one operation of a gate that starts.
    pub start_timeout_ms: Millis,
    /// For one operation of a command.
    pub command_timeout_ms: Millis,
    /// How long a gate that starts waits for it; 0 does not wait.
    pub wait_ms: Millis,
    /// What to do when a newer release has migrated it.
    pub newer_schema: NewerSchema,
    /// Of the gate's own tables, on Postgres.
    pub schema: SchemaSetting,
    /// Where Console's tables are looked for, on Postgres; without it, in every schema.
    pub console_schema: Option<String>,
}

impl Default for Database {
    fn default() -> Self {
        Database {
            url: DatabaseSetting::default(),
            max_connections: PositiveCount(8),
            timeout_ms: Millis(2_000),
            start_timeout_ms: Millis(60_000),
            command_timeout_ms: Millis(60_000),
            wait_ms: Millis(300_000),
            newer_schema: NewerSchema::Compatible,
            schema: SchemaSetting::default(),
            console_schema: None,
        }
    }
}

impl Database {
    /// The bound on an operation of a gate that starts: no shorter than of one that serves.
    pub fn start_timeout(&self) -> std::time::Duration {
        self.timeout_ms.duration().max(self.start_timeout_ms.duration())
    }

    /// The same of a command.
    pub fn command_timeout(&self) -> std::time::Duration {
        self.timeout_ms.duration().max(self.command_timeout_ms.duration())
    }
}

/// Where `routes.toml` is.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MappingFile {
    /// Relative to the settings file.
    pub file: std::path::PathBuf,
    /// Reload when the file changes.
    pub watch: bool,
    /// For how long the file must be the same before it is taken up: a copy that is under way changes it.
    pub settle_ms: Millis,
    /// What a start does whose file cannot be used.
    pub on_broken: OnBroken,
}

/// What a start does whose mapping file cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnBroken {
    /// The gate serves with the mapping that was activated last; the first start of all is refused.
    #[default]
    ServeLast,
    /// The gate does not start.
    Refuse,
}

impl Default for MappingFile {
    fn default() -> Self {
        MappingFile {
            file: "routes.toml".into(),
            watch: true,
            settle_ms: Millis(500),
            on_broken: OnBroken::default(),
        }
    }
}

/// The access cache.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Principals whose resolved roles are kept.
    pub cache_capacity: PositiveCount,
    /// For rows of the mapping that say nothing.
    #[schemars(with = "String", extend("enum" = ["push", "strict"]))]
    pub freshness: Freshness,
    /// How old pushed knowledge may become, and how long a command that takes something away may have to wait.
    pub max_staleness_ms: Millis,
    /// How long the machine's clock must stay back before expiries follow it.
    pub clock_settle_ms: Millis,
}

impl Default for Access {
    fn default() -> Self {
        Access {
            cache_capacity: PositiveCount(10_000),
            freshness: Freshness::Strict,
            max_staleness_ms: Millis(2_000),
            clock_settle_ms: Millis(60_000),
        }
    }
}

/// Sizes and times of requests.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Firewall {
    pub allowed_hosts: Vec<String>,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub allow_semicolon: values::SemicolonsPass,
    /// Further header names that never reach Console.
    pub strip_headers: Vec<String>,
    pub target_bytes: PositiveCount,
    pub head_bytes: PositiveCount,
    pub header_count: PositiveCount,
    pub header_bytes: PositiveCount,
    pub body_bytes: u64,
    /// For the whole head, not for each read.
    pub head_timeout_ms: Millis,
    /// For one read of a body, for the whole of one that is read to decide, and for any other that comes more slowly
    /// than 1 KiB a second.
    pub body_timeout_ms: Millis,
    /// Between two requests on one connection.
    pub idle_timeout_ms: Millis,
    /// How much of a body is read to decide a row with `when`: 64 KiB at most.
    pub body_rule_bytes: PositiveCount,
    /// Connections that may be open at once; more are closed at once.
    pub max_connections: PositiveCount,
    /// Of those, the connections of one client; behind the operator's own proxies, its requests.
    pub connections_per_client: PositiveCount,
    /// Bodies that one client may send at once to rows with `stream = true`, and all clients without identity together.
    pub streams_per_client: PositiveCount,
    pub anonymous_streams: PositiveCount,
    /// Requests without identity that pass, for each client; 0 sets no bound.
    pub anonymous_per_second: u32,
    /// Streams that one HTTP/2 connection may have open at once.
    pub http2_streams: PositiveCount,
}

impl Default for Firewall {
    fn default() -> Self {
        let limits = policy::firewall::Limits::default();
        Firewall {
            allowed_hosts: Vec::new(),
            allow_semicolon: values::SemicolonsPass,
            strip_headers: Vec::new(),
            target_bytes: PositiveCount(limits.target_bytes),
            head_bytes: PositiveCount(limits.head_bytes),
            header_count: PositiveCount(limits.header_count),
            header_bytes: PositiveCount(limits.header_bytes),
            body_bytes: limits.body_bytes,
            head_timeout_ms: Millis(10_000),
            body_timeout_ms: Millis(60_000),
            idle_timeout_ms: Millis(60_000),
            body_rule_bytes: PositiveCount(MAX_BODY_RULE_BYTES),
            max_connections: PositiveCount(20_000),
            connections_per_client: PositiveCount(2_000),
            streams_per_client: PositiveCount(8),
            anonymous_streams: PositiveCount(16),
            anonymous_per_second: 0,
            http2_streams: PositiveCount(64),
        }
    }
}

/// The most of a body that a rule may read.
pub const MAX_BODY_RULE_BYTES: usize = 64 * 1024;

/// A client that repeats a request does so within days.
pub const MOST_IDEMPOTENCY_HOURS: usize = 7 * 24;

/// Less is no more than one look; more is a long time to wait for a change.
pub const SETTLE_MS: std::ops::RangeInclusive<u64> = 50..=60_000;

/// Less leaves a heartbeat no time for its answer; more is a long time to wait for a revocation.
pub const MAX_STALENESS_MS: std::ops::RangeInclusive<u64> = 200..=10_000;

/// The longest that a change waits until every gate acts on it: no gate may have a longer lease, and the rest is for the
/// database.
pub const LONGEST_BARRIER: std::time::Duration =
    std::time::Duration::from_millis(*MAX_STALENESS_MS.end() + 5_000);

/// Less would follow a clock that is turned back for a moment.
pub const LEAST_CLOCK_SETTLE_MS: u64 = 1_000;

/// The audit rows.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    pub client_address: AddressDetail,
    /// Rows in one transaction, at most.
    pub batch: PositiveCount,
    /// A denial that is not durable by then is answered 503. The database has half of it, the spool the rest.
    pub timeout_ms: Millis,
    /// The variable that holds the keys of the chain, `kid:base64,...`, the first of which seals.
    pub keys_env: String,
    /// The file that holds them instead.
    pub keys_file: Option<std::path::PathBuf>,
    /// The service that unwraps them; then the variable or the file holds wrapped ones.
    pub kms: Option<Kms>,
    /// Where rows wait while the database does not take them.
    pub spool_folder: std::path::PathBuf,
    /// How many bytes may wait there; 0 is no spool, and then a denial without its database row is a 503.
    pub spool_bytes: u64,
    /// Where checkpoints go, a line each. Best on another machine's disk.
    pub checkpoint_file: Option<std::path::PathBuf>,
    /// Where checkpoints go by HTTP POST.
    pub checkpoint_url: Option<String>,
    /// The variable that holds the bearer token for it.
    pub checkpoint_token_env: Option<String>,
    /// Console's own audit table, which sees denials too.
    pub mirror: Option<Mirror>,
}

/// Console's own audit table.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// With its schema: `public.audit_log`.
    pub table: String,
    /// What each column gets.
    pub columns: BTreeMap<String, ColumnSource>,
    /// The types of events that are mirrored.
    #[serde(default = "denials")]
    pub events: Vec<String>,
    /// Where it is in another database than the gate's.
    pub url: Option<DatabaseSetting>,
}

impl Mirror {
    /// What the store is to know of it.
    pub fn options(&self) -> MirrorOptions {
        let Mirror { table, columns, events, .. } = self.clone();
        MirrorOptions { table, columns, events }
    }
}

/// Keys that are wrapped by the transit engine of HashiCorp Vault or OpenBao.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kms {
    /// `https://vault.internal:8200`
    pub url: String,
    /// The name of the transit key.
    pub key: String,
    /// The variable that holds the token.
    pub token_env: String,
}

impl Default for Audit {
    fn default() -> Self {
        Audit {
            client_address: AddressDetail::Truncated,
            batch: PositiveCount(256),
            timeout_ms: Millis(2_000),
            keys_env: "CONSOLE_GATE_AUDIT_KEYS".into(),
            keys_file: None,
            kms: None,
            spool_folder: "spool".into(),
            spool_bytes: 64 * 1024 * 1024,
            checkpoint_file: None,
            checkpoint_url: None,
            checkpoint_token_env: None,
            mirror: None,
        }
    }
}

/// The signed statement to Console.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Assertion {
    pub algorithm: values::AssertionAlgorithm,
    /// The variable that holds the keys, `kid:base64,...`, the first of which signs.
    pub keys_env: String,
    /// The file that holds them instead.
    pub keys_file: Option<std::path::PathBuf>,
    pub audience: String,
    /// At most 60.
    #[serde(deserialize_with = "times::seconds")]
    #[schemars(with = "times::Time")]
    pub lifetime_seconds: u64,
}

impl Default for Assertion {
    fn default() -> Self {
        Assertion {
            algorithm: values::AssertionAlgorithm::Hs256,
            keys_env: "CONSOLE_GATE_KEYS".into(),
            keys_file: None,
            audience: "console".into(),
            lifetime_seconds: 30,
        }
    }
}

/// What services report through `POST /api/v1/audit/events` on the admin address.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// The names of the machine tokens that may report.
    pub sources: Vec<String>,
    /// How many events each of them may report in a minute.
    pub per_minute: PositiveCount,
}

impl Default for Ingest {
    fn default() -> Self {
        Ingest { sources: Vec::new(), per_minute: PositiveCount(6_000) }
    }
}

/// What programs may ask of the gate on the admin address.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// The names of the machine tokens that may ask, under `/api/gate` and `/access/v1`. Where there is none, neither is
    /// there.
    pub callers: Vec<String>,
    /// The names of the machine tokens by which Console's side reports where its own checks disagree
    /// (`POST /api/gate/drift`). Where there is none, that is not there.
    pub drift_reporters: Vec<String>,
    /// How many questions each caller may ask in a minute, and how many disagreements each reporter may report.
    pub per_minute: PositiveCount,
    /// Where they reach the admin address; without it, the AuthZEN metadata name the Host that was asked.
    pub public_url: Option<String>,
    /// Whether denials of AuthZEN's evaluations say that access can be asked for, and callers may ask (a draft).
    pub access_requests: bool,
    /// Types of AuthZEN's subjects by the names that callers have for them: `user = "admin"`.
    pub subjects: BTreeMap<String, String>,
    /// Types of AuthZEN's resources that are routes by other names.
    pub resources: BTreeMap<String, NamedResource>,
    /// Whether `/forward-auth` answers. Anyone who reaches it can ask with any header.
    pub forward_auth: bool,
}

impl Default for Api {
    fn default() -> Self {
        Api {
            callers: Vec::new(),
            drift_reporters: Vec::new(),
            per_minute: PositiveCount(6_000),
            public_url: None,
            access_requests: false,
            subjects: BTreeMap::new(),
            resources: BTreeMap::new(),
            forward_auth: false,
        }
    }
}

/// A type of AuthZEN's resources that is a route by another name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedResource {
    /// With `{id}` where the resource's id is: `/records/{id}`.
    pub path: String,
    /// Methods by the names of actions: `read = "GET"`.
    pub actions: BTreeMap<String, String>,
}

impl NamedResource {
    /// The path of the resource with this id.
    pub fn path_of(&self, id: &str) -> String {
        const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        self.path.replacen("{id}", &utf8_percent_encode(id, SEGMENT).to_string(), 1)
    }

    /// The id of the resource with this path, where it is one.
    pub fn id_of(&self, path: &str) -> Option<String> {
        let (before, after) = self.path.split_once("{id}")?;
        let id = path.strip_prefix(before)?.strip_suffix(after)?;
        (!id.is_empty() && !id.contains('/')).then(|| id.to_owned())
    }
}

/// What the gate serves itself under `/api/rbac` on the proxy's address: rows with `gate = true` turn it on.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RbacApi {
    /// The permission whose holders may ask what another admin holds (`/api/rbac/permissions/check?user=`). Without it
    /// no caller may.
    pub check_others: Option<String>,
    /// The permission whose holders may grant to others what they do not hold themselves. Without it no caller may.
    pub grant_any: Option<String>,
    /// The permission whose holders may turn a cluster (`POST /api/rbac/clusters/{name}/mode`) and compare a candidate with
    /// the running mapping, besides what the row asks for: whoever grants access does not thereby operate the gate. Without
    /// it no caller may.
    pub operate: Option<String>,
    /// Whether the gate may write the mapping file when an operator turns a cluster. Without it the answer is the patch. A
    /// gate that cannot write the file cannot be made to change its own rules by whoever takes it over, and a file from a
    /// repository or a ConfigMap would be overwritten by the next deployment: allow it only where the file on this disk is
    /// the one that people edit.
    pub write_mapping: bool,
    /// How long the answer to an `Idempotency-Key` is kept, at most 168.
    #[serde(deserialize_with = "values::positive_hours")]
    #[schemars(with = "times::Time")]
    pub idempotency_hours: PositiveCount,
    /// How long before its end a grant is marked as near it.
    #[serde(deserialize_with = "values::positive_minutes")]
    #[schemars(with = "times::Time")]
    pub ends_soon_minutes: PositiveCount,
}

impl RbacApi {
    /// The keys that name a permission.
    pub fn permissions(&self) -> [(&'static str, &Option<String>); 3] {
        [("check_others", &self.check_others), ("grant_any", &self.grant_any), ("operate", &self.operate)]
    }
}

impl Default for RbacApi {
    fn default() -> Self {
        RbacApi {
            check_others: None,
            grant_any: None,
            operate: None,
            write_mapping: false,
            idempotency_hours: PositiveCount(24),
            ends_soon_minutes: PositiveCount(30),
        }
    }
}

/// What connections to the admin address may take.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// At a time. Where there are more, the one goes that has waited longest without a request.
    pub max_connections: PositiveCount,
    /// For a whole head.
    pub head_timeout_ms: Millis,
    /// For a whole body, and for a whole answer from its head on.
    pub transfer_timeout_ms: Millis,
    /// Between two requests.
    pub idle_timeout_ms: Millis,
}

impl Default for Admin {
    fn default() -> Self {
        Admin {
            max_connections: PositiveCount(128),
            head_timeout_ms: Millis(5_000),
            transfer_timeout_ms: Millis(30_000),
            idle_timeout_ms: Millis(60_000),
        }
    }
}

/// What `console-gate retention` removes besides what the RBAC V2 design fixes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days after which a disagreement that was not seen again is forgotten.
    #[serde(deserialize_with = "times::days")]
    #[schemars(with = "times::Time")]
    pub drift_days: u32,
    /// Rows of drift; beyond them a new disagreement is only counted, by cluster and direction.
    pub drift_rows: u32,
    /// Whether one of the gates applies the periods every day; its role has to own the tables.
    pub daily: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { drift_days: 90, drift_rows: 100_000, daily: true }
    }
}

/// The probes of `console-gate verify`. Off where no key is there.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// The variable with `id:base64` pairs; not set means that probes are refused.
    pub keys_env: String,
    /// A file instead of it.
    pub keys_file: Option<std::path::PathBuf>,
}

impl Default for Probe {
    fn default() -> Self {
        Probe { keys_env: "CONSOLE_GATE_PROBE_KEYS".into(), keys_file: None }
    }
}

/// The decision log: which requests were made and how they ended, by the hour.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    /// Whether decisions are logged: `soak`, `replay` and the unmapped paths of `coverage` need it.
    pub log: bool,
    /// Days after which an hour is forgotten.
    #[serde(deserialize_with = "times::days")]
    #[schemars(with = "times::Time")]
    pub days: u32,
    /// Different paths an hour that people ask for; beyond them a request counts without its path.
    pub paths_an_hour: PositiveCount,
    /// The same for paths of unauthenticated callers.
    pub anonymous_paths_an_hour: PositiveCount,
}

impl Default for Decisions {
    fn default() -> Self {
        Decisions {
            log: true,
            days: 30,
            paths_an_hour: PositiveCount(5_000),
            anonymous_paths_an_hour: PositiveCount(1_000),
        }
    }
}

/// The proxies in front.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Forwarded {
    /// How many of the operator's own proxies append to X-Forwarded-For.
    pub trusted_hops: usize,
}
