//! Console's servers, and those beside it: whether they answer, whether they let in a caller that bypasses the gate,
//! and their clocks.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{CONTENT_TYPE, DATE, SERVER};

use super::report::Report;
use crate::outbound::{Outbound, Reply, Request, Url};
use crate::ruling::troubles::AssertionRefused;
use crate::settings::{Address, Settings};

const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// The middleware's leeway is 5 s.
const MOST_SKEW_SECONDS: i64 = 3;
/// No app has this path, and no setting exempts it.
const NOWHERE: &str = "/console-gate-doctor";

pub(super) async fn examine(settings: &Settings, report: &mut Report) {
    const SUBJECT: &str = "console";
    let outbound = match Outbound::new(Vec::new(), PATIENCE, MOST_BYTES) {
        Ok(outbound) => outbound,
        Err(error) => return report.fail(SUBJECT, error.to_string(), "correct this machine's TLS"),
    };
    let upstreams = std::iter::once(&settings.upstream).chain(settings.upstreams.values());
    let servers =
        upstreams.flat_map(|upstream| upstream.servers.iter().map(move |address| (upstream, address)));
    for (upstream, address) in servers {
        let url = match url_of(address) {
            Ok(url) => url,
            Err(error) => {
                report.fail(SUBJECT, error.to_string(), "correct `servers` in [upstream]");
                continue;
            }
        };
        let path = &upstream.health_path;
        match outbound.send(&url.at(path), Request::Get, &[]).await {
            Err(error) => report.fail(
                SUBJECT,
                format!("{address}: {error}"),
                "start Console there, or correct `servers` in [upstream]",
            ),
            Ok(reply) => {
                answered(&format!("{address}{path}"), &reply, report);
                clock(&address.to_string(), &reply, report);
                around(&outbound, &url, &address.to_string(), report).await;
            }
        }
    }
}

fn url_of(address: &Address) -> Result<Url, crate::outbound::OutboundError> {
    match address {
        Address::Tcp(name) => Url::parse(&format!("http://{name}/")),
        Address::Unix(path) => Url::parse(&format!("unix:{}", path.display())),
    }
}

fn answered(place: &str, reply: &Reply, report: &mut Report) {
    let server = reply.fields.get(SERVER).and_then(|server| server.to_str().ok()).unwrap_or("unnamed server");
    let found = format!("{place}: {} from {server}", reply.status);
    match reply.status {
        200..=299 => report.good("console", found),
        ..500 => report.fail(
            "console",
            format!("{found}, and only a 2xx is healthy"),
            "set `health_path` in [upstream] to a path that Console answers 200 without a session, and exempt it in its \
             middleware",
        ),
        _ => report.fail("console", found, "look into Console's own log"),
    }
}

fn clock(place: &str, reply: &Reply, report: &mut Report) {
    let date = reply.fields.get(DATE).and_then(|date| date.to_str().ok());
    let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) else {
        return report.skip("clocks", format!("{place} names no time"));
    };
    compare_clock(place, date.with_timezone(&Utc), report);
}

fn compare_clock(place: &str, its_time: DateTime<Utc>, report: &mut Report) {
    let skew = (Utc::now() - its_time).num_seconds();
    match skew.abs() {
        0..=MOST_SKEW_SECONDS => report.good("clocks", format!("{place} is within {MOST_SKEW_SECONDS} s")),
        _ => report.fail(
            "clocks",
            format!(
                "{place} is {} s {} this machine, and refuses the gate's assertions",
                skew.abs(),
                if skew > 0 { "behind" } else { "ahead of" }
            ),
            "synchronize the clocks of both machines (NTP)",
        ),
    }
}

/// The gate did not decide a request that reaches Console without it.
async fn around(outbound: &Outbound, url: &Url, place: &str, report: &mut Report) {
    const SUBJECT: &str = "middleware";
    match outbound.send(&url.at(NOWHERE), Request::Get, &[]).await {
        Ok(reply) if reply.status == 403 && is_problem(&reply) => {
            report.good(SUBJECT, format!("{place} refuses requests that did not come through the gate"));
            // Another server between the two may have a different clock from the one that verifies assertions.
            let refused = reply.fields.get(AssertionRefused::HEADER);
            if let Some(at) = refused.and_then(|value| AssertionRefused::parse(value.as_bytes()).at) {
                compare_clock(&format!("{place}, its middleware,"), at, report);
            }
        }
        Ok(_) if place.starts_with("unix:") => {
            report.good(SUBJECT, format!("{place} is a socket, which only users of this machine reach"));
        }
        Ok(reply) => report.warn(
            SUBJECT,
            format!("{place} answers {} to a request that did not come through the gate", reply.status),
            "install the middleware (deploy/flask/README.md), or make sure that nobody but the gate reaches that address",
        ),
        Err(error) => report.skip(SUBJECT, format!("{place}: {error}")),
    }
}

fn is_problem(reply: &Reply) -> bool {
    reply
        .fields
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"))
}
