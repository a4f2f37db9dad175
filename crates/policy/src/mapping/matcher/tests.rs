use std::time::{Duration, Instant};

use super::*;

/// A table in short: `GET,POST /path`, HEAD added as Werkzeug does. A leading `~` means lenient slashes, `!` that
/// double slashes are not merged.
fn matcher(rows: &[&str]) -> Matcher {
    let rule = |row: &&str| {
        let (methods, pattern) = row.trim_start_matches(['~', '!']).split_once(' ').unwrap();
        let methods = methods.split(',').map(|name| Method::parse(name).unwrap()).collect::<MethodSet>();
        let methods = if methods.contains(Method::Get) { methods.with(Method::Head) } else { methods };
        let mut rule = Rule::new(Pattern::parse(pattern).unwrap(), methods);
        rule.strict_slashes = !row.starts_with('~');
        rule.merge_slashes = !row.starts_with('!');
        rule
    };
    Matcher::build(rows.iter().map(rule).collect())
}

/// An outcome in short: `0 id=7`, `slash 0`, `merge 0`, `merge/ 0`, `405 GET`, `404`.
fn ask(matcher: &Matcher, request: &str) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    match matcher.find(path, Method::parse(method).unwrap()) {
        MatchOutcome::Match { rule, values } => {
            values.iter().fold(rule.to_string(), |text, (name, value)| format!("{text} {name}={value}"))
        }
        MatchOutcome::SlashRedirect { rule } => format!("slash {rule}"),
        MatchOutcome::MergeRedirect { rule, adds_slash } => {
            format!("merge{} {rule}", if adds_slash { "/" } else { "" })
        }
        MatchOutcome::MethodMismatch { allowed } => format!("405 {allowed}"),
        MatchOutcome::NotFound => "404".to_owned(),
    }
}

fn check(rows: &[&str], requests: &[(&str, &str)]) {
    let matcher = matcher(rows);
    for (request, expected) in requests {
        assert_eq!(ask(&matcher, request), *expected, "{request:?}");
    }
}

#[test]
fn static_goes_before_dynamic_and_the_method_decides() {
    // The last request is the one that a gate must not get wrong: it runs the view for a customer named `new`.
    check(
        &["GET /customers/new", "GET /customers/<id>", "POST /customers/<id>", "DELETE /customers/<int:id>"],
        &[
            ("GET /customers/new", "0"),
            ("HEAD /customers/new", "0"),
            ("GET /customers/7", "1 id=7"),
            ("DELETE /customers/7", "3 id=7"),
            ("DELETE /customers/new", "405 GET,HEAD,POST"),
            ("PUT /customers/7", "405 GET,HEAD,POST,DELETE"),
            ("GET /customers", "404"),
            ("GET /customers/", "404"),
            ("GET /customers/7/", "404"),
            ("POST /customers/new", "2 id=new"),
        ],
    );
}

#[test]
fn the_search_turns_back() {
    check(
        &["POST /secrets/search", "POST /secrets/<name>/rotate", "POST /secrets/search/now"],
        &[
            ("POST /secrets/search/rotate", "1 name=search"),
            ("POST /secrets/search/now", "2"),
            ("POST /secrets/search/later", "404"),
        ],
    );
    check(
        &["GET /<a>/<b>/<c>/<d>/<e>/<f>/<g>/x", "GET /<path:p>/y"],
        &[
            ("GET /1/2/3/4/5/6/7/x", "0 a=1 b=2 c=3 d=4 e=5 f=6 g=7"),
            ("GET /1/2/3/4/5/6/7/y", "1 p=1/2/3/4/5/6/7"),
        ],
    );
}

#[test]
fn lighter_parts_are_tried_first() {
    check(
        &["GET /<path:p>", "GET /<x>", "GET /<int:n>", "GET /v<x>", "GET /v-<x>", "GET /<a>-<b>"],
        &[
            ("GET /7", "2 n=7"),
            ("GET /seven", "1 x=seven"),
            ("GET /v7", "3 x=7"),
            ("GET /v-7", "4 x=7"),
            ("GET /a-b-c", "5 a=a-b b=c"),
            ("GET /a/b", "0 p=a/b"),
        ],
    );
}

#[test]
fn slashes_at_the_end() {
    check(
        &["GET /branch/", "GET /leaf", "~GET /loose", "~GET /loosedir/", "GET /", "GET /<x>"],
        &[
            // Before the dynamic sibling, as Werkzeug does.
            ("GET /branch", "slash 0"),
            ("GET /branch/", "0"),
            ("POST /branch", "405 GET,HEAD"),
            ("GET /leaf/", "404"),
            ("GET /loose/", "2"),
            ("GET /loosedir", "3"),
            ("GET /", "4"),
            ("GET ", "slash 4"),
        ],
    );
}

#[test]
fn double_slashes() {
    check(
        &["GET /a/b", "GET /a/c/", "!GET /a/<int:n>", "GET /files/<path:p>", "GET /<x>"],
        &[
            ("GET /a//b", "merge 0"),
            ("GET /a///c", "merge/ 1"),
            ("GET /a//7", "404"),
            ("POST /a//b", "405 GET,HEAD"),
            ("GET /files/x//y", "3 p=x//y"),
            ("GET /files//y", "merge 3"),
            // Those in front are dropped before the search begins.
            ("GET //a/b", "0"),
            ("GET //x", "4 x=x"),
        ],
    );
}

#[test]
fn the_rest_of_the_path() {
    check(
        &["GET /f/<path:p>", "POST /f/<path:p>/", "GET /f/<path:p>/meta", "GET /g/<path:p>/<int:n>/<x>"],
        &[
            ("GET /f/a/b", "0 p=a/b"),
            ("GET /f/a/", "0 p=a/"),
            ("GET /f/a/b/meta", "2 p=a/b"),
            ("POST /f/a/b/", "1 p=a/b"),
            ("POST /f/a", "slash 1"),
            ("POST /f/a//", "merge 1"),
            ("GET /g/a/1/2/x", "3 p=a/1 n=2 x=x"),
            ("GET /g/1/x", "404"),
            ("GET /f/a\nb", "404"),
        ],
    );
}

#[test]
fn a_value_out_of_range_ends_the_search() {
    check(
        &["GET /a/<int(max=9):n>", "GET /a/<x>", "POST /b/<int:n>", "GET /b/<int(fixed_digits=2):n>"],
        &[
            ("GET /a/9", "0 n=9"),
            ("GET /a/10", "404"),
            ("GET /a/ten", "1 x=ten"),
            ("GET /b/01", "3 n=01"),
            ("GET /b/1", "405 POST"),
        ],
    );
}

#[test]
fn numbers_and_names() {
    check(
        &[
            "GET /i/<int:n>",
            "GET /s/<int(signed=True, max=3):n>",
            "GET /f/<float(min=1.5):n>",
            "GET /u/<uuid:u>",
            "GET /k/<any(day, \"a b\"):k>.csv",
            "GET /l/<string(length=2):s>",
        ],
        &[
            ("GET /i/007", "0 n=007"),
            ("GET /i/٤", "0 n=٤"),
            ("GET /i/²", "404"),
            ("GET /i/-1", "404"),
            (
                "GET /s/-99999999999999999999999999999999999999999999",
                "1 n=-99999999999999999999999999999999999999999999",
            ),
            ("GET /s/99999999999999999999999999999999999999999999", "404"),
            ("GET /f/1.5", "2 n=1.5"),
            ("GET /f/1.4", "404"),
            ("GET /f/1", "404"),
            ("GET /u/0b1c2d3e-4f50-6172-8394-A5b6c7d8e9f0", "3 u=0b1c2d3e-4f50-6172-8394-A5b6c7d8e9f0"),
            ("GET /u/0b1c2d3e4f50-6172-8394-A5b6c7d8e9f0-", "404"),
            ("GET /k/a b.csv", "4 k=a b"),
            ("GET /k/day", "404"),
            ("GET /l/日本", "5 s=日本"),
            ("GET /l/日", "404"),
        ],
    );
}

#[test]
fn prefixes_answer_when_no_rule_does() {
    check(
        &[
            "GET /b/*",
            "GET,POST /*",
            "GET /b/x",
            "GET /b/dir/",
            "GET /b/deep/er/*",
            "GET /b/<int(max=9):n>/y",
        ],
        &[
            ("GET /b", "0"),
            ("GET /b/", "0"),
            ("GET /b/a/b/c", "0"),
            ("GET /b/x", "2"),
            // A redirect is an answer.
            ("GET /b/dir", "slash 3"),
            ("POST /b/x", "1"),
            ("PUT /b/x", "405 GET,HEAD"),
            ("PUT /other", "404"),
            ("GET /bb", "1"),
            ("GET /", "1"),
            ("GET /b/deep/er", "4"),
            ("GET /b/deep", "0"),
            ("POST /b/deep/er/x", "1"),
            ("GET /b/10/y", "0"),
        ],
    );
}

#[test]
fn values_are_named() {
    let matcher = matcher(&["GET /<a>/<b>"]);
    let MatchOutcome::Match { values, .. } = matcher.find("/x/y", Method::Get) else { panic!("no match") };
    assert_eq!((values.named("a"), values.named("b"), values.named("c")), (Some("x"), Some("y"), None));
}

#[test]
fn overlaps_are_found() {
    // Two rules, and the path that both answer.
    let table = [
        ("GET /a/<x>", "GET /a/<y>", Some("/a/x")),
        ("GET /a", "HEAD /a", Some("/a")),
        ("GET /a", "POST /a", None),
        ("GET /a", "GET /a/", None),
        ("GET /a", "GET /<x>", None),
        ("GET /<int:n>", "GET /<x>", None),
        ("GET /<int:n>", "GET /<int(min=5):m>", Some("/0")),
        ("GET /<int:n>", "GET /<float:m>", None),
        ("GET /<int:n>", "GET /<int(signed=True):m>", Some("/0")),
        ("GET /<x>", "GET /<uuid:x>", Some("/00000000-0000-0000-0000-000000000000")),
        ("GET /<any(a, b):k>", "GET /<any(b, c):k>", Some("/b")),
        ("GET /<any(a, b):k>", "GET /<any(c, d):k>", None),
        ("GET /<any(a, b):k>/x", "GET /<any(b, c):k>/y", None),
        ("GET /<any(a, b):k>/x", "GET /<any(b, c):k>/<y>", Some("/b/x")),
        ("GET /<any(a, b):k>/", "GET /<any(b, c):k>", Some("/b")),
        ("GET /<any(a, b):k>/<path:p>", "GET /<any(b, c):k>/x/y", Some("/b/x/y")),
        ("GET /<any(a, b):k>/<path:p>/z", "GET /<any(b, c):k>/x/y", None),
        ("GET /<path:p>", "GET /<path:p>/", Some("/x")),
        ("~GET /<path:p>-a", "GET /<path:p>-a/", Some("/x-a")),
        ("~GET /<any(a, b):k>", "GET /<any(b, c):k>/", Some("/b")),
        ("GET /<path:p>/one", "GET /<path:p>/two", None),
        ("GET /v-<x>", "GET /w-<x>", None),
        ("GET /v-<x>", "GET /<x>-v", Some("/v-v")),
        ("GET /p/*", "HEAD /p/*", Some("/p")),
        ("GET /p/*", "POST /p/*", None),
        ("GET /p/*", "GET /<x>", None),
        ("GET /p/*", "GET /p/q/*", None),
    ];
    for (one, other, example) in table {
        for rows in [[one, other], [other, one]] {
            let matcher = matcher(&rows);
            let found: Vec<_> = matcher.overlaps().iter().map(|overlap| overlap.example.as_deref()).collect();
            assert_eq!(found, example.map(Some).into_iter().collect::<Vec<_>>(), "{rows:?}");
        }
    }
}

#[test]
fn an_overlap_that_cannot_be_disproven_is_reported() {
    let matcher = matcher(&["GET /<string(length=9000):a>", "GET /<string(length=9001):b>"]);
    let [overlap] = matcher.overlaps() else { panic!("{:?}", matcher.overlaps()) };
    assert_eq!((overlap.first, overlap.second, &overlap.example), (0, 1, &None));
    assert!(overlap.methods.contains(Method::Head));
}

#[test]
fn automatic_options_are_no_overlap() {
    let rule = |method, path| Rule::declared(Pattern::parse(path).unwrap(), MethodSet::EMPTY.with(method));
    let table = [
        (Method::Get, Method::Post, false),
        (Method::Get, Method::Head, true),
        // Whether the view for OPTIONS runs is up to the order of the rules.
        (Method::Get, Method::Options, true),
    ];
    for (one, other, overlaps) in table {
        let matcher = Matcher::build(vec![rule(one, "/a/<x>"), rule(other, "/a/<y>")]);
        assert_eq!(!matcher.overlaps().is_empty(), overlaps, "{one} {other}");
        assert!(matches!(matcher.find("/a/1", Method::Options), MatchOutcome::Match { rule: 0, .. }));
    }
}

/// Large tables of each kind of sibling build in linear time, or nearly. The bound is generous: a quadratic build
/// takes minutes.
#[test]
fn large_tables_build() {
    const COUNT: usize = 20_000;
    type Row = fn(usize) -> String;
    let kinds: [Row; 4] = [
        |n| format!("GET /service-{n}/<id>/edit"),
        |n| format!("GET /v-{n}-<id>/edit"),
        |n| format!("GET /<id>/{n}/<path:p>"),
        |n| format!("GET /area/{n}/*"),
    ];
    for kind in kinds {
        let rows: Vec<String> = (0..COUNT).map(kind).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let started = Instant::now();
        assert!(matcher(&rows).overlaps().is_empty());
        assert!(started.elapsed() < Duration::from_secs(20), "{}: {:?}", rows[0], started.elapsed());
    }
}
