//! `[otlp]`: traces of requests for a collector of OpenTelemetry.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::Millis;
use crate::outbound::Url;

/// Traces. Off without an `endpoint`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// Where the collector takes OTLP over HTTP: `http://127.0.0.1:4318`. A path is used as it is; without one it is
    /// `/v1/traces`.
    pub endpoint: Option<String>,
    pub protocol: OtlpProtocol,
    /// The share of requests that are traced, from 0 to 1. Where a trusted proxy in front has decided, it counts.
    pub sample_ratio: f64,
    /// A file with further header fields for the collector, a `name: value` on each line.
    pub headers_file: Option<PathBuf>,
    /// `service.name` of the spans.
    pub service_name: String,
    /// For one batch.
    pub timeout_ms: Millis,
}

/// The form of OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OtlpProtocol {
    /// Protocol buffers over HTTP.
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

impl Default for Otlp {
    fn default() -> Self {
        Otlp {
            endpoint: None,
            protocol: OtlpProtocol::default(),
            sample_ratio: 1.0,
            headers_file: None,
            service_name: "console-gate".into(),
            timeout_ms: Millis(5_000),
        }
    }
}

impl Otlp {
    /// Where spans go; `None` where they go nowhere.
    ///
    /// # Errors
    ///
    /// The address is invalid: the message states why.
    pub fn url(&self) -> Result<Option<Url>, String> {
        let Some(endpoint) = &self.endpoint else { return Ok(None) };
        let url = Url::parse(endpoint).map_err(|error| format!("`endpoint`: {error}"))?;
        Ok(Some(if url.has_path() { url } else { url.at("/v1/traces") }))
    }

    /// The section's mistakes.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes: Vec<String> = self.url().err().into_iter().collect();
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            mistakes.push(
                "`sample_ratio` must be between 0 and 1: 0.1 traces a tenth of the requests".to_owned(),
            );
        }
        if self.timeout_ms.0 == 0 {
            mistakes.push("`timeout_ms` must be greater than 0".to_owned());
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    fn said(lines: &str) -> String {
        match Settings::parse("gate.toml", &format!("[otlp]\n{lines}\n")) {
            Ok(settings) => format!("{:?}", settings.otlp.url().unwrap()),
            Err(findings) => findings.to_string(),
        }
    }

    #[test]
    fn an_endpoint_without_a_path_is_the_one_of_traces() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "Some(http://127.0.0.1:4318/v1/traces)"),
            ("https://otel.example/", "Some(https://otel.example:443/v1/traces)"),
            ("https://otel.example/in/traces", "Some(https://otel.example:443/in/traces)"),
        ] {
            assert_eq!(said(&format!("endpoint = \"{endpoint}\"")), url);
        }
        assert_eq!(said(""), "None");
    }

    #[test]
    fn mistakes_say_what_and_how_to_mend_it() {
        for (lines, words) in [
            ("sample_ratio = 2.0", "`sample_ratio` must be between 0 and 1"),
            ("sample_ratio = nan", "`sample_ratio` must be between 0 and 1"),
            ("endpoint = \"otel:4317\"", "`endpoint`"),
            ("endpoint = \"http://user:key@otel\"", "without a user name"),
            ("protocol = \"grpc\"", "http/protobuf"),
            ("timeout_ms = 0", "`timeout_ms` must be greater than 0"),
            ("endpont = \"x\"", "endpoint"),
        ] {
            let said = said(lines);
            assert!(said.contains(words) && !said.contains("user:key"), "{lines}: {said}");
        }
    }
}
