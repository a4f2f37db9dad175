//! What attackers did to others: each test states the attack that an advisory describes, and fails without the guard.

use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::support::wire::Wire;

/// GHSA-hp74-gm6m-2qm5 (Pocket ID): any young login passed for a step-up. Here a session is young that no passkey has signed
/// in: its age is not the passkey's.
#[tokio::test(flavor = "multi_thread")]
async fn ghsa_hp74_gm6m_2qm5_a_young_session_is_no_step_up() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.logged_in("anna").await;
        scene.world.execute("UPDATE gate_sessions SET stepped_up_at_utc = NULL").await;
        let page = anna.get(&scene.gate, "/danger").await;
        assert_eq!(page.status, 302, "{}", text(&page));
        assert_eq!(anna.get(&scene.gate, "/home").await.status, 200);
    }
}

/// CVE-2026-43983 (Pocket ID): a refresh outlived disablement and lost groups. A session knows who it is of, and what that
/// person may is read for each answer.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_43983_a_session_does_not_outlive_its_admin() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.logged_in("anna").await;
        assert_eq!(anna.get(&scene.gate, "/platform").await.status, 200);
        scene.gate.run(&["group", "remove", "raxx-platform-admins", "anna"]);
        assert_eq!(anna.get(&scene.gate, "/platform").await.status, 403, "a group that was lost");
        scene.gate.run(&["admin", "disable", "anna"]);
        assert_is_nobody(&scene.gate, anna.token()).await;
        let account = anna.ask(&scene.gate, "GET", "/sessions", &Value::Null).await;
        assert_eq!(account.status, 401, "nor are her pages hers");
    }
}

/// CVE-2026-16103 (Keycloak): a lockout was looked at when a login began, and not when it ended.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_16103_who_is_disabled_meanwhile_does_not_get_in() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.enrolled("anna").await;
        let asked = anna.challenge(&scene.gate, "login").await;
        let answer = anna.signed(&asked);
        let code = scene.gate.run(&["passkey", "invite", "ben"]);
        for admin in ["anna", "ben"] {
            scene.gate.run(&["admin", "disable", admin]);
        }
        assert_eq!(anna.post(&scene.gate, "/passkey/login", &answer).await.status, 401);
        let redeemed =
            Browser::new().post(&scene.gate, "/invitations/redeem", &json!({ "code": code.trim() })).await;
        assert_eq!(redeemed.status, 401, "an invitation of one who was disabled since");
    }
}

/// CVE-2026-82466 (Rodauth): the account came from the session and not from the credential. Here Ben's browser, logged in as
/// Ben, answers with Anna's passkey: it is Anna's session then, and Ben's is over.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_82466_the_passkey_says_who_logs_in() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.enrolled("anna").await;
        let ben = scene.logged_in("ben").await;
        let of_ben = ben.token().to_owned();
        anna.keep(SESSION, &of_ben);
        assert_eq!(anna.log_in(&scene.gate).await.status, 200);
        assert_eq!(anna.get(&scene.gate, "/home").await.status, 200);
        let seen = scene.upstream.requests().pop().expect("a request");
        assert_eq!(seen.claims()["sub"], json!("anna"));
        assert_is_nobody(&scene.gate, &of_ben).await;
    }
}

/// The owner that an answer names has to be the credential's.
#[tokio::test(flavor = "multi_thread")]
async fn another_owners_handle_is_refused() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.enrolled("anna").await;
        let ben = scene.enrolled("ben").await;
        for handle in [ben.handle.clone(), json!("AAAAAAAAAAAAAAAAAAAAAA"), json!(""), Value::Null] {
            let own = std::mem::replace(&mut anna.handle, handle);
            assert_eq!(anna.log_in(&scene.gate).await.status, 401, "{}", anna.handle);
            anna.handle = own;
        }
        assert_eq!(anna.log_in(&scene.gate).await.status, 200);
    }
}

/// CVE-2026-28787 (OneUptime): the client chose the challenge. Here it is sealed, for one browser, five minutes, one login and
/// no other purpose.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_28787_a_challenge_is_the_gates_and_works_once() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.enrolled("anna").await;
        let mut asked = anna.challenge(&scene.gate, "login").await;
        asked["options"]["challenge"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let answer = anna.signed(&asked);
        assert_eq!(
            anna.post(&scene.gate, "/passkey/login", &answer).await.status,
            401,
            "a challenge of her own"
        );
        let asked = anna.challenge(&scene.gate, "login").await;
        let mut answer = anna.signed(&asked);
        let whole = answer["challenge"].as_str().expect("a text").to_owned();
        answer["challenge"] = json!(format!("A{}", &whole[1..]));
        assert_eq!(anna.post(&scene.gate, "/passkey/login", &answer).await.status, 401, "an altered seal");
        answer["challenge"] = json!(whole);
        let mut other = Browser::new();
        other.challenge(&scene.gate, "login").await;
        assert_eq!(other.post(&scene.gate, "/passkey/login", &answer).await.status, 401, "another browser");
        assert_eq!(anna.post(&scene.gate, "/passkey/login", &answer).await.status, 200);
        assert_eq!(anna.post(&scene.gate, "/passkey/login", &answer).await.status, 401, "a second time");
        assert_eq!(
            anna.get(&scene.gate, "/home").await.status,
            200,
            "and the passkey is not taken for a copy"
        );
        // Nor is a login's signature one of another purpose, or the other way round.
        let asked = anna.challenge(&scene.gate, "login").await;
        let answer = anna.signed(&asked);
        assert_eq!(
            anna.post(&scene.gate, "/passkey/step-up", &answer).await.status,
            401,
            "a login is no step-up"
        );
        let asked = anna.challenge(&scene.gate, "step_up").await;
        let answer = anna.signed(&asked);
        assert_eq!(
            anna.post(&scene.gate, "/passkey/login", &answer).await.status,
            401,
            "a step-up is no login"
        );
        let asked = anna.challenge(&scene.gate, "login").await;
        let answer = anna.signed(&asked);
        scene.clock.turn("+6m");
        assert_eq!(anna.post(&scene.gate, "/passkey/login", &answer).await.status, 401, "too late");
    }
}

/// CVE-2026-45337: any session could approve another's code. A step-up belongs to the session that asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_45337_a_step_up_is_of_one_session() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.logged_in("anna").await;
        let first = anna.token().to_owned();
        anna.cookies.retain(|(name, _)| name != SESSION);
        assert_eq!(anna.log_in(&scene.gate).await.status, 200);
        let asked = anna.challenge(&scene.gate, "step_up").await;
        let answer = anna.signed(&asked);
        let second = anna.token().to_owned();
        anna.keep(SESSION, &first);
        assert_eq!(
            anna.post(&scene.gate, "/passkey/step-up", &answer).await.status,
            401,
            "another session's"
        );
        anna.keep(SESSION, &second);
        assert_eq!(anna.post(&scene.gate, "/passkey/step-up", &answer).await.status, 401, "it is used up");
        assert_eq!(anna.step_up(&scene.gate).await.status, 200);
    }
}

/// CVE-2026-8830 and GHSA-h4fw-6r7f-w494: policies of a registration were the client's. The options that a client lowers are
/// not the ones that the gate checks with.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_8830_a_client_does_not_lower_what_is_asked() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let code = scene.gate.run(&["passkey", "invite", "anna"]);
        let mut anna = Browser::new();
        assert_eq!(
            anna.post(&scene.gate, "/invitations/redeem", &json!({ "code": code.trim() })).await.status,
            200
        );
        let ask = json!({ "purpose": "register", "label": "laptop" });
        let mut asked = anna.post(&scene.gate, "/passkey/challenge", &ask).await.json();
        let selection = &asked["options"]["authenticatorSelection"];
        assert_eq!(
            (&selection["residentKey"], &selection["userVerification"]),
            (&json!("required"), &json!("required"))
        );
        asked["options"]["authenticatorSelection"]["userVerification"] = json!("discouraged");
        let answer = anna.created(&asked);
        assert_eq!(anna.post(&scene.gate, "/passkeys", &answer).await.status, 401, "nobody was verified");
        // Nor where it signs.
        let mut ben = scene.logged_in("ben").await;
        for (purpose, path) in [("step_up", "/passkey/step-up"), ("login", "/passkey/login")] {
            let mut asked = ben.challenge(&scene.gate, purpose).await;
            asked["options"]["userVerification"] = json!("discouraged");
            let answer = ben.signed(&asked);
            assert_eq!(ben.post(&scene.gate, path, &answer).await.status, 401, "{purpose}");
        }
    }
}

/// CVE-2026-47841 (Spring): that the person has to be verified was lost where the ceremony's state went through a store. Here
/// both stored states are lowered by hand, and the gate's own check refuses all the same.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_47841_a_lowered_state_lets_no_one_in() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.logged_in("anna").await;
        lower(&scene, "gate_passkeys", "credential").await;
        let mut asked = anna.challenge(&scene.gate, "step_up").await;
        lower(&scene, "gate_webauthn_challenges", "state").await;
        asked["options"]["userVerification"] = json!("discouraged");
        let answer = anna.signed(&asked);
        assert_eq!(anna.post(&scene.gate, "/passkey/step-up", &answer).await.status, 401, "a signature");
        let ask = json!({ "purpose": "register", "label": "phone" });
        let mut asked = anna.post(&scene.gate, "/passkey/challenge", &ask).await.json();
        lower(&scene, "gate_webauthn_challenges", "state").await;
        asked["options"]["authenticatorSelection"]["userVerification"] = json!("discouraged");
        let answer = anna.created(&asked);
        assert_eq!(anna.post(&scene.gate, "/passkeys", &answer).await.status, 401, "a registration");
    }
}

/// Writes into what is stored that no person has to be verified.
async fn lower(scene: &Scene, table: &str, column: &str) {
    let statement =
        format!("UPDATE {table} SET {column} = replace({column}, '\"required\"', '\"discouraged\"')");
    scene.world.execute(&statement).await;
}

/// CVE-2026-7507 (fixation): a session that the attacker knows became the victim's. A token is made at the login alone, and the
/// one before is over.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_7507_a_login_does_not_keep_the_token_it_came_with() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.enrolled("anna").await;
        for planted in ["x", &"A".repeat(64), scene.logged_in("ben").await.token()] {
            anna.keep(SESSION, planted);
            assert_eq!(anna.log_in(&scene.gate).await.status, 200);
            assert_ne!(anna.token(), planted);
            assert_is_nobody(&scene.gate, planted).await;
        }
    }
}

/// CVE-2026-73431 and CVE-2026-4325: links and codes that work twice. An invitation works once, for its own person, for ten
/// minutes, and not after a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_73431_an_invitation_works_once() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let redeem = async |code: &str| {
            let redeemed =
                Browser::new().post(&scene.gate, "/invitations/redeem", &json!({ "code": code })).await;
            redeemed.status
        };
        let invite = || scene.gate.run(&["passkey", "invite", "anna"]).trim().to_owned();
        let first = invite();
        assert_eq!(redeem(&first).await, 200);
        assert_eq!(redeem(&first).await, 401, "a second time");
        let (older, newer) = (invite(), invite());
        assert_eq!(redeem(&older).await, 401, "a newer one was given");
        let codes = [newer.clone(), newer.clone(), newer.clone(), newer.clone()];
        let all = futures::future::join_all(codes.iter().map(|code| redeem(code))).await;
        assert_eq!(all.iter().filter(|status| **status == 200).count(), 1, "at once: {all:?}");
        let late = invite();
        scene.clock.turn("+11m");
        assert_eq!(redeem(&late).await, 401, "too late");
        assert_eq!(redeem("AAAA-BBBB-CCCC-DDDD-EEEE-FFFF").await, 401);
    }
}

/// CVE-2026-46419: a person without a credential, or a passkey without a person.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_46419_without_a_registered_passkey_there_is_no_login() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.enrolled("anna").await;
        let mut stranger = Browser::new();
        stranger.handle = anna.handle.clone();
        // A key of the stranger's own, made for a challenge that no gate gave.
        let asked = json!({ "challenge": "x", "options": { "challenge": "AAAA", "rp": { "id": "console.test", "name": "x" },
            "user": { "id": anna.handle, "name": "anna", "displayName": "anna" }, "timeout": 60_000,
            "pubKeyCredParams": [{ "type": "public-key", "alg": -7 }],
            "authenticatorSelection": { "userVerification": "required" } } });
        stranger.created(&asked);
        assert_eq!(stranger.log_in(&scene.gate).await.status, 401);
        scene.world.execute("DELETE FROM gate_passkeys").await;
        assert_eq!(anna.log_in(&scene.gate).await.status, 401);
    }
}

/// A copied passkey: its signature count goes back. It is revoked, and the sessions that began with it are over.
#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_whose_count_goes_back_is_revoked() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.logged_in("anna").await;
        let token = anna.token().to_owned();
        let raise = "UPDATE gate_passkeys SET counter = 1000, credential = replace(credential, '\"counter\":', '\"counter\":100')";
        scene.world.execute(raise).await;
        anna.cookies.retain(|(name, _)| name != SESSION);
        assert_eq!(anna.log_in(&scene.gate).await.status, 401);
        assert_is_nobody(&scene.gate, &token).await;
        assert_eq!(scene.live("anna").await, 0);
        let steps = scene.world.store.recent(100).await.expect("the audit");
        let is_noted = steps.iter().any(|event| {
            event.event_type == "passkey"
                && event.detail.as_ref().is_some_and(|text| text.to_string().contains("counter_went_back"))
        });
        assert!(is_noted, "its revocation is in the audit");
    }
}

/// CVE-2026-9162: a session's end left its WebSockets and event streams open. They close within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_9162_what_lasts_ends_with_its_session() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let mut anna = scene.logged_in("anna").await;
        let cookie = format!("Cookie: {SESSION}={}\r\n", anna.token());
        let mut socket = Wire::to(&scene.gate.socket()).await;
        let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket
            .write(format!("GET /socket HTTP/1.1\r\nHost: console.test\r\n{cookie}{handshake}").as_bytes())
            .await;
        assert!(socket.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 101"));
        socket.write(b"before;").await;
        socket.read_until("before;").await;
        // A stream of events that Console never ends, behind a gate of its own.
        let events = scene.world.folder().join("events.sock");
        let listener = tokio::net::UnixListener::bind(&events).expect("a socket");
        let serving = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(format!("{head}7\r\ndata: 1\r\n").as_bytes()).await.expect("the gate reads");
                open.push(stream);
            }
        });
        let other = setup(&scene.upstream, &scene.clock, "");
        let gate = scene.world.gate(&Setup { upstream: Some(events), ..other }).await;
        let mut stream = Wire::to(&gate.socket()).await;
        stream.write(format!("GET /events HTTP/1.1\r\nHost: console.test\r\n{cookie}\r\n").as_bytes()).await;
        stream.read_until("data: 1").await;

        assert_eq!(anna.ask(&scene.gate, "DELETE", "/sessions?which=all", &Value::Null).await.status, 204);
        assert_eq!(socket.rest().await, "", "the WebSocket closes");
        let rest = stream.rest().await;
        assert!(!rest.contains("0\r\n\r\n"), "a stream that is cut does not pass for a whole one: {rest}");
        serving.abort();
    }
}

/// A page of another site causes nothing, and a program has to say where it is.
#[tokio::test(flavor = "multi_thread")]
async fn other_sites_cause_nothing() {
    for database in BOTH {
        let scene = Scene::new(database).await;
        let anna = scene.logged_in("anna").await;
        let cookie = format!("{SESSION}={}", anna.token());
        for (method, target) in [
            ("POST", "/auth/logout"),
            ("POST", "/auth/account"),
            ("DELETE", "/api/v1/auth/sessions?which=all"),
        ] {
            for fields in [
                vec![],
                vec![("origin", "https://evil.example")],
                vec![("sec-fetch-site", "cross-site")],
                vec![("sec-fetch-site", "same-site"), ("origin", ORIGIN)],
                vec![("sec-fetch-site", "none")],
            ] {
                let ask = Ask::new(method, target).header("cookie", cookie.clone());
                let ask = fields.iter().fold(ask, |ask, (name, value)| ask.header(name, *value));
                assert_eq!(scene.gate.send(&ask).await.status, 400, "{method} {target} {fields:?}");
            }
        }
        assert_eq!(scene.live("anna").await, 1);
    }
}

/// An address that guesses is slowed down, and no live session is concerned: a stranger locks no one out.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_few_and_lock_no_one_out() {
    let scene = Scene::new(Database::Sqlite).await;
    let mut anna = scene.logged_in("anna").await;
    let mut statuses = Vec::new();
    for _ in 0..60 {
        let guess = json!({ "code": "AAAA-BBBB-CCCC-DDDD-EEEE-FFFF" });
        statuses.push(Browser::new().post(&scene.gate, "/invitations/redeem", &guess).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    assert_eq!(anna.get(&scene.gate, "/home").await.status, 200);
}

/// A row that identifies no caller serves the login and nothing else, and a row with a caller serves no login.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_for_everybody_leads_to_the_login_alone() {
    let world = World::new(Database::Sqlite).await;
    let upstream = Recorder::start(world.folder(), "upstream.sock");
    world.admin("anna", &["raxx-platform-admins"], &[]).await;
    let clock = Turned::new(world.folder());
    let mapping = "version = 1\n[blueprints.b.routes]\n\"* /api/rbac/*\" = { identity = true }\n\
                   \"* /console/rbac/*\" = { identity = true }\n\"* /auth/*\" = { identity = true }\n";
    let gate = world.gate(&Setup { mapping: Some(mapping), ..setup(&upstream, &clock, "") }).await;
    for target in
        ["/api/rbac/me", "/api/rbac/admins", "/api/rbac/openapi.json", "/console/rbac/people", "/auth/x"]
    {
        let ask = Ask::get(target).header("accept", "text/html");
        assert_eq!(gate.send(&ask).await.status, 404, "{target}");
    }
    assert!(upstream.requests().is_empty());
}
