//! What a caller must see, worked out from the documents.
//!
//! It knows the row that a request finds, what the row says, what the caller holds ([`crate::access_model`]) and how a
//! body reads ([`crate::bodies`]); it knows nothing of the gate.

use std::collections::BTreeMap;

use crate::access_model::{Holding, of_admin, of_token};
use crate::bodies::Reading;
use crate::callers::{Authorization, Caller, Cookie};
use crate::format::{Gated, Kind, Mapping, Need, Rollout, Row, Unauthenticated, Unmapped, V2};
use crate::paths::{Found, find};
use crate::scenario::Request;
use crate::world::{Session, World};

/// What holds besides the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// `FLAG_RBAC_V2`, which is on in the gate's environment, as the database has it.
    pub flag: bool,
    pub production: bool,
    /// Whether `console_flag_promotions` has the flag in production.
    pub promoted: bool,
    /// Whether Console keeps sessions and a cookie names its own.
    pub keeps_sessions: bool,
}

/// Everything that an answer depends on besides the request.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub mapping: &'a Mapping,
    pub world: &'a World,
    pub switches: Switches,
    /// Where each id falls among a hundred, which decides about `percent`.
    pub shares: &'a BTreeMap<String, u8>,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Console has it.
    Forwarded,
    /// Sent to log in.
    Login,
    /// 401
    Unauthorized,
    /// 403, not audited: no principal is known.
    Unknown,
    /// 403, audited.
    Denied,
    /// Sent to log in, and audited as a denial.
    DeniedToLogin,
    /// 410
    Gone,
    /// 400, by the firewall.
    Refused,
}

impl Ending {
    /// The status that the client sees. htmx would follow a redirect unseen (product, step 3).
    pub fn status(self, htmx: bool) -> u16 {
        match self {
            Ending::Forwarded => 200,
            Ending::Login | Ending::DeniedToLogin if htmx => 401,
            Ending::Login | Ending::DeniedToLogin => 302,
            Ending::Unauthorized => 401,
            Ending::Unknown | Ending::Denied => 403,
            Ending::Gone => 410,
            Ending::Refused => 400,
        }
    }

    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Ending::Forwarded => "allow",
            Ending::Login => "login",
            Ending::Unauthorized | Ending::Unknown => "unauthorized",
            Ending::Denied | Ending::DeniedToLogin => "deny",
            Ending::Gone => "gone",
            Ending::Refused => "refused",
        }
    }
}

/// Which way the two gates disagree in shadow (migration plan, phase 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    NewlyDeny,
    NewlyAllow,
}

impl Drift {
    pub fn word(self) -> &'static str {
        match self {
            Drift::NewlyDeny => "would_newly_deny",
            Drift::NewlyAllow => "would_newly_allow",
        }
    }
}

/// The model's answer to a request.
#[derive(Clone, Debug)]
pub struct Said {
    pub ending: Ending,
    /// The reasons of which a 403 names one.
    pub reasons: Vec<&'static str>,
    pub drift: Option<Drift>,
    /// Whom a gate was asked about: `admin` or `machine`, and the id.
    pub actor: Option<(&'static str, String)>,
    /// The document that demands it.
    pub because: &'static str,
}

impl Said {
    fn is(ending: Ending, because: &'static str) -> Said {
        Said { ending, reasons: Vec::new(), drift: None, actor: None, because }
    }

    fn denied(reasons: Vec<&'static str>, because: &'static str) -> Said {
        Said { reasons, ..Said::is(Ending::Denied, because) }
    }

    /// docs/requests.md, How it refuses: a denied admin is sent to the login; a machine gets 403.
    fn redirected(self, row: &Row) -> Said {
        let is_admin = matches!(self.actor, Some(("admin", _)));
        match self.ending {
            Ending::Denied if row.redirects && is_admin => Said { ending: Ending::DeniedToLogin, ..self },
            _ => self,
        }
    }

    fn about(self, principal: Principal) -> Said {
        Said { actor: Some((principal.kind, principal.id)), ..self }
    }
}

/// Somebody whom the gate knows.
pub struct Principal {
    /// `admin` or `machine`.
    pub kind: &'static str,
    /// The id, by which a share goes too; empty for somebody imagined.
    pub id: String,
    pub holding: Holding,
}

/// What must become of a request. A WebSocket is for routes that allow it (request firewall, 10); the documents do not say
/// whether a caller who may not have the route learns that first, and it is taken so.
pub fn decide(facts: &Facts<'_>, caller: &Caller, request: &Request) -> Said {
    let found = find(facts.mapping, request.method, &request.path);
    let allows = found.row().is_some_and(|row| facts.mapping.rows()[row].websocket);
    let said = decide_plain(facts, caller, request, found);
    if request.upgrade && !allows && said.ending == Ending::Forwarded {
        return Said { ending: Ending::Refused, because: "request firewall, 10", ..said };
    }
    said
}

fn decide_plain(facts: &Facts<'_>, caller: &Caller, request: &Request, found: Found) -> Said {
    let Some(number) = found.row() else { return unmapped(facts, caller) };
    let row = facts.mapping.rows()[number];
    match &row.kind {
        Kind::Gone => Said::is(Ending::Gone, "docs/requests.md, What a caller gets: the route was deleted"),
        Kind::Public => Said::is(Ending::Forwarded, "product, routes.toml: public"),
        Kind::Upstream => Said::is(Ending::Forwarded, "cutover design I-4: already ported"),
        Kind::Machine if caller.authorization.is_some() || caller.signature => {
            Said::is(Ending::Forwarded, "cutover design I-7: a machine's credential is Console's to verify")
        }
        Kind::Machine => Said::is(Ending::Unauthorized, "docs/decisions/0017: machine rows"),
        Kind::Session => match admin(facts, caller) {
            Some(admin) => {
                Said::is(Ending::Forwarded, "product, routes.toml: any logged-in admin").about(admin)
            }
            None => stranger(row),
        },
        Kind::Gated(gated) => match principal(facts, caller, gated) {
            Some(principal) => {
                let said = ask_gates(facts, number, gated, &principal, request).about(principal);
                said.redirected(row)
            }
            None if is_left_to_console(facts, caller, number, gated) => {
                let said =
                    Said::is(Ending::Forwarded, "docs/decisions/0067: an unknown machine on a legacy row");
                match force(facts, number, gated, &unknown_machine()) {
                    Force::Shadow => Said { drift: Some(Drift::NewlyDeny), ..said }.about(unknown_machine()),
                    Force::Legacy | Force::V2 => said,
                }
            }
            None => stranger(row),
        },
    }
}

fn unmapped(facts: &Facts<'_>, caller: &Caller) -> Said {
    if facts.mapping.unmapped == Some(Unmapped::Forward) {
        return Said::is(Ending::Forwarded, "product, step 2: unmapped = \"forward\"");
    }
    match admin(facts, caller) {
        Some(admin) => {
            Said::denied(vec!["unmapped_route"], "product, step 2: unmapped = \"deny\"").about(admin)
        }
        None => Said::is(Ending::Login, "docs/decisions/0013: a stranger learns nothing"),
    }
}

fn stranger(row: &Row) -> Said {
    match row.unauthenticated {
        Some(Unauthenticated::Status401) => {
            Said::is(Ending::Unauthorized, "docs/mapping.md: unauthenticated = \"401\"")
        }
        Some(Unauthenticated::Status403) => {
            Said::is(Ending::Unknown, "docs/requests.md, How it refuses: 403, without an audit row")
        }
        None => Said::is(Ending::Login, "cutover design, section 7: unauthenticated request -> 302"),
    }
}

/// The admin whose cookie it is, if there is one who may act.
fn admin(facts: &Facts<'_>, caller: &Caller) -> Option<Principal> {
    let Some(Cookie::Of(id)) = &caller.cookie else { return None };
    let admin = facts.world.admin(id).filter(|admin| !admin.disabled)?;
    let has_session = match admin.session {
        Session::Own(term) => term.lives(),
        Session::Missing | Session::Foreign => false,
    };
    // A session identifies nobody if its admin is unknown or disabled, or its row is gone (docs/decisions/0018).
    let lives = has_session || !facts.switches.keeps_sessions;
    lives.then(|| Principal { kind: "admin", id: id.clone(), holding: of_admin(facts.world, admin) })
}

/// Who asks at a row with a gate. A bearer token on such a row is what its caller is judged by, never a cookie
/// beside it (docs/decisions/0017). The documents are silent about an `Authorization` of another scheme; it
/// is taken for a credential that nobody has.
fn principal(facts: &Facts<'_>, caller: &Caller, gated: &Gated) -> Option<Principal> {
    match &caller.authorization {
        Some(Authorization::UnknownToken | Authorization::Basic) if gated.machines => None,
        Some(Authorization::Token(id)) if gated.machines => {
            let token = facts.world.token(id).filter(|token| token.term.lives())?;
            Some(Principal { kind: "machine", id: id.clone(), holding: of_token(facts.world, token) })
        }
        _ => admin(facts, caller),
    }
}

/// Whether a machine's credential is for Console to judge: one that the gate does not know, on a row that takes machines
/// and is on its legacy gate for somebody without a name and a group (docs/decisions/0067).
fn is_left_to_console(facts: &Facts<'_>, caller: &Caller, row: usize, gated: &Gated) -> bool {
    let is_unknown = match &caller.authorization {
        Some(Authorization::UnknownToken | Authorization::Basic) => true,
        Some(Authorization::Token(id)) => facts.world.token(id).is_none(),
        None => caller.signature,
    };
    let is_v2 = force(facts, row, gated, &unknown_machine()) == Force::V2;
    gated.machines && gated.legacy.is_some() && is_unknown && !is_v2
}

/// Whom drift names so: every machine that the gate does not know.
fn unknown_machine() -> Principal {
    Principal { kind: "machine", id: "not enrolled".to_owned(), holding: Holding::default() }
}

/// Which gate has the say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    Legacy,
    Shadow,
    V2,
}

/// Which gate has the say over a row for somebody.
pub fn force(facts: &Facts<'_>, row: usize, gated: &Gated, principal: &Principal) -> Force {
    let undecided = matches!(gated.v2, V2::Undecided(..));
    let Some(cluster) = facts.mapping.cluster_of(row) else { return Force::Legacy };
    if undecided || !facts.switches.flag {
        return Force::Legacy;
    }
    // I-11: in production V2 is enforced only once it is promoted.
    let enforced =
        if facts.switches.production && !facts.switches.promoted { Force::Legacy } else { Force::V2 };
    match &cluster.rollout {
        Rollout::Legacy => Force::Legacy,
        Rollout::Shadow => Force::Shadow,
        Rollout::V2 => enforced,
        Rollout::Cohort { groups, percent } => {
            let by_group = groups.iter().any(|group| principal.holding.groups.contains(group));
            let share = facts.shares.get(&principal.id);
            let by_share = share.is_some_and(|share| percent.is_some_and(|percent| *share < percent));
            if by_group || by_share { enforced } else { Force::Shadow }
        }
    }
}

/// The legacy gate and V2, whichever has the say.
pub fn ask_gates(
    facts: &Facts<'_>,
    row: usize,
    gated: &Gated,
    principal: &Principal,
    request: &Request,
) -> Said {
    let force = force(facts, row, gated, principal);
    if force == Force::V2 {
        return match v2(gated, &principal.holding, request) {
            Ok(()) => Said::is(Ending::Forwarded, "rbac-v2-design 3.4: the role is held"),
            Err(reasons) => Said::denied(reasons, "rbac-v2-design 3.4; docs/mapping.md: when"),
        };
    }
    let legacy = legacy(gated, &principal.holding);
    let mut said = match legacy {
        Ok(()) => Said::is(Ending::Forwarded, "cutover design, section 3: the legacy gate lets in"),
        Err(reason) => {
            Said::denied(vec![reason], "cutover design, section 3: the legacy gate; I-5, I-6, I-11")
        }
    };
    if force == Force::Shadow {
        said.drift = match (legacy.is_ok(), v2(gated, &principal.holding, request).is_ok()) {
            (true, false) => Some(Drift::NewlyDeny),
            (false, true) => Some(Drift::NewlyAllow),
            _ => None,
        };
    }
    said
}

/// Any one of the row's legacy roles lets a caller in.
fn legacy(gated: &Gated, holding: &Holding) -> Result<(), &'static str> {
    let Some(roles) = &gated.legacy else { return Err("no_legacy_gate") };
    let holds = roles.iter().any(|role| holding.legacy.contains(role));
    if holds { Ok(()) } else { Err("missing_legacy_role") }
}

/// The row's own need, and that of every rule that the body meets. Every lack is listed: the documents do not say
/// what comes first.
fn v2(gated: &Gated, holding: &Holding, request: &Request) -> Result<(), Vec<&'static str>> {
    let V2::Needs { base, when, ticket, .. } = &gated.v2 else { return Err(vec!["undecided"]) };
    let lacks = |need: &Need| match (holding.has(*need), need) {
        (true, _) => None,
        (false, Need::Role(_)) => Some("missing_role"),
        (false, Need::Permission(_) | Need::Both(..)) => Some("missing_permission"),
    };
    let mut missing: Vec<&'static str> = match ticket {
        None => lacks(base).into_iter().collect(),
        Some(without) if without.iter().any(|role| holding.has(Need::Role(*role))) => Vec::new(),
        // These gates have no FreeScout, and these requests name no ticket: docs/tickets.md does not say what comes first.
        Some(_) => vec!["ticket_grants_off", "ticket_required"],
    };
    match request.read(when) {
        Reading::Unreadable => missing.push("body_unreadable"),
        Reading::Meets(met) => missing.extend(met.into_iter().filter_map(|number| lacks(&when[number].need))),
    }
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}
