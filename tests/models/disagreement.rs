//! What a model or a gate says and another does not.

use crate::callers::Caller;
use crate::scenario::Request;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Report {
    /// A gate's answer with the model of access and decisions.
    Gate,
    /// The drift that a gate wrote with the model.
    Drift,
    /// The rest with gates' answers.
    Explain,
    Diff,
    Replay,
    Verify,
    Test,
}

impl Report {
    pub const ALL: [Report; 7] = [
        Report::Gate,
        Report::Drift,
        Report::Explain,
        Report::Diff,
        Report::Replay,
        Report::Verify,
        Report::Test,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Report::Gate => "gate",
            Report::Drift => "drift",
            Report::Explain => "explain",
            Report::Diff => "diff",
            Report::Replay => "replay",
            Report::Verify => "verify",
            Report::Test => "test",
        }
    }
}

/// One disagreement.
#[derive(Clone, Debug)]
pub struct Disagreement {
    pub report: Report,
    /// What sort it is, by which others of its sort are known.
    pub kind: String,
    pub caller: Option<Caller>,
    pub request: Option<Request>,
    /// Both sides, for a person.
    pub message: String,
}

impl Disagreement {
    pub fn new(report: Report, kind: impl Into<String>, message: impl Into<String>) -> Disagreement {
        Disagreement { report, kind: kind.into(), caller: None, request: None, message: message.into() }
    }

    #[must_use]
    pub fn by(mut self, caller: &Caller) -> Disagreement {
        self.caller = Some(caller.clone());
        self
    }

    #[must_use]
    pub fn at(mut self, request: &Request) -> Disagreement {
        self.request = Some(request.clone());
        self
    }

    pub fn is_like(&self, other: &Disagreement) -> bool {
        self.report == other.report && self.kind == other.kind
    }
}
