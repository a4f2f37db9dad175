//! Delegation: whose members may give a group or a role to others without holding it (docs/guards.md, sentence b).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::sql::sql;
use crate::{Store, StoreError};

/// What may be given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Group(String),
    Role(String),
}

impl Target {
    /// The stable word of its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Target::Group(_) => "group",
            Target::Role(_) => "role",
        }
    }

    pub fn name(&self) -> &str {
        let (Target::Group(name) | Target::Role(name)) = self;
        name
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} `{}`", self.kind(), self.name())
    }
}

/// A group whose members may give something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grantor {
    pub of: Target,
    /// The group of the grantors.
    pub by: String,
    /// Whether another person has to approve each time.
    pub with_approval: bool,
}

impl Store {
    /// Every delegation, by what may be given and by the group of the grantors.
    pub async fn grantors(&self) -> Result<Vec<Grantor>, StoreError> {
        let rows: Vec<(String, String, String, bool)> = self.all(sql(GRANTORS)).await?;
        let grantor = |(kind, name, by, with_approval): (String, String, String, bool)| {
            let of = match kind.as_str() {
                "group" => Target::Group(name),
                "role" => Target::Role(name),
                other => return Err(StoreError::Broken(format!("grantors of the kind `{other}`"))),
            };
            Ok(Grantor { of, by, with_approval })
        };
        rows.into_iter().map(grantor).collect()
    }
}

const GRANTORS: &str =
    "SELECT kind, name, grantor_group, with_approval FROM gate_grantors ORDER BY kind, name, grantor_group";
pub(super) const ADD_GRANTOR: &str = "
    INSERT INTO gate_grantors (kind, name, grantor_group, with_approval, added_by, added_at_utc)
    VALUES ($1, $2, $3, $4, $5, $6)";
pub(super) const REMOVE_GRANTOR: &str =
    "DELETE FROM gate_grantors WHERE kind = $1 AND name = $2 AND grantor_group = $3";
