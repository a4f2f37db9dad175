//! The only place where everything is wired together.

mod admin_address;
mod alerts;
mod audit;
mod bound_service;
pub(crate) mod fallback;
mod handover;
mod listen_address;
mod manager;
mod occupant;
mod serving;
mod stop;
mod successor;
mod timekeeping;
mod waiting;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use chrono::TimeDelta;
use clock::{SharedClock, SteadyClock, SystemClock};
use grants::alerts::{self as outbox, Alerts, canary};
use grants::break_glass::{self, BreakGlass};
use ledger::Notary;
use pingora::server::Fds;
use policy::firewall::{Limits, Policy, StripList};
use policy::identity::flask_cookie::{CookieLimits, CookieVerifier, SigningKeys};
use policy::identity::login::TokenKeys;
use store::console::Relations;
use store::schema::rights;
use store::{DatabaseUrl, Placement, SharedStore, StoreOptions};
use tokio::signal::unix::{SignalKind, signal};

use self::listen_address::{ListenAddresses, ListeningSocket};
use self::manager::Manager;
use self::serving::Serving;
use self::stop::Ways;
use self::waiting::Waited;
use crate::activation::{MappingHolder, Sources};
use crate::admin::authzen::{EvaluationIds, Names};
use crate::admin::freescout::Webhook;
use crate::admin::ingest::Ingest;
use crate::admin::service::Services;
use crate::admin::{self, AdminState};
use crate::assertion::AssertionSigner;
use crate::edge::listener::Listener;
use crate::edge::tls::pair::PairFiles;
use crate::edge::tls::{self, CertificateHolder};
use crate::edge::upstream::{Servers, SharedResolver, SystemResolver};
use crate::freshness::push::PushTerms;
use crate::freshness::slides::Slides;
use crate::freshness::{AccessResolver, Posture};
use crate::identity::{self, Doors, Identity};
use crate::journal::decision_log::{DecisionLog, Keeping};
use crate::journal::drift::DriftReporter;
use crate::journal::refusals::UpstreamRefusals;
use crate::journal::refused::RefusedSample;
use crate::journal::repeats::Repeats;
use crate::journal::{erasure, mirror};
use crate::outbound::freescout::{FreeScout, FreeScoutOptions, MOST_ANSWER_BYTES};
use crate::outbound::{Outbound, Url};
use crate::pages::Site;
use crate::rbac_api::{self, RbacApi};
use crate::ruling::probe::ProbeKeys;
use crate::ruling::remembered::RememberedCookies;
use crate::ruling::strangers::Strangers;
use crate::ruling::tickets::TicketDesk;
use crate::ruling::troubles::Troubles;
use crate::ruling::{Gate, Options, SessionCredential};
use crate::settings::secrets::{Secret, Secrets};
use crate::settings::{Assertion, Environment, NewerSchema, PositiveCount, SessionKind, Settings, Upstream};
use crate::spans::{Collector, Tracer, Value};
use crate::tickets::{self, Tickets};
use crate::traffic::Traffic;
use crate::upkeep::reviews::ReviewRules;
use crate::upkeep::{self, Upkeep};
pub use alerts::alerts;
pub use audit::{audit_keys, checkpoint_places, refuse_other_keys};
pub use listen_address::look_at_addresses;

/// An answer of the collector of traces; its content is not read.
const MOST_COLLECTOR_BYTES: usize = 64 * 1024;

/// What `serve` gets besides the settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// `FLAG_RBAC_V2` in the environment.
    pub flag_rbac_v2: Option<bool>,
    /// `FLAG_TICKET_SCOPED_GRANTS` in the environment. Off there is off, whatever the database has.
    pub flag_ticket_grants: Option<bool>,
    /// Take the listening sockets over from the process that got SIGQUIT.
    pub upgrade: bool,
    /// On SIGUSR2, start the next gate by this process's own command line.
    pub replaces_itself: bool,
}

/// Runs the gate until SIGTERM (drain), SIGQUIT (hand over and drain), SIGUSR2 (start the next gate, hand over and drain) or
/// SIGINT (stop at once). Calls `listening` when
/// both addresses have accepted a connection.
///
/// # Errors
///
/// Something that the gate needs from the start is missing: an address, the database, a sound mapping.
pub fn run(
    settings: &Settings,
    secrets: &Secrets,
    start: Start,
    listening: impl FnOnce(),
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listen = &settings.listen;
    let manager = Manager::of(|name| std::env::var_os(name));
    let _inside = runtime.enter();
    // Before the database is touched: a gate that was started twice by mistake leaves no trace there.
    let mut addresses =
        if start.upgrade { ListenAddresses::look(listen)? } else { ListenAddresses::take(listen)? };
    let mut early = Fds::new();
    let prepared = runtime.block_on(async {
        let options = StoreOptions { timeout: settings.database.start_timeout(), ..store_options(settings) };
        let serving_limit = settings.database.timeout_ms.duration();
        let opening = store::open_at(&options, placement(settings));
        let store = waiting::with_progress(opening, serving_limit, &manager).await.context("the database")?;
        store.set_production_words(&settings.environments.production);
        store.set_break_glass_rules(settings.break_glass.rules());
        // Where another gate runs, it goes on answering at the addresses.
        let sockets =
            || if start.upgrade { Ok([None, None]) } else { sockets(&mut addresses, &mut early, settings) };
        let preparing = async |store: SharedStore| {
            let preparing = prepare(settings, secrets, start, store.clone(), &manager);
            let prepared = waiting::with_progress(preparing, serving_limit, &manager).await?;
            store.set_limit(serving_limit).await.context("the database")?;
            anyhow::Ok(prepared)
        };
        match waiting::wait(&store, &settings.database, &manager, sockets).await? {
            Waited::NotAtAll => preparing(store).await.map(Some),
            Waited::Interrupted => Ok(None),
            Waited::For(mut interruptions) => tokio::select! {
                prepared = preparing(store) => prepared.map(Some),
                () = interruptions.come() => Ok(None),
            },
        }
    })?;
    let Some(prepared) = prepared else {
        tracing::info!("stopped before the database answered");
        return Ok(());
    };
    let gate = prepared.gate.clone();
    let outcome = runtime.block_on(async {
        // The sockets of the gate that runs last of all: once the next one listens at them, it stops.
        let (addresses, fds, giver) = if start.upgrade {
            let (mut fds, giver) = handover::receive(&listen.upgrade_socket()).await?;
            (addresses.inherit(&mut fds)?, fds, Some(giver))
        } else {
            (addresses, early, None)
        };
        let proxy = prepared.proxy.clone();
        let ways = Ways { manager: manager.clone(), replaces_itself: start.replaces_itself };
        let serving = Serving::open(settings, prepared, addresses, fds, ways)?;
        let listening = || {
            if let Some(giver) = giver {
                tokio::spawn(giver.confirm());
            }
            manager.tell("READY=1\nSTATUS=The gate listens");
            tokio::spawn(manager.clone().keep_watched(proxy));
            listening();
        };
        serving.until_it_stops(settings, listening).await
    });
    // A gate that stops at once, has crashed or never listened has written what it saw all the same.
    runtime.block_on(finish(&gate, settings));
    outcome?;
    tracing::info!("stopped");
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// The addresses at which a gate answers that waits for its database.
fn sockets(
    addresses: &mut ListenAddresses,
    fds: &mut Fds,
    settings: &Settings,
) -> anyhow::Result<[Option<ListeningSocket>; 2]> {
    let is_tls = settings.tls.certificate_file.is_some();
    let proxy = if is_tls { None } else { addresses.proxy.open_early(fds)? };
    Ok([proxy, addresses.admin.open_early(fds)?])
}

/// Withdraws this gate's lease and report, and writes all pending records.
async fn finish(gate: &Gate, settings: &Settings) {
    if let Err(error) = gate.access.leave().await {
        tracing::warn!(%error, "the gate's lease was not released; it will expire");
    }
    gate.mappings.leave().await;
    let patience = settings.database.timeout_ms.duration();
    gate.drift.finish(patience).await;
    if let Some(decisions) = &gate.decisions {
        decisions.finish(patience).await;
    }
    gate.refusals.finish(patience).await;
    if let Some(tracer) = &gate.tracer {
        tracer.finish(patience).await;
    }
    // Their counts are rows of the audit.
    gate.repeats.finish(settings.audit.timeout_ms.duration()).await;
    gate.audit.finish(settings.audit.timeout_ms.duration()).await;
}

/// The store options that the settings ask for.
pub fn store_options(settings: &Settings) -> StoreOptions {
    StoreOptions {
        url: settings.database.url.0.clone(),
        max_connections: u32::try_from(settings.database.max_connections.0).unwrap_or(u32::MAX),
        timeout: settings.database.timeout_ms.duration(),
        console: Relations {
            session_payload: settings.session.payload.is_some(),
            login_sessions: settings.identity.is_some(),
            ..settings.console.0.clone()
        },
    }
}

/// Configures the store with Console's own audit table, where the settings name one.
///
/// # Errors
///
/// The URL of its database cannot be used.
pub async fn set_mirror(store: &SharedStore, settings: &Settings) -> anyhow::Result<()> {
    let Some(mirror) = &settings.audit.mirror else { return Ok(()) };
    let remote = match &mirror.url {
        None => None,
        Some(url) => {
            let options = StoreOptions { url: url.0.clone(), max_connections: 1, ..store_options(settings) };
            Some(store::open(&options).await.context("[audit.mirror] `url`")?)
        }
    };
    // There are three statements at most, and the sealed row and its commit need time too: the database has half of the
    // whole at first, and a quarter where rows are replayed.
    let limit = settings.audit.timeout_ms.duration() / 16;
    store.set_mirror(mirror.options(), remote, limit);
    Ok(())
}

/// Where the settings say that the tables are.
pub fn placement(settings: &Settings) -> Placement {
    Placement {
        schema: settings.database.schema.0.clone(),
        console_schema: settings.database.console_schema.clone(),
        ..Placement::default()
    }
}

/// What the proxy serves with.
struct Prepared {
    gate: Arc<Gate>,
    servers: Servers,
    /// Where the gate ends TLS.
    certificates: Option<Arc<CertificateHolder>>,
    /// What answers at the admin address.
    router: Router,
    /// Whether the proxy accepts connections.
    proxy: Listener,
}

async fn prepare(
    settings: &Settings,
    secrets: &Secrets,
    start: Start,
    store: SharedStore,
    manager: &Manager,
) -> anyhow::Result<Prepared> {
    let metrics = admin::metrics::install().context("the metrics recorder")?;
    tokio::spawn(admin::metrics::keep_up(metrics.clone()));
    let clock: SharedClock = Arc::new(SystemClock);
    let settle = settings.access.clock_settle_ms.duration();
    let steady_clock = Arc::new(SteadyClock::over(SystemClock, settle));
    tokio::spawn(timekeeping::follow(steady_clock.clone()));
    let steady_clock: SharedClock = steady_clock;
    // First: writing to Console's audit table takes rights too.
    set_mirror(&store, settings).await?;
    ready_schema(&store, settings).await?;
    ready_console(&store, settings).await?;
    let instance = instance_name();
    let push =
        PushTerms { name: instance.clone(), max_staleness: settings.access.max_staleness_ms.duration() };
    let keys = audit_keys(settings).await?;
    refuse_other_keys(&store, &keys).await?;
    let notary = Notary::new(keys);
    mirror::ready(&store).await?;
    let audit = audit::start(settings, &store, &notary, &clock).await.context("the audit")?;
    if settings.audit.mirror.is_some() {
        tokio::spawn(mirror::follow(store.clone()));
    }
    let sources = Sources {
        file: settings.mapping.file.clone(),
        settle: settings.mapping.settle_ms.duration(),
        on_broken: settings.mapping.on_broken,
        store: store.clone(),
        clock: clock.clone(),
        name: instance.clone(),
        notary: notary.clone(),
        upstreams: settings.upstream_names(),
    };
    let (mappings, refresher) = MappingHolder::start(sources).await.context("the mapping")?;
    let certificates = PairFiles::from_settings(&settings.tls)
        .map(|files| CertificateHolder::start(files, clock.clone()).map(Arc::new))
        .transpose()
        .context("TLS")?;
    let resolver: SharedResolver = Arc::new(SystemResolver);
    let servers = Servers::new(settings, &resolver)?;
    let posture = Posture {
        flag_at_start: start.flag_rbac_v2,
        production: settings.environment == Environment::Production,
    };
    let capacity = settings.access.cache_capacity.0 as u64;
    let access =
        AccessResolver::start(store.clone(), steady_clock.clone(), posture, capacity).with_push(push);
    let access = Arc::new(access);
    let alerts = alerts(settings, &secrets.alerts, store.clone(), clock.clone())?;
    let help_desk = help_desk(settings, secrets)?
        .map(|freescout| Arc::new(Tickets::new(store.clone(), notary.clone(), clock.clone(), freescout)));
    let tickets = help_desk.clone().filter(|_| start.flag_ticket_grants != Some(false));
    let own_routes = rbac_api::Parts {
        store: store.clone(),
        access: access.clone(),
        mappings: mappings.clone(),
        notary: notary.clone(),
        clock: clock.clone(),
        tickets: tickets.clone(),
        settings: settings.rbac_api.clone(),
        decisions: settings.decisions.clone(),
        break_glass: Arc::new(break_glass(settings, &store, &notary, &alerts)?),
        review: settings.break_glass.review.clone(),
        mapping_file: rbac_api::MappingFile {
            path: settings.mapping.file.clone(),
            upstreams: settings.upstream_names(),
            own_routes: identity::own_routes(settings.identity.as_ref()),
        },
        checkpoints: settings.audit.checkpoint_file.clone(),
    };
    let own_routes = Doors {
        site: Site::new(RbacApi::new(own_routes, &secrets.assertion_keys)),
        identity: identity(settings, secrets, &store, &notary, &clock)?,
    };
    let slides = settings.identity.as_ref().map(|identity| Slides::start(store.clone(), identity.idle()));
    let gate = Gate {
        mappings: mappings.clone(),
        access: access.clone(),
        repeats: Repeats::start(audit.clone(), clock.clone()),
        audit,
        drift: DriftReporter::start(store.clone(), clock.clone(), settings.retention.drift_rows, &instance)
            .await
            .context("the gate's mark for drift")?,
        decisions: decision_log(settings, &store, &clock, &instance).await?,
        refusals: UpstreamRefusals::start(
            store.clone(),
            clock.clone(),
            settings.upstream.own_refusals.clone(),
            settings.session.login_path.clone(),
            settings.decisions.days,
        ),
        refused: RefusedSample::new(clock.clone()),
        probes: ProbeKeys::new(&secrets.probe_keys),
        cookies: credentials(settings, secrets)?,
        remembered: RememberedCookies::default(),
        slides,
        strangers: Strangers::default(),
        troubles: Troubles::default(),
        traffic: Traffic::new(mappings.clone()),
        tracer: tracer(settings, secrets, &instance)?,
        assertions: AssertionSigner::new(
            settings.assertion.algorithm,
            &secrets.assertion_keys,
            &settings.assertion.audience,
            settings.assertion.lifetime_seconds,
        )?,
        upstream_assertions: upstream_assertions(settings, secrets)?,
        own_routes: Some(Arc::new(own_routes)),
        tickets: tickets.map(|tickets| tickets as Arc<dyn TicketDesk>),
        audit_keys: notary.keys().clone(),
        clock,
        steady_clock,
        policy: policy(settings),
        options: Options::from_settings(settings),
    };
    tokio::spawn(break_glass::follow(store.clone(), notary.clone(), gate.clock.clone(), instance.clone()));
    tokio::spawn(erasure::follow(store.clone(), notary.clone(), gate.clock.clone()));
    if let Some(tickets) = &help_desk {
        let period = Duration::from_secs(settings.freescout.poll_seconds);
        tokio::spawn(tickets::follow(tickets.clone(), instance.clone(), period));
    }
    tokio::spawn(upkeep::follow(Upkeep {
        store: store.clone(),
        notary: notary.clone(),
        clock: gate.clock.clone(),
        alerts: alerts.clone(),
        gate: instance.clone(),
        remind: Some(settings.alerts.remind_minutes * 60).filter(|ahead| *ahead > 0).map(Duration::from_secs),
        retention_days: settings.retention.daily.then_some(settings.retention.drift_days),
        reviews: review_rules(settings),
    }));
    follow_alerts(settings, alerts, &instance);
    tokio::spawn(fallback::follow(store.clone(), mappings.clone(), access.clone(), posture));
    tokio::spawn(refresher.run(settings.mapping.watch));
    if let Some(certificates) = &certificates {
        tokio::spawn(tls::watch::follow(certificates.clone()));
    }
    tokio::spawn(reload_on_hangup(mappings, certificates.clone(), manager.clone())?);
    servers.start().await;
    let services = |names: &[String], each: PositiveCount| {
        let per_minute = u32::try_from(each.0).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        Services::new(names, per_minute, access.clone())
    };
    let sources = services(&settings.ingest.sources, settings.ingest.per_minute);
    let callers = services(&settings.api.callers, settings.api.per_minute);
    let drift_reporters = services(&settings.api.drift_reporters, settings.api.per_minute);
    let (audit, gate) = (gate.audit.clone(), Arc::new(gate));
    let proxy = Listener::default();
    let state = AdminState {
        ingest: Arc::new(Ingest::new(sources, audit.clone(), store.clone(), gate.clock.clone())),
        gate: gate.clone(),
        store,
        servers: servers.clone(),
        audit,
        callers: Arc::new(callers),
        drift_reporters: Arc::new(drift_reporters),
        names: Arc::new(Names::of(&settings.api)),
        evaluations: Arc::new(EvaluationIds::new(&secrets.assertion_keys)),
        notary: notary.clone(),
        settings: settings.api.clone(),
        freescout: help_desk
            .zip(secrets.freescout_webhook.clone())
            .map(|(tickets, secret)| Arc::new(Webhook { tickets, secret })),
        metrics,
        listener: proxy.clone(),
        certificates: certificates.clone(),
    };
    Ok(Prepared { gate, servers, certificates, router: admin::router(state), proxy })
}

/// What signs for the servers beside Console: by keys of their own where keys are shared, so that none of them can make
/// what another one takes.
fn upstream_assertions(
    settings: &Settings,
    secrets: &Secrets,
) -> anyhow::Result<BTreeMap<String, AssertionSigner>> {
    let Assertion { algorithm, lifetime_seconds, .. } = settings.assertion;
    let signer = |(name, upstream): (&String, &Upstream)| {
        let keys = secrets.upstream_keys.get(name).unwrap_or(&secrets.assertion_keys);
        let audience = upstream.assertion.as_ref().and_then(|of| of.audience.as_deref()).unwrap_or(name);
        let signer = AssertionSigner::new(algorithm, keys, audience, lifetime_seconds);
        Ok((name.clone(), signer.with_context(|| format!("[upstreams.{name}]"))?))
    };
    settings.upstreams.iter().map(signer).collect()
}

/// What traces requests, with the task that sends the traces; `None` where the settings name no collector.
fn tracer(settings: &Settings, secrets: &Secrets, instance: &str) -> anyhow::Result<Option<Tracer>> {
    let otlp = &settings.otlp;
    let Some(url) = otlp.url().map_err(anyhow::Error::msg).context("[otlp]")? else { return Ok(None) };
    let text = |text: &str| Value::Text(text.to_owned());
    let collector = Collector {
        outbound: Outbound::new(Vec::new(), otlp.timeout_ms.duration(), MOST_COLLECTOR_BYTES)?,
        url,
        headers: secrets.otlp_headers.clone(),
        resource: vec![
            ("service.name", text(&otlp.service_name)),
            ("service.version", text(env!("CARGO_PKG_VERSION"))),
            ("service.instance.id", text(instance)),
        ],
    };
    let (tracer, exporting) = Tracer::new(otlp.sample_ratio, settings.forwarded.trusted_hops > 0);
    tokio::spawn(exporting.run(collector));
    Ok(Some(tracer))
}

/// What starts break-glass sessions.
///
/// # Errors
///
/// The settings of the passkeys cannot be used.
pub fn break_glass(
    settings: &Settings,
    store: &SharedStore,
    notary: &Notary,
    alerts: &Alerts,
) -> anyhow::Result<BreakGlass> {
    let passkeys = settings.break_glass.passkeys().map_err(anyhow::Error::msg).context("[break_glass]")?;
    Ok(BreakGlass { store: store.clone(), notary: notary.clone(), passkeys, alerts: alerts.clone() })
}

/// How reviews of access are opened, and what happens to undecided items.
pub fn review_rules(settings: &Settings) -> ReviewRules {
    let reviews = &settings.reviews;
    let days = |days: u32| TimeDelta::days(i64::from(days));
    ReviewRules {
        period: (reviews.period_days > 0).then(|| days(reviews.period_days)),
        due_in: days(reviews.due_days),
        overdue: reviews.overdue,
        groups: reviews.groups.clone(),
        log_days: settings.decisions.days,
    }
}

/// Starts what sends alerts, where there is a channel for them.
fn follow_alerts(settings: &Settings, alerts: Alerts, gate: &str) {
    match alerts.channels().as_slice() {
        [] => return,
        [only] => tracing::warn!(
            "{only} is the only channel for alerts: while it is down, no break-glass session can start. Set a second one \
             of [alerts.slack], [alerts.smtp] and [alerts.postmark]"
        ),
        _ => {}
    }
    let keep = Duration::from_secs(u64::from(settings.alerts.keep_days) * 24 * 60 * 60);
    if settings.alerts.canary_minutes > 0 {
        let period = Duration::from_secs(settings.alerts.canary_minutes * 60);
        tokio::spawn(canary::follow(alerts.clone(), gate.to_owned(), period));
    }
    tokio::spawn(outbox::follow(alerts, gate.to_owned(), keep));
}

/// FreeScout, where the settings name one.
///
/// # Errors
///
/// Its address or its key cannot be used.
pub fn help_desk(settings: &Settings, secrets: &Secrets) -> anyhow::Result<Option<FreeScout>> {
    secrets.freescout_key.as_ref().map(|key| freescout(settings, key)).transpose().map(Option::flatten)
}

/// FreeScout, asked with `key`; `None` where the settings name none.
///
/// # Errors
///
/// Its address or its key cannot be used.
pub fn freescout(settings: &Settings, key: &Secret) -> anyhow::Result<Option<FreeScout>> {
    let freescout = &settings.freescout;
    let Some(url) = &freescout.url else { return Ok(None) };
    let key = String::from_utf8(key.expose().to_vec()).context("[freescout] the key is no text")?;
    let deadline = freescout.deadline_ms.duration();
    let options = FreeScoutOptions {
        url: Url::parse(url)?,
        key: key.into(),
        mailboxes: freescout.mailboxes.iter().copied().collect(),
        deadline,
    };
    let outbound = Outbound::new(Vec::new(), deadline, MOST_ANSWER_BYTES).context("[freescout]")?;
    Ok(Some(FreeScout::new(outbound, options)))
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
    // First: a role that may not read the ledger would take every migration for missing.
    let (missing, role) = store.missing_rights().await.context("looking at the database role's rights")?;
    anyhow::ensure!(missing.is_empty(), rights::message(&missing, &role));
    let schema = store.schema_state().await.context("reading the schema")?;
    if let Some(newer) = schema.newer() {
        match settings.database.newer_schema {
            NewerSchema::Compatible if schema.may_serve() => tracing::warn!(
                "the database's schema is newer than this gate, which may serve on it: {newer} on every machine soon"
            ),
            NewerSchema::Serve => {
                tracing::warn!(
                    "`database.newer_schema` allows this gate to serve on a newer schema: {newer}"
                );
            }
            NewerSchema::Compatible | NewerSchema::Refuse => anyhow::bail!(
                "the database's schema is newer than this gate: {newer}, or set `database.newer_schema = \"serve\"` \
                 if its release notes say that this release can use it"
            ),
        }
    }
    let Some(first) = schema.pending.first() else { return Ok(()) };
    if let DatabaseUrl::Sqlite(_) = settings.database.url.0 {
        store.migrate().await.context("migrating the SQLite file")?;
        return Ok(());
    }
    anyhow::ensure!(
        !schema.is_new,
        "the database does not have the gate's tables: run `console-gate migrate`, after checking that \
         `database.url` names the right database and that its role can use their schema"
    );
    anyhow::bail!(
        "the database lacks {} migration(s), the first is {first}: run `console-gate migrate`",
        schema.pending.len(),
    )
}

/// Checks that Console's tables can be read: if not, the gate reports every obstacle and does not start. A SQLite file gets
/// its triggers here, as it gets its migrations.
async fn ready_console(store: &SharedStore, settings: &Settings) -> anyhow::Result<()> {
    let (warnings, mistakes): (Vec<_>, Vec<_>) = store
        .console_mismatches()
        .await
        .context("reading Console's tables")?
        .into_iter()
        .partition(|found| found.is_warning);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if !mistakes.is_empty() {
        let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
        anyhow::bail!("what the gate reads of Console does not fit its tables:{}", lines.concat());
    }
    if let DatabaseUrl::Sqlite(_) = settings.database.url.0 {
        for gap in store.install_triggers().await.context("the triggers on Console's tables")?.gaps {
            tracing::warn!("a change of Console's tables may go unnoticed: {gap}");
        }
    }
    Ok(())
}

/// The gate's own login, where the settings want one.
fn identity(
    settings: &Settings,
    secrets: &Secrets,
    store: &SharedStore,
    notary: &Notary,
    clock: &SharedClock,
) -> anyhow::Result<Option<Identity>> {
    let Some(terms) = settings.identity.clone() else { return Ok(None) };
    let passkeys = settings.break_glass.passkeys().map_err(anyhow::Error::msg)?;
    let passkeys = passkeys.context("[identity] needs `[break_glass] origin`")?;
    let parts = identity::Parts {
        store: store.clone(),
        notary: notary.clone(),
        clock: clock.clone(),
        passkeys,
        tokens: token_keys(secrets),
        terms,
        address_detail: settings.audit.client_address,
    };
    Ok(Some(Identity::new(parts, &secrets.assertion_keys)))
}

/// What verifies session cookies.
pub(crate) fn credentials(settings: &Settings, secrets: &Secrets) -> anyhow::Result<SessionCredential> {
    let session = &settings.session;
    if let Some(tokens) = session.token_verifier(secrets)? {
        return Ok(SessionCredential::Token(tokens));
    }
    if session.kind == SessionKind::Gate {
        return Ok(SessionCredential::Gate(token_keys(secrets)));
    }
    let fallbacks = secrets.session_fallbacks.iter().map(Secret::expose);
    let secret = secrets.session_key.as_ref().map_or(&b""[..], Secret::expose);
    let keys = SigningKeys::new(secret, fallbacks)?;
    let limits = CookieLimits {
        max_age: session.flask_max_age(),
        future_skew: session.clock_skew(),
        ..CookieLimits::default()
    };
    Ok(SessionCredential::Flask(CookieVerifier::new(keys, limits)))
}

/// The keys of the tokens of the gate's own sessions.
fn token_keys(secrets: &Secrets) -> TokenKeys {
    TokenKeys::derived(secrets.assertion_keys.iter().map(|key| key.secret.expose()))
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
        session_cookie: settings.session.cookie().to_owned(),
        strip: StripList::with(&firewall.strip_headers),
    }
}

fn reload_on_hangup(
    mappings: Arc<MappingHolder>,
    certificates: Option<Arc<CertificateHolder>>,
    manager: Manager,
) -> std::io::Result<impl Future<Output = ()>> {
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            manager.reloads(|| {
                mappings.reload();
                match certificates.as_ref().map(|certificates| certificates.refresh()) {
                    None | Some(Ok(true)) => {}
                    Some(Ok(false)) => tracing::info!("SIGHUP: the TLS certificate is already active"),
                    Some(Err(error)) => tracing::error!(%error, "SIGHUP: the TLS certificate was refused"),
                }
            });
        }
    })
}

/// The gate's name in activation records: host and process id.
fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}
