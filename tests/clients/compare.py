"""One variant, one client, two answers: what Console itself said and what came through the gate.

What is left out of the comparison is what docs/requests.md says of every request: the fields that the gate adds to a
request, those between two hops, how a body is framed, and who wrote the answer when.
"""

from __future__ import annotations

import json
import re
from typing import Any

from variants import Outcome, Variant
from wire import Answer

# Of the answer: between two hops, of the moment, or added by the gate.
IGNORED_HEADERS = {"connection", "keep-alive", "transfer-encoding", "date", "server", "x-request-id", "strict-transport-security", "alt-svc",
                   "proxy-connection", "upgrade", "trailer", "te"}
# What the gate adds to the request that Console sees; and what lies between two hops.
ADDED = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id", "x-console-gate-assertion"}
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "proxy-connection", "expect"}
# Of a cookie that ends some time from now.
NOW = re.compile(r"Expires=\w{3}, \d\d \w{3} 20[2-9]\d [\d:]{8} GMT")
# gunicorn's own word for HTTP/2.
GUNICORNS = {"version"}
# What a client says over HTTP/2 alone; Console itself is asked over HTTP/1.1.
HTTP2S = {"priority"}


def without_address(text: str, base: str) -> str:
    """The two servers differ in their ports."""
    netloc = base.partition("://")[2]
    port = netloc.rpartition(":")[2]
    return re.sub(rf"(127\.0\.0\.1|localhost)(:|%3A){port}\b", "CONSOLE", text)


def seen(answer: Answer) -> dict[str, Any] | None:
    """What WSGI saw, if it is an echo."""
    if "json" not in (answer.value("content-type") or ""):
        return None
    try:
        told = json.loads(answer.body)
    except ValueError:
        return None
    return told if isinstance(told, dict) and ("raw" in told or "admin_id" in told) else None


def normal_headers(answer: Answer, base: str, is_echo: bool) -> list[tuple[str, str]]:
    ignored = IGNORED_HEADERS | ({"content-length"} if is_echo else set())
    return sorted((name.lower(), NOW.sub("Expires=NOW", without_address(value, base)))
                  for name, value in answer.headers if name.lower() not in ignored)


def in_order_of_names(cookies: list[list[str]]) -> list[list[str]]:
    """Of two cookies of one name the order counts; of others it does not, and the gate may put the session's first."""
    return sorted(cookies, key=lambda cookie: cookie[0])


def normal_seen(told: dict[str, Any], base: str) -> dict[str, Any]:
    told = json.loads(without_address(json.dumps(told), base))
    if "headers" in told:
        gone = HOP_BY_HOP | ADDED | GUNICORNS
        told["headers"] = {name: value for name, value in told["headers"].items() if name not in gone}
        # The length of a body that came in chunks, or with `Content-Length: 0`, is framing.
        told.pop("length")
        if "cookie" in told["headers"]:
            pieces = [piece.strip().partition("=")[::2] for piece in told["headers"]["cookie"].split(";") if piece.strip()]
            told["headers"]["cookie"] = "; ".join("=".join(piece) for piece in in_order_of_names([list(piece) for piece in pieces]))
    if "cookies" in told:
        told["cookies"] = in_order_of_names(told["cookies"])
    return told


def differences(variant: Variant, direct: Answer, through: Answer, direct_base: str, through_base: str) -> dict[str, tuple[Any, Any]]:
    """What differs, by name: the direct value and the other."""
    found: dict[str, tuple[Any, Any]] = {}
    if direct.trouble or through.trouble:
        if bool(direct.trouble) != bool(through.trouble) or direct.is_unsendable != through.is_unsendable:
            found["trouble"] = (direct.trouble or direct.status, through.trouble or through.status)
        return found
    if direct.status != through.status:
        found["status"] = (direct.status, through.status)
    one, other = seen(direct), seen(through)
    # What Console sees has another length when it is another thing; HEAD does not show it.
    is_echo = one is not None or variant.method == "HEAD" and not variant.url.startswith("/answer")
    left, right = normal_headers(direct, direct_base, is_echo), normal_headers(through, through_base, is_echo)
    # A length that only one side states is framing; a stated one must be the same.
    for headers, others in ((left, right), (right, left)):
        if not any(name == "content-length" for name, _ in others):
            headers[:] = [header for header in headers if header[0] != "content-length"]
    for name in sorted({name for name, _ in left + right}):
        values = [value for key, value in left if key == name], [value for key, value in right if key == name]
        if values[0] != values[1]:
            found[f"field {name}"] = values
    if one is not None and other is not None:
        one, other = normal_seen(one, direct_base), normal_seen(other, through_base)
        if direct_base.startswith("https"):
            for told in (one, other):
                for name in HTTP2S - {name.lower() for name, _ in variant.headers}:
                    told.get("headers", {}).pop(name, None)
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                if key == "headers":
                    for name in sorted(one[key].keys() | other[key].keys()):
                        if one[key].get(name) != other[key].get(name):
                            found[f"seen header {name}"] = (one[key].get(name), other[key].get(name))
                else:
                    found[f"seen {key}"] = (one.get(key), other.get(key))
    else:
        bodies = tuple(without_address(body.decode("latin-1"), base) for body, base in ((direct.body, direct_base), (through.body, through_base)))
        if bodies[0] != bodies[1]:
            found["body"] = bodies
    return found


def judge(variant: Variant, client: str, direct: Answer, through: Answer, bases: tuple[str, str],
          refusals: dict[str, str]) -> tuple[str, dict[str, tuple[Any, Any]]]:
    """What has come of it (`equal`, `refused:word`, ...), and what is wrong with that."""
    expected = variant.expected(client)
    word = refusals.get(through.value("x-request-id") or "")
    if word is not None:
        wrong = {} if expected.kind in ("refused", "either") and word in expected.word.split("|") else {
            "outcome": (f"{expected}; Console: {short(direct)}", f"refused:{word}; {short(through)}")}
        return f"refused:{word}", wrong
    if expected.kind == "reset":
        return "reset", {} if direct.status and not through.status else {"outcome": (f"{expected}; Console: {short(direct)}", short(through))}
    if "head_too_large" in expected.word and bases[1].startswith("https") and through.status == 431:
        # By the h2 crate.
        return "refused:head_too_large", {}
    found = differences(variant, direct, through, *bases)
    if expected.kind == "refused":
        return "passed", {"outcome": (f"{expected}; Console: {short(direct)}", f"passed; {short(through)}")}
    if expected.kind == "unmapped":
        return "unmapped", {} if is_login(through) else {"outcome": (f"{expected}; Console: {short(direct)}", short(through))}
    if expected.kind == "changed":
        return f"changed:{expected.word}", wrong_changes(expected, found, through, bases)
    if expected.kind == "either" and direct.status == 404 and is_login(through):
        # The client made another path of it, which is nobody's.
        return "unmapped", {}
    return ("equal" if not found else "differs"), found


def wrong_changes(expected: Outcome, found: dict[str, tuple[Any, Any]], through: Answer, bases: tuple[str, str]) -> dict[str, tuple[Any, Any]]:
    """Whether Console sees what the rule says, and whether anything else differs."""
    told = normal_seen(seen(through) or {}, bases[1])
    left = dict(found)
    wrong: dict[str, tuple[Any, Any]] = {}
    for key, wanted in expected.sees.items():
        if key == "status":
            left = {}
            if through.status not in (wanted, 399 if wanted == 302 else wanted):
                wrong["status"] = (wanted, through.status)
        elif key == "headers":
            for name, value in wanted.items():
                left.pop(f"seen header {name}", None)
                # What WSGI calls a field folds its marks.
                actual = told.get("headers", {}).get(name, told.get("headers", {}).get(name.replace("_", "-")))
                if actual != value:
                    wrong[f"seen header {name}"] = (value, actual)
        elif key == "without":
            for name in wanted:
                left.pop(f"seen header {name}", None)
                if "203.0.113.9" in str(told.get("headers", {}).get(name)):
                    wrong[f"seen header {name}"] = (None, told["headers"][name])
            for effect in ("seen scheme", "seen url", "seen client", "seen host"):
                left.pop(effect, None)
        else:
            left.pop(f"seen {key}", None)
            left.pop("seen header cookie", None) if key == "cookies" else None
            if told.get(key) != wanted:
                wrong[f"seen {key}"] = (wanted, told.get(key))
    return {**left, **wrong}


def is_login(answer: Answer) -> bool:
    """Where the gate sends a stranger for whom there is no row; 399 is all that a page learns of a redirect."""
    is_sent_there = answer.status == 302 and (answer.value("location") or "").startswith("/auth/login")
    return answer.status == 399 or is_sent_there or answer.value("x-login") == "here"


def short(answer: Answer) -> str:
    return f"{answer.status or ''} {answer.trouble}".strip()
