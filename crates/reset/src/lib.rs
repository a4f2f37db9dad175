//! Makes the end of a connection a reset.
//!
//! A client of HTTP/1.0 learns from the end of the connection that a response is complete. Where it is not, the connection
//! has to end otherwise (docs/decisions/0099). pingora gives out a connection's number and no option for its end; to set
//! one by the number is not for the gate's own crate, which forbids unsafe code.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use socket2::SockRef;

/// Lets the connection of this number end with a reset instead of an orderly end, when it is closed. What was not sent yet
/// is dropped. A Unix socket knows no reset; there it changes nothing.
///
/// # Errors
///
/// The number is no socket's.
#[expect(unsafe_code, reason = "nothing safe makes a socket of a number")]
pub fn on_close(number: RawFd) -> io::Result<()> {
    // SAFETY: the number is used for this one call and closed by nobody here. If it were another socket's by now, that one
    // would end with a reset; no memory depends on it.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    /// What a client reads of a server that writes a word and closes.
    fn read(is_reset: bool) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        server.write_all(b"word")?;
        let mut word = [0; 4];
        client.read_exact(&mut word)?;
        if is_reset {
            super::on_close(server.as_raw_fd())?;
        }
        drop(server);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest)?;
        Ok([&word[..], &rest].concat())
    }

    #[test]
    fn a_client_sees_a_reset_where_there_would_be_an_end() {
        assert_eq!(read(false).expect("an end"), b"word");
        assert_eq!(read(true).expect_err("a reset").kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn what_is_no_socket_is_an_error() {
        let file = std::fs::File::open("/dev/null").expect("a device");
        assert!(super::on_close(file.as_raw_fd()).is_err());
    }
}
