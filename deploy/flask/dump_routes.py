"""Write the routes of a Flask app as JSON, for `console-gate coverage --flask-routes FILE`.

    python dump_routes.py APP > routes.json
    python dump_routes.py APP --output routes.json

APP is what gunicorn and `flask --app` take: `package.module`, `package.module:app`, `package.module:create_app`,
`package.module:create_app("production", debug=False)`, `package.module:holder.app`, `path/to/file.py:app`. Without APP
the environment's FLASK_APP is used. Run it with the Python and in the folder in which the app itself runs; it needs
nothing but Flask. The app is imported (and its factory called), no request is made.

Exit status: 0, or 2 where the app cannot be found or loaded. What the app prints goes to the error stream.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import sys
import traceback
import types
from typing import Any, Iterator

VERSION = 2
# Layers around an app that serve no path and change none.
TRANSPARENT = {"ProxyFix", "ProfilerMiddleware", "LintMiddleware", "ConsoleGateMiddleware"}
# What decides which view runs. A class that has its own of these may decide otherwise than Flask and Werkzeug do.
ROUTING = {
    "Flask": ("wsgi_app", "full_dispatch_request", "dispatch_request", "preprocess_request", "create_url_adapter"),
    "Map": ("bind", "bind_to_environ", "add", "update"),
    "Rule": ("bind", "compile", "get_converter", "get_rules", "refresh"),
}
VARIABLE = re.compile(r"<(?:(?P<converter>[a-zA-Z_][a-zA-Z0-9_]*)(?:\(.*?\))?:)?(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)>")
MAX_LAYERS = 20


class Failure(Exception):
    """What is wrong, and what to do about it, as the operator reads it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("app", metavar="APP", nargs="?", default=os.environ.get("FLASK_APP"))
    parser.add_argument("--output", metavar="FILE", help="the file to write, instead of the output")
    parser.add_argument("--mount", metavar="PATH", default="", help="the path below which the server mounts the app (SCRIPT_NAME)")
    arguments = parser.parse_args()
    try:
        if not arguments.app:
            raise Failure("no app is named: write `dump_routes.py package.module:app`, or set FLASK_APP")
        # An app that prints while it is loaded must not end up in the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            text = json.dumps(Dump(load(arguments.app), arguments.mount.rstrip("/")).document(), indent=2) + "\n"
        if arguments.output:
            with open(arguments.output, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            sys.stdout.write(text)
    except (Failure, OSError) as failure:
        print(f"dump_routes: {failure}", file=sys.stderr)
        return 2
    return 0


# Finding the app


def load(name: str) -> Any:
    """The WSGI application that `name` names."""
    module_name, _, expression = name.partition(":")
    module = import_module(module_name)
    if expression:
        return application(evaluate(module, expression), name)
    found = [getattr(module, known) for known in ("app", "application") if hasattr(module, known)]
    found = found or [value for value in vars(module).values() if isinstance(value, flask().Flask)]
    found = found or [getattr(module, known) for known in ("create_app", "make_app") if hasattr(module, known)]
    if not found:
        raise Failure(f"`{module_name}` has no `app` and no `create_app`: write `{module_name}:NAME`")
    return application(found[0], name)


def flask() -> Any:
    try:
        return importlib.import_module("flask")
    except ImportError as error:
        raise Failure(
            f"Flask cannot be imported by {sys.executable} ({error}): run this with the Python that runs the app"
        ) from None


def routing() -> Any:
    return importlib.import_module("werkzeug.routing")


def import_module(name: str) -> types.ModuleType:
    sys.path.insert(0, os.getcwd())
    if name.endswith(".py") or os.sep in name:
        name = module_of_file(name)
    flask()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise Failure(
                f"there is no module `{name}`: run this in the folder in which the app is started (now {os.getcwd()})"
            ) from None
        raise broken(f"importing `{name}` fails") from error
    except Exception as error:
        raise broken(f"importing `{name}` fails") from error


def module_of_file(path: str) -> str:
    """The module of a file, whose package's folder is put on the path, as `flask --app` does."""
    if not os.path.exists(path):
        raise Failure(f"there is no file `{path}` in {os.getcwd()}")
    folder, file = os.path.split(os.path.realpath(path))
    words = [file[:-3] if file.endswith(".py") else file]
    if words == ["__init__"]:
        words = []
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        words.insert(0, package)
    sys.path.insert(0, folder)
    return ".".join(words)


def broken(what: str) -> Failure:
    traceback.print_exc(file=sys.stderr)
    return Failure(f"{what}, as shown above: load the app by hand with the same Python and environment")


def evaluate(module: types.ModuleType, expression: str) -> Any:
    """`app`, `holder.app`, `create_app("production")`: names and literals, nothing else."""
    wrong = Failure(f"`{expression}` is neither a name nor a call with literal arguments, such as `create_app(debug=True)`")
    try:
        parsed = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        raise wrong from None
    if not isinstance(parsed, ast.Call):
        return attribute(module, parsed, wrong)
    factory = attribute(module, parsed.func, wrong)
    try:
        positional = [ast.literal_eval(argument) for argument in parsed.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in parsed.keywords if keyword.arg}
    except ValueError:
        raise wrong from None
    if len(named) != len(parsed.keywords):
        raise wrong
    return called(factory, expression, *positional, **named)


def attribute(module: types.ModuleType, node: ast.expr, wrong: Failure) -> Any:
    if isinstance(node, ast.Name):
        holder, name = module, node.id
    elif isinstance(node, ast.Attribute):
        holder, name = attribute(module, node.value, wrong), node.attr
    else:
        raise wrong
    try:
        return getattr(holder, name)
    except AttributeError:
        raise Failure(f"`{getattr(holder, '__name__', type(holder).__name__)}` has no `{name}`: correct the name") from None


def called(factory: Any, name: str, *positional: Any, **named: Any) -> Any:
    if not callable(factory) or isinstance(factory, flask().Flask):
        raise Failure(f"`{name}` cannot be called: name the app itself, without brackets")
    if not accepts(factory, *positional, **named):
        raise Failure(
            f"`{name}` does not take these arguments, its signature is {signature(factory)}: write them, as in"
            ' `module:create_app("production")`'
        )
    try:
        return factory(*positional, **named)
    except Exception as error:
        raise broken(f"calling `{name}` fails") from error


def signature(function: Any) -> Any:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def accepts(function: Any, *positional: Any, **named: Any) -> bool:
    known = signature(function)
    if known is None:
        return True
    try:
        known.bind(*positional, **named)
    except TypeError:
        return False
    return True


def application(found: Any, name: str) -> Any:
    """`found`, if it is an application; what it makes, if it is a factory."""
    is_factory = inspect.isroutine(found) or inspect.isclass(found)
    if is_factory and not isinstance(getattr(found, "__self__", None), flask().Flask) and not accepts(found, {}, print):
        found = called(found, name)
    elif is_factory and accepts(found):
        found = called(found, name)
    if not callable(found):
        raise Failure(f"`{name}` is no application but of type `{type(found).__name__}`: name the app, or what makes it")
    return found


# Reading it


class Dump:
    """The rules of an application, of what is mounted in it, and what of its paths is not known."""

    def __init__(self, found: Any, mount: str = "") -> None:
        self.rules: list[dict[str, Any]] = []
        self.unlisted: list[str] = []
        self.has_order = True
        self.apps: list[Any] = []
        self.mount = mount
        self.walk(found, mount, None)
        if not self.apps:
            name = getattr(found, "__qualname__", type(found).__qualname__)
            raise Failure(
                f"no Flask app is seen in `{name}`: name the Flask app itself; a factory with its arguments, as in"
                ' `module:create_app("production")`'
            )
        self.mark_shadowed()

    def document(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "flask": installed("flask"),
            "werkzeug": installed("werkzeug"),
            "order": "search" if self.has_order else "unknown",
            "rules": [{key: value for key, value in rule.items() if key != "mount"} for rule in self.rules],
            "unlisted": self.unlisted,
        }

    def walk(self, layer: Any, mount: str, within: Any) -> None:
        """Goes from the outermost layer to the Flask app. `within` is the Flask app whose own layers these are."""
        for _ in range(MAX_LAYERS):
            if is_dispatcher(layer):
                for prefix, mounted in layer.mounts.items():
                    self.walk(mounted, mount + prefix, None)
                layer = layer.app
                continue
            app = layer if isinstance(layer, flask().Flask) else bound_to(layer)
            if app is None:
                inner = inner_layer(layer)
                if inner is None:
                    return self.opaque(layer, mount)
                self.note_layer(layer, mount)
                layer = inner
                continue
            if app is within:
                return None
            self.flask_app(app, mount)
            own = vars(app).get("wsgi_app")
            if layer is not app or own is None or bound_to(own) is app:
                return None
            layer, within = own, app
        return self.opaque(layer, mount)

    def note_layer(self, layer: Any, mount: str) -> None:
        name = type(layer).__name__ if not inspect.isroutine(layer) else layer.__qualname__
        if name not in TRANSPARENT:
            self.unlisted.append(f"`{name}` goes around the app{at(mount)}: paths that it serves or changes are not listed")

    def opaque(self, layer: Any, mount: str) -> None:
        """A mounted application that is no Flask app: whatever is below its place is its own."""
        name = getattr(layer, "__qualname__", type(layer).__qualname__)
        if mount == self.mount:
            self.unlisted.append(f"`{name}` is no Flask app: which paths it serves is not known")
            return
        rule = {"endpoint": name, "methods": None, "merge_slashes": True, "host": None, "websocket": False}
        rule.update(automatic_options=False, redirects=None, converters={}, wider_rule=None, never_served=None, mount=mount)
        self.rules.append({"rule": mount, "strict_slashes": False, **rule})
        self.rules.append({"rule": f"{mount}/<path:below>", "strict_slashes": True, **rule})

    def flask_app(self, app: Any, mount: str) -> None:
        self.apps.append(app)
        root = app.config["APPLICATION_ROOT"]
        if not self.mount and root != "/":
            self.unlisted.append(f"APPLICATION_ROOT is `{root}`: if the server mounts the app there, list it with `--mount {root}`")
        for kind, value in (("Flask", app), ("Map", app.url_map)):
            self.own_routing(kind, value)
        rules, known = in_search_order(app.url_map)
        self.has_order = self.has_order and known
        for kind in {type(rule): rule for rule in rules}.values():
            self.own_routing("Rule", kind)
        self.rules.extend(described(app, rule, mount) for rule in rules)

    def own_routing(self, kind: str, value: Any) -> None:
        for base in type(value).__mro__:
            if base.__module__.split(".")[0] in ("flask", "werkzeug"):
                break
            for name in ROUTING[kind]:
                if name in vars(base):
                    self.unlisted.append(
                        f"`{base.__qualname__}.{name}` is the app's own: which view a request runs may differ from this list"
                    )

    def mark_shadowed(self) -> None:
        """What is mounted below a path takes every request there, whatever rules the outer app has."""
        mounts = {rule["mount"] for rule in self.rules}
        for rule in self.rules:
            start = rule["rule"].split("<")[0]
            for mount in mounts:
                deeper = mount.startswith(rule["mount"]) and mount != rule["mount"]
                if deeper and (start + "/").startswith(mount + "/") and rule["never_served"] is None:
                    rule["never_served"] = f"another app is mounted at `{mount}`"


def at(mount: str) -> str:
    return f" at `{mount}`" if mount else ""


def installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def is_dispatcher(layer: Any) -> bool:
    return type(layer).__name__ == "DispatcherMiddleware" and isinstance(getattr(layer, "mounts", None), dict)


def bound_to(layer: Any) -> Any:
    """The Flask app whose method `layer` is."""
    owner = getattr(layer, "__self__", None)
    return owner if isinstance(owner, flask().Flask) else None


def inner_layer(layer: Any) -> Any:
    """The application within a middleware: an attribute, or what its function closes over."""
    inner = list(vars(layer).values()) if hasattr(layer, "__dict__") and not inspect.isroutine(layer) else []
    for cell in getattr(layer, "__closure__", None) or ():
        with contextlib.suppress(ValueError):
            inner.append(cell.cell_contents)
    inner = [value for value in inner if callable(value) and not inspect.isclass(value)]
    is_app = [value for value in inner if isinstance(value, flask().Flask) or bound_to(value) or is_dispatcher(value)]
    deeper = [value for value in inner if accepts(value, {}, print) and not is_app]
    return next(iter(is_app + deeper), None)


def in_search_order(url_map: Any) -> tuple[list[Any], bool]:
    """The rules in the order in which a request meets them, and whether that is known.

    `iter_rules` sorts them by endpoint. Of two rules that match the same request the one that was added first runs, and
    only the matcher remembers which one that is.
    """
    listed = list(url_map.iter_rules())
    try:
        searched = list(search(url_map._matcher._root))  # noqa: SLF001
    except AttributeError:
        return listed, False
    seen = {id(rule) for rule in searched}
    return searched + [rule for rule in listed if id(rule) not in seen], True


def search(state: Any) -> Iterator[Any]:
    yield from state.rules
    for following in state.static.values():
        yield from search(following)
    for _, following in state.dynamic:
        yield from search(following)


def described(app: Any, rule: Any, mount: str) -> dict[str, Any]:
    host, never_served = domain(app, rule)
    converters, wider = own_converters(app, rule)
    return {
        "rule": mount + rule.rule,
        "endpoint": str(rule.endpoint),
        "methods": None if rule.methods is None else sorted(rule.methods),
        "strict_slashes": bool(rule.strict_slashes),
        "merge_slashes": bool(rule.merge_slashes),
        "host": host,
        "websocket": bool(getattr(rule, "websocket", False)),
        "automatic_options": bool(getattr(rule, "provide_automatic_options", False)),
        "redirects": redirects(app, rule),
        "converters": converters,
        "wider_rule": mount + wider if converters else None,
        "never_served": "it is `build_only`" if rule.build_only else never_served,
        "mount": mount,
    }


def domain(app: Any, rule: Any) -> tuple[Any, Any]:
    """The host or subdomain to which a rule is confined, and why no request has it."""
    if app.url_map.host_matching:
        return (rule.host, None) if rule.host else (None, "hosts are matched, and it names none")
    subdomain, usual = rule.subdomain or "", app.url_map.default_subdomain or ""
    if subdomain == usual:
        return None, None
    if getattr(app, "subdomain_matching", False):
        return subdomain or "(no subdomain)", None
    if "<" in subdomain and usual:
        return subdomain, None
    return subdomain or "(no subdomain)", f"it is for the subdomain `{subdomain}`, and the app has no `subdomain_matching`"


def redirects(app: Any, rule: Any) -> Any:
    """Where a request for the rule is redirected to by the rule itself, in words."""
    if rule.redirect_to is not None:
        target = rule.redirect_to
        return f"to `{target}`" if isinstance(target, str) else f"to what `{getattr(target, '__name__', target)}` returns"
    if not app.url_map.redirect_defaults:
        return None
    if rule.alias:
        return "to the rule that it aliases"
    for other in app.url_map.iter_rules(rule.endpoint):
        if other is rule:
            break
        if other.provides_defaults_for(rule):
            values = ", ".join(f"{name} is {value!r}" for name, value in other.defaults.items())
            return f"to `{other.rule}` where {values}"
    return None


def own_converters(app: Any, rule: Any) -> tuple[dict[str, str], str]:
    """The classes of the converters that are not Werkzeug's own, by variable, and the rule with Werkzeug's in their
    place: with those that match anything."""
    usual = routing().Map.default_converters
    found = {}

    def wider(variable: re.Match[str]) -> str:
        name = variable["converter"] or "default"
        kind = app.url_map.converters.get(name)
        if kind is None or usual.get(name) is kind:
            return variable[0]
        found[variable["name"]] = kind.__name__
        one_segment = getattr(kind, "part_isolating", "/" not in getattr(kind, "regex", ""))
        return f"<{variable['name']}>" if one_segment else f"<path:{variable['name']}>"

    return found, VARIABLE.sub(wider, rule.rule)


if __name__ == "__main__":
    sys.exit(main())
