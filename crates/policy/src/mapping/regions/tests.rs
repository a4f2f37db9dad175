//! Small mappings with the pairs that they have, written by hand; random ones against what `find` says; large ones.

mod random;

use std::fmt::Write as _;

use super::*;

/// A mapping with one row a line; each is `METHODS /pattern`.
fn mapping(rows: &[String]) -> Mapping {
    let mut source = "version = 1\n[blueprints.b.routes]\n".to_owned();
    for row in rows {
        writeln!(source, "{row:?} = {{ public = true }}").unwrap();
    }
    Mapping::parse("routes.toml", &source).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

fn rows(rows: &[&str]) -> Mapping {
    mapping(&rows.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// A region in short: `GET,HEAD /x: old row > new row`.
fn show(region: &Region<'_>) -> String {
    let name = |row: Option<&Row>| row.map_or("none", |row| &row.route).to_owned();
    format!("{} {}: {} > {}", region.methods, region.example, name(region.old), name(region.new))
}

#[track_caller]
fn check(old: &[&str], new: &[&str], expected: &[&str]) {
    let (old, new) = (rows(old), rows(new));
    let regions = old.regions(&new);
    assert!(regions.complete);
    let (uncovered, covered): (Vec<_>, Vec<_>) = regions.all.iter().partition(|one| one.is_uncovered());
    let shown: Vec<String> = covered.into_iter().map(show).collect();
    assert_eq!(shown, expected);
    // None of these tables covers every path, so there is one without a row for any method.
    assert_eq!(uncovered.iter().map(|region| region.methods).collect::<Vec<_>>(), [MethodSet::ALL]);
}

/// What no row covers, in short.
#[track_caller]
fn check_uncovered(old: &[&str], new: &[&str], expected: &[&str]) {
    let (old, new) = (rows(old), rows(new));
    let regions = old.regions(&new);
    assert!(regions.complete);
    let uncovered = regions.all.iter().filter(|region| region.is_uncovered());
    assert_eq!(uncovered.map(show).collect::<Vec<_>>(), expected);
}

#[test]
fn what_no_row_covers_is_a_region_too() {
    check_uncovered(&[], &[], &["* /: none > none"]);
    check_uncovered(&["GET /x"], &["GET /x"], &["* /: none > none"]);
    check_uncovered(&["GET /", "GET /x"], &["* /"], &["* /y: none > none"]);
    // No path is free of rows: the methods that none declares.
    check_uncovered(&["GET /*"], &["GET /*", "POST /x"], &["POST,PUT,PATCH,DELETE /: none > none"]);
    check_uncovered(&["GET /*"], &["POST /*"], &["PUT,PATCH,DELETE /: none > none"]);
    check_uncovered(&["GET /", "GET /<path:p>"], &["GET /*"], &["POST,PUT,PATCH,DELETE /: none > none"]);
    // Covered in one of the two mappings is not uncovered.
    check_uncovered(&["GET /x"], &["* /*"], &[]);
    check_uncovered(&["* /", "* /<path:p>"], &["GET /x"], &[]);
    // The only paths without a row lie between rows, or have a value out of range.
    let between = ["* /", "* /<a>/<path:p>"];
    check_uncovered(&between, &between, &["* /x: none > none"]);
    let ranged = ["* /", "* /<path:p>", "* /<int(max=9):n>"];
    check_uncovered(&ranged, &ranged, &["* /10: none > none"]);
}

/// A quiet path is decided in another way than its neighbours, whichever of the two mappings calls it so.
#[test]
fn quiet_paths_are_regions_of_their_own() {
    let with = |quiet: &str, rows: &[&str]| {
        let rows: Vec<String> = rows.iter().map(|row| format!("{row:?} = {{ public = true }}\n")).collect();
        let source = format!("version = 1\nquiet = [{quiet}]\n[blueprints.b.routes]\n{}", rows.concat());
        Mapping::parse("routes.toml", &source).unwrap_or_else(|error| panic!("{error}\n{source}"))
    };
    let old = with("\"/both\", \"/old\", \"/older\"", &["GET /x"]);
    let new = with("\"/both\", \"/x\"", &["GET /old"]);
    let regions = old.regions(&new);
    assert!(regions.complete);
    let shown: Vec<_> = regions.all.iter().map(|one| (show(one), one.quiet)).collect();
    let expected = [
        ("GET,HEAD,OPTIONS /old: none > GET /old", [true, false]),
        ("GET,HEAD,OPTIONS /x: GET /x > none", [false, true]),
        ("* /: none > none", [false, false]),
        ("POST,PUT,PATCH,DELETE /x: none > none", [false, true]),
        ("* /older: none > none", [true, false]),
        ("* /both: none > none", [true, true]),
    ];
    assert_eq!(shown, expected.map(|(text, quiet)| (text.to_owned(), quiet)));
}

#[test]
fn a_static_row_beside_a_dynamic_one() {
    check(
        &["GET /x/<id>"],
        &["GET /x/<id>", "GET /x/new"],
        &[
            "GET,HEAD,OPTIONS /x/x: GET /x/<id> > GET /x/<id>",
            "GET,HEAD,OPTIONS /x/new: GET /x/<id> > GET /x/new",
        ],
    );
}

#[test]
fn rows_that_come_and_go() {
    check(
        &["GET /a", "GET /b"],
        &["GET /c", "GET /a"],
        &[
            "GET,HEAD,OPTIONS /c: none > GET /c",
            "GET,HEAD,OPTIONS /a: GET /a > GET /a",
            "GET,HEAD,OPTIONS /b: GET /b > none",
        ],
    );
}

#[test]
fn a_converter_that_is_dropped() {
    check(
        &["GET /x/<int:id>"],
        &["GET /x/<id>"],
        &[
            "GET,HEAD,OPTIONS /x/x: none > GET /x/<id>",
            "GET,HEAD,OPTIONS /x/1: GET /x/<int:id> > GET /x/<id>",
        ],
    );
    check(
        &["GET /x/<any(a, b):k>"],
        &["GET /x/<k>"],
        &[
            "GET,HEAD,OPTIONS /x/x: none > GET /x/<k>",
            "GET,HEAD,OPTIONS /x/a: GET /x/<any(a, b):k> > GET /x/<k>",
        ],
    );
}

#[test]
fn a_value_out_of_range_ends_the_search() {
    check(
        &["GET /x/<int(max=9):n>", "GET /x/<s>"],
        &["GET /x/<s>"],
        &[
            "GET,HEAD,OPTIONS /x/10: none > GET /x/<s>",
            "GET,HEAD,OPTIONS /x/0: GET /x/<int(max=9):n> > GET /x/<s>",
            "GET,HEAD,OPTIONS /x/x: GET /x/<s> > GET /x/<s>",
        ],
    );
    // Between the old limit and the new one lies a single number.
    check(
        &["GET /x/<int(max=199):n>"],
        &["GET /x/<int(max=200):n>"],
        &[
            "GET,HEAD,OPTIONS /x/200: none > GET /x/<int(max=200):n>",
            "GET,HEAD,OPTIONS /x/0: GET /x/<int(max=199):n> > GET /x/<int(max=200):n>",
        ],
    );
}

#[test]
fn a_prefix_beside_exact_rows() {
    check(
        &["GET /b/*"],
        &["GET /b/*", "POST /b/x", "GET /b/deep/*"],
        &[
            "GET,HEAD,OPTIONS /b: GET /b/* > GET /b/*",
            "POST /b/x: none > POST /b/x",
            "OPTIONS /b/x: GET /b/* > POST /b/x",
            "GET,HEAD,OPTIONS /b/deep: GET /b/* > GET /b/deep/*",
        ],
    );
}

#[test]
fn a_prefix_below_a_place_that_is_alike_in_both() {
    check(
        &["GET /t/p/*", "GET /<a>/<b>/c"],
        &["GET /t/p/*"],
        &[
            "GET,HEAD,OPTIONS /t/p: GET /t/p/* > GET /t/p/*",
            "GET,HEAD,OPTIONS /t/p/c: GET /<a>/<b>/c > GET /t/p/*",
            "GET,HEAD,OPTIONS /x/x/c: GET /<a>/<b>/c > none",
        ],
    );
}

#[test]
fn a_row_without_the_method_is_passed_over() {
    check(
        &["GET,POST /x/<id>"],
        &["GET,POST /x/<id>", "GET /x/<int:n>"],
        &[
            "GET,HEAD,POST,OPTIONS /x/x: GET,POST /x/<id> > GET,POST /x/<id>",
            "GET,HEAD,OPTIONS /x/1: GET,POST /x/<id> > GET /x/<int:n>",
        ],
    );
}

#[test]
fn a_slash_that_is_missing_or_too_many() {
    check(
        &["GET /x"],
        &["GET /x/"],
        &["GET,HEAD,OPTIONS /x/: none > GET /x/", "GET,HEAD,OPTIONS /x: GET /x > GET /x/"],
    );
}

#[test]
fn patterns_that_cross() {
    check(
        &["GET /x/<a>/edit"],
        &["GET /x/<a>/edit", "GET /x/new/<b>"],
        &[
            "GET,HEAD,OPTIONS /x/x/edit: GET /x/<a>/edit > GET /x/<a>/edit",
            "GET,HEAD,OPTIONS /x/new/x: none > GET /x/new/<b>",
            "GET,HEAD,OPTIONS /x/new/edit: GET /x/<a>/edit > GET /x/new/<b>",
        ],
    );
}

#[test]
fn a_part_that_takes_the_rest() {
    check(
        &["GET /f/<path:p>"],
        &["GET /f/<path:p>", "GET /f/<path:p>/raw", "GET /f/<x>"],
        &[
            "GET,HEAD,OPTIONS /f/x/: GET /f/<path:p> > GET /f/<path:p>",
            "GET,HEAD,OPTIONS /f/x/raw: GET /f/<path:p> > GET /f/<path:p>/raw",
            "GET,HEAD,OPTIONS /f/x: GET /f/<path:p> > GET /f/<x>",
        ],
    );
}

#[test]
fn parts_with_literals() {
    check(
        &["GET /v<int:n>-<slug>"],
        &["GET /v<int(max=3):n>-<slug>", "GET /<x>-<y>"],
        &[
            "GET,HEAD,OPTIONS /v0-x: GET /v<int:n>-<slug> > GET /v<int(max=3):n>-<slug>",
            "GET,HEAD,OPTIONS /x-x: none > GET /<x>-<y>",
            "GET,HEAD,OPTIONS /v4-x: GET /v<int:n>-<slug> > none",
        ],
    );
}

#[test]
fn where_a_number_ends_decides_whether_it_is_in_range() {
    // Of `122`, the number is `12`, which is out of range, although `1` and the item `22` would do.
    check(
        &["GET /<int(max=9):n><any('2', '22'):k>"],
        &["GET /<any('12', '122', '1222'):k>"],
        &[
            "GET,HEAD,OPTIONS /122: none > GET /<any('12', '122', '1222'):k>",
            "GET,HEAD,OPTIONS /12: GET /<int(max=9):n><any('2', '22'):k> > GET /<any('12', '122', '1222'):k>",
            "GET,HEAD,OPTIONS /02: GET /<int(max=9):n><any('2', '22'):k> > none",
        ],
    );
}

#[test]
fn a_pair_that_no_path_shows_for_all_its_methods_is_there_twice() {
    check(
        &["GET,POST /<any(p, q):k>", "GET /p", "POST /q"],
        &["GET,POST /<any(p, q):k>", "GET /p", "POST /q"],
        &[
            "GET,HEAD /q: GET,POST /<any(p, q):k> > GET,POST /<any(p, q):k>",
            "POST /p: GET,POST /<any(p, q):k> > GET,POST /<any(p, q):k>",
            "GET,HEAD,OPTIONS /p: GET /p > GET /p",
            "POST,OPTIONS /q: POST /q > POST /q",
        ],
    );
}

/// Both rows fit `..` and nothing else, which the firewall refuses.
#[test]
fn a_pair_that_only_a_dot_segment_shows_is_none() {
    check(
        &["GET /.<string(length=1):s>"],
        &["GET /<string(length=1):s>."],
        &[
            "GET,HEAD,OPTIONS /x.: none > GET /<string(length=1):s>.",
            "GET,HEAD,OPTIONS /.x: GET /.<string(length=1):s> > none",
        ],
    );
}

/// Besides `any`, every text that it takes is a static segment too.
#[test]
fn static_segments_hide_all_that_a_part_accepts() {
    check(
        &["GET /<any(a, b):k>"],
        &["GET /<any(a, b):k>", "GET /a", "GET /b"],
        &[
            "GET,HEAD,OPTIONS /a: GET /<any(a, b):k> > GET /a",
            "GET,HEAD,OPTIONS /b: GET /<any(a, b):k> > GET /b",
        ],
    );
}

#[test]
fn a_part_that_is_too_long_to_compare_is_reported() {
    let (old, new) = (rows(&["GET /<string(length=9000):s>", "GET /a"]), rows(&["GET /a"]));
    let regions = old.regions(&new);
    assert!(!regions.complete);
    assert_eq!(regions.all.iter().filter(|region| !region.is_uncovered()).count(), 1);
}

/// Large mappings of each kind are compared in linear time, or nearly: the full size when optimised, a tenth if not.
/// The bound is generous.
#[test]
fn large_mappings_are_compared() {
    const COUNT: usize = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
    type Rows = fn(usize) -> Vec<String>;
    let kinds: [(&str, Rows); 7] = [
        ("tenants", |n| vec![format!("GET /t{n}/<id>/x")]),
        ("leaves below a variable", |n| vec![format!("GET /a/<id>/r{n}")]),
        ("static", |n| vec![format!("GET /r{n}")]),
        ("numbers", |n| vec![format!("GET,POST /t{n}/<int(max=99):id>/x")]),
        ("crossing", |n| vec![format!("GET /t{n}/x/<id>"), format!("GET /<tenant>/x/r{n}")]),
        ("below all", |n| vec![format!("GET /t{n}/<id>"), "GET /<path:rest>".to_owned()]),
        ("prefixes", |n| vec![format!("GET /p{n}/*"), format!("GET /p{n}/<uuid:id>")]),
    ];
    for (kind, rows_of) in kinds {
        let mut old: Vec<String> = (0..COUNT).flat_map(rows_of).collect();
        old.sort();
        old.dedup();
        let mut new = old.clone();
        for row in new.iter_mut().step_by(old.len() / 20) {
            *row = row.replacen("GET", "PUT", 1);
        }
        let (old, new) = (mapping(&old), mapping(&new));
        let started = std::time::Instant::now();
        let regions = old.regions(&new);
        let took = started.elapsed();
        assert!(regions.complete, "{kind}");
        assert!(regions.all.len() >= new.rows().len(), "{kind}");
        assert!(took < std::time::Duration::from_secs(20), "{kind}: {took:?}");
    }
}
