//! What a person who reads one of the gate's pages can do next.

use crate::support::alone::{Alone, Place, free_address};
use crate::support::{Ask, Database, Setup, World};

const PLACES: &str = "[pages]\nhome_path = \"/dashboard\"\nlogout_path = \"/auth/logout?all=1\"\n";

/// The links of a page, in order.
fn links(page: &str) -> Vec<(&str, &str)> {
    page.split("<a href=\"")
        .skip(1)
        .map(|rest| {
            let (address, rest) = rest.split_once("\">").expect("a link");
            (address, rest.split_once("</a>").expect("its end").0)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_person_finds_the_way_on() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&Setup { sections: PLACES, ..Setup::V2 }).await;
    world.admin("sue", &["raxx-support-team"], &[]).await;
    let cookie = world.cookie("sue");
    let denied = async |fields: &[(&'static str, &str)]| {
        let ask = Ask::get("/console/waitlist?x=y").header("accept", "text/html").cookie(&cookie);
        let ask = fields.iter().fold(ask, |ask, (name, value)| ask.header(name, *value));
        let answer = gate.send(&ask).await;
        assert_eq!(answer.status, 403);
        String::from_utf8(answer.body.to_vec()).expect("a page")
    };
    let other = ("/auth/logout?all=1", "Log in with another account");
    let text = denied(&[]).await;
    assert_eq!(links(&text), [("/dashboard", "Home page"), other], "{text}");
    let text = denied(&[("referer", "http://console.test/console/status?a=1&b=\"2\"")]).await;
    assert_eq!(
        links(&text),
        [("/console/status?a=1&#38;b=&#34;2&#34;", "Back to the page you came from"), other],
        "{text}"
    );
    let text = denied(&[("referer", "https://evil.example/console/status")]).await;
    assert_eq!(links(&text)[0].0, "/dashboard", "{text}");
    // The fragment is a part of a page: nobody has left it.
    let text = denied(&[("hx-request", "true"), ("referer", "http://console.test/console/status")]).await;
    assert_eq!(links(&text), [other], "{text}");
    // Without the setting nothing is offered that may not be there.
    let plain = world.gate(&Setup::V2).await;
    let answer =
        plain.send(&Ask::get("/console/waitlist").header("accept", "text/html").cookie(&cookie)).await;
    let text = String::from_utf8(answer.body.to_vec()).expect("a page");
    assert_eq!(links(&text), [("/", "Home page")], "{text}");
}

/// A login by htmx leads back to the page that the person is on, and to no other site.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_htmx_leads_back_to_the_page() {
    let world = World::new(Database::Sqlite).await;
    let gate = world.gate(&Setup::V2).await;
    let table = [
        ("GET", "http://console.test/board?week=3#top", "/auth/login?next=/board%3Fweek%3D3"),
        ("POST", "https://console.test/board", "/auth/login?next=/board"),
        ("GET", "https://evil.example/board", "/auth/login?next=/console/audit"),
        ("GET", "https://console.test//evil.example", "/auth/login?next=/console/audit"),
        ("POST", "https://evil.example/board", "/auth/login"),
    ];
    for (method, page, expected) in table {
        let ask =
            Ask::new(method, "/console/audit").header("hx-request", "true").header("hx-current-url", page);
        let answer = gate.send(&ask).await;
        assert_eq!((answer.status, answer.header("hx-redirect")), (401, expected), "{method} {page}");
    }
    // Without htmx nobody believes the field.
    let ask = Ask::get("/console/audit").header("hx-current-url", "http://console.test/board");
    assert_eq!(gate.send(&ask).await.header("location"), "/auth/login?next=/console/audit");
}

/// Console is not there: the page offers to try again, and no other way to do what a form did.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_about_console_offers_to_try_again() {
    let folder = tempfile::Builder::new().prefix("gate-").tempdir_in("/tmp").expect("a folder in /tmp");
    let (proxy, admin) = (Place::Tcp(free_address()), Place::Tcp(free_address()));
    let nobody = free_address();
    let settings = format!(
        "[listen]\nproxy = \"{}\"\nadmin = \"{}\"\n[upstream]\nservers = [\"{nobody}\"]\n",
        proxy.setting(),
        admin.setting()
    );
    let gate = Alone::serve(folder.path(), &settings, &[]);
    gate.logs("the gate listens").await;
    let Place::Tcp(address) = proxy else { unreachable!("it is one") };
    for (method, expected) in [("GET", 2), ("POST", 1)] {
        let text = tokio::task::spawn_blocking(move || {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect(address).expect("the gate");
            let head = format!(
                "{method} /list?page=2 HTTP/1.1\r\nHost: console.test\r\nAccept: text/html\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).expect("sent");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an answer");
            text
        });
        let text = text.await.expect("an answer");
        assert!(text.starts_with("HTTP/1.1 502 "), "{text}");
        let found = links(&text);
        assert_eq!(found.len(), expected, "{text}");
        assert_eq!(found.contains(&("/list?page=2", "Try again")), method == "GET", "{text}");
        assert!(found.contains(&("/", "Home page")), "{text}");
    }
}
