//! What docs/access-requests.md, docs/tickets.md and the decisions 0095, 0096, 0105 and 0110 state, on plain values.
//!
//! Access is the union of the live grants; each has its origin, and nothing but its own end, or who ends it, ends it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

pub type Time = DateTime<Utc>;

pub const PLATFORM: &str = "raxx-platform-admins";
pub const GLASS: &str = "break-glass";
/// Whose members approve.
pub const DECIDERS: &str = "deciders";
/// What two people have to give (docs/guards.md, c): to approve, and to start break-glass.
pub const GUARDED: [&str; 3] = [DECIDERS, PLATFORM, GLASS];
pub const GROUPS: [&str; 6] = ["blue", "green", "red", DECIDERS, PLATFORM, GLASS];
pub const ROLES: [&str; 6] = ["r-reader", "r-writer", "r-owner", "r-glass", "t-desk", "t-lead"];
/// Child and parent.
pub const INHERITS: [(&str, &str); 3] =
    [("r-writer", "r-reader"), ("r-owner", "r-writer"), ("t-lead", "t-desk")];
pub const PERMITS: [(&str, &str); 2] = [("r-reader", "p:read"), ("t-desk", "p:desk")];
/// The roles of the groups at first. Of `break-glass` only who has a session holds them.
pub const GROUP_ROLES: [(&str, &str); 7] = [
    ("blue", "r-reader"),
    ("green", "r-writer"),
    ("green", "t-lead"),
    ("red", "t-desk"),
    (PLATFORM, "r-owner"),
    (GLASS, "r-glass"),
    (GLASS, "t-desk"),
];
/// `[approval]`: the group, how many approve, for how many minutes at most.
pub const RULES: [(&str, usize, i64); 3] = [("blue", 1, 120), ("green", 2, 60), (PLATFORM, 1, 60)];

/// A request that nobody decides within this expires.
const OPEN_FOR: TimeDelta = TimeDelta::days(7);
/// A break-glass session lasts this long at most (I-4).
const LONGEST_SESSION: TimeDelta = TimeDelta::hours(4);

/// What a row asks for.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    Role(&'static str),
    Permission(&'static str),
}

/// One request, and the row that it meets.
#[derive(Clone, Debug)]
pub struct Target {
    pub path: String,
    pub need: Need,
    pub ticket: Option<ForTicket>,
}

/// The row is for a ticket.
#[derive(Clone, Debug)]
pub struct ForTicket {
    /// The ticket and the customer that the request names; `None` where it does not name one of each.
    pub named: Option<(u64, i64)>,
    /// The role that is enough without a ticket.
    pub without: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Direct,
    Timed,
    Request,
}

/// Membership in a group, for good or until a time.
#[derive(Clone, Debug)]
pub struct Grant {
    pub id: String,
    pub origin: Origin,
    pub who: &'static str,
    pub group: &'static str,
    pub ends: Option<Time>,
    pub is_ended: bool,
}

#[derive(Clone, Debug)]
pub struct TicketGrant {
    pub id: String,
    pub who: &'static str,
    pub role: &'static str,
    pub ticket: u64,
    pub customer: i64,
    pub ends: Option<Time>,
    pub is_ended: bool,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub id: String,
    pub who: &'static str,
    pub starts: Time,
    /// As the row has it, however late.
    pub ends: Time,
    pub is_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Approved,
    Denied,
    Withdrawn,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub id: String,
    pub who: &'static str,
    pub by: &'static str,
    pub group: &'static str,
    pub minutes: i64,
    pub made: Time,
    pub state: State,
    /// Who approved, and the digest of what they were shown.
    pub approvals: BTreeMap<&'static str, String>,
}

impl Request {
    fn is_open(&self, now: Time) -> bool {
        self.state == State::Pending && now < self.made + OPEN_FOR
    }
}

/// What is to become of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approved {
    Refused,
    Counted,
    Granted,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub group_roles: BTreeSet<(&'static str, &'static str)>,
    pub grants: Vec<Grant>,
    pub tickets: Vec<TicketGrant>,
    pub sessions: Vec<Session>,
    pub requests: Vec<Request>,
    /// The conversations that FreeScout calls open.
    pub open: BTreeSet<u64>,
    pub tickets_count: bool,
}

impl Model {
    pub fn new() -> Model {
        Model {
            group_roles: GROUP_ROLES.into(),
            grants: Vec::new(),
            tickets: Vec::new(),
            sessions: Vec::new(),
            requests: Vec::new(),
            open: BTreeSet::new(),
            tickets_count: true,
        }
    }

    /// The groups that somebody is in by a live grant, whatever its origin.
    pub fn groups(&self, who: &str, now: Time) -> BTreeSet<&'static str> {
        let live =
            |grant: &&Grant| grant.who == who && !grant.is_ended && grant.ends.is_none_or(|end| now < end);
        self.grants.iter().filter(live).map(|grant| grant.group).collect()
    }

    fn has_session(&self, who: &str, now: Time) -> bool {
        self.sessions.iter().any(|session| {
            let end = session.ends.min(session.starts + LONGEST_SESSION);
            session.who == who && !session.is_ended && session.starts <= now && now < end
        })
    }

    /// The roles that somebody holds without a ticket.
    fn roles(&self, who: &str, now: Time) -> BTreeSet<&'static str> {
        let mut groups = self.groups(who, now);
        // Who is in one of the two may have a session; being in `break-glass` grants nothing by itself.
        let may_have_one = groups.contains(PLATFORM) || groups.contains(GLASS);
        groups.remove(GLASS);
        if may_have_one && self.has_session(who, now) {
            groups.insert(GLASS);
        }
        closure(self.group_roles.iter().filter(|(group, _)| groups.contains(group)).map(|(_, role)| *role))
    }

    /// The reasons of which one is right for a request now; `200` where it is let in.
    pub fn expected(&self, who: &str, target: &Target, now: Time) -> Vec<&'static str> {
        let roles = self.roles(who, now);
        let Some(ticket) = &target.ticket else {
            return match (meets(&roles, target.need), target.need) {
                (true, _) => vec!["200"],
                (false, Need::Role(_)) => vec!["missing_role"],
                (false, Need::Permission(_)) => vec!["missing_permission"],
            };
        };
        if ticket.without.is_some_and(|role| roles.contains(role)) {
            return vec!["200"];
        }
        let mut reasons = Vec::new();
        if !self.tickets_count {
            reasons.push("ticket_grants_off");
        }
        match ticket.named {
            None => reasons.push("ticket_required"),
            Some(_) if !self.tickets_count => {}
            Some((number, customer)) => {
                let counts = |grant: &&TicketGrant| {
                    (grant.who, grant.ticket, grant.customer) == (who, number, customer)
                        && !grant.is_ended
                        && grant.ends.is_none_or(|end| now < end)
                };
                let held = closure(self.tickets.iter().filter(counts).map(|grant| grant.role));
                match (meets(&held, target.need), self.open.contains(&number)) {
                    (false, _) => reasons.push("no_ticket_grant"),
                    (true, true) => reasons.push("200"),
                    // The first who asks hears that it is closed; that ends the others' grants.
                    (true, false) => reasons.extend(["ticket_closed", "no_ticket_grant"]),
                }
            }
        }
        reasons
    }

    pub fn rule(group: &str) -> Option<(usize, i64)> {
        RULES.iter().find(|(name, ..)| *name == group).map(|(_, quorum, longest)| (*quorum, *longest))
    }

    /// Whether somebody can ask for that.
    pub fn may_ask(&self, (by, who): (&str, &str), group: &str, minutes: i64, now: Time) -> bool {
        let is_waiting = |request: &Request| {
            (request.by, request.who, request.group) == (by, who, group) && request.is_open(now)
        };
        let pending = self.requests.iter().filter(|request| request.by == by && request.is_open(now)).count();
        pending < 20
            && Model::rule(group).is_some_and(|(_, longest)| minutes <= longest)
            && !self.requests.iter().any(is_waiting)
    }

    /// Whether somebody may approve or deny a request now.
    pub fn may_decide(&self, place: usize, by: &str, now: Time) -> bool {
        let request = &self.requests[place];
        let is_concerned = by == request.who || by == request.by;
        request.is_open(now) && !is_concerned && self.groups(by, now).contains(DECIDERS)
    }

    /// Whether somebody may approve a request now: one who decides for at least as long as what is given lasts.
    fn may_approve(&self, place: usize, by: &str, now: Time) -> bool {
        let ends = now + chrono::TimeDelta::minutes(self.requests[place].minutes);
        let lasts = |grant: &Grant| {
            (grant.who, grant.group, grant.is_ended) == (by, DECIDERS, false)
                && grant.ends.is_none_or(|end| end >= ends)
        };
        self.may_decide(place, by, now) && self.grants.iter().any(lasts)
    }

    /// An approval of `shown`, where the impact has the digest `current`.
    pub fn approve(
        &mut self,
        place: usize,
        by: &'static str,
        shown: &str,
        current: &str,
        now: Time,
    ) -> Approved {
        if !self.may_approve(place, by, now) || shown != current {
            return Approved::Refused;
        }
        self.requests[place].approvals.insert(by, shown.to_owned());
        let counts = |(approver, digest): &(&&'static str, &String)| {
            digest.as_str() == current && self.may_approve(place, approver, now)
        };
        let count = self.requests[place].approvals.iter().filter(counts).count();
        let (quorum, _) = Model::rule(self.requests[place].group).expect("it was asked for");
        if count < quorum {
            return Approved::Counted;
        }
        self.requests[place].state = State::Approved;
        Approved::Granted
    }

    /// Whether somebody may take a request back.
    pub fn may_withdraw(&self, place: usize, by: &str, now: Time) -> bool {
        let request = &self.requests[place];
        (by == request.who || by == request.by) && request.is_open(now)
    }

    /// A ticket is over: so are its grants, and opened again it brings none of them back.
    pub fn close(&mut self, ticket: u64) {
        self.open.remove(&ticket);
        for grant in self.tickets.iter_mut().filter(|grant| grant.ticket == ticket) {
            grant.is_ended = true;
        }
    }

    /// When something begins or ends by itself.
    pub fn edges(&self) -> impl Iterator<Item = Time> {
        let grants = self.grants.iter().filter(|grant| !grant.is_ended).filter_map(|grant| grant.ends);
        let tickets = self.tickets.iter().filter(|grant| !grant.is_ended).filter_map(|grant| grant.ends);
        let sessions = self.sessions.iter().filter(|session| !session.is_ended);
        let sessions = sessions.flat_map(|one| {
            [one.starts, one.ends, one.starts.checked_add_signed(LONGEST_SESSION).unwrap_or(one.ends)]
        });
        let requests = self.requests.iter().map(|request| request.made + OPEN_FOR);
        grants.chain(tickets).chain(sessions).chain(requests)
    }
}

/// The roles with all that they inherit.
fn closure(roles: impl Iterator<Item = &'static str>) -> BTreeSet<&'static str> {
    let mut all: BTreeSet<&'static str> = roles.collect();
    for _ in INHERITS {
        let parents: Vec<_> =
            INHERITS.iter().filter(|(child, _)| all.contains(child)).map(|(_, parent)| *parent).collect();
        all.extend(parents);
    }
    all
}

fn meets(roles: &BTreeSet<&'static str>, need: Need) -> bool {
    match need {
        Need::Role(role) => roles.contains(role),
        Need::Permission(wanted) => {
            PERMITS.iter().any(|(role, permission)| *permission == wanted && roles.contains(role))
        }
    }
}
