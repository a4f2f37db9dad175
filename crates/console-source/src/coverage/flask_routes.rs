//! Console's routes as Flask lists them: the output of `flask routes`, or the JSON of `deploy/flask/dump_routes.py`.

use policy::method::{Method, MethodSet};

use super::flask_dump;
pub use super::listing::{Listing, ListingError, ServedRoute};

/// Reads either form.
///
/// # Errors
///
/// A text that is neither, or lists nothing: the wrong file must not pass for a Console without routes.
pub fn parse(text: &str) -> Result<Listing, ListingError> {
    let is_json = text.trim_start().starts_with(['[', '{']);
    let listing = if is_json { flask_dump::parse(text)? } else { parse_table(text)? };
    if listing.routes.is_empty() { Err(ListingError::Empty) } else { Ok(listing) }
}

/// The columns are where the dashes are; what precedes them is what the application printed while it was loaded.
fn parse_table(text: &str) -> Result<Listing, ListingError> {
    let lines: Vec<&str> = text.lines().collect();
    let dashes = lines.iter().position(|line| is_ruler(line)).filter(|index| *index > 0);
    let dashes = dashes.ok_or(ListingError::NoTable)?;
    let starts = column_starts(lines[dashes]);
    let titles: Vec<String> =
        cells(lines[dashes - 1], &starts).iter().map(|title| title.to_lowercase()).collect();
    let place = |title: &str| titles.iter().position(|known| known == title);
    let column = |title: &str| place(title).ok_or(ListingError::NoTable);
    let (endpoint, methods, rule) = (column("endpoint")?, column("methods")?, column("rule")?);
    // Flask has the column where some rule is confined to one.
    let host = place("host").or_else(|| place("subdomain"));
    let mut listing = Listing::default();
    listing.unlisted.push(
        "the output of `flask routes` omits `strict_slashes`, converters, WebSockets, redirects and the order \
         of rules: deploy/flask/dump_routes.py lists them"
            .to_owned(),
    );
    for (index, line) in lines.iter().enumerate().skip(dashes + 1).filter(|(_, line)| !line.trim().is_empty())
    {
        let cells = cells(line, &starts);
        if cells[rule].starts_with('/') && !cells[endpoint].is_empty() {
            let mut route = ServedRoute::new(&cells[endpoint], &cells[rule], Some(index + 1));
            route.options.host = host.map(|host| cells[host].clone()).filter(|host| !host.is_empty());
            listing.add(route, Some(cells[methods].split(',').map(str::trim)));
        } else {
            listing.unreadable.push((index + 1, format!("`{}` is not a line of the table", line.trim())));
        }
    }
    for route in &mut listing.routes {
        // An OPTIONS that is all there is was declared.
        route.options.automatic_options = route.methods != MethodSet::EMPTY.with(Method::Options);
        route.methods = route.methods.served();
    }
    Ok(listing)
}

impl Listing {
    /// Adds a route with the methods that are listed; with every method where none are.
    pub(super) fn add<'w>(&mut self, route: ServedRoute, words: Option<impl Iterator<Item = &'w str>>) {
        let Some(words) = words else {
            self.routes.push(ServedRoute { methods: MethodSet::ALL, ..route });
            return;
        };
        let (rule, endpoint, line) = (&route.rule, &route.endpoint, route.line.unwrap_or(0));
        let mut methods = MethodSet::EMPTY;
        for word in words.filter(|word| !word.is_empty()) {
            match Method::parse(word) {
                Some(method) => methods = methods.with(method),
                None => {
                    let reason = format!("`{word} {rule}`: the gate refuses every request with this method");
                    self.unreadable.push((line, reason));
                }
            }
        }
        if methods.is_empty() {
            let reason = format!("`{rule}` of `{endpoint}` has no method that the gate knows");
            self.unreadable.push((line, reason));
            return;
        }
        self.routes.push(ServedRoute { methods, ..route });
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
    use super::super::route::{OwnConverters, RouteOptions};
    use super::*;

    const GET: MethodSet = MethodSet::EMPTY.with(Method::Get);

    fn served(endpoint: &str, rule: &str, methods: MethodSet, line: Option<usize>) -> ServedRoute {
        ServedRoute { methods: methods.served(), ..ServedRoute::new(endpoint, rule, line) }
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
        let www = RouteOptions { host: Some("www".to_owned()), ..RouteOptions::default() };
        assert_eq!(
            listing.routes,
            [
                served("customers.index", "/customers/<a(b,", GET.with(Method::Post), Some(4)),
                ServedRoute { options: www, ..served("pages.a page", "/a page/<id>", GET, Some(5)) },
                served("hooks.trace", "/hooks", GET, Some(8)),
            ]
        );
        let lines: Vec<usize> = listing.unreadable.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [7, 8, 9]);
    }

    /// A rule as the script writes it, with `changed` in place of a line.
    fn dump(changed: (&str, &str)) -> String {
        let rule = r#"{"rule": "/x/<int:n>", "endpoint": "x", "methods": ["GET", "HEAD", "OPTIONS"],
            "strict_slashes": true, "merge_slashes": true, "host": null, "websocket": false,
            "automatic_options": true, "redirects": null, "converters": {}, "wider_rule": null,
            "never_served": null}"#;
        let dump = format!(
            r#"{{"version": 2, "flask": "3.1.3", "werkzeug": "3.1.9", "order": "search", "rules": [{rule}], "unlisted": []}}"#
        );
        assert!(dump.contains(changed.0), "{}", changed.0);
        dump.replace(changed.0, changed.1)
    }

    #[test]
    fn the_dump_is_read() {
        let plain = served("x", "/x/<int:n>", GET, None);
        let with = |change: fn(&mut RouteOptions)| {
            let mut route = plain.clone();
            change(&mut route.options);
            route
        };
        let cases = [
            (("", ""), plain.clone()),
            ((r#""strict_slashes": true"#, r#""strict_slashes": false"#), with(|o| o.strict_slashes = false)),
            ((r#""merge_slashes": true"#, r#""merge_slashes": false"#), with(|o| o.merge_slashes = false)),
            ((r#""host": null"#, r#""host": "api""#), with(|o| o.host = Some("api".to_owned()))),
            ((r#""websocket": false"#, r#""websocket": true"#), with(|o| o.websocket = true)),
            (
                (r#""automatic_options": true"#, r#""automatic_options": false"#),
                with(|o| o.automatic_options = false),
            ),
            ((r#""redirects": null"#, r#""redirects": "to""#), with(|o| o.redirects = Some("to".to_owned()))),
            (
                (r#""never_served": null"#, r#""never_served": "it""#),
                with(|o| o.never_served = Some("it".to_owned())),
            ),
            (
                (
                    r#""converters": {}, "wider_rule": null"#,
                    r#""converters": {"n": "C"}, "wider_rule": "/x/<n>""#,
                ),
                with(|o| {
                    o.own_converters = Some(OwnConverters {
                        classes: vec!["C".to_owned()],
                        wider_rule: "/x/<n>".to_owned(),
                    });
                }),
            ),
            (
                (r#"["GET", "HEAD", "OPTIONS"]"#, "null"),
                ServedRoute { methods: MethodSet::ALL, ..plain.clone() },
            ),
        ];
        for (changed, expected) in cases {
            let listing = parse(&dump(changed)).unwrap();
            assert_eq!((&listing.routes[..], listing.has_order), (&[expected][..], true), "{changed:?}");
            assert!(listing.unlisted.is_empty() && listing.unreadable.is_empty(), "{changed:?}");
        }
    }

    /// It reports what it leaves out, and what may differ from what it lists.
    #[test]
    fn a_dump_says_what_it_does_not_list() {
        let unlisted = |text: &str| parse(text).unwrap().unlisted;
        assert_eq!(unlisted(&dump((r#""unlisted": []"#, r#""unlisted": ["a layer"]"#))), ["a layer"]);
        assert!(unlisted(&dump(("3.1.9", "2.3.8")))[0].contains("Werkzeug 2.3.8"));
        let old = r#"[{"rule": "/x/<int:n>", "methods": ["GET", "HEAD", "OPTIONS"], "endpoint": "x", "strict_slashes": true}]"#;
        assert_eq!(parse(old).unwrap().routes, [served("x", "/x/<int:n>", GET, None)]);
        assert!(unlisted(old)[0].contains("old dump_routes.py"));
    }

    /// A field that is written and not read would hide a difference.
    #[test]
    fn a_dump_with_something_unknown_is_refused() {
        for changed in [
            (r#""redirects": null"#, r#""redirects": null, "more": 1"#),
            (r#""unlisted": []"#, r#""unlisted": [], "more": 1"#),
            (r#""host": null,"#, ""),
            (r#""order": "search""#, r#""order": "other""#),
        ] {
            assert!(matches!(parse(&dump(changed)), Err(ListingError::Json(_))), "{changed:?}");
        }
        assert_eq!(parse(&dump((r#""version": 2"#, r#""version": 3"#))), Err(ListingError::Version(3)));
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
