//! Random mappings and paths: every request is in a region, and every region is true.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::mapping::pattern::Pattern;

const METHODS: &[&str] = &["GET", "GET", "POST", "GET,POST", "HEAD", "OPTIONS", "DELETE"];

/// Segments that get in each other's way. `#` becomes a number of its own, for names are unique in a pattern.
const SEGMENTS: &[&str] = &[
    "a",
    "b",
    "7",
    "12",
    "v-v",
    "1.5",
    "<s#>",
    "<s#>",
    "<s#>",
    "<int:n#>",
    "<int(max=9):n#>",
    "<int(min=5):n#>",
    "<int(min=10, max=12):n#>",
    "<int(fixed_digits=2):n#>",
    "<int(signed=True, min=3):n#>",
    "<int(signed=True, max=0):n#>",
    "<float:f#>",
    "<float(min=1.5):f#>",
    "<float(signed=True, max=0.05):f#>",
    "<any(a, b):k#>",
    "<any(b, '7', '12'):k#>",
    "<string(length=2):s#>",
    "<string(maxlength=1):s#>",
    "<string(minlength=2, maxlength=3):s#>",
    "<uuid:u#>",
    "v<int(max=7):n#>-<s#>",
    "v-<s#>",
    "<s#>-v",
    "<s#>-<t#>",
    "<int(max=9):n#><s#>",
    "<s#><int(min=5):n#>",
    "<any('1', '12'):k#><int(max=5):n#>",
];

/// What else may end a pattern.
const ENDS: &[&str] =
    &["", "", "", "", "/", "/<path:p>", "/<path:p>/", "/<path:p>/a", "/<path:p>-<int(max=5):e>", "/*"];

/// Segments of paths: what the patterns name, accept, and just do not accept.
const VALUES: &[&str] = &[
    "a",
    "b",
    "c",
    "7",
    "12",
    "v-v",
    "1.5",
    "0",
    "3",
    "-3",
    "-0",
    "5",
    "05",
    "9",
    "10",
    "13",
    "010",
    "1.4",
    "1.50",
    "-0.04",
    "0.06",
    "-1.0",
    "ab",
    "abc",
    "abcd",
    "v7-a",
    "v8-a",
    "v07-",
    "a-v",
    "v-",
    "-v",
    "7-a",
    "9a",
    "10a",
    "123",
    "126",
    "12a",
    "a4",
    "a5",
    "a-5",
    "a-6",
    "00000000-0000-0000-0000-00000000000a",
    "00000000-0000-0000-0000-00000000000g",
    "...",
];

fn row() -> impl Strategy<Value = String> {
    (select(METHODS), vec(select(SEGMENTS), 0..=3), select(ENDS)).prop_map(|(methods, segments, end)| {
        let mut pattern = String::new();
        for segment in segments {
            for character in format!("/{segment}").chars() {
                match character {
                    '#' => write!(pattern, "{}", pattern.len()).unwrap(),
                    _ => pattern.push(character),
                }
            }
        }
        let pattern = match format!("{pattern}{end}") {
            // A prefix holds no variables.
            prefix if prefix.ends_with('*') && prefix.contains('<') => pattern,
            whole if whole.is_empty() => "/".to_owned(),
            whole => whole,
        };
        format!("{methods} {pattern}")
    })
}

/// The rows without those that overlap an earlier one.
fn sound(rows: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for row in rows {
        Pattern::parse(row.split_once(' ').unwrap().1).unwrap();
        kept.push(row.clone());
        let source = kept.iter().fold("version = 1\n[blueprints.b.routes]\n".to_owned(), |source, row| {
            source + &format!("{row:?} = {{ public = true }}\n")
        });
        if Mapping::parse("routes.toml", &source).is_err() {
            kept.pop();
        }
    }
    kept
}

/// Two mappings that share most of their rows.
fn mappings() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    (vec(row(), 0..5), vec(row(), 0..3), vec(row(), 0..3)).prop_map(|(shared, old, new)| {
        (sound(&[old, shared.clone()].concat()), sound(&[shared, new].concat()))
    })
}

fn segment() -> impl Strategy<Value = String> {
    let piece = select(vec!["a", "b", "v", "-", "0", "1", "2", "5", "7", "9", "."]);
    let pieces = vec(piece, 1..5).prop_map(|pieces| pieces.concat());
    prop_oneof![5 => select(VALUES).prop_map(str::to_owned), 1 => pieces]
        .prop_filter("the firewall refuses dot segments", |segment| segment != "." && segment != "..")
}

fn path() -> impl Strategy<Value = String> {
    (vec(segment(), 0..5), any::<bool>()).prop_map(|(segments, slash)| {
        let path = segments.iter().fold(String::new(), |path, segment| path + "/" + segment);
        if slash || path.is_empty() { path + "/" } else { path }
    })
}

proptest! {
    #[test]
    fn every_request_is_in_a_region_and_every_region_is_true(
        (old, new) in mappings(),
        paths in vec(path(), 60),
    ) {
        let (old, new) = (mapping(&old), mapping(&new));
        let regions = old.regions(&new);
        prop_assert!(regions.complete);
        let names = |old: Option<&Row>, new: Option<&Row>| (place(old), place(new));
        for region in &regions.all {
            for method in region.methods.iter() {
                let found = (decider(&old, &region.example, method), decider(&new, &region.example, method));
                prop_assert_eq!(names(found.0, found.1), names(region.old, region.new), "{}", show(region));
            }
        }
        for path in paths {
            for method in Method::ALL {
                let (old, new) = (decider(&old, &path, method), decider(&new, &path, method));
                let is_region = |region: &Region<'_>| {
                    names(region.old, region.new) == names(old, new) && region.methods.contains(method)
                };
                let name = |row: Option<&Row>| row.map(|row| row.route.clone());
                prop_assert!(
                    regions.all.iter().any(is_region),
                    "{} {}: {:?} > {:?}", method, path, name(old), name(new)
                );
            }
        }
    }
}
