//! Options of sockets that are known by their number alone.
//!
//! pingora gives out a connection's number and sqlx nothing; neither has these options. To set one by the number is not for the
//! gate's own crate, which forbids unsafe code.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use socket2::SockRef;

/// Lets the connection of this number end with a reset instead of an orderly end, when it is closed. What was not sent yet
/// is dropped. A Unix socket knows no reset; there it changes nothing.
///
/// A client of HTTP/1.0 learns from the end of the connection that a response is complete. Where it is not, the connection
/// has to end otherwise (docs/decisions/0099).
///
/// # Errors
///
/// The number is no socket's.
pub fn reset_on_close(number: RawFd) -> io::Result<()> {
    with_socket(number, |socket| socket.set_linger(Some(Duration::ZERO)))
}

/// Has data sent at once (`TCP_NODELAY`) over each TCP connection of this process to that port of another end,
/// and returns over how many it was not.
///
/// Otherwise a small write waits until the one before it is acknowledged, which its receiver may put off for 40 ms
/// (docs/decisions/0197).
///
/// # Errors
///
/// The process's descriptors cannot be listed. One that is closed meanwhile is none.
pub fn send_at_once(port: u16) -> io::Result<usize> {
    let mut changed = 0;
    for entry in fs::read_dir("/dev/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let set = with_socket(number, |socket| {
            let to = socket.peer_addr()?.as_socket().map(|address| address.port());
            let waits = to == Some(port) && !socket.tcp_nodelay()?;
            if waits {
                socket.set_tcp_nodelay(true)?;
            }
            Ok(waits)
        });
        changed += usize::from(set.unwrap_or(false));
    }
    Ok(changed)
}

#[expect(unsafe_code, reason = "nothing safe makes a socket of a number")]
fn with_socket<T>(number: RawFd, call: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
    // SAFETY: the number is used for this one call and not closed here. If it were another socket's by now, that one
    // would have the option; no memory depends on it.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    call(&SockRef::from(&descriptor))
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
            super::reset_on_close(server.as_raw_fd())?;
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
        assert!(super::reset_on_close(file.as_raw_fd()).is_err());
    }

    #[test]
    fn connections_to_one_port_send_at_once() {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [to_one, to_other] = listeners
            .each_ref()
            .map(|listener| TcpStream::connect(listener.local_addr().expect("an address")));
        let (to_one, to_other) = (to_one.expect("a connection"), to_other.expect("a connection"));
        let port = to_one.peer_addr().expect("its other end").port();
        let counted =
            [super::send_at_once(port), super::send_at_once(port)].map(|count| count.expect("a list"));
        assert_eq!(counted, [1, 0]);
        assert!(to_one.nodelay().expect("an option") && !to_other.nodelay().expect("an option"));
    }
}
