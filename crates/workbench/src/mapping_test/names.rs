//! The names of callers in `routes.test.toml`, as one registry resolves them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::diagnostic::closest;
use policy::mapping::Mapping;
use policy::rbac::LegacyRole;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{BREAK_GLASS, CallerKind, Person};

use super::caller::{Caller, Holdings, Kind};
use super::requests::Mistake;

/// The words for callers without a name of their own.
pub(super) const WORDS: [&str; 3] = ["anonymous", "program", "session"];

/// A grant by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantName {
    Group(Arc<str>),
    Role(Arc<str>),
    Legacy(LegacyRole),
    /// The credential of a program that only Console can verify.
    Program,
}

impl std::fmt::Display for GrantName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GrantName::Group(name) => write!(f, "group {name}"),
            GrantName::Role(name) => write!(f, "role {name}"),
            GrantName::Legacy(name) => write!(f, "legacy role {name}"),
            GrantName::Program => f.write_str("the credential of a program"),
        }
    }
}

/// Everything that can be named.
pub(super) struct Names<'a> {
    catalog: &'a Catalog,
    people: &'a [Person],
    legacy: BTreeSet<&'a LegacyRole>,
    pub(super) callers: BTreeMap<String, Caller>,
}

impl<'a> Names<'a> {
    pub(super) fn new(mapping: &'a Mapping, catalog: &'a Catalog, people: &'a [Person]) -> Names<'a> {
        let held = people.iter().flat_map(|person| person.legacy.iter());
        let legacy = mapping.legacy_roles().into_iter().chain(held).collect();
        Names { catalog, people, legacy, callers: BTreeMap::new() }
    }

    pub(super) fn group(&self, name: &str) -> Result<Arc<str>, Mistake> {
        let found = self.catalog.groups.get(name).cloned();
        found.ok_or_else(|| unknown("group", name, self.catalog.groups.iter().map(AsRef::as_ref)))
    }

    pub(super) fn role(&self, name: &str) -> Result<Arc<str>, Mistake> {
        let found = self.catalog.roles.get(name).cloned();
        found.ok_or_else(|| unknown("role", name, self.catalog.roles.iter().map(AsRef::as_ref)))
    }

    pub(super) fn legacy(&self, name: &str) -> Result<LegacyRole, Mistake> {
        let found = self.legacy.iter().find(|role| role.as_str() == name).map(|role| (*role).clone());
        found.ok_or_else(|| unknown("legacy role", name, self.legacy.iter().map(|role| role.as_str())))
    }

    /// A grant: `group:NAME`, `role:NAME`, `legacy:NAME`, the name alone if only one of the three has it, or `program`.
    pub(super) fn grant(&self, text: &str) -> Result<GrantName, Mistake> {
        if text == "program" {
            return Ok(GrantName::Program);
        }
        match text.split_once(':') {
            Some(("group", name)) => return self.group(name).map(GrantName::Group),
            Some(("role", name)) => return self.role(name).map(GrantName::Role),
            Some(("legacy", name)) => return self.legacy(name).map(GrantName::Legacy),
            _ => {}
        }
        let all = [
            self.group(text).map(GrantName::Group),
            self.role(text).map(GrantName::Role),
            self.legacy(text).map(GrantName::Legacy),
        ];
        let mut found: Vec<GrantName> = all.into_iter().flatten().collect();
        match (found.pop(), found.as_slice()) {
            (Some(only), []) => Ok(only),
            (Some(last), others) => {
                let kinds: Vec<String> = others.iter().chain([&last]).map(ToString::to_string).collect();
                let help = "write `group:NAME`, `role:NAME` or `legacy:NAME`";
                Err((
                    format!("`{text}` is ambiguous: there is {}", kinds.join(" and ")),
                    Some(help.to_owned()),
                ))
            }
            (None, _) => Err(unknown("group, role or legacy role", text, self.all())),
        }
    }

    /// A caller: a word of [`WORDS`], a name of `[callers]`, a person, a machine, or a grant that it holds alone.
    pub(super) fn caller(&self, text: &str) -> Result<Caller, Mistake> {
        let named = |caller: Caller| Caller { name: Some(text.to_owned()), ..caller };
        match text {
            "anonymous" => return Ok(named(Caller::bare(Kind::Anonymous))),
            "session" => return Ok(named(Caller::bare(Kind::Admin))),
            _ => {}
        }
        if let Some(caller) = self.callers.get(text) {
            return Ok(named(caller.clone()));
        }
        match text.split_once(':') {
            Some(("person", id)) => return self.person(CallerKind::Admin, id),
            Some(("machine", id)) => return self.person(CallerKind::Machine, id),
            _ => {}
        }
        let mut holdings = Holdings::default();
        let grant = self.grant(text).map_err(|(message, help)| {
            let near = closest(text, WORDS.into_iter().chain(self.callers.keys().map(String::as_str)));
            (message, near.map(|near| format!("did you mean `{near}`?")).or(help))
        })?;
        match grant {
            GrantName::Group(group) => {
                // A member of the break-glass group represents an admin with a session, as in `explain`.
                holdings.break_glass = *group == *BREAK_GLASS;
                holdings.groups.insert(group);
            }
            GrantName::Role(role) => {
                holdings.roles.insert(role);
            }
            GrantName::Legacy(role) => {
                holdings.legacy.insert(role);
            }
            GrantName::Program => return Ok(named(Caller::bare(Kind::Program))),
        }
        Ok(named(Caller::holding(Kind::Admin, holdings)))
    }

    fn person(&self, kind: CallerKind, id: &str) -> Result<Caller, Mistake> {
        let of_kind = || self.people.iter().filter(|person| person.kind == kind);
        if let Some(person) = of_kind().find(|person| *person.id == *id) {
            return Ok(Caller::of_person(person));
        }
        if self.people.is_empty() {
            let help = "run `console-gate test --live`, or describe the caller in `[callers]`";
            return Err((
                format!("`{id}` is in no registry file: people are in the database"),
                Some(help.into()),
            ));
        }
        Err(unknown(kind.word(), id, of_kind().map(|person| &*person.id)))
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let legacy = self.legacy.iter().map(|role| role.as_str());
        let (groups, roles) = (self.catalog.groups.iter(), self.catalog.roles.iter());
        groups.chain(roles).map(AsRef::as_ref).chain(legacy)
    }
}

fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> Mistake {
    let near = closest(name, known).map(|near| format!("did you mean `{near}`?"));
    (format!("there is no {what} `{name}`"), near)
}
