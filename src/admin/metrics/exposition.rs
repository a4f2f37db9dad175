//! The text format of Prometheus, for values read at the time of the scrape.

use std::fmt::{Display, Write as _};

/// The kind of a family of series.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// Families of series, as text.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// A family whose samples are being written.
pub(super) struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. All of its samples follow, before those of another.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.text, name }
    }

    /// A family of one gauge without labels.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (place, (name, text)) in labels.iter().enumerate() {
            self.text.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{name}=\"{}\"", escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}

/// A label's value as the format has it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut exposition = Exposition::default();
        let mut family = exposition.family("gate_x_total", Kind::Counter, "what it is");
        family.sample(&[("route", "GET /a\"b\\c\nd"), ("cluster", "")], 3);
        family.sample(&[], 0.5);
        exposition.gauge("gate_y", "another", 1);
        assert_eq!(
            exposition.into_text(),
            "# HELP gate_x_total what it is\n# TYPE gate_x_total counter\n\
             gate_x_total{route=\"GET /a\\\"b\\\\c\\nd\",cluster=\"\"} 3\ngate_x_total 0.5\n\
             # HELP gate_y another\n# TYPE gate_y gauge\ngate_y 1\n"
        );
    }
}
