//! The response to a probe (see [`crate::ruling::probe`]).

use policy::decision::Permit;
use policy::firewall::Request;
use policy::ids::RequestId;
use policy::mapping::Freshness;
use serde_json::json;

use super::Gate;
use super::message::Form;
use super::response::Response;
use crate::ruling::probe::{self, Accepted};

/// Whether a request is a probe.
pub enum Probed {
    No,
    /// It is decided as if it were none, and then not forwarded.
    Yes(Accepted),
    /// It goes no further: it asked what runs here, or it is none of ours.
    Answered(Response),
}

impl Gate {
    /// Looks for a probe. What claims to be one and is not is refused: it must not go upstream by mistake.
    pub async fn probe(&self, request: &Request) -> Probed {
        let Some(value) = request.fields().value(probe::HEADER) else { return Probed::No };
        let (method, target) = (request.method().as_str(), request.target().raw());
        let accepted =
            self.probes.as_ref().and_then(|keys| keys.accept(value, method, target, self.clock.now()));
        let Some(accepted) = accepted else {
            let detail = "This gate does not accept this probe.";
            let id = crate::random::request_id();
            return Probed::Answered(Response::plain(
                400,
                "probe_refused",
                "Bad Request",
                detail,
                Form::Problem,
                id,
            ));
        };
        if request.target().path() == probe::PATH {
            Probed::Answered(self.running().await)
        } else {
            Probed::Yes(accepted)
        }
    }

    /// What decides here, so that `verify` can work out what the answers have to be.
    async fn running(&self) -> Response {
        let id = crate::random::request_id();
        let Ok(control) = self.access.observe(Freshness::Strict).await else {
            let detail = "The gate cannot check access right now.";
            return Response::plain(503, "unavailable", "Not available", detail, Form::Problem, id);
        };
        let body = json!({
            "mapping_sha256": self.mappings.running().sha256().as_str(),
            "rbac_v2": control.rbac_v2,
            "may_enforce": control.may_enforce,
            "at": self.clock.now(),
        });
        json_answer(&body, id)
    }

    /// In place of Console's answer.
    pub fn probe_passed(&self, permit: &Permit, id: RequestId) -> Response {
        let roles: Vec<&str> = permit.roles_used().iter().map(AsRef::as_ref).collect();
        let gate = permit.let_in_by().word();
        let body = json!({ "answer": "allow", "route": permit.route(), "roles_used": roles, "gate": gate });
        let mut answer = json_answer(&body, id);
        answer.fields.push((probe::GATE, gate.to_owned()));
        answer
    }
}

fn json_answer(body: &serde_json::Value, id: RequestId) -> Response {
    Response {
        outcome: "probe",
        status: 200,
        fields: vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-request-id", id.to_string()),
            (probe::HEADER, "answered".to_owned()),
        ],
        body: body.to_string(),
        about: None,
    }
}
