//! Each reason for which a row loses, compared with the matcher: without the winner, the next one wins.

use super::{Scene, won};
use crate::explanation::rivals::Lost;

/// A request, the row that wins, and its rivals with the reasons; `next` wins when the winner's row is not there.
struct Contest {
    rows: &'static [&'static str],
    request: (&'static str, &'static str),
    wins: &'static str,
    rivals: Vec<(&'static str, &'static str)>,
    next: Option<&'static str>,
}

fn file_of<'a>(rows: impl Iterator<Item = &'a &'a str>) -> String {
    let rows: Vec<String> = rows.map(|row| format!("\"{row}\" = {{ session = true }}\n")).collect();
    format!("version = 1\n[blueprints.b.routes]\n{}", rows.concat())
}

#[test]
fn each_reason_for_which_a_row_loses_is_the_matchers() {
    let contests = [
        Contest {
            rows: &["GET /a", "POST /a", "GET /<x>"],
            request: ("GET", "/a"),
            wins: "GET /a",
            rivals: vec![
                ("POST /a", "it serves POST"),
                ("GET /<x>", "the segment `a` takes precedence over its part `<string>`"),
            ],
            next: Some("GET /<x>"),
        },
        Contest {
            rows: &["GET /<path:p>", "GET /<int:n>", "GET /<x>", "GET /v<x>"],
            request: ("GET", "/7"),
            wins: "GET /<int:n>",
            rivals: vec![
                (
                    "GET /<x>",
                    "the part `<int>` takes precedence over its part `<string>`: its converter has a lower weight \
                     (50 < 100)",
                ),
                (
                    "GET /<path:p>",
                    "the part `<int>` takes precedence over its part `<path>`: its converter has a lower weight (50 \
                     < 200)",
                ),
            ],
            next: Some("GET /<x>"),
        },
        Contest {
            rows: &["GET /<x>", "GET /v<x>", "GET /v<x>-<y>", "GET /version<x>"],
            request: ("GET", "/version-7"),
            wins: "GET /v<x>-<y>",
            rivals: vec![
                (
                    "GET /version<x>",
                    "the part `v<string>-<string>` takes precedence over its part `version<string>`: it has more \
                     fixed text",
                ),
                (
                    "GET /v<x>",
                    "the part `v<string>-<string>` takes precedence over its part `v<string>`: it has more fixed text",
                ),
                (
                    "GET /<x>",
                    "the part `v<string>-<string>` takes precedence over its part `<string>`: it has more fixed text",
                ),
            ],
            next: Some("GET /version<x>"),
        },
        Contest {
            rows: &["GET /v<x>", "GET /version<x>"],
            request: ("GET", "/version7"),
            wins: "GET /version<x>",
            rivals: vec![(
                "GET /v<x>",
                "the part `version<string>` takes precedence over its part `v<string>`: its fixed text is longer",
            )],
            next: Some("GET /v<x>"),
        },
        Contest {
            rows: &["GET /a/", "GET /<x>", "GET /a"],
            request: ("GET", "/a"),
            wins: "GET /a",
            rivals: vec![
                ("GET /a/", "it requires a trailing slash"),
                ("GET /<x>", "the segment `a` takes precedence over its part `<string>`"),
            ],
            next: Some("GET /a/"),
        },
        Contest {
            rows: &["GET /*", "GET /a/*", "GET /a/b/*", "GET /a/b/c"],
            request: ("GET", "/a/b/c"),
            wins: "GET /a/b/c",
            rivals: vec![
                ("GET /a/b/*", "a prefix matches only if no exact row does"),
                ("GET /a/*", "a prefix matches only if no exact row does"),
                ("GET /*", "a prefix matches only if no exact row does"),
            ],
            next: Some("GET /a/b/*"),
        },
        Contest {
            rows: &["GET /*", "GET /a/*", "POST /a/b/*"],
            request: ("GET", "/a/b/c"),
            wins: "GET /a/*",
            rivals: vec![("POST /a/b/*", "it serves POST"), ("GET /*", "a longer prefix matches")],
            next: Some("GET /*"),
        },
        Contest {
            rows: &["GET /<int(max=9):n>", "GET /<x>", "GET /*"],
            request: ("GET", "/10"),
            wins: "GET /*",
            rivals: vec![
                (
                    "GET /<int(max=9):n>",
                    "10 is out of the range of `n`, which ends the search: no exact row matches",
                ),
                ("GET /<x>", "the search ended before it, at `GET /<int(max=9):n>`"),
            ],
            next: None,
        },
    ];
    for contest in contests {
        let (method, path) = contest.request;
        let scene = Scene::new(&file_of(contest.rows.iter()));
        let explanation = scene.explain(method, path, None);
        assert_eq!(won(&explanation), Some(contest.wins), "{path}");
        let rivals: Vec<(&str, String)> =
            explanation.rivals.iter().map(|rival| (rival.route.as_str(), rival.lost.in_words())).collect();
        let expected: Vec<(&str, String)> =
            contest.rivals.iter().map(|(route, why)| (*route, (*why).to_owned())).collect();
        assert_eq!(rivals, expected, "{path}");
        // The claim itself: without the winner, the rival that comes first among those with the method wins.
        let rest = file_of(contest.rows.iter().filter(|row| **row != contest.wins));
        assert_eq!(won(&Scene::new(&rest).explain(method, path, None)), contest.next, "{path}");
    }
}

/// A row that lost to one whose value is out of range wins without it.
#[test]
fn a_value_out_of_range_is_what_ended_the_search() {
    let rows = ["GET /<int(max=9):n>", "GET /<x>"];
    let explanation = Scene::new(&file_of(rows.iter())).explain("GET", "/10", None);
    assert_eq!(won(&explanation), None);
    assert_eq!(explanation.rivals[0].lost, Lost::OutOfRange { variable: "n".into(), value: "10".into() });
    assert_eq!(explanation.rivals[1].lost, Lost::SearchEnded { at: rows[0].into() });
    assert_eq!(won(&Scene::new(&file_of(rows[1..].iter())).explain("GET", "/10", None)), Some("GET /<x>"));
}
