//! What a person who reads one of the gate's pages can do next.
//!
//! A client chooses these by its fields, so they lead only to this site: the host is compared, and path and query alone are
//! kept. The scheme is not compared: a proxy that ends TLS in front need not pass it on.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use policy::firewall::Request;
use policy::ids::RequestId;

use super::Options;
use super::message::{Form, Way};

/// The characters that a query value must escape.
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The longest address that a page leads back to.
const MOST_BYTES: usize = 2_048;

/// What would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// Another page: there is nothing to be had here.
    Elsewhere,
    /// The same once more: it was the gate's or Console's fault.
    Again,
    /// An account.
    LogIn,
    /// Another account.
    OtherAccount,
}

/// A request, with what an answer to it takes of the settings.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    pub request: &'r Request,
    pub id: RequestId,
    pub options: &'r Options,
}

impl Asked<'_> {
    /// In which form it is answered.
    pub fn form(&self) -> Form {
        Form::wanted_by(self.request)
    }

    /// The links of its answer. A fragment is part of the page that the person is on, so it has no way back.
    pub fn ways(&self, help: Help) -> Vec<Way> {
        let form = self.form();
        let other_account = (help == Help::OtherAccount).then(|| self.other_account()).flatten();
        match form {
            Form::Problem => Vec::new(),
            Form::Fragment => other_account.into_iter().collect(),
            Form::Page => {
                let first = match help {
                    Help::Again => self.again(),
                    Help::LogIn => Some(Way { words: "Log in", address: self.login_address() }),
                    Help::Elsewhere | Help::OtherAccount => None,
                };
                first.into_iter().chain(self.back()).chain(other_account).collect()
            }
        }
    }

    /// The login page, with the way back.
    pub fn login_address(&self) -> String {
        let login_path = &self.options.login_path;
        match self.after_login() {
            Some(page) => format!("{login_path}?next={}", utf8_percent_encode(page, QUERY_VALUE)),
            None => login_path.clone(),
        }
    }

    /// The page on which a passkey signs, with the way back; `None` where the gate has no login.
    pub fn step_up_address(&self) -> Option<String> {
        let page = format!("{}/step-up", self.options.identity_path.as_ref()?);
        Some(match self.after_login() {
            Some(next) => format!("{page}?next={}", utf8_percent_encode(next, QUERY_VALUE)),
            None => page,
        })
    }

    /// The page that the person is to see after the login: the one that htmx works in, or what was asked for. A form cannot
    /// be sent again by a redirect.
    fn after_login(&self) -> Option<&str> {
        let target = self.request.target();
        let is_part = self.form() == Form::Fragment
            && !self.is_true("hx-boosted")
            && !self.is_true("hx-history-restore-request");
        let current = is_part.then(|| self.page_in("hx-current-url")).flatten();
        let own = (self.request.method().is_safe() && !target.is_asterisk()).then(|| target.raw());
        current.or(own)
    }

    fn again(&self) -> Option<Way> {
        let target = self.request.target().raw();
        let can_repeat = self.request.method().is_safe() && is_local(target);
        can_repeat.then(|| Way { words: "Try again", address: target.to_owned() })
    }

    /// Where the person came from, else Console's home; nothing where both are this very page.
    fn back(&self) -> Option<Way> {
        let own = self.request.target().path_raw();
        let leads_on = |page: &&str| {
            let path = path_of(page);
            path != own && path != self.options.login_path
        };
        if let Some(page) = self.page_in("referer").filter(leads_on) {
            return Some(Way { words: "Back to the page you came from", address: page.to_owned() });
        }
        let home = &self.options.pages.home_path;
        (path_of(home) != own).then(|| Way { words: "Home page", address: home.clone() })
    }

    fn other_account(&self) -> Option<Way> {
        let address = self.options.pages.logout_path.clone()?;
        Some(Way { words: "Log in with another account", address })
    }

    /// Path and query of the address in a field, if it is one of this site. Its scheme is not compared: who ends TLS in
    /// front of the gate need not say so.
    fn page_in(&self, field: &str) -> Option<&str> {
        let address = self.text(field)?;
        let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
        let (host, page) = rest.split_at(rest.find('/')?);
        let page = page.split('#').next().unwrap_or_default();
        (host.eq_ignore_ascii_case(self.request.host()) && is_local(page)).then_some(page)
    }

    fn is_true(&self, field: &str) -> bool {
        self.text(field) == Some("true")
    }

    fn text(&self, field: &str) -> Option<&str> {
        std::str::from_utf8(self.request.fields().value(field)?).ok()
    }
}

/// Whether a browser takes it for a path of this site: `//host` is another one, and so is `/\host`.
fn is_local(page: &str) -> bool {
    page.len() <= MOST_BYTES
        && page.starts_with('/')
        && !page.starts_with("//")
        && page.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

fn path_of(page: &str) -> &str {
    page.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use policy::firewall::{Policy, inspect};

    use super::*;
    use crate::settings::Settings;

    fn asked<T>(line: &str, fields: &str, look: impl FnOnce(Asked<'_>) -> T) -> T {
        let settings = "environment = \"development\"\n[upstream]\nservers = [\"unix:/run/console\"]\n\
                        [pages]\nhome_path = \"/home\"\nlogout_path = \"/auth/logout\"\n";
        let settings = Settings::parse("gate.toml", settings).unwrap();
        let head = format!("{line} HTTP/1.1\r\nHost: console.test\r\n{fields}\r\n");
        let request = inspect(head.as_bytes(), &Policy::default()).unwrap();
        let options = Options::from_settings(&settings);
        look(Asked { request: &request, id: crate::random::request_id(), options: &options })
    }

    fn addresses(line: &str, fields: &str, help: Help) -> Vec<String> {
        asked(line, &format!("Accept: text/html\r\n{fields}"), |asked| {
            asked.ways(help).into_iter().map(|way| way.address).collect()
        })
    }

    #[test]
    fn the_way_back_stays_on_this_site() {
        let table = [
            ("http://console.test/list?page=2#row-7", "/list?page=2"),
            ("https://CONSOLE.test/list", "/list"),
            // Another site, or what a browser would take for one.
            ("https://evil.example/list", "/home"),
            ("https://console.test.evil.example/list", "/home"),
            ("https://console.test:8443/list", "/home"),
            ("https://console.test@evil.example/list", "/home"),
            ("https://console.test//evil.example", "/home"),
            ("https://console.test/\\evil.example", "/home"),
            ("javascript://console.test/x", "/home"),
            ("//console.test/list", "/home"),
            ("https://console.test", "/home"),
            ("/list", "/home"),
            // The page itself would be denied again, and the login page is no place to go back to.
            ("https://console.test/denied?again", "/home"),
            ("https://console.test/auth/login?next=/denied", "/home"),
        ];
        for (referer, expected) in table {
            let found = addresses("GET /denied?x", &format!("Referer: {referer}\r\n"), Help::Elsewhere);
            assert_eq!(found, [expected], "{referer}");
        }
        let long = format!("Referer: https://console.test/{}\r\n", "x".repeat(MOST_BYTES));
        assert_eq!(addresses("GET /denied", &long, Help::Elsewhere), ["/home"]);
        assert!(addresses("GET /home?x", "", Help::Elsewhere).is_empty(), "a link to itself");
    }

    #[test]
    fn each_answer_offers_what_helps() {
        assert_eq!(addresses("GET /x?y=1", "", Help::Again), ["/x?y=1", "/home"]);
        // A form would be sent again without its body, and a path with a backslash is a host to a browser.
        assert_eq!(addresses("POST /x", "", Help::Again), ["/home"]);
        assert_eq!(addresses("GET /\\evil.example", "", Help::Again), ["/home"]);
        assert_eq!(addresses("GET /x", "", Help::OtherAccount), ["/home", "/auth/logout"]);
        assert_eq!(addresses("GET /x", "HX-Request: true\r\n", Help::OtherAccount), ["/auth/logout"]);
        assert!(addresses("GET /x", "HX-Request: true\r\n", Help::Again).is_empty());
        asked("GET /x", "", |asked| {
            assert!(asked.ways(Help::OtherAccount).is_empty(), "a program reads no links");
        });
    }

    #[test]
    fn htmx_comes_back_to_the_page_that_it_works_in() {
        let current = "HX-Request: true\r\nHX-Current-URL: https://console.test/board?week=3#top\r\n";
        let table = [
            ("GET /rows", current.to_owned(), Some("/board?week=3")),
            // The page can be shown again, though what was sent cannot.
            ("POST /rows", current.to_owned(), Some("/board?week=3")),
            // A boosted link leads to a page.
            ("GET /next", format!("{current}HX-Boosted: true\r\n"), Some("/next")),
            ("GET /next", format!("{current}HX-History-Restore-Request: true\r\n"), Some("/next")),
            ("GET /rows", current.replace("console.test", "evil.example"), Some("/rows")),
            ("POST /rows", current.replace("console.test", "evil.example"), None),
            ("GET /rows", current.replace("/board", "//evil.example"), Some("/rows")),
            // No htmx.
            ("GET /rows", current.replace("HX-Request", "X-Other"), Some("/rows")),
            ("POST /rows", String::new(), None),
        ];
        for (line, fields, expected) in table {
            asked(line, &fields, |asked| assert_eq!(asked.after_login(), expected, "{line} {fields}"));
        }
    }
}
