//! No credential ships: no column of a migration stores one that can be replayed, and no file that ships holds one (invariants
//! I-1 and I-8 of the RBAC V2 design; section 9.1 asks this of CI).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::path::{Path, PathBuf};

use regex::Regex;

/// What a column is not called without a reason.
const WORDS: &str = "password|passwd|passphrase|secret|totp|otp|recovery|seed|token|credential|api_?key|private|cookie|pin_code";

/// The columns of such a name that hold no credential.
const COLUMNS: [(&str, &str); 4] = [
    ("token_sha256", "the digest of 256 random bits, which cannot be turned back"),
    ("token_id", "the id of a token's row, which opens nothing"),
    ("credential_id", "the public name of a passkey, which the browser signs for"),
    ("credential", "the public key of a passkey, by which signatures are verified"),
];

/// What ships besides the program: every file below these.
const SHIPPED: [&str; 3] = ["migrations", "deploy", "routes.toml"];

/// What credentials look like.
const SHAPES: [(&str, &str); 9] = [
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("a Slack webhook", r"hooks\.slack\.com/services/T[A-Z0-9]+"),
    ("a Slack token", r"xox[abprs]-[A-Za-z0-9-]{8,}"),
    ("an AWS key", r"AKIA[0-9A-Z]{16}"),
    ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{20,}"),
    ("a signed token", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\."),
    ("a password in an address", r"[a-z]+://[^/\s:@<>${}]+:[^/\s:@<>${}]+@"),
    ("a key of 32 bytes", r"[^A-Za-z0-9+/][A-Za-z0-9+/]{43}=[^A-Za-z0-9+/=]"),
    (
        "a value for a secret",
        r#"(?i)(?:password|passwd|passphrase|secret|token|api_?key|(?:private|secret|signing)_?key)\s*[=:]\s*["'][^"'${}<\s]{6,}["']"#,
    ),
];

/// Parts of lines of such a shape that hold no credential, each with its reason.
const LITERALS: [(&str, &str); 0] = [];

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        found.push(path.to_owned());
        return;
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().filter(|entry| !entry.ends_with("__pycache__")).for_each(|entry| files(entry, found));
}

fn shipped() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    SHIPPED.iter().for_each(|path| files(&root.join(path), &mut found));
    found
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(root).unwrap().display().to_string();
            (name, String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned())
        })
        .collect()
}

/// The columns that a migration defines whose names are those of credentials.
fn columns_in(sql: &str) -> Vec<String> {
    let column = Regex::new(
        r"(?im)^\s*(?:ALTER TABLE \w+ )?(?:ADD COLUMN )?(?:IF NOT EXISTS )?([a-z_][a-z0-9_]*)\s+(?:TEXT|BYTEA|BLOB|VARCHAR|CHAR|JSONB?|UUID)\b",
    )
    .unwrap();
    let word = Regex::new(&format!("(?:^|_)(?:{WORDS})s?(?:_|$)")).unwrap();
    let names = column.captures_iter(sql).map(|found| found[1].to_ascii_lowercase());
    names.filter(|name| word.is_match(name)).collect()
}

/// What looks like a credential, as the line and what it looks like.
fn literals_in(text: &str) -> Vec<(String, &'static str)> {
    let shapes: Vec<(&str, Regex)> =
        SHAPES.iter().map(|(name, shape)| (*name, Regex::new(shape).unwrap())).collect();
    let mut found = Vec::new();
    for line in text.lines() {
        // With an end on both sides, for shapes that have to stand alone.
        let padded = format!(" {line} ");
        found.extend(
            shapes
                .iter()
                .filter(|(_, shape)| shape.is_match(&padded))
                .map(|(name, _)| (line.to_owned(), *name)),
        );
    }
    found
}

#[test]
fn no_column_stores_a_credential_that_can_be_replayed() {
    let mut seen = 0;
    for (file, text) in shipped().iter().filter(|(file, _)| file.ends_with(".sql")) {
        for column in columns_in(text) {
            seen += 1;
            assert!(
                COLUMNS.iter().any(|(name, _)| *name == column),
                "{file}: the column `{column}` has the name of a credential: store a digest, or nothing (I-1)"
            );
        }
    }
    assert!(seen > 4, "the columns that are allowed are there: {seen}");
}

#[test]
fn no_file_that_ships_holds_a_credential() {
    let shipped = shipped();
    assert!(shipped.len() > 60, "{} files", shipped.len());
    for (file, text) in &shipped {
        for (line, what) in literals_in(text) {
            let is_known = LITERALS.iter().any(|(known, _)| line.contains(known));
            assert!(is_known, "{file}: {what}? Name a variable or a file instead (I-8):\n{line}");
        }
    }
}

/// A check that finds nothing has to be one that would find something.
#[test]
fn what_is_planted_is_found() {
    let columns = "
        CREATE TABLE x (
            id              TEXT NOT NULL PRIMARY KEY,
            password_hash   TEXT,
            totp_seed       BYTEA,
            recovery_codes  JSONB,
            tokens_used     BIGINT,
            desecrated      TEXT
        );
        ALTER TABLE x ADD COLUMN api_key TEXT;
        ALTER TABLE x ADD COLUMN IF NOT EXISTS session_cookie VARCHAR(20);";
    let expected = ["password_hash", "totp_seed", "recovery_codes", "api_key", "session_cookie"];
    assert_eq!(columns_in(columns), expected);
    let key = "A".repeat(43) + "=";
    let planted = [
        "-----BEGIN EC PRIVATE KEY-----".to_owned(),
        "webhook: https://hooks.slack.com/services/T0AB/B1/xyz".to_owned(),
        "url = \"postgres://gate:hunter2@db/console\"".to_owned(),
        format!("CONSOLE_GATE_KEYS: main:{key}"),
        "password = \"hunter2hunter2\"".to_owned(),
        "  api_key: 'abcdef123456'".to_owned(),
        "aws = AKIAIOSFODNN7EXAMPLE".to_owned(),
    ];
    for line in planted {
        assert!(!literals_in(&line).is_empty(), "{line}");
    }
    for line in [
        "password_env = \"CONSOLE_GATE_SMTP_PASSWORD\"",
        "url = \"postgres://gate@db.internal/console\"",
        "keys_file = \"audit.keys\"",
        "CONSOLE_GATE_KEYS: ${CONSOLE_GATE_KEYS:?}",
    ] {
        assert_eq!(literals_in(line), [], "{line}");
    }
}
