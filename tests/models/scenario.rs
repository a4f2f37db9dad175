//! A scenario: people, a mapping and the one that takes its place, and who asks what.

use std::collections::BTreeSet;

use crate::bench::Place;
use crate::bodies::{self, Body, Reading};
use crate::callers::Caller;
use crate::decision_model::Switches;
use crate::format::{Mapping, Rule, Unmapped};
use crate::mappings::{self, MARKER_PATH, Reach};
use crate::paths::{Found, find};
use crate::random::Random;
use crate::world::World;

/// What the firewall lets through at all.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// At most so many paths of a scenario are asked for, and so many bodies at one row.
const PATHS: usize = 9;
const BODIES: usize = 8;

/// One request, of any caller.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: Body,
    pub htmx: bool,
    /// Whether it asks for a WebSocket.
    pub upgrade: bool,
}

impl Request {
    pub fn plain(method: &'static str, path: &str, body: Body) -> Request {
        Request { method, path: path.to_owned(), body, htmx: false, upgrade: false }
    }

    /// How these rules read the request. OPTIONS is answered by Flask itself: nobody reads its body.
    pub fn read(&self, rules: &[Rule]) -> Reading {
        match self.method {
            "OPTIONS" if !rules.is_empty() => Reading::Unreadable,
            _ => self.body.read(rules),
        }
    }

    pub fn in_words(&self) -> String {
        let htmx = match (self.htmx, self.upgrade) {
            (true, _) => ", by htmx",
            (_, true) => ", for a WebSocket",
            _ => "",
        };
        let about = if self.body.bytes.is_empty() && self.body.content_type.is_none() {
            String::new()
        } else {
            let text: String = String::from_utf8_lossy(&self.body.bytes).chars().take(120).collect();
            format!(" with {} ({}): {text}", self.body.what, self.body.content_type.unwrap_or("no type"))
        };
        format!("{} {}{htmx}{about}", self.method, self.path)
    }
}

/// Everything that is asked of two gates, one with the old and one with the new mapping.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub world: World,
    pub switches: Switches,
    pub old: Mapping,
    pub new: Mapping,
    pub callers: Vec<Caller>,
    pub requests: Vec<Request>,
}

impl Scenario {
    /// The scenario of a seed with a mapping that has every key of the format.
    pub fn tour(seed: u64, place: Place) -> Scenario {
        let mut random = Random::new(seed);
        let world = World::random(&mut random);
        let reach = Reach::of(&world);
        let old = mappings::tour(&mut random, &reach);
        let mut new = mappings::changed(&old, &mut random, &reach);
        new.unmapped = Some(Unmapped::Forward);
        let scenario = Scenario::random(seed, place);
        let switches = Switches { flag: true, ..scenario.switches };
        let (old, new) = (mappings::with_marker(old), mappings::with_marker(new));
        let requests = requests(&old, &new, &mut random);
        Scenario { world, switches, old, new, requests, ..scenario }
    }

    /// The scenario of a seed.
    pub fn random(seed: u64, place: Place) -> Scenario {
        let mut random = Random::new(seed);
        let world = World::random(&mut random);
        let reach = Reach::of(&world);
        let old = mappings::random(&mut random, &reach);
        let new = mappings::changed(&old, &mut random, &reach);
        let switches = Switches {
            flag: random.chance(80),
            production: place.production,
            promoted: place.production && random.chance(50),
            keeps_sessions: place.keeps_sessions,
        };
        let callers = Caller::all(&world, &mut random);
        let (old, new) = (mappings::with_marker(old), mappings::with_marker(new));
        let requests = requests(&old, &new, &mut random);
        Scenario { seed, world, switches, old, new, callers, requests }
    }
}

/// Requests for what either mapping has, for its neighbours, and for what neither has.
fn requests(old: &Mapping, new: &Mapping, random: &mut Random) -> Vec<Request> {
    let mut paths = BTreeSet::new();
    for row in old.rows().into_iter().chain(new.rows()) {
        let examples = row.path.examples();
        paths.extend(random.some(&examples, 1, 2));
    }
    paths.remove(MARKER_PATH);
    let mut paths: Vec<String> = random.some(&paths.into_iter().collect::<Vec<_>>(), PATHS, PATHS);
    paths.push(random.pick(&["/", "/nowhere", "/a", "/c/", "/a/nowhere/at/all"]).to_owned());
    paths.sort();
    paths.dedup();
    let mut requests = Vec::new();
    for path in &paths {
        for method in METHODS {
            let htmx = random.chance(8);
            for body in bodies(old, new, method, path, random) {
                requests.push(Request { htmx, ..Request::plain(method, path, body) });
            }
        }
        let has_row = |mapping| find(mapping, "GET", path) != Found::Nothing;
        if has_row(old) && has_row(new) && random.chance(25) {
            requests.push(Request { upgrade: true, ..Request::plain("GET", path, Body::none()) });
        }
    }
    requests
}

/// The bodies that show how the requirements of two mappings differ.
fn bodies(old: &Mapping, new: &Mapping, method: &str, path: &str, random: &mut Random) -> Vec<Body> {
    let rules = rules_at(old, method, path).into_iter().chain(rules_at(new, method, path));
    let rules: Vec<Rule> = rules.collect();
    if rules.is_empty() {
        return vec![Body::none()];
    }
    let all = bodies::about(&rules, random);
    random.some(&all, BODIES, BODIES)
}

/// The rules about bodies of the row that a request finds.
pub fn rules_at(mapping: &Mapping, method: &str, path: &str) -> Vec<Rule> {
    match find(mapping, method, path) {
        Found::Row(row) | Found::Slash(row) => mapping.rows()[row].rules().to_vec(),
        Found::Nothing => Vec::new(),
    }
}
