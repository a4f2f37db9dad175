//! The machine's clock turned while the gate runs, by an hour and by a day, both ways: what has ended by true time never
//! lives again; what a wrong clock has ended does, once the clock was put right and has stayed so, without a restart.
//!
//! What no test's time is long enough for, hours and turns by the thousand, is in `crates/clock/src/steady/tests.rs`.
//!
//! libfaketime turns the clock for the gate alone. Monotonic time is left as it is: a clock that is set does not change
//! that either.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use policy::ids::{AdminId, SessionId};
use serde_json::json;

use crate::callers::{Caller, Outcome};
use crate::scene::{get, people, setup};
use crate::support::recorder::Recorder;
use crate::support::turned::Turned;
use crate::support::{Ask, Database, Gate, Setup, World};

/// A turn is taken up by the next look at the clock; this is for a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// What ends by time: a request that it lets in while it lasts, and the answer that follows.
struct Expiring {
    what: &'static str,
    ask: Ask,
    then: u16,
}

/// A request with a cookie of two days ago: a clock that is turned back by a day does not make that one of the future.
fn ask(world: &World, target: &str, admin: &str) -> Ask {
    let payload = json!({ "admin_id": admin, "session_id": format!("of-{admin}") });
    Ask::get(target).cookie(&world.sign(&payload, Utc::now() - TimeDelta::days(2)))
}

/// A session, a break-glass session and a membership that last for half an hour, and Cora, whose session has a month to go.
async fn half_an_hour(world: &World) -> Vec<Expiring> {
    let end = Utc::now() + TimeDelta::minutes(30);
    world.admin("sam", &["raxx-support-team"], &[]).await;
    // Who is in this group may have a session, and holds nothing of the group without one.
    world.admin("gwen", &["break-glass"], &[]).await;
    world.admin("cora", &["raxx-support-team"], &[]).await;
    add_session(world, "sam", end).await;
    world.admin("tim", &[], &[]).await;
    add_session(world, "gwen", end + TimeDelta::days(30)).await;
    add_session(world, "tim", end + TimeDelta::days(30)).await;
    add_session(world, "cora", end + TimeDelta::days(30)).await;
    world
        .execute(
            "INSERT INTO rbac_break_glass_sessions (id, user_id, justification, granted_by, expires_at_utc) \
             SELECT 'grant', 'gwen', 'tests', 'tests', expires_at_utc FROM admin_sessions WHERE id = 'of-sam'",
        )
        .await;
    world
        .execute(
            "INSERT INTO gate_grants
                    (id, admin_id, group_id, origin, reason, granted_by, granted_at_utc, starts_at_utc, ends_at_utc)
             SELECT 'timed', 'tim', CAST(g.id AS TEXT), 'timed', 'tests', 'tests', b.granted_at_utc, b.granted_at_utc,
                    b.expires_at_utc
               FROM rbac_groups g, rbac_break_glass_sessions b
              WHERE g.name = 'raxx-support-team' AND b.id = 'grant'",
        )
        .await;
    vec![
        Expiring { what: "a session", ask: ask(world, "/gated/x", "sam"), then: 302 },
        Expiring { what: "a break-glass session", ask: ask(world, "/glass", "gwen"), then: 403 },
        Expiring { what: "a membership until a time", ask: ask(world, "/gated/x", "tim"), then: 403 },
    ]
}

async fn add_session(world: &World, admin: &str, until: chrono::DateTime<Utc>) {
    let session = SessionId::new(format!("of-{admin}"));
    world.store.add_session(&session, &AdminId::new(admin), Some(until)).await.expect("a session");
}

async fn gate(world: &World, upstream: &Recorder, clock: &Turned, session: &'static str) -> Gate {
    gate_that_settles(world, upstream, clock, session, "").await
}

/// A gate that follows a clock back after so long.
async fn gate_that_settles(
    world: &World,
    upstream: &Recorder,
    clock: &Turned,
    session: &'static str,
    access: &'static str,
) -> Gate {
    let setup = Setup {
        session,
        access,
        variables: Some(clock.variables()),
        patience_ms: 30_000,
        ..setup(&upstream.socket())
    };
    world.gate(&setup).await
}

async fn until(gate: &Gate, what: &str, ask: &Ask, status: u16) {
    let started = Instant::now();
    loop {
        let answer = gate.send(ask).await;
        if answer.status == status {
            return;
        }
        assert!(started.elapsed() < LONG, "{what}: still {} and not {status}\n{}", answer.status, gate.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Holds for as long as ten answers take.
async fn stays(gate: &Gate, what: &str, ask: &Ask, status: u16) {
    for _ in 0..10 {
        assert_eq!(gate.send(ask).await.status, status, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_stays_expired_when_the_clock_is_turned_back() {
    let mut turns = 0;
    for (database, forward, back) in [
        (Database::Sqlite, "+1h", "+0"),
        (Database::Postgres, "+1d", "+0"),
        (Database::Postgres, "+1h", "-1h"),
        (Database::Sqlite, "+1d", "-1d"),
    ] {
        let world = World::new(database).await;
        people(&world).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let clock = Turned::new(world.folder());
        let expiring = half_an_hour(&world).await;
        let settings = "session_id_key = \"session_id\"\n";
        let gate = gate(&world, &upstream, &clock, settings).await;
        for Expiring { what, ask, .. } in &expiring {
            stays(&gate, &format!("{what} before its end"), ask, 200).await;
        }
        clock.turn(forward);
        for Expiring { what, ask, then } in &expiring {
            until(&gate, &format!("{what}, {forward}"), ask, *then).await;
        }
        clock.turn(back);
        // Some change, so that what the gate remembers of them counts for nothing.
        world.admin("somebody", &[], &[]).await;
        for Expiring { what, ask, then } in &expiring {
            stays(&gate, &format!("{what} lives again: {forward}, then {back}"), ask, *then).await;
        }
        stays(&gate, "a session with time left", &ask(&world, "/gated/x", "cora"), 200).await;
        turns += expiring.len();
    }
    println!("fault: clock turned forward and back by an hour and a day: {turns} expired, 0 lived again");
}

/// A clock that went ahead and was put right: everybody who is still entitled is let in again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_wrong_clock_has_ended_lives_again_once_it_is_put_right() {
    let mut healed = 0;
    for (database, forward) in [(Database::Sqlite, "+1d"), (Database::Postgres, "+1h")] {
        let world = World::new(database).await;
        people(&world).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let clock = Turned::new(world.folder());
        let expiring = half_an_hour(&world).await;
        let settings = "session_id_key = \"session_id\"\n";
        let gate = gate_that_settles(&world, &upstream, &clock, settings, "clock_settle_ms = 1000\n").await;
        clock.turn(forward);
        for Expiring { what, ask, then } in &expiring {
            until(&gate, &format!("{what}, {forward}"), ask, *then).await;
        }
        clock.turn("+0");
        for Expiring { what, ask, .. } in &expiring {
            until(&gate, &format!("{what} after {forward} and back"), ask, 200).await;
        }
        healed += expiring.len();
    }
    println!("fault: a clock an hour and a day ahead put right: {healed} lived again without a restart");
}

/// However often the clock is turned, and however long it stays turned back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_ended_by_true_time_never_lives_again() {
    let world = World::new(Database::Sqlite).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let clock = Turned::new(world.folder());
    let settings = "session_id_key = \"session_id\"\n";
    let gate = gate_that_settles(&world, &upstream, &clock, settings, "clock_settle_ms = 1000\n").await;
    let half_an_hour = half_an_hour(&world).await;
    add_session(&world, "anna", Utc::now() + TimeDelta::seconds(3)).await;
    let [over, month] = ["anna", "cora"].map(|admin| ask(&world, "/gated/x", admin));
    until(&gate, "a session with seconds left", &over, 302).await;
    for (forward, back) in [("+1h", "-1h"), ("+1d", "-1d"), ("+1h", "-1d")] {
        clock.turn(forward);
        for Expiring { what, ask, then } in &half_an_hour {
            until(&gate, &format!("{what}, {forward}"), ask, *then).await;
        }
        clock.turn(back);
        // The clock is followed back to the true time, as these show, and not beyond it.
        for Expiring { what, ask, .. } in &half_an_hour {
            until(&gate, &format!("{what}, {forward}, then {back}"), ask, 200).await;
        }
        stays(&gate, &format!("an ended session lives again: {forward}, then {back}"), &over, 302).await;
        stays(&gate, "a session with a month left", &month, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_that_is_too_old_stays_so() {
    for (forward, back) in [("+1h", "+0"), ("+1d", "-1d")] {
        let world = World::new(Database::Sqlite).await;
        people(&world).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let clock = Turned::new(world.folder());
        // Two days, as old as the cookie is, and half an hour.
        let gate = gate(&world, &upstream, &clock, "max_age_seconds = 174600\n").await;
        let ask = ask(&world, "/gated/x", "anna");
        stays(&gate, "a fresh cookie", &ask, 200).await;
        clock.turn(forward);
        until(&gate, "an old cookie", &ask, 302).await;
        clock.turn(back);
        stays(&gate, "an old cookie, with the clock turned back", &ask, 302).await;
    }
}

/// The clock goes back before anything has expired: what had seconds left has not been given an hour or a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_turned_back_lengthens_nothing() {
    for back in ["-1h", "-1d"] {
        let world = World::new(Database::Sqlite).await;
        people(&world).await;
        let upstream = Recorder::start(world.folder(), "upstream.sock");
        let clock = Turned::new(world.folder());
        let gate = gate(&world, &upstream, &clock, "session_id_key = \"session_id\"\n").await;
        half_an_hour(&world).await;
        add_session(&world, "bob", Utc::now() - TimeDelta::minutes(1)).await;
        add_session(&world, "anna", Utc::now() + TimeDelta::seconds(3)).await;
        let [over, ending, long] = ["bob", "anna", "cora"].map(|admin| ask(&world, "/gated/x", admin));
        stays(&gate, "a session that is over", &over, 302).await;
        clock.turn(back);
        world.admin("somebody", &[], &[]).await;
        stays(&gate, "a session that is over lives again", &over, 302).await;
        until(&gate, "a session with seconds left", &ending, 302).await;
        stays(&gate, "a session with a month left", &long, 200).await;
    }
}

/// Time limits run on monotonic time: a turned clock neither closes connections nor gives them more time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_time_limits_do_not_see_the_clock() {
    let world = World::new(Database::Sqlite).await;
    people(&world).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    let clock = Turned::new(world.folder());
    let setup = Setup {
        variables: Some(clock.variables()),
        upstream_settings: "read_timeout_ms = 500\n",
        ..setup(&upstream.socket())
    };
    let gate = world.gate(&setup).await;
    let mut caller = Caller::to(&gate.socket());
    for turn in ["+0", "+1h", "+1d", "-1h", "-1d"] {
        clock.turn(turn);
        let answer = caller.ask(&get("/open/x", None)).await;
        assert!(matches!(answer, Outcome::Answered { status: 200, .. }), "{turn}: {answer:?}");
        assert!(caller.is_connected(), "{turn}: the connection was closed");
        let started = Instant::now();
        assert_eq!(gate.send(&Ask::get("/never")).await.status, 504, "{turn}");
        assert!(started.elapsed() >= Duration::from_millis(500), "{turn}: {:?}", started.elapsed());
        assert!(started.elapsed() < LONG, "{turn}: {:?}", started.elapsed());
    }
}
