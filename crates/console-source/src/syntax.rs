//! Python text as a tree.

use policy::diagnostic::position;
use tree_sitter::{Node, Parser, Tree};
use workbench::report::Location;

use super::{PythonFile, Trouble, TroubleKind};

/// How deeply a file may nest: Python itself takes 200 parentheses. Walking up from each name is quadratic in this.
const MAX_NESTING: usize = 500;

/// A file with its tree; without one where it is no Python.
pub(super) struct Parsed<'f> {
    pub(super) file: &'f PythonFile,
    tree: Option<Tree>,
}

impl<'f> Parsed<'f> {
    pub(super) fn new(file: &'f PythonFile) -> Parsed<'f> {
        let mut parser = Parser::new();
        let ready = parser.set_language(&tree_sitter_python::LANGUAGE.into()).is_ok();
        let tree = if ready { parser.parse(&file.text, None) } else { None };
        Parsed { file, tree: tree.filter(|tree| !nests_deeper_than(MAX_NESTING, tree.root_node())) }
    }

    /// The root, if the whole file is sound. The parser recovers from errors by leaving tokens out, a decorator for
    /// example, and Python itself would not run such a file: so nothing of it is read.
    pub(super) fn sound_root(&self) -> Option<Node<'_>> {
        self.tree.as_ref().map(Tree::root_node).filter(|root| !root.has_error())
    }

    /// The file's syntax error, if it has one.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        if self.sound_root().is_some() {
            return None;
        }
        let start = self.tree.as_ref().and_then(|tree| first_error(tree.root_node())).unwrap_or(0);
        Some(Trouble {
            kind: TroubleKind::Syntax,
            place: place(self.file, start),
            message: "this is not valid Python, so the file was not read".to_owned(),
        })
    }
}

fn nests_deeper_than(limit: usize, root: Node<'_>) -> bool {
    let mut cursor = root.walk();
    loop {
        if cursor.depth() as usize > limit {
            return true;
        }
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return false;
            }
        }
    }
}

/// The first error that is narrower than the whole file.
fn first_error(root: Node<'_>) -> Option<usize> {
    let mut first = None;
    visit(root, |node| {
        if first.is_none() && node.id() != root.id() && (node.is_error() || node.is_missing()) {
            first = Some(node.start_byte());
        }
        first.is_none() && node.has_error()
    });
    first
}

/// The place of a byte in a file.
pub(super) fn place(file: &PythonFile, byte: usize) -> Location {
    let (line, column) = position(&file.text, byte);
    Location { file: file.name.clone(), line, column }
}

/// Visits `root` and all nodes below it, parents first. `enter` decides whether to go below a node. Without recursion: a
/// file may nest as deeply as it likes.
pub(super) fn visit<'t>(root: Node<'t>, mut enter: impl FnMut(Node<'t>) -> bool) {
    let mut cursor = root.walk();
    loop {
        if enter(cursor.node()) && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
        }
    }
}

/// The named children but for comments.
pub(super) fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

/// The text of a node; nothing where the tree and the text disagree, which they never do.
pub(super) fn text_of<'t>(node: Node<'_>, text: &'t str) -> &'t str {
    text.get(node.byte_range()).unwrap_or("")
}

/// The last word of a name: `require_role` of `auth.require_role`.
pub(super) fn last_word<'t>(node: Node<'_>, text: &'t str) -> Option<&'t str> {
    match node.kind() {
        "identifier" => Some(text_of(node, text)),
        "attribute" => node.child_by_field_name("attribute").map(|word| text_of(word, text)),
        _ => None,
    }
}
