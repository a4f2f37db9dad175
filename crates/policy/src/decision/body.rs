//! Body rules: which further role a request needs because of its body.
//!
//! Console reads the same bytes with its own parser. Wherever two parsers could disagree (a duplicate key, depth,
//! encodings, the spelling of a number) the body counts as unreadable, and unreadable is denied.

mod json;
mod kind;
mod scalar;

use std::collections::BTreeMap;

use percent_encoding::percent_decode;

use crate::mapping::{BodyField, BodyRule};
pub use kind::{BodyKind, BodyReport};
pub use scalar::Scalar;

/// The known facts about the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyFacts {
    /// The row has no body rule, so the body was not examined.
    NotRead,
    /// For each rule of the row, in order: whether the body meets it.
    Read(Vec<bool>),
    /// The body could not be read in the form that the rules need.
    Unreadable(BodyError),
}

impl BodyFacts {
    /// Whether each rule is met; `None` unless the body was read.
    pub fn matches(&self) -> Option<&[bool]> {
        match self {
            BodyFacts::Read(matches) => Some(matches),
            BodyFacts::NotRead | BodyFacts::Unreadable(_) => None,
        }
    }
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than body rules can read")]
    TooLarge,
    #[error("the content type is not the one that the rule reads")]
    WrongContentType,
    #[error("the body has a content coding")]
    Encoded,
    #[error("the body is not well-formed")]
    Malformed,
    #[error("a key occurs twice")]
    DuplicateKey,
    #[error("the field that the rule reads is missing or is not a single value")]
    NoSuchField,
    #[error("the value has several spellings, and this is not the one that the rule compares")]
    Spelling,
    #[error("requests with this method have no body")]
    NoBody,
    #[error("the body did not arrive")]
    Incomplete,
}

/// The header fields that specify how to read a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContentHeaders<'a> {
    pub content_type: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
}

/// Reads `body` as the rules need it. The mapping's parser ensures that all rules of a row are of one kind.
pub fn read(rules: &[BodyRule], headers: ContentHeaders<'_>, body: &[u8]) -> BodyFacts {
    if headers.content_encoding.is_some() {
        return BodyFacts::Unreadable(BodyError::Encoded);
    }
    let matches = match rules.first().map(|rule| &rule.field) {
        None => Ok(Vec::new()),
        Some(BodyField::Json(_)) => json::read(rules, headers.content_type, body),
        Some(BodyField::Form(_)) => form(rules, headers.content_type, body),
    };
    match matches {
        Ok(matches) => BodyFacts::Read(matches),
        Err(error) => BodyFacts::Unreadable(error),
    }
}

fn form(rules: &[BodyRule], content_type: Option<&str>, body: &[u8]) -> Result<Vec<bool>, BodyError> {
    if media_type(content_type) != Some("application/x-www-form-urlencoded".to_owned()) {
        return Err(BodyError::WrongContentType);
    }
    // A map: a body of 64 KiB has room for 16,000 names, and comparing each with each takes a worker thread a second.
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(equals) => (&pair[..equals], &pair[equals + 1..]),
            None => (pair, &[][..]),
        };
        if fields.insert(form_text(name)?, form_text(value)?).is_some() {
            // Werkzeug's `form.get` takes the first, `form.getlist` all: the gate never guesses which one Console
            // reads.
            return Err(BodyError::DuplicateKey);
        }
    }
    rules
        .iter()
        .map(|rule| match &rule.field {
            BodyField::Form(name) => {
                fields.get(name.as_str()).map(|value| *value == rule.equals).ok_or(BodyError::NoSuchField)
            }
            BodyField::Json(_) => Err(BodyError::WrongContentType),
        })
        .collect()
}

fn form_text(encoded: &[u8]) -> Result<String, BodyError> {
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let well_formed = spaced.iter().enumerate().all(|(index, byte)| {
        *byte != b'%'
            || spaced.get(index + 1..index + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    if !well_formed {
        return Err(BodyError::Malformed);
    }
    percent_decode(&spaced).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| BodyError::Malformed)
}

/// The media type in lower case; a charset other than UTF-8 makes it unreadable.
fn media_type(content_type: Option<&str>) -> Option<String> {
    let mut parts = content_type?.split(';');
    let media = parts.next()?.trim().to_ascii_lowercase();
    for parameter in parts {
        let parameter = parameter.trim().to_ascii_lowercase();
        if parameter.starts_with("charset=")
            && parameter.trim_start_matches("charset=").trim_matches('"') != "utf-8"
        {
            return None;
        }
    }
    Some(media)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::Requirement;

    fn rule(field: BodyField) -> Vec<BodyRule> {
        vec![BodyRule { field, equals: "prod".into(), requires: Requirement::Role("r".into()) }]
    }

    pub(super) fn read_json(body: &str) -> BodyFacts {
        read_json_for("/target", "prod", body)
    }

    pub(super) fn read_json_for(pointer: &str, equals: &str, body: &str) -> BodyFacts {
        let headers = ContentHeaders { content_type: Some("application/json"), content_encoding: None };
        let rules = rule(BodyField::Json(pointer.into()));
        let rules: Vec<BodyRule> =
            rules.into_iter().map(|rule| BodyRule { equals: equals.into(), ..rule }).collect();
        read(&rules, headers, body.as_bytes())
    }

    #[test]
    fn form_bodies() {
        let table = [
            ("target=prod", BodyFacts::Read(vec![true])),
            ("a=1&target=prod&b", BodyFacts::Read(vec![true])),
            ("target=pr%6Fd", BodyFacts::Read(vec![true])),
            ("target=prod+", BodyFacts::Read(vec![false])),
            ("target=a&target=prod", BodyFacts::Unreadable(BodyError::DuplicateKey)),
            ("t%61rget=a&target=prod", BodyFacts::Unreadable(BodyError::DuplicateKey)),
            ("target=%zz", BodyFacts::Unreadable(BodyError::Malformed)),
            ("target=%ff", BodyFacts::Unreadable(BodyError::Malformed)),
            ("other=prod", BodyFacts::Unreadable(BodyError::NoSuchField)),
            ("", BodyFacts::Unreadable(BodyError::NoSuchField)),
        ];
        for (body, expected) in table {
            let headers = ContentHeaders {
                content_type: Some("application/x-www-form-urlencoded"),
                content_encoding: None,
            };
            assert_eq!(
                read(&rule(BodyField::Form("target".into())), headers, body.as_bytes()),
                expected,
                "{body}"
            );
        }
    }

    #[test]
    fn the_content_type_must_be_what_the_rule_reads() {
        let wrong = [
            None,
            Some("text/plain"),
            Some("application/json; charset=utf-16"),
            Some("multipart/form-data; boundary=x"),
        ];
        for content_type in wrong {
            let headers = ContentHeaders { content_type, content_encoding: None };
            let facts = read(&rule(BodyField::Json("/target".into())), headers, br#"{"target":"prod"}"#);
            assert_eq!(facts, BodyFacts::Unreadable(BodyError::WrongContentType), "{content_type:?}");
        }
        let headers = ContentHeaders {
            content_type: Some("Application/JSON; charset=\"UTF-8\""),
            content_encoding: None,
        };
        let facts = read(&rule(BodyField::Json("/target".into())), headers, br#"{"target":"prod"}"#);
        assert_eq!(facts, BodyFacts::Read(vec![true]));
        let headers =
            ContentHeaders { content_type: Some("application/json"), content_encoding: Some("gzip") };
        assert_eq!(
            read(&rule(BodyField::Json("/target".into())), headers, b"{}"),
            BodyFacts::Unreadable(BodyError::Encoded)
        );
    }
}
