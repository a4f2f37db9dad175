//! The access that a break-glass session would open: the roles of the group `break-glass`, with everything that they
//! inherit and permit, stored and compared every night (RBAC V2 design, section 6).
//!
//! ```text
//! night -------- window opened ~~~~~~~~ window closed -------- night
//!   \-- alert ---/              \-- declared --/        \-- alert --/
//! ```
//!
//! A snapshot is also taken at both ends of a declared window, so a change outside of it is never taken for a declared
//! one.
//!
//! A nightly comparison alone could not show whether a change during the day was inside a window.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use grants::alerts::{Alert, Alerts};
use ledger::{AuditEvent, Notary};
use policy::rbac::catalog::Catalog;
use policy::rbac::census::BREAK_GLASS;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::break_glass_scope::{ChangeWindow, NewSnapshot, SnapshotCause};
use store::{SharedStore, StoreError};

/// The roles and permissions of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composition {
    /// The roles that the group itself holds.
    pub roles: BTreeSet<Arc<str>>,
    pub inherited: BTreeSet<Arc<str>>,
    pub permissions: BTreeSet<Arc<str>>,
}

impl Composition {
    /// The composition in the registry.
    pub fn of(catalog: &Catalog) -> Composition {
        let roles = catalog.group_roles.get(BREAK_GLASS).cloned().unwrap_or_default();
        let all = catalog.roles_of_group(BREAK_GLASS);
        let permissions = catalog.permissions_of(&all);
        Composition { inherited: all.difference(&roles).cloned().collect(), roles, permissions }
    }

    /// The additions and removals since, in words; empty if there are none.
    pub fn changes_since(&self, before: &Composition) -> Vec<String> {
        let mut changes = Vec::new();
        for (what, now, then) in [
            ("role", &self.roles, &before.roles),
            ("inherited role", &self.inherited, &before.inherited),
            ("permission", &self.permissions, &before.permissions),
        ] {
            changes.extend(now.difference(then).map(|name| format!("{what} {name} added")));
            changes.extend(then.difference(now).map(|name| format!("{what} {name} removed")));
        }
        changes
    }
}

/// Takes the nightly snapshot. Returns the changes since the last one.
///
/// # Errors
///
/// The database did not answer.
pub async fn nightly(
    store: &SharedStore,
    notary: &Notary,
    now: DateTime<Utc>,
) -> Result<Vec<String>, StoreError> {
    take(store, notary, SnapshotCause::Night, None, now).await
}

/// Opens a window in which the roles may be changed. Earlier changes raise an alert.
///
/// # Errors
///
/// The database did not answer.
pub async fn open(store: &SharedStore, notary: &Notary, window: &ChangeWindow) -> Result<(), StoreError> {
    take(store, notary, SnapshotCause::WindowOpened, Some(window), window.opened_at).await?;
    let event = AuditEvent::ChangeWindow {
        window: window.id.clone(),
        step: "opened",
        detail: json!({ "until_utc": window.until }),
        reason: Some(window.reason.clone()),
        by: window.opened_by.clone(),
    };
    store.open_window(window, &notary.note(event.into_record(window.opened_at))).await
}

/// Closes a window, and returns the changes in it; `None` if it is already closed.
///
/// # Errors
///
/// The database did not answer.
pub async fn close(
    store: &SharedStore,
    notary: &Notary,
    window: &ChangeWindow,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Option<Vec<String>>, StoreError> {
    let event = AuditEvent::ChangeWindow {
        window: window.id.clone(),
        step: "closed",
        detail: json!({}),
        reason: None,
        by: by.to_owned(),
    };
    // The snapshot first: a later change is outside of the window.
    let changes = take(store, notary, SnapshotCause::WindowClosed, Some(window), now).await?;
    let is_closed = store.close_window(&window.id, now, &notary.note(event.into_record(now))).await?;
    Ok(is_closed.then_some(changes))
}

/// Closes the windows whose time has passed.
///
/// # Errors
///
/// The database did not answer.
pub async fn close_ended(store: &SharedStore, notary: &Notary, now: DateTime<Utc>) -> Result<(), StoreError> {
    for window in store.open_windows().await?.into_iter().filter(|window| window.until <= now) {
        close(store, notary, &window, "console-gate", now).await?;
    }
    Ok(())
}

async fn take(
    store: &SharedStore,
    notary: &Notary,
    cause: SnapshotCause,
    window: Option<&ChangeWindow>,
    now: DateTime<Utc>,
) -> Result<Vec<String>, StoreError> {
    let composition = Composition::of(&store.catalog().await?);
    let before = store.last_glass_snapshot().await?;
    let changes = match &before {
        None => Vec::new(),
        Some(before) => {
            let before: Composition = serde_json::from_str(before)
                .map_err(|_| StoreError::Broken("a snapshot of the roles of break-glass".to_owned()))?;
            composition.changes_since(&before)
        }
    };
    // A nightly snapshot within an open window shows nothing about changes outside of it.
    let is_within = cause == SnapshotCause::Night
        && store.open_windows().await?.iter().any(|window| window.opened_at <= now && now < window.until);
    let is_declared = cause == SnapshotCause::WindowClosed || is_within;
    let snapshot = NewSnapshot {
        id: uuid::Uuid::now_v7().to_string(),
        taken_at: now,
        cause,
        window: window.map(|window| window.id.clone()),
        composition: json!(composition).to_string(),
        changes: json!(changes).to_string(),
        is_alert: !changes.is_empty() && !is_declared,
    };
    let note = (!changes.is_empty()).then(|| {
        let event = AuditEvent::BreakGlassRoles {
            snapshot: snapshot.id.clone(),
            declared: is_declared,
            changes: changes.clone(),
        };
        notary.note(event.into_record(now))
    });
    store.add_glass_snapshot(&snapshot, note.as_ref()).await?;
    Ok(changes)
}

/// Puts an alert into the outbox for each snapshot that requires one.
///
/// # Errors
///
/// The database did not answer.
pub async fn alert(store: &SharedStore, alerts: &Alerts) -> Result<(), StoreError> {
    for snapshot in store.glass_snapshots_to_alert().await? {
        let changes: Vec<String> = serde_json::from_str(&snapshot.changes).unwrap_or_default();
        let at = snapshot.taken_at.format("%F %H:%M");
        let alert = Alert {
            key: format!("break-glass-roles {}", snapshot.id),
            kind: "break_glass_roles",
            subject: "console-gate: what break-glass opens was changed".to_owned(),
            text: format!(
                "Outside of a declared window the group {BREAK_GLASS} was changed, as found at {at} UTC: {}. If nobody \
                 meant to, undo it (`console-gate group`, `console-gate role`) and find out who did it (`console-gate audit \
                 export`, docs/runbooks/alerts.md). Declare a change before it is made: `console-gate change-window open`.",
                changes.join("; ")
            ),
        };
        store.alert_of_glass_snapshot(&snapshot.id, &alerts.rows(&alert)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(group_roles: &[&str], inherits: &[(&str, &str)], permissions: &[(&str, &str)]) -> Catalog {
        let mut catalog = Catalog::default();
        let roles = group_roles.iter().map(|role| Arc::from(*role)).collect();
        catalog.group_roles.insert(BREAK_GLASS.into(), roles);
        for (child, parent) in inherits {
            catalog.inherits.entry((*child).into()).or_default().insert((*parent).into());
        }
        for (role, permission) in permissions {
            catalog.role_permissions.entry((*role).into()).or_default().insert((*permission).into());
        }
        catalog
    }

    #[test]
    fn a_change_anywhere_below_the_group_is_one() {
        let before = Composition::of(&catalog(&["a"], &[("a", "b")], &[("b", "p")]));
        let same = Composition::of(&catalog(&["a"], &[("a", "b")], &[("b", "p"), ("elsewhere", "q")]));
        assert_eq!(same.changes_since(&before), Vec::<String>::new());
        let after = Composition::of(&catalog(&["a", "c"], &[("c", "d")], &[("d", "q")]));
        let expected = [
            "role c added",
            "inherited role d added",
            "inherited role b removed",
            "permission q added",
            "permission p removed",
        ];
        assert_eq!(after.changes_since(&before), expected);
    }
}
