//! What a rule is declared with besides its path and its methods.
//!
//! Source: `werkzeug.routing.Rule` 3.1 and `flask.sansio.app.App.add_url_rule` 3.1.

use super::call::Arguments;
use super::scope::{At, World};
use super::value::Value;
use super::{MayGate, RuleOptions, Unreadable};

/// Arguments of `add_url_rule` that are read elsewhere, or change nothing about who gets to which view.
const OTHERS: [&str; 6] =
    ["rule", "endpoint", "view_func", "methods", "defaults", "provide_automatic_options"];
/// Arguments of `Rule`.
const KNOWN: [&str; 8] = [
    "strict_slashes",
    "merge_slashes",
    "host",
    "subdomain",
    "websocket",
    "build_only",
    "alias",
    "redirect_to",
];

impl Default for RuleOptions {
    /// Werkzeug's own defaults.
    fn default() -> RuleOptions {
        RuleOptions {
            strict_slashes: Some(true),
            merge_slashes: true,
            host: None,
            websocket: false,
            build_only: false,
            redirects: None,
        }
    }
}

/// Reads the options. `strict_slashes` is what the application has as its default.
///
/// # Errors
///
/// An option that decides whether and where the rule is served, and that the running program alone knows.
pub(super) fn options<'t>(
    world: &World<'t>,
    arguments: &Arguments<'t>,
    strict_slashes: Option<bool>,
) -> Result<RuleOptions, Unreadable> {
    let switch = |name: &str| {
        let value = arguments.keyword(name).map(|value| world.evaluate(value));
        match value {
            None | Some(Some(Value::Nothing)) => Ok(None),
            Some(Some(Value::Truth(truth))) => Ok(Some(truth)),
            Some(_) => Err(format!("its `{name}` is only known at run time")),
        }
    };
    let text = |name: &str| match world.text_argument(arguments.keyword(name)) {
        Ok(text) => text,
        Err(()) => Some(format!("a {name} that is only known at run time")),
    };
    let redirects = match arguments.keyword("redirect_to").map(|target| (target, world.evaluate(target))) {
        None | Some((_, Some(Value::Nothing))) => None,
        Some((_, Some(Value::Text(target)))) => Some(format!("to `{target}`")),
        Some((target, _)) => {
            Some(format!("to the result of `{}`", super::inline::one_line(world.text(target))))
        }
    };
    let alias = switch("alias")?.unwrap_or(false).then(|| "to the rule that it aliases".to_owned());
    Ok(RuleOptions {
        strict_slashes: switch("strict_slashes").map_or(None, |own| own.or(strict_slashes)),
        merge_slashes: switch("merge_slashes")?.unwrap_or(true),
        host: text("host").or_else(|| text("subdomain")),
        websocket: switch("websocket")?.unwrap_or(false),
        build_only: switch("build_only")?.unwrap_or(false),
        redirects: redirects.or(alias),
    })
}

/// Options that neither Flask nor Werkzeug has: an extension reads them, and they may say who passes.
pub(super) fn foreign<'t>(world: &World<'t>, call: At<'t>, arguments: &Arguments<'t>) -> Vec<MayGate> {
    let is_foreign = |name: &&str| !OTHERS.contains(name) && !KNOWN.contains(name);
    let names = arguments.keywords.iter().map(|(name, _)| *name).filter(is_foreign);
    names
        .map(|name| MayGate {
            place: world.place(call),
            what: format!("`{name}`"),
            reason: "it is not an option of Flask".to_owned(),
        })
        .collect()
}
