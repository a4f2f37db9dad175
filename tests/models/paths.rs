//! Paths of rows, and which row a request finds: Werkzeug's search, written from its description.
//!
//! "Static before dynamic, backtracking, method fall-through, HEAD as GET, strict slashes" (product, "The life of a
//! request"); "missing trailing slash: 308, before any dynamic sibling, for every method" (request firewall, "Seen");
//! a prefix row "covers every path below it that has no exact row" (docs/mapping.md), the longest first. `make prove`
//! compares the matcher itself with Werkzeug; here it only has to say which row is asked.

use std::cmp::Reverse;

use crate::format::{Mapping, Methods, Row};

/// One part of a path between slashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    Static(&'static str),
    /// `<id>`
    Text,
    /// `<int:n>`
    Int,
    /// `<any(on, off):k>`
    Any,
    /// `<uuid:u>`
    Uuid,
    /// `<path:p>`, at the end only.
    Path,
}

impl Segment {
    /// The part as a rule has it. A rule's variables have different names, so the later ones are counted.
    fn in_words(self, depth: usize) -> String {
        let number = if depth > 1 { depth.to_string() } else { String::new() };
        match self {
            Segment::Static(text) => text.to_owned(),
            Segment::Text => format!("<id{number}>"),
            Segment::Int => format!("<int:n{number}>"),
            Segment::Any => format!("<any(on, off):k{number}>"),
            Segment::Uuid => format!("<uuid:u{number}>"),
            Segment::Path => format!("<path:p{number}>"),
        }
    }

    /// A part that is looked at first has the smaller weight; Werkzeug's own numbers.
    pub fn weight(self) -> u32 {
        match self {
            Segment::Static(_) => 0,
            Segment::Int => 50,
            Segment::Text | Segment::Any | Segment::Uuid => 100,
            Segment::Path => 200,
        }
    }

    /// Values that fit.
    fn examples(self) -> &'static [&'static str] {
        match self {
            Segment::Static(_) => &[],
            Segment::Text => &["k9", "7", "x"],
            Segment::Int => &["7", "42"],
            Segment::Any => &["on", "off"],
            Segment::Uuid => &["01234567-89ab-4def-8123-456789abcdef"],
            Segment::Path => &["deep/down", "7", "deep/down/"],
        }
    }

    fn fits(self, part: &str) -> bool {
        match self {
            Segment::Static(text) => part == text,
            Segment::Text => !part.is_empty(),
            Segment::Int => !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()),
            Segment::Any => ["on", "off"].contains(&part),
            Segment::Uuid => {
                let lengths: Vec<usize> = part.split('-').map(str::len).collect();
                lengths == [8, 4, 4, 4, 12]
                    && part.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
            }
            Segment::Path => !part.is_empty() && !part.starts_with('/'),
        }
    }
}

/// The path of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub segments: Vec<Segment>,
    /// Whether it ends in a slash.
    pub slash: bool,
    /// Whether it is a prefix row, which ends in `/*`.
    pub prefix: bool,
}

impl Pattern {
    pub fn text(&self) -> String {
        let parts = self.segments.iter().enumerate();
        let mut text: String = parts.map(|(depth, part)| format!("/{}", part.in_words(depth))).collect();
        if self.prefix {
            text.push_str("/*");
        } else if self.slash {
            text.push('/');
        }
        text
    }

    /// Paths that this row would answer if there were no other, and some beside it: with the slash at the end and
    /// without.
    pub fn examples(&self) -> Vec<String> {
        let mut paths = vec![String::new()];
        for segment in &self.segments {
            let own = match segment {
                Segment::Static(text) => vec![*text],
                other => other.examples().to_vec(),
            };
            paths =
                paths.iter().flat_map(|path| own.iter().map(move |one| format!("{path}/{one}"))).collect();
        }
        let mut all = Vec::new();
        for path in paths {
            if self.prefix {
                all.extend([format!("{path}/further"), format!("{path}/on/and/on")]);
            }
            let bare = path.trim_end_matches('/').to_owned();
            all.push(format!("{bare}/"));
            if !bare.is_empty() {
                all.push(bare);
            }
            all.push(path);
        }
        all.retain(|path| !path.is_empty());
        all.dedup();
        all
    }

    /// What follows on the last segment of a path that ends in a slash is an empty part.
    fn parts(&self) -> Vec<Segment> {
        let mut parts = self.segments.clone();
        if self.slash {
            parts.push(Segment::Static(""));
        }
        parts
    }
}

/// Whether two rows can match the same request and nothing ranks them, as far as the patterns of these tests go. Such
/// rows are refused (product, "Broken is refused whole").
pub fn overlap(one: &Row, other: &Row) -> bool {
    let (first, second) = (&one.path, &other.path);
    let same_parts = first.segments.len() == second.segments.len()
        && first.segments.iter().zip(&second.segments).all(|(one, other)| same_rank(*one, *other));
    same_parts
        && first.prefix == second.prefix
        && first.slash == second.slash
        && one.methods.share(&other.methods)
}

fn same_rank(one: Segment, other: Segment) -> bool {
    one == other || (one.weight() == other.weight() && one.weight() > 0)
}

/// Whether a row's parts differ from all those beside it in their weight: two different converters of one
/// weight at one place are left to `make prove`.
pub fn fits_beside(one: &Pattern, other: &Pattern) -> bool {
    for (one, other) in one.segments.iter().zip(&other.segments) {
        if one != other {
            return !same_rank(*one, *other);
        }
    }
    true
}

/// What a request finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Found {
    /// The row with this number.
    Row(usize),
    /// The row to which a slash at the end would lead.
    Slash(usize),
    Nothing,
}

impl Found {
    /// The row that decides: "a missing slash is decided as the row that it leads to" (docs/decisions/0014).
    pub fn row(self) -> Option<usize> {
        match self {
            Found::Row(row) | Found::Slash(row) => Some(row),
            Found::Nothing => None,
        }
    }
}

/// Which row a request finds.
pub fn find(mapping: &Mapping, method: &str, path: &str) -> Found {
    let rows = mapping.rows();
    let exact: Vec<(usize, Vec<Segment>)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| !row.path.prefix)
        .map(|(number, row)| (number, row.path.parts()))
        .collect();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let search = Search { rows: &rows, method };
    let all: Vec<&(usize, Vec<Segment>)> = exact.iter().collect();
    if let Some(found) = search.from(0, &all, &parts) {
        return found;
    }
    let covers = |row: &Row| {
        let stem = row.path.text();
        let stem = stem.trim_end_matches("/*");
        let rest = path.strip_prefix(stem);
        row.path.prefix && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let prefixes = rows.iter().enumerate().filter(|(_, row)| covers(row) && row.methods.serve(method));
    // The first of two that are equally long: they share OPTIONS alone.
    let longest = prefixes.min_by_key(|(_, row)| Reverse(row.path.segments.len()));
    longest.map_or(Found::Nothing, |(number, _)| Found::Row(number))
}

struct Search<'a> {
    rows: &'a [&'a Row],
    method: &'a str,
}

impl Search<'_> {
    /// Looks on from the rows whose first `depth` parts have been met.
    fn from(&self, depth: usize, rows: &[&(usize, Vec<Segment>)], parts: &[&str]) -> Option<Found> {
        let Some((part, rest)) = parts.split_first() else { return self.at_the_end(depth, rows) };
        let at = |row: &&&(usize, Vec<Segment>)| row.1.get(depth).copied();
        let mut here: Vec<Segment> = rows.iter().filter_map(|row| at(&row)).collect();
        here.sort_by_key(|segment| segment.weight());
        here.dedup();
        for segment in here {
            let beyond: Vec<&(usize, Vec<Segment>)> =
                rows.iter().filter(|row| at(row) == Some(segment)).copied().collect();
            let found = match segment {
                Segment::Path if segment.fits(&parts.join("/")) => self.from(depth + 1, &beyond, &[]),
                Segment::Path => None,
                _ if segment.fits(part) => self.from(depth + 1, &beyond, rest),
                _ => None,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn at_the_end(&self, depth: usize, rows: &[&(usize, Vec<Segment>)]) -> Option<Found> {
        let serves = |row: &&&(usize, Vec<Segment>)| self.rows[row.0].methods.serve(self.method);
        let here = rows.iter().filter(serves).find(|row| row.1.len() == depth);
        if let Some(row) = here {
            return Some(Found::Row(row.0));
        }
        let with_slash = |row: &&&(usize, Vec<Segment>)| row.1[depth..] == [Segment::Static("")];
        rows.iter().filter(serves).find(with_slash).map(|row| Found::Slash(row.0))
    }
}

impl Methods {
    /// Whether a request with this method is this row's: HEAD goes with GET, OPTIONS with every row (routes.toml,
    /// docs/decisions).
    pub fn serve(&self, method: &str) -> bool {
        match self {
            Methods::All => true,
            Methods::Some(names) => {
                method == "OPTIONS" || names.contains(&method) || (method == "HEAD" && names.contains(&"GET"))
            }
        }
    }

    fn share(&self, other: &Methods) -> bool {
        match (self, other) {
            (Methods::Some(these), Methods::Some(those)) => these.iter().any(|name| those.contains(name)),
            _ => true,
        }
    }
}
