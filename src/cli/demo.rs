//! `console-gate demo`: everything on one port with no set-up.
//!
//! Real code paths throughout: the gate of `serve`, a SQLite file, the migrations' seed, routes.toml as it ships.
//! Only Console is a stand-in ([`console`]).

mod console;
mod folder;
mod freescout;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use grants::passkeys::{self, Asking};
use grants::{By, Terms};
use ledger::event::Way;
use ledger::{AuditEvent, Notary};
use policy::ids::AdminId;
use policy::mapping::{Mapping, counted};
use store::SharedStore;
use store::control::RBAC_V2_FLAG;
use store::rbac_changes::RbacChange;

use self::folder::Folder;
use super::help::Examples;
use super::people::admin_table;
use super::{Common, Ended, pages, with_notary};
use crate::server::{self, Start};
use crate::settings::Settings;
use crate::settings::secrets::Secrets;

pub(super) const EXAMPLES: Examples =
    &[("demo", &["console-gate demo", "console-gate demo --port 9000", "console-gate demo --passkeys"])];

/// Run a complete demo without set-up
///
/// Starts a gate with SQLite in a temporary folder, the seeded roles, one admin for each group and each legacy role,
/// and a stand-in Console and FreeScout. Prints links and curl commands to try. Ctrl-C ends it and removes the folder.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The port of the gate [default: 8080, or the next that is free]
    #[arg(long)]
    port: Option<u16>,
    /// The port of /healthz, /readyz and /metrics [default: 9901, or the next that is free]
    #[arg(long)]
    admin_port: Option<u16>,
    /// Let the gate log people in with passkeys, instead of the stand-in Console: prints a code for the first one
    #[arg(long)]
    passkeys: bool,
}

/// Where the demo listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    gate: u16,
    admin: u16,
    freescout: u16,
}

const GATE_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;

/// The rollout that the demo shows: three enforced clusters, one in shadow, the rest legacy.
const ROLLOUT: [(&str, &str); 4] = [("S1", "v2"), ("S2", "shadow"), ("S6", "v2"), ("S8", "v2")];

/// A row for a ticket, and the groups that may be requested: the shipped mapping leaves these to each shop.
const FURTHER_ROWS: &str = r#"
[blueprints.customer_audit]
cluster = "S1"
[blueprints.customer_audit.routes]
"GET /api/customer-audit/<int:id>" = { legacy = ["superadmin"], role = "raptor-audit-support", ticket = { query = "ticket_id", customer = "path:id", without = ["raptor-audit-admin", "raptor-audit-compliance"] } }

[approval]
edits = { by = ["raxx-devops-team"] }
raxx-devops-team = { by = ["raxx-platform-admins"], quorum = 1, longest = "8h" }
raxx-support-team = { by = ["raxx-platform-admins"], longest = "8h" }
"#;

/// The gate's own login, beside the stand-in's at /auth.
const LOGIN_ROWS: &str = r#"
[blueprints.identity.routes]
"GET,POST /gate/*" = { identity = true }
"GET,POST,PATCH,DELETE /api/v1/auth/*" = { identity = true }
"#;

/// The person whom the demo invites to register a passkey.
const INVITED: &str = "support-lead";

/// A persona to log in as.
#[derive(Clone, Debug)]
pub(super) struct Persona {
    id: String,
    what: String,
}

pub(super) fn run(demo: &Demo, _: &Common) -> anyhow::Result<Ended> {
    super::serve::start_log(super::serve::LogFormat::Text, None);
    let (folder, gate) = Folder::claim(demo.port, GATE_PORT)?;
    let admin = demo.admin_port.unwrap_or_else(|| folder::free_port(ADMIN_PORT));
    let help_desk = std::net::TcpListener::bind("127.0.0.1:0").context("the stand-in FreeScout's port")?;
    help_desk.set_nonblocking(true)?;
    let ports = Ports { gate, admin, freescout: help_desk.local_addr()?.port() };
    let settings = settings(ports, &folder, demo.passkeys)?;
    let secrets = Secrets::load(&settings, |_| None)?;
    let (personas, code) = with_notary(&settings, async |store, notary| {
        store.migrate_seeded().await?;
        let personas = people(&store, &notary, &settings).await?;
        let asking = Asking { store: &store, notary: &notary, admin: INVITED, now: chrono::Utc::now() };
        let code = if demo.passkeys { Some(passkeys::invite(asking, "demo").await?) } else { None };
        Ok((personas, code))
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let socket = folder.path().join("console.sock");
    let (listener, help_desk) = {
        let _inside = runtime.enter();
        let listener = tokio::net::UnixListener::bind(&socket).context("the stand-in Console's socket")?;
        (listener, tokio::net::TcpListener::from_std(help_desk)?)
    };
    let store = runtime.block_on(store::open(&super::store_options(&settings)))?;
    runtime.spawn(console::serve(listener, secrets.clone(), personas.clone(), store));
    runtime.spawn(freescout::serve(help_desk, secrets.clone(), SocketAddr::from(([127, 0, 0, 1], admin))));
    // By now the pages that the printed guide names exist.
    let listening = || match &code {
        Some(code) => print!("{}", login_guide(ports, &folder, code)),
        None => print!("{}", guide(demo, ports, &folder, &personas)),
    };
    server::run(&settings, &secrets, Start::default(), listening)
        .context("the demo has ended (`--port` and `--admin-port` choose its two ports)")?;
    Ok(Ended::Clean)
}

/// The shipped mapping with the demo's rollout, the pages on, and [`FURTHER_ROWS`].
fn demo_routes(passkeys: bool) -> anyhow::Result<String> {
    let routes = rolled_out(include_str!("../../routes.toml"));
    let login = if passkeys { LOGIN_ROWS } else { "" };
    let routes =
        pages::enabled("routes.toml", &routes, pages::READER, pages::WRITER)?.text + FURTHER_ROWS + login;
    Ok(counted(&routes).context("the demo's mapping is not sound")?.text)
}

/// The mapping with the demo's rollout in place of its own.
fn rolled_out(routes: &str) -> String {
    let mut routes = routes.to_owned();
    for (cluster, mode) in ROLLOUT {
        // Replaces the whole line: the demo does not wait for the order of the cutover.
        let lines = routes.lines().map(|line| match line.strip_prefix(cluster) {
            Some(rest) if rest.starts_with(" = ") => format!("{cluster} = \"{mode}\"\n"),
            _ => format!("{line}\n"),
        });
        routes = lines.collect();
    }
    routes
}

/// Writes the demo's files and reads its settings back from them, as `serve` would.
fn settings(ports: Ports, folder: &Folder, passkeys: bool) -> anyhow::Result<Settings> {
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("routes.toml"), demo_routes(passkeys)?)?;
    let session = match passkeys {
        // A passkey is of a name, and of no address.
        true => format!(
            "kind = \"gate\"\n[break_glass]\norigin = \"http://localhost:{}\"\n\
             [identity]\npath = \"/gate\"\n",
            ports.gate
        ),
        false => "secret_key_file = \"session.key\"\n".to_owned(),
    };
    let file = path("gate.toml");
    let text = format!(
        "environment = \"development\"\n\
         [listen]\nproxy = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\nupgrade_socket = \"{}\"\ndrain_ms = 1000\n\
         [audit]\nkeys_file = \"audit.keys\"\n\
         [session]\n{session}\
         [pages]\nhome_path = \"/auth/home\"\nlogout_path = \"/auth/logout\"\n\
         [rbac_api]\ncheck_others = \"console:audit:read\"\noperate = \"console:groups:write\"\nwrite_mapping = true\n\
         [assertion]\nkeys_file = \"assertion.keys\"\n\
         [probe]\nkeys_file = \"probe.keys\"\n\
         [freescout]\nurl = \"http://127.0.0.1:{}\"\nmailboxes = [{}]\nkey_file = \"freescout.key\"\n\
         webhook_secret_file = \"freescout.secret\"\n\
         [upstream]\nservers = [\"unix:{}\"]\nhealth_path = \"/auth/healthz\"\n",
        ports.gate,
        ports.admin,
        path("upgrade.sock").display(),
        ports.freescout,
        freescout::MAILBOX,
        path("console.sock").display(),
    );
    std::fs::write(&file, text)?;
    // For a shell: makes the README's commands work unchanged, with the demo's settings, in its folder.
    let program = std::env::current_exe().context("where this program is")?;
    let programs = program.parent().unwrap_or(Path::new("/")).display().to_string();
    let key = super::keygen::fresh_key("demo")?;
    let env = format!(
        "export CONSOLE_GATE_CONFIG={config:?} PATH={programs:?}:\"$PATH\"\n\
         export GATE=http://127.0.0.1:{gate} FREESCOUT=http://127.0.0.1:{freescout} FREESCOUT_KEY={key:?}\n\
         cd {folder:?}\n",
        config = file.display().to_string(),
        gate = ports.gate,
        freescout = ports.freescout,
        key = key.as_str(),
        folder = folder.path().display().to_string(),
    );
    std::fs::write(path("env"), env)?;
    std::fs::write(path("tour.sh"), include_str!("demo/tour.sh"))?;
    // Each secret is in a file of the folder, where the printed commands read it.
    std::fs::write(path("freescout.key"), key.as_bytes())?;
    for name in ["audit.keys", "session.key", "assertion.keys", "probe.keys", "freescout.secret"] {
        std::fs::write(path(name), super::keygen::fresh_key("demo")?.as_bytes())?;
    }
    Ok(Settings::read(&file)?)
}

/// Creates one admin for each group and each legacy role, and switches the flag on, so that enforced clusters are
/// enforced.
async fn people(store: &SharedStore, notary: &Notary, settings: &Settings) -> anyhow::Result<Vec<Persona>> {
    let (mut personas, mut joins) = (Vec::new(), Vec::new());
    let join =
        |id: &AdminId, group: &str| RbacChange::Join { admin: id.to_string(), group: group.to_owned() };
    let catalog = store.catalog().await?;
    for group in &catalog.groups {
        let id = AdminId::new(format!("in-{group}"));
        store.add_admin(&id, &format!("{id}@example.com"), group).await?;
        joins.push(join(&id, group));
        let roles: Vec<String> = catalog.roles_of_group(group).iter().map(ToString::to_string).collect();
        let what = if roles.is_empty() { "no roles".to_owned() } else { roles.join(", ") };
        personas.push(Persona { id: id.to_string(), what });
    }
    // Who writes, and is in a group that others can name as grantors.
    let lead = AdminId::new("support-lead");
    store.add_admin(&lead, &format!("{lead}@example.com"), "support lead").await?;
    for group in ["raxx-platform-admins", "raxx-support-team"] {
        joins.push(join(&lead, group));
    }
    personas.push(Persona {
        id: lead.to_string(),
        what: "in raxx-platform-admins and raxx-support-team".to_owned(),
    });
    // Who turns clusters: a turn opens no route to its author, and the legacy role opens each already.
    let operator = AdminId::new("operator");
    store.add_admin(&operator, &format!("{operator}@example.com"), "operator").await?;
    joins.push(join(&operator, "raxx-platform-admins"));
    personas.push(Persona {
        id: operator.to_string(),
        what: "in raxx-platform-admins, with legacy role superadmin".to_owned(),
    });
    let file = settings.mapping.file.display().to_string();
    let mapping = Mapping::parse(&file, &std::fs::read_to_string(&settings.mapping.file)?)?;
    for role in mapping.legacy_roles() {
        let id = AdminId::new(format!("legacy-{}", role.as_str()));
        store.add_admin(&id, &format!("{id}@example.com"), role.as_str()).await?;
        store.add_legacy_role(&id, role, "demo").await?;
        if role.as_str() == "superadmin" {
            store.add_legacy_role(&operator, role, "demo").await?;
        }
        personas.push(Persona { id: id.to_string(), what: format!("legacy role {}", role.as_str()) });
    }
    let now = chrono::Utc::now();
    let by = By { name: "demo", reason: Some("the demo's people"), way: Way::Command, now };
    let terms = Terms { admins: admin_table(store).await?, unknown_admins: false };
    grants::change(store, notary, &joins, terms, by).await?;
    let event = AuditEvent::FlagFlipped { name: RBAC_V2_FLAG, enabled: true, by: "demo".into() };
    store.set_rbac_v2(true, "demo", now, &notary.note(event.into_record(now))).await?;
    Ok(personas)
}

fn login_guide(ports: Ports, folder: &Folder, code: &str) -> String {
    let gate = format!("http://localhost:{}", ports.gate);
    let place = folder.path().display();
    format!(
        "\n\
console-gate demo, where the gate logs people in:

    {gate}/gate/enrol       type {code} to register a passkey as {INVITED}, within ten minutes
    {gate}/gate/login       log in with it
    {gate}/gate/account     your passkeys and sessions
    {gate}/console/rbac     who may do what and why

Another terminal has the demo's settings with `. {place}/env`, then for example:

    console-gate passkey invite operator
    console-gate session list {INVITED}
    console-gate session end {INVITED}

Files: {place}    Ctrl-C ends the demo and removes them.

"
    )
}

fn guide(demo: &Demo, ports: Ports, folder: &Folder, personas: &[Persona]) -> String {
    let gate = format!("http://127.0.0.1:{}", ports.gate);
    let admin = format!("http://127.0.0.1:{}", ports.admin);
    let moved = |asked: Option<u16>, usual: u16, port: u16, what: &str| match asked {
        None if port != usual => format!("Port {usual} is in use, so {what} is on {port}.\n"),
        _ => String::new(),
    };
    let moved = [
        moved(demo.port, GATE_PORT, ports.gate, "the gate"),
        moved(demo.admin_port, ADMIN_PORT, ports.admin, "its admin address"),
    ]
    .concat();
    let program =
        std::env::current_exe().map_or_else(|_| "console-gate".to_owned(), |path| path.display().to_string());
    let place = folder.path().display();
    let jar = format!("{place}/cookies");
    let command = format!("{program} --config {place}/gate.toml");
    format!(
        "\n\
{moved}\
console-gate demo. Click through it:

    {gate}/console/rbac     who may do what and why, requests, grants, clusters: log in as support-lead or operator
    {gate}/auth/home        {people} people to log in as, and every route with who decides it
    {admin}/readyz    {admin}/metrics

Or with curl, one by one:

    # Not logged in: 302 to the login page.
    curl -si {gate}/console/waitlist | head -1

    # Log in as a member of the support team; V2 is enforced for S1, and console-user is enough: 200.
    curl -s -o /dev/null -c {jar} -d as=in-raxx-support-team {gate}/auth/login
    curl -si -b {jar} {gate}/console/status | head -1

    # The waitlist needs console-manager: 403, and its audit row.
    curl -s -b {jar} {gate}/console/waitlist
    {command} audit tail --limit 1

    # Put S1 back on its legacy gate, live: the support team's admin has no legacy role, so the same page is a 403.
    sed -i 's/^S1 = \"v2\"/S1 = \"legacy\"/' {place}/routes.toml && sleep 2
    curl -si -b {jar} {gate}/console/status | head -1

    # Roll back to the previous mapping: 200 again. Then list what was activated.
    {command} rollback --yes
    curl -si -b {jar} {gate}/console/status | head -1
    {command} history

    # The kill-switch: every route on its legacy gate at once.
    {command} flag rbac-v2 off
    curl -si -b {jar} {gate}/console/status | head -1
    {command} flag rbac-v2 on

    # All of this is in the audit log, and no one has changed it since.
    {command} audit verify

    # A tour of requests for access and of tickets: denied, asked, approved, in, ticket closed, out.
    bash {place}/tour.sh

    # The README's section \"Cut over one cluster\", in another terminal:
    . {place}/env

Files: {place}    Ctrl-C ends the demo and removes them.

",
        people = personas.len(),
    )
}

#[cfg(test)]
mod tests {
    use policy::mapping::order::History;

    use super::*;

    /// S8 comes after S1 to S7 in the shipped mapping; the demo's is activated at once, and with nothing in its history.
    #[test]
    fn the_demo_waits_for_no_order_of_the_cutover() {
        let shipped = include_str!("../../routes.toml");
        let text = rolled_out(shipped);
        let (mapping, before) =
            (Mapping::parse("demo", &text).unwrap(), Mapping::parse("shipped", shipped).unwrap());
        assert!(
            !before.ordered_clusters().is_empty(),
            "without an order in what is shipped, this shows nothing"
        );
        assert!(mapping.ordered_clusters().is_empty());
        let untimely = mapping.untimely(None, &History::new(), chrono::Utc::now());
        assert!(untimely.is_empty(), "{untimely:?}");
        // By the mode alone it would be refused.
        let early = shipped.replace("S8 = { mode = \"legacy\"", "S8 = { mode = \"v2\"");
        let early = Mapping::parse("early", &early).unwrap();
        assert_eq!(early.untimely(None, &History::new(), chrono::Utc::now()).len(), 1);
        // Each line of the rollout has changed one cluster, and nothing else has changed.
        let changed: Vec<&str> =
            text.lines().zip(shipped.lines()).filter(|(new, old)| new != old).map(|(new, _)| new).collect();
        assert_eq!(changed, ["S1 = \"v2\"", "S2 = \"shadow\"", "S6 = \"v2\"", "S8 = \"v2\""]);
        assert_eq!(text.lines().count(), shipped.lines().count());
    }
}
