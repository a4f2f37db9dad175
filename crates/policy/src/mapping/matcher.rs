//! Finds the rule that Flask would run for a method and path.
//!
//! Source: `werkzeug.routing.matcher.StateMachineMatcher` and `MapAdapter.match`, Werkzeug 3.1. A gate that finds a
//! different rule than the application behind it checks the wrong role, so the search is the same, step by step: static
//! segments before dynamic parts, dynamic parts by weight, backtracking, skipping a rule with the wrong method for the
//! next one, redirects for slashes, and a value out of range that ends the search.
//!
//! Two features of Werkzeug have no counterpart here, because the gate has no such rules: WebSocket rules, and
//! `defaults` that redirect one rule to another.
//!
//! The rules form a tree of [`Node`]s. Every node lies at one depth, so a search visits a node at most once; in a table
//! without dynamic parts it visits only one node per segment.

mod candidates;
mod language;
mod outcome;
mod overlaps;
mod segments;
#[cfg(test)]
mod tests;
pub(super) mod tree;

pub use self::candidates::{Candidate, Fit, Lead};
pub use self::outcome::{MatchOutcome, Values};
pub use self::overlaps::Overlap;
use self::overlaps::Overlaps;
use self::segments::NodeIndex;
use self::tree::{Node, Tree};
use super::pattern::{Captures, Pattern, Rest, split_segment};
use crate::method::{Method, MethodSet};

/// One rule of a table.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The paths of the rule.
    pub pattern: Pattern,
    /// The methods as they are served, including HEAD and OPTIONS where Flask adds them ([`MethodSet::served`]).
    pub methods: MethodSet,
    /// The subset that Flask answers by itself, without a view: OPTIONS, unless it is declared. Two rules do not
    /// overlap by a method that is automatic in both, so that a table can have both `GET /x` and `POST /x`.
    pub automatic: MethodSet,
    /// If true, a path without the final slash is redirected, and one with a superfluous slash is not found. If false,
    /// both are served. Has no meaning for a prefix.
    pub strict_slashes: bool,
    /// Whether `//` in a request is redirected to `/`. Has no meaning for a prefix.
    pub merge_slashes: bool,
}

impl Rule {
    /// A rule with exactly these methods, and Werkzeug's defaults for slashes.
    pub fn new(pattern: Pattern, methods: MethodSet) -> Rule {
        Rule { pattern, methods, automatic: MethodSet::EMPTY, strict_slashes: true, merge_slashes: true }
    }

    /// A rule as Flask serves it for the methods that a route declares: with HEAD for GET, and OPTIONS, which is
    /// automatic unless declared.
    pub fn declared(pattern: Pattern, declared: MethodSet) -> Rule {
        let options = MethodSet::EMPTY.with(Method::Options);
        let automatic = if declared.contains(Method::Options) { MethodSet::EMPTY } else { options };
        Rule { automatic, ..Rule::new(pattern, declared.served()) }
    }

    /// The methods for which it matters which of two rules answers.
    fn contended(&self, other: &Rule) -> MethodSet {
        let automatic = self.automatic.intersection(other.automatic);
        self.methods
            .intersection(other.methods)
            .iter()
            .filter(|method| !automatic.contains(*method))
            .collect()
    }
}

/// Rules, ready for searching. A rule is named by its index in the list from which the matcher was built.
#[derive(Debug)]
pub struct Matcher {
    rules: Vec<Rule>,
    tree: Tree,
    overlaps: Overlaps,
}

impl Matcher {
    /// Builds the tree and looks for overlaps.
    ///
    /// Rules that overlap are searched in the given order, as Werkzeug searches an application's rules in the order in
    /// which they were added. The gate cannot know that order: a caller should refuse a table with
    /// [`overlaps`](Matcher::overlaps).
    pub fn build(rules: Vec<Rule>) -> Matcher {
        let tree = Tree::new(&rules);
        let overlaps = overlaps::find(&tree, &rules);
        Matcher { rules, tree, overlaps }
    }

    /// The rules, in the given order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The tree that a search walks.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Every pair of rules that can answer the same request, so that only their order decides which one does.
    ///
    /// One other case depends on order and is not an overlap, because either way nothing is permitted: a path that only
    /// rules with other methods and rules with values out of range cover gives [`MatchOutcome::MethodMismatch`] or
    /// [`MatchOutcome::NotFound`].
    pub fn overlaps(&self) -> &[Overlap] {
        &self.overlaps.found
    }

    /// Whether these are all. If not, there are so many overlaps, or the rules are so similar, that the search stopped
    /// early: a caller should refuse the table, even if no overlap was found.
    pub fn knows_all_overlaps(&self) -> bool {
        self.overlaps.complete
    }

    /// Finds the rule for a request. `path` is percent-decoded as a whole, because Werkzeug decodes before it splits.
    ///
    /// Prefixes are searched only if no exact rule answers; the longest prefix that has the method wins.
    pub fn find<'a>(&'a self, path: &'a str, method: Method) -> MatchOutcome<'a> {
        // `MapAdapter.match` puts exactly one slash in front, unless the path is empty.
        let rest = (!path.is_empty()).then(|| path.trim_start_matches('/'));
        let outcome = self.find_exact(rest, method);
        if !matches!(outcome, MatchOutcome::NotFound | MatchOutcome::MethodMismatch { .. }) {
            return outcome;
        }
        match self.tree.longest_prefix(rest, |rule| self.rules[rule].methods.contains(method)) {
            Some(rule) => MatchOutcome::Match { rule, values: Values::none() },
            None => outcome,
        }
    }

    fn find_exact<'a>(&'a self, rest: Rest<'a>, method: Method) -> MatchOutcome<'a> {
        let mut search = Search::new(self, method);
        match search.walk(Tree::ROOT, rest) {
            Some(Found::Rule(rule)) => {
                let values = Values::new(self.rules[rule].pattern.variables(), search.captures);
                if values.convert() {
                    MatchOutcome::Match { rule, values }
                } else {
                    refusal(search.other_methods)
                }
            }
            Some(Found::SlashMissing(rule)) => MatchOutcome::SlashRedirect { rule },
            None => self.find_merged(rest, method, search.other_methods),
        }
    }

    /// Werkzeug's second attempt, with every run of slashes merged into one. A rule found this way only leads to a
    /// redirect.
    fn find_merged(&self, rest: Rest<'_>, method: Method, other_methods: MethodSet) -> MatchOutcome<'_> {
        let Some(merged) = rest.and_then(merge_slashes) else { return refusal(other_methods) };
        let mut search = Search::new(self, method);
        match search.walk(Tree::ROOT, Some(&merged)) {
            Some(Found::SlashMissing(rule)) => MatchOutcome::MergeRedirect { rule, adds_slash: true },
            Some(Found::Rule(rule)) if self.rules[rule].merge_slashes => {
                MatchOutcome::MergeRedirect { rule, adds_slash: false }
            }
            _ => refusal(other_methods.union(search.other_methods)),
        }
    }
}

fn refusal<'a>(other_methods: MethodSet) -> MatchOutcome<'a> {
    if other_methods.is_empty() {
        MatchOutcome::NotFound
    } else {
        MatchOutcome::MethodMismatch { allowed: other_methods }
    }
}

/// The path with single slashes; `None` if it has no repeated ones.
fn merge_slashes(path: &str) -> Option<String> {
    path.contains("//").then(|| {
        let mut merged = String::with_capacity(path.len());
        for character in path.chars() {
            if character != '/' || !merged.ends_with('/') {
                merged.push(character);
            }
        }
        merged
    })
}

/// One walk down the tree.
struct Search<'a> {
    matcher: &'a Matcher,
    method: Method,
    captures: Captures<'a>,
    /// The methods of rules that were skipped (Werkzeug's `have_match_for`).
    other_methods: MethodSet,
}

/// What ends a search.
enum Found {
    Rule(usize),
    SlashMissing(usize),
}

impl<'a> Search<'a> {
    fn new(matcher: &'a Matcher, method: Method) -> Search<'a> {
        Search { matcher, method, captures: Captures::default(), other_methods: MethodSet::EMPTY }
    }

    /// Werkzeug's `_match`. The captures are those of the rule that was found, or unchanged if there is none.
    fn walk(&mut self, index: NodeIndex, rest: Rest<'a>) -> Option<Found> {
        let node = self.matcher.tree.at(index);
        let Some(rest) = rest else { return self.finish(node) };
        let (segment, after) = split_segment(rest);
        if let Some(child) = node.child(segment)
            && let Some(found) = self.walk(child, after)
        {
            return Some(found);
        }
        for (part, child) in node.dynamics() {
            let depth = self.captures.len();
            if let Some(after) = part.consume(rest, (segment, after), &mut self.captures) {
                if let Some(found) = self.walk(*child, after) {
                    return Some(found);
                }
                self.captures.truncate(depth);
            }
        }
        // A superfluous slash at the end, for a rule that tolerates it.
        if rest.is_empty() {
            self.first_rule(node, |rule| !rule.strict_slashes).map(Found::Rule)
        } else {
            None
        }
    }

    /// All segments are used up: finds a rule that ends here, or one that lacks only the final slash.
    fn finish(&mut self, node: Node<'a>) -> Option<Found> {
        if let Some(rule) = self.first_rule(node, |_| true) {
            return Some(Found::Rule(rule));
        }
        let slash = self.matcher.tree.at(node.child("")?);
        let rules = &self.matcher.rules;
        let mut candidates = slash.rules().iter().copied();
        let rule = candidates.find(|rule| rules[*rule].methods.contains(self.method))?;
        Some(if rules[rule].strict_slashes { Found::SlashMissing(rule) } else { Found::Rule(rule) })
    }

    /// The first rule of a node that has the method; collects the methods of the rules before it.
    fn first_rule(&mut self, node: Node<'a>, eligible: impl Fn(&Rule) -> bool) -> Option<usize> {
        for index in node.rules() {
            let rule = &self.matcher.rules[*index];
            if !eligible(rule) {
                continue;
            }
            if rule.methods.contains(self.method) {
                return Some(*index);
            }
            self.other_methods = self.other_methods.union(rule.methods);
        }
        None
    }
}
