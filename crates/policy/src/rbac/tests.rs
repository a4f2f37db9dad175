use proptest::prelude::*;

use super::LegacyRole;

#[test]
fn a_legacy_role_is_any_word() {
    let longest = "x".repeat(LegacyRole::MAX_LENGTH);
    for word in ["ops", "Ops", "billing:read", "role/a-b.c_d@x+y", "Prüfer", "管理者", "1", longest.as_str()]
    {
        assert_eq!(LegacyRole::parse(word).as_ref().map(LegacyRole::as_str), Some(word));
    }
    let too_long = "x".repeat(LegacyRole::MAX_LENGTH + 1);
    let none =
        ["", " ", "a b", " ops", "ops\n", "a,b", "\"ops\"", "o'ps", "`ops`", "o\0ps", "a\u{a0}b", "\u{85}"];
    for word in none.into_iter().chain([too_long.as_str()]) {
        assert_eq!(LegacyRole::parse(word), None, "{word:?}");
    }
}

#[test]
fn a_refusal_says_what_a_role_is_and_stays_on_its_line() {
    let refusal = "a\nb".parse::<LegacyRole>().unwrap_err().to_string();
    assert_eq!(
        refusal,
        "`a\\nb` cannot be a legacy role: a role is 1 to 64 characters without white space, commas and quotes"
    );
}

proptest! {
    /// A list of roles can be written with commas or spaces between, and read again.
    #[test]
    fn lists_of_roles_can_be_taken_apart(words in prop::collection::vec(any::<String>(), 0..6)) {
        let roles: Vec<LegacyRole> = words.iter().filter_map(|word| LegacyRole::parse(word)).collect();
        let written: Vec<&str> = roles.iter().map(LegacyRole::as_str).collect();
        let (by_comma, by_space) = (written.join(","), written.join(" "));
        prop_assert_eq!(by_comma.split(',').filter(|word| !word.is_empty()).collect::<Vec<_>>(), written.clone());
        prop_assert_eq!(by_space.split_whitespace().collect::<Vec<_>>(), written);
    }
}
