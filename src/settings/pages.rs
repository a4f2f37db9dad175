//! `[pages]`: where the gate's own pages lead a person.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pages {
    /// Console's home page.
    pub home_path: String,
    /// Where Console ends a session by GET; without it, no page offers to log in as another admin.
    pub logout_path: Option<String>,
}

impl Default for Pages {
    fn default() -> Self {
        Pages { home_path: "/".into(), logout_path: None }
    }
}

impl Pages {
    /// The section's mistakes.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let paths = [("home_path", Some(&self.home_path)), ("logout_path", self.logout_path.as_ref())];
        let mistake = |(key, path): (&str, Option<&String>)| {
            let path = path?;
            let is_path = path.starts_with('/')
                && !path.starts_with("//")
                && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
            (!is_path).then(|| format!("`{key}` must be a path that begins with one `/`, not `{path}`"))
        };
        paths.into_iter().filter_map(mistake).collect()
    }
}
