//! What is made fresh: request ids, machine tokens and one-time codes.

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

/// The characters of a code: none is taken for another when it is read aloud or typed.
const OF_CODES: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// A new one-time code of 120 random bits, in groups of four characters. It is printed once and wiped when dropped.
///
/// # Errors
///
/// The operating system gave no randomness.
pub fn one_time_code() -> Result<Zeroizing<String>, rand::rand_core::OsError> {
    let mut bytes = Zeroizing::new([0_u8; 24]);
    OsRng.try_fill_bytes(bytes.as_mut())?;
    let mut code = Zeroizing::new(String::with_capacity(30));
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 && place % 4 == 0 {
            code.push('-');
        }
        // 256 is a multiple of 32, so each character is as likely as any other.
        code.push(char::from(OF_CODES[usize::from(byte % 32)]));
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_made_twice() {
        assert_ne!(*machine_token().unwrap(), *machine_token().unwrap());
    }
}
