//! Values that the gate gives to a client and takes back as they were. The keys are derived from those of the assertion, so
//! that there is no further secret; each purpose has its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use crate::settings::secrets::NamedKey;

type Tag = Hmac<Sha256>;

/// Signs with the first key, and accepts what any of them has signed: keys are rotated gate by gate.
pub(crate) struct Signer(Vec<Tag>);

impl Signer {
    /// A signer for one purpose.
    pub(crate) fn new(keys: &[NamedKey], purpose: &str) -> Signer {
        Signer(keys.iter().filter_map(|key| derived(key.secret.expose(), purpose)).collect())
    }

    /// The signature of bytes; `None` without a key.
    pub(crate) fn signature(&self, bytes: &[u8]) -> Option<String> {
        self.0.first().map(|key| signature(key, bytes))
    }

    /// Whether a signature is of these bytes.
    pub(crate) fn is_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        self.0.iter().any(|key| {
            let mut tag = key.clone();
            tag.update(bytes);
            tag.verify_slice(&signature).is_ok()
        })
    }

    /// A value with its signature. `context` is what it is valid in, and is not part of the text.
    pub(crate) fn seal(&self, context: &str, value: &impl Serialize) -> Option<String> {
        let value = URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).ok()?);
        let tag = self.signature(&within(context, &value))?;
        Some(format!("{value}.{tag}"))
    }

    /// The value of a sealed text; `None` where it was not sealed in this context.
    pub(crate) fn open<T: DeserializeOwned>(&self, context: &str, sealed: &str) -> Option<T> {
        let (value, tag) = sealed.split_once('.')?;
        if !self.is_signed(&within(context, value), tag.as_bytes()) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value).ok()?).ok()
    }
}

fn within(context: &str, value: &str) -> Vec<u8> {
    format!("{}:{context}{value}", context.len()).into_bytes()
}

fn derived(key: &[u8], purpose: &str) -> Option<Tag> {
    let mut tag = Tag::new_from_slice(key).ok()?;
    tag.update(purpose.as_bytes());
    Tag::new_from_slice(&tag.finalize().into_bytes()).ok()
}

fn signature(key: &Tag, bytes: &[u8]) -> String {
    let mut tag = key.clone();
    tag.update(bytes);
    URL_SAFE_NO_PAD.encode(tag.finalize().into_bytes())
}
