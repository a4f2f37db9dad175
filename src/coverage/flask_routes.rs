//! Console's routes as Flask lists them: the output of `flask routes`, or the JSON of `deploy/flask/dump_routes.py`.

use serde::Deserialize;

use crate::method::{Method, MethodSet};

/// A rule that Flask serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedRoute {
    pub endpoint: String,
    pub rule: String,
    /// With HEAD and OPTIONS or without them: `flask routes` leaves them out unless asked.
    pub methods: MethodSet,
    /// Its line in the output of `flask routes`.
    pub line: Option<usize>,
}

/// What a file lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub routes: Vec<ServedRoute>,
    /// Lines that are no route, from 1, and why; 0 where the file has no lines to speak of.
    pub unreadable: Vec<(usize, String)>,
}

/// Why a file lists no routes at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    #[error("it is no JSON as `dump_routes.py` writes it: {0}")]
    Json(String),
    #[error("it has no table of routes: a line of dashes under `Endpoint`, `Methods` and `Rule`")]
    NoTable,
    #[error("it lists no route")]
    Empty,
}

#[derive(Deserialize)]
struct DumpedRule {
    rule: String,
    methods: Vec<String>,
    endpoint: String,
}

/// Reads either form.
///
/// # Errors
///
/// A text that is neither, or lists nothing: the wrong file must not pass for a Console without routes.
pub fn parse(text: &str) -> Result<Listing, ListingError> {
    let listing =
        if text.trim_start().starts_with(['[', '{']) { parse_dump(text)? } else { parse_table(text)? };
    if listing.routes.is_empty() { Err(ListingError::Empty) } else { Ok(listing) }
}

fn parse_dump(text: &str) -> Result<Listing, ListingError> {
    let rules: Vec<DumpedRule> =
        serde_json::from_str(text).map_err(|error| ListingError::Json(error.to_string()))?;
    let mut listing = Listing::default();
    for dumped in rules {
        let words = dumped.methods.iter().map(String::as_str);
        listing.add(&dumped.endpoint, &dumped.rule, words, None);
    }
    Ok(listing)
}

/// The columns are where the dashes are; what stands before them is what the application printed while it was loaded.
fn parse_table(text: &str) -> Result<Listing, ListingError> {
    let lines: Vec<&str> = text.lines().collect();
    let dashes = lines.iter().position(|line| is_ruler(line)).filter(|index| *index > 0);
    let dashes = dashes.ok_or(ListingError::NoTable)?;
    let starts = column_starts(lines[dashes]);
    let titles: Vec<String> =
        cells(lines[dashes - 1], &starts).iter().map(|title| title.to_lowercase()).collect();
    let column = |title: &str| titles.iter().position(|known| known == title).ok_or(ListingError::NoTable);
    let (endpoint, methods, rule) = (column("endpoint")?, column("methods")?, column("rule")?);
    let mut listing = Listing::default();
    for (index, line) in lines.iter().enumerate().skip(dashes + 1).filter(|(_, line)| !line.trim().is_empty())
    {
        let cells = cells(line, &starts);
        if cells[rule].starts_with('/') && !cells[endpoint].is_empty() {
            let words = cells[methods].split(',').map(str::trim);
            listing.add(&cells[endpoint], &cells[rule], words, Some(index + 1));
        } else {
            listing.unreadable.push((index + 1, format!("`{}` is no line of the table", line.trim())));
        }
    }
    Ok(listing)
}

impl Listing {
    fn add<'w>(
        &mut self,
        endpoint: &str,
        rule: &str,
        words: impl Iterator<Item = &'w str>,
        line: Option<usize>,
    ) {
        let mut methods = MethodSet::EMPTY;
        for word in words.filter(|word| !word.is_empty()) {
            match Method::parse(word) {
                Some(method) => methods = methods.with(method),
                None => {
                    let reason = format!("`{word} {rule}`: the gate refuses every request with this method");
                    self.unreadable.push((line.unwrap_or(0), reason));
                }
            }
        }
        if methods.is_empty() {
            let reason = format!("`{rule}` of `{endpoint}` has no method that the gate knows");
            self.unreadable.push((line.unwrap_or(0), reason));
            return;
        }
        self.routes.push(ServedRoute { endpoint: endpoint.to_owned(), rule: rule.to_owned(), methods, line });
    }
}

/// `--------  -------  ----`
fn is_ruler(line: &str) -> bool {
    let groups: Vec<&str> = line.split_whitespace().collect();
    groups.len() >= 3 && groups.iter().all(|group| group.chars().all(|character| character == '-'))
}

/// Where the groups of dashes begin, in characters.
fn column_starts(ruler: &str) -> Vec<usize> {
    let dashes: Vec<bool> = ruler.chars().map(|character| character == '-').collect();
    (0..dashes.len()).filter(|index| dashes[*index] && (*index == 0 || !dashes[*index - 1])).collect()
}

/// One cell for each column, perhaps empty.
fn cells(line: &str, starts: &[usize]) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    let ends = starts.iter().skip(1).copied().chain([characters.len()]);
    let cell = |(start, end): (&usize, usize)| {
        let cell = characters.get(*start..end.min(characters.len()));
        cell.map(|cell| cell.iter().collect::<String>().trim().to_owned()).unwrap_or_default()
    };
    starts.iter().zip(ends).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: MethodSet = MethodSet::EMPTY.with(Method::Get);

    fn served(endpoint: &str, rule: &str, methods: MethodSet, line: Option<usize>) -> ServedRoute {
        ServedRoute { endpoint: endpoint.to_owned(), rule: rule.to_owned(), methods, line }
    }

    #[test]
    fn the_table_is_read_by_its_columns() {
        let text = "\
 * a line that the app prints
Endpoint         Methods    Subdomain  Rule
---------------  ---------  ---------  -------------------
customers.index  GET, POST             /customers/<a(b,
pages.a page     GET        www        /a page/<id>

not a route
hooks.trace      TRACE, GET            /hooks
hooks.none                             /none
";
        let listing = parse(text).unwrap();
        assert_eq!(
            listing.routes,
            [
                served("customers.index", "/customers/<a(b,", GET.with(Method::Post), Some(4)),
                served("pages.a page", "/a page/<id>", GET, Some(5)),
                served("hooks.trace", "/hooks", GET, Some(8)),
            ]
        );
        let lines: Vec<usize> = listing.unreadable.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [7, 8, 9]);
    }

    #[test]
    fn the_dump_is_read() {
        let text = r#"[{"rule": "/x/<int:n>", "methods": ["GET", "HEAD", "OPTIONS"], "endpoint": "x", "strict_slashes": true}]"#;
        let methods = GET.with(Method::Head).with(Method::Options);
        assert_eq!(parse(text).unwrap().routes, [served("x", "/x/<int:n>", methods, None)]);
    }

    #[test]
    fn the_wrong_file_is_no_console_without_routes() {
        let cases = [
            ("", ListingError::NoTable),
            ("# a text\n\n---\n", ListingError::NoTable),
            ("--- --- ---\n", ListingError::NoTable),
            ("Name Methods Rule\n---- ------- ----\nx    GET     /x\n", ListingError::NoTable),
            ("Endpoint  Methods  Rule\n--------  -------  ----\n", ListingError::Empty),
            ("[]", ListingError::Empty),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert!(matches!(parse("{}"), Err(ListingError::Json(_))));
        assert!(matches!(parse("[{\"rule\": 1}]"), Err(ListingError::Json(_))));
    }
}
