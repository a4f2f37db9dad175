//! What the gate would answer to a request of any caller, and why: the explanation that `explain` gives.

use askama::Template;
use policy::decision::Direction;
use policy::firewall::Policy;
use policy::rbac::LegacyRole;
use workbench::explanation::Explanation;
use workbench::explanation::answer::{AnswerReport, Ending};
use workbench::explanation::gate::Decides;
use workbench::explanation::text::{Paragraph, paragraphs};

use super::template::render;
use super::{Outcome, PREFIX, Shown};
use crate::facts::explanation::{CallerName, ExplainError, Explainer};
use crate::rbac_api::local::Local;
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;

/// The kinds of caller, as the form and addresses name them.
const KINDS: [(&str, &str); 5] = [
    ("admin", "admin"),
    ("machine", "machine (token)"),
    ("group", "member of a group"),
    ("legacy_role", "legacy role"),
    ("unauthenticated", "not logged in"),
];

/// A request of a caller, as an address names it.
pub(super) struct Asked {
    method: String,
    path: String,
    kind: String,
    who: String,
}

#[derive(Template)]
#[template(path = "pages/tester.html")]
struct Tester<'a> {
    asked: &'a Asked,
    answer: Option<Explained>,
}

struct Explained {
    title: String,
    verdicts: Vec<Verdict>,
    route: Vec<Paragraph>,
    caller: Vec<Paragraph>,
}

/// The outcome with one kind of body.
struct Verdict {
    class: &'static str,
    words: String,
    body: Option<String>,
    by: Option<&'static str>,
    /// What V2 would have answered, where it differs in shadow.
    shadow: Option<&'static str>,
}

impl Asked {
    /// The names of its parts in a query.
    pub(super) const NAMES: [&str; 4] = ["method", "path", "kind", "as"];

    pub(super) fn of(query: &Query) -> Asked {
        let text = |name: &str, usual: &str| query.get(name).unwrap_or(usual).trim().to_owned();
        Asked {
            method: text("method", "GET"),
            path: text("path", ""),
            kind: text("kind", "admin"),
            who: text("as", ""),
        }
    }

    fn caller_name(&self) -> Result<Option<CallerName>, Problem> {
        let who = self.who.clone();
        Ok(match self.kind.as_str() {
            "unauthenticated" => Some(CallerName::Unauthenticated),
            _ if who.is_empty() => None,
            "machine" => Some(CallerName::Machine(who)),
            "group" => Some(CallerName::Group(who)),
            "legacy_role" => {
                let role = LegacyRole::parse(&who);
                Some(CallerName::LegacyRole(role.ok_or_else(|| Problem::new(422, "this is no legacy role"))?))
            }
            "admin" => Some(CallerName::Admin(who)),
            _ => return Err(Problem::new(400, "there is no such kind of caller")),
        })
    }

    async fn explain(&self, local: &Local<'_>) -> Result<Explained, Problem> {
        let (parts, mapping) = (local.parts(), local.mapping());
        let now = parts.clock.now();
        let explainer = Explainer::read(&parts.access, &parts.store, mapping, now, self.caller_name()?).await;
        let explainer = explainer.map_err(|error| match error {
            ExplainError::Unknown(_) | ExplainError::NotAnId => Problem::new(422, error.to_string()),
            error => Problem::unavailable(&error),
        })?;
        let explanation =
            explainer.explain(mapping, "routes.toml", &Policy::default(), &self.method, &self.path);
        Ok(Explained::of(&explanation))
    }
}

impl Explained {
    fn of(explanation: &Explanation) -> Explained {
        let caller = explanation.caller.as_ref();
        let who = caller.map_or_else(String::new, |caller| format!("{}, ", caller.name));
        let verdicts = caller.map_or_else(Vec::new, |caller| caller.answers.iter().map(verdict).collect());
        let title = format!("{who}{} {}", explanation.method, explanation.path);
        let (route, caller) = paragraphs(explanation);
        Explained { title, verdicts, route, caller }
    }
}

fn verdict(answer: &AnswerReport) -> Verdict {
    let (class, words) = match answer.answer {
        Ending::Allow => ("allow", "allowed".to_owned()),
        Ending::Deny => ("deny", format!("denied: {}", answer.reason.unwrap_or_default())),
        Ending::Login => ("later", "sent to the login".to_owned()),
        Ending::Unauthorized => ("deny", "401".to_owned()),
        Ending::Unknown => ("deny", "403: not logged in".to_owned()),
        Ending::Gone => ("deny", "410: deleted".to_owned()),
        Ending::Quiet => ("deny", "404".to_owned()),
    };
    Verdict {
        class,
        words,
        body: answer.body.as_ref().map(ToString::to_string),
        by: answer.decided_by.map(Decides::word),
        shadow: answer.shadow.as_ref().map(|shadow| match shadow.direction {
            Direction::WouldNewlyAllow => "V2 would allow it",
            Direction::WouldNewlyDeny => "V2 would deny it",
        }),
    }
}

/// The answer to what is asked, if anything is, and the form to ask with.
pub(super) async fn part(local: &Local<'_>, asked: &Asked) -> Result<String, Problem> {
    let answer = match asked.path.is_empty() {
        true => None,
        false => Some(asked.explain(local).await?),
    };
    Ok(render(&Tester { asked, answer }))
}

/// The page by itself.
pub(super) async fn page(local: &Local<'_>, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &Asked::NAMES)?;
    local.require("/api/rbac/who")?;
    let asked = Asked::of(&query);
    let part = part(local, &asked).await?;
    let head = "<div class=\"head\"><div><h1>Try a request</h1>\
                <p>What the gate would answer, and why. Nothing is sent to Console.</p></div></div>";
    Ok(Shown::page("Try a request", format!("{head}{part}")))
}
