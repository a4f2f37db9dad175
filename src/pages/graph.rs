//! A role among those that it inherits and those that inherit it: a drawing laid out here, and the same as a nested list.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use super::template::render;
use super::views::Role;
use super::words::{name, place};

/// Roles of one column that are drawn; the list has the others too.
const MOST_ROWS: usize = 12;
/// Columns of inherited roles.
const MOST_LEVELS: usize = 8;
/// Entries of the list.
const MOST_ENTRIES: usize = 200;
/// The most characters that fit into a box.
const FITS: usize = 24;
/// The size of a box, in the units of the drawing.
const BOX: (usize, usize) = (188, 28);
/// From one box to the next.
const STEP: (usize, usize) = (236, 40);

#[derive(Template)]
#[template(path = "pages/graph.html")]
struct Drawing {
    wide: usize,
    high: usize,
    boxes: Vec<Drawn>,
    lines: Vec<Line>,
    hidden: usize,
}

struct Drawn {
    x: usize,
    y: usize,
    text: String,
    is_it: bool,
}

/// From a role to one that it inherits.
struct Line {
    x1: usize,
    y1: usize,
    x2: usize,
    y2: usize,
}

#[derive(Template)]
#[template(path = "pages/branches.html")]
struct Branches {
    branches: Vec<Branch>,
}

/// An inherited role, with those that it inherits.
struct Branch {
    name: String,
    note: &'static str,
    below: String,
}

/// Which role inherits from which, as the registry has it.
pub(super) struct Graph<'r> {
    inherits: BTreeMap<&'r str, Vec<&'r str>>,
    of: &'r str,
}

impl<'r> Graph<'r> {
    pub(super) fn new(roles: &'r [Role], of: &'r str) -> Graph<'r> {
        let parents = |role: &'r Role| role.inherits.iter().map(String::as_str).collect();
        Graph { inherits: roles.iter().map(|role| (role.name.as_str(), parents(role))).collect(), of }
    }

    /// The roles that inherit it directly.
    pub(super) fn children(&self) -> Vec<&'r str> {
        let inherits_it =
            |(role, parents): (&&'r str, &Vec<&str>)| parents.contains(&self.of).then_some(*role);
        self.inherits.iter().filter_map(inherits_it).collect()
    }

    /// The columns: who inherits it, itself, and what it inherits, the nearest first. A role is in one column only, so a
    /// circle, which the database should never have, ends here.
    fn columns(&self) -> Vec<Vec<&'r str>> {
        let mut seen: BTreeSet<&str> = [self.of].into();
        let mut columns = vec![self.children(), vec![self.of]];
        columns[0].retain(|child| seen.insert(child));
        for _ in 0..MOST_LEVELS {
            let last = columns.last().into_iter().flatten();
            let parents = last.flat_map(|role| self.inherits.get(role).into_iter().flatten().copied());
            let next: BTreeSet<&str> = parents.filter(|role| seen.insert(role)).collect();
            if next.is_empty() {
                break;
            }
            columns.push(next.into_iter().collect());
        }
        columns
    }

    /// The drawing. It is hidden from screen readers, which have the list.
    pub(super) fn drawing(&self) -> String {
        let mut columns = self.columns();
        let all: usize = columns.iter().map(Vec::len).sum();
        columns.iter_mut().for_each(|column| column.truncate(MOST_ROWS));
        columns.retain(|column| !column.is_empty());
        let rows = columns.iter().map(Vec::len).max().unwrap_or_default();
        let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (across, column) in columns.iter().enumerate() {
            let above = (rows - column.len()) * STEP.1 / 2;
            for (down, role) in column.iter().enumerate() {
                places.insert(role, (across * STEP.0 + 1, above + down * STEP.1 + 1));
            }
        }
        let line = |from: (usize, usize), to: (usize, usize)| Line {
            x1: from.0 + BOX.0,
            y1: from.1 + BOX.1 / 2,
            x2: to.0,
            y2: to.1 + BOX.1 / 2,
        };
        let mut lines = Vec::new();
        for (role, from) in &places {
            let parents = self.inherits.get(role).into_iter().flatten();
            // Only to the right: an edge within a column is in the list.
            let to = parents.filter_map(|parent| places.get(parent)).filter(|to| to.0 > from.0);
            lines.extend(to.map(|to| line(*from, *to)));
        }
        let boxes = places.iter().map(|(role, (x, y))| Drawn {
            x: *x,
            y: *y,
            text: cut(role),
            is_it: *role == self.of,
        });
        let boxes: Vec<Drawn> = boxes.collect();
        render(&Drawing {
            wide: columns.len().saturating_sub(1) * STEP.0 + BOX.0 + 2,
            high: rows.saturating_sub(1) * STEP.1 + BOX.1 + 2,
            hidden: all.saturating_sub(boxes.len()),
            boxes,
            lines,
        })
    }

    /// What it inherits, as nested lists; what several inherit is unfolded once.
    pub(super) fn list(&self) -> String {
        let (mut seen, mut left) = ([self.of].into(), MOST_ENTRIES);
        self.below(self.of, &mut seen, &mut left)
    }

    fn below(&self, role: &str, seen: &mut BTreeSet<&'r str>, left: &mut usize) -> String {
        let mut branches = Vec::new();
        for parent in self.inherits.get(role).into_iter().flatten().copied() {
            if *left == 0 {
                break;
            }
            *left -= 1;
            let is_new = seen.insert(parent);
            let has_more = self.inherits.get(parent).is_some_and(|parents| !parents.is_empty());
            let below = if is_new { self.below(parent, seen, left) } else { String::new() };
            let note = if !is_new && has_more { ", shown above" } else { "" };
            branches.push(Branch { name: parent.to_owned(), note, below });
        }
        if branches.is_empty() { String::new() } else { render(&Branches { branches }) }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(FITS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(edges: &[(&str, &[&str])]) -> Vec<Role> {
        let role = |(name, inherits): &(&str, &[&str])| Role {
            name: (*name).to_owned(),
            inherits: inherits.iter().map(ToString::to_string).collect(),
            inherited_roles: Vec::new(),
            permissions: Vec::new(),
            effective_permissions: Vec::new(),
            groups: Vec::new(),
            grantors: Vec::new(),
        };
        edges.iter().map(role).collect()
    }

    #[test]
    fn a_diamond_is_drawn_and_listed_once() {
        let roles = roles(&[
            ("a", &["b", "c"]),
            ("b", &["d"]),
            ("c", &["d"]),
            ("d", &["e"]),
            ("e", &[]),
            ("z", &["a"]),
        ]);
        let graph = Graph::new(&roles, "a");
        assert_eq!(graph.columns(), [vec!["z"], vec!["a"], vec!["b", "c"], vec!["d"], vec!["e"]]);
        let drawing = graph.drawing();
        assert_eq!((drawing.matches("<rect").count(), drawing.matches("<line").count()), (6, 6), "{drawing}");
        let list = graph.list();
        assert_eq!((list.matches("/roles/d").count(), list.matches("/roles/e").count()), (2, 1), "{list}");
        assert!(list.contains("shown above"), "{list}");
    }

    /// No registry has a circle; one written by hand still has a page.
    #[test]
    fn a_circle_and_a_wide_graph_end() {
        let circle = roles(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])]);
        let graph = Graph::new(&circle, "a");
        assert_eq!(graph.columns(), [vec!["c"], vec!["a"], vec!["b"]]);
        assert!(graph.drawing().contains("<svg") && graph.list().contains("/roles/b"));
        let names: Vec<String> = (0..400).map(|number| format!("r{number}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let edges: Vec<(&str, &[&str])> = (0..400).map(|number| (all[number], &all[number + 1..])).collect();
        let wide = roles(&edges);
        let graph = Graph::new(&wide, "r0");
        assert_eq!(graph.list().matches("<li>").count(), MOST_ENTRIES);
        assert!(graph.drawing().contains("387 more"), "{}", graph.drawing());
    }
}
