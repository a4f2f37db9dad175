"""What takes more than one request: pages in a browser, WebSockets, Flask-WTF's forms, load.

Each function returns the rows of its table, or says why it cannot run here.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import re
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Awaitable, Callable, Iterator

import aiohttp
import requests

from compare import ADDED, GUNICORNS, HOP_BY_HOP, HTTP2S, without_address
from drivers import chromium
from report import Row
from servers import Scene
from tier import in_tier

ALL = ["chromium_scripts", "websockets", "forms", "load_ab", "load_h2load", "cookies_of_a_browser"]
SECONDS = 60
LEFT_OPEN_SECONDS = in_tier(quick=0.2, full=1.0)


def compared(name: str, direct: Any, through: Any, bases: tuple[str, str]) -> Row:
    """A row for two values that must be the same but for the address in them."""
    one, other = (json.loads(without_address(json.dumps(value, sort_keys=True), base)) for value, base in zip((direct, through), bases))
    wrong = dict(unlike(one, other))
    return Row(name, "equal", "differs" if wrong else "equal", wrong)


def unlike(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """What differs, by its place."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from unlike(one.get(key), other.get(key), f"{place} {key}".strip())
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other)):
            yield from unlike(left, right, f"{place} {index}".strip())
    elif one != other:
        yield place, (one, other)


# --- A browser

LEFT_OUT = ADDED | HOP_BY_HOP | GUNICORNS | HTTP2S


def echoed(body: bytes | str) -> dict[str, Any]:
    """What Console saw of a form; the boundary of multipart is another each time."""
    told = json.loads(body)
    told["type"] = re.sub(r"boundary=\S+", "boundary", told["type"])
    if "boundary" in told["type"]:
        told.pop("body")
    told.pop("length")
    told["headers"] = {name: value for name, value in told["headers"].items() if name not in LEFT_OUT}
    told.pop("client")
    return told


async def submitted(page: chromium.Page, script: str) -> dict[str, Any]:
    since = len(page.events)
    await page.evaluate(f"(() => {{ {script} }})(), 0")
    answer = await page.document(since)
    return {"status": answer.status, "seen": echoed(answer.body)}


async def fresh(page: chromium.Page, base: str) -> None:
    await page.go(f"{base}/page")


async def form_get(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return await submitted(page, "const f = document.getElementById('get'); f.q.value = 'Zo\\u00eb & [x]|{y}^`\\\\;%'; f['a[]'].value = '1'; f.submit()")


async def form_post(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return await submitted(page, "const f = document.getElementById('post'); f.q.value = 'a+b=c&d'; f.text.value = 'l1\\nl2 \\u20ac'; f.submit()")


async def form_plain(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return await submitted(page, "const f = document.getElementById('plain'); f.q.value = 'a=b'; f.submit()")


async def form_files(page: chromium.Page, base: str, folder: Path) -> Any:
    await fresh(page, base)
    files = []
    for name, data in {"a.txt": b"text\n", "r\u00e9sum\u00e9 [1].pdf": b"%PDF", "empty": b"", "large.bin": bytes(range(256)) * 12_000}.items():
        (folder / name).write_bytes(data)
        files.append(str(folder / name))
    node = await page.call("DOM.getDocument")
    found = await page.call("DOM.querySelector", nodeId=node["root"]["nodeId"], selector="#files input[type=file]")
    await page.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=files)
    return await submitted(page, "const f = document.getElementById('files'); f.q.value = '1'; f.submit()")


async def upload_by_fetch(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return echoed(await page.evaluate("""(async () => {
      const form = new FormData(); form.append('q', '\\u00fc'); form.append('file', new Blob([new Uint8Array(3 << 20)]), 'b [1].bin');
      return (await fetch('/echo/upload', {method: 'POST', body: form})).text(); })()"""))


async def upload_by_xhr(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return await page.evaluate("""new Promise((done) => { const x = new XMLHttpRequest(); let steps = 0;
      x.upload.onprogress = () => steps++; x.open('PUT', '/echo/x'); x.setRequestHeader('Content-Type', 'image/png');
      x.onload = () => done([x.status, JSON.parse(x.responseText).body, steps > 0]); x.onerror = () => done('error');
      x.send(new Blob([new Uint8Array(2 << 20)])); })""")


async def beacon(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    since = len(page.events)
    sent = await page.evaluate("navigator.sendBeacon('/echo/beacon', new URLSearchParams({a: '1'}))")
    got = await page.event("Network.responseReceived", since, type="Ping")
    return [sent, got["response"]["status"]]


async def events(page: chromium.Page, base: str, _folder: Path) -> Any:
    """An event stream; where it ends the browser connects again, so the page closes it at the fifth event."""
    await fresh(page, base)
    return await page.evaluate("""new Promise((done) => { const source = new EventSource('/answer/events?n=5&pause=0.05'); const got = [];
      source.addEventListener('tick', (event) => { got.push([event.lastEventId, event.data]);
        if (got.length === 5) { source.close(); done(got); } });
      source.onerror = () => { source.close(); done(['error', got]); }; })""")


async def events_come_as_they_are_sent(page: chromium.Page, base: str, _folder: Path) -> Any:
    """The first event is there long before the last is sent."""
    await fresh(page, base)
    return await page.evaluate("""new Promise((done) => { const source = new EventSource('/answer/events?n=4&pause=0.4'); const times = [];
      source.addEventListener('tick', () => { times.push(performance.now());
        if (times.length === 4) { source.close(); done(times[3] - times[0] > 800); } });
      source.onerror = () => { source.close(); done('error'); }; })""")


async def stream_by_fetch(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return await page.evaluate("""(async () => { const reader = (await fetch('/answer/stream?n=4&pause=0.4')).body.getReader();
      const times = []; let length = 0;
      for (;;) { const {done, value} = await reader.read(); if (done) break; times.push(performance.now()); length += value.length; }
      return [length, times.at(-1) - times[0] > 800]; })()""")


async def socket_in_page(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return await page.evaluate("""new Promise((done) => {
      const socket = new WebSocket(location.origin.replace('http', 'ws') + '/socket?a=[b]', ['echo.v1', 'other']); const got = [];
      socket.binaryType = 'arraybuffer';
      socket.onopen = () => { got.push(['open', socket.protocol]); socket.send('h\\u00e9llo'); };
      socket.onmessage = (event) => { got.push(typeof event.data === 'string' ? event.data.slice(0, 20) + event.data.length : event.data.byteLength);
        if (got.length === 2) socket.send(new Uint8Array(70000)); else if (got.length === 3) socket.send('x'.repeat(200000)); else socket.send('close'); };
      socket.onclose = (event) => { got.push(['close', event.code, event.reason, event.wasClean]); done(got); }; })""")


async def cancelled_fetch(page: chromium.Page, base: str, _folder: Path) -> Any:
    """A request that the page gives up leaves nothing broken behind."""
    await fresh(page, base)
    return await page.evaluate("""(async () => { const stop = new AbortController(); const got = [];
      const first = fetch('/answer/stream?n=50&pause=0.1', {signal: stop.signal}).then((a) => a.text()).catch((e) => e.name);
      setTimeout(() => stop.abort(), 300); got.push(await first);
      for (let n = 0; n < 8; n++) got.push((await fetch('/echo?' + n)).status); return got; })()""")


async def many_at_once(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return await page.evaluate("""Promise.all([...Array(60).keys()].map((n) => fetch('/echo?n=' + n).then((a) => a.json())
      .then((told) => told.query)))""")


async def range_by_fetch(page: chromium.Page, base: str, _folder: Path) -> Any:
    await fresh(page, base)
    return await page.evaluate("""(async () => { const got = []; for (const range of ['bytes=0-99', 'bytes=299990-', 'bytes=-1']) {
      const answer = await fetch('/answer/file', {headers: {Range: range}});
      got.push([answer.status, answer.headers.get('content-range'), (await answer.arrayBuffer()).byteLength]); } return got; })()""")


async def media_by_range(page: chromium.Page, base: str, _folder: Path) -> Any:
    """A video element asks for ranges; this is no video, and the error is what both say."""
    await fresh(page, base)
    since = len(page.events)
    await page.evaluate("(() => { const v = document.createElement('video'); v.src = '/answer/file'; document.body.append(v); v.load(); })()")
    got = await page.event("Network.responseReceived", since, type="Media")
    return [got["response"]["status"], got["response"]["headers"].get("Content-Range") or got["response"]["headers"].get("content-range")]


async def download(page: chromium.Page, base: str, folder: Path) -> Any:
    await fresh(page, base)
    target = folder / "downloads"
    target.mkdir(exist_ok=True)
    await page.call("Browser.setDownloadBehavior", behavior="allow", browserContextId=page.context, downloadPath=str(target), eventsEnabled=True)
    since = len(page.events)
    await page.evaluate("(() => { const a = document.createElement('a'); a.href = '/answer/file?save'; document.body.append(a); a.click(); })()")
    begun = await page.event("Browser.downloadWillBegin", since)
    await page.event("Browser.downloadProgress", since, state="completed")
    data = next(target.iterdir()).read_bytes()
    return [begun["suggestedFilename"], len(data), hashlib.sha256(data).hexdigest()]


async def back_from_the_cache(page: chromium.Page, base: str, _folder: Path) -> Any:
    """A conditional request of the browser's own cache."""
    await fresh(page, base)
    await page.call("Network.setCacheDisabled", cacheDisabled=False)
    try:
        return await page.evaluate("""(async () => { const got = [];
          for (const cache of ['default', 'no-cache', 'no-cache']) { const a = await fetch('/answer/file', {cache});
            got.push([a.status, (await a.arrayBuffer()).byteLength]); } return got; })()""")
    finally:
        await page.call("Network.setCacheDisabled", cacheDisabled=True)


async def redirected_page(page: chromium.Page, base: str, _folder: Path) -> Any:
    """Where the browser ends up, by its address line."""
    found = []
    for path in ("/answer/slash?a=[1]", "/answer/redirect-external", "/fixed/slash", "/fixed/redirect-external", "/answer/redirect?to=/echo%3Fa=b"):
        since = len(page.events)
        told = await page.call("Page.navigate", url=base + path)
        if told.get("errorText"):
            found.append([path, told["errorText"]])
            continue
        answer = await page.document(since, told.get("loaderId"))
        found.append([path, answer.status, await page.evaluate("location.href")])
    return found


async def guarded_form(page: chromium.Page, base: str, _folder: Path) -> Any:
    """Flask-WTF, as a browser fills it in."""
    found = []
    for path in ("/form", "/fixed/form"):
        await page.go(base + path)
        since = len(page.events)
        await page.evaluate("(() => { document.getElementById('name').value = 'ada'; document.getElementById('form').submit(); })()")
        answer = await page.document(since)
        found.append([path, answer.status, answer.body.decode()[:200]])
    return found


async def cross_origin(page: chromium.Page, base: str, _folder: Path) -> Any:
    """A page of another origin asks with a preflight; the origin is not the one that Console allows."""
    # It has no answer of a server to wait for.
    await page.call("Page.navigate", url="about:blank")
    return await page.evaluate(f"""(async () => {{ const got = [];
      for (const init of [{{}}, {{method: 'POST', headers: {{'X-A': '1'}}}}, {{mode: 'no-cors'}}]) {{
        try {{ const a = await fetch({json.dumps(base)} + '/answer/cors', init); got.push([a.type, a.status]); }} catch (e) {{ got.push(e.name); }} }}
      return got; }})()""")


PAGES: list[Callable[[chromium.Page, str, Path], Awaitable[Any]]] = [
    form_get, form_post, form_plain, form_files, upload_by_fetch, upload_by_xhr, beacon, events, events_come_as_they_are_sent, stream_by_fetch,
    socket_in_page, cancelled_fetch, many_at_once, range_by_fetch, media_by_range, download, back_from_the_cache, redirected_page,
    guarded_form, cross_origin]


def chromium_scripts(scene: Scene) -> list[Row] | str:
    if chromium.PROGRAM is None:
        return "chromium is not installed"

    async def every(base: str) -> list[Any]:
        found = []
        async with chromium.opened(base) as page:
            for one in PAGES:
                with tempfile.TemporaryDirectory(prefix="gate-clients-") as folder:
                    try:
                        found.append(await one(page, base, Path(folder)))
                    except (RuntimeError, TimeoutError, ValueError) as error:
                        found.append(f"{type(error).__name__}: {error}")
        return found
    rows = []
    for kind, bases in (("", (scene.direct, scene.through)), (", over TLS", (scene.direct_tls, scene.through_tls))):
        direct, through = (asyncio.run(every(base)) for base in bases)
        for one, left, right in zip(PAGES, direct, through):
            row = compared(one.__name__.replace("_", " ") + kind, left, right, bases)
            if not row.wrong and isinstance(left, str) and "Error" in left:
                row = Row(row.name, "equal", "differs", {"": (left, right)})
            rows.append(row)
    return rows


def cookies_of_a_browser(scene: Scene) -> list[Row] | str:
    """What a browser keeps and sends back, of a Console that sets cookies, also with attributes of its host."""
    if chromium.PROGRAM is None:
        return "chromium is not installed"

    async def every(base: str) -> Any:
        async with chromium.opened(base) as page:
            await page.go(f"{base}/answer/cookies")
            told = await page.call("Network.getCookies", urls=[base + "/answer"])
            kept = sorted([one["name"], one["value"], one["domain"], one["path"], one["httpOnly"], one["secure"]] for one in told["cookies"])
            sent = json.loads((await page.go(f"{base}/answer/slash/")).body)["cookies"]
            return {"kept": kept, "sent": sorted(sent)}
    rows = []
    for kind, bases in (("", (scene.direct, scene.through)), (", over TLS", (scene.direct_tls, scene.through_tls))):
        direct, through = (asyncio.run(every(base)) for base in bases)
        rows.append(compared("cookies that Console sets" + kind, direct, through, bases))
    return rows


# --- WebSockets

async def talk(base: str, context: ssl.SSLContext | None, path: str = "/socket", **options: Any) -> Any:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(base + path, ssl=context or True, max_msg_size=0, **options) as socket:
                said: list[Any] = [socket.protocol]
                for message in ("hello", "", "\u00fc\u4e2d", "x" * 300_000):
                    await socket.send_str(message)
                    said.append((await asyncio.wait_for(socket.receive(), SECONDS)).data[:20])
                for data in (b"", bytes(range(256)), b"\0" * 1_000_000):
                    await socket.send_bytes(data)
                    said.append(hashlib.sha256((await asyncio.wait_for(socket.receive(), SECONDS)).data).hexdigest())
                await socket.ping(b"ping")
                await asyncio.gather(*(socket.send_str(str(number)) for number in range(100)))
                said.append([(await asyncio.wait_for(socket.receive(), SECONDS)).data for _ in range(100)])
                await socket.send_str("close")
                last = await asyncio.wait_for(socket.receive(), SECONDS)
                said.append([str(last.type), last.data, last.extra])
                return said
        except aiohttp.WSServerHandshakeError as error:
            return ["refused", error.status]


def websockets(scene: Scene) -> list[Row]:
    trusted = ssl.create_default_context(cafile=str(scene.authority))
    rows = []
    # Console itself always in clear: over gunicorn's TLS, simple-websocket breaks off conversations with compression now and then.
    for kind, bases, context in (("", (scene.direct, scene.through), None), (", over TLS", (scene.direct, scene.through_tls), trusted)):
        for name, path, options in (("a conversation", "/socket", {}), ("a conversation with a protocol", "/socket?a=[b]", {"protocols": ["echo.v1"]}),
                                    ("a conversation with compression offered", "/socket", {"compress": 15}),
                                    ("a conversation of another origin", "/socket", {"origin": "https://other.test"}),
                                    ("where nobody listens", "/free/socket", {})):
            direct, through = (asyncio.run(talk(base, context, path, **options)) for base in bases)
            if path == "/free/socket":
                # The row does not say `websocket = true`: refused, `upgrade` in docs/requests.md.
                ok = through == ["refused", 400] or direct == through
                rows.append(Row(name + kind, "equal or refused:upgrade", "refused:upgrade", {} if ok else {"": (direct, through)}))
            else:
                rows.append(compared(name + kind, direct, through, bases))
        direct, through = (many_sockets(base, context) for base in bases)
        rows.append(compared("ten at once, left open for a while" + kind, direct, through, bases))
    return rows


def many_sockets(base: str, context: ssl.SSLContext | None) -> Any:
    async def one(session: aiohttp.ClientSession, number: int) -> Any:
        async with session.ws_connect(base + "/socket", ssl=context or True) as socket:
            await asyncio.sleep(LEFT_OPEN_SECONDS)
            await socket.send_str(str(number))
            return (await asyncio.wait_for(socket.receive(), SECONDS)).data

    async def every() -> Any:
        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(one(session, number) for number in range(10)))
    return asyncio.run(every())


# --- Flask-WTF

def forms(scene: Scene) -> list[Row]:
    """A form with its token, as a browser sends it; over TLS Flask-WTF compares the Referer with the host that it sees."""
    rows = []
    for kind, bases in (("", (scene.direct, scene.through)), (" over TLS", (scene.direct_tls, scene.through_tls))):
        for path in ("/form", "/fixed/form"):
            proxied = ", behind ProxyFix" if "fixed" in path else ""
            for name, change in (("sent", {}), ("sent without its token", {"token": ""}), ("sent from another site", {"referer": "https://evil.test/"}),
                                 ("sent without a Referer", {"referer": None})):
                direct, through = (fill_in(base, str(scene.authority), path, **change) for base in bases)
                row = compared(f"form {name}{kind}{proxied}", direct, through, bases)
                wanted = 200 if name == "sent" or kind == "" and "token" not in change else 400
                if direct[0] != wanted:
                    row.wrong["Console itself"] = (f"{wanted} is expected", direct)
                rows.append(row)
    return rows


def fill_in(base: str, authority: str, path: str, token: str | None = None, referer: str | None = "") -> list[Any]:
    with requests.Session() as session:
        session.trust_env, session.verify = False, authority
        page = session.get(base + path, timeout=SECONDS).text
        found = re.search(r'name="csrf_token"[^>]*value="([^"]*)"', page)
        assert found, page
        fields = {"csrf_token": html.unescape(found[1]) if token is None else token, "name": "ada"}
        headers = {} if referer is None else {"Referer": referer or base + path, "Origin": base}
        answer = session.post(base + path, data=fields, headers=headers, timeout=SECONDS)
        return [answer.status_code, answer.text[:300]]


# --- Load

def load_ab(scene: Scene) -> list[Row] | str:
    """Apache's ab, HTTP/1.0, with and without keep-alive: each request has its answer, of the same length."""
    if not shutil.which("ab"):
        return "ab (apache2-utils) is not installed"
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"a=1&b=2")
        body.flush()
        kinds = {"GET": ["/answer/large?size=1000"], "GET, keep-alive": ["-k", "/answer/large?size=1000"], "HEAD": ["-i", "/answer/large?size=1000"],
                 "GET of a stream": ["/answer/stream"], "GET of a stream, keep-alive": ["-k", "/answer/stream"],
                 "GET of 1 MiB": ["-k", "/answer/large"], "GET with fields": ["-k", "-C", "a=b", "-H", "X-A: b", "-A", "ada:secret", "/answer/basic"],
                 "POST": ["-k", "-p", body.name, "-T", "application/x-www-form-urlencoded", "/answer/early"],
                 "GET of what is not there": ["-k", "/free/nowhere"]}
        rows = []
        for name, (*options, path) in kinds.items():
            def run(base: str, options: list[str] = options, path: str = path) -> dict[str, str]:
                ran = subprocess.run(["ab", "-q", "-n", "200", "-c", "8", "-s", "20", *options, base + path], capture_output=True, text=True,
                                     check=False, timeout=SECONDS * 2)
                wanted = ("Complete requests", "Failed requests", "Write errors", "Non-2xx responses", "Document Length", "HTML transferred",
                          "Keep-Alive requests")
                told = dict(re.findall(rf"({'|'.join(wanted)}):\s+(\d+)", ran.stdout))
                # How many answers a server gives on one connection is its own affair.
                if "Keep-Alive requests" in told:
                    told["Keep-Alive requests"] = "some" if int(told["Keep-Alive requests"]) else "none"
                return told or {"trouble": (ran.stderr or ran.stdout)[-300:]}
            rows.append(compared(name, run(scene.direct), run(scene.through), (scene.direct, scene.through)))
        return rows


def load_h2load(scene: Scene) -> list[Row] | str:
    """nghttp2's h2load over TLS: HTTP/2 through the gate, HTTP/1.1 to both."""
    if not shutil.which("h2load"):
        return "h2load (nghttp2-client) is not installed"
    rows = []
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"x" * 10_000)
        body.flush()
        kinds = {"GET": ["/answer/large?size=1000"], "GET of 1 MiB": ["/answer/large"], "GET of a stream": ["/answer/stream"],
                 "POST": ["-d", body.name, "/answer/early"], "HEAD": ["-H", ":method: HEAD", "/answer/large?size=1000"],
                 "GET with fields": ["-H", "x-a: b", "-H", "cookie: a=b", "/echo"]}
        for name, (*options, path) in kinds.items():
            def run(base: str, *more: str, options: list[str] = options, path: str = path) -> Any:
                ran = subprocess.run(["h2load", "-n", "400", "-c", "8", *more, *options, base + path], capture_output=True, text=True,
                                     check=False, timeout=SECONDS * 2)
                requested = re.search(r"requests: .*", ran.stdout)
                codes = re.search(r"status codes: .*", ran.stdout)
                data = re.search(r"\((\d+)\) data", ran.stdout)
                return [requested and requested[0], codes and codes[0], data[1] if data and path != "/echo" else None]
            bases = (scene.direct_tls, scene.through_tls)
            if name == "HEAD":
                # Over HTTP/1.1 h2load waits for the body of HEAD; this is what it says of 400 answers without one.
                direct: Any = ["requests: 400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout",
                               "status codes: 400 2xx, 0 3xx, 0 4xx, 0 5xx", "0"]
            else:
                direct = run(scene.direct_tls, "--h1")
                rows.append(compared(f"{name}, HTTP/1.1", direct, run(scene.through_tls, "--h1"), bases))
            rows.append(compared(f"{name}, HTTP/2", direct, run(scene.through_tls, "-m", "10"), bases))
            rows.append(compared(f"{name}, HTTP/2 in clear", direct, run(scene.through, "-m", "10"), bases))
    return rows
