//! `[log]`: what the log has besides what an operator has to know.

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A line for each request.
    pub access: bool,
}
