//! Console's Python source, read without being run: its routes, its `@require_role` sites, its inline role checks.
//!
//! What can be read is read exactly: aliases, constants (of other files, too), `url_prefix` wherever it is given,
//! nested blueprints, class-based views, hooks. What only the running program knows is reported as unreadable, with its
//! place; nothing is guessed, and no possible change of a route or a gate is dropped in silence. Source: Flask 3.1
//! (`flask.sansio.blueprints`, `flask.views`). Pure: files in, facts out.
//!
//! Reading order: [`syntax`] (trees), [`scope`] (what a name is bound to), [`value`] (what an expression comes to),
//! [`call`] (calls and their arguments), [`blueprint`] (where routes are mounted), [`gate`] (the sites),
//! [`hook`] (what runs before views), [`route`] and [`options`] (the routes), [`inline`] (role checks within
//! views), [`deferred`] (decorators that step back for the gate), [`unread`] (the rest, reported); then [`coverage`], [`lint`] and [`import`]: what was read, compared with the mapping.

#![forbid(unsafe_code)]

mod blueprint;
mod call;
pub mod coverage;
mod deferred;
mod gate;
mod hook;
pub mod import;
mod inline;
pub mod lint;
mod options;
mod route;
mod scope;
mod syntax;
#[cfg(test)]
mod tests;
mod unread;
mod value;

use std::collections::BTreeSet;

use policy::method::MethodSet;
use workbench::report::Location;

use self::blueprint::Mounts;
use self::gate::Sites;
use self::hook::Hooks;
use self::scope::World;
use self::syntax::Parsed;

/// A Python file.
#[derive(Clone, Debug)]
pub struct PythonFile {
    /// Its path below the folder that is read, with `/` between: what imports go by.
    pub path: String,
    /// Its name in places.
    pub name: String,
    pub text: String,
}

/// Everything in Console's source that affects who may pass, in the order of files and lines.
#[derive(Clone, Debug, Default)]
pub struct ConsoleSource {
    /// How many files there were.
    pub files: usize,
    pub routes: Vec<Route>,
    pub sites: Vec<Site>,
    pub inline_checks: Vec<InlineCheck>,
    pub plain_hooks: Vec<PlainHook>,
    pub deferred: Vec<Deferred>,
    /// What paths begin with whose unauthenticated callers get 401 and no redirect: `request.path.startswith("/api/")`
    /// decides so in Console.
    pub json_prefixes: Vec<String>,
    pub troubles: Vec<Trouble>,
}

/// Why something cannot be read, as the end of a sentence.
pub type Unreadable = String;

/// One route: a rule of one view. A view with two rules has two routes.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where the rule is declared.
    pub place: Location,
    /// The blueprint's name as Flask knows it, dotted where blueprints are nested; [`APP`] without one.
    pub blueprint: String,
    /// The name of the function or class.
    pub view: String,
    /// The whole rule, with every prefix.
    pub rule: Result<String, Unreadable>,
    /// The methods as declared; Flask adds HEAD and OPTIONS.
    pub methods: Result<MethodSet, Unreadable>,
    pub options: RuleOptions,
    pub gate: Gate,
    /// What else may refuse a request before the view runs, and is not understood.
    pub may_gate: Vec<MayGate>,
    /// `@require_totp_elevation` is behind the route (cutover design, I-3).
    pub totp: bool,
    /// `@machine_auth_or_session` is behind the route (open question 6).
    pub machine_or_session: bool,
    /// A decorator behind the route asks for a login.
    pub session: bool,
    /// A decorator behind the route asks for a program's token, which Console verifies.
    pub machine: bool,
    /// The other decorators behind the route, by name.
    pub other_decorators: Vec<String>,
}

/// What a rule is declared with besides its path and its methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOptions {
    /// Whether a slash at the end matters; `None` where the running program alone knows.
    pub strict_slashes: Option<bool>,
    /// Whether `//` in the rule is `/`.
    pub merge_slashes: bool,
    /// The host or subdomain to which alone it answers.
    pub host: Option<String>,
    pub websocket: bool,
    /// It answers no request.
    pub build_only: bool,
    /// Where its requests are redirected to, in words.
    pub redirects: Option<String>,
}

/// Something that may refuse a request before the view runs: a hook that is not understood, an option of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MayGate {
    pub place: Location,
    /// Its name in backticks, and what it is.
    pub what: String,
    /// Why it may refuse, as the end of a sentence.
    pub reason: String,
}

/// A hook that runs before views and in which no refusal is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainHook {
    pub place: Location,
    /// Its name in backticks, and what it is.
    pub what: String,
}

/// The value of `Route::blueprint` where a route belongs to the application itself.
pub const APP: &str = "app";

/// Who reaches a view, as far as `@require_role` decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// No `@require_role` is behind the route.
    None,
    /// Callers who hold one of these. Two decorators of which one requires no more than the other are one gate.
    AnyOf(BTreeSet<String>),
    /// There is one, and the [`Site`] at this place states why it cannot be read.
    UnreadableSite(Location),
    /// The view behind the route, or its wrappers, cannot be read.
    Unreadable(Unreadable),
}

/// A place where `require_role` asks the caller for a legacy role.
#[derive(Clone, Debug)]
pub struct Site {
    pub place: Location,
    /// The arguments, in their order.
    pub roles: Result<Vec<String>, Unreadable>,
    pub position: SitePosition,
}

/// Where a site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SitePosition {
    /// Behind a route: it is asked before the view runs.
    BehindRoute,
    /// Above a route of its view. Decorators run from the bottom up, so Flask has registered the view by then and serves
    /// it there without this one.
    AboveRoute,
    /// With no route that can be seen.
    Elsewhere,
}

/// A role that is compared within a view or a helper, as `current_user.role == "superadmin"`.
#[derive(Clone, Debug)]
pub struct InlineCheck {
    pub place: Location,
    /// The expression, on one line.
    pub text: String,
}

/// A decorator that Console defers to the gate, and that does more than refuse: without it, a request is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// Where it is deferred.
    pub place: Location,
    pub decorator: String,
    /// In words, such as ``calls `csrf.protect()` ``.
    pub effects: Vec<String>,
}

/// Something that keeps the rest from being complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub kind: TroubleKind,
    pub place: Location,
    /// One sentence, no final stop.
    pub message: String,
}

/// The kinds of [`Trouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// The file is no Python and was left out.
    Syntax,
    /// Routes are declared, or blueprints registered, in a way that is not read.
    Registration,
    /// What runs before views is changed in a way that is not read.
    Gate,
}

/// What a decorator of Console's asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// One of the roles that it is given.
    Role,
    /// A program's token, or one of the roles that it is given; without a role, a login.
    MachineOrSession,
    /// A login.
    Session,
    /// A program's token, which Console verifies.
    Machine,
}

/// What Console's decorators are called, each with its meaning.
#[derive(Clone, Debug)]
pub struct Guards(Vec<(String, Meaning)>);

impl Default for Guards {
    /// What they are called in the design documents.
    fn default() -> Guards {
        let known = [("require_role", Meaning::Role), ("machine_auth_or_session", Meaning::MachineOrSession)];
        Guards(known.map(|(name, meaning)| (name.to_owned(), meaning)).into())
    }
}

impl Guards {
    /// These, and others. What a name meant before, it means no more.
    #[must_use]
    pub fn and(mut self, others: impl IntoIterator<Item = (String, Meaning)>) -> Guards {
        for (name, meaning) in others {
            self.0.retain(|(known, _)| *known != name);
            self.0.push((name, meaning));
        }
        self
    }

    fn called(&self, meaning: Meaning) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(_, of)| *of == meaning).map(|(name, _)| name.as_str())
    }

    /// Whether a function of this name asks for a role.
    fn asks_for_roles(&self, name: &str) -> bool {
        self.called(Meaning::Role).chain(self.called(Meaning::MachineOrSession)).any(|known| known == name)
    }
}

/// Reads Console's source. `folder` is the absolute path of the folder, which resolves absolute imports.
pub fn read(folder: &str, files: &[PythonFile], guards: &Guards) -> ConsoleSource {
    let parsed: Vec<Parsed<'_>> = files.iter().map(Parsed::new).collect();
    let mut source = ConsoleSource { files: files.len(), ..ConsoleSource::default() };
    source.troubles.extend(parsed.iter().filter_map(Parsed::trouble));

    let world = World::new(folder, &parsed, guards);
    let mounts = Mounts::find(&world);
    source.troubles.extend(mounts.troubles(&world));
    let mut sites = Sites::find(&world);
    let hooks = Hooks::find(&world, &mut sites);
    let strict_slashes = (!unread::sets_strict_slashes(&world)).then_some(true);
    source.routes = route::find(&world, &mounts, &hooks, &mut sites, strict_slashes);
    (source.plain_hooks, source.troubles) = (hooks.plain, [source.troubles, hooks.troubles].concat());
    source.troubles.extend(unread::find(&world));
    source.troubles.extend(unread::more_applications(&world));
    source.sites = sites.conclude(&world);
    source.inline_checks = inline::find(&world);
    source.deferred = deferred::find(&world);
    source.json_prefixes = gate::json_prefixes(&world);

    source.routes.sort_by(|one, other| one.place.cmp(&other.place));
    source.troubles.sort_by(|one, other| (&one.place, &one.message).cmp(&(&other.place, &other.message)));
    // Once a line is enough.
    source.troubles.dedup_by(|one, other| {
        (&one.place.file, one.place.line, &one.message)
            == (&other.place.file, other.place.line, &other.message)
    });
    source
}
