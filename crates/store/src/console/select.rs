//! A SELECT that an operator wrote: that it is one, where its parameter is, and which words are in it.
//!
//! It becomes a part of a larger statement. So it must not end early, not take other parameters, and not be more than one
//! statement; the content of strings, quoted names and comments is ignored.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;

/// The two databases' SQL, as far as its words differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    const BOTH: [Dialect; 2] = [Dialect::Postgres, Dialect::Sqlite];
}

/// One SELECT of `[console]`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Select {
    text: Arc<str>,
}

/// Names of the statement around it begin so.
pub(super) const RESERVED_PREFIX: &str = "gate__";

impl Select {
    /// Takes the text of a SELECT in the words of either database.
    ///
    /// # Errors
    ///
    /// It is not one SELECT, or takes another parameter than `$1`.
    pub fn parse(text: &str) -> Result<Select, String> {
        let select = Select { text: text.trim().into() };
        // The database is known later: a flag may name another than the settings do.
        let outcomes = Dialect::BOTH.map(|dialect| select.words(dialect).map(drop));
        match outcomes {
            [Ok(()), _] | [_, Ok(())] => Ok(select),
            [Err(problem), _] => Err(problem),
        }
    }

    /// One of the gate's own.
    pub(super) fn known(text: &str) -> Select {
        Select { text: text.into() }
    }

    /// Whether it has a `$1`.
    pub fn takes_id(&self) -> bool {
        let words = Dialect::BOTH.map(|dialect| self.words(dialect));
        words.into_iter().flatten().any(|words| !words.parameters.is_empty())
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its words, as this database reads it.
    ///
    /// # Errors
    ///
    /// It is not one SELECT in this database's words.
    pub(crate) fn words(&self, dialect: Dialect) -> Result<Words, String> {
        let mut words = Words::default();
        let mut depth = 0usize;
        let mut main = None;
        let mut is_first = true;
        let mut previous_word: Option<String> = None;
        for token in tokens(&self.text, dialect)? {
            let text = &self.text[token.at.clone()];
            let word_before = previous_word.take();
            match token.kind {
                Kind::Blank => {
                    previous_word = word_before;
                    continue;
                }
                Kind::Parameter if text == "$1" => words.parameters.push(token.at.clone()),
                Kind::Parameter => {
                    return Err(format!("`{text}` is a parameter: there is only `$1`, the id"));
                }
                Kind::Symbol => match text {
                    "(" => {
                        depth += 1;
                        words.calls.extend(word_before);
                    }
                    ")" => {
                        depth = depth.checked_sub(1).ok_or("a `)` closes what was not opened")?;
                    }
                    ";" => return Err("a `;` ends a statement: write one SELECT without it".into()),
                    "*" => words.has_star = true,
                    _ => {}
                },
                Kind::Word => {
                    let word = text.to_lowercase();
                    if word.starts_with(RESERVED_PREFIX) {
                        return Err(format!(
                            "`{text}`: names that begin with `{RESERVED_PREFIX}` are the gate's"
                        ));
                    }
                    const VERBS: [&str; 6] = ["select", "insert", "update", "delete", "merge", "values"];
                    if is_first && !["select", "with"].contains(&word.as_str()) {
                        return Err(format!("it begins with `{text}`: it must be one SELECT"));
                    }
                    if depth == 0 && main.is_none() && VERBS.contains(&word.as_str()) {
                        main = Some(word.clone());
                    }
                    words.has_natural |= word == "natural";
                    previous_word = Some(word.clone());
                    words.names.insert(word);
                }
                Kind::Quoted => {
                    let name = text.trim_matches(['"', '`', '[', ']']).to_lowercase();
                    if name.starts_with(RESERVED_PREFIX) {
                        return Err(format!(
                            "`{text}`: names that begin with `{RESERVED_PREFIX}` are the gate's"
                        ));
                    }
                    words.names.insert(name);
                }
                Kind::Literal => words.literals.push(text.trim_matches('\'').to_lowercase()),
            }
            if is_first && !matches!(token.kind, Kind::Word) {
                return Err(format!("it begins with `{text}`: it must be one SELECT"));
            }
            is_first = false;
        }
        match (is_first, depth, main.as_deref()) {
            (true, ..) => Err("it is empty".into()),
            (_, 1.., _) => Err("a `(` is not closed".into()),
            (_, _, Some("select")) => Ok(words),
            (.., verb) => Err(format!("it is no SELECT but {}", verb.unwrap_or("none"))),
        }
    }

    /// The tables that are named without a schema.
    pub(super) fn unqualified(&self, dialect: Dialect) -> Result<BTreeSet<String>, String> {
        let tokens = tokens(&self.text, dialect)?;
        let parts: Vec<(Kind, &str)> = tokens
            .iter()
            .filter(|token| token.kind != Kind::Blank)
            .map(|token| (token.kind, &self.text[token.at.clone()]))
            .collect();
        let is =
            |at: usize, word: &str| parts.get(at).is_some_and(|(_, text)| text.eq_ignore_ascii_case(word));
        // `name AS (`, and what has other columns: `name (a, b) AS (`.
        let own: BTreeSet<&str> = (0..parts.len())
            .filter(|at| {
                is(at + 1, "as") && (is(at + 2, "(") || is(at + 2, "materialized")) || is(at + 1, "(")
            })
            .map(|at| parts[at].1)
            .collect();
        let is_name = |at: usize| {
            parts.get(at).is_some_and(|(kind, text)| {
                matches!(kind, Kind::Word | Kind::Quoted)
                    && !["select", "lateral", "only", "unnest"].contains(&text.to_lowercase().as_str())
            })
        };
        // `extract(x FROM y)` and its like, and `IS DISTINCT FROM`.
        let mut calls = Vec::new();
        let mut is_in_call = vec![false; parts.len()];
        for (at, (_, word)) in parts.iter().enumerate() {
            match *word {
                "(" => {
                    let before = at.checked_sub(1).map(|before| parts[before].1.to_lowercase());
                    let like = ["extract", "substring", "trim", "overlay"];
                    calls.push(before.is_some_and(|name| like.contains(&name.as_str())));
                }
                ")" => drop(calls.pop()),
                _ => is_in_call[at] = calls.last().copied().unwrap_or(false),
            }
        }
        let tables = (0..parts.len()).filter(|at| {
            let is_clause = !(is_in_call[*at] || *at > 0 && is(*at - 1, "distinct"));
            let after = is_clause && (is(*at, "from") || is(*at, "join") || is(*at, "only"));
            after && is_name(at + 1) && !is(at + 2, ".") && !is(at + 2, "(")
        });
        let names = tables.map(|at| parts[at + 1].1);
        Ok(names.filter(|name| !own.contains(name)).map(str::to_owned).collect())
    }

    /// The text with each `$1` replaced, as a part of another statement: a comment at its end ends with its line.
    ///
    /// # Errors
    ///
    /// As of [`Select::words`].
    pub(crate) fn with_parameter(&self, dialect: Dialect, replacement: &str) -> Result<String, String> {
        let words = self.words(dialect)?;
        let mut text =
            String::with_capacity(self.text.len() + replacement.len() * words.parameters.len() + 2);
        let mut from = 0;
        for place in &words.parameters {
            text.push_str(&self.text[from..place.start]);
            text.push_str(replacement);
            from = place.end;
        }
        text.push_str(&self.text[from..]);
        text.push('\n');
        Ok(text)
    }
}

impl TryFrom<String> for Select {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Select::parse(&text)
    }
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

/// The words of a SELECT.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// Where `$1` is.
    pub(crate) parameters: Vec<Range<usize>>,
    /// Every name, in lower case.
    pub(crate) names: BTreeSet<String>,
    pub(crate) has_star: bool,
    pub(crate) has_natural: bool,
    /// The names before a `(`.
    calls: Vec<String>,
    literals: Vec<String>,
}

impl Words {
    /// The word by which the result changes without a write, if there is one: the time, or chance.
    pub(crate) fn changes_by_itself(&self) -> Option<&str> {
        const NAMES: [&str; 5] =
            ["current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"];
        const CALLS: [&str; 7] = [
            "now",
            "clock_timestamp",
            "statement_timestamp",
            "transaction_timestamp",
            "timeofday",
            "random",
            "age",
        ];
        let named = NAMES.into_iter().find(|name| self.names.contains(*name));
        let called = || CALLS.into_iter().find(|name| self.calls.iter().any(|call| call == name));
        let said = || self.literals.iter().any(|literal| literal == "now").then_some("'now'");
        named.or_else(called).or_else(said)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// White space or a comment.
    Blank,
    /// A name or keyword without quotes, or a number.
    Word,
    /// A name in quotes.
    Quoted,
    /// A string.
    Literal,
    Parameter,
    Symbol,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    at: Range<usize>,
}

fn tokens(text: &str, dialect: Dialect) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let (kind, length) = token(&text[at..], first, dialect)?;
        tokens.push(Token { kind, at: at..at + length });
        at += length;
    }
    Ok(tokens)
}

fn is_word_start(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric() || !letter.is_ascii()
}

/// The kind and the length of the token that `rest` begins with.
fn token(rest: &str, first: char, dialect: Dialect) -> Result<(Kind, usize), String> {
    let is_postgres = dialect == Dialect::Postgres;
    let word = |from: usize| {
        let more = rest[from..].find(|letter: char| !is_word_start(letter) && letter != '$');
        more.map_or(rest.len(), |end| from + end)
    };
    Ok(match first {
        '\0' => return Err("it holds a zero byte".into()),
        letter if letter.is_whitespace() => (Kind::Blank, letter.len_utf8()),
        '-' if rest.starts_with("--") => (Kind::Blank, rest.find('\n').map_or(rest.len(), |end| end + 1)),
        '/' if rest.starts_with("/*") => (Kind::Blank, comment(rest, is_postgres)?),
        '\'' => (Kind::Literal, quoted(rest, '\'', false)?),
        '"' => (Kind::Quoted, quoted(rest, '"', false)?),
        '`' if !is_postgres => (Kind::Quoted, quoted(rest, '`', false)?),
        '[' if !is_postgres => {
            let end = rest.find(']').ok_or("a `[` is not closed")?;
            (Kind::Quoted, end + 1)
        }
        '$' if is_postgres && !rest[1..].starts_with(|digit: char| digit.is_ascii_digit()) => {
            (Kind::Literal, dollar_quoted(rest)?)
        }
        '$' => (Kind::Parameter, word(1)),
        '?' | ':' | '@' | '#' if !is_postgres => (Kind::Parameter, word(1)),
        // Two characters, so that neither is taken for a parameter.
        ':' if rest.starts_with("::") => (Kind::Symbol, 2),
        // A string in which a backslash escapes; then the other prefixes of strings.
        'e' | 'E' if is_postgres && rest[1..].starts_with('\'') => {
            (Kind::Literal, 1 + quoted(&rest[1..], '\'', true)?)
        }
        letter if is_word_start(letter) => (Kind::Word, word(0)),
        letter => (Kind::Symbol, letter.len_utf8()),
    })
}

/// The length of a text in quotes, in which a doubled quote is one of the text's own.
fn quoted(rest: &str, quote: char, escapes: bool) -> Result<usize, String> {
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if escapes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return Ok(at + quote.len_utf8());
        }
    }
    Err(format!("a {quote} is not closed"))
}

/// Postgres nests comments, SQLite does not and ends one with the text.
fn comment(rest: &str, nests: bool) -> Result<usize, String> {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") && (nests || depth == 0) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Ok(at);
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    Err("a comment is not closed".into())
}

/// `$tag$ ... $tag$`
fn dollar_quoted(rest: &str) -> Result<usize, String> {
    let not_one = || "a `$` is neither `$1` nor a quote".to_owned();
    let tag_end = 1 + rest[1..].find('$').ok_or_else(not_one)?;
    let (tag, body) = rest.split_at(tag_end + 1);
    if !tag[1..tag_end].chars().all(is_word_start) {
        return Err(not_one());
    }
    let end = body.find(tag).ok_or_else(|| format!("a {tag} is not closed"))?;
    Ok(tag.len() + end + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, dialect: Dialect) -> Result<String, String> {
        Select::known(text).with_parameter(dialect, "<id>").map(|text| text.trim_end().to_owned())
    }

    #[test]
    fn only_what_is_a_parameter_is_replaced() {
        let table = [
            ("SELECT id FROM u WHERE id = $1", "SELECT id FROM u WHERE id = <id>"),
            (
                "SELECT id FROM u WHERE id = $1::uuid AND x = $1",
                "SELECT id FROM u WHERE id = <id>::uuid AND x = <id>",
            ),
            ("SELECT '$1', 'it''s $1' FROM u", "SELECT '$1', 'it''s $1' FROM u"),
            ("SELECT \"$1\", \"a\"\"$1\" FROM u", "SELECT \"$1\", \"a\"\"$1\" FROM u"),
            ("SELECT E'\\'$1' FROM u WHERE a = $1", "SELECT E'\\'$1' FROM u WHERE a = <id>"),
            ("SELECT $$ $1 $$, $a$ $1 $$ $a$ FROM u", "SELECT $$ $1 $$, $a$ $1 $$ $a$ FROM u"),
            ("SELECT a -- $1\n FROM u /* $1 /* $1 */ $1 */", "SELECT a -- $1\n FROM u /* $1 /* $1 */ $1 */"),
            ("SELECT a$1 FROM u WHERE b=$1", "SELECT a$1 FROM u WHERE b=<id>"),
            ("with x AS (SELECT 1) select * FROM x", "with x AS (SELECT 1) select * FROM x"),
            ("SELECT a[1], b ? 'x', c @> d, e::text FROM u", "SELECT a[1], b ? 'x', c @> d, e::text FROM u"),
            ("SELECT 'ünï' FROM ü WHERE ö = $1", "SELECT 'ünï' FROM ü WHERE ö = <id>"),
        ];
        for (text, expected) in table {
            assert_eq!(replaced(text, Dialect::Postgres).as_deref(), Ok(expected), "{text}");
        }
        let sqlite = "SELECT `$1`, [$1], 'it''s $1' /* /* */ FROM u WHERE id = $1";
        assert_eq!(replaced(sqlite, Dialect::Sqlite).unwrap(), sqlite.replace("= $1", "= <id>"));
    }

    #[test]
    fn what_is_not_one_select_is_refused() {
        let table = [
            ("", "empty"),
            ("-- nothing", "empty"),
            ("DELETE FROM u", "begins with `DELETE`"),
            ("(SELECT 1)", "begins with `(`"),
            ("SELECT 1; SELECT 2", "`;`"),
            ("SELECT 1;", "`;`"),
            ("SELECT 1) UNION (SELECT 2", "`)`"),
            ("SELECT (1", "`(`"),
            ("SELECT 'a", "not closed"),
            ("SELECT \"a", "not closed"),
            ("SELECT 1 /* a", "not closed"),
            ("SELECT $a$ b", "not closed"),
            ("SELECT $2", "`$2` is a parameter"),
            ("SELECT $10", "`$10` is a parameter"),
            ("SELECT $", "neither"),
            ("WITH x AS (SELECT 1) DELETE FROM u RETURNING id", "no SELECT but delete"),
            ("WITH x AS (SELECT 1)", "no SELECT"),
            ("SELECT * FROM gate__admins", "are the gate's"),
            ("SELECT * FROM \"gate__admins\"", "are the gate's"),
            ("SELECT 1 \0", "zero byte"),
        ];
        for (text, message) in table {
            let error = Select::known(text).words(Dialect::Postgres).map(drop).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
            assert!(Select::parse(text).is_err(), "{text}");
        }
        for text in ["SELECT ?", "SELECT ?1", "SELECT :id", "SELECT @id", "SELECT $id"] {
            let error = Select::known(text).words(Dialect::Sqlite).map(drop).unwrap_err();
            assert!(error.contains("is a parameter"), "{text}: {error}");
        }
    }

    #[test]
    fn a_table_without_a_schema_is_found() {
        let table: [(&str, &[&str]); 5] = [
            ("SELECT id FROM users u JOIN public.roles r ON true", &["users"]),
            ("SELECT id FROM public.users JOIN \"Roles\" ON true", &["\"Roles\""]),
            ("WITH x AS (SELECT 1 FROM a.b) SELECT * FROM x", &[]),
            ("SELECT extract(epoch FROM b) FROM a.c WHERE d IS DISTINCT FROM e", &[]),
            ("SELECT 1 FROM (SELECT 2 FROM generate_series(1, 2)) x", &[]),
        ];
        for (text, expected) in table {
            let found = Select::known(text).unqualified(Dialect::Postgres).unwrap();
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn what_changes_by_itself_is_found() {
        let table = [
            ("SELECT locked_until > now() AS disabled", Some("now")),
            ("SELECT locked_until > CURRENT_TIMESTAMP AS disabled", Some("current_timestamp")),
            ("SELECT u.ends < datetime('now') AS disabled", Some("'now'")),
            ("SELECT now, age, 'nowhere' FROM u", None),
            ("SELECT 1 -- now()", None),
        ];
        for (text, expected) in table {
            let words = Select::known(text).words(Dialect::Postgres).unwrap();
            assert_eq!(words.changes_by_itself(), expected, "{text}");
        }
    }
}
