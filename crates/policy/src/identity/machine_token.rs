//! Machine tokens: `cgm_` and 43 characters of base64url, 256 random bits. Only the SHA-256 is ever stored.
//!
//! A plain hash is enough, because nobody can search 256 random bits; a slow hash would only slow the gate down.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const PREFIX: &str = "cgm_";
/// As many random bytes make a token.
pub const RANDOM_BYTES: usize = 32;

/// The SHA-256 of a machine token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Hashes a presented token. Whether it exists is for the store to say.
    pub fn of(token: &str) -> Self {
        TokenDigest(Sha256::digest(token.as_bytes()).into())
    }

    /// 64 lower-case hexadecimal digits, as stored.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight digits tell two tokens apart in a log and are of no use to anyone else.
        write!(f, "TokenDigest({}...)", &self.to_hex()[..8])
    }
}

/// The token of these random bytes. It is wiped when dropped.
pub fn of_random(bytes: &[u8; RANDOM_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The digest of the token that an `Authorization` value presents; `None` for any other scheme, and for what no token of
/// the gate's looks like.
///
/// Only `console-gate token create` enrols tokens, and only such as [`of_random`] makes. So whatever has another form is
/// nobody's, and is not worth a look at the database: anybody can send it, as often as they like.
pub fn presented(authorization: &str) -> Option<TokenDigest> {
    let token = bearer(authorization)?;
    let random = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    (random.len() == RANDOM_BYTES).then(|| TokenDigest::of(token))
}

/// The token of an `Authorization: Bearer` value (RFC 6750 2.1); `None` for any other scheme or an odd token.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let well_formed = !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    (scheme.eq_ignore_ascii_case("bearer") && well_formed).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_bearer_value_is_a_token() {
        let table = [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer  abc", None),
            ("Bearer a b", None),
            ("Basic abc", None),
            ("Bearer a,b", None),
        ];
        for (value, token) in table {
            assert_eq!(bearer(value), token, "{value}");
        }
    }

    #[test]
    fn only_what_looks_like_a_token_of_the_gates_is_looked_up() {
        let token = of_random(&[0x5a; RANDOM_BYTES]);
        assert_eq!(token.len(), PREFIX.len() + 43);
        assert_eq!(presented(&format!("Bearer {}", *token)), Some(TokenDigest::of(&token)));
        assert_eq!(presented(&format!("bearer {}", *token)), Some(TokenDigest::of(&token)));
        let secret = &token[PREFIX.len()..];
        let others = [
            format!("Basic {}", *token),
            format!("Bearer {secret}"),
            format!("Bearer CGM_{secret}"),
            format!("Bearer {}=", *token),
            format!("Bearer {}A", *token),
            format!("Bearer cgm_{}", &secret[1..]),
            format!("Bearer cgm_+{}", &secret[1..]),
            // The last character has bits to spare, which are zero.
            format!("Bearer cgm_{}_", &secret[..42]),
            "Bearer cgm_".to_owned(),
            "Bearer eyJhbGciOiJIUzI1NiJ9.e30.XmNK3GpH3Ys_7wsYBfq4C3M6goz71I7dTgUkuIa5lyQ".to_owned(),
        ];
        for other in others {
            assert_eq!(presented(&other), None, "{other}");
        }
    }

    #[test]
    fn the_debug_form_gives_no_whole_hash_away() {
        let digest = TokenDigest::of("cgm_x");
        assert!(!format!("{digest:?}").contains(&digest.to_hex()));
    }
}
