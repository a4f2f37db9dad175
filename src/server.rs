//! The only place where everything is wired together.

mod audit;
mod stop;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pingora::apps::HttpServerOptions;
use pingora::listeners::ListenerConfig;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{ExecutionPhase, RunArgs, Server};
use pingora::services::listening::Service;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::stop::Stop;
use crate::access::push::PushTerms;
use crate::access::{AccessResolver, Posture};
use crate::activation::{MappingHolder, Sources};
use crate::api::ingest::Ingest;
use crate::api::service::Services;
use crate::api::{self, AdminState};
use crate::assertion::AssertionSigner;
use crate::audit::drift::DriftReporter;
use crate::audit::{Notary, erasure};
use crate::clock::{SharedClock, SteadyClock, SystemClock};
use crate::decision_log::{DecisionLog, Keeping};
use crate::firewall::{Limits, Policy, StripList};
use crate::gate::{Gate, Options};
use crate::identity::flask_cookie::{CookieLimits, CookieVerifier, SigningKeys};
use crate::probe::ProbeKeys;
use crate::proxy::front::{Connections, Front};
use crate::proxy::gateway::Gateway;
use crate::settings::secrets::Secrets;
use crate::settings::{Address, Environment, NewerSchema, PositiveCount, Settings};
use crate::store::{self, DatabaseUrl, SharedStore, StoreOptions};
use crate::tls::pair::PairFiles;
use crate::tls::{self, Acceptor, CertificateHolder};
use crate::upstream::Upstreams;

pub use audit::{audit_keys, checkpoint_places};

/// What `serve` is told besides the settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// `FLAG_RBAC_V2` in the environment.
    pub flag_rbac_v2: Option<bool>,
    /// Take the listening sockets over from the process that got SIGQUIT.
    pub upgrade: bool,
}

/// Runs the gate until SIGTERM (drain), SIGQUIT (hand over and drain) or SIGINT (stop at once).
///
/// # Errors
///
/// Something that the gate needs from the start is missing: the database, a sound mapping, an address.
pub fn run(settings: &Settings, secrets: &Secrets, start: Start) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let Prepared { gate, upstreams, certificates } = runtime.block_on(prepare(settings, secrets, start))?;
    let (audit, drift, decisions) = (gate.audit.clone(), gate.drift.clone(), gate.decisions.clone());
    let (access, mappings) = (gate.access.clone(), gate.mappings.clone());
    let (server, connections) = listen(settings, gate, upstreams, certificates, start)?;
    let stop = Stop::at(&settings.listen.proxy);
    let mut phases = server.watch_execution_phase();
    let (ended, mut serving) = oneshot::channel();
    // pingora runs the proxy on threads of its own, and takes its tasks down wherever they are when it returns.
    std::thread::spawn(move || {
        server.run(RunArgs { shutdown_signal: Box::new(stop) });
        let _ = ended.send(());
    });
    runtime.block_on(async {
        let ended = loop {
            tokio::select! {
                ended = &mut serving => break Some(ended),
                phase = phases.recv() => match phase {
                    // From here on pingora sleeps for as long as a request may take, whether there is one or not.
                    Ok(ExecutionPhase::ShutdownGracePeriod) => break None,
                    Err(RecvError::Closed) => break Some(serving.await),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                },
            }
        };
        let drained = connections.none_left();
        if ended.is_none() && timeout(settings.listen.drain_ms.duration(), drained).await.is_err() {
            tracing::warn!("requests were still under way when the time to drain was over");
        }
        if let Err(error) = access.leave().await {
            tracing::warn!(%error, "the gate's lease was not given back; it runs out by itself");
        }
        mappings.leave().await;
        let patience = settings.database.timeout_ms.duration();
        drift.finish(patience).await;
        if let Some(decisions) = decisions {
            decisions.finish(patience).await;
        }
        audit.finish(settings.audit.timeout_ms.duration()).await;
        // A gate that stops at once, or has crashed, has written what it saw all the same.
        ended.map_or(Ok(()), |ended| ended.context("the proxy has crashed"))
    })?;
    tracing::info!("stopped");
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// The store options that the settings ask for.
pub fn store_options(settings: &Settings) -> StoreOptions {
    StoreOptions {
        url: settings.database.url.0.clone(),
        max_connections: u32::try_from(settings.database.max_connections.0).unwrap_or(u32::MAX),
        timeout: settings.database.timeout_ms.duration(),
    }
}

/// What the proxy serves with.
struct Prepared {
    gate: Arc<Gate>,
    upstreams: Arc<Upstreams>,
    /// Where the gate ends TLS.
    certificates: Option<Arc<CertificateHolder>>,
}

async fn prepare(settings: &Settings, secrets: &Secrets, start: Start) -> anyhow::Result<Prepared> {
    let metrics = api::metrics::install().context("the metrics recorder")?;
    tokio::spawn(api::metrics::keep_up(metrics.clone()));
    let clock: SharedClock = Arc::new(SystemClock);
    let steady_clock: SharedClock = Arc::new(SteadyClock::over(SystemClock));
    let store = store::open(&store_options(settings)).await.context("the database")?;
    ready_schema(&store, settings).await?;
    let instance = instance_name();
    let push =
        PushTerms { name: instance.clone(), max_staleness: settings.access.max_staleness_ms.duration() };
    let notary = Notary::new(audit_keys(settings).await?);
    let audit = audit::start(settings, &store, &notary, &clock).await.context("the audit")?;
    let sources = Sources {
        file: settings.mapping.file.clone(),
        settle: settings.mapping.settle_ms.duration(),
        store: store.clone(),
        clock: clock.clone(),
        name: instance.clone(),
        notary: notary.clone(),
    };
    let (mappings, refresher) = MappingHolder::start(sources).await.context("the mapping")?;
    let certificates = PairFiles::from_settings(&settings.tls)
        .map(|files| CertificateHolder::start(files, clock.clone()).map(Arc::new))
        .transpose()
        .context("TLS")?;
    let upstreams = Arc::new(Upstreams::new(&settings.upstream)?);
    let posture = Posture {
        flag_at_start: start.flag_rbac_v2,
        production: settings.environment == Environment::Production,
    };
    let capacity = settings.access.cache_capacity.0 as u64;
    let access =
        AccessResolver::start(store.clone(), steady_clock.clone(), posture, capacity).with_push(push);
    let access = Arc::new(access);
    let gate = Gate {
        mappings: mappings.clone(),
        access: access.clone(),
        audit,
        drift: DriftReporter::start(store.clone(), clock.clone(), settings.retention.drift_rows, &instance)
            .await
            .context("the gate's mark for drift")?,
        decisions: decision_log(settings, &store, &clock, &instance).await?,
        probes: ProbeKeys::new(&secrets.probe_keys),
        cookies: cookie_verifier(settings, secrets)?,
        assertions: AssertionSigner::new(
            settings.assertion.algorithm,
            &secrets.assertion_keys,
            &settings.assertion.audience,
            settings.assertion.lifetime_seconds,
        )?,
        clock,
        steady_clock,
        policy: policy(settings),
        options: Options::from_settings(settings),
    };
    tokio::spawn(erasure::follow(store.clone(), notary, gate.clock.clone()));
    tokio::spawn(refresher.run(settings.mapping.watch));
    if let Some(certificates) = &certificates {
        tokio::spawn(tls::watch::follow(certificates.clone()));
    }
    tokio::spawn(reload_on_hangup(mappings, certificates.clone())?);
    tokio::spawn(upstreams.clone().watch());
    let services = |names: &[String], each: PositiveCount| {
        let per_minute = u32::try_from(each.0).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        Services::new(names, per_minute, access.clone())
    };
    let sources = services(&settings.ingest.sources, settings.ingest.per_minute);
    let callers = services(&settings.api.callers, settings.api.per_minute);
    let (audit, gate) = (gate.audit.clone(), Arc::new(gate));
    let state = AdminState {
        ingest: Arc::new(Ingest::new(sources, audit.clone(), store.clone(), gate.clock.clone())),
        gate: gate.clone(),
        store,
        upstreams: upstreams.clone(),
        audit,
        callers: Arc::new(callers),
        settings: settings.api.clone(),
        metrics,
    };
    serve_admin(&settings.listen.admin, state).await?;
    Ok(Prepared { gate, upstreams, certificates })
}

async fn decision_log(
    settings: &Settings,
    store: &SharedStore,
    clock: &SharedClock,
    gate: &str,
) -> anyhow::Result<Option<DecisionLog>> {
    let decisions = &settings.decisions;
    let keeping = Keeping {
        days: decisions.days,
        paths_an_hour: decisions.paths_an_hour.0,
        anonymous_paths_an_hour: decisions.anonymous_paths_an_hour.0,
    };
    if !decisions.log {
        return Ok(None);
    }
    let log = DecisionLog::start(store.clone(), clock.clone(), keeping, gate).await;
    Ok(Some(log.context("the gate's mark for decisions")?))
}

/// SQLite is the gate's own and migrated on start. Postgres is Console's: only `console-gate migrate` touches it. What a
/// newer release has changed could decide who may do what, so an older one does not guess.
async fn ready_schema(store: &SharedStore, settings: &Settings) -> anyhow::Result<()> {
    let schema = store.schema_state().await.context("looking at the schema")?;
    if let Some(newer) = schema.newer() {
        anyhow::ensure!(
            settings.database.newer_schema == NewerSchema::Serve,
            "the database's schema is newer than this gate: {newer}, or set `database.newer_schema = \"serve\"` if its \
             notes say that this one can work with it"
        );
        tracing::warn!(unknown = ?schema.unknown, "a newer release has migrated the schema; `database.newer_schema` lets this one serve");
    }
    let Some(first) = schema.pending.first() else { return Ok(()) };
    if let DatabaseUrl::Sqlite(_) = settings.database.url.0 {
        store.migrate().await.context("migrating the SQLite file")?;
        return Ok(());
    }
    anyhow::ensure!(
        !schema.is_new,
        "the database has none of the gate's tables: run `console-gate migrate`, if it is the one that `database.url` should \
         name and its role may use the schema that they are in"
    );
    anyhow::bail!(
        "the database lacks {} migration(s), the first is {first}: run `console-gate migrate`",
        schema.pending.len(),
    )
}

/// How many kept connections in a row may turn out to be closed before a request is given up.
const MOST_STALE: usize = 4;

fn cookie_verifier(settings: &Settings, secrets: &Secrets) -> anyhow::Result<CookieVerifier> {
    let fallbacks = secrets.session_fallbacks.iter().map(super::settings::secrets::Secret::expose);
    let keys = SigningKeys::new(secrets.session_key.expose(), fallbacks)?;
    let max_age = Duration::from_secs(settings.session.max_age_seconds);
    Ok(CookieVerifier::new(keys, CookieLimits { max_age, ..CookieLimits::default() }))
}

/// What the firewall refuses and strips.
pub(crate) fn policy(settings: &Settings) -> Policy {
    let firewall = &settings.firewall;
    Policy {
        limits: Limits {
            target_bytes: firewall.target_bytes.0,
            head_bytes: firewall.head_bytes.0,
            header_count: firewall.header_count.0,
            header_bytes: firewall.header_bytes.0,
            body_bytes: firewall.body_bytes,
        },
        allowed_hosts: firewall.allowed_hosts.clone(),
        allow_semicolon: firewall.allow_semicolon,
        session_cookie: settings.session.cookie_name.clone(),
        strip: StripList::with(&firewall.strip_headers),
    }
}

fn listen(
    settings: &Settings,
    gate: Arc<Gate>,
    upstreams: Arc<Upstreams>,
    certificates: Option<Arc<CertificateHolder>>,
    start: Start,
) -> anyhow::Result<(Server, Connections)> {
    let listen = &settings.listen;
    let conf = ServerConf {
        threads: listen.threads.0,
        upstream_keepalive_pool_size: settings.upstream.pool_size.0,
        // The listeners close at once; requests under way have this long, and `run` goes on when they are done.
        grace_period_seconds: Some(listen.drain_ms.0.div_ceil(1000)),
        graceful_shutdown_timeout_seconds: Some(0),
        upgrade_sock: listen.upgrade_socket.display().to_string(),
        // The gateway decides what is asked again, and bounds it; this only has to be more than that.
        max_retries: settings.upstream.servers.len() + MOST_STALE,
        ..ServerConf::default()
    };
    let opt = Opt { upgrade: start.upgrade, ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(opt, conf);
    server.bootstrap();
    let policy = gate.policy.clone();
    let mut proxy = HttpProxy::new(Gateway::new(gate, upstreams), server.configuration.clone());
    proxy.handle_init_modules();
    let mut options = HttpServerOptions::default();
    options.h2c = listen.h2c;
    options.h2_idle_timeout = Some(settings.firewall.idle_timeout_ms.duration());
    proxy.server_options = Some(options);
    let patience = settings.tls.handshake_timeout_ms.duration();
    let acceptor = certificates.map(|certificates| Acceptor::new(certificates, patience));
    let is_tls = acceptor.is_some();
    let front = Front::new(proxy, policy, settings, acceptor);
    let connections = front.connections();
    let mut service = Service::new("console-gate".to_owned(), front);
    service.add_listener(match &listen.proxy {
        Address::Tcp(address) => ListenerConfig::tcp(address.clone()),
        Address::Unix(path) => ListenerConfig::uds(path.display().to_string()),
    });
    service.threads = Some(listen.threads.0);
    server.add_service(service);
    tracing::info!(address = %listen.proxy, tls = is_tls, "the gate listens");
    Ok((server, connections))
}

fn reload_on_hangup(
    mappings: Arc<MappingHolder>,
    certificates: Option<Arc<CertificateHolder>>,
) -> std::io::Result<impl Future<Output = ()>> {
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            mappings.reload();
            match certificates.as_ref().map(|certificates| certificates.refresh()) {
                None | Some(Ok(true)) => {}
                Some(Ok(false)) => tracing::info!("SIGHUP: the TLS certificate runs already"),
                Some(Err(error)) => tracing::error!(%error, "SIGHUP: the TLS certificate was refused"),
            }
        }
    })
}

async fn serve_admin(address: &Address, state: AdminState) -> anyhow::Result<()> {
    let router = api::router(state);
    let place = || format!("the admin address {address}");
    match address {
        Address::Tcp(name) => {
            let resolved =
                tokio::net::lookup_host(name).await.with_context(place)?.next().with_context(place)?;
            let socket = match resolved {
                std::net::SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
                std::net::SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
            }
            .with_context(place)?;
            socket.set_reuseaddr(true)?;
            // While one process hands over to the next, both answer here.
            socket.set_reuseport(true)?;
            socket.bind(resolved).with_context(place)?;
            let listener = socket.listen(128).with_context(place)?;
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Address::Unix(path) => {
            let _ = std::fs::remove_file(path);
            let listener = tokio::net::UnixListener::bind(path).with_context(place)?;
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
    }
    Ok(())
}

/// Tells gates apart in activation records: the host and the process.
fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}
