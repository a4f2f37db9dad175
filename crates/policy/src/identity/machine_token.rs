//! Machine tokens. The gate's own tokens are `cgm_` and 43 characters of base64url, 256 random bits. Console's tokens,
//! which are enrolled by their hash, can have any form. Only the SHA-256 is ever stored.
//!
//! A plain hash is enough, because 256 random bits cannot be searched; a slow hash would only slow the gate down.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const PREFIX: &str = "cgm_";
/// The number of random bytes in a token.
pub const RANDOM_BYTES: usize = 32;

/// The SHA-256 of a machine token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Hashes a presented token. The store decides whether it exists.
    pub fn of(token: &str) -> Self {
        TokenDigest(Sha256::digest(token.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits, upper or lower case; `None` for anything else.
    pub fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            // `from_str_radix` would take a sign.
            let digits = std::str::from_utf8(digits)
                .ok()
                .filter(|two| two.bytes().all(|one| one.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(TokenDigest(bytes))
    }

    /// 64 lower-case hexadecimal digits, as stored.
    pub fn to_hex(self) -> String {
        crate::hex::lower(self.0)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight digits distinguish two tokens in a log and are useless for anything else.
        write!(f, "TokenDigest({}...)", &self.to_hex()[..8])
    }
}

/// The token made of these random bytes. It is wiped when dropped.
pub fn of_random(bytes: &[u8; RANDOM_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The digest of the token that an `Authorization` value presents; `None` for any other scheme.
///
/// Console's tokens can be enrolled by their hash, so a token of any form may be valid.
pub fn presented(authorization: &str) -> Option<TokenDigest> {
    bearer(authorization).map(TokenDigest::of)
}

/// The token of an `Authorization: Bearer` value (RFC 6750 2.1); `None` for any other scheme or a malformed token.
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
    fn a_bearer_token_of_any_form_may_be_somebodys() {
        let token = of_random(&[0x5a; RANDOM_BYTES]);
        assert_eq!(token.len(), PREFIX.len() + 43);
        for token in [token.as_str(), "console-knows-it", "eyJhbGciOiJIUzI1NiJ9.e30.XmNK3GpH3Ys_7wsYBfq4C"] {
            assert_eq!(presented(&format!("Bearer {token}")), Some(TokenDigest::of(token)));
            assert_eq!(presented(&format!("bearer {token}")), Some(TokenDigest::of(token)));
            assert_eq!(presented(&format!("Basic {token}")), None);
        }
    }

    #[test]
    fn a_hash_is_read_as_it_is_stored() {
        let digest = TokenDigest::of("console-knows-it");
        assert_eq!(TokenDigest::parse(&digest.to_hex()), Some(digest));
        assert_eq!(TokenDigest::parse(&digest.to_hex().to_uppercase()), Some(digest));
        let hex = digest.to_hex();
        for bad in ["", &hex[1..], &format!("{hex}0"), &format!("+{}", &hex[1..]), &format!("{}g", &hex[1..])]
        {
            assert_eq!(TokenDigest::parse(bad), None, "{bad}");
        }
        assert_eq!(TokenDigest::parse(&"é".repeat(32)), None);
    }

    #[test]
    fn the_debug_form_gives_no_whole_hash_away() {
        let digest = TokenDigest::of("cgm_x");
        assert!(!format!("{digest:?}").contains(&digest.to_hex()));
    }
}
