//! The query of a request, read strictly: what is not understood is refused, so that nobody takes a filter for one that
//! was not applied.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, Utc};
use percent_encoding::percent_decode_str;

use super::reply::Problem;

/// Names and values, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a raw query whose names are among `known`.
    pub(crate) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Query, Problem> {
        Query::with_lists(raw, known, &[])
    }

    /// The same; each of `lists` may be repeated, and has a value a line.
    pub(crate) fn with_lists(raw: Option<&str>, known: &[&str], lists: &[&str]) -> Result<Query, Problem> {
        let mut values = BTreeMap::<String, String>::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if lists.contains(&name.as_str()) {
                let lines = values.entry(name).or_default();
                lines.push_str(&value);
                lines.push('\n');
                continue;
            }
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let detail = format!("the query has an unknown parameter; known here: {known}");
                return Err(Problem::new(400, detail).with("parameter", name));
            }
            if values.insert(name.clone(), value).is_some() {
                return Err(Problem::new(400, "a parameter of the query is repeated").with("parameter", name));
            }
        }
        Ok(Query(values))
    }

    /// The same, where the values of a repeated `list` are one, with commas between them.
    pub(crate) fn with_list(raw: Option<&str>, known: &[&str], list: &str) -> Result<Query, Problem> {
        let mut query = Query::with_lists(raw, known, &[list])?;
        if let Some(values) = query.0.get_mut(list) {
            *values = values.lines().collect::<Vec<_>>().join(",");
        }
        Ok(query)
    }

    /// A day, which means its beginning in UTC, or an RFC 3339 time.
    pub(crate) fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let day = text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN).and_utc());
        let time = day.or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()));
        // Those that both databases keep.
        let time = time.filter(|time| (1_970..10_000).contains(&time.year()));
        let bad = || Problem::new(400, format!("`{name}` is a day (`2026-11-01`) or an RFC 3339 time"));
        time.map(Some).ok_or_else(bad)
    }

    /// The value of a parameter that may be there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `true` or `false`; `None` where it is not there.
    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Problem::new(400, format!("`{name}` is `true` or `false`"))),
        }
    }

    /// A number from 1 to `most`.
    pub(crate) fn count(&self, name: &str, usual: u32, most: u32) -> Result<u32, Problem> {
        let Some(text) = self.get(name) else { return Ok(usual) };
        let number = text.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| Problem::new(400, format!("`{name}` is a number from 1 to {most}")))
    }

    /// All of it but what says which page is asked for, as one text: what a cursor is bound to.
    pub(crate) fn without_page(&self) -> String {
        let kept = self.0.iter().filter(|(name, _)| !matches!(name.as_str(), "cursor" | "limit" | "format"));
        kept.map(|(name, value)| format!("{}={}:{value}&", name, value.len())).collect()
    }
}

fn decoded(text: &str) -> Result<String, Problem> {
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    text.filter(|text| !text.contains('\0'))
        .ok_or_else(|| Problem::new(400, "the query is not UTF-8, or has U+0000 in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused() {
        let query = Query::parse(Some("user=a%20b&live=true&limit=7"), &["user", "live", "limit"]).unwrap();
        assert_eq!(query.get("user"), Some("a b"));
        assert_eq!(query.switch("live").unwrap(), Some(true));
        assert_eq!(query.count("limit", 50, 200).unwrap(), 7);
        assert_eq!(query.count("other", 50, 200).unwrap(), 50);
        for raw in ["x=1", "user=a&user=b", "user=%ff", "user=%00", "USER=a"] {
            assert_eq!(Query::parse(Some(raw), &["user"]).unwrap_err().status, 400, "{raw}");
        }
        for limit in ["0", "201", "-1", "x", ""] {
            let query = Query::parse(Some(&format!("limit={limit}")), &["limit"]).unwrap();
            assert_eq!(query.count("limit", 50, 200).unwrap_err().status, 400, "{limit}");
        }
    }

    #[test]
    fn two_filters_never_read_alike() {
        let text = |raw| Query::parse(Some(raw), &["a", "b"]).unwrap().without_page();
        assert_ne!(text("a=1%26b%3D1:2"), text("a=1&b=2"));
    }
}
