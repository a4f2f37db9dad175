//! The mapping and the switches in force, by time.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use policy::decision::Control;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use serde_json::Value;
use store::control::{ControlRow, RBAC_V2_FLAG};
use store::history::SealedChange;
use store::mappings::StoredActivation;
use store::tickets::TICKET_GRANTS_FLAG;
use store::{SharedStore, StoreError};
use workbench::who::Rule;
use workbench::who::text::in_seconds;

use super::{Asked, Assumptions};
use crate::facts::{WorkbenchError, running};

/// Gates that take over a mapping one after the other may differ for this long without a note.
const TOGETHER: TimeDelta = TimeDelta::minutes(1);

/// The mapping and the switches in force, by the time from which on they were.
pub(super) struct Timeline<'t> {
    mappings: BTreeMap<DateTime<Utc>, Option<Arc<Mapping>>>,
    named: Option<&'t Mapping>,
    switches: BTreeMap<DateTime<Utc>, (Control, bool)>,
}

impl<'t> Timeline<'t> {
    pub(super) async fn read(
        store: &SharedStore,
        asked: &Asked<'t>,
        sealed: &[SealedChange],
        assumptions: &mut Assumptions,
    ) -> Result<Timeline<'t>, WorkbenchError> {
        let mappings = match asked.mapping {
            Some(mapping) => {
                assumptions.add(format!(
                    "the mapping {} was given, and counts all the time, whatever the gates ran",
                    mapping.sha256().short()
                ));
                BTreeMap::new()
            }
            None if asked.period.from >= asked.now => now(store, asked, assumptions).await?,
            None => activated(store, asked, assumptions).await?,
        };
        let switches = switches(store, asked, sealed, assumptions).await?;
        Ok(Timeline { mappings, named: asked.mapping, switches })
    }

    /// One rule for each time at which any of them changed.
    pub(super) fn rules(&self) -> Vec<Rule<'_>> {
        let mut times: Vec<DateTime<Utc>> =
            self.mappings.keys().chain(self.switches.keys()).copied().collect();
        times.sort();
        times.dedup();
        let rule = |from: DateTime<Utc>| {
            let mapping =
                self.mappings.range(..=from).next_back().and_then(|(_, mapping)| mapping.as_deref());
            let (control, ticket_grants) = *self.switches.range(..=from).next_back()?.1;
            Some(Rule { from, mapping: self.named.or(mapping), control, ticket_grants })
        };
        times.into_iter().filter_map(rule).collect()
    }
}

type Mappings = BTreeMap<DateTime<Utc>, Option<Arc<Mapping>>>;

/// The mapping that the gates run now.
async fn now(
    store: &SharedStore,
    asked: &Asked<'_>,
    assumptions: &mut Assumptions,
) -> Result<Mappings, WorkbenchError> {
    match running(store).await {
        Ok(running) => {
            running.warning().into_iter().for_each(|warning| assumptions.add(warning));
            Ok(BTreeMap::from([(asked.period.from, Some(Arc::new(running.mapping)))]))
        }
        Err(WorkbenchError::NoMapping) => {
            assumptions.add("no gate has activated a mapping on this database yet");
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error),
    }
}

/// The mapping that was activated last before the period, and those activated in it.
async fn activated(
    store: &SharedStore,
    asked: &Asked<'_>,
    assumptions: &mut Assumptions,
) -> Result<Mappings, WorkbenchError> {
    let mut activations = store.activations(u32::MAX).await?;
    activations.retain(|activation| activation.outcome == "activated");
    activations.reverse();
    let from = asked.period.from;
    let is_before = |activation: &&StoredActivation| activation.activated_at_utc <= from;
    let before = activations.iter().rev().find(is_before);
    let inside = activations.iter().filter(|activation| {
        activation.activated_at_utc > from
            && asked.period.until.is_some_and(|until| activation.activated_at_utc < until)
    });
    if before.is_none() {
        let first = activations.first().map(|first| in_seconds(first.activated_at_utc));
        let until = first.map_or_else(|| "at all".to_owned(), |first| format!("before {first}"));
        assumptions.add(format!("no mapping was activated {until}: nobody is listed without one"));
    }
    differing(store, asked, &activations, assumptions).await?;
    let mut known: BTreeMap<&str, Option<Arc<Mapping>>> = BTreeMap::new();
    let mut mappings = Mappings::new();
    for activation in before.into_iter().chain(inside) {
        let sha256 = activation.sha256.as_str();
        if !known.contains_key(sha256) {
            let text = store.mapping_text(&MappingSha256::new(sha256)).await?;
            let mapping = text.and_then(|text| Mapping::parse(sha256, &text).ok());
            if mapping.is_none() {
                assumptions.add(format!(
                    "the mapping {} is not kept, or this version cannot read it: nobody is listed while it ran",
                    sha256.get(..12).unwrap_or(sha256)
                ));
            }
            known.insert(sha256, mapping.map(Arc::new));
        }
        let mapping = known.get(sha256).cloned().flatten();
        mappings.insert(activation.activated_at_utc.max(from), mapping);
    }
    Ok(mappings)
}

/// Notes from when until when gates ran different mappings. A gate is known to have run between two of its activations,
/// and until now if it is running.
async fn differing(
    store: &SharedStore,
    asked: &Asked<'_>,
    activations: &[StoredActivation],
    assumptions: &mut Assumptions,
) -> Result<(), StoreError> {
    let gates = store.running_gates().await?;
    let mut last: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
    for activation in activations {
        last.insert(&activation.instance, activation.activated_at_utc);
    }
    for gate in &gates {
        if let Some(last) = last.get_mut(gate.name.as_str()) {
            *last = asked.now;
        }
    }
    let end = asked.period.until.unwrap_or(asked.period.from);
    let mut ran: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, activation) in activations.iter().enumerate() {
        let from = activation.activated_at_utc;
        ran.insert(&activation.instance, &activation.sha256);
        let until = activations.get(index + 1).map_or(asked.now, |next| next.activated_at_utc);
        if until - from < TOGETHER || until <= asked.period.from || from > end {
            continue;
        }
        let others: Vec<String> = ran
            .iter()
            .filter(|(gate, sha256)| **sha256 != activation.sha256 && last.get(*gate) >= Some(&until))
            .map(|(gate, sha256)| format!("{gate} ran {}", sha256.get(..12).unwrap_or(sha256)))
            .collect();
        if !others.is_empty() {
            assumptions.add(format!(
                "from {} until {} the gates ran different mappings ({}): the one that was activated last counts, {}",
                in_seconds(from),
                in_seconds(until),
                others.join(", "),
                activation.sha256.get(..12).unwrap_or(&activation.sha256)
            ));
        }
    }
    Ok(())
}

/// The recorded changes of one switch, the oldest first.
fn recorded<'s, T: 's>(
    sealed: &'s [SealedChange],
    event: &'static str,
    flag: &'static str,
    value: impl Fn(&'s Value) -> T + 's,
) -> impl DoubleEndedIterator<Item = (DateTime<Utc>, T)> {
    let of_flag = sealed.iter().filter_map(move |sealed| {
        let detail = &sealed.detail.as_ref()?.0;
        (sealed.event_type == event && detail["flag"] == flag).then_some((sealed.occurred_at_utc, detail))
    });
    of_flag.map(move |(at, detail)| (at, value(detail)))
}

async fn switches(
    store: &SharedStore,
    asked: &Asked<'_>,
    sealed: &[SealedChange],
    assumptions: &mut Assumptions,
) -> Result<BTreeMap<DateTime<Utc>, (Control, bool)>, StoreError> {
    let (row, tickets) = (store.control().await?, store.ticket_grants_flag().await?);
    let enabled = |detail: &Value| detail["enabled"].as_bool();
    let flips: Vec<_> = recorded(sealed, "flag_flipped", RBAC_V2_FLAG, enabled).collect();
    let of_tickets: Vec<_> = recorded(sealed, "flag_flipped", TICKET_GRANTS_FLAG, enabled).collect();
    let is_production = |word: &Value| {
        word.as_str().is_some_and(|word| asked.production_words.iter().any(|known| known == word))
    };
    let promoted =
        |detail: &Value| (is_production(&detail["environment"]), is_production(&detail["previous"]));
    let promotions: Vec<_> = recorded(sealed, "flag_promoted", RBAC_V2_FLAG, promoted).collect();
    let is_past = asked.period.from < asked.now;
    if is_past {
        by_hand(RBAC_V2_FLAG, flips.last().and_then(|(_, is)| *is), row.rbac_v2, assumptions);
        by_hand(TICKET_GRANTS_FLAG, of_tickets.last().and_then(|(_, is)| *is), tickets, assumptions);
        if asked.posture.flag_at_start.is_some() {
            assumptions.add(format!(
                "{RBAC_V2_FLAG} in the environment is taken to have been as it is here and now"
            ));
        }
        if asked.posture.production {
            assumptions.add("promotions that no command of the gate made have no history");
        }
    }
    let latest = |of: &[(DateTime<Utc>, Option<bool>)], time, now: Option<bool>| {
        match of.iter().rev().find(|(at, _)| *at <= time) {
            Some((_, is)) => *is,
            // It had not been set yet. Without any record, the current value is taken.
            None if of.is_empty() => now,
            None => None,
        }
    };
    let at = |time: DateTime<Utc>| {
        if time >= asked.now {
            return (asked.posture.control(&row), tickets.unwrap_or(true));
        }
        let promoted = match promotions.iter().rev().find(|(at, _)| *at <= time) {
            Some((_, (is, _))) => *is,
            None => promotions.first().map_or(row.promoted, |(_, (_, was))| *was),
        };
        let rbac_v2 = latest(&flips, time, row.rbac_v2);
        let then = ControlRow { rbac_v2, promoted, ..row.clone() };
        (asked.posture.control(&then), latest(&of_tickets, time, tickets).unwrap_or(true))
    };
    let times = flips.iter().chain(&of_tickets).map(|(at, _)| *at);
    let times = times.chain(promotions.iter().map(|(at, _)| *at));
    let inside = times.filter(|time| *time > asked.period.from);
    Ok([asked.period.from].into_iter().chain(inside).map(|time| (time, at(time))).collect())
}

/// Notes that a switch is not as it was recorded last.
fn by_hand(flag: &str, recorded: Option<bool>, is: Option<bool>, assumptions: &mut Assumptions) {
    if recorded == is {
        return;
    }
    assumptions.add(match recorded {
        None => format!("no record says when {flag} was set: it is taken to have been as it is now"),
        Some(_) => format!(
            "{flag} is not as it was recorded last: somebody set it without a record, at an unknown time"
        ),
    });
}
