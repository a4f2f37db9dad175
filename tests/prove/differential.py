"""Holds the gate's URL matcher against Werkzeug's own, on random tables of rules.

    python differential.py --matcher path/to/route_table [--pairs 1000000] [--seed 1] [--app app.py --corpus corpus.jsonl]

For every table, in the order of its rules:

- each pattern that the gate accepts, Werkzeug accepts;
- each (path, method) has the same outcome: rule and values, redirect and its target, allowed methods, not found;
- each target as on the wire, in any spelling, is refused for a reason that is there, or gunicorn reads the same path and
  query from it and Werkzeug, bound to that WSGI environment, comes to the same outcome.

And across orders: when the gate reports no overlap, shuffling the rules never changes what Werkzeug answers
(405 and 404 count as one, both are refusals; automatic OPTIONS run no view). When it reports one, its example must be a path that both rules
answer.

And for random Cookie fields: what goes to Console once a session is settled has that session and no other, to Werkzeug
and to Django, and every session that Werkzeug reads in the client's field is one of those that the gate judges.

Exit status 0: no disagreement. 1: the first disagreements are printed. Needs werkzeug 3.1, gunicorn and django; `--app`
needs flask.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import random
import re
import subprocess
import sys
import time
from urllib.parse import quote, unquote, unquote_to_bytes

import werkzeug.routing.matcher as werkzeug_matcher
from django.http.cookie import parse_cookie as django_cookies
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Request

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
UUID = "0b1c2d3e-4f50-6172-8394-A5b6c7d8e9f0"
# Values at the limits of Python's numbers. They have a table of their own, as Python's regexes take forever to find out
# that such a text does not fit a part with three converters.
EXTREME_TABLE = [["/i/<int:n>", ["GET"], True, True, []], ["/m/<int(max=9):n>", ["GET"], True, True, []]]
EXTREME_TABLE += [["/f/<float:n>", ["GET"], True, True, []], ["/g/<float(max=9):n>", ["GET"], True, True, []]]
EXTREME_TABLE += [["/s/<int(signed=True, fixed_digits=4301):n>", ["GET"], True, True, []]]
EXTREME_NUMBERS = ["7" * 4300, "7" * 4301, "0" * 4301, "-" + "7" * 4300, "-" + "7" * 4301, "٤" * 4301, "9" * 320]
EXTREME_NUMBERS += ["9" * 320 + ".0", "0" * 400 + "1." + "0" * 400, "9.0" + "0" * 5000 + "1", "18446744073709551616"]
LITERALS = ["a", "b", "ab", "edit", "v1", "x.y", "é", "list", "a b", "(c)", "+", "a-b", "~", "$1", "v", "12", "7"]
GLUE = ["-", ".", "_", "v", "a", "ab", ":", "é", "--", "x.", "1"]
SAMPLES = {
    "string": ["a", "b", "ab", "abc", "abcd", "v1", "12", "é", "日本", "a-b", "a.b", "x" * 9, "daily", UUID],
    "int": ["0", "1", "5", "7", "12", "0012", "-3", "-0", "٤", "१२", "𝟝", "²", "12a", "4300", "99999999999999999999"],
    "float": ["1.5", "0.0", "-2.5", "1.", ".5", "٤.٥", "10.0", "00.10", "1.5e3"],
    "path": ["a", "a/b", "a/b/c", "a//b", "a/", "/a", "12/x", "a\nb", "\na", "é/b"],
    "uuid": [UUID, UUID.lower(), UUID[:-1], UUID + "0", UUID.replace("-", ""), UUID[:-1] + "g"],
    "any": ["daily", "weekly", "a", "b", "ab", "foo,bar", "x.y", "dailyweekly"],
}


# What clients write into a path, and what attackers do; queries.
WIRE_PIECES = ["%2F", "%2f", "%5C", "\\", "%25", "%252F", "%2573", "%2E", "%2e%2e", ".", "..", "/", "/..", "%C2%A0", "%E2%80%AF"]
WIRE_PIECES += ["%E3%80%80", "%E2%80%8D", "%e2%80%8c", "%D9%A4", "%e0%a5%a7", "%F0%9D%9F%9D", "%F0%91%A5%90", "%F0%91%BD%90"]
WIRE_PIECES += ["%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9", "%E2%80%AE", "%EF%BF%BE", "%C3", "%FF", "%00", "%0A", "%7f", "%", "%zz", "%%32F"]
WIRE_PIECES += [";x", "..;", "%3B", "[", "]", "{", "}", "|", "^", "`", '"', "<", ">", "%3F", "%23", "#", "?", "~", "%7E", "%41", "%2d"]
WIRE_QUERIES = ["", "", "", "?", "?a=b", "?a[]={}|^`\\;\"<>", "?%&%2&%zz", "?//..%2F%00?c", "?a#b", "?/../x"]
# Reasons of the firewall that concern a target, each with whether it is there: the raw path, the bytes that it decodes to,
# and these as text (None: they are no UTF-8).
TARGET_REASONS = {
    "target_too_long": lambda raw, decoded, text: len(raw) > 8_000,
    "target_character": lambda raw, decoded, text: re.search(r"[^\x21-\x7e]|#", raw),
    "malformed_escape": lambda raw, decoded, text: re.search(r"%(?![0-9A-Fa-f]{2})", raw),
    "forbidden_escape": lambda raw, decoded, text: re.search(rb"[\x00-\x1f\x7f]", decoded),
    "empty_segment": lambda raw, decoded, text: re.search(rb"/(/|;)", decoded),
    "dot_segment": lambda raw, decoded, text: re.search(rb"[/\\]\.\.?([/\\;]|\Z)", decoded),
    "invalid_utf8": lambda raw, decoded, text: text is None,
    "forbidden_character": lambda raw, decoded, text: text is None or re.search("[\x80-\x9f\U00011950\U00011f50\u202e\ufffe]", text),
}


class Traced:
    """Remembers the rule for which Werkzeug raised a redirect; the exceptions themselves do not say which."""

    rule = None


class TracedSlashRequired(werkzeug_matcher.SlashRequired):
    def __init__(self):
        Traced.rule = sys._getframe(1).f_locals["rule"]


class TracedRequestPath(werkzeug_matcher.RequestPath):
    def __init__(self, path_info):
        found = sys._getframe(1).f_locals.get("rv")
        if found is not None:
            Traced.rule = found[0]
        super().__init__(path_info)


werkzeug_matcher.SlashRequired = TracedSlashRequired
werkzeug_matcher.RequestPath = TracedRequestPath


# Generating tables


def converter(random_: random.Random) -> tuple[str, str]:
    """A converter as written in a rule, without the name, and the kind of sample that fits it."""
    pick = random_.choice
    kind = pick(["none", "string", "int", "int", "float", "path", "path", "uuid", "any", "any"])
    if kind == "none":
        return "", "string"
    if kind == "string":
        written = pick(
            ["string", "default", "string(length=2)", "string(minlength=2)", "string(maxlength=3)", "string(2, 4)"]
            + ["string(minlength=2,maxlength=2)", "string( length = 3 )", "string(length=1,maxlength=9)", "string()"]
        )
    elif kind == "int":
        written = pick(
            ["int", "int", "int(signed=True)", "int(min=5)", "int(max=7)", "int(min=1,max=12)", "int(fixed_digits=4)"]
            + ["int(fixed_digits=2, signed=True)", "int(2)", "int(0, 3, 9)", "int(signed=False)", "int(max=0,signed=True)"]
        )
    elif kind == "float":
        written = pick(["float", "float(signed=True)", "float(min=1.5)", "float(max=5)", "float(min=.5, max=10.)"])
    elif kind == "any":
        items = random_.sample(["daily", "weekly", "a", "b", "ab", '"foo,bar"', "'x.y'", "x.y", '"é"', '"1"'], pick([1, 2, 3]))
        written = f"any({pick([',', ', ', ' , ']).join(items)})"
    else:
        written = kind
    return written, kind


def segment(random_: random.Random, names: list[str]) -> tuple[str, list]:
    """A segment of a pattern and the recipe for a path segment: literals, and lists that hold a kind or samples."""
    if random_.random() < 0.45:
        literal = random_.choice(LITERALS)
        return literal, [literal]
    pattern, recipe = "", []
    for index in range(random_.choice([1, 1, 1, 1, 2, 2, 3])):
        if index > 0 and random_.random() < 0.8 or index == 0 and random_.random() < 0.2:
            glue = random_.choice(GLUE)
            pattern, recipe = pattern + glue, recipe + [glue]
        written, kind = converter(random_)
        name = f"n{len(names)}"
        names.append(name)
        pattern += f"<{written}:{name}>" if written else f"<{name}>"
        recipe = recipe + [[kind]]
    if random_.random() < 0.2:
        glue = random_.choice(GLUE)
        pattern, recipe = pattern + glue, recipe + [glue]
    return pattern, recipe


def table(random_: random.Random) -> tuple[list, list]:
    """Rules that share stems, and the recipes for their paths."""
    pool = [segment(random_, [f"p{i}"]) for i in range(random_.choice([3, 5, 8]))]
    rules, recipes = [], []
    for _ in range(random_.choice([1, 2, 3, 5, 8, 14])):
        names, segments = [], []
        for _ in range(random_.choice([0, 1, 1, 2, 2, 3, 4])):
            segments.append(random_.choice(pool) if random_.random() < 0.7 else segment(random_, names))
        pattern = "/" + "/".join(text for text, _ in segments)
        if segments and random_.random() < 0.35:
            pattern += "/"
        pattern = rename(pattern)
        methods = set(random_.sample(METHODS, random_.choice([1, 1, 2, 3, 7])))
        rules.append([pattern, served(methods), random_.random() < 0.8, random_.random() < 0.85, []])
        recipes.append([recipe for _, recipe in segments])
    return rules, recipes


def siblings(random_: random.Random) -> tuple[list, list]:
    """Few rules that differ in parts of about the same weight, all for one method: where order may come to matter."""

    def part() -> tuple[str, list]:
        kind = random_.random()
        if kind < 0.45:
            items = random_.sample(["a", "b", "ab", "daily"], random_.choice([1, 2, 2, 3]))
            return f"<any({', '.join(items)}):v>", [items]
        if kind < 0.6:
            written = random_.choice(["string(length=1)", "string(maxlength=2)", "string(minlength=2)", "string"])
            return f"<{written}:v>", [["a", "b", "ab", "é"]]
        if kind < 0.7:
            return random_.choice([("<int:v>", [["1", "12"]]), ("<float:v>", [["1.5"]]), ("<int(signed=True):v>", [["1", "-1"]])])
        glue = random_.choice(["a", "é", "ab", "--", "éa"])
        return random_.choice([(f"{glue}<v>", [glue, ["a", "é", "ab"]]), (f"<v>{glue}", [["a", "é", "ab"], glue])])

    def tail() -> tuple[str, list]:
        if random_.random() < 0.4:
            literal = random_.choice(["a", "b", "ab"])
            return literal, [literal]
        if random_.random() < 0.3:
            return "<path:v>", [["a", "b", "a/b", "b/ab"]]
        return part()

    rules, recipes = [], []
    for _ in range(random_.choice([2, 2, 2, 3, 4])):
        segments = [part()] + [tail() for _ in range(random_.choice([0, 1, 1, 2, 3]))]
        pattern = "/" + "/".join(text for text, _ in segments) + random_.choice(["", "", "/"])
        rules.append([rename(pattern), ["GET", "HEAD"], random_.random() < 0.8, random_.random() < 0.9, []])
        recipes.append([recipe for _, recipe in segments])
    return rules, recipes


def rename(pattern: str) -> str:
    """Gives every variable a name of its own; segments from the pool may occur more than once."""
    pieces, count = [], 0
    for piece in pattern.split(">"):
        if "<" in piece:
            start = max(piece.rfind(":"), piece.rfind("<")) + 1
            piece, count = f"{piece[:start]}v{count}", count + 1
        pieces.append(piece)
    return ">".join(pieces)


def served(methods: set[str]) -> list[str]:
    """Werkzeug adds HEAD to GET by itself."""
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def path(random_: random.Random, recipes: list) -> str:
    """A path near one of the rules."""
    if recipes and random_.random() < 0.97:
        segments = [instance(random_, recipe) for recipe in random_.choice(recipes)]
    else:
        segments = [random_.choice(LITERALS) for _ in range(random_.choice([0, 1, 2, 3]))]
    for _ in range(random_.choice([0, 0, 0, 0, 1, 2])):
        at = random_.randrange(len(segments) + 1)
        change = random_.random()
        if change < 0.25:
            segments.insert(at, random_.choice(LITERALS + SAMPLES["string"] + [""]))
        elif change < 0.4 and segments:
            segments.pop(at - 1)
        elif change < 0.7 and segments:
            segments[at - 1] = random_.choice(random_.choice(list(SAMPLES.values())) + LITERALS)
        elif segments:
            text = segments[at - 1]
            cut = random_.randrange(len(text) + 1)
            segments[at - 1] = text[:cut] + random_.choice("/a-.1é\n") + text[cut:]
    text = "/" + "/".join(segments)
    ending = random_.random()
    if ending < 0.3:
        text += "/"
    elif ending < 0.33:
        text += "//"
    elif ending < 0.34:
        text = "/" + text
    elif ending < 0.345:
        text = ""
    return text


def instance(random_: random.Random, recipe: list) -> str:
    def piece(item) -> str:
        if isinstance(item, str):
            return item
        if item[0] not in SAMPLES:
            return random_.choice(item)
        kind = item[0] if random_.random() < 0.9 else random_.choice(list(SAMPLES))
        return random_.choice(SAMPLES[kind])

    return "".join(piece(item) for item in recipe)


def garbled(random_: random.Random) -> tuple[list, list]:
    """One rule whose text was damaged: whatever the gate still accepts, it must read as Werkzeug does."""
    names: list[str] = []
    segments = [segment(random_, names) for _ in range(random_.choice([1, 2]))]
    pattern = "/" + "/".join(text for text, _ in segments)
    alphabet = "<>()=:,\"'/ .-_%*15aTé\t" + "int"
    for _ in range(random_.choice([1, 1, 2, 3])):
        at = random_.randrange(1, len(pattern) + 1)
        if random_.random() < 0.5:
            pattern = pattern[:at] + random_.choice(alphabet) + pattern[at:]
        else:
            pattern = pattern[:at] + pattern[at + 1 :]
    if pattern.endswith("/*"):
        # A prefix, which Werkzeug does not know.
        pattern = pattern[:-2]
    return [[pattern, ["GET", "HEAD"], True, True, []]], [[recipe for _, recipe in segments]]


def wire(random_: random.Random, text: str) -> str:
    """A target on the wire whose path is near `text`, each byte in one of its spellings."""
    spelled = ["/"]
    for byte in text.removeprefix("/").encode():
        raw, choice = chr(byte), random_.random()
        if raw in "/" and choice < 0.97 or 0x21 <= byte <= 0x7E and raw not in "#?%" and choice < 0.85:
            spelled.append(raw)
        else:
            spelled.append(f"%{byte:02X}" if random_.random() < 0.5 else f"%{byte:02x}")
    for _ in range(random_.choice([0, 0, 1, 1, 2])):
        spelled.insert(random_.randrange(1, len(spelled) + 1), random_.choice(WIRE_PIECES))
    return "".join(spelled) + random_.choice(WIRE_QUERIES)


def cookies(random_: random.Random) -> str:
    """A Cookie field, each character a byte."""
    pieces = ["session", "session", "=", "=", ";", "; ", "x", "y.z", '"', '\\"', "\\056", " ", "a", "caf\xe9", "\xc2\xa0", "\xa0", "\x85"]
    pieces += ["session=x", "session=y", "; session=z", '"q"', "$Version=1", ",", "{}", "\xff", "\t"]
    if random_.random() < 0.5:
        whole = ["session=x", "session=y", 'session="q"', "a=b", 'c="d', 'e"', "session", 'f="', "session=x ", "\xa0session=z", 'g="h"']
        return random_.choice(["; ", ";"]).join(random_.choice(whole) for _ in range(random_.randrange(6))).strip(" \t")
    return "".join(random_.choice(pieces) for _ in range(random_.randrange(12))).strip(" \t")


# Asking both


class Gate:
    """The gate's matcher in a process of its own."""

    def __init__(self, program: str):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **question) -> dict | list:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Gunicorn:
    """gunicorn's own parser, up to the WSGI environment."""

    def __init__(self) -> None:
        self.configuration = Config()
        self.configuration.set("limit_request_line", 0)

    def environ(self, method: str, target: str) -> dict:
        head = f"{method} {target} HTTP/1.1\r\nHost: gate.test\r\n\r\n".encode("latin-1")
        request = next(RequestParser(self.configuration, iter([head]), ("127.0.0.1", 1)))
        return wsgi.create(request, None, ("127.0.0.1", 1), ("127.0.0.1", 80), self.configuration)[1]


class Werkzeug:
    """A map of rules whose endpoints are their indices; `order` is the order in which they are added."""

    def __init__(self, rules: list, order=None):
        made = {}
        for index in order if order is not None else range(len(rules)):
            pattern, methods, strict_slashes, merge_slashes, _ = rules[index]
            made[index] = Rule(
                pattern, methods=methods, endpoint=index, strict_slashes=strict_slashes, merge_slashes=merge_slashes
            )
        self.adapter = Map(made.values()).bind("gate.test")

    def ask(self, method: str, path_: str | None, adapter=None) -> tuple:
        """The outcome for a decoded path, or for that of the environment to which `adapter` is bound."""
        Traced.rule = None
        try:
            rule, values = (adapter or self.adapter).match(path_, method, return_rule=True, query_args={})
        except RequestRedirect as redirect:
            return "redirect", Traced.rule.endpoint, redirect.new_url
        except MethodNotAllowed as refusal:
            return "method", frozenset(refusal.valid_methods)
        except NotFound:
            return ("none",)
        return "match", rule.endpoint, values

    def translate(self, outcome: list, path_: str) -> tuple:
        """The gate's outcome in Werkzeug's terms: values converted, redirects with their target."""
        kind = outcome[0]
        full = f"/{path_.lstrip('/')}" if path_ else ""
        if kind == "match":
            rule = next(rule for rule in self.adapter.map.iter_rules() if rule.endpoint == outcome[1])
            return kind, outcome[1], {name: rule._converters[name].to_python(value) for name, value in outcome[2]}
        if kind == "slash":
            return "redirect", outcome[1], self.target(full + "/")
        if kind == "merge":
            while "//" in full:
                full = full.replace("//", "/")
            return "redirect", outcome[1], self.target(full + ("/" if outcome[2] else ""))
        if kind == "method":
            return kind, frozenset(outcome[1])
        return (kind,)

    def target(self, path_: str) -> str:
        return self.adapter.make_redirect_url(quote(path_, safe="!$&'()*+,/:;=@"))


def werkzeug_pairs(field: str) -> list:
    return [*Request({"HTTP_COOKIE": field}).cookies.items(multi=True)]


def werkzeug_sessions(field: str) -> list[str]:
    return [value for name, value in werkzeug_pairs(field) if name == "session"]


def is_session(name: str) -> bool:
    """Whether some Python reads a name as the session's: older ones strip what is a space in Latin-1 or UTF-8."""
    return name.encode("latin-1").decode(errors="replace").strip("\ufffd \xa0\x85\t") == "session"


def unquoted(value: str) -> str:
    return werkzeug_sessions(f"session={value}")[0]


def as_decision(rules: list, method: str, outcome: tuple) -> tuple:
    """The outcome without what may depend on the order and runs no view: 405 or 404, and automatic methods."""
    if outcome[0] in ("method", "none"):
        return ("refused",)
    return ("automatic",) if method in rules[outcome[1]][4] else outcome


class Comparison:
    def __init__(self, gate: Gate):
        self.gate = gate
        self.gunicorn = Gunicorn()
        self.counts = collections.Counter()
        self.disagreements = []

    def disagree(self, **what) -> None:
        self.disagreements.append(what)

    def table(self, rules: list, requests: list, random_: random.Random) -> None:
        targets = [[method, wire(random_, path_ or "/")] for method, path_ in random_.sample(requests, len(requests) // 5)]
        answer = self.gate.ask(rules=rules, requests=requests, targets=targets)
        self.counts["tables"] += 1
        if answer["refused"]:
            # The gate is stricter on purpose. What is left of the table is compared.
            self.counts["patterns refused"] += len(answer["refused"])
            kept = [rule for index, rule in enumerate(rules) if str(index) not in answer["refused"]]
            if kept:
                self.table(kept, requests, random_)
            return
        try:
            reference = Werkzeug(rules)
        except Exception as error:
            self.disagree(kind="gate accepts, Werkzeug does not", rules=rules, error=repr(error))
            return
        decisions = [self.request(reference, rules, *pair) for pair in zip(requests, answer["outcomes"], strict=True)]
        self.counts["pairs"] += len(requests)
        for target, found in zip(targets, answer["targets"], strict=True):
            self.target(reference, rules, *target, found)
        overlaps = answer["overlaps"]
        if overlaps:
            self.counts["tables with overlaps"] += 1
            self.counts["overlaps"] += len(overlaps)
            self.examples(rules, overlaps)
        if len(rules) > 1:
            self.orders(rules, requests, decisions, bool(overlaps), random_)

    def request(self, reference: Werkzeug, rules: list, request: list, outcome: list) -> tuple:
        method, path_ = request
        try:
            expected = reference.ask(method, path_)
            found = reference.translate(outcome, path_)
        except Exception as error:
            self.disagree(kind="Werkzeug fails", rules=rules, request=request, gate=outcome, error=repr(error))
            return ("failed",)
        self.counts[f"outcome {outcome[0]}"] += 1
        if expected != found:
            self.disagree(kind="outcome", rules=rules, request=request, gate=outcome, werkzeug=repr(expected))
        return as_decision(rules, method, expected)

    def target(self, reference: Werkzeug, rules: list, method: str, target: str, found: list) -> None:
        """A target on the wire: refused for a reason that is there, or read and matched as gunicorn and Werkzeug do."""
        raw, _, query = target.partition("?")
        decoded = unquote_to_bytes(raw)
        try:
            text = decoded.decode()
        except UnicodeDecodeError:
            text = None
        # A character that may not be unescaped is refused in the query too.
        reasons = {word for word, is_there in TARGET_REASONS.items() if is_there(raw, decoded, text)}
        reasons |= {"target_character"} if re.search(r"[^\x21-\x7e]|#", query) else set()
        if found[0] == "refused":
            self.counts[f"target {found[1]}"] += 1
            if found[1] not in reasons:
                self.disagree(kind="refused for no reason", target=target, gate=found, reasons=sorted(reasons))
            return
        self.counts["target read"] += 1
        path_, found_query, outcome = found
        if reasons:
            self.disagree(kind="not refused", target=target, gate=found, reasons=sorted(reasons))
            return
        environ = self.gunicorn.environ(method, target)
        seen = (environ["PATH_INFO"].encode("latin-1").decode(), environ["QUERY_STRING"], environ["SCRIPT_NAME"])
        if seen != (path_, found_query or "", ""):
            self.disagree(kind="path", target=target, gate=found, gunicorn=seen)
        expected = reference.ask(method, None, reference.adapter.map.bind_to_environ(environ))
        if expected != reference.translate(outcome, path_):
            self.disagree(kind="target", rules=rules, target=target, gate=found, werkzeug=repr(expected))

    def cookies(self, fields: list[str]) -> None:
        """What Console reads of Cookie fields, before and after the gate."""
        for field, found in zip(fields, self.gate.ask(cookies=fields), strict=True):
            self.counts["cookie fields"] += 1
            sessions = found["sessions"]
            self.counts[f"cookie fields with {len(sessions)} sessions"] += 1
            if not found["rewritten"] and (found["unsettled"] or "") != field:
                self.disagree(kind="cookies rewritten", field=field, gate=found)
            # What no browser sends is judged as nobody's, and never goes on.
            readable = [value for value in werkzeug_sessions(field) if re.fullmatch(r"[\x21-\x7e]*", value)]
            if not {*readable} <= {unquoted(session) for session in sessions} and len(sessions) > 0:
                self.disagree(kind="session not judged", field=field, gate=found, werkzeug=readable)
            forwarded = [*zip(sessions, found["settled"], strict=True)]
            forwarded += [(None, found["none"] if found["rewritten"] else None)]
            if len(sessions) != 1:
                forwarded += [(None, found["unsettled"])]
            for session, cookie in forwarded:
                expected = [] if session is None else [unquoted(session)]
                if werkzeug_sessions(cookie or "") != expected:
                    self.disagree(kind="Werkzeug's session", field=field, forwarded=cookie, expected=expected)
                # Django takes the last of two, unquotes in its own way, and knows no cookie without `=`.
                seen = django_cookies((cookie or "").encode("latin-1").decode(errors="replace")).get("session")
                if bool(seen) != bool(session) or seen and '"' not in session and seen != session:
                    self.disagree(kind="Django's session", field=field, forwarded=cookie, expected=session, seen=seen)
            if found["rewritten"] and '"' not in field and sessions:
                others = [pair for pair in werkzeug_pairs(field) if not is_session(pair[0])]
                if [pair for pair in werkzeug_pairs(found["settled"][0]) if pair[0] != "session"] != others:
                    self.disagree(kind="other cookies", field=field, gate=found)

    def orders(self, rules: list, requests: list, decisions: list, overlapping: bool, random_: random.Random) -> None:
        """Whether another order changes an answer; it may only if an overlap was reported."""
        changed = False
        for order in (list(reversed(range(len(rules)))), random_.sample(range(len(rules)), len(rules))):
            shuffled = Werkzeug(rules, order)
            for (method, path_), decision in zip(requests, decisions, strict=True):
                other = as_decision(rules, method, shuffled.ask(method, path_))
                if other != decision:
                    changed = True
                    if not overlapping:
                        self.disagree(kind="overlap missed", rules=rules, order=order, request=[method, path_],
                                      first=repr(decision), second=repr(other))
            if not overlapping:
                self.counts["pairs in another order"] += len(requests)
        if overlapping and changed:
            self.counts["tables whose order mattered"] += 1

    def examples(self, rules: list, overlaps: list) -> None:
        for first, second, methods, example in overlaps:
            if example is None:
                self.counts["overlaps without an example"] += 1
                continue
            for index in (first, second):
                # Alone, and without ranges of values, each of the two answers the example.
                rule = [rules[index]]
                lenient = Werkzeug(rule)
                for converter_ in next(lenient.adapter.map.iter_rules())._converters.values():
                    converter_.__dict__.update(fixed_digits=0, min=None, max=None)
                outcome = lenient.ask(methods[0], example)
                if outcome[0] not in ("match", "redirect"):
                    self.disagree(kind="example answered by one only", rules=[rules[first], rules[second]],
                                  rule=rule, example=example, werkzeug=repr(outcome))


def load_app(file: str) -> list:
    """The rules of a Flask application, in the order in which they were added to each endpoint."""
    spec = importlib.util.spec_from_file_location("console_stand_in", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rules = module.app.url_map.iter_rules()
    return [
        [rule.rule, sorted(rule.methods), rule.strict_slashes, rule.merge_slashes]
        + [["OPTIONS"] if rule.provide_automatic_options else []]
        for rule in rules
    ]


def app_requests(rules: list, corpus: str | None, random_: random.Random, count: int) -> list:
    paths = []
    if corpus:
        with open(corpus, encoding="utf-8") as lines:
            targets = (json.loads(line).get("target") for line in lines)
            paths += [unquote(target.split("?")[0]) for target in targets if target and target.startswith("/")]
    recipes = []
    for pattern, *_ in rules:
        recipe = []
        for piece in pattern.strip("/").split("/"):
            if "<" in piece:
                kind = piece.strip("<>").split(":")[0].split("(")[0]
                recipe.append([[kind if kind in SAMPLES else "string"]])
            else:
                recipe.append([piece])
        recipes.append(recipe)
    words = sorted({piece for pattern, *_ in rules for piece in pattern.split("/") if piece and "<" not in piece})
    while len(paths) < count:
        made = path(random_, recipes)
        if random_.random() < 0.3:
            made = "/".join(random_.choice(words) if random_.random() < 0.4 and piece else piece for piece in made.split("/"))
        paths.append(made)
    return [[random_.choice(METHODS), made] for made in paths]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--matcher", required=True, help="the compiled route_table program")
    parser.add_argument("--pairs", type=int, default=1_000_000, help="how many (path, method) pairs to compare")
    parser.add_argument("--cookies", type=int, default=20_000, help="how many Cookie fields to compare")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--app", help="a Flask application whose rules are compared as well")
    parser.add_argument("--corpus", help="JSON lines with a `target` each, for the application")
    arguments = parser.parse_args()
    random_ = random.Random(arguments.seed)
    comparison = Comparison(Gate(arguments.matcher))
    started = time.monotonic()
    if arguments.app:
        rules = load_app(arguments.app)
        comparison.table(rules, app_requests(rules, arguments.corpus, random_, min(20_000, arguments.pairs)), random_)
        print(f"application: {dict(comparison.counts)}")
    extremes = [["GET", f"/{letter}/{number}"] for letter in "imfgs" for number in EXTREME_NUMBERS]
    comparison.table(EXTREME_TABLE, extremes, random_)
    while comparison.counts["cookie fields"] < arguments.cookies and len(comparison.disagreements) < 5:
        comparison.cookies([cookies(random_) for _ in range(min(1_000, arguments.cookies))])
    while comparison.counts["pairs"] < arguments.pairs and len(comparison.disagreements) < 5:
        rules, recipes = random_.choices([garbled, siblings, table], [15, 35, 50])[0](random_)
        methods = METHODS + [method for rule in rules for method in rule[1]]
        requests = [[random_.choice(methods), path(random_, recipes)] for _ in range(10 * len(rules) + 40)]
        comparison.table(rules, requests, random_)
    for name, count in sorted(comparison.counts.items()):
        print(f"{name:30} {count:>10}")
    print(f"{'disagreements':30} {len(comparison.disagreements):>10}   ({time.monotonic() - started:.0f} s)")
    for disagreement in comparison.disagreements[:5]:
        print(json.dumps(disagreement, ensure_ascii=False, indent=1))
    return 1 if comparison.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
