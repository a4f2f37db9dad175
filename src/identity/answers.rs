//! The cookies of the room, and which page a login leads to.

use std::str;

use policy::firewall::{Policy, Request, inspect};

use crate::settings::identity::{COOKIE, LOGIN_COOKIE};

/// A session's cookie. It has no age: the browser forgets it when it closes, the gate at the session's end (NIST 800-63B-4, 5.1).
pub(super) fn session_cookie(token: &str) -> String {
    format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

/// The cookie of a browser that has logged out.
pub(super) fn no_session_cookie() -> String {
    format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// The cookie of a browser that is about to log in.
pub(super) fn login_cookie(value: &str) -> String {
    format!("{LOGIN_COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=600")
}

/// Where a login leads: the page that was asked for, if it is one of this site that the gate would let through, and not
/// one of the login's own.
pub(super) fn next<'n>(wanted: Option<&'n str>, own: &str, home: &'n str) -> &'n str {
    wanted.filter(|page| is_page(page) && !page.starts_with(&format!("{own}/"))).unwrap_or(home)
}

/// What a browser takes for a page of another site, the firewall refuses as a path.
fn is_page(page: &str) -> bool {
    let is_local = page.starts_with('/')
        && !page.starts_with("//")
        && page.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    is_local
        && inspect(format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(), &Policy::default())
            .is_ok()
}

/// The body as text.
pub(super) fn text(body: &[u8]) -> Option<&str> {
    str::from_utf8(body).ok()
}

/// Whether a person is to see the answer.
pub(super) fn is_form(request: &Request) -> bool {
    let kind = request
        .fields()
        .value("content-type")
        .and_then(|value| str::from_utf8(value).ok())
        .unwrap_or_default();
    kind.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_page_of_this_site_alone() {
        for (wanted, expected) in [
            (Some("/console/x?y=1"), "/console/x?y=1"),
            (None, "/home"),
            (Some(""), "/home"),
            (Some("//evil.example/"), "/home"),
            (Some("/\\evil.example"), "/home"),
            (Some("https://evil.example/"), "/home"),
            (Some("javascript:alert(1)"), "/home"),
            (Some("/x\r\nSet-Cookie: a=b"), "/home"),
            (Some("/a/../b"), "/home"),
            (Some("/%2e%2e/b"), "/home"),
            (Some("/auth/logout"), "/home"),
            (Some("/authors"), "/authors"),
        ] {
            assert_eq!(next(wanted, "/auth", "/home"), expected, "{wanted:?}");
        }
    }
}
