//! From the tables of somebody else's Console to a gate that reads them: what `adopt --inspect` prints is pasted, and the
//! commands after it work.

use crate::support::Workbench;

const KIOSK: &str = "
    CREATE TABLE persons (id INTEGER PRIMARY KEY, email TEXT, is_active INTEGER, role TEXT);
    CREATE TABLE users (id INTEGER PRIMARY KEY, note TEXT);
    INSERT INTO persons VALUES (1, 'anna@example.org', 1, 'ops'), (2, 'ben@example.org', 0, 'support')";

fn kiosk() -> Workbench {
    let bench = Workbench::new();
    bench.sql("DROP TABLE admin_sessions; DROP TABLE admin_roles");
    bench.sql(KIOSK);
    std::fs::create_dir(bench.path("app")).unwrap();
    let models = "class Person(UserMixin, db.Model):\n    __tablename__ = 'persons'\n";
    std::fs::write(bench.path("app/models.py"), models).unwrap();
    bench.write("nothing.toml", "version = 1\n");
    bench
}

#[test]
fn what_is_proposed_can_be_pasted() {
    let bench = kiosk();
    let output = bench.run(&["adopt", "--inspect", "--console-src", "app"]);
    assert_eq!(output.code, 0, "{output:?}");
    for line in [
        "#   1 (anna@example.org): ops",
        "#   2 (ben@example.org): disabled; support",
        "FROM persons u WHERE u.id = $1",
    ] {
        assert!(output.stdout.contains(line), "{line}\n{}", output.stdout);
    }
    bench.write("gate.toml", &output.stdout);
    let before = bench.run(&["check", "nothing.toml", "--config", "gate.toml"]);
    assert!(
        before.stdout.contains("console-unheard") && before.stdout.contains("read for each request"),
        "{before:?}"
    );
    let migrated = bench.run(&["migrate", "--config", "gate.toml"]);
    assert!(migrated.stdout.contains("watching persons for admins"), "{migrated:?}");
    let after = bench.run(&["check", "nothing.toml", "--deny", "error", "--config", "gate.toml"]);
    assert_eq!(after.code, 0, "{after:?}");
    let again = bench.run(&["migrate", "--config", "gate.toml"]);
    assert!(again.stdout.contains("watched  persons"), "{again:?}");
}

/// The keys may be in a file beside the settings; its mistakes have its name.
#[test]
fn the_keys_may_be_in_a_file_beside() {
    let bench = kiosk();
    let section = bench.run(&["adopt", "--inspect", "--console-src", "app"]).stdout.replace("[console]", "");
    bench.write("console.toml", &section);
    bench.write("gate.toml", "[console]\nfile = \"console.toml\"\n");
    assert_eq!(bench.run(&["migrate", "--config", "gate.toml"]).code, 0);
    assert_eq!(bench.run(&["check", "nothing.toml", "--deny", "error", "--config", "gate.toml"]).code, 0);
    bench.write("console.toml", "admins = \"DELETE FROM persons\"\nadmin_key = \"persons.id\"\n");
    let output = bench.run(&["check", "nothing.toml", "--deny", "error", "--config", "gate.toml"]);
    assert_eq!(output.code, 1, "{output:?}");
    for mistake in ["console.toml:1", "it must be one SELECT", "console.toml:2", "admins_key"] {
        assert!(output.stdout.contains(mistake), "{mistake}\n{}", output.stdout);
    }
    bench.write("gate.toml", "[console]\nfile = \"console.toml\"\ntriggers = false\n");
    let output = bench.run(&["check", "nothing.toml", "--config", "gate.toml"]);
    assert!(output.stdout.contains("write them there or here"), "{output:?}");
}

/// What does not fit is a finding with its setting, column and remedy, and exits 1.
#[test]
fn check_says_what_does_not_fit() {
    let bench = kiosk();
    bench.write(
        "gate.toml",
        "[console]\nadmins = \"SELECT id, email AS label FROM persons WHERE id = $1\"\n\
         all_admins = \"SELECT id, is_actve = 0 AS disabled, email AS label FROM persons\"\nlegacy_roles = \"none\"\n",
    );
    let output = bench.run(&["check", "nothing.toml", "--config", "gate.toml"]);
    assert_eq!(output.code, 1, "{output:?}");
    let words = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "console-select",
        "[console] admins, column `disabled`: it is not there",
        "AS disabled`",
        "[console] all_admins: no such column: is_actve",
    ] {
        assert!(words.contains(part), "{part}\n{words}");
    }
}
