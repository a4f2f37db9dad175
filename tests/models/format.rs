//! Mappings as values, with every key that the format has, and the text of `routes.toml` that says the same
//! (docs/mapping.md; the head of the shipped routes.toml).

use std::fmt::Write as _;

use crate::paths::Pattern;
use crate::world::{group_name, permission_name, role_name};

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// `unmapped`; `None` where the file does not say, which is `deny`.
    pub unmapped: Option<Unmapped>,
    /// Whether the file says how many rows it has.
    pub counts_rows: bool,
    pub clusters: Vec<Cluster>,
    pub blueprints: Vec<Blueprint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    Deny,
    Forward,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub name: String,
    pub rollout: Rollout,
}

/// What a cluster's mode is, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub enum Rollout {
    Legacy,
    Shadow,
    V2,
    /// V2 for these groups and this share of ids, shadow for the rest.
    Cohort {
        groups: Vec<usize>,
        percent: Option<u8>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Blueprint {
    pub name: String,
    /// The number of its cluster.
    pub cluster: Option<usize>,
    pub freshness: Option<&'static str>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Methods {
    /// `*`
    All,
    Some(Vec<&'static str>),
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub methods: Methods,
    pub path: Pattern,
    pub kind: Kind,
    /// `unauthenticated`; `None`: they are redirected to the login.
    pub unauthenticated: Option<Unauthenticated>,
    /// `forbidden = "302"`
    pub redirects: bool,
    pub freshness: Option<&'static str>,
    pub totp: Option<&'static str>,
    pub websocket: bool,
}

/// The answer to a caller without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    Status401,
    Status403,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Public,
    Session,
    Machine,
    Upstream,
    Gone,
    Gated(Gated),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Gated {
    /// `None`: the row has no legacy gate.
    pub legacy: Option<Vec<&'static str>>,
    pub v2: V2,
    /// `machine_or_session`
    pub machines: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum V2 {
    Needs {
        base: Need,
        when: Vec<Rule>,
        /// Whether `decided = {...}` says by whom.
        decided: bool,
        /// The row is for a ticket: the roles each of which is enough without one.
        ticket: Option<Vec<usize>>,
    },
    /// The question, and what its options would ask for.
    Undecided(&'static str, Vec<usize>),
}

/// A role or permissions, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Role(usize),
    Permission(usize),
    /// All of a list.
    Both(usize, usize),
}

/// A further need, for a body whose field has this value.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub field: Field,
    pub equals: &'static str,
    pub need: Need,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// A JSON pointer.
    Json(&'static str),
    Form(&'static str),
}

impl Field {
    pub fn name(self) -> &'static str {
        match self {
            Field::Json(name) | Field::Form(name) => name,
        }
    }
}

impl Mapping {
    /// All rows in the order of the file.
    pub fn rows(&self) -> Vec<&Row> {
        self.blueprints.iter().flat_map(|blueprint| &blueprint.rows).collect()
    }

    /// The cluster of the row with this number.
    pub fn cluster_of(&self, row: usize) -> Option<&Cluster> {
        let owners =
            self.blueprints.iter().flat_map(|blueprint| blueprint.rows.iter().map(move |_| blueprint));
        let owner = owners.into_iter().nth(row)?;
        owner.cluster.map(|number| &self.clusters[number])
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = String::from("version = 1\n");
        match self.unmapped {
            None => {}
            Some(Unmapped::Deny) => text.push_str("unmapped = \"deny\"\n"),
            Some(Unmapped::Forward) => text.push_str("unmapped = \"forward\"\n"),
        }
        if self.counts_rows {
            line(&mut text, &format!("rows = {}", self.rows().len()));
        }
        text.push_str("[clusters]\n");
        for cluster in &self.clusters {
            line(&mut text, &format!("{} = {}", cluster.name, cluster.rollout.text()));
        }
        for blueprint in &self.blueprints {
            line(&mut text, &format!("[blueprints.{}]", blueprint.name));
            if let Some(number) = blueprint.cluster {
                line(&mut text, &format!("cluster = \"{}\"", self.clusters[number].name));
            }
            if let Some(word) = blueprint.freshness {
                line(&mut text, &format!("freshness = \"{word}\""));
            }
            line(&mut text, &format!("[blueprints.{}.routes]", blueprint.name));
            for row in &blueprint.rows {
                line(&mut text, &row.text());
            }
        }
        text
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes whatever is written");
}

impl Rollout {
    fn text(&self) -> String {
        match self {
            Rollout::Legacy => "\"legacy\"".to_owned(),
            Rollout::Shadow => "\"shadow\"".to_owned(),
            Rollout::V2 => "\"v2\"".to_owned(),
            Rollout::Cohort { groups, percent } => {
                let mut keys = vec!["mode = \"v2\"".to_owned()];
                if !groups.is_empty() {
                    let names: Vec<String> =
                        groups.iter().map(|group| format!("\"{}\"", group_name(*group))).collect();
                    keys.push(format!("groups = [{}]", names.join(", ")));
                }
                keys.extend(percent.map(|share| format!("percent = {share}")));
                format!("{{ {} }}", keys.join(", "))
            }
        }
    }
}

impl Row {
    /// A row that sets nothing further.
    pub fn plain(methods: Methods, path: Pattern, kind: Kind) -> Row {
        let (freshness, totp, websocket) = (None, None, false);
        Row { methods, path, kind, unauthenticated: None, redirects: false, freshness, totp, websocket }
    }

    /// What the row is called: its methods and its path.
    pub fn route(&self) -> String {
        let methods = match &self.methods {
            Methods::All => "*".to_owned(),
            Methods::Some(names) => names.join(","),
        };
        format!("{methods} {}", self.path.text())
    }

    fn text(&self) -> String {
        let mut keys = match &self.kind {
            Kind::Public => vec!["public = true".to_owned()],
            Kind::Session => vec!["session = true".to_owned()],
            Kind::Machine => vec!["machine = true".to_owned()],
            Kind::Upstream => vec!["upstream = true".to_owned()],
            Kind::Gone => vec!["gone = true".to_owned()],
            Kind::Gated(gated) => gated.keys(),
        };
        keys.extend(self.unauthenticated.map(|answer| match answer {
            Unauthenticated::Status401 => "unauthenticated = \"401\"".to_owned(),
            Unauthenticated::Status403 => "unauthenticated = \"403\"".to_owned(),
        }));
        if self.redirects {
            keys.push("forbidden = \"302\"".to_owned());
        }
        keys.extend(self.freshness.map(|word| format!("freshness = \"{word}\"")));
        keys.extend(self.totp.map(|word| format!("totp = \"{word}\"")));
        if self.websocket {
            keys.push("websocket = true".to_owned());
        }
        format!("\"{}\" = {{ {} }}", self.route(), keys.join(", "))
    }

    pub fn gated(&self) -> Option<&Gated> {
        match &self.kind {
            Kind::Gated(gated) => Some(gated),
            _ => None,
        }
    }

    /// The rules about bodies.
    pub fn rules(&self) -> &[Rule] {
        match self.gated().map(|gated| &gated.v2) {
            Some(V2::Needs { when, .. }) => when,
            _ => &[],
        }
    }
}

impl Gated {
    /// Whether the row is for a ticket.
    pub fn is_for_ticket(&self) -> bool {
        matches!(&self.v2, V2::Needs { ticket: Some(_), .. })
    }

    /// Whether V2 lets nobody in without a ticket.
    pub fn needs_ticket(&self) -> bool {
        matches!(&self.v2, V2::Needs { ticket: Some(without), .. } if without.is_empty())
    }

    fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        if let Some(legacy) = &self.legacy {
            let names: Vec<String> = legacy.iter().map(|role| format!("\"{role}\"")).collect();
            keys.push(format!("legacy = [{}]", names.join(", ")));
        }
        match &self.v2 {
            V2::Needs { base, when, decided, ticket } => {
                keys.push(base.key());
                if let Some(without) = ticket {
                    let names: Vec<String> =
                        without.iter().map(|role| format!("\"{}\"", role_name(*role))).collect();
                    let without = if names.is_empty() {
                        String::new()
                    } else {
                        format!(", without = [{}]", names.join(", "))
                    };
                    keys.push(format!(
                        "ticket = {{ query = \"ticket_id\", customer = \"query:customer\"{without} }}"
                    ));
                }
                if !when.is_empty() {
                    let rules: Vec<String> = when.iter().map(Rule::text).collect();
                    keys.push(format!("when = [{}]", rules.join(", ")));
                }
                if *decided {
                    keys.push(format!("options = {{ A = \"another\", B = \"{}\" }}", base.name()));
                    keys.push("decided = { option = \"B\", by = \"operator\", ref = \"#1473\" }".to_owned());
                }
            }
            V2::Undecided(question, roles) => {
                keys.push(format!("undecided = \"{question}\""));
                let options: Vec<String> = roles
                    .iter()
                    .zip(["A", "B", "C"])
                    .map(|(role, option)| format!("{option} = \"{}\"", role_name(*role)))
                    .collect();
                if !options.is_empty() {
                    keys.push(format!("options = {{ {} }}", options.join(", ")));
                }
            }
        }
        if self.machines {
            keys.push("machine_or_session = true".to_owned());
        }
        keys
    }
}

impl Need {
    pub fn name(self) -> String {
        match self {
            Need::Role(role) => role_name(role),
            Need::Permission(permission) => permission_name(permission),
            Need::Both(one, other) => format!("{}\", \"{}", permission_name(one), permission_name(other)),
        }
    }

    fn key(self) -> String {
        match self {
            Need::Role(_) => format!("role = \"{}\"", self.name()),
            Need::Permission(_) => format!("permission = \"{}\"", self.name()),
            Need::Both(..) => format!("permission = [\"{}\"]", self.name()),
        }
    }
}

impl Rule {
    fn text(&self) -> String {
        let field = match self.field {
            Field::Json(pointer) => format!("json = \"{pointer}\""),
            Field::Form(name) => format!("form = \"{name}\""),
        };
        format!("{{ {field}, equals = \"{}\", {} }}", self.equals, self.need.key())
    }
}
