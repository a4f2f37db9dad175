//! The requests that a selector of `routes.test.toml` stands for.

use std::collections::HashMap;
use std::sync::Arc;

use policy::decision::Target;
use policy::diagnostic::closest;
use policy::firewall::Policy;
use policy::mapping::Mapping;
use policy::mapping::regions::Region;
use policy::method::Method;

use super::judge::Asked;
use crate::explanation::request;

/// Requests of one selector.
pub(super) type Selected = Arc<[Asked]>;

/// A mistake in a selector: the message, and the probable intention.
pub(super) type Mistake = (String, Option<String>);

/// Finds the requests of selectors.
pub(super) struct Selector<'m> {
    mapping: &'m Mapping,
    policy: &'m Policy,
    regions: Option<(Vec<Region<'m>>, bool)>,
    known: HashMap<String, Selected>,
}

impl<'m> Selector<'m> {
    pub(super) fn new(mapping: &'m Mapping, policy: &'m Policy) -> Selector<'m> {
        Selector { mapping, policy, regions: None, known: HashMap::new() }
    }

    /// Whether a key can only be a selector, so that it is not a misspelt key.
    pub(super) fn is_selector(text: &str) -> bool {
        text == "*" || text.contains(' ') || text.starts_with("blueprint:") || text.starts_with("cluster:")
    }

    /// The requests of a selector: `METHOD /path`, a row as the mapping writes it, `blueprint:NAME`, `cluster:NAME`,
    /// or `*` for every row.
    pub(super) fn select(&mut self, text: &str) -> Result<Selected, Mistake> {
        if let Some(known) = self.known.get(text) {
            return Ok(known.clone());
        }
        let selected = self.find(text)?;
        self.known.insert(text.to_owned(), selected.clone());
        Ok(selected)
    }

    fn find(&mut self, text: &str) -> Result<Selected, Mistake> {
        let mapping = self.mapping;
        let rows = mapping.rows();
        let unknown = |what: &str, name: &str, mut known: Vec<&str>| {
            known.sort_unstable();
            known.dedup();
            let near = closest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            let list = || format!("there are {}", known.join(", "));
            (format!("the mapping has no {what} `{name}`"), Some(near.unwrap_or_else(list)))
        };
        if text == "*" {
            return self.of_rows(|_| true);
        }
        if let Some(name) = text.strip_prefix("blueprint:") {
            let all: Vec<&str> = rows.iter().map(|row| &*row.blueprint).collect();
            if !all.contains(&name) {
                return Err(unknown("blueprint", name, all));
            }
            return self.of_rows(|index| *rows[index].blueprint == *name);
        }
        if let Some(name) = text.strip_prefix("cluster:") {
            if !mapping.clusters().contains_key(name) {
                let all = mapping.clusters().keys().map(AsRef::as_ref).collect();
                return Err(unknown("cluster", name, all));
            }
            return self.of_rows(|index| rows[index].cluster.as_deref() == Some(name));
        }
        let is_pattern = |path: &str| path.contains(['<', '>']) || (path.len() > 1 && path.ends_with("/*"));
        let is_request = |(methods, path): (&str, &str)| methods != "*" && !is_pattern(path);
        if !text.split_once(' ').is_some_and(is_request) && rows.iter().any(|row| *row.route == *text) {
            return self.of_rows(|index| *rows[index].route == *text);
        }
        let Some((methods, path)) = text.split_once(' ').filter(|(_, path)| path.starts_with(['/', '*']))
        else {
            let form =
                "write \"GET /path\", a row of the mapping, \"blueprint:NAME\", \"cluster:NAME\" or \"*\"";
            return Err((format!("`{text}` is not a request"), Some(form.to_owned())));
        };
        if !is_request((methods, path)) {
            let near = closest(text, rows.iter().map(|row| &*row.route));
            let near = near.map(|near| format!("did you mean `{near}`?"));
            let help =
                || "write the row exactly as the mapping does, or a request such as \"GET /x/7\"".to_owned();
            return Err((format!("the mapping has no row `{text}`"), Some(near.unwrap_or_else(help))));
        }
        methods.split(',').map(|method| self.concrete(method, path)).collect()
    }

    /// The requests that the rows decide, one for each declared method and each way in which a path can lead to the row.
    /// HEAD and OPTIONS, which Flask adds, get no other answer than the declared methods.
    fn of_rows(&mut self, wanted: impl Fn(usize) -> bool) -> Result<Selected, Mistake> {
        let mapping = self.mapping;
        let (regions, complete) = self.regions.get_or_insert_with(|| {
            let regions = mapping.regions(mapping);
            (regions.all, regions.complete)
        });
        if !*complete {
            let why = "the mapping is too large for its paths to be examined one by one: name requests";
            return Err((why.to_owned(), None));
        }
        let mut requests = Vec::new();
        for region in regions.iter() {
            let Some(index) = region.new.and_then(|row| index_of(mapping, row.offset)) else { continue };
            if wanted(index) {
                let declared = region.methods.intersection(mapping.rows()[index].methods);
                requests.extend(declared.iter().map(|method| Asked {
                    method,
                    path: region.example.clone(),
                    query: None,
                    row: Some(index),
                    refused: None,
                }));
            }
        }
        Ok(requests.into())
    }

    fn concrete(&self, method: &str, path: &str) -> Result<Asked, Mistake> {
        if Method::parse(method).is_none() {
            let near = closest(&method.to_ascii_uppercase(), Method::ALL.iter().map(|one| one.as_str()));
            let near = near.map(|near| format!("did you mean `{near}`?"));
            return Err((format!("`{method}` is not an HTTP method"), near));
        }
        match request(method, path, self.policy) {
            Ok(request) => {
                let (decoded, method) = (request.target().path(), request.method());
                let row = Target::of(self.mapping, decoded, method).row();
                Ok(Asked {
                    method,
                    path: decoded.to_owned(),
                    query: request.target().query().map(str::to_owned),
                    row: row.and_then(|row| index_of(self.mapping, row.offset)),
                    refused: None,
                })
            }
            Err(refusal) => Ok(Asked {
                method: Method::parse(method).unwrap_or(Method::Get),
                path: path.to_owned(),
                query: None,
                row: None,
                refused: Some(refusal.word()),
            }),
        }
    }
}

/// The index of the row that begins at this place of the file.
pub(super) fn index_of(mapping: &Mapping, offset: usize) -> Option<usize> {
    mapping.rows().iter().position(|row| row.offset == offset)
}
