//! Fresh random values: request ids and machine tokens.

use policy::identity::machine_token::{RANDOM_BYTES, of_random};
use policy::ids::RequestId;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

/// The id of a new request.
pub fn request_id() -> RequestId {
    RequestId::new(uuid::Uuid::now_v7())
}

/// A new machine token. It is printed once and wiped when dropped.
///
/// # Errors
///
/// The operating system gave no randomness.
pub fn machine_token() -> Result<Zeroizing<String>, rand::rand_core::OsError> {
    let mut bytes = Zeroizing::new([0_u8; RANDOM_BYTES]);
    OsRng.try_fill_bytes(bytes.as_mut())?;
    Ok(of_random(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_made_twice() {
        assert_ne!(*machine_token().unwrap(), *machine_token().unwrap());
    }
}
