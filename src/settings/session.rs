//! `[session]`: which session a cookie names.
//!
//! | `kind` | the cookie holds | the gate reads of the database |
//! |---|---|---|
//! | `flask` | the whole session, signed | nothing; with `session_id_key`, the session's row |
//! | `opaque` | a token | the session's row |
//! | `signed` | a token, signed by itsdangerous | the session's row, if the signature is right |
//! | `gate` | a token that the gate gave out at a login (`[identity]`) | the session's row, if the gate made the token |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policy::identity::flask_cookie::SessionIdField;
use policy::identity::itsdangerous::{DigestMethod, KeyDerivation, Keys, Signing, SigningKeysError};
use policy::identity::session_key::{Lookup, SignerClass, TokenForm, TokenVerifier};
use policy::identity::session_payload::{PayloadFormat, PayloadReader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secrets::{Secret, Secrets};
use super::times;

/// Flask's `PERMANENT_SESSION_LIFETIME`.
const FLASK_MAX_AGE_SECONDS: u64 = 31 * 24 * 60 * 60;
/// What two machines that keep their clocks by NTP may be apart, with room.
const CLOCK_SKEW_SECONDS: u64 = 5;
/// A cookie from further ahead means that a clock is wrong.
const MOST_CLOCK_SKEW_SECONDS: u64 = 300;
/// The salt of Django's own session stores.
const DJANGO_SALT: &str = "django.contrib.sessions.SessionStore";
/// The longest prefix that makes sense: the column of Flask-Session has 255 characters.
const PREFIX_BYTES: usize = 128;

/// The section as it is written: a key that is not set has the default of its kind.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    pub kind: SessionKind,
    /// The variable that holds `SECRET_KEY`.
    pub secret_key_env: String,
    /// The file that holds it instead.
    pub secret_key_file: Option<PathBuf>,
    /// The variable that holds `SECRET_KEY_FALLBACKS`, separated by commas.
    pub fallbacks_env: Option<String>,
    /// Of Console's session; that of the gate has a name of its own.
    pub cookie_name: String,
    /// How old a cookie with a timestamp may be.
    #[serde(deserialize_with = "times::some_seconds")]
    #[schemars(with = "times::Time")]
    pub max_age_seconds: Option<u64>,
    /// How far ahead of the gate's clock a cookie's timestamp may be.
    #[serde(deserialize_with = "times::seconds")]
    #[schemars(with = "times::Time")]
    pub clock_skew_seconds: u64,
    /// The key of the payload that holds the admin's id.
    pub admin_id_key: String,
    /// The key that holds the session's own id; with it a session can be revoked by itself. Flask's cookie only.
    pub session_id_key: Option<String>,
    /// What Console's table has of that id; without it, the id itself.
    pub session_id_hash: Option<SessionIdHash>,
    pub login_path: String,
    /// What Console's table has of a token.
    pub lookup: Option<LookupSetting>,
    /// What Console writes before it.
    pub key_prefix: Option<String>,
    /// How the column `payload` of the sessions SELECT is written; without it, the column `admin_id` names its admin.
    pub payload: Option<PayloadSetting>,
    /// The salt of Django's session store.
    pub payload_salt: Option<String>,
    /// The class of itsdangerous that signs the token.
    pub signer: Option<SignerSetting>,
    pub salt: Option<String>,
    pub digest: Option<DigestSetting>,
    pub key_derivation: Option<DerivationSetting>,
}

impl Default for Session {
    fn default() -> Self {
        Session {
            kind: SessionKind::Flask,
            secret_key_env: "CONSOLE_SECRET_KEY".into(),
            secret_key_file: None,
            fallbacks_env: None,
            cookie_name: "session".into(),
            max_age_seconds: None,
            clock_skew_seconds: CLOCK_SKEW_SECONDS,
            admin_id_key: "admin_id".into(),
            session_id_key: None,
            session_id_hash: None,
            login_path: "/auth/login".into(),
            lookup: None,
            key_prefix: None,
            payload: None,
            payload_salt: None,
            signer: None,
            salt: None,
            digest: None,
            key_derivation: None,
        }
    }
}

/// What the cookie contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// Flask's signed session.
    #[default]
    Flask,
    /// A token.
    Opaque,
    /// A token, signed by itsdangerous.
    Signed,
    /// The token of a session that the gate itself began (`[identity]`).
    Gate,
}

impl SessionKind {
    /// The word that the settings use.
    pub const fn word(self) -> &'static str {
        match self {
            SessionKind::Flask => "flask",
            SessionKind::Opaque => "opaque",
            SessionKind::Signed => "signed",
            SessionKind::Gate => "gate",
        }
    }
}

/// What Console's table has of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LookupSetting {
    #[serde(rename = "value")]
    Value,
    #[serde(rename = "sha256-hex")]
    Sha256Hex,
}

/// What Console's table has of the id that is in Flask's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionIdHash {
    /// Its SHA-256, as 64 lower-case hexadecimal digits.
    Sha256,
}

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PayloadSetting {
    Json,
    Msgpack,
    Django,
}

/// A class of itsdangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SignerSetting {
    Signer,
    TimestampSigner,
    #[serde(rename = "URLSafeSerializer")]
    UrlSafeSerializer,
    #[serde(rename = "URLSafeTimedSerializer")]
    UrlSafeTimedSerializer,
}

impl SignerSetting {
    const fn class(self) -> SignerClass {
        match self {
            SignerSetting::Signer => SignerClass::Signer,
            SignerSetting::TimestampSigner => SignerClass::TimestampSigner,
            SignerSetting::UrlSafeSerializer => SignerClass::UrlSafeSerializer,
            SignerSetting::UrlSafeTimedSerializer => SignerClass::UrlSafeTimedSerializer,
        }
    }
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DigestSetting {
    Sha1,
    Sha256,
    Sha512,
}

/// How the signing key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DerivationSetting {
    DjangoConcat,
    Concat,
    Hmac,
    None,
}

impl Session {
    /// The name of the cookie that identifies a caller.
    pub fn cookie(&self) -> &str {
        match self.kind {
            SessionKind::Gate => super::identity::COOKIE,
            SessionKind::Flask | SessionKind::Opaque | SessionKind::Signed => &self.cookie_name,
        }
    }

    /// How old Flask's cookie may be.
    pub fn flask_max_age(&self) -> Duration {
        Duration::from_secs(self.max_age_seconds.unwrap_or(FLASK_MAX_AGE_SECONDS))
    }

    /// How far ahead of the gate's clock a cookie's timestamp may be.
    pub fn clock_skew(&self) -> Duration {
        Duration::from_secs(self.clock_skew_seconds)
    }

    /// The field of Flask's session that holds its own id.
    pub fn session_id_field(&self) -> Option<SessionIdField> {
        let is_hashed = self.session_id_hash == Some(SessionIdHash::Sha256);
        self.session_id_key.clone().map(|key| SessionIdField { key, is_hashed })
    }

    /// Whether something in the session is signed, so that the secret key is needed.
    pub fn needs_secret(&self) -> bool {
        let is_signed = matches!(self.kind, SessionKind::Flask | SessionKind::Signed);
        is_signed || self.payload == Some(PayloadSetting::Django)
    }

    /// What no single key can know, each with how to fix it.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut misplaced = |key: &str, is_set: bool, fits: bool, only: &str| {
            if is_set && !fits {
                mistakes.push(format!(
                    "`{key}` is for {only} only; `kind` is \"{}\": remove it, or set `kind`",
                    self.kind.word()
                ));
            }
        };
        let (is_flask, is_signed) = (self.kind == SessionKind::Flask, self.kind == SessionKind::Signed);
        let has_row = is_signed || self.kind == SessionKind::Opaque;
        let with_row = "`kind = \"opaque\"` or \"signed\"";
        misplaced("session_id_key", self.session_id_key.is_some(), is_flask, "`kind = \"flask\"`");
        misplaced("lookup", self.lookup.is_some(), has_row, with_row);
        misplaced("key_prefix", self.key_prefix.is_some(), has_row, with_row);
        misplaced("payload", self.payload.is_some(), has_row, with_row);
        misplaced("signer", self.signer.is_some(), is_signed, "`kind = \"signed\"`");
        misplaced("salt", self.salt.is_some(), is_signed, "`kind = \"signed\"`");
        misplaced("digest", self.digest.is_some(), is_signed, "`kind = \"signed\"`");
        misplaced("key_derivation", self.key_derivation.is_some(), is_signed, "`kind = \"signed\"`");
        let mut report = |is_wrong: bool, message: &str| {
            if is_wrong {
                mistakes.push(message.to_owned());
            }
        };
        report(
            is_signed && self.salt.as_ref().is_none_or(String::is_empty),
            "`salt` is missing: name the salt that Console gives to itsdangerous, `flask-session` for \
             Flask-Session's SESSION_USE_SIGNER",
        );
        let is_timed = self.signer.is_some_and(|signer| signer.class().is_timed());
        report(
            !is_flask && self.max_age_seconds.is_some() && !(is_signed && is_timed),
            "`max_age_seconds` needs a cookie with a timestamp: set `signer = \"TimestampSigner\"` or \
             \"URLSafeTimedSerializer\" if Console signs so, else let the sessions SELECT return `ends`",
        );
        report(
            self.clock_skew_seconds > MOST_CLOCK_SKEW_SECONDS,
            "`clock_skew_seconds` must be at most 300: set the clocks of both machines by NTP instead",
        );
        report(
            self.payload_salt.is_some() && self.payload != Some(PayloadSetting::Django),
            "`payload_salt` is for `payload = \"django\"` only: remove it",
        );
        report(
            self.payload_salt.as_ref().is_some_and(String::is_empty),
            "`payload_salt` is empty: remove it for Django's own session stores",
        );
        report(
            self.key_prefix.as_ref().is_some_and(|prefix| {
                prefix.len() > PREFIX_BYTES || !prefix.bytes().all(|byte| byte.is_ascii_graphic())
            }),
            "`key_prefix` must be at most 128 printable ASCII characters",
        );
        report(
            self.session_id_hash.is_some() && self.session_id_key.is_none(),
            "`session_id_hash` needs `session_id_key`: name the key of the session's own id",
        );
        report(
            self.session_id_key.as_ref().is_some_and(String::is_empty),
            "`session_id_key` is empty: remove it, or name the key of the session's own id",
        );
        mistakes
    }

    /// What verifies the cookie; `None` for Flask's, which has a verifier of its own.
    ///
    /// # Errors
    ///
    /// The secret key is missing or empty.
    pub fn token_verifier(&self, secrets: &Secrets) -> Result<Option<TokenVerifier>, SigningKeysError> {
        let form = match self.kind {
            SessionKind::Flask | SessionKind::Gate => return Ok(None),
            SessionKind::Opaque => TokenForm::Opaque,
            SessionKind::Signed => TokenForm::Signed {
                keys: keys(&self.signing(), secrets)?,
                class: self.signer.map_or(SignerClass::Signer, SignerSetting::class),
                max_age: self.max_age_seconds.map(Duration::from_secs),
                future_skew: self.clock_skew(),
            },
        };
        let lookup = match self.lookup {
            Some(LookupSetting::Sha256Hex) => Lookup::Sha256Hex,
            Some(LookupSetting::Value) | None => Lookup::Value,
        };
        let key_prefix = self.key_prefix.clone().unwrap_or_default();
        let payload = self.payload_reader(secrets)?.map(Arc::new);
        Ok(Some(TokenVerifier { form, lookup, key_prefix, payload }))
    }

    /// The reader of the column `payload`; `None` where the column `admin_id` names the session's admin.
    fn payload_reader(&self, secrets: &Secrets) -> Result<Option<PayloadReader>, SigningKeysError> {
        let format = match self.payload {
            None => return Ok(None),
            Some(PayloadSetting::Json) => PayloadFormat::Json,
            Some(PayloadSetting::Msgpack) => PayloadFormat::Msgpack,
            Some(PayloadSetting::Django) => {
                let signing = Signing {
                    salt: self.payload_salt.as_deref().unwrap_or(DJANGO_SALT).into(),
                    digest: DigestMethod::Sha256,
                    derivation: KeyDerivation::DjangoConcat,
                };
                PayloadFormat::Django(keys(&signing, secrets)?)
            }
        };
        Ok(Some(PayloadReader { format, admin_id_key: self.admin_id_key.clone() }))
    }

    /// With the defaults of itsdangerous.
    fn signing(&self) -> Signing {
        Signing {
            salt: self.salt.clone().unwrap_or_default().into_bytes(),
            digest: match self.digest {
                Some(DigestSetting::Sha256) => DigestMethod::Sha256,
                Some(DigestSetting::Sha512) => DigestMethod::Sha512,
                Some(DigestSetting::Sha1) | None => DigestMethod::Sha1,
            },
            derivation: match self.key_derivation {
                Some(DerivationSetting::Concat) => KeyDerivation::Concat,
                Some(DerivationSetting::Hmac) => KeyDerivation::Hmac,
                Some(DerivationSetting::None) => KeyDerivation::None,
                Some(DerivationSetting::DjangoConcat) | None => KeyDerivation::DjangoConcat,
            },
        }
    }
}

fn keys(signing: &Signing, secrets: &Secrets) -> Result<Keys, SigningKeysError> {
    let secret = secrets.session_key.as_ref().map_or(&b""[..], Secret::expose);
    Keys::new(signing, secret, secrets.session_fallbacks.iter().map(Secret::expose))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn mistakes(section: &str) -> Vec<String> {
        let settings: Session = toml::from_str(section).unwrap();
        settings.mistakes()
    }

    #[test]
    fn every_kind_has_its_keys() {
        let sound = [
            "",
            "kind = \"flask\"\nsession_id_key = \"sid\"\nmax_age_seconds = 60",
            "session_id_key = \"sid\"\nsession_id_hash = \"sha256\"",
            "clock_skew_seconds = 0",
            "clock_skew_seconds = 300",
            "kind = \"opaque\"",
            "kind = \"opaque\"\nlookup = \"sha256-hex\"\nkey_prefix = \"s:\"",
            "kind = \"opaque\"\npayload = \"django\"\npayload_salt = \"x\"",
            "kind = \"opaque\"\npayload = \"msgpack\"\nkey_prefix = \"session:\"",
            "kind = \"signed\"\nsalt = \"flask-session\"\nkey_derivation = \"hmac\"",
            "kind = \"signed\"\nsalt = \"x\"\ndigest = \"sha512\"\nkey_derivation = \"none\"\nlookup = \"value\"",
            "kind = \"signed\"\nsalt = \"x\"\nsigner = \"TimestampSigner\"\nmax_age_seconds = 60",
            "kind = \"signed\"\nsalt = \"x\"\nsigner = \"URLSafeTimedSerializer\"\nmax_age_seconds = 60",
            "kind = \"signed\"\nsalt = \"x\"\nsigner = \"URLSafeSerializer\"\npayload = \"json\"",
        ];
        for section in sound {
            assert_eq!(mistakes(section), Vec::<String>::new(), "{section}");
        }
        let wrong = [
            (
                "lookup = \"value\"",
                "`lookup` is for `kind = \"opaque\"` or \"signed\" only; `kind` is \"flask\"",
            ),
            ("payload = \"json\"", "`payload` is for"),
            ("key_prefix = \"s:\"", "`key_prefix` is for"),
            ("salt = \"x\"", "`salt` is for `kind = \"signed\"` only"),
            ("kind = \"opaque\"\nsalt = \"x\"", "`salt` is for"),
            ("kind = \"opaque\"\nsigner = \"Signer\"", "`signer` is for"),
            ("kind = \"opaque\"\ndigest = \"sha1\"", "`digest` is for"),
            ("kind = \"opaque\"\nkey_derivation = \"hmac\"", "`key_derivation` is for"),
            (
                "kind = \"opaque\"\nsession_id_key = \"sid\"",
                "`session_id_key` is for `kind = \"flask\"` only",
            ),
            ("kind = \"opaque\"\nmax_age_seconds = 60", "`max_age_seconds` needs a cookie with a timestamp"),
            ("kind = \"signed\"", "`salt` is missing"),
            ("kind = \"signed\"\nsalt = \"\"", "`salt` is missing"),
            ("kind = \"signed\"\nsalt = \"x\"\nmax_age_seconds = 60", "`max_age_seconds` needs"),
            (
                "kind = \"signed\"\nsalt = \"x\"\nsigner = \"URLSafeSerializer\"\nmax_age_seconds = 60",
                "`max_age_seconds` needs",
            ),
            ("kind = \"opaque\"\npayload = \"json\"\npayload_salt = \"x\"", "`payload_salt` is for"),
            ("kind = \"opaque\"\npayload = \"django\"\npayload_salt = \"\"", "`payload_salt` is empty"),
            ("kind = \"opaque\"\nkey_prefix = \"a b\"", "`key_prefix` must be"),
            ("session_id_key = \"\"", "`session_id_key` is empty"),
            ("session_id_hash = \"sha256\"", "`session_id_hash` needs `session_id_key`"),
            ("kind = \"opaque\"\nsession_id_hash = \"sha256\"", "`session_id_hash` needs `session_id_key`"),
        ];
        for (section, message) in wrong {
            let mistakes = mistakes(section);
            assert!(mistakes.len() == 1 && mistakes[0].starts_with(message), "{section}: {mistakes:?}");
        }
    }

    #[test]
    fn a_mistake_says_which_section_it_is_in() {
        let source = "[session]\nkind = \"signed\"\n";
        let report = Settings::parse("gate.toml", source).unwrap_err().one_line_each();
        assert!(report.starts_with("gate.toml:1:1: [session] `salt` is missing"), "{report}");
        for unknown in ["kind = \"jwt\"", "digest = \"md5\"", "payload = \"pickle\"", "lookup = \"sha256\""] {
            assert!(Settings::parse("gate.toml", &format!("[session]\n{unknown}\n")).is_err(), "{unknown}");
        }
    }

    #[test]
    fn only_what_is_signed_needs_the_secret() {
        let needs = |section: &str| toml::from_str::<Session>(section).unwrap().needs_secret();
        assert!(needs(""));
        assert!(needs("kind = \"signed\"\nsalt = \"x\""));
        assert!(needs("kind = \"opaque\"\npayload = \"django\""));
        assert!(!needs("kind = \"opaque\"\npayload = \"json\""));
        let settings = Settings::parse("gate.toml", "[session]\nkind = \"opaque\"\n").unwrap();
        let keys = |name: &str| {
            let key = "tests:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
            (name == "CONSOLE_GATE_KEYS").then(|| key.to_owned())
        };
        assert!(Secrets::load(&settings, keys).unwrap().session_key.is_none());
        let signed = Settings::parse("gate.toml", "[session]\nkind = \"signed\"\nsalt = \"x\"\n").unwrap();
        assert!(Secrets::load(&signed, keys).is_err());
    }
}
