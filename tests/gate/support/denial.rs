//! What a 403 must be: one audit row that says why, and a view that did not run.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Answer, Ask, Console, Findings, Seed, World};

/// The audit row that a request must leave.
pub struct Denial<'a> {
    pub actor_kind: &'a str,
    /// The admin's id; `None` where the test does not know it (a machine's is made by the gate).
    pub actor: Option<&'a str>,
    /// `None` for an unmapped path.
    pub route: Option<&'a str>,
    pub reason: &'a str,
    /// The roles, of which one would have been enough.
    pub required: &'a [String],
}

impl Denial<'_> {
    /// Compares an answer, the audit table and Console's log with it.
    pub async fn check(&self, findings: &mut Findings, world: &World, ask: &Ask, answer: &Answer) {
        let who = format!("{} {} as {}", ask.method, ask.target, self.actor.unwrap_or(self.actor_kind));
        findings.equal(&format!("{who}: status"), answer.status, 403);
        let id = answer.request_id();
        findings.check(!id.is_empty(), || format!("{who}: the answer has no x-request-id"));
        findings.equal(&format!("{who}: Console saw"), Console::shared().saw(id), vec![]);
        let events = world.store.by_request(id).await.expect("the audit rows");
        findings.equal(&format!("{who}: audit rows"), events.len(), 1);
        let Some(event) = events.first() else { return };
        let (path, _) = ask.target.split_once('?').unwrap_or((&ask.target, ""));
        let required = event.required.as_ref().map(|json| json.0.to_string()).unwrap_or_default();
        let found = json!({
            "event_type": event.event_type, "actor_kind": event.actor_kind, "method": event.method,
            "path": event.path, "route": event.route, "reason": event.reason,
            "required": roles_named_in(&required),
        });
        let expected = json!({
            "event_type": "access_denied", "actor_kind": self.actor_kind, "method": ask.method, "path": path,
            "route": self.route, "reason": self.reason,
            "required": self.required.iter().collect::<BTreeSet<_>>(),
        });
        findings.equal(&format!("{who}: audit row"), found.to_string(), expected.to_string());
        if let Some(actor) = self.actor {
            findings.equal(&format!("{who}: actor"), event.actor_id.as_deref(), Some(actor));
        }
    }
}

/// The roles that a text names. How it puts them is the gate's to choose.
fn roles_named_in(text: &str) -> BTreeSet<&str> {
    let seed = Seed::read();
    let is_role = |word: &&str| {
        ["superadmin", "ops", "support", "readonly"].contains(word) || seed.roles().contains(word)
    };
    text.split(|character: char| !character.is_ascii_alphanumeric() && !"-_".contains(character))
        .filter(is_role)
        .collect()
}
