//! What Console trusts about a request comes from the gate alone.

use crate::support::exchange::Exchange;
use crate::support::recorder::Recorder;
use crate::support::{Ask, Database, Findings, Setup, World};

const MAPPING: &str = "version = 1\n[clusters]\nV = \"v2\"\n[blueprints.t.routes]\n\"* /open/*\" = { public = true }\n\
    [blueprints.v]\ncluster = \"V\"\n[blueprints.v.routes]\n\"GET /inside\" = { legacy = [\"ops\"], role = \"console-audit-user\" }\n";

/// Names by which some server, framework or proxy learns who asks, from where, for what path, host or method.
const NAMES: [&str; 132] = [
    // The address.
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-For",
    "Forwarded-For",
    "X-Real-IP",
    "X-Real-Port",
    "X-Client-IP",
    "Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Pseudo-IPv4",
    "Fastly-Client-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "Remote-Addr",
    "Remote-Host",
    "X-Originating-IP",
    "X-ProxyUser-IP",
    "WL-Proxy-Client-IP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Envoy-External-Address",
    "X-Appengine-User-IP",
    "X-Custom-IP-Authorization",
    // The host, the port, the scheme, the prefix.
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "X-Forwarded-Server",
    "X-Forwarded-By",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Context",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Real-Host",
    "X-Original-Host",
    "Front-End-Https",
    "X-Url-Scheme",
    "X-Scheme",
    "X-Proto",
    "X-Arr-Ssl",
    "Fastly-SSL",
    // The path and the method.
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Method",
    "X-Original-For",
    "X-Rewrite-URL",
    "X-Rewrite-URI",
    "X-Request-URI",
    "X-Override-URL",
    "X-HTTP-DestinationURL",
    "X-HTTP-Path-Override",
    "X-Path-Info",
    "Path-Info",
    "Script-Name",
    "X-Script-Name",
    "X-Envoy-Original-Path",
    "X-Accel-Redirect",
    "X-Sendfile",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Method",
    "X-Middleware-Subrequest",
    // The person.
    "Remote-User",
    "Remote-Groups",
    "Remote-Name",
    "Remote-Email",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Client-Cert",
    "X-Auth-Request-User",
    "X-Auth-Request-Groups",
    "X-Auth-User",
    "X-Authenticated-User",
    "X-Authenticated-Userid",
    "X-Authentik-Username",
    "X-Webauth-User",
    "X-Proxy-User",
    "Proxy-User",
    "Proxy-Authorization",
    "X-User",
    "X-User-Id",
    "X-User-Roles",
    "X-Userinfo",
    "X-Vouch-User",
    "X-Pomerium-Jwt-Assertion",
    "X-Goog-Authenticated-User-Email",
    "X-Goog-Iap-Jwt-Assertion",
    "X-Appengine-User-Email",
    "X-MS-Client-Principal",
    "X-MS-Client-Principal-Name",
    "X-Amzn-Oidc-Data",
    "X-Amzn-Oidc-Identity",
    "CF-Access-Jwt-Assertion",
    "CF-Access-Authenticated-User-Email",
    "Tailscale-User-Login",
    "X-Consumer-Username",
    "X-Credential-Identifier",
    "X-Anonymous-Consumer",
    "Client-Cert",
    "Client-Cert-Chain",
    "Ssl-Client-Cert",
    "X-Ssl-Client-S-Dn",
    "X-Client-Cert",
    "X-Client-Verify",
    "X-Jwt-Assertion",
    "Teleport-Jwt-Assertion",
    "X-Grafana-User",
    "Impersonate-User",
    "Impersonate-Group",
    "X-Forward-Tls-Client-Cert",
    "X-Tls-Client-Cert",
    "Forwarded-Host",
    "Forwarded-Proto",
    "X-Auth-Email",
    "X-Auth-Roles",
    "X-Vercel-Forwarded-For",
    "Fly-Client-Ip",
    "DO-Connecting-IP",
];

/// The gate's own, and what is between two hops only.
const OWN: [&str; 8] = [
    "X-Console-Gate-Assertion",
    "X-Console-Gate-User",
    "X-Request-Id",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Proxy",
];

/// Fields that applications live by.
const PASSING: [&str; 8] = [
    "User-Agent",
    "Accept-Language",
    "X-CSRFToken",
    "X-Requested-With",
    "X-Api-Key",
    "Referer",
    "Traceparent",
    "X-Kept",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_name_that_carries_trust_reaches_console() {
    const SAID: &str = "the-client-said-so";
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate =
        world.gate(&Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 }).await;
    let mut findings = Findings::default();
    // name, value, whether it may reach Console, the status
    let mut table: Vec<(String, bool, u16)> = Vec::new();
    for name in NAMES.iter().chain(&OWN) {
        table.push(((*name).to_owned(), false, 200));
        table.push((name.to_ascii_lowercase(), false, 200));
        table.push((name.to_ascii_uppercase(), false, 200));
        if name.contains('-') {
            // WSGI reads `X_Real_IP` as `X-Real-IP`; others fold other marks. The field is dropped, the request served.
            table.push((name.replace('-', "_"), false, 200));
            table.push((name.replacen('-', "_", 1).to_ascii_lowercase(), false, 200));
            table.push((name.replace('-', "."), false, 200));
        }
        table.push((format!("{name} "), false, 400));
    }
    table.extend(PASSING.iter().map(|name| ((*name).to_owned(), true, 200)));
    for (number, (name, passes, status)) in table.iter().enumerate() {
        let mut exchange = Exchange::to(&gate.socket()).await;
        let request = format!(
            "GET /open/{number} HTTP/1.1\r\nHost: console.test\r\n{name}: {SAID}\r\n{name}: {SAID}\r\n\r\n"
        );
        exchange.send(request.as_bytes()).await;
        let answer = exchange.answer(false).await.expect("an answer");
        findings.equal(&format!("{name}: status"), answer.status, *status);
        let arrived =
            upstream.requests().pop().filter(|last| last.head.contains(&format!(" /open/{number} ")));
        findings.equal(&format!("{name}: reached Console"), arrived.is_some(), *status == 200);
        let says = arrived.is_some_and(|request| request.head.contains(SAID));
        findings.check(says == *passes, || format!("`{name}`: the client's value reached Console: {says}"));
    }
    findings.conclude(1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_is_dropped_because_connection_names_it() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let gate =
        world.gate(&Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), ..Setup::V2 }).await;
    for named in [
        "Cookie",
        "Authorization",
        "X-Request-Id",
        "X-Console-Gate-Assertion",
        "Host",
        "X-Forwarded-For",
        "close, Cookie",
        "keep-alive,Cookie",
    ] {
        let answer = gate.send(&Ask::get("/open/x").header("connection", named)).await;
        assert_eq!(answer.status, 400, "Connection: {named}");
    }
    assert_eq!(upstream.requests().len(), 0);
    assert_eq!(gate.send(&Ask::get("/open/x").header("connection", "keep-alive")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_addresses_that_a_client_names_only_trusted_hops_count() {
    /// Trusted hops, the X-Forwarded-For fields, what Console receives, what the audit row keeps.
    ///
    /// The gate listens on a Unix socket, so without a hop to believe there is no address at all.
    type Row = (usize, &'static [&'static str], Option<&'static str>, Option<&'static str>);
    const TABLE: [Row; 17] = [
        (0, &[], None, None),
        (0, &["203.0.113.9"], None, None),
        (0, &["6.6.6.6, 203.0.113.9"], None, None),
        (1, &[], None, None),
        (1, &["203.0.113.9"], Some("203.0.113.9"), Some("203.0.113.0/24")),
        (1, &["6.6.6.6, 203.0.113.9"], Some("203.0.113.9"), Some("203.0.113.0/24")),
        (1, &["6.6.6.6", "7.7.7.7,203.0.113.9"], Some("203.0.113.9"), Some("203.0.113.0/24")),
        (1, &["2001:db8:1:2::3"], Some("2001:db8:1:2::3"), Some("2001:db8:1::/48")),
        (1, &["6.6.6.6, unknown"], None, None),
        (1, &["6.6.6.6, 203.0.113.9:4711"], Some("203.0.113.9"), Some("203.0.113.0/24")),
        (1, &["[2001:db8:1:2::3]:80"], Some("2001:db8:1:2::3"), Some("2001:db8:1::/48")),
        (1, &["6.6.6.6, 203.0.113.9:443x"], None, None),
        (2, &["203.0.113.9"], None, None),
        (2, &["203.0.113.9, 198.51.100.7"], Some("203.0.113.9"), Some("203.0.113.0/24")),
        (2, &["6.6.6.6, 203.0.113.9, 198.51.100.7"], Some("203.0.113.9"), Some("203.0.113.0/24")),
        (2, &["6.6.6.6", "203.0.113.9", "198.51.100.7"], Some("203.0.113.9"), Some("203.0.113.0/24")),
        (2, &["6.6.6.6, <script>, 198.51.100.7"], None, None),
    ];
    let world = World::new(Database::Sqlite).await;
    world.admin("someone", &["antlers-user"], &[]).await;
    world.admin_holding("auditor", &["console-audit-user"]).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let mut findings = Findings::default();
    for (hops, forwarded) in [(0, "trusted_hops = 0\n"), (1, "trusted_hops = 1\n"), (2, "trusted_hops = 2\n")]
    {
        let setup =
            Setup { mapping: Some(MAPPING), upstream: Some(upstream.socket()), forwarded, ..Setup::V2 };
        let gate = world.gate(&setup).await;
        for (_, fields, address, kept) in TABLE.iter().filter(|row| row.0 == hops) {
            let name = format!("{hops} hops, {fields:?}");
            let ask = |admin| {
                let ask = Ask::get("/inside").cookie(&world.cookie(admin));
                fields.iter().fold(ask, |ask, field| ask.header("x-forwarded-for", *field))
            };
            findings.equal(&format!("{name}: let in"), gate.send(&ask("auditor")).await.status, 200);
            let arrived = upstream.requests().pop().and_then(|request| request.header("x-forwarded-for"));
            findings.equal(&format!("{name}: sent to Console"), arrived.as_deref(), *address);
            let denied = gate.send(&ask("someone")).await;
            findings.equal(&format!("{name}: denied"), denied.status, 403);
            let rows = world.store.by_request(denied.request_id()).await.expect("the audit rows");
            let address = rows.first().map(|row| row.client_address.clone());
            findings.equal(&format!("{name}: audited"), address, Some(kept.map(str::to_owned)));
        }
    }
    findings.conclude(4 * TABLE.len());
}
