//! Every rule that a path fits, in the order in which a search reaches them: why one rule answers and not another.
//!
//! A search stops at the first rule with the method; this walk continues. It leaves out the second attempt with merged
//! slashes, because the firewall refuses a path with `//` before any lookup.

use super::segments::NodeIndex;
use super::tree::{Node, Tree};
use super::{Matcher, Rule};
use crate::mapping::pattern::{Captures, DynamicPart, Precedence, Rest, split_segment};
use crate::method::{Method, MethodSet};

/// How a path fits a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Unchanged.
    Exact,
    /// With an additional slash at the end; the request is redirected to that path.
    SlashMissing,
    /// The path lies below a prefix, which answers if no exact rule does.
    Prefix,
}

/// A rule that a path fits, whatever the method.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its index in the list from which the matcher was built.
    pub rule: usize,
    pub fit: Fit,
    /// The methods that it serves, including HEAD and OPTIONS as Flask adds them.
    pub methods: MethodSet,
    /// The names and values of its variables.
    pub values: Vec<(&'a str, &'a str)>,
    /// The first value that is out of its variable's range. The search still ends here, and no exact rule answers.
    pub out_of_range: Option<(&'a str, &'a str)>,
    /// The steps by which the walk reached the rule.
    steps: Vec<Step<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Static(&'a str),
    Dynamic(&'a DynamicPart),
}

/// Why one candidate takes precedence over another that also has the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// At the first place where they differ, it has the static segment and the other has a part with variables.
    Static { segment: String, part: String },
    /// Both have parts with variables there.
    Weight { lighter: String, heavier: String, by: Precedence },
    /// It answers the path unchanged; the other answers only with a final slash.
    Slash,
    /// Only their places in the file distinguish them.
    Order,
}

impl Matcher {
    /// Every rule that `path` fits: exact ones in the order of the search, then prefixes, the longest first.
    pub fn candidates<'a>(&'a self, path: &'a str) -> Vec<Candidate<'a>> {
        let rest = (!path.is_empty()).then(|| path.trim_start_matches('/'));
        let mut walk =
            Walk { matcher: self, captures: Captures::default(), steps: Vec::new(), found: Vec::new() };
        walk.visit(Tree::ROOT, rest);
        walk.prefixes(rest);
        walk.found
    }
}

struct Walk<'a> {
    matcher: &'a Matcher,
    captures: Captures<'a>,
    steps: Vec<Step<'a>>,
    found: Vec<Candidate<'a>>,
}

impl<'a> Walk<'a> {
    /// Like [`super::Search::walk`], but does not stop.
    fn visit(&mut self, index: NodeIndex, rest: Rest<'a>) {
        let node = self.matcher.tree.at(index);
        let Some(rest) = rest else { return self.finish(node) };
        let (segment, after) = split_segment(rest);
        if let Some(edge) = node.edge(segment) {
            self.steps.push(Step::Static(&edge.text));
            self.visit(edge.child, after);
            self.steps.pop();
        }
        for (part, child) in node.dynamics() {
            let depth = self.captures.len();
            if let Some(after) = part.consume(rest, (segment, after), &mut self.captures) {
                self.steps.push(Step::Dynamic(part));
                self.visit(*child, after);
                self.steps.pop();
                self.captures.truncate(depth);
            }
        }
        if rest.is_empty() {
            self.note(node, |rule| (!rule.strict_slashes).then_some(Fit::Exact));
        }
    }

    fn finish(&mut self, node: Node<'a>) {
        self.note(node, |_| Some(Fit::Exact));
        if let Some(slash) = node.child("") {
            let slash = self.matcher.tree.at(slash);
            self.steps.push(Step::Static(""));
            self.note(slash, |rule| Some(if rule.strict_slashes { Fit::SlashMissing } else { Fit::Exact }));
            self.steps.pop();
        }
    }

    fn note(&mut self, node: Node<'a>, fit: impl Fn(&Rule) -> Option<Fit>) {
        for index in node.rules() {
            let rule = &self.matcher.rules[*index];
            if let Some(fit) = fit(rule) {
                let variables = || rule.pattern.variables().iter().zip(self.captures.iter());
                self.found.push(Candidate {
                    rule: *index,
                    fit,
                    methods: rule.methods,
                    values: variables().map(|(variable, value)| (variable.name(), value)).collect(),
                    out_of_range: variables()
                        .find(|(variable, value)| !variable.converter().converts(value))
                        .map(|(variable, value)| (variable.name(), value)),
                    steps: self.steps.clone(),
                });
            }
        }
    }

    fn prefixes(&mut self, rest: Rest<'a>) {
        let matcher = self.matcher;
        let mut longest_last: Vec<usize> = Vec::new();
        let mut node = Some(Tree::ROOT);
        let mut rest = rest;
        while let Some(index) = node {
            longest_last.extend(matcher.tree.at(index).prefixes().iter().rev());
            node = rest.and_then(|left| {
                let (segment, after) = split_segment(left);
                rest = after;
                matcher.tree.at(index).child(segment)
            });
        }
        self.found.extend(longest_last.into_iter().rev().map(|rule| Candidate {
            rule,
            fit: Fit::Prefix,
            methods: matcher.rules[rule].methods,
            values: Vec::new(),
            out_of_range: None,
            steps: Vec::new(),
        }));
    }
}

impl Candidate<'_> {
    /// Whether a search for `method` stops here.
    pub fn stops(&self, method: Method) -> bool {
        self.methods.contains(method)
    }

    /// Whether the search among exact rules ends here without a match.
    pub fn ends_search(&self, method: Method) -> bool {
        self.stops(method) && self.fit == Fit::Exact && self.out_of_range.is_some()
    }

    /// Why this exact rule takes precedence over `other`, which also has the method.
    pub fn lead_over(&self, other: &Candidate<'_>) -> Lead {
        let parting = self.steps.iter().zip(&other.steps).find(|(one, other)| !one.is_same(other));
        match parting {
            Some((Step::Static(segment), Step::Dynamic(part))) => {
                Lead::Static { segment: (*segment).to_owned(), part: part.shape() }
            }
            Some((Step::Dynamic(lighter), Step::Dynamic(heavier))) => {
                match lighter.weight().precedence_over(heavier.weight()) {
                    Some(by) => Lead::Weight { lighter: lighter.shape(), heavier: heavier.shape(), by },
                    None => Lead::Order,
                }
            }
            Some((_, Step::Static(_))) => Lead::Order,
            None if self.steps.len() < other.steps.len() => Lead::Slash,
            None => Lead::Order,
        }
    }
}

impl Step<'_> {
    /// Equal parts at one place are one object in the tree.
    fn is_same(&self, other: &Step<'_>) -> bool {
        match (self, other) {
            (Step::Static(one), Step::Static(other)) => one == other,
            (Step::Dynamic(one), Step::Dynamic(other)) => std::ptr::eq(*one, *other),
            (Step::Static(_), Step::Dynamic(_)) | (Step::Dynamic(_), Step::Static(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MatchOutcome;
    use super::*;
    use crate::mapping::pattern::Pattern;

    const PATTERNS: [&str; 17] = [
        "/",
        "/a",
        "/a/",
        "/b",
        "/a/b",
        "/a/b/",
        "/<x>",
        "/<x>/",
        "/<x>/b",
        "/a/<x>",
        "/a/<int:n>",
        "/a/<int(max=5):n>",
        "/<path:p>",
        "/a/<path:p>/",
        "/a/1<x>",
        "/a/*",
        "/*",
    ];
    const PATHS: [&str; 12] =
        ["/", "/a", "/a/", "/b", "/b/", "/a/b", "/a/b/", "/a/7", "/a/3", "/a/12", "/a/b/c", "/c/b"];

    /// What the candidates say: the first one with the method stops the search; where its value is out of range, only a
    /// prefix can answer.
    fn replayed(candidates: &[Candidate<'_>], method: Method) -> Option<(usize, Fit)> {
        let mut stopping = candidates.iter().filter(|candidate| candidate.stops(method));
        let first = stopping.next()?;
        if !first.ends_search(method) {
            return Some((first.rule, first.fit));
        }
        stopping.find(|candidate| candidate.fit == Fit::Prefix).map(|prefix| (prefix.rule, prefix.fit))
    }

    proptest! {
        #[test]
        fn the_first_candidate_is_what_a_search_finds(
            rows in prop::collection::vec((prop::sample::select(&PATTERNS), any::<bool>(), any::<bool>()), 0..9),
            path in prop::sample::select(&PATHS),
            method in prop::sample::select(&[Method::Get, Method::Post]),
        ) {
            let rules = rows.into_iter().map(|(pattern, get, strict)| Rule {
                strict_slashes: strict,
                ..Rule::new(
                    Pattern::parse(pattern).expect("a pattern"),
                    MethodSet::EMPTY.with(if get { Method::Get } else { Method::Post }),
                )
            });
            let matcher = Matcher::build(rules.collect());
            let found = match matcher.find(path, method) {
                MatchOutcome::Match { rule, .. } => Some(rule),
                MatchOutcome::SlashRedirect { rule } | MatchOutcome::MergeRedirect { rule, .. } => Some(rule),
                MatchOutcome::MethodMismatch { .. } | MatchOutcome::NotFound => None,
            };
            let candidates = matcher.candidates(path);
            prop_assert_eq!(replayed(&candidates, method).map(|(rule, _)| rule), found);
            if let MatchOutcome::Match { rule, values } = matcher.find(path, method) {
                let candidate = candidates.iter().find(|one| one.rule == rule).expect("the rule that matched");
                prop_assert_eq!(&candidate.values, &values.iter().collect::<Vec<_>>());
            }
            // Nobody is named twice.
            let mut rules: Vec<usize> = candidates.iter().map(|candidate| candidate.rule).collect();
            rules.sort_unstable();
            rules.dedup();
            prop_assert_eq!(rules.len(), candidates.len());
        }
    }
}
