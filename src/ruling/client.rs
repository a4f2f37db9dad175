//! Whose address a request is from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use policy::ids::RequestId;

use crate::settings::AddressDetail;

/// The client's address, believing only the hops that one's own proxies added.
///
/// Each of the `trusted_hops` proxies in front appends the address it was called from, so the client's address is the
/// one `trusted_hops` places from the end of X-Forwarded-For; everything before it is unverified. When the header is
/// shorter than that, or holds no address there, the request bypassed the proxies, and the connection's own address is
/// taken.
pub fn client_address(peer: Option<IpAddr>, forwarded_for: &[String], trusted_hops: usize) -> Option<IpAddr> {
    if trusted_hops == 0 {
        return peer;
    }
    let claimed = forwarded_for.len().checked_sub(trusted_hops).and_then(|place| forwarded_for.get(place));
    claimed.and_then(|hop| hop_address(hop.trim())).or(peer)
}

/// The address of a hop, which some proxies write with its port: `203.0.113.9:4711`, `[2001:db8::1]:4711`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = || {
        hop.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .and_then(|v6| v6.parse::<Ipv6Addr>().ok())
    };
    hop.parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| bare().map(IpAddr::V6))
}

/// The scheme that the client used, as far as it is known.
///
/// One's own proxy in front knows it. Without one, or where it does not say, it is that of the connection to the gate.
pub fn client_scheme(over_tls: bool, claimed: Option<&str>, trusted_hops: usize) -> &'static str {
    match claimed {
        Some("https") if trusted_hops > 0 => "https",
        Some("http") if trusted_hops > 0 => "http",
        _ if over_tls => "https",
        _ => "http",
    }
}

/// The id of a request: the one that one's own proxy in front gave it, else a new one.
pub fn request_id(claimed: Option<RequestId>, trusted_hops: usize) -> RequestId {
    claimed.filter(|_| trusted_hops > 0).unwrap_or_else(crate::random::request_id)
}

/// The address as an audit row keeps it: whole, cut to its network (/24, /48), or not at all.
pub fn kept_address(address: Option<IpAddr>, detail: AddressDetail) -> Option<String> {
    match (address?, detail) {
        (_, AddressDetail::None) => None,
        (address, AddressDetail::Full) => Some(address.to_string()),
        (IpAddr::V4(address), AddressDetail::Truncated) => Some(truncated_v4(address)),
        (IpAddr::V6(address), AddressDetail::Truncated) => Some(match address.to_ipv4_mapped() {
            Some(mapped) => truncated_v4(mapped),
            None => {
                let [a, b, c, ..] = address.segments();
                format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
            }
        }),
    }
}

fn truncated_v4(address: Ipv4Addr) -> String {
    let [a, b, c, _] = address.octets();
    format!("{a}.{b}.{c}.0/24")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hops_of_ones_own_proxies_are_believed() {
        let peer: Option<IpAddr> = Some("10.0.0.1".parse().unwrap());
        let table: [(&[&str], usize, &str); 17] = [
            (&[], 0, "10.0.0.1"),
            (&["6.6.6.6"], 0, "10.0.0.1"),
            (&["203.0.113.9"], 1, "203.0.113.9"),
            (&["6.6.6.6", "203.0.113.9"], 1, "203.0.113.9"),
            (&["6.6.6.6", "203.0.113.9", "10.0.0.7"], 2, "203.0.113.9"),
            (&["203.0.113.9"], 2, "10.0.0.1"),
            (&["unknown"], 1, "10.0.0.1"),
            (&["203.0.113.9:4711"], 1, "203.0.113.9"),
            (&["[2001:db8::1]:4711"], 1, "2001:db8::1"),
            (&["[2001:db8::1]"], 1, "2001:db8::1"),
            (&["2001:db8::1"], 1, "2001:db8::1"),
            (&["203.0.113.9:"], 1, "10.0.0.1"),
            (&["203.0.113.9:x"], 1, "10.0.0.1"),
            (&["203.0.113.9:65536"], 1, "10.0.0.1"),
            (&["[203.0.113.9]"], 1, "10.0.0.1"),
            (&["[2001:db8::1"], 1, "10.0.0.1"),
            (&["203.0.113.9:1, 6.6.6.6"], 1, "10.0.0.1"),
        ];
        for (hops, trusted, expected) in table {
            let hops: Vec<String> = hops.iter().map(|hop| (*hop).to_owned()).collect();
            let address = client_address(peer, &hops, trusted).map(|address| address.to_string());
            assert_eq!(address.as_deref(), Some(expected), "{hops:?} {trusted}");
        }
    }

    #[test]
    fn a_scheme_is_believed_of_ones_own_proxies_and_else_seen() {
        let table = [
            (false, None, 0, "http"),
            (false, Some("https"), 0, "http"),
            (false, Some("https"), 1, "https"),
            (false, Some("gopher"), 1, "http"),
            (true, None, 0, "https"),
            (true, Some("http"), 0, "https"),
            (true, None, 1, "https"),
            (true, Some("gopher"), 1, "https"),
            (true, Some("http"), 1, "http"),
            (true, Some("https"), 1, "https"),
        ];
        for (over_tls, claimed, hops, expected) in table {
            assert_eq!(client_scheme(over_tls, claimed, hops), expected, "{over_tls} {claimed:?} {hops}");
        }
    }

    #[test]
    fn an_audit_row_keeps_as_much_as_the_settings_say() {
        let table = [
            ("203.0.113.9", AddressDetail::Truncated, Some("203.0.113.0/24")),
            ("203.0.113.9", AddressDetail::Full, Some("203.0.113.9")),
            ("203.0.113.9", AddressDetail::None, None),
            ("2001:db8:1:2::3", AddressDetail::Truncated, Some("2001:db8:1::/48")),
            ("::ffff:203.0.113.9", AddressDetail::Truncated, Some("203.0.113.0/24")),
        ];
        for (address, detail, expected) in table {
            let kept = kept_address(Some(address.parse().unwrap()), detail);
            assert_eq!(kept.as_deref(), expected, "{address} {detail:?}");
        }
    }
}
