//! The people: whether anybody could get in.

use policy::rbac::census::CallerKind;
use store::SharedStore;

use super::report::Report;

pub(super) async fn examine(store: Option<&SharedStore>, report: &mut Report) {
    const SUBJECT: &str = "admins";
    let Some(store) = store else { return report.skip(SUBJECT, "the database comes first") };
    let people = match store.census(chrono::Utc::now()).await {
        Ok(people) => people,
        Err(error) => return report.fail(SUBJECT, error.to_string(), "correct what the message names"),
    };
    let admins: Vec<_> = people.iter().filter(|person| person.kind == CallerKind::Admin).collect();
    let holders =
        admins.iter().filter(|person| !person.legacy.is_empty() || !person.groups.is_empty()).count();
    let found = format!("{} active, {holders} of them with a legacy role or a group", admins.len());
    match (admins.len(), holders) {
        (0, _) => report.fail(
            SUBJECT,
            "there is none: everybody is sent to the login page, again and again",
            "add one (`console-gate admin add`), or correct `admins` in [console]",
        ),
        (_, 0) => report.fail(
            SUBJECT,
            found,
            "nobody gets in anywhere but by `session = true` rows: `console-gate backfill` puts people into groups",
        ),
        _ => report.good(SUBJECT, found),
    }
}
