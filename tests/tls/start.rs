//! What a gate does not start with.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::gate::{free_address, log, program, put_pair, write_settings};
use crate::support::{Authority, Setup};

#[test]
fn a_pair_that_cannot_be_used_is_reported_at_the_start() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(), authority.issue());
    let expired = authority.issue_until(chrono::Utc::now() - chrono::TimeDelta::days(1));
    let table = [
        (&one.certificate, &other.key, "does not match the first certificate"),
        (&expired.certificate, &expired.key, "expired at"),
        (&one.key, &one.key, "has no PEM certificate"),
        (&one.certificate, &one.certificate, "has no PEM private key"),
    ];
    for (certificate, key, expected) in table {
        let folder = tempfile::tempdir().unwrap();
        put_pair(folder.path(), certificate, key);
        write_settings(folder.path(), free_address(), &Setup::TLS);
        let status = program(folder.path(), "serve").status().unwrap();
        let log = log(folder.path());
        assert_eq!(status.code(), Some(2), "{expected}: {log}");
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

#[test]
fn a_key_that_everybody_may_read_is_warned_of() {
    let authority = Authority::new();
    let one = authority.issue();
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        let folder = tempfile::tempdir().unwrap();
        put_pair(folder.path(), &one.certificate, &one.key);
        std::fs::set_permissions(folder.path().join("tls.key"), Permissions::from_mode(mode)).unwrap();
        write_settings(folder.path(), free_address(), &Setup::TLS);
        // The path of the upstream's socket is too long for one: the gate has read the key by then, and ends by itself.
        let settings = std::fs::read_to_string(folder.path().join("gate.toml")).unwrap();
        let (before, after) = settings.split_once("servers = [").unwrap();
        let (path, after) = ("x".repeat(200), after.split_once(']').unwrap().1);
        let settings = format!("{before}servers = [\"unix:/{path}\"]{after}");
        std::fs::write(folder.path().join("gate.toml"), settings).unwrap();
        assert!(!program(folder.path(), "serve").status().unwrap().success());
        let log = log(folder.path());
        assert_eq!(log.contains("readable by every user"), warned, "{mode:o}: {log}");
    }
}
