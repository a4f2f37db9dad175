//! What can be asked.
//!
//! | `resource.type` | `resource.id` | `action.name` | the question |
//! |---|---|---|---|
//! | `route` | a path and query, as it would be in a request | a method | would the gate let this request through |
//! | `role`, `permission` | its name in the RBAC V2 tables | `hold` | does the subject hold it |
//!
//! The subject is of the type `admin`, with the id of a row of `admins`, or `machine`, with the id of a machine token.
//! `[api.subjects]` and `[api.resources]` of the settings give types and actions the names that callers have for them.
//! An admin's `properties.session` names the session too, where Console keeps sessions. The body that a request would
//! carry can be given in `context`: `body`, which is sent as JSON, or `form`, sent as a form. Without it a body cannot
//! be read.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use policy::firewall::{Http2Start, Policy, Refusal, Request, inspect_fields};
use policy::identity::Subject;
use policy::ids::{AdminId, MachineTokenId, SessionId};
use policy::rbac::Requirement;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::admin::problem::Problem;
use crate::settings::{Api, NamedResource};

/// The longest name of anything, in bytes.
const LONGEST: usize = 256;

/// The parts of a question, any of which an evaluation of several may leave to the defaults. Members that the
/// specification leaves to others are ignored.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Parts {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    context: Option<Map<String, Value>>,
}

/// A subject or a resource.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Entity {
    #[serde(rename = "type")]
    kind: String,
    /// `None` for the part that a search looks for.
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Action {
    name: String,
}

/// What a type of resources is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'n> {
    Route,
    Role,
    Permission,
    /// Routes by a name of the settings.
    Named(&'n NamedResource),
}

/// The names by which callers ask.
#[derive(Clone, Debug, Default)]
pub struct Names {
    subjects: BTreeMap<String, String>,
    resources: BTreeMap<String, NamedResource>,
}

impl Names {
    /// The names of the settings.
    pub fn of(settings: &Api) -> Names {
        Names { subjects: settings.subjects.clone(), resources: settings.resources.clone() }
    }

    /// `admin` or `machine`; `None` for a type that the gate does not know.
    pub(super) fn subject<'n>(&'n self, kind: &'n str) -> Option<&'n str> {
        let kind = self.subjects.get(kind).map_or(kind, String::as_str);
        ["admin", "machine"].into_iter().find(|known| *known == kind)
    }

    /// What a type of resources is; `None` for one that the gate does not know.
    pub(super) fn resource(&self, kind: &str) -> Option<Kind<'_>> {
        match kind {
            "route" => Some(Kind::Route),
            "role" => Some(Kind::Role),
            "permission" => Some(Kind::Permission),
            _ => self.resources.get(kind).map(Kind::Named),
        }
    }
}

/// A whole question.
#[derive(Debug)]
pub(super) enum Question {
    Route {
        subject: Subject,
        asked: AskedRequest,
    },
    Holding {
        subject: Subject,
        requirement: Requirement,
    },
    /// A question that the gate cannot answer, and so answers with no; the reason.
    Unknown(&'static str),
}

/// A request that is asked about.
#[derive(Debug)]
pub(super) struct AskedRequest {
    method: String,
    target: String,
    /// With its content type.
    body: Option<(&'static str, Vec<u8>)>,
}

impl Parts {
    /// These parts, and where there is none that of `defaults`.
    pub(super) fn or(self, defaults: &Parts) -> Parts {
        Parts {
            subject: self.subject.or_else(|| defaults.subject.clone()),
            action: self.action.or_else(|| defaults.action.clone()),
            resource: self.resource.or_else(|| defaults.resource.clone()),
            context: self.context.or_else(|| defaults.context.clone()),
        }
    }

    /// Puts the question together.
    ///
    /// # Errors
    ///
    /// A part is missing or malformed; which, in words.
    pub(super) fn question(&self, names: &Names) -> Result<Question, String> {
        let subject = self.subject.as_ref().ok_or("`subject` is missing")?;
        let action = self.action.as_ref().ok_or("`action` is missing")?;
        let resource = self.resource.as_ref().ok_or("`resource` is missing")?;
        let id = resource.id.as_deref().ok_or("`resource.id` is missing")?;
        let Some(subject) = subject.subject(names)? else {
            return Ok(Question::Unknown("unknown_subject_type"));
        };
        let requirement = match names.resource(&resource.kind) {
            Some(kind @ (Kind::Route | Kind::Named(_))) => {
                let body = self.context.as_ref().map_or(Ok(None), body)?;
                let (method, target) = match kind {
                    Kind::Named(named) => match named.actions.get(&action.name) {
                        Some(method) => (method.clone(), named.path_of(id)),
                        None => return Ok(Question::Unknown("unknown_action")),
                    },
                    _ => (action.name.clone(), id.to_owned()),
                };
                return Ok(Question::Route { subject, asked: AskedRequest { method, target, body } });
            }
            Some(Kind::Role) => Requirement::Role(name(id, "resource.id")?.into()),
            Some(Kind::Permission) => Requirement::Permission(name(id, "resource.id")?.into()),
            None => return Ok(Question::Unknown("unknown_resource_type")),
        };
        if action.name != "hold" {
            return Ok(Question::Unknown("unknown_action"));
        }
        Ok(Question::Holding { subject, requirement })
    }

    /// Checks that all parts of a search are there: the id of the sought part is not one of them.
    ///
    /// # Errors
    ///
    /// Which is missing, in words.
    pub(super) fn check(
        &self,
        needs_action: bool,
        seeks_subject: bool,
        seeks_resource: bool,
    ) -> Result<(), Problem> {
        let subject = self.subject.as_ref().ok_or("`subject` is missing");
        let resource = self.resource.as_ref().ok_or("`resource` is missing");
        let id = |entity: &Entity, is_sought: bool, missing| match (is_sought, &entity.id) {
            (false, None) => Err(missing),
            _ => Ok(()),
        };
        let action = if needs_action && self.action.is_none() { Err("`action` is missing") } else { Ok(()) };
        subject
            .and_then(|subject| id(subject, seeks_subject, "`subject.id` is missing"))
            .and_then(|()| resource.and_then(|one| id(one, seeks_resource, "`resource.id` is missing")))
            .and(action)
            .map_err(Problem::bad_request)
    }

    /// The type of the subject, and of the resource; empty where there is none.
    pub(super) fn subject_type(&self) -> &str {
        self.subject.as_ref().map_or("", |entity| &entity.kind)
    }

    pub(super) fn resource_type(&self) -> &str {
        self.resource.as_ref().map_or("", |entity| &entity.kind)
    }

    /// Asks about this one.
    pub(super) fn set_subject(&mut self, id: Option<&str>) {
        if let Some(subject) = &mut self.subject {
            subject.id = id.map(ToOwned::to_owned);
        }
    }

    pub(super) fn set_resource(&mut self, id: Option<&str>) {
        if let Some(resource) = &mut self.resource {
            resource.id = id.map(ToOwned::to_owned);
        }
    }

    pub(super) fn set_action(&mut self, name: Option<&str>) {
        self.action = name.map(|name| Action { name: name.to_owned() });
    }
}

impl Entity {
    /// The subject; `None` for a type that the gate does not know.
    fn subject(&self, names: &Names) -> Result<Option<Subject>, String> {
        let id = name(self.id.as_deref().ok_or("`subject.id` is missing")?, "subject.id")?;
        match names.subject(&self.kind) {
            Some("admin") => {
                let session = match self.properties.get("session") {
                    None | Some(Value::Null) => None,
                    Some(Value::String(session)) => {
                        Some(SessionId::new(name(session, "subject.properties.session")?))
                    }
                    Some(_) => return Err("`subject.properties.session` must be a string".into()),
                };
                Ok(Some(Subject::Admin { id: AdminId::new(id), session }))
            }
            Some(_) => Ok(Some(Subject::Enrolled(MachineTokenId::new(id)))),
            None => Ok(None),
        }
    }
}

impl AskedRequest {
    /// The request as the firewall takes it: no caller may make one that it would refuse.
    pub(super) fn request(&self, policy: &Policy) -> Result<Request, Refusal> {
        let start = Http2Start {
            method: self.method.as_bytes(),
            path: self.target.as_bytes(),
            authority: Some(policy.allowed_hosts.first().map_or("localhost", String::as_str).as_bytes()),
            ends_stream: self.body.is_none(),
        };
        let length = self.body().map_or(0, <[u8]>::len).to_string();
        let fields = self.body.iter().flat_map(|(content_type, _)| {
            [("content-type", *content_type), ("content-length", length.as_str())]
        });
        let fields = fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        inspect_fields(&start, fields, policy)
    }

    /// The body that was given.
    pub(super) fn body(&self) -> Option<&[u8]> {
        self.body.as_ref().map(|(_, bytes)| bytes.as_slice())
    }
}

/// Something that can be the name of a row.
fn name<'n>(text: &'n str, part: &str) -> Result<&'n str, String> {
    if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(format!("`{part}` must be 1 to {LONGEST} bytes without control characters"));
    }
    Ok(text)
}

fn body(context: &Map<String, Value>) -> Result<Option<(&'static str, Vec<u8>)>, String> {
    match (context.get("body"), context.get("form")) {
        (None, None) => Ok(None),
        (Some(body @ Value::Object(_)), None) => {
            Ok(Some(("application/json", body.to_string().into_bytes())))
        }
        (Some(_), None) => Err("`context.body` must be an object".into()),
        (None, Some(Value::Object(fields))) => Ok(Some(("application/x-www-form-urlencoded", form(fields)?))),
        (None, Some(_)) => Err("`context.form` must be an object".into()),
        (Some(_), Some(_)) => Err("`context.body` and `context.form` exclude each other".into()),
    }
}

fn form(fields: &Map<String, Value>) -> Result<Vec<u8>, String> {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = fields.iter().map(|(name, value)| match value {
        Value::String(value) => Ok(format!("{}={}", encoded(name), encoded(value))),
        _ => Err("the members of `context.form` must be strings".to_owned()),
    });
    Ok(pairs.collect::<Result<Vec<String>, String>>()?.join("&").into_bytes())
}
