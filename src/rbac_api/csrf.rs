//! Requests that change something and come with a cookie: a browser sends the cookie whichever page asks it to, so the
//! request must show that a page of this site asked.

use policy::firewall::Request;
use policy::identity::Principal;
use sha2::{Digest as _, Sha256};

use super::keys::Keys;
use super::query::Query;
use super::reply::Problem;
use crate::ruling::own_routes::OwnRequest;

/// The field in which a client without `Sec-Fetch-Site` and `Origin` sends the token of `/api/rbac/me`.
pub(super) const TOKEN_FIELD: &str = "x-csrf-token";

/// The member of a form that has the token, as a page of the gate's own sends it.
pub(super) const TOKEN_MEMBER: &str = "csrf_token";

/// Refuses a body that is no JSON, and a cookie's request that another site may have caused. A machine's token is sent by
/// nobody but the machine. `form` is the form that was sent, where the route takes one.
pub(super) fn check(
    asked: &OwnRequest<'_>,
    principal: &Principal,
    keys: &Keys,
    form: Option<&Query>,
) -> Result<(), Problem> {
    if !asked.body.is_empty() && form.is_none() && !is_json(asked.request) {
        return Err(Problem::new(415, "send the body as `Content-Type: application/json`"));
    }
    let token = form.and_then(|form| form.get(TOKEN_MEMBER));
    if matches!(principal, Principal::Machine { .. })
        || is_of_this_site(asked.request, principal, keys, token)
    {
        return Ok(());
    }
    Err(Problem::forbidden(
        "cross_site",
        "a request with a session must come from a page of this site, or send the `csrf_token` of /api/rbac/me as \
         `X-CSRF-Token`",
        &["the same person, from a page of this site"],
    ))
}

/// The token that a page of this session sends; `None` without a session.
pub(super) fn token(request: &Request, principal: &Principal, keys: &Keys) -> Option<String> {
    session_of(request, principal).and_then(|session| keys.csrf_token(&session))
}

/// What the token of a session is made of: its name in the records, or the digest of the cookie where it has none.
pub(super) fn session_of(request: &Request, principal: &Principal) -> Option<Vec<u8>> {
    match (principal.session(), request.session_cookie()) {
        (Some(session), _) => Some([principal.id(), "\0", session.as_str()].concat().into_bytes()),
        (None, Some(cookie)) => {
            Some([principal.id().as_bytes(), b"\0", &Sha256::digest(cookie)[..]].concat())
        }
        (None, None) => None,
    }
}

/// Whether a page of this site has caused the request; `None` where the client says nothing about that.
pub(crate) fn comes_from_here(request: &Request) -> Option<bool> {
    let (site, origin) = (values(request, "sec-fetch-site"), values(request, "origin"));
    let is_own =
        |origin: &[u8]| std::str::from_utf8(origin).is_ok_and(|origin| is_origin_of(origin, request.host()));
    match (site.as_slice(), origin.as_slice()) {
        ([b"same-origin"], []) => Some(true),
        ([b"same-origin"] | [], [origin]) => Some(is_own(origin)),
        ([], []) => None,
        _ => Some(false),
    }
}

fn is_of_this_site(request: &Request, principal: &Principal, keys: &Keys, form: Option<&str>) -> bool {
    comes_from_here(request).unwrap_or_else(|| {
        match (values(request, TOKEN_FIELD).as_slice(), form.map(str::as_bytes)) {
            (&[token], None) | ([], Some(token)) => {
                session_of(request, principal).is_some_and(|session| keys.is_csrf_token(&session, token))
            }
            _ => false,
        }
    })
}

fn values<'r>(request: &'r Request, name: &str) -> Vec<&'r [u8]> {
    request.fields().iter().filter(|(other, _)| *other == name).map(|(_, value)| value).collect()
}

/// Whether an origin is of the host that was asked. The scheme is not compared: TLS may end in front of the gate.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let (rest, port) = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
        (Some(rest), _) => (rest, ":443"),
        (None, Some(rest)) => (rest, ":80"),
        (None, None) => return false,
    };
    let bare = |name: &str| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
    !rest.is_empty() && bare(rest) == bare(host)
}

/// Whether the body is a form as a page sends it.
pub(super) fn is_form(request: &Request) -> bool {
    is_of_type(request, "application/x-www-form-urlencoded")
}

fn is_json(request: &Request) -> bool {
    is_of_type(request, "application/json")
}

fn is_of_type(request: &Request, wanted: &str) -> bool {
    let value = request.fields().value("content-type").and_then(|value| std::str::from_utf8(value).ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_with_the_host() {
        for (origin, host, expected) in [
            ("https://console.example", "console.example", true),
            ("https://console.example:443", "Console.Example", true),
            ("http://console.example", "console.example:80", true),
            ("https://console.example:8443", "console.example:8443", true),
            ("https://console.example", "console.example:8443", false),
            ("https://console.example:8443", "console.example", false),
            ("https://evil.example", "console.example", false),
            ("https://console.example.evil.example", "console.example", false),
            ("https://evil.example/console.example", "console.example", false),
            ("null", "console.example", false),
            ("https://", "", false),
            ("console.example", "console.example", false),
        ] {
            assert_eq!(is_origin_of(origin, host), expected, "{origin} {host}");
        }
    }
}
