//! From the facts of a statement to what a caller holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::identity::Subject;
use policy::identity::login::Login;
use policy::identity::session_key::Keeper;
use policy::ids::{AdminId, Epoch};
use policy::rbac::break_glass::{BreakGlassRules, capped};
use policy::rbac::flaw::{Flaw, FlawKind};
use policy::rbac::grant::{Liveness, Span};
use policy::rbac::{Access, BreakGlassPart, LegacyRole, RowDigest, SessionHolder, Standing, TokenIdentity};

use crate::StoreError;
use crate::console::{GONE_FOR, Places, ReadPlan, read_end};
use crate::engine::tolerant::Lenient;

/// One fact about a subject.
#[derive(sqlx::FromRow)]
pub(super) struct Fact {
    kind: String,
    #[sqlx(try_from = "Lenient<String>")]
    name: Option<String>,
    #[sqlx(try_from = "Lenient<DateTime<Utc>>")]
    until: Option<DateTime<Utc>>,
    /// When it ends, as Console's column states it, of whatever type that is; of a role from a grant or a break-glass
    /// session, the source.
    #[sqlx(try_from = "Lenient<String>")]
    ends: Option<String>,
}

impl Fact {
    /// A fact that is a name.
    pub(super) fn named(kind: &str, name: &str) -> Fact {
        Fact { kind: kind.to_owned(), name: Some(name.to_owned()), until: None, ends: None }
    }

    /// A session's row.
    pub(super) fn of_session(kind: String, id: Option<String>, ends: Option<String>) -> Fact {
        Fact { kind, name: id, until: None, ends }
    }
}

/// Puts the facts together, as of `now`.
pub(super) fn assemble(
    facts: Vec<Fact>,
    subject: &Subject,
    now: DateTime<Utc>,
    plan: Option<&ReadPlan>,
    rules: &BreakGlassRules,
) -> Result<Access, StoreError> {
    let mut sheet = Sheet::new(subject, now, rules);
    if let Some(plan) = plan {
        sheet.follow(plan);
    }
    for fact in facts {
        sheet.enter(fact)?;
    }
    sheet.close()
}

/// The state while the facts come in, in any order.
struct Sheet<'s> {
    subject: &'s Subject,
    now: DateTime<Utc>,
    epoch: Option<Epoch>,
    access: Access,
    is_active: bool,
    is_disabled: bool,
    /// Of the rows of the cookie's session: whether there is one that lives, and one that does not.
    live_session: bool,
    ended_session: bool,
    /// The data of a session's row that the cookie only names, and whether its id is the key of the row.
    session_id: Option<String>,
    session_admin: Option<AdminId>,
    session_is_keyed: bool,
    /// How the admin logged in, of a session of the gate's own.
    login: Option<Login>,
    /// Grants and break-glass sessions by their ids, and what each brings.
    grants: BTreeMap<String, Span>,
    sessions: BTreeMap<String, Span>,
    brought: Vec<(String, Brought)>,
    rules: &'s BreakGlassRules,
    token_id: Option<Arc<str>>,
    token_name: Option<Arc<str>>,
    /// What flaws of Console's rows are called by.
    places: Places,
}

/// What a grant or a session brings.
enum Brought {
    Group(Arc<str>),
    Role(Arc<str>),
    Permission(Arc<str>),
}

impl<'s> Sheet<'s> {
    fn new(subject: &'s Subject, now: DateTime<Utc>, rules: &'s BreakGlassRules) -> Self {
        Sheet {
            subject,
            now,
            epoch: None,
            access: Access::nothing(Epoch(0)),
            is_active: false,
            is_disabled: false,
            live_session: false,
            ended_session: false,
            session_id: None,
            session_admin: None,
            session_is_keyed: false,
            login: None,
            grants: BTreeMap::new(),
            sessions: BTreeMap::new(),
            brought: Vec::new(),
            rules,
            token_id: None,
            token_name: None,
            places: Places::default(),
        }
    }

    /// Notes what the plan could not read.
    fn follow(&mut self, plan: &ReadPlan) {
        self.places = plan.places;
        self.session_is_keyed = match self.subject {
            // Its changes are listed under its id (0404).
            Subject::Session(key) if key.keeper() == Keeper::Gate => true,
            _ => plan.session.as_ref().is_some_and(|session| session.is_keyed),
        };
        if let Some(reason) = &plan.legacy_gone {
            let (table, column) = self.places.legacy;
            let (kind, word) = (FlawKind::NoLegacyRoles, Some(reason.clone()));
            self.access.flaws.push(Flaw {
                kind,
                table: table.into(),
                column: column.into(),
                word,
                holder: None,
            });
            // It may come back without a write that is announced.
            self.ends_at(self.now + GONE_FOR);
        }
    }

    fn enter(&mut self, Fact { kind, name, until, ends }: Fact) -> Result<(), StoreError> {
        match kind.as_str() {
            "epoch" => self.epoch = name.and_then(|number| number.parse().ok()).map(Epoch),
            "admin" => self.is_active = true,
            "disabled_admin" => self.is_disabled = true,
            "token" => self.enter_token(name, true),
            "limited_token" => {
                let is_live = self.lives_until(until, ("gate_machine_tokens", "expires_at_utc"));
                self.enter_token(name, is_live);
            }
            "revoked_token" => self.enter_token(name, false),
            "token_name" => self.token_name = name.map(Arc::from),
            "session_admin" => self.session_admin = name.map(AdminId::new),
            "session" | "limited_session" | "revoked_session" => {
                self.enter_session(&kind, name, ends.as_deref());
            }
            "login_methods" => self.enter_login(name, ends.as_deref(), until)?,
            "grant_starts" => self.grants.entry(name.unwrap_or_default()).or_default().starts = until,
            "grant_ends" => self.grants.entry(name.unwrap_or_default()).or_default().ends = until,
            "glass_starts" => self.sessions.entry(name.unwrap_or_default()).or_default().starts = until,
            "glass_ends" => self.sessions.entry(name.unwrap_or_default()).or_default().ends = until,
            "granted_group" => self.brings(ends, name, Brought::Group),
            "granted_role" => self.brings(ends, name, Brought::Role),
            "granted_permission" => self.brings(ends, name, Brought::Permission),
            "legacy" => self.enter_legacy(name),
            "limited_legacy" => {
                let (relation, _) = self.places.legacy;
                if self.lives_until(read_end(ends.as_deref()), (relation, "until")) {
                    self.enter_legacy(name);
                }
            }
            "group" => self.access.groups.extend(name.map(Arc::from)),
            "role" => self.access.roles.extend(name.map(Arc::from)),
            "permission" => self.access.permissions.extend(name.map(Arc::from)),
            other => return Err(StoreError::Broken(format!("an access fact of the kind `{other}`"))),
        }
        Ok(())
    }

    fn brings(&mut self, source: Option<String>, name: Option<String>, brought: fn(Arc<str>) -> Brought) {
        self.brought.extend(source.zip(name.map(|name| brought(name.into()))));
    }

    /// Adds what the grants with an end bring that are live, then what break-glass sessions bring: who may have one is known
    /// by the groups.
    fn add_granted(&mut self) {
        let brought = std::mem::take(&mut self.brought);
        for (id, span) in std::mem::take(&mut self.grants) {
            let liveness = self.liveness(span, "gate_grants", ["starts_at_utc", "ends_at_utc"]);
            self.add(&format!("grant {id}"), liveness, &brought);
        }
        let may_break_glass = self.rules.allow(&self.access.groups);
        let (roles_without, permissions_without) = match self.sessions.is_empty() {
            true => Default::default(),
            false => (self.access.roles.clone(), self.access.permissions.clone()),
        };
        let mut live = BTreeSet::new();
        for (id, row) in std::mem::take(&mut self.sessions) {
            let columns = ["granted_at_utc", "expires_at_utc"];
            let liveness = self.liveness(capped(row), "rbac_break_glass_sessions", columns);
            if may_break_glass {
                self.add(&format!("session {id}"), liveness, &brought);
                if let Liveness::Live(_) = liveness {
                    live.insert(Arc::from(id));
                }
            }
        }
        if !live.is_empty() {
            let part = BreakGlassPart { sessions: live, roles_without, permissions_without };
            self.access.break_glass = Some(Arc::new(part));
        }
    }

    /// Adds what `source` brings if it is live. What starts later will change the answer too.
    fn add(&mut self, source: &str, liveness: Liveness, brought: &[(String, Brought)]) {
        match liveness {
            Liveness::Live(until) => self.ends_at(until),
            Liveness::Later(from) => return self.ends_at(from),
            Liveness::Over | Liveness::NoStart | Liveness::NoEnd => return,
        }
        for (_, brought) in brought.iter().filter(|(one, _)| one == source) {
            match brought {
                Brought::Group(name) => self.access.groups.insert(name.clone()),
                Brought::Role(name) => self.access.roles.insert(name.clone()),
                Brought::Permission(name) => self.access.permissions.insert(name.clone()),
            };
        }
    }

    /// Whether something is granted now; a time that cannot be read is noted.
    fn liveness(&mut self, span: Span, table: &str, [starts, ends]: [&str; 2]) -> Liveness {
        let liveness = span.at(self.now);
        match liveness {
            Liveness::NoStart => self.note(FlawKind::Unusable, table, starts, None),
            Liveness::NoEnd => self.note(FlawKind::Unusable, table, ends, None),
            Liveness::Live(_) | Liveness::Later(_) | Liveness::Over => {}
        }
        liveness
    }

    fn enter_session(&mut self, kind: &str, id: Option<String>, ends: Option<&str>) {
        self.session_id = id;
        let is_live = match kind {
            "session" => true,
            "limited_session" => self.lives_until(read_end(ends), self.places.session),
            _ => false,
        };
        self.live_session |= is_live;
        self.ended_session |= !is_live;
    }

    /// What proved who holds a session of the gate's own, when its passkey last signed, and when it was last used.
    fn enter_login(
        &mut self,
        methods: Option<String>,
        stepped_up: Option<&str>,
        used: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        let unreadable = || StoreError::Broken("the login of a session cannot be read".into());
        let methods = serde_json::from_str(&methods.ok_or_else(unreadable)?).map_err(|_| unreadable())?;
        let used = used.unwrap_or(self.now);
        self.login = Some(Login::new(methods, read_end(stepped_up), used));
        Ok(())
    }

    fn enter_token(&mut self, id: Option<String>, is_live: bool) {
        self.token_id = id.map(Arc::from);
        self.is_active |= is_live;
        self.is_disabled |= !is_live;
    }

    fn enter_legacy(&mut self, word: Option<String>) {
        match word.as_deref().and_then(LegacyRole::parse) {
            Some(role) => drop(self.access.legacy.insert(role)),
            None => {
                let (table, column) = match self.subject {
                    Subject::Admin { .. } | Subject::Session(_) | Subject::Stated(_) => self.places.legacy,
                    Subject::Machine(_) | Subject::Enrolled(_) => ("gate_machine_token_legacy_roles", "role"),
                };
                self.note(FlawKind::MalformedRole, table, column, word);
            }
        }
    }

    /// Whether something that ends at `until` is still active. An end that cannot be read has passed.
    fn lives_until(&mut self, until: Option<DateTime<Utc>>, (table, column): (&str, &str)) -> bool {
        let Some(until) = until else {
            self.note(FlawKind::Unusable, table, column, None);
            return false;
        };
        if until <= self.now {
            return false;
        }
        self.ends_at(until);
        true
    }

    /// Notes that something ends then.
    fn ends_at(&mut self, until: DateTime<Utc>) {
        let known = self.access.valid_until.unwrap_or(until);
        self.access.valid_until = Some(known.min(until));
    }

    fn note(&mut self, kind: FlawKind, table: &str, column: &str, word: Option<String>) {
        let holder = match self.subject {
            Subject::Admin { id, .. } => Some(Arc::from(id.as_str())),
            Subject::Enrolled(id) => Some(Arc::from(id.as_str())),
            Subject::Stated(stated) => Some(Arc::from(stated.id.as_str())),
            // Known at the end.
            Subject::Machine(_) | Subject::Session(_) => None,
        };
        let (table, column, word) = (table.into(), column.into(), word.map(Arc::from));
        self.access.flaws.push(Flaw { kind, table, column, word, holder });
    }

    fn close(mut self) -> Result<Access, StoreError> {
        let standing = self.standing();
        self.add_granted();
        let mut access = self.access;
        access.epoch = self.epoch.ok_or_else(|| StoreError::Broken("gate_epoch has no row".into()))?;
        access.standing = standing;
        for flaw in &mut access.flaws {
            let admin = || self.session_admin.as_ref().map(AdminId::shared);
            flaw.holder = flaw.holder.take().or_else(|| self.token_id.clone()).or_else(admin);
        }
        if let (Some(id), Some(name)) = (self.token_id, self.token_name) {
            access.token = Some(TokenIdentity { id, name });
        }
        if standing == Standing::Active {
            if let (Subject::Session(key), Some(admin)) = (self.subject, self.session_admin) {
                let id = self.session_id.as_deref();
                let row = id.filter(|_| self.session_is_keyed).map(RowDigest::of);
                let login = self.login.map(Arc::new);
                access.session = Some(SessionHolder { admin, id: key.shown_id(id), row, login });
            }
            return Ok(access);
        }
        // A caller who is not active holds nothing, whatever rows are left; and nothing of it can end: with the past
        // expiry of a dead token, every cached answer would have lapsed.
        let Access { epoch, token, flaws, .. } = access;
        Ok(Access { standing, token, flaws, ..Access::nothing(epoch) })
    }

    /// Where no constraint forbids two rows of one id, the one that takes away counts.
    fn standing(&self) -> Standing {
        let needs_session =
            matches!(self.subject, Subject::Admin { session: Some(_), .. } | Subject::Session(_));
        match (self.is_disabled, self.is_active) {
            (true, _) => Standing::Disabled,
            (false, false) => Standing::Unknown,
            (false, true) if needs_session && (self.ended_session || !self.live_session) => {
                Standing::SessionEnded
            }
            (false, true) => Standing::Active,
        }
    }
}
