//! In which groups the holders of a legacy role are taken to be, for commands that report about everybody.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;

use crate::impact::profile::LegacyAs;
use crate::rbac::LegacyRole;
use crate::rbac::catalog::Catalog;

pub(super) use crate::workbench::Registry;

/// `superadmin=raxx-platform-admins`, or `readonly=` for nobody.
#[derive(Clone, Debug)]
pub(super) struct LegacyAsArgument {
    role: LegacyRole,
    group: Option<Arc<str>>,
}

impl FromStr for LegacyAsArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, group) = text.split_once('=').ok_or("write it as ROLE=GROUP")?;
        let known = LegacyRole::ALL.map(LegacyRole::as_str).join(", ");
        let role = LegacyRole::parse(role).ok_or(format!("`{role}` is no legacy role; they are {known}"))?;
        Ok(LegacyAsArgument { role, group: (!group.is_empty()).then(|| group.into()) })
    }
}

/// Gathers `--legacy-as`.
///
/// # Errors
///
/// A group that does not exist: the report would say that its people lose everything.
pub(super) fn legacy_as(arguments: &[LegacyAsArgument], catalog: &Catalog) -> anyhow::Result<LegacyAs> {
    let mut gathered = LegacyAs::new();
    for LegacyAsArgument { role, group } in arguments {
        let groups = gathered.entry(*role).or_default();
        if let Some(group) = group {
            let known = || catalog.groups.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
            catalog
                .groups
                .get(group)
                .with_context(|| format!("there is no group `{group}`; there are {}", known()))?;
            groups.insert(group.clone());
        }
    }
    Ok(gathered)
}
