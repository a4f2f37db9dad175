//! Serde's errors about a setting, in the words of a person who edits the file.

use policy::diagnostic::closest;

/// A sentence about a mistake, and the key or value that was probably meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Worded {
    pub message: String,
    pub suggestion: Option<String>,
}

/// Words `message`, which is about `key` of a section.
pub(super) fn worded(section: &str, key: Option<&str>, message: &str) -> Worded {
    let plain = || {
        let of_key = key.filter(|key| !message.contains(&format!("`{key}`")) && message.starts_with("must "));
        let message = of_key.map_or_else(|| message.to_owned(), |key| format!("`{key}` {message}"));
        Worded { message: format!("[{section}] {message}"), suggestion: None }
    };
    if let (Some(key), "wanted string or table") = (key, message) {
        let message = format!("[{section}] `{key}` must be text in quotes");
        return Worded { message, suggestion: None };
    }
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown(section, "is not a key here", rest).unwrap_or_else(plain);
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return unknown(section, "is no value for this", rest).unwrap_or_else(plain);
    }
    let of_another_type =
        message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let parts = of_another_type.and_then(|rest| rest.rsplit_once(", expected "));
    let Some((given, expected)) = parts else { return plain() };
    let given = given_in_words(given);
    let Some(key) = key else {
        return Worded {
            message: format!("[{section}] must be a section with keys of its own, not {given}"),
            suggestion: Some(format!("write `[{section}]` on a line of its own, and its keys below")),
        };
    };
    let Some(expected) = expected_in_words(expected) else { return plain() };
    let message = format!("[{section}] `{key}` must be {expected}, not {given}");
    Worded { message, suggestion: rewritten(key, &given, expected) }
}

/// From ``  `x`, expected one of `a`, `b`  ``.
fn unknown(section: &str, what: &str, rest: &str) -> Option<Worded> {
    let mut words = rest.split('`').skip(1).step_by(2);
    let given = words.next()?;
    let known: Vec<&str> = words.collect();
    let shares_its_beginning = |known: &&&str| known.starts_with(given) || given.starts_with(**known);
    let near = closest(given, known.iter().copied()).map(|near| vec![near]);
    let near = near.unwrap_or_else(|| known.iter().filter(shares_its_beginning).copied().collect());
    let listed = |words: &[&str], between: &str| {
        words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(between)
    };
    let suggestion = match (near.as_slice(), known.as_slice()) {
        ([], []) => None,
        ([], known) => Some(format!("known are {}", listed(known, ", "))),
        (near, _) => Some(format!("did you mean {}?", listed(near, " or "))),
    };
    Some(Worded { message: format!("[{section}] `{given}` {what}"), suggestion })
}

/// From `string "2s"`, ``integer `8080` ``, `sequence`.
fn given_in_words(given: &str) -> String {
    match given {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        given => match given.split_once(['`', '"']) {
            Some(("string ", rest)) => format!("\"{rest}"),
            Some((_, rest)) => rest.trim_end_matches('`').to_owned(),
            None => given.to_owned(),
        },
    }
}

fn expected_in_words(expected: &str) -> Option<&str> {
    Some(match expected {
        times if times.contains("text with a unit") => times,
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "a whole number that is not negative",
        "a string" | "path string" | "string or map" => "text in quotes",
        "a sequence" => "a list in brackets",
        "a boolean" => "`true` or `false`",
        _ => return None,
    })
}

/// What the person can write instead.
fn rewritten(key: &str, given: &str, expected: &str) -> Option<String> {
    match expected {
        "text in quotes" if !given.starts_with('a') => Some(format!("write `{key} = \"{given}\"`")),
        "a list in brackets" if given.starts_with('"') => Some(format!("write `{key} = [{given}]`")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serdes_words_become_a_persons() {
        for (key, message, expected, suggestion) in [
            (
                "timeout_ms",
                "invalid type: sequence, expected a whole number of milliseconds, or text with a unit as \"30m\"",
                "[s] `timeout_ms` must be a whole number of milliseconds, or text with a unit as \"30m\", not a list",
                "",
            ),
            (
                "proxy",
                "invalid type: integer `8080`, expected a string",
                "[s] `proxy` must be text in quotes, not 8080",
                "write `proxy = \"8080\"`",
            ),
            (
                "servers",
                "invalid type: string \"localhost:5000\", expected a sequence",
                "[s] `servers` must be a list in brackets, not \"localhost:5000\"",
                "write `servers = [\"localhost:5000\"]`",
            ),
            (
                "max",
                "invalid value: integer `-3`, expected usize",
                "[s] `max` must be a whole number that is not negative, not -3",
                "",
            ),
            (
                "environment",
                "unknown variant `prod`, expected one of `development`, `staging`, `production`",
                "[s] `prod` is no value for this",
                "did you mean `production`?",
            ),
            (
                "secret_key",
                "unknown field `secret_key`, expected one of `kind`, `secret_key_env`, `secret_key_file`",
                "[s] `secret_key` is not a key here",
                "did you mean `secret_key_env` or `secret_key_file`?",
            ),
            (
                "x",
                "unknown field `x`, expected `file` or `watch`",
                "[s] `x` is not a key here",
                "known are `file`, `watch`",
            ),
            ("url", "a database URL begins with `sqlite:`", "[s] a database URL begins with `sqlite:`", ""),
        ] {
            let suggestion = (!suggestion.is_empty()).then(|| suggestion.to_owned());
            let expected = Worded { message: expected.to_owned(), suggestion };
            assert_eq!(worded("s", Some(key), message), expected, "{message}");
        }
    }
}
