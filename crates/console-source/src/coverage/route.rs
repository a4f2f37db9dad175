//! A route of Console, as far as the gate can compare it.

use policy::mapping::matcher::Rule;
use policy::mapping::pattern::{Pattern, PatternKind};
use policy::method::{Method, MethodSet};
use workbench::report::Location;

/// A route of Console, wherever it was learned of.
#[derive(Clone, Debug)]
pub struct ConsoleRoute {
    pub place: Option<Location>,
    /// Its endpoint or view.
    pub name: String,
    pub rule: String,
    /// As Werkzeug has them: with HEAD and OPTIONS where Flask adds them.
    pub methods: MethodSet,
    pub options: RouteOptions,
}

/// What a rule of Werkzeug is declared with, besides its path and its methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOptions {
    /// Whether a missing or superfluous slash at the end matters. If not, or if that is not known, both spellings are
    /// taken to be served.
    pub strict_slashes: bool,
    /// Whether `//` in the rule is `/`.
    pub merge_slashes: bool,
    /// The host or subdomain to which alone it answers.
    pub host: Option<String>,
    pub websocket: bool,
    /// Whether Flask answers OPTIONS by itself, without a view.
    pub automatic_options: bool,
    /// Where Console redirects its requests, or some of them, in words.
    pub redirects: Option<String>,
    /// Converters that are the application's own.
    pub own_converters: Option<OwnConverters>,
    /// Why no request ever meets it.
    pub never_served: Option<String>,
}

/// Converters of which the gate does not know what they match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnConverters {
    /// Their classes.
    pub classes: Vec<String>,
    /// The rule with Werkzeug's converters in their place, which match more.
    pub wider_rule: String,
}

impl Default for RouteOptions {
    /// Werkzeug's and Flask's own defaults.
    fn default() -> RouteOptions {
        RouteOptions {
            strict_slashes: true,
            merge_slashes: true,
            host: None,
            websocket: false,
            automatic_options: true,
            redirects: None,
            own_converters: None,
            never_served: None,
        }
    }
}

impl ConsoleRoute {
    /// The pattern by which it is compared with rows.
    ///
    /// # Errors
    ///
    /// Why no row can be compared with it.
    pub(super) fn pattern(&self) -> Result<Pattern, String> {
        let rule = self.options.own_converters.as_ref().map_or(&self.rule, |own| &own.wider_rule);
        let merged = self.options.merge_slashes.then(|| single_slashes(rule));
        match Pattern::parse(merged.as_ref().unwrap_or(rule)) {
            Ok(pattern) if pattern.kind() == PatternKind::Exact => Ok(pattern),
            Ok(_) => Err("`/*` at the end of a rule is a prefix in a mapping".to_owned()),
            Err(error) => Err(error.problem().to_string()),
        }
    }

    /// The rule as Werkzeug searches it.
    pub(super) fn served(&self, pattern: Pattern) -> Rule {
        let options = MethodSet::EMPTY.with(Method::Options);
        Rule {
            automatic: if self.options.automatic_options { options } else { MethodSet::EMPTY },
            strict_slashes: self.options.strict_slashes,
            merge_slashes: self.options.merge_slashes,
            ..Rule::new(pattern, self.methods)
        }
    }

    /// Whether a view runs for a method that the rule has.
    pub(super) fn runs_view(&self, method: Method) -> bool {
        method != Method::Options || !self.options.automatic_options
    }

    /// Its methods and rule, as findings name it.
    pub(super) fn title(&self, methods: MethodSet) -> String {
        format!("`{methods} {}` of `{}`", self.rule, self.name)
    }
}

/// The methods for which a rule needs a row: not OPTIONS, which every row has, nor HEAD with GET; unless there are no
/// others.
pub fn methods_to_cover(methods: MethodSet) -> MethodSet {
    let follows = |method: &Method| match method {
        Method::Options => true,
        Method::Head => methods.contains(Method::Get),
        _ => false,
    };
    let stated: MethodSet = methods.iter().filter(|method| !follows(method)).collect();
    if stated.is_empty() { methods } else { stated }
}

/// A rule as Werkzeug compiles it: every run of slashes is one.
pub fn single_slashes(rule: &str) -> String {
    let mut merged = String::with_capacity(rule.len());
    for character in rule.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}
