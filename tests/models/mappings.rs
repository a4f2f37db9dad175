//! Random mappings, and random changes of them.

use std::collections::BTreeSet;

use crate::access_model::of_group;
use crate::bodies::{FIELDS, POINTERS, VALUES};
use crate::format::{
    Blueprint, Cluster, Field, Gated, Kind, Mapping, Methods, Need, Rollout, Row, Rule, Unauthenticated,
    Unmapped, V2,
};
use crate::paths::{Pattern, Segment, fits_beside, overlap};
use crate::random::Random;
use crate::world::{GROUPS, LEGACY, PERMISSIONS, ROLES, World};

const CLUSTERS: [&str; 4] = ["A", "B", "C", "D"];
/// The methods that a row may name. HEAD comes with GET, OPTIONS with every row.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// A cluster and a row for [`crate::world::MARKER`], whose request is written to the logs after all others.
pub const MARKER_PATH: &str = "/__marker";

/// What somebody can hold in this world: a row that asks for something else would lock everybody out and is refused
/// where V2 enforces it.
pub struct Reach {
    roles: Vec<usize>,
    permissions: Vec<usize>,
}

impl Reach {
    pub fn of(world: &World) -> Reach {
        let groups = || (0..GROUPS).map(|group| of_group(world, group));
        let roles: BTreeSet<usize> = groups().flat_map(|group| group.roles).collect();
        let permissions: BTreeSet<usize> = groups().flat_map(|group| group.permissions).collect();
        Reach { roles: roles.into_iter().collect(), permissions: permissions.into_iter().collect() }
    }

    fn need(&self, random: &mut Random) -> Need {
        if !self.permissions.is_empty() && random.chance(25) {
            Need::Permission(random.pick(&self.permissions))
        } else {
            Need::Role(random.pick(&self.roles))
        }
    }

    /// Anything, for rows that nobody enforces.
    fn any(random: &mut Random) -> Need {
        if random.chance(25) {
            Need::Permission(random.below(PERMISSIONS))
        } else {
            Need::Role(random.below(ROLES))
        }
    }

    fn has(&self, need: Need) -> bool {
        match need {
            Need::Role(role) => self.roles.contains(&role),
            Need::Permission(permission) => self.permissions.contains(&permission),
            Need::Both(one, other) => [one, other].iter().all(|each| self.permissions.contains(each)),
        }
    }
}

/// A sound mapping.
pub fn random(random: &mut Random, reach: &Reach) -> Mapping {
    let clusters = random
        .some(&CLUSTERS, 2, 4)
        .into_iter()
        .map(|name| Cluster { name: name.to_owned(), rollout: rollout(random) })
        .collect::<Vec<_>>();
    let counts_rows = random.chance(30);
    let mut mapping = Mapping { unmapped: unmapped(random), counts_rows, clusters, blueprints: Vec::new() };
    for number in 0..2 + random.below(3) {
        let cluster = random.chance(85).then(|| random.below(mapping.clusters.len()));
        let freshness = random.chance(20).then(|| random.pick(&["push", "strict"]));
        mapping.blueprints.push(Blueprint {
            name: format!("b{number}"),
            cluster,
            freshness,
            rows: Vec::new(),
        });
    }
    for _ in 0..4 + random.below(6) {
        add_row(&mut mapping, random, reach);
    }
    mapping.blueprints.retain(|blueprint| !blueprint.rows.is_empty());
    sound(mapping, random, reach)
}

/// A mapping with every key and word of the format but `unmapped = "forward"`.
pub fn tour(random: &mut Random, reach: &Reach) -> Mapping {
    let cohort = Rollout::Cohort { groups: vec![random.below(GROUPS)], percent: Some(50) };
    let rollouts = [Rollout::Legacy, Rollout::Shadow, Rollout::V2, cohort];
    let clusters = CLUSTERS.iter().zip(rollouts);
    let clusters = clusters.map(|(name, rollout)| Cluster { name: (*name).to_owned(), rollout }).collect();
    let role = Need::Role(random.pick(&reach.roles));
    let is_one = |need: Need| !matches!(need, Need::Both(..));
    let needs = |base: Need, when: Vec<Rule>| V2::Needs { base, when, decided: is_one(base), ticket: None };
    let rule = |field: Field| vec![Rule { field, equals: "prod", need: role }];
    let gate = |v2: V2| Kind::Gated(Gated { legacy: Some(vec!["ops", "support"]), v2, machines: true });
    let permission = match reach.permissions.as_slice() {
        [] => role,
        [one] => Need::Permission(*one),
        [one, other, ..] => Need::Both(*one, *other),
    };
    let post = || Methods::Some(vec!["GET", "POST"]);
    let text = |segments: &[Segment]| Pattern { segments: segments.to_vec(), slash: false, prefix: false };
    let under = |first: &'static str, next: Segment| text(&[Segment::Static(first), next]);
    let put = || Methods::Some(vec!["PUT", "PATCH"]);
    let prefix = Pattern { prefix: true, ..text(&[Segment::Static("c")]) };
    let rows = vec![
        (Methods::All, text(&[Segment::Static("a")]), gate(needs(role, Vec::new()))),
        (post(), under("a", Segment::Text), gate(needs(permission, Vec::new()))),
        (put(), under("a", Segment::Int), gate(needs(role, rule(Field::Json(POINTERS[0]))))),
        (put(), under("a", Segment::Path), gate(needs(role, rule(Field::Form(FIELDS[0]))))),
        (post(), under("b", Segment::Static("x")), gate(V2::Undecided("AMBIGUOUS-4", vec![0, 1]))),
        (post(), under("b", Segment::Text), Kind::Session),
        (post(), text(&[Segment::Static("b")]), Kind::Public),
        (Methods::All, prefix, Kind::Upstream),
        (post(), under("c", Segment::Static("7")), Kind::Machine),
        (post(), under("c", Segment::Static("on")), Kind::Gone),
    ];
    let row = |(number, (methods, path, kind)): (usize, (Methods, Pattern, Kind))| {
        let knows_callers = matches!(kind, Kind::Session | Kind::Gated(_));
        let freshness = (number == 1).then_some("strict");
        let unauthenticated = match number {
            5 => Some(Unauthenticated::Status403),
            _ if knows_callers && number % 2 == 1 => Some(Unauthenticated::Status401),
            _ => None,
        };
        let (redirects, totp) = (number == 0, (number == 2).then_some("elevation"));
        Row { methods, path, kind, unauthenticated, redirects, freshness, totp, websocket: number == 0 }
    };
    let rows: Vec<Row> = rows.into_iter().enumerate().map(row).collect();
    // In every cluster some of them, and some in none.
    let mut blueprints: Vec<Blueprint> = Vec::new();
    for (number, rows) in rows.chunks(2).enumerate() {
        let cluster = (number < 4).then_some((number + 2) % 4);
        let freshness = (number == 1).then_some("push");
        blueprints.push(Blueprint { name: format!("b{number}"), cluster, freshness, rows: rows.to_vec() });
    }
    // Rows for a ticket, of which each role of the last two is enough without one: in V2, in the cohort and in shadow.
    let Need::Role(enough) = role else { unreachable!("it is a role") };
    let for_tickets = [
        (0, vec!["PUT", "PATCH"], Segment::Int, Vec::new()),
        (1, vec!["PUT"], Segment::Static("x"), vec![enough]),
        (3, vec!["DELETE"], Segment::Text, vec![enough]),
    ];
    for (blueprint, methods, last, without) in for_tickets {
        let v2 = V2::Needs { base: role, when: Vec::new(), decided: false, ticket: Some(without) };
        let kind = Kind::Gated(Gated { legacy: Some(vec!["ops", "support"]), v2, machines: false });
        let (methods, path) = (Methods::Some(methods), under("b", last));
        let row = Row::plain(methods, path, kind);
        blueprints[blueprint].rows.push(row);
    }
    let unmapped = Some(Unmapped::Deny);
    sound(Mapping { unmapped, counts_rows: true, clusters, blueprints }, random, reach)
}

/// The same with the row of [`MARKER_PATH`], which every file of a round has.
pub fn with_marker(mut mapping: Mapping) -> Mapping {
    mapping.clusters.push(Cluster { name: "Marker".to_owned(), rollout: Rollout::Shadow });
    let path = Pattern { segments: vec![Segment::Static("__marker")], slash: false, prefix: false };
    let v2 = V2::Needs { base: Need::Role(ROLES - 1), when: Vec::new(), decided: false, ticket: None };
    let kind = Kind::Gated(Gated { legacy: Some(vec!["ops"]), v2, machines: false });
    let methods = Methods::Some(vec!["GET"]);
    let row = Row::plain(methods, path, kind);
    mapping.blueprints.push(Blueprint {
        name: "marker".to_owned(),
        cluster: Some(mapping.clusters.len() - 1),
        freshness: None,
        rows: vec![row],
    });
    mapping
}

fn unmapped(random: &mut Random) -> Option<Unmapped> {
    random.pick(&[None, Some(Unmapped::Deny), Some(Unmapped::Deny), Some(Unmapped::Forward)])
}

fn rollout(random: &mut Random) -> Rollout {
    match random.below(6) {
        0 => Rollout::Legacy,
        1 => Rollout::Shadow,
        2 | 3 => Rollout::V2,
        _ => {
            let numbers: Vec<usize> = (0..GROUPS).collect();
            let groups = random.some(&numbers, 0, 2);
            let percent = (groups.is_empty() || random.chance(50)).then(|| 1 + random.below(99));
            Rollout::Cohort { groups, percent: percent.and_then(|share| u8::try_from(share).ok()) }
        }
    }
}

/// Adds a row that nothing in the mapping overlaps, if one is found soon.
fn add_row(mapping: &mut Mapping, random: &mut Random, reach: &Reach) {
    for _ in 0..20 {
        let row = row(random, reach);
        if fits(mapping, &row) {
            let number = random.below(mapping.blueprints.len());
            mapping.blueprints[number].rows.push(row);
            return;
        }
    }
}

fn fits(mapping: &Mapping, row: &Row) -> bool {
    mapping.rows().into_iter().all(|other| !overlap(row, other) && fits_beside(&row.path, &other.path))
}

fn row(random: &mut Random, reach: &Reach) -> Row {
    let kind = kind(random, reach);
    let knows_callers = matches!(kind, Kind::Session | Kind::Gated(_));
    let (is_for_ticket, is_gated) = (is_for_ticket(&kind), matches!(kind, Kind::Gated(_)));
    let mut methods = methods(random);
    let mut path = pattern(random);
    if let Kind::Gated(Gated { v2: V2::Needs { when, .. }, .. }) = &kind
        && !when.is_empty()
    {
        methods = Methods::Some(random.some(&["POST", "PUT", "PATCH", "DELETE"], 1, 3));
        if path.prefix && !path.segments.is_empty() {
            path.prefix = random.chance(50);
        }
    }
    Row {
        methods,
        path,
        kind,
        unauthenticated: (knows_callers && random.chance(25))
            .then(|| random.pick(&[Unauthenticated::Status401, Unauthenticated::Status403])),
        redirects: is_gated && random.chance(15),
        freshness: (knows_callers && random.chance(20)).then(|| random.pick(&["push", "strict"])),
        totp: random.chance(10).then(|| random.pick(&["elevation", "inline"])),
        websocket: !is_for_ticket && random.chance(5),
    }
}

/// Whether a row is for a ticket, which excludes WebSockets and machines.
fn is_for_ticket(kind: &Kind) -> bool {
    matches!(kind, Kind::Gated(Gated { v2: V2::Needs { ticket: Some(_), .. }, .. }))
}

fn methods(random: &mut Random) -> Methods {
    if random.chance(25) { Methods::All } else { Methods::Some(random.some(&METHODS, 1, 3)) }
}

fn pattern(random: &mut Random) -> Pattern {
    let first = random.pick(&["a", "a", "b", "c"]);
    let mut segments = vec![Segment::Static(first)];
    for _ in 0..random.below(3) {
        let next = match random.below(10) {
            0..=3 => Segment::Static(random.pick(&["x", "on", "7"])),
            4 | 5 => Segment::Text,
            6 => Segment::Int,
            7 => Segment::Any,
            8 => Segment::Uuid,
            _ => Segment::Path,
        };
        segments.push(next);
        if next == Segment::Path {
            break;
        }
    }
    let is_static = segments.iter().all(|segment| matches!(segment, Segment::Static(_)));
    if is_static && random.chance(20) {
        if random.chance(15) {
            segments.clear();
        }
        return Pattern { segments, slash: false, prefix: true };
    }
    let slash = segments.last() != Some(&Segment::Path) && random.chance(20);
    Pattern { segments, slash, prefix: false }
}

fn kind(random: &mut Random, reach: &Reach) -> Kind {
    match random.below(20) {
        0 => Kind::Public,
        1 => Kind::Session,
        2 => Kind::Machine,
        3 => Kind::Upstream,
        4 => Kind::Gone,
        _ => Kind::Gated(gated(random, reach)),
    }
}

fn gated(random: &mut Random, reach: &Reach) -> Gated {
    let undecided = random.chance(12);
    let legacy = (undecided || random.chance(88)).then(|| random.some(&LEGACY, 1, 3));
    let machines = random.chance(25);
    if undecided {
        let options: Vec<usize> = (0..ROLES).collect();
        let roles = random.some(&options, 0, 3);
        return Gated { legacy, v2: V2::Undecided("AMBIGUOUS-1", roles), machines };
    }
    let base = if random.chance(85) { reach.need(random) } else { Reach::any(random) };
    let base = match (base, reach.permissions.as_slice()) {
        (Need::Permission(_), [one, other, ..]) if random.chance(40) => Need::Both(*one, *other),
        (base, _) => base,
    };
    let when = if random.chance(30) { rules(random, reach) } else { Vec::new() };
    // Tickets are granted to admins.
    let ticket = (!machines && random.chance(20)).then(|| {
        let numbers: Vec<usize> = (0..ROLES).collect();
        random.some(&numbers, 0, 2)
    });
    // An option names one role or permission.
    let decided = !matches!(base, Need::Both(..)) && random.chance(10);
    Gated { legacy, v2: V2::Needs { base, when, decided, ticket }, machines }
}

/// Rules of one row are all of JSON or all of forms.
fn rules(random: &mut Random, reach: &Reach) -> Vec<Rule> {
    let json: Vec<Field> = POINTERS.iter().map(|pointer| Field::Json(pointer)).collect();
    let form: Vec<Field> = FIELDS.iter().map(|name| Field::Form(name)).collect();
    let fields = if random.chance(70) { json } else { form };
    let mut rules: Vec<Rule> = Vec::new();
    for _ in 0..1 + random.below(3) {
        let (field, equals) = (random.pick(&fields), random.pick(&VALUES));
        if rules.iter().all(|rule| (rule.field, rule.equals) != (field, equals)) {
            rules.push(Rule { field, equals, need: reach.need(random) });
        }
    }
    rules
}

/// The mapping after some changes, of the kinds that an operator makes.
pub fn changed(mapping: &Mapping, random: &mut Random, reach: &Reach) -> Mapping {
    if random.chance(10) {
        return self::random(random, reach);
    }
    let mut changed = mapping.clone();
    for _ in 0..1 + random.below(4) {
        change(&mut changed, random, reach);
    }
    changed.blueprints.retain(|blueprint| !blueprint.rows.is_empty());
    if changed.blueprints.is_empty() {
        return self::random(random, reach);
    }
    sound(changed, random, reach)
}

fn change(mapping: &mut Mapping, random: &mut Random, reach: &Reach) {
    let cluster = random.below(mapping.clusters.len());
    let blueprint = random.below(mapping.blueprints.len());
    match random.below(12) {
        0..=2 => mapping.clusters[cluster].rollout = rollout(random),
        3 => mapping.unmapped = unmapped(random),
        4 => add_row(mapping, random, reach),
        5 => mapping.blueprints[blueprint].cluster = random.chance(80).then_some(cluster),
        6 => {
            if let Some(row) = take_row(mapping, random)
                && random.chance(50)
            {
                // Into another blueprint, so into another cluster.
                mapping.blueprints[blueprint].rows.push(row);
            }
        }
        7 => {
            mapping.blueprints[blueprint].freshness =
                random.chance(50).then(|| random.pick(&["push", "strict"]));
        }
        _ => {
            let Some(old) = take_row(mapping, random) else { return };
            let new = changed_row(&old, random, reach);
            let row = if fits(mapping, &new) { new } else { old };
            mapping.blueprints[blueprint].rows.push(row);
        }
    }
}

fn take_row(mapping: &mut Mapping, random: &mut Random) -> Option<Row> {
    let blueprint = random.below(mapping.blueprints.len());
    let rows = &mut mapping.blueprints[blueprint].rows;
    if rows.is_empty() {
        return None;
    }
    let number = random.below(rows.len());
    Some(rows.remove(number))
}

fn changed_row(old: &Row, random: &mut Random, reach: &Reach) -> Row {
    let new = row(random, reach);
    match random.below(4) {
        // Another path or other methods, as the rules about bodies allow.
        0 if old.rules().is_empty() => Row { methods: new.methods, ..old.clone() },
        1 => Row { path: new.path, ..old.clone() },
        2 => match (&old.kind, &new.kind) {
            (Kind::Gated(old_gate), Kind::Gated(new_gate))
                if new.rules().is_empty()
                    && !(is_for_ticket(&new.kind) && (old_gate.machines || old.websocket)) =>
            {
                let v2 = new_gate.v2.clone();
                let legacy = old_gate.legacy.clone().or(new_gate.legacy.clone());
                let kind = Kind::Gated(Gated { legacy, v2, machines: old_gate.machines });
                Row { kind, ..old.clone() }
            }
            _ => Row { path: old.path.clone(), ..new },
        },
        _ => Row { path: old.path.clone(), ..new },
    }
}

/// Makes rows reachable that a cluster enforces.
fn sound(mut mapping: Mapping, random: &mut Random, reach: &Reach) -> Mapping {
    let enforces: Vec<bool> = mapping
        .clusters
        .iter()
        .map(|cluster| matches!(cluster.rollout, Rollout::V2 | Rollout::Cohort { .. }))
        .collect();
    for blueprint in &mut mapping.blueprints {
        let enforced = blueprint.cluster.is_some_and(|cluster| enforces[cluster]);
        for row in blueprint.rows.iter_mut().filter(|_| enforced) {
            let Kind::Gated(Gated { v2: V2::Needs { base, .. }, .. }) = &mut row.kind else { continue };
            if !reach.has(*base) {
                *base = reach.need(random);
            }
        }
    }
    mapping
}
