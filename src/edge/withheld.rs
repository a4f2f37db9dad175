//! What a server does not get: the cookie of a session that the gate began, which is for the gate alone; and one beside
//! Console neither the cookie of Console's session nor a machine's token that the gate has verified. Nor can it set these.

use crate::settings::identity::{COOKIE, LOGIN_COOKIE};

/// What a server does not learn of a request, and cannot set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Withheld<'l> {
    /// The cookie of Console's session.
    session: Option<&'l str>,
    /// Those of the gate's own login.
    logins: bool,
    /// Authorization, where the gate has verified its content.
    authorization: bool,
}

impl<'l> Withheld<'l> {
    /// What a server beside Console does not get.
    pub(super) fn of(session: &'l str, logins: bool, authorization: bool) -> Withheld<'l> {
        Withheld { session: Some(session), logins, authorization }
    }

    /// What Console does not get.
    pub(super) fn from_console(logins: bool) -> Withheld<'l> {
        Withheld { session: None, logins, authorization: false }
    }

    fn withholds_cookies(&self) -> bool {
        self.session.is_some() || self.logins
    }

    fn is_one(&self, pair: &[u8]) -> bool {
        self.session.is_some_and(|cookie| is_named(pair, cookie))
            || self.logins && [COOKIE, LOGIN_COOKIE].iter().any(|cookie| is_named(pair, cookie))
    }

    /// What a field of the request is for the server: `None` leaves it out.
    pub(super) fn field(&self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        if self.authorization && name.eq_ignore_ascii_case(b"authorization") {
            return None;
        }
        if !self.withholds_cookies() || !name.eq_ignore_ascii_case(b"cookie") {
            return Some(value.to_vec());
        }
        let kept: Vec<&[u8]> = value
            .split(|byte| *byte == b';')
            .map(<[u8]>::trim_ascii)
            .filter(|pair| !pair.is_empty() && !self.is_one(pair))
            .collect();
        (!kept.is_empty()).then(|| kept.join(&b"; "[..]))
    }

    /// Whether the server may set the cookie of this Set-Cookie.
    pub(super) fn may_set(&self, value: &[u8]) -> bool {
        !self.is_one(value)
    }

    /// Whether everything is as the client sent it.
    pub(super) fn is_nothing(&self) -> bool {
        !self.withholds_cookies() && !self.authorization
    }
}

/// Whether a pair is of that cookie. Some servers take a name in quotes or in another case for the same.
fn is_named(pair: &[u8], cookie: &str) -> bool {
    let name = pair.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii();
    let name = name.strip_prefix(b"\"").unwrap_or(name);
    name.strip_suffix(b"\"").unwrap_or(name).eq_ignore_ascii_case(cookie.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_beside_console_gets_no_credential_of_consoles() {
        let withheld = Withheld { session: Some("session"), logins: true, authorization: true };
        let table = [
            ("cookie", "session=x", None),
            ("Cookie", "a=1; session=x; b=2", Some("a=1; b=2")),
            ("cookie", "a=1;Session =x", Some("a=1")),
            ("cookie", "\"session\"=x; a=1", Some("a=1")),
            ("cookie", "session", None),
            ("cookie", "sessions=1; my-session=2", Some("sessions=1; my-session=2")),
            ("cookie", "a=session=x", Some("a=session=x")),
            ("Authorization", "Bearer x", None),
            ("x-cookie", "session=x", Some("session=x")),
            ("cookie", "__Host-gate=t; a=1; __host-gate=u; __Host-gate-login=v", Some("a=1")),
        ];
        for (name, value, expected) in table {
            let field = withheld.field(name.as_bytes(), value.as_bytes());
            assert_eq!(field.as_deref(), expected.map(str::as_bytes), "{name}: {value}");
        }
        for (value, expected) in [
            ("session=; Path=/", false),
            ("SESSION=x", false),
            ("raptor=x; Domain=h", true),
            ("s=session=", true),
        ] {
            assert_eq!(withheld.may_set(value.as_bytes()), expected, "{value}");
        }
        let nothing = Withheld::default();
        assert!(nothing.is_nothing() && nothing.may_set(b"session=x"));
        assert_eq!(nothing.field(b"cookie", b"session=x").as_deref(), Some(&b"session=x"[..]));
    }
}
