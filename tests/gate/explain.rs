//! `console-gate explain`: the row, the gate in force and why, and each caller's outcome, on the documents' own table.

use policy::rbac::LegacyRole;

use crate::support::{Database, Gate, Setup, World};

/// The documents' table: S1 is on V2, the rest on the legacy roles.
async fn scene(world: &World, setup: Setup) -> Gate {
    world.admin("sue", &["raxx-support-team"], &[]).await;
    world.admin("pat", &["raxx-platform-admins"], &[]).await;
    world.admin("olaf", &[], &[LegacyRole::literal("ops")]).await;
    world.gate(&setup).await
}

fn explain(gate: &Gate, arguments: &[&str]) -> (i32, String) {
    gate.attempt(&[&["explain"], arguments].concat())
}

/// The flag as the gate of the tests has it in its environment; the command is run beside it and has it not.
async fn with_flag_in_database(world: &World, gate: &Gate) {
    gate.run(&["flag", "rbac-v2", "on"]);
    assert_eq!(world.store.control().await.expect("the switches").rbac_v2, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_explained_with_the_way_to_it() {
    let world = World::new(Database::Sqlite).await;
    let gate = scene(&world, Setup::V2).await;
    with_flag_in_database(&world, &gate).await;

    let (code, text) = explain(&gate, &["GET", "/console/waitlist", "--as", "pat"]);
    assert_eq!(code, 0, "{text}");
    let expected = "\
cluster    S1, v2
gate       v2
";
    assert!(text.starts_with("row        GET /console/waitlist\n"), "{text}");
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("v2         role console-manager\n"), "{text}");
    let way = "through    pat -> raxx-platform-admins -> console-manager\n";
    assert!(text.contains(&format!("answer     allowed (by the v2 gate)\n{way}")), "{text}");

    let (code, text) = explain(&gate, &["GET", "/console/waitlist", "--as", "sue"]);
    assert_eq!(code, 1, "{text}");
    let expected = "\
admin      sue
legacy     none
groups     raxx-support-team
answer     denied: missing_role (by the v2 gate)
missing    role console-manager
enough     membership in ";
    assert!(text.contains(expected), "{text}");
    // What would be enough is enough: the group's member gets through.
    let group = text.lines().find_map(|line| line.strip_prefix("enough     membership in "));
    let group = group.and_then(|line| line.split(' ').next()).expect("a group");
    world.admin("new", &[group], &[]).await;
    assert_eq!(explain(&gate, &["GET", "/console/waitlist", "--as", "new"]).0, 0);
}

/// It says what the gate does, for each admin and each of some routes.
#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_the_gate_does() {
    use crate::support::Ask;
    let world = World::new(Database::Sqlite).await;
    for setup in [Setup::V2, Setup::LEGACY] {
        let world = if setup.clusters == "v2" { &world } else { &World::new(Database::Sqlite).await };
        let gate = scene(world, setup).await;
        with_flag_in_database(world, &gate).await;
        for admin in ["sue", "pat", "olaf"] {
            for path in ["/console/waitlist", "/console/status", "/console/flags/", "/nowhere"] {
                let status = gate.send(&Ask::get(path).cookie(&world.cookie(admin))).await.status;
                let (code, text) = explain(&gate, &["GET", path, "--as", admin]);
                assert_eq!(code == 0, status != 403, "{admin} {path}: {status}\n{text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_answer_says_why() {
    let world = World::new(Database::Sqlite).await;
    let gate = scene(&world, Setup::V2).await;
    let explained = |arguments: &[&str]| explain(&gate, arguments);
    gate.run(&["token", "create", "robot", "--group", "raxx-platform-admins"]);
    let robot = gate.run(&["token", "list"]);
    let robot = robot.split_whitespace().find(|word| uuid::Uuid::try_parse(word).is_ok()).expect("an id");
    // The flag is in no environment here and not in the database.
    assert!(explained(&["GET", "/console/waitlist"]).1.contains("gate       legacy: FLAG_RBAC_V2 is off\n"));
    with_flag_in_database(&world, &gate).await;
    let table: [(&[&str], i32, &str); 10] = [
        (&["GET", "/nowhere"], 0, "row        none: denied, and audited as unmapped_route"),
        (&["GET", "/nowhere", "--as", "sue"], 1, "answer     denied: unmapped_route"),
        (&["DELETE", "/console/waitlist"], 0, "method     the path has rows only for "),
        (&["GET", "/console/waitlist", "--as", "nobody"], 1, "no admin has this id: redirected to log in"),
        (&["GET", "/console/../etc"], 1, "refused    the firewall answers 400: "),
        (
            &["POST", "/console/customers/1/2/revoke"],
            0,
            "gate       legacy: the row is undecided (AMBIGUOUS-3)",
        ),
        (&["GET", "console"], 1, "refused    "),
        (&["GET", "/console/waitlist", "--as", "su"], 1, "did you mean sue?"),
        (
            &["GET", "/console/waitlist", "--unauthenticated"],
            1,
            "caller     not logged in\nanswer     redirected",
        ),
        (&["GET", "/console/waitlist", "--machine", robot], 1, "answer     redirected to log in"),
    ];
    let (code, text) = gate.complaint(&["explain", "GET", "/console/waitlist", "--machine", "none"]);
    assert!(code == 2 && text.contains("no machine token has the id `none`"), "{code} {text}");
    for (arguments, code, expected) in table {
        let (found, text) = explained(arguments);
        assert_eq!(found, code, "{arguments:?}\n{text}");
        assert!(text.contains(expected), "{arguments:?}\n{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}

/// A denied caller gets a command to hand on. An operator runs it, and it explains the outcome of the request.
#[tokio::test(flavor = "multi_thread")]
async fn the_denial_names_the_command_that_explains_it() {
    use crate::support::Ask;
    let world = World::new(Database::Sqlite).await;
    let gate = scene(&world, Setup::V2).await;
    with_flag_in_database(&world, &gate).await;
    let cookie = world.cookie("sue");
    let denied = gate.send(&Ask::get("/console/waitlist?x=y").cookie(&cookie)).await;
    assert_eq!(denied.status, 403);
    let line = denied.json()["explain"].as_str().expect("a command").to_owned();
    assert_eq!(line, "console-gate explain GET /console/waitlist --as sue");
    let words: Vec<&str> = line.split(' ').skip(2).collect();
    let (code, text) = explain(&gate, &words);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("answer     denied: missing_role"), "{text}");

    let page = async |path: &str| {
        let answer = gate.send(&Ask::get(path).header("accept", "text/html").cookie(&cookie)).await;
        assert_eq!(answer.status, 403, "{path}");
        String::from_utf8(answer.body.to_vec()).expect("a page")
    };
    let text = page("/console/waitlist?x=y").await;
    assert!(text.contains(&format!("<dd>{line}</dd>")), "{text}");
    // Nothing of what the command prints: no group, no other role.
    assert!(!text.contains("raxx-"), "{text}");
    let text = page("/nowhere").await;
    assert!(!text.contains("console-gate explain"), "{text}");
}
