//! Checks a kept connection before it is used again.

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use pingora::protocols::Stream;

/// Whether nothing has come over a kept connection since its last response: no byte, and not its end.
///
/// Bytes that nobody has asked for would be the answer to whatever is asked next, for another client. pingora looks for
/// them too, but by what the runtime knows, and that may be a little old: the socket is registered with the thread that
/// opened it. So the socket itself is asked.
pub(super) fn is_silent(stream: &Stream) -> bool {
    let looked = recv(stream.id(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    looked == Err(Errno::EAGAIN)
}
