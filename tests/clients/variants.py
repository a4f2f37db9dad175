"""What is asked, and what has to come of it: the table of `test_clients.py`.

Each row is one request as somebody writes it who uses a client: the URL with whatever characters it has, the fields, the
body. Each client encodes it in its own way, asks Console itself and asks through the gate, and the two answers are
compared.

    EQUAL                   status, fields, body, and what WSGI and Flask saw are the same
    refused("word")         the gate refuses it, for this reason of docs/requests.md; what Console would say is only shown
    either("word")          one or the other, because clients differ in what they make of it
    changed("rule", ...)    the same but for what a rule of docs/requests.md changes: `sees` is what Console sees then
    UNMAPPED                no row of the mapping covers it: the gate sends a stranger to the login page
    RESET                   over HTTP/2 the h2 crate ends the stream before the gate sees the request
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Iterable

from console import SECRET

KIB, MIB = 1024, 1 << 20
ORIGIN = "https://other.test"


@dataclass(frozen=True)
class Outcome:
    kind: str
    word: str = ""
    sees: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}:{self.word}" if self.word else self.kind


EQUAL = Outcome("equal")
UNMAPPED = Outcome("unmapped")
RESET = Outcome("reset")


def refused(word: str) -> Outcome:
    return Outcome("refused", word)


def either(word: str) -> Outcome:
    return Outcome("either", word)


def changed(rule: str, **sees: Any) -> Outcome:
    return Outcome("changed", rule, sees)


@dataclass(frozen=True)
class Variant:
    name: str
    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    # None, bytes, or a number of bytes that the client makes itself.
    body: bytes | int | None = None
    expects: Outcome = EQUAL
    # Where a client sends something else by its nature.
    by_client: dict[str, Outcome] = field(default_factory=dict)
    # chunked: without a length. follow: redirects are followed. brief: no answer will come.
    options: frozenset[str] = frozenset()
    # None: all of them.
    clients: frozenset[str] | None = None

    def expected(self, client: str) -> Outcome:
        return self.by_client.get(client, self.by_client.get(client.partition("-")[0], self.expects))


VARIANTS: list[Variant] = []


def ask(name: str, url: str, expects: Outcome = EQUAL, method: str = "GET", headers: Iterable[tuple[str, str]] = (),
        body: bytes | int | None = None, options: str = "", clients: str = "", **by_client: Outcome) -> None:
    VARIANTS.append(Variant(name, method, url, tuple(headers), body, expects,
                            {key.replace("_", "-"): value for key, value in by_client.items()}, frozenset(options.split()),
                            frozenset(clients.split()) or None))


def session_cookie(admin_id: int, secret: str = SECRET) -> str:
    """Flask's cookie of somebody who is logged in."""
    from flask import Flask
    from flask.sessions import SecureCookieSessionInterface
    app = Flask("cookies")
    app.secret_key = secret
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    return str(serializer.dumps({"admin_id": admin_id}))


# curl and Go send what is not ASCII in a query as the bytes that it is: gunicorn answers 400 as well.
RAW_BYTES = {"curl": refused("target_character"), "go": refused("target_character")}
# What curl and Go do not encode, and the http crate takes for no path and query.
RESET_IN_QUERY = {"curl_h2": RESET, "go_h2": RESET}
RESET_IN_PATH = {"curl_h2": RESET}
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")


# --- Query strings: nothing in them is matched, so they pass as they are.

for _name, _character in {
    "open-bracket": "[", "close-bracket": "]", "open-brace": "{", "close-brace": "}", "pipe": "|", "caret": "^", "backtick": "`",
    "backslash": "\\", "semicolon": ";", "quote": '"', "less": "<", "greater": ">", "apostrophe": "'", "exclamation": "!",
    "dollar": "$", "ampersand": "&", "open-parenthesis": "(", "close-parenthesis": ")", "asterisk": "*", "plus": "+",
    "comma": ",", "slash": "/", "colon": ":", "equals": "=", "question": "?", "at": "@", "tilde": "~", "percent": "%",
    "percent-at-the-end": "x%", "percent-and-one-digit": "%2", "percent-and-no-digits": "%zz", "percent-u": "%u0041",
}.items():
    _by_client = RESET_IN_QUERY if _character in '"<>' else {}
    ask(f"query {_name}", f"/echo?a=b{_character}", **_by_client)
    ask(f"query {_name} within", f"/echo?a={_character}b&c{_character}=d", **_by_client)
ask("query none", "/echo")
# Java leaves the question mark out over HTTP/1.1, with which it asks Console itself.
ask("query empty", "/echo?", java_h2=changed("http2", raw="/echo?"))
ask("query without a value", "/echo?a")
ask("query empty pairs", "/echo?&&a=1&&=2&")
ask("query arrays of PHP", "/echo?a[]=1&a[]=2&b[x][y]=3")
ask("query JSON", '/echo?filter={"status":["open","new"],"n":{"$gt":5}}', **RESET_IN_QUERY)
ask("query regular expression", "/echo?q=^[a-z]+\\d{2,3}|(x|y)$")
ask("query template", "/echo?q={{name}}&r=${x}&s=`id`")
ask("query Windows path", "/echo?file=C:\\Users\\ada\\r.txt")
ask("query semicolons between pairs", "/echo?a=1;b=2;c")
# Go sends the space too; over HTTP/2 it does not get as far as the firewall.
ask("query date range", "/echo?t=[2026-01-01T00:00:00+01:00 TO *]", go=refused("target_character"), go_h2=RESET)
ask("query space", "/echo?a=b c", clients="requests httpx httpx-h2 aiohttp urllib3 node-fetch node-http chromium-fetch perl wget")
ask("query space as plus", "/echo?a=b+c%20d")
ask("query escapes of everything", "/echo?" + "&".join(f"x{code:02X}=%{code:02X}" for code in range(0x20, 0x7f)))
ask("query escapes in lower case", "/echo?a=%c3%a9%2f%3b%7e%5b")
ask("query escaped controls", "/echo?a=%00%01%0A%0D%1F%7F")
ask("query invalid UTF-8", "/echo?a=%FF%C0%AF")
ask("query Latin-1", "/echo?a=caf%E9")
ask("query doubly escaped", "/echo?a=%252Fb%2500")
ask("query dots", "/echo?a=../../b&c=/./d//e")
ask("query URL", "/echo?next=https://console.test:8443/a/../b?c=d&e=f")
ask("query e-mail", "/echo?to=ada+x@example.org,ben@example.org")
ask("query letters", "/echo?name=Zo\u00eb&\u00e4=\u00f6", **RAW_BYTES)
ask("query Greek and Chinese", "/echo?q=\u03b1\u03b2&r=\u4e2d\u6587", **RAW_BYTES)
ask("query emoji", "/echo?q=\U0001f469\u200d\U0001f4bb", **RAW_BYTES)
ask("query no-break space", "/echo?q=a\u00a0b\u202fc\u3000d", **RAW_BYTES)
ask("query other digits", "/echo?n=\u0664\u0967\uff15", **RAW_BYTES)
ask("query right-to-left", "/echo?q=\u202eabc\u200f", **RAW_BYTES)
ask("query of 4 KiB", "/echo?q=" + "x" * 4096)
ask("query of 7 KiB", "/echo?q=" + "y" * 7168)
ask("query of 300 parameters", "/echo?" + "&".join(f"p{number}={number}" for number in range(300)))
ask("query fragment", "/echo?a=b#c?d", clients="curl wget requests httpx aiohttp node-fetch chromium-fetch chromium go")
ask("query longer than a target may be", "/echo?q=" + "z" * 8200, refused("target_too_long"))


# --- Paths: what is matched has one reading, and Werkzeug has the same.

for _name, _character in {
    "open-bracket": "[", "close-bracket": "]", "open-brace": "{", "close-brace": "}", "pipe": "|", "caret": "^", "backtick": "`",
    "semicolon": ";", "quote": '"', "less": "<", "greater": ">", "apostrophe": "'", "exclamation": "!", "dollar": "$",
    "ampersand": "&", "open-parenthesis": "(", "close-parenthesis": ")", "asterisk": "*", "plus": "+", "comma": ",", "colon": ":",
    "equals": "=", "at": "@", "tilde": "~", "hyphen": "-", "underscore": "_", "dot": ".",
}.items():
    _by_client = RESET_IN_PATH if _character in "`<>" else {}
    ask(f"path {_name}", f"/echo/a{_character}b", **_by_client)
    # What stands before a semicolon is the segment to some servers; here nothing does.
    ask(f"path {_name} in a segment", f"/segment/{_character}b", refused("empty_segment") if _character == ";" else EQUAL,
        **_by_client)
# Where a client leaves the backslash as it is; browsers make a slash of it.
ask("path backslash", "/echo/a\\b", either("target_character"))
ask("path percent", "/echo/100%", either("malformed_escape"))
ask("path percent and letters", "/echo/a%zz", either("malformed_escape"))
ask("path percent-u", "/echo/a%u0041", either("malformed_escape"))
for _code in range(0x20, 0x80):
    _outcome = refused("forbidden_escape") if _code == 0x7f else EQUAL
    ask(f"path escape %{_code:02X}", f"/echo/a%{_code:02X}b", _outcome)
    if f"{_code:02x}" != f"{_code:02X}":
        ask(f"path escape %{_code:02x}", f"/echo/a%{_code:02x}b", _outcome)
for _code in (0x00, 0x01, 0x09, 0x0a, 0x0d, 0x1b, 0x1f):
    ask(f"path escape %{_code:02X}", f"/echo/a%{_code:02X}b", refused("forbidden_escape"))
for _name, _escape in {"slash": "%2F", "slash, lower": "%2f", "number sign": "%23", "question mark": "%3F", "semicolon": "%3B",
                       "percent": "%25", "backslash": "%5C"}.items():
    # A segment ends where Werkzeug sees a slash; the rest is data.
    ask(f"path {_name} escaped in a segment", f"/segment/a{_escape}b", UNMAPPED if "slash" == _name[:5] else EQUAL)
    ask(f"path {_name} escaped between values", f"/segment/a{_escape}b/more", UNMAPPED if "slash" == _name[:5] else EQUAL)
    ask(f"path {_name} escaped at the end of a path", f"/echo/a/b{_escape}", either("forbidden_escape"))
ask("path escape doubly", "/echo/a%252Fb", either("forbidden_escape"))
ask("path escape doubly, dots", "/echo/%252E%252E/b", either("forbidden_escape"))
ask("path invalid UTF-8", "/echo/a%FFb", refused("invalid_utf8"))
ask("path overlong slash", "/echo/a%C0%AFb", refused("invalid_utf8"))
ask("path surrogate", "/echo/a%ED%A0%80b", refused("invalid_utf8"))
ask("path Latin-1", "/echo/caf%E9", refused("invalid_utf8"))
ask("path cut sequence", "/echo/a%C3", refused("invalid_utf8"))
for _name, _text in {
    "letters": "caf\u00e9 na\u00efve", "letters decomposed": "cafe\u0301", "German": "Stra\u00dfe", "Greek": "\u03b1\u03b2\u03b3",
    "Cyrillic": "\u043e\u0442\u0447\u0451\u0442", "Chinese": "\u62a5\u544a", "Korean": "\ubcf4\uace0\uc11c", "Thai": "\u0e23\u0e32\u0e22\u0e07\u0e32\u0e19",
    "Persian with a joiner": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "Hindi with a joiner": "\u0915\u094d\u200d\u0937",
    "Sinhala with a joiner": "\u0dc1\u0dca\u200d\u0dbb\u0dd3", "emoji": "\U0001f600", "emoji joined": "\U0001f469\u200d\U0001f469\u200d\U0001f466",
    "emoji with a skin": "\U0001f44d\U0001f3fd", "emoji with a selector": "\u2764\ufe0f", "flag": "\U0001f1ee\U0001f1f8",
    "screenshot of macOS": "Screenshot 2026-01-01 at 3.04.05\u202fPM.png", "no-break space": "a\u00a0b.pdf",
    "ideographic space": "\u6771\u4eac\u3000\u5927\u962a.pdf", "thin space": "1\u2009000", "Arabic digits": "\u0664\u0662",
    "Hindi digits": "\u0967\u0968", "full-width digits": "\uff11\uff12", "mathematical digits": "\U0001d7d8", "superscript": "m\u00b2",
    "typographer's quotes": "\u201ea\u201c \u2013 b\u2026", "euro": "5 \u20ac", "full-width slash": "a\uff0fb", "soft hyphen": "a\u00adb",
    "narrow file name": "r\u00e9sum\u00e9 (2) [final].pdf",
}.items():
    ask(f"path {_name}", f"/echo/{_text}")
for _name, _text in {
    "right-to-left override": "a\u202ec", "byte-order mark": "\ufeffa", "line separator": "a\u2028b", "paragraph separator": "a\u2029b",
    "private use": "a\ue000b", "unassigned": "a\u0378b", "control of Latin-1": "a\u0085b", "noncharacter": "a\U0010ffffb",
    "zero-width space": "a\u200bb", "word joiner": "a\u2060b", "tag": "a\U000e0041b",
}.items():
    ask(f"path {_name}", f"/echo/{_text}", either("forbidden_character"))
ask("path number", "/number/7")
ask("path number of Arabic digits", "/number/%D9%A4")
ask("path number of full-width digits", "/number/%EF%BC%95")
# A digit of Unicode 15, which is one to some Pythons only.
ask("path number of digits of Kawi", "/number/%F0%91%BD%95", refused("forbidden_character"))
ask("path number with a zero", "/number/05")
ask("path number escaped", "/number/%35")
ask("path dots within", "/echo/a...b/...")
ask("path hidden file", "/echo/.well-known/x")
ask("path two slashes", "/echo//a", either("empty_segment"))
ask("path two slashes at the end", "/echo/a//", either("empty_segment"))
ask("path slash at the end", "/echo/a/")
ask("path escaped name of a row", "/%65cho")
ask("path parameters", "/echo/a;v=1/b;jsessionid=x?c")
ask("path matrix", "/segment/x;y=1,2")
ask("path of 4 KiB", "/echo/" + "a/b" * 1365)
ask("path colon first", "/segment/a:b@c")
ask("path dot segment escaped", "/echo/%2E%2E/a", either("dot_segment"))
ask("path dot segment half escaped", "/echo/.%2E/a", either("dot_segment"))
ask("path dot segment behind a semicolon", "/echo/..;/a", either("dot_segment"))
ask("path dot segment", "/echo/a/../b", either("dot_segment"))
ask("path this segment", "/echo/a/./b", either("dot_segment"))


# --- Fields

for _name, _headers in {
    "of a browser": [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), ("Accept-Language", "de-AT,de;q=0.9"),
                     ("Sec-Fetch-Site", "same-origin"), ("Upgrade-Insecure-Requests", "1"), ("DNT", "1")],
    "of htmx": [("HX-Request", "true"), ("HX-Current-URL", "http://console.test/a?b=[c]")],
    "of tracing": [("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("Tracestate", "a=1,b=2")],
    "of a cache": [("Cache-Control", "no-cache"), ("Pragma", "no-cache")],
    "API key": [("X-API-Key", "k" * 40)],
    "bearer": [("Authorization", "Bearer abc.def.ghi")],
    "basic": [("Authorization", "Basic " + base64.b64encode("\u00e4da:s\u00e9cret".encode()).decode())],
    "empty value": [("X-Empty", "")],
    "tab within": [("X-Tab", "a\tb")],
    "quoted": [("X-Quoted", '"a, b"; c="d\\"e"')],
    "digits first": [("1-X", "1")],
    "one letter": [("X", "y")],
    "priority": [("Priority", "u=1, i")],
    "content type without a body": [JSON],
    "origin": [("Origin", "https://console.test"), ("Referer", "https://console.test/a?b=c")],
    "save data": [("Save-Data", "on"), ("Sec-CH-UA", '"Chromium";v="150", "Not.A/Brand";v="8"')],
    "if-none-match": [("If-None-Match", 'W/"abc", "def"')],
    "accept-encoding none": [("Accept-Encoding", "identity")],
    "via": [("Via", "1.1 proxy.test")],
    "max-forwards": [("Max-Forwards", "10")],
    "upper case": [("X-UPPER-CASE", "1")],
    "signature": [("X-Hub-Signature-256", "sha256=" + "0" * 64)],
    "twenty": [(f"X-Number-{number}", str(number)) for number in range(20)],
    "long": [("X-Long", "l" * 8000)],
    "long cookie": [("Cookie", "c=" + "d" * 4000)],
}.items():
    ask(f"field {_name}", "/echo", headers=_headers)
for _letter in "!#$%&'*+.^`|~":
    ask(f"field name with {_letter}", "/echo", changed("field-name", headers={f"x{_letter}a": None}),
        headers=[(f"X{_letter}A", "1"), ("X-Kept", "2")])
ask("field name with _", "/echo", changed("field-name", headers={"x-under": None}), headers=[("X_Under", "1"), ("X-Kept", "2")])
ask("field name SCRIPT_NAME", "/echo/a", changed("field-name", script="", path="/echo/a"), headers=[("SCRIPT_NAME", "/echo")])
# Over HTTP/1.1 Java makes a question mark of it.
ask("field Latin-1", "/echo", headers=[("X-Latin", "caf\u00e9")], java_h2=changed("http2", headers={"x-latin": r"caf\xe9"}))
ask("field too large", "/echo", refused("field_too_large"), headers=[("X-Large", "l" * 17_000)])
ask("fields too many", "/echo", refused("too_many_fields"), headers=[(f"X-Number-{number}", "1") for number in range(120)],
    clients="curl requests httpx aiohttp urllib3 node-http go perl java")
ask("head too large", "/echo", either("head_too_large"), headers=[(f"X-Number-{number}", "l" * 8000) for number in range(5)])
for _name in ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "X-Real-IP",
              "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Remote-User", "X-Remote-User", "X-Auth-Request-User",
              "X-Request-Id", "X-Console-Gate-Assertion", "Client-IP", "X-Forwarded-User", "X-Jwt-Assertion",
              "Teleport-Jwt-Assertion", "X-Grafana-User", "Impersonate-User", "X-Forward-Tls-Client-Cert", "X-Tls-Client-Cert",
              "Forwarded-Host", "Forwarded-Proto", "X-Auth-Email", "X-Auth-Roles", "X-Vercel-Forwarded-For", "Fly-Client-Ip",
              "DO-Connecting-IP", "X-Webauth-User", "Proxy"):
    ask(f"field {_name}, which only the gate may send", "/echo", changed("stripped", without=[_name.lower()], client="127.0.0.1"),
        headers=[(_name, "203.0.113.9")])
ask("field X-Forwarded-For with a port", "/echo", changed("stripped", client="127.0.0.1"), headers=[("X-Forwarded-For", "203.0.113.9:4711")])
ask("field X-Forwarded-Proto https", "/echo", changed("stripped", without=["x-forwarded-proto"]), headers=[("X-Forwarded-Proto", "https")])


# --- Cookies. The session's is judged; the rest passes.

ADA, BEN, THEIRS = session_cookie(1), session_cookie(2), session_cookie(1, "a sibling's secret")
LATIN = {"non-ASCII value": [["a", "caf\u00e9"], ["b", "2"]], "non-ASCII name": [["b", "2"], ["caf\u00e9", "1"]]}
for _name, _cookie in {
    "none of ours": "a=1; b=2", "without spaces": "a=1;b=2", "empty value": "a=; b", "quoted": 'a="x y"; b=2',
    "quoted with a comma": 'a="x, y"; b=2', "unclosed quote": 'a="x; b=2', "unclosed quote at the end": 'b=2; a="', "two quotes": 'a="x"y"; b=2',
    "JSON": 'prefs={"a":[1,2],"b":"c"}; b=2', "brackets": "a[b]=1; c=2", "equals within": "a=b=c==; d", "non-ASCII value": "a=caf\u00e9; b=2",
    "non-ASCII name": "caf\u00e9=1; b=2", "analytics": "_ga=GA1.2.3.4; _gid=GA1.2.5; __utmz=1.2.3.utmcsr=(direct)|utmcmd=(none)",
    "dots and slashes": "a.b/c=1; d=2", "semicolons only": ";;; a=1;;", "long": "; ".join(f"c{number}={number:040}" for number in range(80)),
    "prefixed": "__Host-a=1; __Secure-b=2", "escaped": "a=%22%3B%20; b=2", "twice another's": "a=1; a=2", "tab": "a=1;\tb=2",
    "colon in the name": "a:b=1; c=2", "at in the name": "a@b=1; c=2", "space in the name": "a b=1; c=2", "backslash in quotes": 'a="x\\"y"; b=2',
    "the session's name in another value": "a=session=x; b=2", "the session's name, other case": "SESSION=x; b=2",
}.items():
    # Over HTTP/2 Go makes a field of each cookie, and takes no tab from its beginning.
    _by_client = {"go_h2": refused("field_value")} if _name == "tab" else {}
    _seen = LATIN.get(_name)
    ask(f"cookie {_name}", "/echo", headers=[("Cookie", _cookie)],
        **_by_client, **({"java_h2": changed("http2", cookies=_seen)} if _seen else {}))
    ask(f"cookie {_name}, beside a session", "/me", headers=[("Cookie", f"{_cookie}; session={ADA}")],
        **_by_client, **({"java_h2": changed("http2", cookies=[*_seen, ["session", ADA]])} if _seen else {}))
ask("cookie session", "/me", headers=[("Cookie", f"session={ADA}")])
ask("cookie session first", "/me", headers=[("Cookie", f"session={ADA}; a=1")])
ask("cookie session quoted", "/me", headers=[("Cookie", f'session="{ADA}"')])
ask("cookie session after an unclosed quote", "/me", headers=[("Cookie", f'a="x; session={ADA}; b="y')])
ask("cookie session of a sibling first", "/me", changed("session-cookie", status=200, admin_id=1),
    headers=[("Cookie", f"session={THEIRS}; session={ADA}")])
ask("cookie session of a sibling last", "/me", changed("session-cookie", status=200, admin_id=1),
    headers=[("Cookie", f"session={ADA}; session={THEIRS}")])
ask("cookie session of a sibling, odd", "/me", changed("session-cookie", status=200, admin_id=1),
    headers=[("Cookie", f"session=abc; a=1; session={ADA}")])
ask("cookie session of a sibling, empty", "/me", changed("session-cookie", status=200, admin_id=1),
    headers=[("Cookie", f"session=; session={ADA}")])
ask("cookie session of two people", "/me", changed("session-cookie", status=302), headers=[("Cookie", f"session={ADA}; session={BEN}")])
ask("cookie session twice the same", "/me", changed("session-cookie", status=200, admin_id=1), headers=[("Cookie", f"session={ADA}; session={ADA}")])
ask("cookie session of siblings, on a public row", "/echo", changed("session-cookie", cookies=[]),
    headers=[("Cookie", f"session={THEIRS}; session=x")])
ask("cookie fields, two", "/echo", changed("cookie-fields", cookies=[["a", "1"], ["b", "2"]]), headers=[("Cookie", "a=1"), ("Cookie", "b=2")],
    clients="curl aiohttp node-http urllib3 httpx go")
ask("cookie fields, two, with a session", "/me", changed("cookie-fields", status=200, admin_id=1),
    headers=[("Cookie", "a=1"), ("Cookie", f"session={ADA}")], clients="curl aiohttp node-http urllib3 httpx go")


# --- Methods

for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
    ask(f"method {_method}", "/echo/method", method=_method)
    ask(f"method {_method} where it is another's", "/free/echo", method=_method)
# A 405 that says nothing of the path; what is not of capital letters is no method to gunicorn either.
for _method in ("PROPFIND", "REPORT", "PURGE", "LINK", "QUERY", "FOO", "M-SEARCH", "get", "Post", "patch"):
    ask(f"method {_method}", "/free/echo", either("unknown_method|malformed_head"), method=_method)
ask("method PROPFIND on a row", "/only-get", refused("unknown_method"), method="PROPFIND")
ask("method POST on a row of GET", "/only-get", UNMAPPED, method="POST")
ask("method OPTIONS on a row of GET", "/only-get", method="OPTIONS")
ask("method OPTIONS on a row of POST", "/only-post", method="OPTIONS")
ask("method HEAD on a row of POST", "/only-post", UNMAPPED, method="HEAD")
ask("method HEAD of an answer", "/answer/large?size=5000", method="HEAD")
ask("method HEAD of a stream", "/answer/stream", method="HEAD")
ask("method HEAD of a file", "/answer/file", method="HEAD")
ask("method TRACE", "/free/echo", refused("unknown_method"), method="TRACE", clients="curl aiohttp urllib3 httpx perl")
ask("preflight", "/answer/cors", method="OPTIONS", headers=[("Origin", ORIGIN), ("Access-Control-Request-Method", "POST"),
                                                           ("Access-Control-Request-Headers", "content-type,x-a")])
ask("preflight of another origin", "/answer/cors", method="OPTIONS",
    headers=[("Origin", "https://nobody.test"), ("Access-Control-Request-Method", "POST")])
ask("cross-origin GET", "/answer/cors", headers=[("Origin", ORIGIN)])


# --- Bodies

# A page may send a body without a length over HTTP/2 alone.
STREAMED = {"chromium_fetch_h2": changed("http2", status=200)}
for _size in (0, 1, 2, 1023, 1024, 4095, 4096, 65_535, 65_536, 65_537, MIB, 5 * MIB):
    ask(f"body of {_size}", "/echo", method="POST", body=_size, headers=[("Content-Type", "application/octet-stream")])
    ask(f"body of {_size}, without a length", "/echo", method="PUT", body=_size, options="chunked",
        headers=[("Content-Type", "application/octet-stream")], **STREAMED)
ask("body of 32 MiB", "/echo", method="POST", body=32 * MIB, headers=[("Content-Type", "application/octet-stream")])
ask("body of more than 32 MiB", "/echo", either("body_too_large"), method="POST", body=32 * MIB + 1,
    headers=[("Content-Type", "application/octet-stream")], clients="curl")
ask("body form", "/echo", method="POST", body=b"a=1&b=%C3%A9&c[]=2&d=+x", headers=[FORM])
ask("body form with a charset", "/echo", method="POST", body=b"a=1", headers=[("Content-Type", FORM[1] + "; charset=UTF-8")])
ask("body JSON", "/echo", method="POST", body='{"a": [1, "\u00e9"]}'.encode(), headers=[JSON])
ask("body JSON by PATCH", "/echo", method="PATCH", body=b'{"a": null}', headers=[("Content-Type", "application/merge-patch+json")])
ask("body XML", "/echo", method="PUT", body=b"<a/>", headers=[("Content-Type", "text/xml; charset=utf-8")])
ask("body with DELETE", "/echo", method="DELETE", body=b'{"ids": [1]}', headers=[JSON])
ask("body with GET", "/echo", method="GET", body=b'{"query": {}}', headers=[JSON])
ask("body without a type", "/echo", method="POST", body=b"abc")
ask("body of bytes", "/echo", method="POST", body=bytes(range(256)), headers=[("Content-Type", "application/octet-stream")])
ask("body that looks like chunks", "/echo", method="POST", body=b"5\r\nhello\r\n0\r\n\r\n", headers=[("Content-Type", "text/plain")])
ask("body that looks like a request", "/echo", method="POST", body=b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n", headers=[("Content-Type", "text/plain")])
ask("body gzip", "/echo", method="POST", body=bytes.fromhex("1f8b0800000000000003cb48cdc9c907008 6a6103605000000".replace(" ", "")),
    headers=[("Content-Encoding", "gzip"), JSON])
_boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"


def multipart(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(f"--{_boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts) + f"--{_boundary}--\r\n".encode()


MULTIPART = ("Content-Type", f"multipart/form-data; boundary={_boundary}")
for _name, _parts in {
    "field": [('Content-Disposition: form-data; name="q"', b"1")],
    "file": [('Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain', b"text\n")],
    "empty file": [('Content-Disposition: form-data; name="file"; filename=""\r\nContent-Type: application/octet-stream', b"")],
    "odd names": [('Content-Disposition: form-data; name="a[b]"', b"1"),
                  ('Content-Disposition: form-data; name="file"; filename="r\u00e9sum\u00e9 [1] %22x%22.pdf"\r\nContent-Type: application/pdf', b"%PDF")],
    "many": [(f'Content-Disposition: form-data; name="f{number}"', b"v" * number) for number in range(200)],
    "large file": [('Content-Disposition: form-data; name="file"; filename="l.bin"\r\nContent-Type: application/octet-stream', bytes(range(256)) * 2048)],
}.items():
    ask(f"multipart {_name}", "/echo", method="POST", body=multipart(*_parts), headers=[MULTIPART])
ask("multipart without a length", "/echo", method="POST", body=multipart(('Content-Disposition: form-data; name="q"', b"1")),
    headers=[MULTIPART], options="chunked", **STREAMED)
ask("body with Expect", "/echo", method="POST", body=5000, headers=[("Expect", "100-continue"), ("Content-Type", "text/plain")])
ask("body too large for Flask", "/answer/small", method="POST", body=2000, headers=[("Content-Type", "text/plain")])
ask("body small enough for Flask", "/answer/small", method="POST", body=1000, headers=[("Content-Type", "text/plain")])
# Werkzeug reads a body without a length up to its limit and no further; through the gate it has a length.
ask("body too large for Flask, without a length", "/answer/small", changed("body", status=413), method="POST", body=2000, headers=[("Content-Type", "text/plain")],
    options="chunked")
ask("body that is not waited for", "/answer/early", method="POST", body=3000, headers=[("Content-Type", "text/plain")])
ask("body that is refused early", "/answer/early?code=401", method="POST", body=3000, headers=[("Content-Type", "text/plain")])


# --- Answers

for _code in (200, 201, 202, 203, 204, 205, 206, 226, 300, 304, 400, 401, 402, 403, 404, 405, 406, 409, 410, 412, 415, 418, 422, 425, 428,
              429, 431, 451, 500, 501, 502, 503, 504, 507, 599):
    # Chromium shows the body of a 205 over HTTP/2, and not over HTTP/1.1.
    ask(f"answer {_code}", f"/answer/status/{_code}", **({"chromium_fetch_h2": changed("http2", status=205)} if _code == 205 else {}))
ask("answer with an odd reason", "/answer/reason")
ask("answer 404 of Flask", "/answer/nowhere")
ask("answer 404 of a view", "/answer/not-here")
ask("answer 500 of a view", "/answer/broken")
ask("answer without a length", "/answer/stream")
ask("answer without a length, slowly", "/answer/stream?n=5&pause=0.02")
ask("answer without a length, large", "/answer/stream?n=200&size=16384")
ask("answer without a length, empty", "/answer/stream?n=0")
ask("answer streamed with a length", "/answer/length-and-stream")
for _size in (0, 1, 65_536, MIB, 8 * MIB):
    ask(f"answer of {_size}", f"/answer/large?size={_size}")
ask("answer with many fields", "/answer/headers")
ask("answer with cookies", "/answer/cookies")
ask("answer that closes", "/answer/close")
ask("answer event stream", "/answer/events", headers=[("Accept", "text/event-stream")])
ask("answer that asks for a password", "/answer/basic")
ask("answer to a password", "/answer/basic", headers=[("Authorization", "Basic YWRhOnNlY3JldA==")])
ask("answer gzip", "/answer/gzip", headers=[("Accept-Encoding", "gzip")])
ask("answer not gzip", "/answer/gzip", headers=[("Accept-Encoding", "identity")])
ask("answer gzip of brotli", "/answer/gzip", headers=[("Accept-Encoding", "br;q=1.0, gzip;q=0.8, *;q=0.1")])
DATE, ETAG = "Tue, 14 Nov 2023 22:13:20 GMT", '"never"'
for _name, _headers in {
    "whole": [], "bytes=0-99": [], "bytes=100-": [], "bytes=-100": [], "bytes=0-0": [], "bytes=299999-": [], "bytes=300000-": [],
    "bytes=5-2": [], "bytes=0-1,5-6": [], "lines=1-2": [], "bytes=": [], "bytes=abc": [],
}.items():
    ask(f"range {_name}", "/answer/file", headers=[("Range", _name)] if _name != "whole" else [])
ask("range of HEAD", "/answer/file", method="HEAD", headers=[("Range", "bytes=0-99")])
ask("range if unchanged since", "/answer/file", headers=[("Range", "bytes=0-99"), ("If-Range", DATE)])
ask("range if another", "/answer/file", headers=[("Range", "bytes=0-99"), ("If-Range", ETAG)])
ask("if modified since", "/answer/file", headers=[("If-Modified-Since", DATE)])
ask("if modified before", "/answer/file", headers=[("If-Modified-Since", "Tue, 14 Nov 2000 22:13:20 GMT")])
ask("if none match any", "/answer/file", headers=[("If-None-Match", "*")])
ask("if none match another", "/answer/file", headers=[("If-None-Match", ETAG)])
ask("if match another", "/answer/file", headers=[("If-Match", ETAG)])
ask("if unmodified since", "/answer/file", headers=[("If-Unmodified-Since", "Tue, 14 Nov 2000 22:13:20 GMT")])
ask("attachment", "/answer/file?save")
for _code in (301, 302, 303, 307, 308):
    ask(f"redirect {_code}", f"/answer/redirect?code={_code}&to=/echo?a=b")
    ask(f"redirect {_code} of POST", f"/answer/redirect?code={_code}&to=/echo?a=b", method="POST", body=b"a=1", headers=[FORM])
    ask(f"redirect {_code} followed", f"/answer/redirect?code={_code}&to=/echo?a=b", options="follow")
for _name, _to in {"relative": "echo?a=b", "up": "../echo", "query": "?code=302%26to=/echo", "other host": "https://other.test/a?b=[c]",
                   "scheme-relative": "//other.test/a", "fragment": "/echo%23there", "letters": "/echo/caf%C3%A9%20x",
                   "brackets": "/echo?a[]=1", "mail": "mailto:ada@example.org"}.items():
    ask(f"redirect to {_name}", f"/answer/redirect?to={_to}")
ask("redirect to the slash", "/answer/slash")
ask("redirect to the slash, with a query", "/answer/slash?a=[1]&b=%zz")
ask("redirect to the slash, followed", "/answer/slash?a=1", options="follow")
ask("redirect to the slash of POST", "/answer/slash", method="POST", body=b"a=1", headers=[FORM])
ask("redirect to the slash, behind ProxyFix", "/fixed/slash")
ask("redirect to the slash, behind ProxyFix, followed", "/fixed/slash", options="follow")
ask("url_for with a host", "/answer/external")
ask("url_for with a host, behind ProxyFix", "/fixed/external")
ask("url_for with a host, redirected", "/answer/redirect-external")
ask("url_for with a host, redirected, followed", "/answer/redirect-external", options="follow")
ask("url_for with a host, redirected, behind ProxyFix", "/fixed/redirect-external")
ask("echo behind ProxyFix", "/fixed/echo?a=1")
ask("the page of this test", "/page")
ask("an asset that nobody has mapped", "/logo.png", UNMAPPED)
ask("an asset that the mapping calls quiet", "/favicon.ico", changed("quiet", status=404))
ask("a page for the logged-in, without a session", "/me", changed("login", status=302))
