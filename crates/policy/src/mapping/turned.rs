//! A cluster in another mode: the file with that one word replaced, and every other byte as it was.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ClusterMode, Mapping, Rollout};
use crate::diagnostic::Diagnostics;

/// Why a cluster cannot be turned by replacing one word.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotTurned {
    #[error("the file has no such cluster")]
    Unknown,
    #[error("the cluster is on {0} already")]
    Already(&'static str),
    /// `groups` and `percent` go with V2 alone, and have comments of their own.
    #[error("the file names a cohort for the cluster (`groups`, `percent`): edit it by hand")]
    Cohort,
    #[error("the file has mistakes: {0}")]
    Unsound(#[from] Diagnostics),
}

/// The file with the cluster in this mode for everyone.
///
/// # Errors
///
/// The file has no such cluster, has it in this mode already, or states more than the mode.
pub fn turned(source: &str, cluster: &str, mode: ClusterMode) -> Result<String, NotTurned> {
    let (document, _) = DeTable::parse_recoverable(source);
    let clusters = document.get_ref().get("clusters").map(Spanned::get_ref);
    let Some(DeValue::Table(clusters)) = clusters else { return Err(NotTurned::Unknown) };
    let value = clusters.get(cluster).ok_or(NotTurned::Unknown)?;
    let word = match value.get_ref() {
        DeValue::Table(table) if table.contains_key("groups") || table.contains_key("percent") => {
            return Err(NotTurned::Cohort);
        }
        DeValue::Table(table) => table.get("mode").ok_or(NotTurned::Unknown)?,
        _ => value,
    };
    let place = word.span();
    let (before, after) = (source.get(..place.start), source.get(place.end..));
    let (before, after) = before.zip(after).ok_or(NotTurned::Unknown)?;
    let quote = if after.len() < source.len() && source[place].starts_with('\'') { '\'' } else { '"' };
    let text = format!("{before}{quote}{}{quote}{after}", mode.as_str());
    let wanted = Rollout::everybody(mode);
    if Mapping::parse("the file", source)?.clusters().get(cluster) == Some(&wanted) {
        return Err(NotTurned::Already(mode.as_str()));
    }
    // Proves that the word was the mode, and that the file is sound with it.
    match Mapping::parse("the turned file", &text)?.clusters().get(cluster) {
        Some(rollout) if *rollout == wanted => Ok(text),
        _ => Err(NotTurned::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_replaced_and_every_other_byte_stays() {
        let rest = "\n[blueprints.b]\ncluster = \"S1\"\n[blueprints.b.routes]\n\"GET /x\" = { legacy = [\"ops\"], role = \"r\" }\n";
        for written in [
            "version = 1\n# why\n[clusters]   # all\nS1   = @\t# first, S1 = \"legacy\" until June",
            "version = 1\r\n[clusters]\r\n  S1 = @ # first\r\n",
            "version = 1\nclusters.S1 = @",
            "version = 1\nclusters = { S1 = @ , S2 = \"v2\" }",
            "version = 1\n[clusters]\nS0 = \"legacy\"\nS1 = { soaked_hours = 1, mode = @, after = [ \"S0\" ] } # order",
            "version = 1\n[clusters.S1]\n# the mode\nmode = @ # now",
        ] {
            let with = |word: &str| written.replace('@', word) + rest;
            for (word, expected) in [("\"legacy\"", "\"shadow\""), ("'legacy'", "'shadow'")] {
                let shadow = turned(&with(word), "S1", ClusterMode::Shadow).expect(written);
                assert_eq!(shadow, with(expected));
                let back = turned(&shadow, "S1", ClusterMode::Legacy).expect(written);
                assert_eq!(back, with(word));
            }
        }
    }

    #[test]
    fn what_states_more_than_a_mode_is_left_to_a_person() {
        let mapping = "version = 1\n[clusters]\nA = \"shadow\"\nB = { mode = \"v2\", groups = [\"g\"] }\n";
        let not = |source: &str, cluster, mode| turned(source, cluster, mode).unwrap_err().to_string();
        for (source, cluster, mode, expected) in [
            (mapping, "A", ClusterMode::Shadow, "the cluster is on shadow already"),
            (mapping, "B", ClusterMode::V2, "the file names a cohort"),
            (mapping, "C", ClusterMode::V2, "the file has no such cluster"),
            ("version = 1", "C", ClusterMode::V2, "the file has no such cluster"),
            ("\u{0}", "C", ClusterMode::V2, "the file has no such cluster"),
            ("[clusters]\nA = \"shadow\"", "A", ClusterMode::V2, "the file has mistakes"),
        ] {
            let said = not(source, cluster, mode);
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
