//! CSV in which no cell is a formula.

use serde_json::Value;

/// A value as the text of a cell.
pub(crate) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // A spreadsheet would run it as a formula, and some of these texts come from strangers.
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

/// Cells as a line of CSV.
pub(crate) fn line(cells: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(cells)?;
    table.into_inner().map_err(|error| anyhow::anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (value, expected) in [
            (Value::Null, ""),
            ("=1+1".into(), "'=1+1"),
            ("@SUM(A1)".into(), "'@SUM(A1)"),
            ("/console".into(), "/console"),
            (7.into(), "7"),
            (serde_json::json!({ "a": ["b"] }), r#"{"a":["b"]}"#),
        ] {
            assert_eq!(cell(&value), expected);
        }
        assert_eq!(
            line(&["a,b".into(), "c\"d".into(), "e\nf".into()]).unwrap(),
            b"\"a,b\",\"c\"\"d\",\"e\nf\"\n"
        );
    }
}
