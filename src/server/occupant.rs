//! Who listens at an address already, as far as /proc shows it to this user.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The state of a listening socket in /proc/net/tcp, and the flag of one in /proc/net/unix.
const LISTENING: &str = "0A";
const ACCEPTS: &str = "00010000";

/// `console-gate, process 4711`, if it is known.
pub(super) fn of_address(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).ok());
    let inode = tables.iter().flatten().find_map(|table| inode_of_address(table, address))?;
    process_with(&inode)
}

/// The same for a Unix socket.
pub(super) fn of_path(path: &Path) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/unix").ok()?;
    process_with(&inode_of_path(&table, path)?)
}

fn inode_of_address(table: &str, address: SocketAddr) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let ip = parse_ip(ip)?;
        let meets = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
        let is_it = *state == LISTENING && u16::from_str_radix(port, 16).ok()? == address.port() && meets;
        is_it.then(|| (*inode).to_owned())
    })
}

fn inode_of_path(table: &str, path: &Path) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (flags, inode, name) = (fields.get(3)?, fields.get(6)?, fields.get(7)?);
        (*flags == ACCEPTS && Path::new(name) == path).then(|| (*inode).to_owned())
    })
}

/// The kernel prints the words of an address as numbers of the machine's own byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (part, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(part * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// The first process that has a socket open. Those of other users do not show what they have.
fn process_with(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let (Some(id), Ok(files)) = (id, std::fs::read_dir(entry.path().join("fd"))) else { continue };
        let has_it = |file: &std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        };
        if files.flatten().any(|file| has_it(&file)) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            // A process names itself as it likes.
            let name: String = name.chars().filter(char::is_ascii_graphic).collect();
            return Some(format!("{name}, process {id}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0
   1: 00000000:26AD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 100 0 0 10 0
   2: 0100007F:0050 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 333 1 0 100 0 0 10 0";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_table_of_the_kernel_is_read() {
        let table = [
            ("127.0.0.1:8080", Some("111")),
            ("0.0.0.0:8080", Some("111")),
            ("127.0.0.2:8080", None),
            ("127.0.0.2:9901", Some("222")),
            ("127.0.0.1:80", None),
        ];
        for (address, inode) in table {
            assert_eq!(inode_of_address(TCP, address.parse().unwrap()).as_deref(), inode, "{address}");
        }
        assert_eq!(parse_ip("00000000000000000000000001000000"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(parse_ip("0100"), None);
    }

    #[test]
    fn the_process_that_listens_is_found() {
        let this = format!("process {}", std::process::id());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let occupant = of_address(listener.local_addr().unwrap()).unwrap();
        assert!(occupant.ends_with(&this), "{occupant}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let occupant = of_path(&path).unwrap();
        assert!(occupant.ends_with(&this), "{occupant}");
    }
}
