//! Keys that a key service unwraps: the transit engine of HashiCorp Vault, which OpenBao has as well.
//!
//! ```text
//! settings: k1:vault:v1:8SDd3WHD...       POST {url}/v1/transit/decrypt/{key}   {"ciphertext":"vault:v1:8SDd3WHD..."}
//!                                         200 {"data":{"plaintext":"<base64 of the key>"}}
//! ```
//!
//! The settings hold the wrapped keys; the keys themselves are only in memory. The service is asked once, at the start.
//! An unavailable or sealed service is retried for a while; a refusal is final.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::keys::{KeyError, KeyRing, entries};
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::outbound::{Outbound, Request, Url};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_REASON: usize = 200;

/// Keys that Vault's transit engine unwraps.
pub struct TransitKeys {
    outbound: Outbound,
    decrypt: Url,
    token: Zeroizing<String>,
    wrapped: String,
    patience: Duration,
}

/// The outcome of a question that gave no key.
enum Failure {
    /// Asking again would get the same answer.
    Final(String),
    /// It may be temporary.
    Passing(String),
}

#[derive(Deserialize)]
struct Decrypted {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    plaintext: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl TransitKeys {
    /// Unwraps `wrapped`, which is `id:vault:v1:...` with commas between entries, with the transit key `key` of the
    /// service at `url`. All of it has to finish within `patience`.
    pub fn new(
        outbound: Outbound,
        url: &Url,
        key: &str,
        token: Zeroizing<String>,
        wrapped: String,
        patience: Duration,
    ) -> Self {
        TransitKeys {
            outbound,
            decrypt: url.join(&format!("v1/transit/decrypt/{key}")),
            token,
            wrapped,
            patience,
        }
    }

    async fn unwrap_key(
        &self,
        id: &str,
        ciphertext: &str,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match tokio::time::timeout_at(deadline, self.ask(ciphertext)).await {
                Ok(Ok(key)) => return Ok(key),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Passing("no answer".to_owned()),
            };
            let id = id.to_owned();
            match failure {
                Failure::Final(reason) => return Err(KeyError::Refused { id, reason }),
                Failure::Passing(reason) if Instant::now() + pause >= deadline => {
                    return Err(KeyError::Unavailable { id, patience: self.patience, reason });
                }
                Failure::Passing(reason) => {
                    tracing::warn!(%reason, key = %id, "the key service did not unwrap a key; the gate retries");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn ask(&self, ciphertext: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let body = serde_json::json!({ "ciphertext": ciphertext }).to_string();
        let headers = [("x-vault-token", self.token.as_str())];
        let asked =
            self.outbound.send(&self.decrypt, Request::Post { body: body.as_bytes() }, &headers).await;
        let answer = asked.map_err(|error| Failure::Passing(error.to_string()))?;
        match answer.status {
            200 => {
                // The body of a 200 may contain the key, so no error shows any part of it.
                let nonsense = || Failure::Passing("its answer is not from a transit engine".to_owned());
                let decrypted: Decrypted = serde_json::from_slice(&answer.body).map_err(|_| nonsense())?;
                STANDARD
                    .decode(decrypted.data.plaintext.as_bytes())
                    .map(Zeroizing::new)
                    .map_err(|_| nonsense())
            }
            // 412 and 472 to 473 are lagging replicas; 429 asks for patience; 503 is sealed or in maintenance.
            412 | 429 | 472 | 473 | 500.. => Err(Failure::Passing(reason(answer.status, &answer.body))),
            _ => Err(Failure::Final(reason(answer.status, &answer.body))),
        }
    }

    /// The ring, each key unwrapped by the service.
    ///
    /// # Errors
    ///
    /// The service refused, or did not answer in time; or its answer is not a ring.
    pub async fn keys(&self) -> Result<KeyRing, KeyError> {
        let deadline = Instant::now() + self.patience;
        let mut keys = Vec::new();
        for (id, ciphertext) in entries(&self.wrapped)? {
            keys.push((id.to_owned(), self.unwrap_key(id, ciphertext, deadline).await?));
        }
        KeyRing::from_keys(&keys)
    }
}

/// The status and the first words of Vault's `{"errors":[...]}`.
fn reason(status: u16, body: &[u8]) -> String {
    let errors = serde_json::from_slice(body).map_or(Vec::new(), |Errors { errors }| errors);
    let words = errors.join("; ");
    let words = words.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let words: String = words.take(LONGEST_REASON).collect();
    if words.is_empty() { format!("status {status}") } else { format!("status {status}: {words}") }
}

impl fmt::Debug for TransitKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransitKeys({:?})", self.decrypt)
    }
}
