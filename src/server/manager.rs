//! Notifications to the service manager over `$NOTIFY_SOCKET` (sd_notify(3)); without one, none are sent.
//!
//! | sent | when |
//! |---|---|
//! | `READY=1` | both addresses have accepted a connection |
//! | `RELOADING=1`, then `READY=1` | SIGHUP |
//! | `MAINPID=` | the next gate has the sockets and listens |
//! | `STOPPING=1` | SIGTERM, SIGINT |
//! | `EXTEND_TIMEOUT_USEC=` | the gate waits for its database |
//! | `WATCHDOG=1` | twice in each `$WATCHDOG_USEC`, while the proxy accepts connections or drains |

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use crate::edge::listener::{Listener, Phase};

/// The variables of the protocol.
const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
pub(super) const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// The service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Manager(Option<Arc<Channel>>);

#[derive(Debug)]
struct Channel {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How long it waits for a sign of life.
    patience: Option<Duration>,
}

impl Manager {
    /// The one that these variables name. That it cannot be reached is logged: the gate serves without it.
    pub(super) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Manager {
        let Some(name) = variable(SOCKET).filter(|name| !name.is_empty()) else { return Manager::default() };
        let text = |name| variable(name)?.into_string().ok();
        let is_meant = text(WATCHDOG_PROCESS).is_none_or(|id| id.parse() == Ok(std::process::id()));
        let patience = text(WATCHDOG).filter(|_| is_meant).and_then(|text| text.parse().ok());
        let patience = patience.filter(|micros| *micros > 0).map(Duration::from_micros);
        match Channel::to(&name, patience) {
            Ok(channel) => Manager(Some(Arc::new(channel))),
            Err(error) => {
                tracing::warn!(%error, socket = %name.display(), "the service manager cannot be notified (${SOCKET})");
                Manager::default()
            }
        }
    }

    /// Sends assignments, one a line.
    pub(super) fn tell(&self, state: &str) {
        let Some(channel) = &self.0 else { return };
        if let Err(error) = channel.socket.send_to_addr(state.as_bytes(), &channel.address) {
            tracing::warn!(%error, state, "the service manager was not notified (${SOCKET})");
        }
    }

    /// The files are read again; how that ends is in the log.
    pub(super) fn reloads<T>(&self, reload: impl FnOnce() -> T) -> T {
        self.tell("RELOADING=1");
        let outcome = reload();
        self.tell("READY=1");
        outcome
    }

    /// Gives signs of life, for as long as the proxy has not ended by itself. They come from the runtime that reads the
    /// mapping and writes the audit, so a gate in which nothing moves any more is killed and started again.
    pub(super) async fn keep_watched(self, proxy: Listener) {
        let Some(patience) = self.0.as_ref().and_then(|channel| channel.patience) else { return };
        let mut ticks = tokio::time::interval(patience / 2);
        loop {
            ticks.tick().await;
            if proxy.phase() == Phase::Gone {
                return;
            }
            self.tell("WATCHDOG=1");
        }
    }
}

impl Channel {
    fn to(name: &OsStr, patience: Option<Duration>) -> io::Result<Channel> {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not make requests wait.
        socket.set_nonblocking(true)?;
        Ok(Channel { socket, address, patience })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1_024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn named(name: &OsStr, more: &[(&str, String)]) -> Manager {
        Manager::of(|wanted| match wanted {
            SOCKET => Some(name.to_owned()),
            other => more.iter().find(|(name, _)| *name == other).map(|(_, value)| value.into()),
        })
    }

    #[test]
    fn a_manager_at_a_path_or_at_an_abstract_name_hears_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        named(path.as_os_str(), &[]).tell("READY=1");
        assert_eq!(heard(&socket), "READY=1");
        let name = format!("console-gate/{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        named(OsStr::new(&format!("@{name}")), &[]).reloads(|| ());
        assert_eq!([heard(&socket), heard(&socket)], ["RELOADING=1", "READY=1"]);
    }

    #[test]
    fn without_a_manager_nothing_is_sent() {
        for name in ["", "relative/path"] {
            assert!(named(OsStr::new(name), &[]).0.is_none(), "{name}");
        }
        // One that has gone is no reason to stop.
        named(OsStr::new("/no/such/socket"), &[]).tell("READY=1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_until_the_proxy_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let own = std::process::id().to_string();
        let watched =
            |id: String| named(path.as_os_str(), &[(WATCHDOG, "2000000".to_owned()), (WATCHDOG_PROCESS, id)]);
        // Meant for another process, from which it was inherited.
        watched("1".to_owned()).keep_watched(Listener::default()).await;
        let proxy = Listener::default();
        let feeding = tokio::spawn(watched(own).keep_watched(proxy.clone()));
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        for _ in 0..3 {
            assert_eq!(heard(&socket), "WATCHDOG=1");
        }
        assert!(socket.recv(&mut [0; 16]).is_err(), "more often than twice in its time");
        drop(proxy.guard());
        feeding.await.unwrap();
    }
}
