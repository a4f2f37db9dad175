//! The secrets: read once at start from the environment or a file, never printed, wiped when dropped.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Settings;
use super::values::AssertionAlgorithm;

/// Bytes that are wiped when dropped and never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// A key that signs assertions, with the id by which Console finds it.
#[derive(Clone, Debug)]
pub struct NamedKey {
    pub id: String,
    pub secret: Secret,
}

/// Everything secret that the gate needs.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Flask's or Django's `SECRET_KEY`; `None` where nothing of a session is signed.
    pub session_key: Option<Secret>,
    /// Flask's `SECRET_KEY_FALLBACKS`.
    pub session_fallbacks: Vec<Secret>,
    /// The first signs.
    pub assertion_keys: Vec<NamedKey>,
    /// Those of the servers beside Console, by their names, where keys are shared.
    pub upstream_keys: BTreeMap<String, Vec<NamedKey>>,
    /// Empty where the gate answers no probes.
    pub probe_keys: Vec<NamedKey>,
    /// FreeScout's API key; `None` where the settings name no FreeScout.
    pub freescout_key: Option<Secret>,
    /// The secret of FreeScout's webhooks; `None` where none are taken.
    pub freescout_webhook: Option<Secret>,
    pub alerts: AlertSecrets,
    /// Header fields for the collector of traces, by their names.
    pub otlp_headers: Vec<(String, Secret)>,
}

/// The secrets of the channels of `[alerts]`; `None` where the settings do not name the channel.
#[derive(Clone, Debug, Default)]
pub struct AlertSecrets {
    /// The address of the webhook.
    pub slack: Option<Secret>,
    /// The password, where the settings name a user.
    pub smtp: Option<Secret>,
    /// The server token.
    pub postmark: Option<Secret>,
}

/// A secret is missing or unusable. Never holds one.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable {0} is not set, and no file is configured instead")]
    Missing(String),
    #[error("cannot read the secret in {path}: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("{0} is empty")]
    Empty(String),
    #[error("{place} must hold `id:base64` pairs separated by commas")]
    Malformed { place: String },
    #[error("{place}, line {line}: write a header field on each line, `name: value`")]
    NoHeader { place: String, line: usize },
    #[error("{place}: the key `{id}` is shorter than 32 bytes")]
    TooShort { place: String, id: String },
    #[error(
        "{place}: the key `{id}` is another server's too, and who has it can make assertions for both: make one of its own"
    )]
    Shared { place: String, id: String },
}

impl Secrets {
    /// Reads what `settings` name. `environment` looks a variable up.
    ///
    /// # Errors
    ///
    /// A secret is missing, unreadable, empty or too short.
    pub fn load(
        settings: &Settings,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Secrets, SecretError> {
        let session = &settings.session;
        let session_key =
            if session.needs_secret() { Some(session_key(settings, &environment)?) } else { None };
        let session_fallbacks = match &session.fallbacks_env {
            None => Vec::new(),
            Some(variable) => {
                let text = Zeroizing::new(environment(variable).unwrap_or_default());
                text.split(',')
                    .filter(|key| !key.is_empty())
                    .map(|key| Secret::new(key.as_bytes().to_vec()))
                    .collect()
            }
        };
        let assertion_keys = assertion_keys(settings, &environment)?;
        let upstream_keys = upstream_keys(settings, &assertion_keys, &environment)?;
        let probe_keys = probe_keys(settings, &environment)?;
        let freescout_key = freescout_key(settings, &environment)?;
        let freescout_webhook = freescout_webhook(settings, &environment)?;
        let alerts = alert_secrets(settings, &environment)?;
        Ok(Secrets {
            session_key,
            session_fallbacks,
            assertion_keys,
            upstream_keys,
            probe_keys,
            freescout_key,
            freescout_webhook,
            alerts,
            otlp_headers: otlp_headers(settings)?,
        })
    }
}

/// The keys of the servers beside Console. A verifier of HS256 can sign, too, so each has its own.
fn upstream_keys(
    settings: &Settings,
    of_console: &[NamedKey],
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, Vec<NamedKey>>, SecretError> {
    let mut all: BTreeMap<String, Vec<NamedKey>> = BTreeMap::new();
    if settings.assertion.algorithm != AssertionAlgorithm::Hs256 {
        return Ok(all);
    }
    for (name, upstream) in &settings.upstreams {
        let of = upstream.assertion.clone().unwrap_or_default();
        let (file, variable) = (of.keys_file.as_deref(), upstream.keys_env(name));
        let place = place(file, &variable);
        let keys = named_keys(&read(file, &variable, environment)?, &place)?;
        let known = of_console.iter().chain(all.values().flatten());
        let mut shared =
            known.filter_map(|one| keys.iter().find(|key| key.secret.expose() == one.secret.expose()));
        if let Some(key) = shared.next() {
            return Err(SecretError::Shared { place, id: key.id.clone() });
        }
        drop(shared);
        all.insert(name.clone(), keys);
    }
    Ok(all)
}

/// Flask's `SECRET_KEY`.
///
/// # Errors
///
/// It is missing, unreadable or empty.
pub fn session_key(
    settings: &Settings,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Secret, SecretError> {
    let session = &settings.session;
    read(session.secret_key_file.as_deref(), &session.secret_key_env, &environment)
}

/// The keys by which assertions are signed.
///
/// # Errors
///
/// They are missing, unreadable, empty or too short.
pub fn assertion_keys(
    settings: &Settings,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<NamedKey>, SecretError> {
    let assertion = &settings.assertion;
    let file = assertion.keys_file.as_deref();
    named_keys(&read(file, &assertion.keys_env, &environment)?, &place(file, &assertion.keys_env))
}

/// The keys of probes; empty where none are named.
///
/// # Errors
///
/// Those that are named are unreadable, empty or too short.
pub fn probe_keys(
    settings: &Settings,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<NamedKey>, SecretError> {
    let probe = &settings.probe;
    if probe.keys_file.is_none() && environment(&probe.keys_env).is_none() {
        return Ok(Vec::new());
    }
    let file = probe.keys_file.as_deref();
    named_keys(&read(file, &probe.keys_env, &environment)?, &place(file, &probe.keys_env))
}

/// FreeScout's API key; `None` where the settings name no FreeScout.
///
/// # Errors
///
/// It is missing, unreadable or empty.
pub fn freescout_key(
    settings: &Settings,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Secret>, SecretError> {
    let freescout = &settings.freescout;
    let key = || read(freescout.key_file.as_deref(), &freescout.key_env, &environment);
    freescout.url.is_some().then(key).transpose()
}

/// The secret of FreeScout's webhooks; `None` where none are taken.
///
/// # Errors
///
/// The one that is named is unreadable or empty.
pub fn freescout_webhook(
    settings: &Settings,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Secret>, SecretError> {
    let freescout = &settings.freescout;
    let (file, variable) = (freescout.webhook_secret_file.as_deref(), &freescout.webhook_secret_env);
    let is_named = file.is_some() || environment(variable).is_some();
    let secret = || read(file, variable, &environment);
    (freescout.url.is_some() && is_named).then(secret).transpose()
}

/// The secrets of the channels that the settings name.
///
/// # Errors
///
/// One is missing, unreadable or empty.
pub fn alert_secrets(
    settings: &Settings,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<AlertSecrets, SecretError> {
    let alerts = &settings.alerts;
    let of =
        |file: &Option<std::path::PathBuf>, variable: &str| read(file.as_deref(), variable, &environment);
    let slack = alerts.slack.as_ref().map(|slack| of(&slack.webhook_file, &slack.webhook_env));
    let smtp = alerts.smtp.as_ref().filter(|smtp| smtp.username.is_some());
    let smtp = smtp.map(|smtp| of(&smtp.password_file, &smtp.password_env));
    let postmark = alerts.postmark.as_ref().map(|postmark| of(&postmark.token_file, &postmark.token_env));
    Ok(AlertSecrets { slack: slack.transpose()?, smtp: smtp.transpose()?, postmark: postmark.transpose()? })
}

/// The header fields for the collector of traces; none where the settings name no file.
///
/// # Errors
///
/// The file is unreadable or empty, or a line of it is no header field.
pub fn otlp_headers(settings: &Settings) -> Result<Vec<(String, Secret)>, SecretError> {
    let Some(file) = settings.otlp.headers_file.as_deref() else { return Ok(Vec::new()) };
    let place = file.display().to_string();
    let text = read(Some(file), "", &|_: &str| None)?;
    let text = std::str::from_utf8(text.expose()).unwrap_or_default();
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let field = |(_, text): (usize, &str)| {
        let (name, value) = text.split_once(':')?;
        let name: http::HeaderName = name.trim().parse().ok()?;
        http::HeaderValue::from_str(value.trim()).ok()?;
        Some((name.as_str().to_owned(), Secret::new(value.trim().as_bytes().to_vec())))
    };
    lines
        .map(|line| field(line).ok_or(SecretError::NoHeader { place: place.clone(), line: line.0 }))
        .collect()
}

/// Where a secret comes from, for messages.
fn place(file: Option<&std::path::Path>, variable: &str) -> String {
    file.map_or_else(|| variable.to_owned(), |path| path.display().to_string())
}

fn read(
    file: Option<&std::path::Path>,
    variable: &str,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<Secret, SecretError> {
    let (place, secret) = match file {
        Some(path) => {
            let mut bytes = std::fs::read(path)
                .map_err(|error| SecretError::Unreadable { path: path.display().to_string(), error })?;
            // An editor's last newline is no part of a key.
            while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                bytes.pop();
            }
            (path.display().to_string(), Secret::new(bytes))
        }
        None => {
            let text = environment(variable).ok_or_else(|| SecretError::Missing(variable.to_owned()))?;
            (variable.to_owned(), Secret::new(text.into_bytes()))
        }
    };
    if secret.expose().is_empty() { Err(SecretError::Empty(place)) } else { Ok(secret) }
}

fn named_keys(text: &Secret, place: &str) -> Result<Vec<NamedKey>, SecretError> {
    let malformed = || SecretError::Malformed { place: place.to_owned() };
    let text = std::str::from_utf8(text.expose()).map_err(|_| malformed())?;
    let keys: Vec<NamedKey> = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (id, encoded) = pair.split_once(':').ok_or_else(malformed)?;
            let bytes = STANDARD.decode(encoded).map_err(|_| malformed())?;
            if bytes.len() < 32 {
                return Err(SecretError::TooShort { place: place.to_owned(), id: id.to_owned() });
            }
            Ok(NamedKey { id: id.to_owned(), secret: Secret::new(bytes) })
        })
        .collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(malformed()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(keys: &str) -> Result<Secrets, SecretError> {
        Secrets::load(&Settings::default(), |name| match name {
            "CONSOLE_SECRET_KEY" => Some("flask".into()),
            "CONSOLE_GATE_KEYS" => Some(keys.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn keys_are_named_and_long_enough() {
        let long = STANDARD.encode([7_u8; 32]);
        let secrets = load(&format!("new:{long},old:{long}")).unwrap();
        let ids: Vec<&str> = secrets.assertion_keys.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids, ["new", "old"]);
        assert!(matches!(load("a:c2hvcnQ="), Err(SecretError::TooShort { .. })));
        assert!(matches!(load("nonsense"), Err(SecretError::Malformed { .. })));
        assert!(matches!(load(","), Err(SecretError::Malformed { .. })));
        assert!(matches!(load(""), Err(SecretError::Empty(_))));
    }

    #[test]
    fn a_server_beside_console_has_keys_of_its_own() {
        let [console, raptor] = [7_u8, 8].map(|byte| STANDARD.encode([byte; 32]));
        let load = |settings: &str, keys: &str| {
            let settings = Settings::parse("gate.toml", settings).unwrap();
            Secrets::load(&settings, |name| match name {
                "CONSOLE_SECRET_KEY" => Some("flask".into()),
                "CONSOLE_GATE_KEYS" => Some(format!("k:{console}")),
                "CONSOLE_GATE_RAPTOR_EU_KEYS" | "OF_RAPTOR" => Some(keys.to_owned()),
                _ => None,
            })
        };
        let usual = "[upstreams.raptor-eu]\nservers = [\"h:1\"]\n";
        let named = "[upstreams.raptor]\n[upstreams.raptor.assertion]\nkeys_env = \"OF_RAPTOR\"\n";
        for (settings, name) in [(usual, "raptor-eu"), (named, "raptor")] {
            let secrets = load(settings, &format!("r:{raptor}")).unwrap();
            assert_eq!(secrets.upstream_keys[name][0].id, "r");
            // Under another id it is the same key.
            let shared = load(settings, &format!("new:{raptor},r:{console}")).unwrap_err();
            assert!(matches!(&shared, SecretError::Shared { id, .. } if id == "r"), "{shared}");
            assert!(!shared.to_string().contains(&console));
        }
        let missing = load("[upstreams.other]\nservers = [\"h:1\"]\n", "").unwrap_err();
        assert_eq!(missing.to_string().split(' ').nth(3), Some("CONSOLE_GATE_OTHER_KEYS"), "{missing}");
        // A public key cannot sign.
        let public = format!("{usual}[assertion]\nalgorithm = \"EdDSA\"\n");
        assert!(load(&public, "").unwrap().upstream_keys.is_empty());
    }

    #[test]
    fn header_fields_for_the_collector_are_lines_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        let settings = format!("[otlp]\nheaders_file = \"{}\"\n", file.display());
        let settings = Settings::parse("gate.toml", &settings).unwrap();
        std::fs::write(&file, "# a comment\n\nX-Api-Key: hunter2:3 \nother:\n").unwrap();
        let headers = otlp_headers(&settings).unwrap();
        let shown: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(shown, [("x-api-key", &b"hunter2:3"[..]), ("other", b"")]);
        for text in ["x: y\nhunter2", "x: y\nhunter 2: z", "x: y\nz: hunter\u{7}2"] {
            std::fs::write(&file, text).unwrap();
            let error = otlp_headers(&settings).unwrap_err().to_string();
            assert!(error.ends_with("line 2: write a header field on each line, `name: value`"), "{error}");
            assert!(!error.contains("hunter"), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(otlp_headers(&settings), Err(SecretError::Unreadable { .. })));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let long = STANDARD.encode([7_u8; 32]);
        let secrets = load(&format!("new:{long}")).unwrap();
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("flask") && !shown.contains(&long), "{shown}");
        let error = load("hunter2").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
