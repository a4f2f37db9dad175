//! What stands around every page: search, navigation, and what concerns everybody now.

use askama::Template;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::cutover::Fleet;
use super::template::render;
use super::words::{exact, name, place, short};
use super::{GLASS, PREFIX, SCRIPT, STYLE, requests};
use crate::rbac_api::local::Local;
use crate::rbac_api::reply::Problem;

/// Digits of a digest in the address of a file.
const DIGITS: usize = 16;

#[derive(Template)]
#[template(path = "pages/shell.html")]
struct Shell<'p> {
    title: &'p str,
    main: &'p str,
    who: &'p str,
    /// What the gates run, for those who may read it; otherwise the mapping that decides this page.
    fleet: String,
    strips: Vec<String>,
    is_v2: bool,
    sections: Vec<Section>,
    style: String,
    scripts: Vec<String>,
    /// Whether it is what another person sees: then there is no form, and the navigation leads nowhere.
    is_viewed: bool,
    /// The break-glass sessions that run: whose, their ids and ends.
    glass: Vec<(String, String, DateTime<Utc>)>,
}

#[derive(Template)]
#[template(path = "pages/alone.html")]
struct Alone<'p> {
    main: &'p str,
    style: String,
}

#[derive(Template)]
#[template(path = "pages/problem.html")]
struct ProblemPage<'p> {
    title: &'static str,
    detail: String,
    could: Vec<&'p str>,
    rule: Option<&'p str>,
    missing: Vec<&'p str>,
    may_ask: bool,
    /// Whether something may have been made all the same.
    is_unsure: bool,
}

/// Entries of the navigation under one question.
struct Section {
    title: &'static str,
    entries: Vec<Entry>,
}

struct Entry {
    name: &'static str,
    place: String,
    is_here: bool,
    count: usize,
}

/// The digest by which the address of a file names its content.
pub(crate) fn digest_of(text: &str) -> String {
    policy::hex::lower(Sha256::digest(text))[..DIGITS].to_owned()
}

/// A whole page; `path` is below [`PREFIX`].
pub(super) async fn whole(local: &Local<'_>, path: &str, title: &str, main: &str) -> String {
    // A page whose navigation cannot be worked out is still a page.
    let waiting = requests::waiting(local).await.map(|waiting| waiting.len()).unwrap_or_default();
    let glass = local.running_sessions().await.unwrap_or_default();
    let needs_glass = !glass.is_empty() || path.starts_with("/break-glass");
    let scripts = if needs_glass { vec![SCRIPT, GLASS] } else { vec![SCRIPT] };
    let place = "/api/rbac/fleet";
    let fleet: Option<Fleet> = if local.may("GET", place) { local.get(place).await.ok() } else { None };
    let shell = Shell {
        title,
        main,
        who: local.id(),
        fleet: fleet.as_ref().map_or_else(|| of_page(local), Fleet::line),
        strips: fleet.as_ref().map(Fleet::strips).unwrap_or_default(),
        is_v2: local.control().rbac_v2,
        sections: sections(&|place| local.may("GET", place), path, waiting),
        is_viewed: false,
        style: address(STYLE, "css"),
        scripts: scripts.iter().map(|script| address(script, "js")).collect(),
        glass,
    };
    render(&shell)
}

/// For those who may not read about the fleet.
fn of_page(local: &Local<'_>) -> String {
    format!("mapping {}", short(local.mapping().sha256().as_str()))
}

/// What another person sees; `reads` are the addresses of the API that they may read.
pub(super) fn viewed(local: &Local<'_>, reads: &[String], title: &str, main: &str) -> String {
    let shell = Shell {
        title,
        main,
        who: local.id(),
        fleet: of_page(local),
        strips: Vec::new(),
        is_v2: local.control().rbac_v2,
        sections: sections(&|place| reads.iter().any(|one| one == place), "/as", 0),
        is_viewed: true,
        style: address(STYLE, "css"),
        scripts: vec![address(SCRIPT, "js")],
        glass: Vec::new(),
    };
    render(&shell)
}

/// A page for a caller that is not known.
pub(super) fn alone(main: &str) -> String {
    render(&Alone { main, style: address(STYLE, "css") })
}

/// Why something was not done, and who could do it.
pub(super) fn problem(problem: &Problem, local: Option<&Local<'_>>) -> String {
    let texts = |name: &str| -> Vec<&str> {
        let list = problem.member(name).and_then(|list| list.as_array());
        list.into_iter().flatten().filter_map(|one| one.as_str()).collect()
    };
    let missing =
        ["missing_roles", "missing_permissions", "missing_groups"].into_iter().flat_map(texts).collect();
    let title = match problem.status {
        403 => "You may not do this",
        404 => "Nothing is here",
        409 | 412 => "This has changed meanwhile",
        503 => "Not available",
        _ => "This cannot be done",
    };
    let rule = problem.member("rule").and_then(|rule| rule.as_str());
    render(&ProblemPage {
        title,
        detail: sentence(&problem.detail),
        could: texts("could"),
        rule,
        missing,
        may_ask: problem.status == 403 && local.is_some_and(|local| local.may("POST", "/api/rbac/requests")),
        is_unsure: problem.status >= 500,
    })
}

/// With a capital letter and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

fn address(text: &str, kind: &str) -> String {
    format!("{PREFIX}/assets/{}.{kind}", digest_of(text))
}

/// The pages that somebody can open who may make these reads of the API.
fn sections(reads: &dyn Fn(&str) -> bool, path: &str, waiting: usize) -> Vec<Section> {
    let all = [
        ("", vec![("Home", "", true, 0), ("My access", "/me", true, 0)]),
        (
            "Who",
            vec![
                ("People", "/people", reads("/api/rbac/admins"), 0),
                ("Groups", "/groups", reads("/api/rbac/groups"), 0),
                ("Roles", "/roles", reads("/api/rbac/roles"), 0),
                ("Grants", "/grants", reads("/api/rbac/grants"), 0),
                ("Requests", "/requests", reads("/api/rbac/requests"), waiting),
            ],
        ),
        (
            "What decides",
            vec![
                ("Matrix", "/matrix", reads("/api/rbac/who"), 0),
                ("Try a request", "/try", reads("/api/rbac/who"), 0),
                ("Cutover", "/cutover", reads("/api/rbac/clusters"), 0),
                ("Mapping", "/mapping", reads("/api/rbac/mapping"), 0),
            ],
        ),
        (
            "What happened",
            vec![
                ("Timeline", "/timeline", reads("/api/rbac/timeline"), 0),
                ("Audit", "/audit", reads("/api/rbac/audit"), 0),
                ("Reviews", "/reviews", reads("/api/rbac/reviews"), 0),
            ],
        ),
        ("Emergency", vec![("Break-glass", "/break-glass", reads("/api/rbac/break-glass/opens"), 0)]),
    ];
    let here = all
        .iter()
        .flat_map(|(_, entries)| entries)
        .map(|(_, place, ..)| *place)
        .filter(|place| path == *place || (!place.is_empty() && path.starts_with(&format!("{place}/"))))
        .max_by_key(|place| place.len())
        .unwrap_or(if path == "/" { "" } else { path });
    let mut sections: Vec<Section> = Vec::new();
    for (title, entries) in &all {
        let entries = entries.iter().filter(|(_, _, may, _)| *may).map(|(name, place, _, count)| Entry {
            name,
            place: format!("{PREFIX}{place}"),
            is_here: *place == here,
            count: *count,
        });
        sections.push(Section { title, entries: entries.collect() });
    }
    sections.retain(|section| !section.entries.is_empty());
    sections
}
