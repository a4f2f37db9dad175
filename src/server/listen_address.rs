//! The two addresses that a gate listens at, taken before anything else is done.
//!
//! pingora binds late, on a thread of its own, tries for half a minute and panics; and it removes whatever file is where
//! a Unix socket shall be. So the gate takes its addresses itself and gives pingora sockets that are bound already,
//! through the table by which pingora takes sockets over from another process.
//!
//! A TCP address is taken at the start and listened at when the gate is ready to accept, so that no client waits in the
//! queue of a gate that does not start after all. A Unix socket is bound when it is listened at, because one that is bound and
//! not listened at looks like one that a dead process left.

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pingora::listeners::ListenerConfig;
use pingora::server::{Fds, ListenFds};
use tokio::net::{TcpSocket, UnixSocket};

use super::occupant;
use crate::settings::{Address, Listen, SocketMode};

/// How many connections wait to be accepted, at most.
const BACKLOG: u32 = 65_535;
/// For a connection on this machine.
const CONNECTING: Duration = Duration::from_secs(2);

/// Why a gate cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "`{address}` is in use{by}: {setting} cannot listen there. Stop that process or set {setting} to another \
         address (to replace a running gate, use `serve --upgrade`)"
    )]
    Taken { setting: &'static str, address: String, by: String },
    #[error("`{address}` is not a socket and was not changed: remove it or set {setting} to another path")]
    NoSocket { setting: &'static str, address: String },
    #[error("{setting} cannot listen at `{address}`: {error}{hint}")]
    Unusable { setting: &'static str, address: String, error: io::Error, hint: &'static str },
}

impl ListenError {
    /// Whether it is a gate that has the address.
    pub fn by_gate(&self) -> bool {
        matches!(self, ListenError::Taken { by, .. } if by.contains("console-gate"))
    }
}

/// Looks whether a gate could listen at its two addresses, and takes neither.
pub fn look_at_addresses(listen: &Listen) -> Vec<(String, Result<(), ListenError>)> {
    let look = |(setting, address, mode): Named<'_>| {
        let looked = ListenAddress::look((setting, address, mode)).and_then(|found| found.is_free());
        (format!("{setting} {address}"), looked)
    };
    both(listen).into_iter().map(look).collect()
}

/// An address with its setting and, for a Unix socket, its mode.
type Named<'a> = (&'static str, &'a Address, SocketMode);

fn both(listen: &Listen) -> [Named<'_>; 2] {
    [
        ("[listen] proxy", &listen.proxy, listen.proxy_mode),
        ("[listen] admin", &listen.admin, listen.admin_mode),
    ]
}

/// The state of an address now.
#[derive(Debug)]
enum Held {
    /// Free: the socket is bound, and not yet listened at.
    Bound(TcpSocket),
    /// Nothing, or a socket that a dead process left.
    FreePath(PathBuf),
    /// Another process listens there.
    Taken { by: Option<String> },
    /// The socket is in the table already.
    Inherited,
}

/// A socket that is listened at.
#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl ListeningSocket {
    /// The same socket: what neither accepts, the other may.
    fn share(&self) -> io::Result<ListeningSocket> {
        Ok(match self {
            ListeningSocket::Tcp(listener) => ListeningSocket::Tcp(listener.try_clone()?),
            ListeningSocket::Unix(listener) => ListeningSocket::Unix(listener.try_clone()?),
        })
    }

    fn into_raw_fd(self) -> i32 {
        match self {
            ListeningSocket::Tcp(listener) => listener.into_raw_fd(),
            ListeningSocket::Unix(listener) => listener.into_raw_fd(),
        }
    }
}

/// One address.
#[derive(Debug)]
pub(super) struct ListenAddress {
    setting: &'static str,
    /// Resolved: what the table knows it by, and the same for every spelling of an address.
    address: String,
    /// Of a Unix socket: who may connect to it.
    mode: Option<SocketMode>,
    held: Held,
}

/// Both of them.
pub(super) struct ListenAddresses {
    pub(super) proxy: ListenAddress,
    pub(super) admin: ListenAddress,
}

impl ListenAddresses {
    /// Looks at both addresses and takes those that are free.
    ///
    /// # Errors
    ///
    /// An address cannot be one of this machine's.
    pub(super) fn look(listen: &Listen) -> Result<ListenAddresses, ListenError> {
        let [proxy, admin] = both(listen).map(ListenAddress::look);
        Ok(ListenAddresses { proxy: proxy?, admin: admin? })
    }

    /// Takes both addresses.
    ///
    /// # Errors
    ///
    /// One of them cannot be had.
    pub(super) fn take(listen: &Listen) -> Result<ListenAddresses, ListenError> {
        let addresses = ListenAddresses::look(listen)?;
        addresses.proxy.is_free()?;
        addresses.admin.is_free()?;
        Ok(addresses)
    }

    /// Takes what another gate has handed over, and closes what of it has no use here.
    ///
    /// # Errors
    ///
    /// An address is taken, and its socket is not among those that were handed over.
    pub(super) fn inherit(mut self, fds: &mut Fds) -> Result<ListenAddresses, ListenError> {
        for address in [&mut self.proxy, &mut self.admin] {
            if fds.get(&address.address).is_some() {
                address.held = Held::Inherited;
            }
            address.is_free()?;
        }
        fds.close_unclaimed(&[self.proxy.address.clone(), self.admin.address.clone()].into());
        Ok(self)
    }

    /// Listens at both addresses. The sockets are in `fds` then.
    ///
    /// # Errors
    ///
    /// Another process was faster.
    pub(super) fn open(&mut self, fds: &ListenFds) -> Result<(), ListenError> {
        let mut fds = fds.lock();
        self.proxy.open(&mut fds)?;
        self.admin.open(&mut fds)
    }
}

impl ListenAddress {
    fn look((setting, address, mode): Named<'_>) -> Result<ListenAddress, ListenError> {
        let unusable = |error| unusable(setting, address.to_string(), error);
        let found = |address: String, mode, held| ListenAddress { setting, address, mode, held };
        match address {
            Address::Tcp(name) => {
                let mut resolved = resolve(name).map_err(unusable)?;
                let held = match bind(resolved) {
                    Ok(socket) => {
                        // Port 0 is another one by now.
                        resolved = socket.local_addr().map_err(unusable)?;
                        Held::Bound(socket)
                    }
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        Held::Taken { by: occupant::of_address(resolved) }
                    }
                    Err(error) => return Err(unusable(error)),
                };
                Ok(found(resolved.to_string(), None, held))
            }
            Address::Unix(path) => {
                let held = look_at_path(setting, path)?;
                Ok(found(path.display().to_string(), Some(mode), held))
            }
        }
    }

    fn is_free(&self) -> Result<(), ListenError> {
        match &self.held {
            Held::Taken { by } => Err(self.taken(by.clone())),
            Held::Bound(_) | Held::FreePath(_) | Held::Inherited => Ok(()),
        }
    }

    fn taken(&self, by: Option<String>) -> ListenError {
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        ListenError::Taken { setting: self.setting, address: self.address.clone(), by }
    }

    fn open(&mut self, fds: &mut Fds) -> Result<(), ListenError> {
        if let Some(socket) = self.listen()? {
            fds.add(self.address.clone(), socket.into_raw_fd());
        }
        Ok(())
    }

    /// Listens before the proxy serves: the socket is in `fds` then, and shared with the task that answers meanwhile.
    ///
    /// # Errors
    ///
    /// Another process was faster.
    pub(super) fn open_early(&mut self, fds: &mut Fds) -> Result<Option<ListeningSocket>, ListenError> {
        let Some(socket) = self.listen()? else { return Ok(None) };
        let shared = socket.share().map_err(|error| unusable(self.setting, self.address.clone(), error))?;
        fds.add(self.address.clone(), socket.into_raw_fd());
        Ok(Some(shared))
    }

    /// `None` where the socket is in the table already.
    fn listen(&mut self) -> Result<Option<ListeningSocket>, ListenError> {
        let socket = match std::mem::replace(&mut self.held, Held::Inherited) {
            Held::Inherited => return Ok(None),
            Held::Taken { by } => return Err(self.taken(by)),
            Held::Bound(socket) => socket
                .listen(BACKLOG)
                .and_then(tokio::net::TcpListener::into_std)
                .map(ListeningSocket::Tcp)
                .map_err(|error| self.too_late(error))?,
            Held::FreePath(path) => {
                // Once more: it was a while ago.
                if let Held::Taken { by } = look_at_path(self.setting, &path)? {
                    return Err(self.taken(by));
                }
                let listened = listen_at(&path, self.permissions());
                ListeningSocket::Unix(listened.map_err(|error| self.too_late(error))?)
            }
        };
        Ok(Some(socket))
    }

    fn too_late(&self, error: io::Error) -> ListenError {
        if error.kind() == io::ErrorKind::AddrInUse {
            let by = self.address.parse().ok().and_then(occupant::of_address);
            return self.taken(by);
        }
        unusable(self.setting, self.address.clone(), error)
    }

    /// The address as it was resolved.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The same for a client.
    pub(super) fn target(&self) -> Address {
        match self.mode {
            Some(_) => Address::Unix(self.address.clone().into()),
            None => Address::Tcp(self.address.clone()),
        }
    }

    fn permissions(&self) -> Option<Permissions> {
        self.mode.map(|SocketMode(mode)| Permissions::from_mode(mode))
    }

    /// What pingora needs to take the socket out of the table.
    pub(super) fn listener(&self) -> ListenerConfig {
        match self.permissions() {
            // pingora would open it to everybody.
            Some(permissions) => ListenerConfig::uds(self.address.clone()).permissions(permissions),
            None => ListenerConfig::tcp(self.address.clone()),
        }
    }
}

/// The first address of a name: what one listens at is not looked for elsewhere.
fn resolve(name: &str) -> io::Result<SocketAddr> {
    name.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the name has no address"))
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of a gate before that have not quite ended do not matter; one that listens does.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn look_at_path(setting: &'static str, path: &Path) -> Result<Held, ListenError> {
    let shown = path.display().to_string();
    let free = || Held::FreePath(path.to_owned());
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Found out now, and not when everything else is ready.
            let has_folder = path.parent().is_some_and(Path::is_dir);
            if has_folder { Ok(free()) } else { Err(unusable(setting, shown, error)) }
        }
        Err(error) => Err(unusable(setting, shown, error)),
        Ok(file) if !file.file_type().is_socket() => Err(ListenError::NoSocket { setting, address: shown }),
        Ok(_) => match connect(path) {
            // A connection, or a queue that is full: a process listens.
            Some(Ok(())) | None => Ok(Held::Taken { by: occupant::of_path(path) }),
            Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(free()),
            Some(Err(error)) => Err(unusable(setting, shown, error)),
        },
    }
}

/// Connects, within a time: where no process accepts and the queue is full, connecting waits for ever.
fn connect(path: &Path) -> Option<io::Result<()>> {
    let (sender, connected) = std::sync::mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        // The receiver is gone if it took too long.
        let _ = sender.send(std::os::unix::net::UnixStream::connect(path).map(drop));
    });
    connected.recv_timeout(CONNECTING).ok()
}

/// Listens at a path that is free, or has a socket without a listener.
fn listen_at(path: &Path, mode: Option<Permissions>) -> io::Result<std::os::unix::net::UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Before it is listened at, so that nobody connects who may not.
    mode.map_or(Ok(()), |mode| std::fs::set_permissions(path, mode))?;
    socket.listen(BACKLOG)?.into_std()
}

fn unusable(setting: &'static str, address: String, error: io::Error) -> ListenError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ". The gate's user lacks the right: a port below 1024 needs CAP_NET_BIND_SERVICE, a socket needs a \
             writable folder"
        }
        io::ErrorKind::AddrNotAvailable => ". Use an address of this machine",
        io::ErrorKind::NotFound => ". Create the folder first, or use another path",
        _ => "",
    };
    ListenError::Unusable { setting, address, error, hint }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn listen(proxy: &str, admin: &str) -> Listen {
        let address = |text: &str| Address::parse(text).unwrap();
        Listen { proxy: address(proxy), admin: address(admin), ..Listen::default() }
    }

    fn table() -> ListenFds {
        Arc::new(Fds::new().into())
    }

    /// Two gates that start at the same moment both find their addresses free; the one that listens first has them.
    #[tokio::test]
    async fn of_two_that_start_together_one_listens() {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let admin = format!("unix:{}/admin", folder.path().display());
        let pairs = [
            (free.to_string(), "127.0.0.1:0".to_owned(), "[listen] proxy"),
            ("127.0.0.1:0".to_owned(), admin, "[listen] admin"),
        ];
        for (proxy, admin, setting) in pairs {
            let listen = listen(&proxy, &admin);
            let (mut first, mut second) =
                (ListenAddresses::take(&listen).unwrap(), ListenAddresses::take(&listen).unwrap());
            let fds = table();
            first.open(&fds).unwrap();
            let message = second.open(&table()).unwrap_err().to_string();
            assert!(message.contains("is in use by ") && message.contains(setting), "{message}");
            assert!(fds.lock().get(first.proxy.address()).is_some());
        }
    }

    /// However an address is spelled in the settings of two gates, its socket is found among those that change hands.
    #[tokio::test]
    async fn an_address_is_known_as_it_resolves() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = listen(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
        let fds = table();
        let mut first = ListenAddresses::take(&settings).unwrap();
        first.open(&fds).unwrap();
        let other = listen(&format!("0x7f.1:{port}"), "127.0.0.1:0");
        let next = ListenAddresses::look(&other).unwrap();
        assert!(matches!(next.proxy.held, Held::Taken { .. }));
        let next = next.inherit(&mut fds.lock()).unwrap();
        assert!(matches!(next.proxy.held, Held::Inherited));
        assert_eq!(next.proxy.address(), first.proxy.address());
        // A socket that the next gate does not name is not kept open.
        assert!(fds.lock().get(first.admin.address()).is_none());
    }
}
