//! Findings about servers that rows need and the settings do not name.

use std::path::Path;

use policy::mapping::Mapping;
use workbench::report::{Finding, rules};

use crate::settings::FreeScout;

/// Rows that require a ticket, without a FreeScout that reports which tickets are open.
pub(super) fn without_freescout(file: &Path, settings: &FreeScout, mapping: &Mapping) -> Option<Finding> {
    let rows: Vec<&str> =
        mapping.rows().iter().filter(|row| row.ticket().is_some()).map(|row| &*row.route).collect();
    let [first, others @ ..] = rows.as_slice() else { return None };
    if settings.url.is_some() {
        return None;
    }
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let message = format!(
        "{}: `{first}`{others} asks for a ticket, and no [freescout] says which tickets are open",
        file.display()
    );
    let suggestion = rules::rule("tickets-without-freescout").map(|rule| rule.help.to_owned());
    Some(Finding { suggestion, ..Finding::new("tickets-without-freescout", None, message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_for_tickets_need_a_freescout() {
        let found = |row: &str, url: Option<&str>| {
            let text = format!("version = 1\nblueprints.b.routes.\"GET /x/<int:id>\" = {{ {row} }}\n");
            let mapping = Mapping::parse("routes.toml", &text).unwrap();
            let settings = FreeScout { url: url.map(ToOwned::to_owned), ..FreeScout::default() };
            without_freescout(Path::new("gate.toml"), &settings, &mapping).is_some()
        };
        let ticket = "role = \"r\", ticket = { query = \"t\", customer = \"path:id\" }";
        assert!(found(ticket, None));
        assert!(!found(ticket, Some("https://help.example.org")));
        assert!(!found("role = \"r\"", None));
    }
}
