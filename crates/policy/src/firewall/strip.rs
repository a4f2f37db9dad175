//! Header fields that a client may send and Console must not see.
//!
//! From each of them, some server, framework or middleware learns who the caller is, where the request came from, or
//! which method or path is really meant. Behind the gate, only the gate states these. Names with `_` and other marks
//! are dropped before this list is consulted, so `X_Forwarded_For` does not bypass it.

/// Names that are dropped. `x-forwarded-for`, `x-forwarded-proto` and `x-request-id` are read before they are dropped.
const NAMES: &[&str] = &[
    // Hop-by-hop (RFC 9110 7.6.1) and connection-specific; Connection and Upgrade are handled where they are parsed.
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    // The address, the host, the scheme.
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "client-ip",
    "do-connecting-ip",
    "fastly-client-ip",
    "fastly-ssl",
    "fly-client-ip",
    "forwarded",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-custom-ip-authorization",
    "x-forwarded",
    "x-host",
    "x-proto",
    "x-proxyuser-ip",
    "x-real-host",
    "x-real-ip",
    "x-real-port",
    "x-scheme",
    "x-url-scheme",
    "x-vercel-forwarded-for",
    // The path and the method. CGI names with a hyphen are not CGI variables, but no legitimate use needs them.
    "path-info",
    "script-name",
    "x-method",
    "x-method-override",
    "x-override-url",
    "x-path-info",
    "x-request-uri",
    "x-script-name",
    // Sub-requests and file serving (nginx, Apache, Rack).
    "x-sendfile",
    "x-sendfile-type",
    // The caller's identity (Kong, Grafana's auth proxy and others).
    "teleport-jwt-assertion",
    "x-anonymous-consumer",
    "x-auth-email",
    "x-auth-roles",
    "x-grafana-user",
    "x-jwt-assertion",
    "x-proxy-user",
    "x-user",
    "x-user-email",
    "x-user-groups",
    "x-user-id",
    "x-user-info",
    "x-user-ip",
    "x-user-name",
    "x-user-role",
    "x-user-roles",
    "x-userid",
    "x-userinfo",
    "x-username",
    // `Proxy` becomes HTTP_PROXY, which HTTP clients inside a CGI-like process obey (CVE-2016-5385, "httpoxy").
    "proxy",
    // The gate's own fields.
    "x-request-id",
];

/// Prefixes of names that are dropped.
const PREFIXES: &[&str] = &[
    "cf-access-",
    // Client-Cert, Client-Cert-Chain (RFC 9440).
    "client-cert",
    // Forwarded-For, Forwarded-Host, Forwarded-Proto.
    "forwarded-",
    // Impersonate-User, Impersonate-Group, Impersonate-Extra-* (Kubernetes).
    "impersonate-",
    // Hop-by-hop: Proxy-Authorization, Proxy-Connection.
    "proxy-",
    // Remote-User, Remote-Groups, Remote-Email (Authelia, Apache), Remote-Addr.
    "remote-",
    "ssl-client-",
    "tailscale-",
    "wl-proxy-",
    // nginx's X-Accel-Redirect and similar fields, which belong in responses.
    "x-accel-",
    "x-amzn-oidc-",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-auth-user",
    "x-authenticated-",
    "x-authentik-",
    "x-azure-",
    "x-client-cert",
    "x-client-verify",
    "x-console-gate-",
    "x-consumer-",
    "x-credential-",
    "x-envoy-",
    // Traefik's client certificate, and its fields.
    "x-forward-tls-client-cert",
    // For, Host, Port, Prefix, Proto, Protocol, Server, Ssl, Uri, User, Email, Groups, Client-Cert.
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    // X-HTTP-Method, X-HTTP-Method-Override, X-HTTP-Host-Override, X-HTTP-Path-Override, X-HTTP-DestinationURL.
    "x-http-",
    // Next.js took such a request for one of its own and skipped its authorization (CVE-2025-29927).
    "x-middleware-",
    "x-ms-client-principal",
    // X-Original-URL, X-Original-URI, X-Original-Host, X-Original-Method, X-Original-For.
    "x-original-",
    "x-originating-",
    "x-pomerium-",
    "x-remote-",
    // X-Rewrite-URL.
    "x-rewrite-",
    "x-ssl-",
    "x-tls-client-cert",
    "x-vouch-",
    "x-webauth-",
];

/// The fields that never reach Console as the client sent them.
///
/// Each field of each request is looked up here: both lists are sorted, and the first two bytes of most names begin no
/// entry of the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripList {
    names: Vec<Box<str>>,
    prefixes: Vec<&'static str>,
    beginnings: Beginnings,
}

/// The pairs of first two bytes of the entries in the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Beginnings {
    /// Indexed by the first byte: a bit for each second byte without its three highest bits, so several bytes may share
    /// a bit.
    second: Box<[u32; 256]>,
}

impl Beginnings {
    fn of<'l>(lists: impl Iterator<Item = &'l str>) -> Beginnings {
        let mut second = Box::new([0; 256]);
        for listed in lists {
            match listed.as_bytes() {
                [] => {}
                [first] => second[usize::from(*first)] = u32::MAX,
                [first, next, ..] => second[usize::from(*first)] |= 1 << (next & 31),
            }
        }
        Beginnings { second }
    }

    /// Whether a name may be in the lists; `false` is certain.
    fn may_have(&self, name: &[u8]) -> bool {
        match name {
            [] => false,
            [first] => self.second[usize::from(*first)] != 0,
            [first, next, ..] => self.second[usize::from(*first)] & 1 << (next & 31) != 0,
        }
    }
}

impl Default for StripList {
    fn default() -> StripList {
        StripList::with(std::iter::empty::<&str>())
    }
}

impl StripList {
    /// The built-in list and `further` names, in any letter case: the headers that a deployment trusts.
    pub fn with(further: impl IntoIterator<Item = impl AsRef<str>>) -> StripList {
        let further = further.into_iter().map(|name| name.as_ref().to_ascii_lowercase().into());
        let mut names: Vec<Box<str>> = NAMES.iter().map(|name| Box::from(*name)).chain(further).collect();
        names.sort_unstable();
        let mut prefixes = PREFIXES.to_vec();
        prefixes.sort_unstable();
        let listed = names.iter().map(|name| &**name).chain(prefixes.iter().copied());
        let beginnings = Beginnings::of(listed);
        StripList { names, prefixes, beginnings }
    }

    /// Whether a field with this lower-case name is dropped.
    pub fn strips(&self, name: impl AsRef<[u8]>) -> bool {
        let name = name.as_ref();
        if !self.beginnings.may_have(name) {
            return false;
        }
        // No prefix begins with another one, so of all that sort before the name, only the last can be its beginning.
        let before = self.prefixes.partition_point(|prefix| prefix.as_bytes() <= name);
        let has_prefix =
            before.checked_sub(1).is_some_and(|last| name.starts_with(self.prefixes[last].as_bytes()));
        has_prefix || self.names.binary_search_by(|listed| listed.as_bytes().cmp(name)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_trust_is_stripped() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-prefix",
            "x-forwarded-user",
            "x-forwarded-email",
            "x-forwarded-groups",
            "x-forwarded-ssl",
            "x-forwarded-protocol",
            "x-forwarded-uri",
            "x-real-ip",
            "x-original-url",
            "x-original-uri",
            "x-rewrite-url",
            "x-http-method",
            "x-http-method-override",
            "x-method-override",
            "remote-user",
            "remote-groups",
            "x-remote-user",
            "x-auth-request-user",
            "x-authenticated-userid",
            "x-request-id",
            "x-console-gate-assertion",
            "true-client-ip",
            "x-script-name",
            "x-arr-ssl",
            "x-client-cert",
            "proxy",
            "proxy-authorization",
            "keep-alive",
            "te",
            "trailer",
            "x-jwt-assertion",
            "teleport-jwt-assertion",
            "x-grafana-user",
            "impersonate-user",
            "impersonate-extra-scopes",
            "x-forward-tls-client-cert",
            "x-forward-tls-client-cert-info",
            "x-tls-client-cert",
            "forwarded-for",
            "forwarded-host",
            "forwarded-proto",
            "x-auth-email",
            "x-auth-roles",
            "x-vercel-forwarded-for",
            "fly-client-ip",
            "do-connecting-ip",
        ] {
            assert!(StripList::default().strips(name), "{name}");
        }
    }

    #[test]
    fn what_applications_use_is_not() {
        for name in [
            "accept",
            "accept-encoding",
            "authorization",
            "cookie",
            "content-type",
            "origin",
            "referer",
            "user-agent",
            "x-csrftoken",
            "x-csrf-token",
            "x-requested-with",
            "x-api-key",
            "hx-request",
            "if-none-match",
            "range",
            "traceparent",
            "sec-websocket-key",
            "sec-fetch-site",
            "x-hub-signature-256",
            "x-freescout-signature",
        ] {
            assert!(!StripList::default().strips(name), "{name}");
        }
        assert!(StripList::with(["X-API-Key"]).strips("x-api-key"));
    }

    #[test]
    fn no_prefix_begins_with_another() {
        for prefix in PREFIXES {
            let shorter = PREFIXES.iter().find(|other| *other != prefix && prefix.starts_with(*other));
            assert_eq!(shorter, None, "{prefix}");
        }
    }

    /// The sorted look-up against the plain one, for each listed name and its neighbours in the order.
    #[test]
    fn every_listed_name_is_found() {
        let list = StripList::with(["X-Own"]);
        let plain = |name: &str| {
            NAMES.contains(&name) || name == "x-own" || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        };
        for listed in NAMES.iter().chain(PREFIXES).chain(&["x-own", "", "a", "zzz"]) {
            let shortened = listed.get(..listed.len().saturating_sub(1)).unwrap_or_default();
            for name in
                [(*listed).to_owned(), format!("{listed}a"), format!("{listed}-z"), shortened.to_owned()]
            {
                assert_eq!(list.strips(&name), plain(&name), "{name}");
            }
        }
    }

    #[test]
    fn the_lists_are_lower_case() {
        for name in NAMES.iter().chain(PREFIXES) {
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }
}
