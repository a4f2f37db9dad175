//! Values that are sound by existing.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use store::DatabaseUrl;
use store::schema::placement::SchemaName;

use super::{shown, times};

/// A duration in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Millis, D::Error> {
        times::milliseconds(from).map(Millis)
    }
}

impl JsonSchema for Millis {
    fn schema_name() -> Cow<'static, str> {
        times::Time::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        times::Time::json_schema(generator)
    }
}

impl Millis {
    /// The duration.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// The duration, where 0 means "no bound".
    pub fn bound(self) -> Option<Duration> {
        (self.0 > 0).then(|| self.duration())
    }
}

/// A count of at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct PositiveCount(pub usize);

impl Serialize for PositiveCount {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl JsonSchema for PositiveCount {
    fn schema_name() -> Cow<'static, str> {
        "PositiveCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1 })
    }
}

impl TryFrom<usize> for PositiveCount {
    type Error = &'static str;

    fn try_from(count: usize) -> Result<Self, Self::Error> {
        if count == 0 { Err("must be at least 1") } else { Ok(PositiveCount(count)) }
    }
}

/// Who may connect to a Unix socket: the mode of its file, in octal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SocketMode(pub u32);

impl Serialize for SocketMode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        format!("{:04o}", self.0).serialize(to)
    }
}

impl JsonSchema for SocketMode {
    fn schema_name() -> Cow<'static, str> {
        "SocketMode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^0?[0-7]{3}$",
            "description": "The mode of a Unix socket, in octal digits.",
        })
    }
}

impl TryFrom<String> for SocketMode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix('0').filter(|digits| digits.len() == 3).unwrap_or(&text);
        let is_mode = digits.len() == 3 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_mode);
        mode.map(SocketMode).ok_or("must be three octal digits, as \"0660\"")
    }
}

/// A time in minutes, of at least one.
pub(super) fn positive_minutes<'de, D: Deserializer<'de>>(from: D) -> Result<PositiveCount, D::Error> {
    positive(times::minutes(from)?)
}

/// A time in hours, of at least one.
pub(super) fn positive_hours<'de, D: Deserializer<'de>>(from: D) -> Result<PositiveCount, D::Error> {
    positive(times::hours(from)?)
}

fn positive<E: serde::de::Error>(count: u64) -> Result<PositiveCount, E> {
    let count = usize::try_from(count).map_err(E::custom)?;
    PositiveCount::try_from(count).map_err(E::custom)
}

/// `allow_semicolon`, which set whether `;` passed. It passes, so a file that sets the key may mean what does not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SemicolonsPass;

impl<'de> Deserialize<'de> for SemicolonsPass {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<SemicolonsPass, D::Error> {
        Err(serde::de::Error::custom(
            "`allow_semicolon` is gone: `;` passes in paths and queries, as a part of its segment, which is how Werkzeug \
             reads it. Remove the line",
        ))
    }
}

/// Where the gate runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Development,
    #[default]
    Staging,
    /// V2 is enforced only while `console_flag_promotions` has `FLAG_RBAC_V2` in production.
    Production,
}

impl Environment {
    /// The word that the settings use.
    pub const fn word(self) -> &'static str {
        match self {
            Environment::Development => "development",
            Environment::Staging => "staging",
            Environment::Production => "production",
        }
    }
}

/// A TCP address or a Unix socket, `unix:/run/console.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// `host:port`; the host may be a name.
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    pub(super) fn tcp(address: &str) -> Address {
        Address::Tcp(address.to_owned())
    }

    /// The socket address, where it is one already.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) => address.parse().ok(),
            Address::Unix(_) => None,
        }
    }

    /// Parses `host:port` or `unix:/path`.
    ///
    /// # Errors
    ///
    /// No port, no path, or a relative one.
    pub fn parse(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(format!("`{text}`: a unix socket needs an absolute path"));
            }
            return Ok(Address::Unix(path.into()));
        }
        if let Some((_, rest)) = text.split_once("://") {
            let rest = rest.split('/').next().unwrap_or_default();
            return Err(format!(
                "`{text}` is a URL, and an address has neither a scheme nor a path: write `{rest}`"
            ));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Address::Tcp(text.to_owned()))
            }
            Some(("", _)) => Err(format!(
                "`{text}` has no host: write `127.0.0.1{text}`, or `0.0.0.0{text}` for every network"
            )),
            Some((_, port)) if port.chars().all(|letter| letter.is_ascii_digit()) => {
                Err(format!("`{text}`: `{port}` is no port, which is a number from 0 to 65535"))
            }
            None if text.chars().all(|letter| letter.is_ascii_digit()) => Err(format!(
                "`{text}` has no host: write `127.0.0.1:{text}`, or `0.0.0.0:{text}` for every network"
            )),
            None if !text.is_empty() && !text.contains('/') => {
                Err(format!("`{text}` has no port: write `{text}:PORT`"))
            }
            _ => Err(format!("`{text}` is neither `host:port` nor `unix:/path`")),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Address::parse(&text)
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Address::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A TCP address, `host:port`, or a Unix socket, `unix:/run/console.sock`.",
            "type": "string",
            "pattern": "^(unix:/.*|[^/:].*:[0-9]{1,5}|[^/]:[0-9]{1,5})$",
        })
    }
}

/// What a gate does on a schema that a newer release has migrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NewerSchema {
    /// It serves if every migration that it does not know names it as one that may.
    #[default]
    Compatible,
    /// It does not start.
    Refuse,
    /// It warns and serves: the notes of the newer release say that this one may.
    Serve,
}

/// Whether a response names the request that it answers, as the Python package lets it do, so that bytes which come late are never
/// taken for the answer to another caller's request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestEcho {
    /// Not checked.
    Off,
    /// A response that names another request is none.
    #[default]
    Compared,
    /// Nor is one that names no request.
    Required,
}

/// How much of a caller's address an audit row keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressDetail {
    Full,
    /// To /24 or /48 (GDPR by default, I-6 of the RBAC V2 design).
    Truncated,
    None,
}

/// The oldest version of TLS that is spoken. Older ones than these are broken, and rustls does not have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// How assertions are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AssertionAlgorithm {
    /// A secret that Console shares.
    #[serde(rename = "HS256")]
    Hs256,
    /// A key pair, whose public half Console fetches.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// The database URL; `Debug` hides a possible password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DatabaseSetting(pub DatabaseUrl);

impl Serialize for DatabaseSetting {
    /// The URL without a possible password.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            DatabaseUrl::Sqlite(file) => to.collect_str(&format_args!("sqlite:{}", file.display())),
            DatabaseUrl::Postgres(url) => to.collect_str(&shown::masked(url)),
        }
    }
}

impl JsonSchema for DatabaseSetting {
    fn schema_name() -> Cow<'static, str> {
        "DatabaseUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`sqlite:FILE` or `postgres://...`",
            "type": "string",
            "pattern": "^(sqlite:(//)?[^:]|postgres(ql)?://)",
        })
    }
}

impl Default for DatabaseSetting {
    fn default() -> Self {
        DatabaseSetting(DatabaseUrl::Sqlite("gate.sqlite".into()))
    }
}

impl TryFrom<String> for DatabaseSetting {
    type Error = String;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        DatabaseUrl::parse(&url).map(DatabaseSetting)
    }
}

/// `[database] schema`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct SchemaSetting(pub SchemaName);

impl Serialize for SchemaSetting {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.as_str())
    }
}

impl JsonSchema for SchemaSetting {
    fn schema_name() -> Cow<'static, str> {
        "SchemaName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z_][a-z0-9_]{0,62}$" })
    }
}

impl TryFrom<String> for SchemaSetting {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        SchemaName::parse(&name).map(SchemaSetting)
    }
}

impl fmt::Debug for DatabaseSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
