//! Sessions: how they begin, slide, rotate and end.

use std::time::Duration;

use super::*;

/// From the invitation to Console's page. Console learns who it is by the assertion and never gets the gate's cookie.
#[tokio::test(flavor = "multi_thread")]
async fn an_invited_person_registers_and_logs_in() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = Browser::new();
        let page = anna.get(&scene.gate, "/home").await;
        assert_eq!((page.status, page.header("location")), (302, "/auth/login?next=/home"));
        let login = anna.get(&scene.gate, "/auth/login?next=/home").await;
        assert_eq!((login.status, login.header("cache-control")), (200, "no-store"));
        assert!(String::from_utf8_lossy(&login.body).contains("data-next=\"/home\""));

        let code = scene.gate.run(&["passkey", "invite", "anna"]);
        let form = Ask::new("POST", "/auth/enrol")
            .header("origin", ORIGIN)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("code={}", code.trim().to_lowercase()));
        let redeemed = anna.send(&scene.gate, form).await;
        assert_eq!((redeemed.status, redeemed.header("location")), (303, "/auth/enrol"));
        let enrol = anna.get(&scene.gate, "/auth/enrol").await;
        assert!(String::from_utf8_lossy(&enrol.body).contains("<bdi>anna</bdi>"));
        // What an invitation opens is the registration, and nothing else.
        assert_is_nobody(&scene.gate, anna.token()).await;
        for (method, path) in [("GET", "/sessions"), ("GET", "/passkeys"), ("DELETE", "/sessions?which=all")]
        {
            assert_eq!(
                anna.ask(&scene.gate, method, path, &Value::Null).await.status,
                401,
                "{method} {path}"
            );
        }
        let for_enrolling = anna.token().to_owned();
        assert_eq!(anna.register(&scene.gate, "laptop").await.status, 201);
        assert_eq!(anna.register(&scene.gate, "another").await.status, 401, "the invitation is used up");
        assert_is_nobody(&scene.gate, &for_enrolling).await;

        let asked = anna.challenge(&scene.gate, "login").await;
        let mut answer = anna.signed(&asked);
        answer["next"] = json!("/platform");
        let login = anna.post(&scene.gate, "/passkey/login", &answer).await;
        assert_eq!(login.json(), json!({ "next": "/platform" }), "{}", text(&login));
        let cookie = login.header("set-cookie");
        assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
        let page = anna.get(&scene.gate, "/platform").await;
        assert_eq!(page.status, 200, "{}", text(&page));
        let seen = scene.upstream.requests().pop().expect("a request");
        assert_eq!(seen.header("cookie"), None, "Console gets no cookie of the gate's");
        let claims = seen.claims();
        assert_eq!((&claims["sub"], &claims["kind"]), (&json!("anna"), &json!("admin")));
        assert_eq!(claims["amr"], json!(["hwk", "user"]), "{claims}");
        assert!(claims["auth_time"].is_number(), "{claims}");

        let old = anna.token().to_owned();
        let logout = Ask::new("POST", "/auth/logout").header("origin", ORIGIN);
        let out = anna.send(&scene.gate, logout).await;
        assert_eq!((out.status, out.header("location")), (303, "/auth/login"));
        assert_eq!(anna.cookie(SESSION), None);
        assert_is_nobody(&scene.gate, &old).await;
    }
}

/// An end is effective on every gate when it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_reaches_another_gate_before_it_is_answered() {
    let scene = Scene::new(Database::Postgres).await;
    let other = scene.another_gate().await;
    let mut anna = scene.enrolled("anna").await;
    for _ in 0..8 {
        assert_eq!(anna.log_in(&scene.gate).await.status, 200);
        let token = anna.token().to_owned();
        let ask = Ask::get("/api/home").header("cookie", format!("{SESSION}={token}"));
        assert_eq!(other.send(&ask).await.status, 200);
        let ended = anna.ask(&scene.gate, "DELETE", "/sessions?which=all", &Value::Null).await;
        assert_eq!(ended.status, 204, "{}", text(&ended));
        assert_eq!(other.send(&ask).await.status, 401);
    }
}

/// An operator sees and ends the sessions of another person, and a passkey that is revoked takes its sessions along.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_sessions() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.logged_in("anna").await;
        let listed: Value =
            serde_json::from_str(&scene.gate.run(&["session", "list", "anna", "--format", "json"]))
                .expect("JSON");
        let id = listed[0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
        assert!(
            scene.gate.run(&["session", "end", "ben", "--id", &id]).contains("no such session"),
            "it is Anna's"
        );
        assert_eq!(anna.get(&scene.gate, "/home").await.status, 200);
        assert!(scene.gate.run(&["session", "end", "anna"]).contains("1 session ended"));
        assert_is_nobody(&scene.gate, anna.token()).await;
        anna.cookies.clear();
        assert_eq!(anna.log_in(&scene.gate).await.status, 200);
        let passkeys: Value =
            serde_json::from_str(&scene.gate.run(&["passkey", "list", "--of", "anna", "--format", "json"]))
                .expect("JSON");
        scene.gate.run(&["passkey", "revoke", passkeys[0]["id"].as_str().expect("an id")]);
        assert_is_nobody(&scene.gate, anna.token()).await;
        let steps: Vec<String> = scene
            .world
            .store
            .recent(200)
            .await
            .expect("the audit")
            .iter()
            .filter(|event| event.event_type == "identity")
            .map(|event| event.detail.as_ref().map(|text| text.0.to_string()).unwrap_or_default())
            .collect();
        for step in ["minted", "ended_by", "registered"] {
            assert!(
                steps.iter().any(|text| text.contains(&format!("\"step\":\"{step}\""))),
                "{step}: {steps:?}"
            );
        }
    }
}

/// Idle and absolute ends, and what use does to them, by a clock that is turned.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_idle_and_at_its_end() {
    for database in BOTH {
        let scene = Scene::with(database, "idle_minutes = 10\nabsolute_minutes = 30\n").await;
        let mut anna = scene.logged_in("anna").await;
        let token = anna.token().to_owned();
        // Used each eight minutes, it lasts to its absolute end.
        for minutes in [8, 16, 24] {
            scene.clock.turn(&format!("+{minutes}m"));
            assert_eq!(anna.get(&scene.gate, "/home").await.status, 200, "after {minutes} minutes");
            wait_for_slide(&scene, minutes).await;
        }
        scene.clock.turn("+29m");
        assert_eq!(anna.get(&scene.gate, "/home").await.status, 200, "after 29 minutes");
        scene.clock.turn("+30m");
        assert_is_nobody(&scene.gate, &token).await;
        // Unused, it ends after ten.
        assert_eq!(anna.log_in(&scene.gate).await.status, 200);
        scene.clock.turn("+39m");
        assert_eq!(anna.get(&scene.gate, "/home").await.status, 200);
        wait_for_slide(&scene, 39).await;
        scene.clock.turn("+50m");
        assert_is_nobody(&scene.gate, anna.token()).await;
        // A session that is over is not revived by being used.
        scene.clock.turn("+51m");
        assert_is_nobody(&scene.gate, anna.token()).await;
    }
}

/// Waits until a use at so many minutes is in the table.
async fn wait_for_slide(scene: &Scene, minutes: i64) {
    for _ in 0..200 {
        let now = chrono::Utc::now();
        let sessions = scene.world.store.sessions_of("anna", now).await.expect("the sessions");
        let since = sessions.first().map(|session| session.last_used_at - now).unwrap_or_default();
        if since > chrono::TimeDelta::minutes(minutes - 1) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no slide at {minutes} minutes");
}

/// Neither a login nor a slide makes gates forget what they know; an end does, of that session alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_raises_no_epoch() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.enrolled("anna").await;
        let epoch = async || scene.world.store.control().await.expect("the control row").epoch;
        let before = epoch().await;
        assert_eq!(anna.log_in(&scene.gate).await.status, 200);
        assert_eq!(epoch().await, before, "a login");
        scene.clock.turn("+2m");
        assert_eq!(anna.get(&scene.gate, "/home").await.status, 200);
        wait_for_slide(&scene, 2).await;
        assert_eq!(epoch().await, before, "a slide");
        assert_eq!(anna.ask(&scene.gate, "DELETE", "/sessions?which=all", &Value::Null).await.status, 204);
        assert!(epoch().await > before, "an end");
    }
}

/// A row may ask for a passkey that has signed a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_asks_for_a_fresh_passkey() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.logged_in("anna").await;
        assert_eq!(anna.get(&scene.gate, "/danger").await.status, 200, "the login was a moment ago");
        scene.clock.turn("+16m");
        let stale = anna.get(&scene.gate, "/danger?x=1").await;
        assert_eq!((stale.status, stale.header("location")), (302, "/auth/step-up?next=/danger%3Fx%3D1"));
        let stale = anna.send(&scene.gate, Ask::get("/danger").header("accept", "application/json")).await;
        let challenge = "Bearer error=\"insufficient_user_authentication\", max_age=\"900\"";
        assert_eq!((stale.status, stale.header("www-authenticate")), (401, challenge));
        assert_eq!(anna.get(&scene.gate, "/home").await.status, 200, "other rows ask for none");
        let page = anna.get(&scene.gate, "/auth/step-up?next=/danger").await;
        assert!(String::from_utf8_lossy(&page.body).contains("data-next=\"/danger\""));
        let old = anna.token().to_owned();
        let fresh = anna.step_up(&scene.gate).await;
        assert_eq!(fresh.status, 200, "{}", text(&fresh));
        assert_ne!(anna.token(), old);
        assert_is_nobody(&scene.gate, &old).await;
        assert_eq!(anna.get(&scene.gate, "/danger").await.status, 200);
        assert_eq!(scene.live("anna").await, 1, "it is the same session");
    }
}

/// One's own sessions and passkeys, and never those of others.
#[tokio::test(flavor = "multi_thread")]
async fn people_manage_their_own_and_no_others() {
    for database in BOTH {
        let scene = Scene::with(database, "sessions_per_admin = 3\n").await;
        let mut anna = scene.logged_in("anna").await;
        let mut ben = scene.logged_in("ben").await;
        let list = anna.ask(&scene.gate, "GET", "/sessions", &Value::Null).await.json();
        let id = list["sessions"][0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(list["sessions"][0]["is_current"], json!(true), "{list}");
        for (method, path, status) in [
            ("DELETE", format!("/sessions/{id}"), 404),
            ("DELETE", "/sessions/x".to_owned(), 404),
            ("DELETE", "/sessions".to_owned(), 400),
        ] {
            assert_eq!(
                ben.ask(&scene.gate, method, &path, &Value::Null).await.status,
                status,
                "{method} {path}"
            );
        }
        let passkeys = anna.ask(&scene.gate, "GET", "/passkeys", &Value::Null).await.json();
        let passkey = passkeys["passkeys"][0]["id"].as_str().expect("an id").to_owned();
        assert!(passkeys["passkeys"][0].get("credential").is_none(), "{passkeys}");
        let path = format!("/passkeys/{passkey}");
        assert_eq!(ben.ask(&scene.gate, "DELETE", &path, &Value::Null).await.status, 404);
        assert_eq!(ben.ask(&scene.gate, "PATCH", &path, &json!({ "label": "x" })).await.status, 404);
        assert_eq!(anna.ask(&scene.gate, "PATCH", &path, &json!({ "label": "desk" })).await.status, 204);
        assert_eq!(anna.ask(&scene.gate, "DELETE", &path, &Value::Null).await.status, 409, "the last one");
        // A second passkey takes one that has signed a moment ago.
        scene.clock.turn("+6m");
        let mut second = Browser::new();
        second.keep(SESSION, anna.token());
        assert_eq!(second.register(&scene.gate, "phone").await.status, 401);
        assert_eq!(anna.step_up(&scene.gate).await.status, 200);
        second.keep(SESSION, anna.token());
        assert_eq!(second.register(&scene.gate, "phone").await.status, 201);
        assert_eq!(anna.ask(&scene.gate, "DELETE", &path, &Value::Null).await.status, 204);
        assert_eq!(anna.log_in(&scene.gate).await.status, 401, "a passkey that was removed");
        // Of more sessions than three, those that were used longest ago end.
        let mut tokens = Vec::new();
        for minutes in 7..11 {
            scene.clock.turn(&format!("+{minutes}m"));
            second.cookies.retain(|(name, _)| name != SESSION);
            assert_eq!(second.log_in(&scene.gate).await.status, 200);
            tokens.push(second.token().to_owned());
        }
        assert_is_nobody(&scene.gate, &tokens[0]).await;
        assert_eq!(scene.live("anna").await, 3);
        assert_eq!(
            second.ask(&scene.gate, "DELETE", "/sessions?which=others", &Value::Null).await.status,
            204
        );
        assert_eq!(scene.live("anna").await, 1);
        assert_eq!(second.get(&scene.gate, "/home").await.status, 200);
        assert_eq!(ben.get(&scene.gate, "/home").await.status, 200, "Ben's are not Anna's");
    }
}
