//! How settings are printed: without a byte of a possible password.

/// What replaces a secret, whatever its length.
pub const MASK: &str = "***";

/// A URL whose user and query, which may hold a password, are masked; any other text as it is.
pub fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A password may contain anything, and be on either side of a `?`.
    if rest.find('?').zip(rest.rfind('@')).is_some_and(|(query, user)| query < user) {
        return format!("{scheme}://{MASK}");
    }
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    let (place, query) = rest.split_once(['?', '#']).map_or((rest, false), |(place, _)| (place, true));
    let user = user.map_or_else(String::new, |_| format!("{MASK}@"));
    let query = if query { format!("?{MASK}") } else { String::new() };
    format!("{scheme}://{user}{place}{query}")
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn no_byte_of_a_password_is_left() {
        for (url, shown) in [
            ("postgres://gate:hunter2@db/console", "postgres://***@db/console"),
            ("postgres://gate:hun@ter2@db/console", "postgres://***@db/console"),
            ("postgres://gate:hunter2?x@db:5432/console", "postgres://***"),
            ("postgres://db/console?user=gate&password=hunter2", "postgres://db/console?***"),
            ("postgres://db/console?password=hun@ter2", "postgres://***"),
            ("https://help.example.org", "https://help.example.org"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
