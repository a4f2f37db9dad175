//! Text that people write and others read: reasons, comments, labels.

/// Whether `text` is one line of at most `most` characters that shows all that it contains. It has no line breaks or
/// other control characters, and nothing that is invisible or changes the direction of the following text (Unicode's
/// category Cf, and its line and paragraph separators). In an alert or a terminal, such text could pass for a line of
/// the program's own.
pub fn is_line(text: &str, most: usize) -> bool {
    text.chars().nth(most).is_none() && !text.chars().any(deceives)
}

/// The text with each line break replaced by a space, for input from a form field with several lines.
pub fn folded(text: &str) -> String {
    text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn deceives(one: char) -> bool {
    one.is_control()
        || matches!(one,
            '\u{00ad}' | '\u{0600}'..='\u{0605}' | '\u{061c}' | '\u{06dd}' | '\u{070f}' | '\u{0890}'..='\u{0891}'
            | '\u{08e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}'
            // Shown as nothing: fillers and selectors.
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{034f}' | '\u{17b4}' | '\u{17b5}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_it_contains() {
        for (text, fits) in [
            ("the database is down: RAXX-7", true),
            ("Größe, naïve, 数据库, 🔥", true),
            ("", true),
            ("one\ntwo", false),
            ("one\rtwo", false),
            ("a\u{202e}b", false),
            ("a\u{200b}b", false),
            ("a\u{2028}b", false),
            ("a\u{feff}b", false),
            ("a\u{e0041}b", false),
            ("\u{3164}", false),
            ("a\u{0}b", false),
        ] {
            assert_eq!(is_line(text, 100), fits, "{text:?}");
        }
        assert!(is_line("äöü", 3) && !is_line("äöüß", 3));
    }

    #[test]
    fn a_form_s_lines_are_folded() {
        assert_eq!(folded(" one\r\n\r\n two\n"), "one two");
    }
}
