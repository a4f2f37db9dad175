//! The matcher: a rule that it names fits by its own pattern, and only the patterns decide which one is named.

use policy::mapping::matcher::{MatchOutcome, Matcher, Rule};
use policy::mapping::pattern::Pattern;
use policy::method::{Method, MethodSet};

use super::input::Input;
use super::naive_pattern::{NaiveConverter, NaivePattern, NaivePiece};

const MOST_RULES: usize = 6;
const MOST_SEGMENTS: usize = 4;
/// The naive search is quadratic.
const LONGEST_PATH: usize = 96;

/// The bytes choose some rules; those left over are one more pattern and one more path.
pub fn matcher(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let mut table = Vec::new();
    for _ in 0..=input.below(MOST_RULES) {
        let (pattern, methods) = (a_pattern(&mut input), some_methods(&mut input));
        // A pattern that Werkzeug or the firewall makes pointless is refused, and nothing else can be checked.
        if let Ok(parsed) = Pattern::parse(&pattern.text()) {
            table.push((pattern, Rule::declared(parsed, methods)));
        }
    }
    let seed = input.byte();
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    any_pattern(&text);
    let mut paths: Vec<String> = vec![text];
    for (pattern, _) in &table {
        let example = pattern.example(seed);
        let mut cut = example.clone();
        cut.pop();
        paths.extend([cut, format!("{example}/"), format!("{example}a"), example]);
    }
    check_table(&table, &paths)
}

/// Compares a matcher of these rules with their patterns, one by one, for each of the paths; `true` if some path has
/// found a rule.
pub fn check_table(table: &[(NaivePattern, Rule)], paths: &[String]) -> bool {
    let rules: Vec<Rule> = table.iter().map(|(_, rule)| rule.clone()).collect();
    let reversed = Matcher::build(rules.iter().rev().cloned().collect());
    let matcher = Matcher::build(rules);
    assert_eq!(matcher.overlaps().len(), reversed.overlaps().len());
    let mut has_matched = false;
    for path in paths {
        for method in Method::ALL {
            let outcome = matcher.find(path, method);
            has_matched |= matches!(outcome, MatchOutcome::Match { .. });
            let is_canonical = path.starts_with('/') && !path.contains("//") && path.len() <= LONGEST_PATH;
            if is_canonical {
                check_outcome(table, path, method, &outcome);
            }
            // Without overlaps the order in which the rules are written makes no difference to who is let in, except
            // for the OPTIONS that Flask answers by itself, without a view, for whichever rule comes first.
            let is_automatic = table.iter().any(|(_, rule)| rule.automatic.contains(method));
            if matcher.overlaps().is_empty() && !is_automatic {
                let other = decisive(&reversed.find(path, method));
                let other = other.map(|(kind, rule)| (kind, table.len() - 1 - rule));
                assert_eq!(decisive(&outcome), other, "{method} {path:?} of {}", shown(table));
            }
        }
    }
    has_matched
}

/// What an outcome means: the rule, and whether its view runs.
fn decisive(outcome: &MatchOutcome<'_>) -> Option<(&'static str, usize)> {
    match outcome {
        MatchOutcome::Match { rule, .. } => Some(("match", *rule)),
        MatchOutcome::SlashRedirect { rule } => Some(("slash", *rule)),
        MatchOutcome::MergeRedirect { rule, .. } => Some(("merge", *rule)),
        MatchOutcome::MethodMismatch { .. } | MatchOutcome::NotFound => None,
    }
}

fn check_outcome(table: &[(NaivePattern, Rule)], path: &str, method: Method, outcome: &MatchOutcome<'_>) {
    let context = || format!("{method} {path:?} gives {outcome:?} of {}", shown(table));
    match outcome {
        MatchOutcome::Match { rule, values } => {
            let (pattern, rule) = &table[*rule];
            assert!(rule.methods.contains(method) && pattern.fits(path), "{}", context());
            if !pattern.is_prefix {
                let values: Vec<&str> = values.iter().map(|(_, value)| value).collect();
                assert!(pattern.is_made_of(path, &values), "{}", context());
            }
        }
        MatchOutcome::SlashRedirect { rule } => {
            let (pattern, rule) = &table[*rule];
            assert!(rule.methods.contains(method), "{}", context());
            assert!(!pattern.is_prefix && pattern.fits(&format!("{path}/")), "{}", context());
        }
        MatchOutcome::MergeRedirect { .. } => panic!("no `//` to merge: {}", context()),
        MatchOutcome::MethodMismatch { allowed } => {
            assert!(!allowed.is_empty(), "{}", context());
            assert!(fitting(table, path).any(|(_, rule)| !rule.methods.contains(method)), "{}", context());
            check_nothing_missed(table, path, method, &context);
        }
        MatchOutcome::NotFound => check_nothing_missed(table, path, method, &context),
    }
}

/// No rule that fits and has the method was passed over, unless a value out of range has ended the search.
fn check_nothing_missed(
    table: &[(NaivePattern, Rule)],
    path: &str,
    method: Method,
    context: &dyn Fn() -> String,
) {
    if !table.iter().any(|(pattern, _)| pattern.has_range()) {
        assert!(!fitting(table, path).any(|(_, rule)| rule.methods.contains(method)), "{}", context());
    }
}

fn fitting<'t>(
    table: &'t [(NaivePattern, Rule)],
    path: &'t str,
) -> impl Iterator<Item = &'t (NaivePattern, Rule)> {
    table.iter().filter(move |(pattern, _)| pattern.fits(path))
}

/// A pattern of any text: parsed, or refused with a place inside the text.
fn any_pattern(text: &str) {
    match Pattern::parse(text) {
        Ok(pattern) => {
            assert_eq!(pattern.as_str(), text);
            let matcher = Matcher::build(vec![Rule::declared(pattern, MethodSet::ALL)]);
            matcher.find(text, Method::Get);
        }
        Err(error) => assert!(text.get(error.span()).is_some(), "{text:?}: {:?}", error.span()),
    }
}

fn some_methods(input: &mut Input<'_>) -> MethodSet {
    let bits = input.byte();
    let chosen: MethodSet = Method::ALL
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, method)| method)
        .collect();
    if chosen.is_empty() { MethodSet::EMPTY.with(Method::Get) } else { chosen }
}

fn a_pattern(input: &mut Input<'_>) -> NaivePattern {
    let is_prefix = input.below(8) == 1;
    let mut pieces = Vec::new();
    for _ in 0..=input.below(MOST_SEGMENTS) {
        text(&mut pieces, "/");
        text(&mut pieces, input.choose(&["", "a", "b", "new", "1", "v-", "é"]));
        if !is_prefix && input.below(2) == 1 {
            pieces.push(NaivePiece::Variable(a_converter(input)));
            text(&mut pieces, input.choose(&["", "", "", ".json", "-", "a", "/"]));
            if input.below(8) == 1 {
                pieces.push(NaivePiece::Variable(a_converter(input)));
            }
        }
    }
    NaivePattern { pieces, is_prefix }
}

/// Adds text to a piece of text before it, so that prefixes are one piece.
fn text(pieces: &mut Vec<NaivePiece>, more: &str) {
    match pieces.last_mut() {
        Some(NaivePiece::Text(text)) => text.push_str(more),
        _ => pieces.push(NaivePiece::Text(more.to_owned())),
    }
}

fn a_converter(input: &mut Input<'_>) -> NaiveConverter {
    let signed = |input: &mut Input<'_>| input.below(4) == 1;
    match input.below(10) {
        0..=2 => NaiveConverter::Text { least: 1, most: usize::MAX },
        3 => NaiveConverter::Text { least: 1 + input.below(3), most: usize::MAX },
        4 => NaiveConverter::Text { least: 1, most: 1 + input.below(3) },
        5 => NaiveConverter::Int { signed: signed(input), min: None, max: None },
        6 => {
            NaiveConverter::Int { signed: signed(input), min: Some(1), max: Some(1 + input.below(9) as i128) }
        }
        7 => NaiveConverter::Float { signed: signed(input) },
        8 => NaiveConverter::Path,
        _ if input.below(2) == 1 => NaiveConverter::Uuid,
        _ => {
            NaiveConverter::Any(vec!["a".to_owned(), input.choose(&["new", "daily", "a-b"]).replace('-', "")])
        }
    }
}

fn shown(table: &[(NaivePattern, Rule)]) -> String {
    let rules: Vec<String> =
        table.iter().map(|(pattern, rule)| format!("{} {}", rule.methods, pattern.text())).collect();
    rules.join("; ")
}
