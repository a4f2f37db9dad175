//! The requests of a region that its two rows may treat differently: by their body, or as a WebSocket handshake.

use policy::decision::body::{BodyKind, BodyReport, Scalar};
use policy::mapping::regions::Region;
use policy::mapping::{BodyField, BodyRule};
use policy::method::{Method, MethodSet};
use serde::Serialize;

/// The requests of a region to which a statement applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests<'m> {
    /// All of them.
    All,
    /// Those with such a body.
    Body(BodyKind<'m>),
    /// Those whose body only the rules of this side can read, and as this kind.
    ReadBy(Side, BodyKind<'m>),
    /// WebSocket handshakes.
    WebSocket,
    /// CORS preflights.
    Preflight,
}

/// One of the two mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Before,
    After,
}

impl<'m> Requests<'m> {
    /// The kind of the body to the row of one side.
    pub fn body_at(self, side: Side) -> BodyKind<'m> {
        match self {
            Requests::All | Requests::WebSocket | Requests::Preflight => BodyKind::NoRule,
            Requests::Body(kind) => kind,
            Requests::ReadBy(reader, kind) if reader == side => kind,
            Requests::ReadBy(..) => BodyKind::Unreadable,
        }
    }

    /// The body as data; `None` if it makes no difference.
    pub fn body(self) -> Option<BodyReport> {
        match self {
            Requests::All | Requests::WebSocket | Requests::Preflight => None,
            Requests::Body(kind) | Requests::ReadBy(_, kind) => Some(kind.report()),
        }
    }

    /// The only side that can read the body, if there is one.
    pub fn read_by(self) -> Option<Side> {
        match self {
            Requests::ReadBy(side, _) => Some(side),
            Requests::All | Requests::Body(_) | Requests::WebSocket | Requests::Preflight => None,
        }
    }

    /// In words; `None` for all.
    pub fn in_words(self) -> Option<String> {
        let only = match self.read_by() {
            None => "",
            Some(Side::Before) => ", which only the old rules can read",
            Some(Side::After) => ", which only the new rules can read",
        };
        match self {
            Requests::WebSocket => Some("for WebSocket handshakes".to_owned()),
            Requests::Preflight => Some("for CORS preflights".to_owned()),
            _ => self.body().map(|body| format!("for {body}{only}")),
        }
    }
}

/// Each kind of request that can be made in a region, with its methods. A caller that gains or loses by any other kind
/// of request, such as one whose body meets several rules, also does so by one of these.
pub(super) fn of<'m>(region: &Region<'m>) -> Vec<(Requests<'m>, MethodSet)> {
    let mut kinds = by_body(region);
    let lets_upgrade = [region.old, region.new].into_iter().flatten().any(|row| row.websocket);
    if lets_upgrade && region.methods.contains(Method::Get) {
        kinds.push((Requests::WebSocket, MethodSet::EMPTY.with(Method::Get)));
    }
    if [region.old, region.new].into_iter().flatten().any(|row| row.cors) {
        kinds.push((Requests::Preflight, MethodSet::EMPTY.with(Method::Options)));
    }
    kinds
}

fn by_body<'m>(region: &Region<'m>) -> Vec<(Requests<'m>, MethodSet)> {
    let [old, new] = [region.old, region.new].map(|row| row.map_or(&[][..], |row| row.kind.body_rules()));
    if old.is_empty() && new.is_empty() {
        return vec![(Requests::All, region.methods)];
    }
    let mut kinds = Vec::new();
    let with_body: MethodSet = region.methods.iter().filter(|method| method.carries_body()).collect();
    if !with_body.is_empty() {
        kinds.extend(with_body_of(old, new).into_iter().map(|kind| (kind, with_body)));
    }
    kinds.push((Requests::Body(BodyKind::Unreadable), region.methods));
    kinds
}

/// The kinds of body that one of the two sides can read.
fn with_body_of<'m>(old: &'m [BodyRule], new: &'m [BodyRule]) -> Vec<Requests<'m>> {
    let kinds_of = |rules: &[&'m BodyRule]| -> Vec<BodyKind<'m>> {
        let of_rules = rules.iter().map(|rule| BodyKind::Rule(&rule.field, &rule.equals));
        std::iter::once(BodyKind::NoRule).chain(of_rules).collect()
    };
    let mut kinds: Vec<Requests<'m>> = Vec::new();
    let mut add = |kind: Requests<'m>| {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    };
    if can_both_read(old, new) {
        let rules: Vec<&BodyRule> = old.iter().chain(new).collect();
        kinds_of(&rules).into_iter().for_each(|kind| add(Requests::Body(kind)));
    }
    for (side, reads, other) in [(Side::Before, old, new), (Side::After, new, old)] {
        if reads.is_empty() || other.is_empty() {
            continue;
        }
        if lacks_a_field_of(reads, other) {
            let rules: Vec<&BodyRule> = reads.iter().collect();
            kinds_of(&rules).into_iter().for_each(|kind| add(Requests::ReadBy(side, kind)));
        }
        by_a_value(reads, other).into_iter().for_each(|kind| add(Requests::ReadBy(side, kind)));
    }
    kinds
}

/// Whether some body is readable to both sides. A side without rules can read any body.
fn can_both_read(old: &[BodyRule], new: &[BodyRule]) -> bool {
    let fits = |one: &BodyField, other: &BodyField| {
        is_json(one) == is_json(other) && !one.is_around(other) && !other.is_around(one)
    };
    old.iter().all(|one| new.iter().all(|other| fits(&one.field, &other.field)))
}

/// Whether a body can contain everything that one side reads, but not everything that the other reads.
fn lacks_a_field_of(reads: &[BodyRule], other: &[BodyRule]) -> bool {
    other.iter().any(|rule| reads.iter().all(|known| known.field != rule.field))
}

/// The kind of a body to the side that reads it, where the other side cannot compare one of its values.
fn by_a_value<'m>(reads: &'m [BodyRule], other: &'m [BodyRule]) -> Vec<BodyKind<'m>> {
    let mut kinds = Vec::new();
    for rule in other.iter().filter(|rule| is_json(&rule.field)) {
        let of_field = |rules: &'m [BodyRule]| rules.iter().filter(move |one| one.field == rule.field);
        for value in Scalar::like(&rule.equals) {
            let unsettled = |rules| of_field(rules).any(|one| value.is(&one.equals).is_none());
            if unsettled(other) && !unsettled(reads) {
                let met = of_field(reads).find(|one| value.is(&one.equals) == Some(true));
                kinds.push(met.map_or(BodyKind::NoRule, |one| BodyKind::Rule(&one.field, &one.equals)));
            }
        }
    }
    kinds
}

const fn is_json(field: &BodyField) -> bool {
    matches!(field, BodyField::Json(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::mapping::Mapping;

    fn file(row: &str) -> Mapping {
        let source = format!("version = 1\n[blueprints.b.routes]\n{row}\n");
        Mapping::parse("t", &source).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The kinds for `POST /x` with these `when`, each as `methods: words`.
    fn kinds(old: &str, new: &str) -> Vec<String> {
        let row = |when: &str| file(&format!("\"POST /x\" = {{ role = \"r\"{when} }}"));
        let (old, new) = (row(old), row(new));
        let regions = old.regions(&new);
        let region = regions.all.iter().find(|region| region.new.is_some()).unwrap();
        of(region)
            .into_iter()
            .map(|(kind, methods)| format!("{methods}: {}", kind.in_words().unwrap_or_default()))
            .collect()
    }

    const PROD: &str = ", when = [{ json = \"/t\", equals = \"prod\", role = \"p\" }]";
    const NONE: &str = "POST: for a body that matches no rule";
    const MET: &str = "POST: for a body with /t = prod";
    const UNREADABLE: &str = "POST,OPTIONS: for an unreadable or missing body";

    #[test]
    fn a_body_that_no_rule_reads_makes_no_difference() {
        assert_eq!(kinds("", ""), ["POST,OPTIONS: "]);
    }

    #[test]
    fn a_rule_distinguishes_three_kinds_of_body_on_either_side() {
        for (old, new) in [("", PROD), (PROD, ""), (PROD, PROD)] {
            assert_eq!(kinds(old, new), [NONE, MET, UNREADABLE]);
        }
    }

    #[test]
    fn a_body_that_one_side_alone_reads_is_a_kind_of_its_own() {
        let other_field = PROD.replace("/t", "/u");
        assert_eq!(
            kinds(PROD, &other_field),
            [
                NONE,
                MET,
                "POST: for a body with /u = prod",
                "POST: for a body that matches no rule, which only the old rules can read",
                "POST: for a body with /t = prod, which only the old rules can read",
                "POST: for a body that matches no rule, which only the new rules can read",
                "POST: for a body with /u = prod, which only the new rules can read",
                UNREADABLE,
            ]
        );
        // Nothing is JSON and a form, and nothing has a value at a field and within it.
        for unlike in [PROD.replace("json", "form"), PROD.replace("/t", "/t/u")] {
            let kinds = kinds(PROD, &unlike);
            assert!(kinds.iter().all(|kind| kind.contains("which only") || kind == UNREADABLE), "{kinds:?}");
            assert_eq!(kinds.len(), 5);
        }
    }

    /// The same field, and a value that only one of the two rules can compare.
    #[test]
    fn a_value_that_one_side_alone_can_compare_is_reported() {
        assert_eq!(kinds(PROD, &PROD.replace("prod", "dev")).len(), 4);
        let (truth, one) = (PROD.replace("prod", "true"), PROD.replace("prod", "1"));
        assert_eq!(
            kinds(PROD, &one)[3],
            "POST: for a body that matches no rule, which only the old rules can read"
        );
        // `true` is the old rule's value and may be the new one's; with `1` it is the other way round.
        assert_eq!(
            kinds(&truth, &one)[3..5],
            [
                "POST: for a body with /t = true, which only the old rules can read",
                "POST: for a body with /t = 1, which only the new rules can read"
            ]
        );
    }

    #[test]
    fn a_handshake_is_a_request_of_its_own_where_a_row_takes_one() {
        let (old, new) = (
            file("\"GET /w\" = { session = true }"),
            file("\"GET /w\" = { session = true, websocket = true }"),
        );
        let regions = old.regions(&new);
        let of_row = |methods: MethodSet| Region { methods, ..regions.all[0].clone() };
        assert_eq!(
            of(&of_row(regions.all[0].methods)).last().map(|(kind, methods)| (*kind, *methods)),
            Some((Requests::WebSocket, MethodSet::EMPTY.with(Method::Get)))
        );
        assert_eq!(of(&of_row(MethodSet::EMPTY.with(Method::Options))).len(), 1);
    }
}
