//! What `docs/rbac-api.md` shows is what the gate takes and answers.

use std::process::Command;

use serde_json::Value;

use super::{Api, direct};
use crate::support::scene::create_token;
use crate::support::{Ask, Database, project_text};

/// The blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let text = project_text("docs/rbac-api.md");
    let fence = format!("```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_run() {
    let api = Api::new(Database::Sqlite).await;
    api.world.store.add_group("night-shift", &[]).await.expect("a group");
    let token = create_token(&api.gate, "docs", &["--group", "raxx-platform-admins"]);
    let home = api.world.folder().to_owned();
    std::fs::write(home.join(".curlrc"), format!("unix-socket = \"{}\"\n", api.gate.socket().display()))
        .expect("curl's settings");
    let shells = blocks("sh");
    assert_eq!(shells.len(), 3);
    let mut printed = Vec::new();
    for block in shells {
        let id = direct("carol", "raxx-support-team");
        let output = tokio::task::spawn_blocking({
            let (home, token) = (home.clone(), token.clone());
            move || {
                Command::new("sh")
                    .args(["-e", "-c", &block])
                    .env("HOME", &home)
                    .env("CURL_HOME", &home)
                    .env("TOKEN", token)
                    .env("GATE", "http://console.test")
                    .env("ID", id)
                    .output()
                    .expect("a shell")
            }
        });
        let output = output.await.expect("a task");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        printed.push(String::from_utf8(output.stdout).expect("text"));
    }
    let checked: Value = serde_json::from_str(&printed[0]).expect("JSON");
    assert_eq!(checked["allowed"], true, "{checked}");
    let granted: Value = serde_json::from_str(&printed[1]).expect("JSON, and nothing for the revocation");
    assert_eq!((&granted["user"], &granted["origin"]), (&"carol".into(), &"direct".into()), "{granted}");
    let edited: Value = serde_json::from_str(&printed[2]).expect("JSON");
    assert_eq!(edited["roles"], serde_json::json!(["console-user"]), "{edited}");
    let rows = api.world.store.grants_audit(Some("carol"), None, 10).await.expect("rows");
    let events: Vec<&str> = rows.iter().map(|row| row.event_type.as_str()).collect();
    assert_eq!(events, ["revoke", "grant"]);
}

/// The rows that the documentation and the shipped `routes.toml` show turn the API over.
#[tokio::test]
async fn the_rows_that_are_shown_turn_it_over() {
    let shown = blocks("toml").remove(0);
    let shipped = project_text("routes.toml");
    for row in shown.lines().filter(|line| line.starts_with('"')) {
        assert!(shipped.contains(&format!("\n# {row}\n")), "routes.toml does not show {row}");
    }
    let api = Api::new(Database::Sqlite).await;
    let file = api.world.folder().join("shown.toml");
    std::fs::write(&file, format!("version = 1\n{shown}")).expect("a file");
    let (code, said) = api.gate.attempt(&["check", "--deny", "error", &file.display().to_string()]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("gate-route") && !said.contains("closed-row"), "{said}");
    // The settings of these tests name a permission that nobody has made.
    assert!(said.contains("[unknown-api-permission]") && said.contains("rbac:grant:any"), "{said}");
    let (_, table) = api.gate.attempt(&["check", "-T", &file.display().to_string()]);
    assert!(table.contains("gate"), "{table}");
    let (_, said) = api.gate.attempt(&["explain", "GET", "/api/rbac/roles", "--as", "ben"]);
    assert!(said.contains("the gate itself serves it") && said.contains("allowed"), "{said}");
    let (_, said) = api.gate.attempt(&[
        "diff",
        &file.display().to_string(),
        &api.gate.mapping_file().display().to_string(),
    ]);
    assert!(!said.contains("Served by"), "{said}");
    let of_console = file.with_file_name("console.toml");
    let upstream = format!("version = 1\n{shown}").replace(", gate = true", "");
    std::fs::write(&of_console, upstream).expect("a file");
    let (_, said) =
        api.gate.attempt(&["diff", &of_console.display().to_string(), &file.display().to_string()]);
    assert!(said.contains("Served by") && said.contains("GET /api/rbac/me  Console -> the gate"), "{said}");
    assert_eq!(api.gate.send(&Ask::get("/api/rbac/me")).await.status, 401);
}
