//! `console-gate explain METHOD PATH [--as ADMIN]`

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::serve::flag_at_start;
use super::{Common, Finding, with_store};
use crate::access::{AccessResolver, Posture};
use crate::clock::SystemClock;
use crate::decision::body::BodyFacts;
use crate::decision::{
    Answer, Caller, Control, Denial, GateInForce, Question, Target, WhyLegacy, decide, gate_in_force,
};
use crate::firewall::{Policy, Request, inspect};
use crate::identity::{Principal, Subject};
use crate::ids::AdminId;
use crate::mapping::{Found, Freshness, Mapping, Row, RowKind, Unmapped, V2Gate};
use crate::rbac::catalog::Catalog;
use crate::rbac::{Access, LegacyRole, Requirement, Standing};
use crate::settings::{Environment, Settings};
use crate::store::SharedStore;

/// Say which row decides a request, which gate is in force and why, and what becomes of somebody who sends it
///
/// With `--as`, exit code 1 says that the admin would not get through. The body is not known here: rows with `when` are
/// decided by their own role alone.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The request's method
    method: String,
    /// The request's path, as a browser would send it
    path: String,
    /// The id of an admin
    #[arg(id = "as", long = "as", value_name = "ADMIN")]
    admin: Option<String>,
}

pub(super) fn run(command: &Explain, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    let name = settings.mapping.file.display().to_string();
    let source =
        std::fs::read_to_string(&settings.mapping.file).with_context(|| format!("cannot read {name}"))?;
    let mapping = Mapping::parse(&name, &source)?;
    let Some(request) = request(command) else { return Ok(Finding::Findings) };
    with_store(&settings, async |store| {
        let catalog = store.catalog().await?;
        let resolver = resolver(store, &settings)?;
        let control = resolver.observe(Freshness::Strict).await?;
        let target = target(&mapping, &request);
        tell_target(&target, &control, &catalog);
        let Some(admin) = &command.admin else { return Ok(Finding::Clean) };
        let subject = Subject::Admin { id: AdminId::new(admin.as_str()), session: None };
        let access = resolver.resolve(&subject, control.epoch).await?;
        Ok(tell_admin(admin, &access, &target, &control, &catalog))
    })
}

/// The request as the firewall takes it; where it does not, that is the answer.
fn request(command: &Explain) -> Option<Request> {
    let head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n\r\n", command.method, command.path);
    match inspect(head.as_bytes(), &Policy::default()) {
        Ok(request) => Some(request),
        Err(refusal) => {
            println!("refused    the firewall answers {}: {}", refusal.status(), refusal.word());
            None
        }
    }
}

fn resolver(store: SharedStore, settings: &Settings) -> anyhow::Result<AccessResolver> {
    let posture = Posture {
        flag_at_start: flag_at_start()?,
        production: settings.environment == Environment::Production,
    };
    Ok(AccessResolver::start(store, Arc::new(SystemClock), posture, 1))
}

fn target<'m>(mapping: &'m Mapping, request: &Request) -> Target<'m> {
    match mapping.find(request.target().path(), request.method()) {
        Found::Row(row) | Found::Redirect(row) => Target::Row(row, mapping.rollout_of(row)),
        Found::WrongMethod(methods) => {
            println!("method     the path has rows, and only for {methods}");
            Target::Unmapped(mapping.unmapped())
        }
        Found::Nothing => Target::Unmapped(mapping.unmapped()),
    }
}

fn tell_target(target: &Target<'_>, control: &Control, catalog: &Catalog) {
    let (row, mode) = match target {
        Target::Row(row, mode) => (*row, *mode),
        Target::Unmapped(Unmapped::Deny) => {
            return println!("row        none: denied, and audited as unmapped_route");
        }
        Target::Unmapped(Unmapped::Forward) => {
            return println!("row        none: forwarded, Console decides");
        }
    };
    println!("row        {}", row.route);
    match &row.cluster {
        Some(cluster) => println!("cluster    {cluster}, {mode}"),
        None => println!("cluster    none"),
    }
    let RowKind::Gated { legacy, v2, .. } = &row.kind else {
        return println!("gate       {}", kind(&row.kind));
    };
    let gate = gate_in_force(v2, mode.mode, control);
    println!("gate       {}", why(gate, v2));
    match legacy {
        Some(roles) => println!("legacy     {}", words(roles.iter().map(|role| LegacyRole::as_str(*role)))),
        None => println!("legacy     none"),
    }
    if let V2Gate::Requires { base, when } = v2 {
        println!("v2         {base}");
        for rule in when {
            println!("           and {} for some bodies", rule.requires);
        }
        let groups = catalog.groups_that_meet(base);
        println!("           held through {}", words(groups.iter().map(AsRef::as_ref)));
    }
}

fn kind(kind: &RowKind) -> &'static str {
    match kind {
        RowKind::Gated { .. } => "a role",
        RowKind::Session => "any admin who is logged in",
        RowKind::Public => "anyone",
        RowKind::Machine => "a bearer token or a signature, which Console verifies",
        RowKind::Upstream => "Console's own",
        RowKind::Gone => "gone: 410",
    }
}

fn why(gate: GateInForce, v2: &V2Gate) -> String {
    match (gate, v2) {
        (GateInForce::V2, _) => "v2".to_owned(),
        (GateInForce::Shadow, _) => "legacy, with V2 computed beside it (shadow)".to_owned(),
        (GateInForce::Legacy(WhyLegacy::Cluster), _) => "legacy: the cluster says so".to_owned(),
        (GateInForce::Legacy(WhyLegacy::Undecided), V2Gate::Undecided { question, .. }) => {
            format!("legacy: {question} is not decided")
        }
        (GateInForce::Legacy(WhyLegacy::Undecided), _) => "legacy: not decided".to_owned(),
        (GateInForce::Legacy(WhyLegacy::KillSwitch), _) => "legacy: FLAG_RBAC_V2 is off".to_owned(),
        (GateInForce::Legacy(WhyLegacy::NotPromoted), _) => {
            "legacy: FLAG_RBAC_V2 is not promoted to production".to_owned()
        }
    }
}

fn tell_admin(
    admin: &str,
    access: &Access,
    target: &Target<'_>,
    control: &Control,
    catalog: &Catalog,
) -> Finding {
    println!();
    println!("admin      {admin}");
    match access.standing {
        Standing::Active => {}
        Standing::Unknown => println!("           nobody of that id: sent to log in"),
        Standing::Disabled => println!("           disabled: sent to log in"),
        Standing::SessionEnded => println!("           the session has ended: sent to log in"),
    }
    if access.standing != Standing::Active {
        return Finding::Findings;
    }
    println!("legacy     {}", words(access.legacy.iter().map(|role| role.as_str())));
    println!("groups     {}", words(access.groups.iter().map(AsRef::as_ref)));
    let principal = Principal::Admin { id: AdminId::new(admin), session: None };
    let caller = Caller::Known(&principal, access);
    let question = Question { target: *target, caller, control: Some(control), body: &BodyFacts::NotRead };
    let verdict = decide(&question);
    if let Some(drift) = &verdict.drift {
        println!("shadow     V2 {} ({})", drift.direction.word(), drift.reason.word());
    }
    match verdict.answer {
        Answer::Allow(_) => {
            println!("answer     allowed");
            tell_ways(target, access, catalog);
            Finding::Clean
        }
        Answer::Deny(denial) => {
            tell_denial(admin, access, &denial, target, control, catalog);
            Finding::Findings
        }
        Answer::Login => {
            println!("answer     sent to log in");
            Finding::Findings
        }
        Answer::Unauthorized => {
            println!("answer     401: a machine's credential is asked for");
            Finding::Findings
        }
        Answer::Gone => {
            println!("answer     410: the route was deleted");
            Finding::Findings
        }
    }
}

/// The row's own requirement, where V2 has a say.
fn requirement<'r>(target: &Target<'r>) -> Option<&'r Requirement> {
    match target {
        Target::Row(Row { kind: RowKind::Gated { v2: V2Gate::Requires { base, .. }, .. }, .. }, _) => {
            Some(base)
        }
        _ => None,
    }
}

/// Each way from the admin's groups to what V2 asks for.
fn tell_ways(target: &Target<'_>, access: &Access, catalog: &Catalog) {
    let Some(requirement) = requirement(target) else { return };
    let mut found = false;
    for group in &access.groups {
        if let Some(way) = catalog.way_to(group, requirement) {
            found = true;
            println!(
                "           {group} -> {}",
                way.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" -> ")
            );
        }
    }
    if !found && access.meets(requirement) {
        println!("           {requirement}, through a temporary grant");
    }
}

/// What is missing, and what would be enough.
fn tell_denial(
    admin: &str,
    access: &Access,
    denial: &Denial,
    target: &Target<'_>,
    control: &Control,
    catalog: &Catalog,
) {
    println!("answer     denied: {}", denial.reason.word());
    println!("missing    {}", denial.required.join(", "));
    let v2_decides = match target {
        Target::Row(Row { kind: RowKind::Gated { v2, .. }, .. }, mode) => {
            gate_in_force(v2, mode.mode_for(admin, &access.groups), control) == GateInForce::V2
        }
        _ => false,
    };
    if let Some(requirement) = requirement(target).filter(|_| v2_decides) {
        let groups: BTreeSet<_> = catalog.groups_that_meet(requirement);
        println!("enough     to be in {}", any(groups.iter().map(AsRef::as_ref)));
    }
}

fn words<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn any<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "a group that holds it: none does".to_owned() } else { names.join(" or ") }
}
