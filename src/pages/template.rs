//! Templates as text.

use askama::Template;

/// A template as text.
pub(crate) fn render(template: &impl Template) -> String {
    // Rendering strings into a string fails only without memory.
    template.render().unwrap_or_default()
}
