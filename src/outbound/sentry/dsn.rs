//! `https://KEY@HOST/PROJECT`: the address of a tracker, and the key that identifies the sender to it.
//! <https://develop.sentry.dev/sdk/foundations/transport/authentication/>

use std::fmt;

use crate::outbound::Url;

/// A data source name. Its key lets anybody report in the project's name, so it is never shown.
#[derive(Clone)]
pub struct Dsn {
    pub(super) envelopes: Url,
    pub(super) key: String,
}

/// `SENTRY_DSN` is not a data source name. Its value is not repeated here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("SENTRY_DSN must be like `https://KEY@HOST/PROJECT`")]
pub struct DsnError;

impl Dsn {
    /// Reads a data source name.
    ///
    /// # Errors
    ///
    /// The text is not a data source name.
    pub fn parse(text: &str) -> Result<Dsn, DsnError> {
        let (scheme, rest) = text.split_once("://").ok_or(DsnError)?;
        let (user, place) = rest.split_once('@').ok_or(DsnError)?;
        // Older names have a secret beside the public key; trackers no longer require it.
        let key = user.split(':').next().unwrap_or_default();
        let (host, project) = place.rsplit_once('/').ok_or(DsnError)?;
        // A tracker may live below a path of its host.
        let (host, folder) =
            host.split_once('/').map_or((host, String::new()), |(host, path)| (host, format!("/{path}")));
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_word(key) || !is_word(project) || host.is_empty() {
            return Err(DsnError);
        }
        let envelopes = Url::parse(&format!("{scheme}://{host}{folder}/api/{project}/envelope/"));
        Ok(Dsn { envelopes: envelopes.map_err(|_| DsnError)?, key: key.to_owned() })
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dsn(hidden)")
    }
}
