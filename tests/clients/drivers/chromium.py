"""Debian's chromium, by its DevTools protocol: pages, `fetch`, forms, uploads, event streams, WebSockets, downloads."""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, AsyncIterator, Iterable

import aiohttp

from variants import Variant
from wire import Answer, shorten, trouble, unsendable

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
START_SECONDS, SECONDS = 60, 20
# Fetch standard: what a page may not set. Chromium drops them without a word.
FORBIDDEN = {"accept-charset", "accept-encoding", "access-control-request-headers", "access-control-request-method", "connection",
             "content-length", "cookie", "date", "dnt", "expect", "host", "keep-alive", "origin", "referer", "te", "trailer",
             "transfer-encoding", "upgrade", "via"}

FETCH = """async (number, method, url, headers, body, size, follow, stream) => {
  const init = {method, headers, redirect: follow ? 'follow' : 'manual', cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(30000)};
  if (size !== null) body = new TextEncoder().encode('0123456789abcdef'.repeat(size / 16 + 1).slice(0, size));
  else if (body !== null) body = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
  if (body !== null) init.body = body;
  if (stream) { init.body = new Blob([body]).stream(); init.duplex = 'half'; }
  let request;
  try { request = new Request(url, init); } catch (error) { return {unsendable: String(error)}; }
  try {
    const answer = await fetch(request);
    // What a page may not look into; that it was a redirect is all that it learns.
    if (answer.type === 'opaqueredirect') return {status: 399, headers: [], body: ''};
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const reader = new FileReader();
    const text = await new Promise((done) => { reader.onload = () => done(reader.result); reader.readAsDataURL(new Blob([bytes])); });
    return {status: answer.status, headers: [...answer.headers], body: text.slice(text.indexOf(',') + 1)};
  } catch (error) { return {trouble: String(error)}; }
}"""


class Page:
    """A tab, and what its browser says about it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, context: str = "") -> None:
        self._socket, self._next, self.events = socket, 0, list[dict[str, Any]]()
        self.context = context
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            else:
                self.events.append(told)
                self._news.set()

    async def call(self, method: str, **parameters: Any) -> Any:
        self._next += 1
        waiting = self._waiting[self._next] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._next, "method": method, "params": parameters})
        told = await asyncio.wait_for(waiting, SECONDS)
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']['message']}")
        return told["result"]

    async def evaluate(self, script: str) -> Any:
        """The value of an expression, awaited."""
        told = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in told:
            raise RuntimeError(json.dumps(told["exceptionDetails"].get("exception", told["exceptionDetails"]))[:500])
        return told["result"].get("value")

    async def event(self, name: str, since: int = 0, **equals: Any) -> dict[str, Any]:
        """The first event of the name, after `since` others, whose parameters have these values."""
        return (await self.first((name,), since, **equals))["params"]

    async def ended(self, request: str, since: int) -> bool:
        """Waits for the end of a request: whether its answer is whole."""
        event = await self.first(("Network.loadingFinished", "Network.loadingFailed"), since, requestId=request)
        return bool(event["method"] == "Network.loadingFinished")

    async def first(self, names: tuple[str, ...], since: int, **equals: Any) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while True:
            for event in self.events[since:]:
                if event["method"] in names and all(event["params"].get(key) == value for key, value in equals.items()):
                    return event
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), max(deadline - time.monotonic(), 0.001))
            except TimeoutError:
                raise TimeoutError(f"no {' or '.join(names)} after {SECONDS} s") from None

    async def go(self, url: str) -> Answer:
        """Opens a page, as from the address line."""
        since = len(self.events)
        told = await self.call("Page.navigate", url=url)
        if told.get("errorText"):
            return trouble(told["errorText"])
        return await self.document(since, told.get("loaderId"))

    async def document(self, since: int, loader: str | None = None) -> Answer:
        """What the main frame got."""
        chosen = {"loaderId": loader} if loader else {"type": "Document"}
        got = await self.event("Network.responseReceived", since, **chosen)
        request = got["requestId"]
        data = b""
        # What the browser does not show, such as a refusal as JSON, it gives up.
        if await self.ended(request, since):
            await self.event("Page.loadEventFired", since)
            body = await self.call("Network.getResponseBody", requestId=request)
            data = base64.b64decode(body["body"]) if body["base64Encoded"] else body["body"].encode()
        headers = [(name, part) for name, value in got["response"]["headers"].items() for part in value.split("\n")]
        return Answer(got["response"]["status"], headers, shorten(data))


class Browser:
    """The one process of a test run. Who opens a page gets a context of their own, with its own cookies, cache and sockets."""

    _running: Browser | None = None

    @classmethod
    def running(cls) -> Browser:
        if cls._running is None or cls._running.process.poll() is not None:
            cls._running = cls()
        return cls._running

    def __init__(self) -> None:
        if PROGRAM is None:
            raise RuntimeError("chromium is not installed")
        self.profile = tempfile.mkdtemp(prefix="gate-chromium-", dir="/tmp")
        command = [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                   "--disable-extensions", "--no-proxy-server", "--ignore-certificate-errors", "--remote-debugging-port=0",
                   f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                        env={**os.environ, "HOME": self.profile})
        atexit.register(self.stop)
        port = Path(self.profile, "DevToolsActivePort")
        deadline = time.monotonic() + START_SECONDS
        while not port.exists() or len(port.read_text().splitlines()) < 2:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("chromium does not start")
            time.sleep(0.05)
        number, path = port.read_text().splitlines()[:2]
        self.at, self.path = f"ws://127.0.0.1:{number}", path

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


@contextlib.asynccontextmanager
async def opened(base: str) -> AsyncIterator[Page]:
    """A tab in a context of its own, on the page of the tests."""
    browser = Browser.running()
    async with aiohttp.ClientSession() as session, session.ws_connect(browser.at + browser.path, max_msg_size=0) as whole:
        control = Page(whole)
        context = (await control.call("Target.createBrowserContext"))["browserContextId"]
        try:
            target = (await control.call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
            async with session.ws_connect(f"{browser.at}/devtools/page/{target}", max_msg_size=0) as socket:
                page = Page(socket, context)
                for domain in ("Page", "Runtime", "Network", "DOM"):
                    await page.call(f"{domain}.enable")
                await page.call("Network.setCacheDisabled", cacheDisabled=True)
                await page.go(f"{base}/page")
                yield page
        finally:
            await control.call("Target.disposeBrowserContext", browserContextId=context)


def with_fetch(base: str, _authority: str, variants: Iterable[Variant]) -> list[Answer]:
    async def ask(page: Page, number: int, variant: Variant) -> Answer:
        forbidden = [name for name, _ in variant.headers
                     if name.lower() in FORBIDDEN or name.lower().startswith(("sec-", "proxy-"))]
        if forbidden:
            return unsendable(f"a page may not set {forbidden[0]}")
        if variant.method == "TRACE":
            return unsendable("a page may not send it")
        if "chunked" in variant.options and base.startswith("http:"):
            return unsendable("bodies without a length are for HTTP/2")
        if variant.url == "/answer/basic" and not variant.headers:
            return unsendable("the browser would ask a person for the password")
        size = variant.body if isinstance(variant.body, int) else None
        body = base64.b64encode(variant.body).decode() if isinstance(variant.body, bytes) else None
        parts = [number, variant.method, variant.url, list(variant.headers), body, size, "follow" in variant.options, "chunked" in variant.options]
        told = await page.evaluate(f"({FETCH})(...{json.dumps(parts)})")
        if "unsendable" in told:
            return unsendable(told["unsendable"])
        if "trouble" in told:
            return trouble(told["trouble"])
        return Answer(told["status"], [tuple(header) for header in told["headers"]], shorten(base64.b64decode(told["body"])))

    async def every() -> list[Answer]:
        async with opened(base) as page:
            return [await ask(page, number, variant) for number, variant in enumerate(variants)]
    return asyncio.run(every())


def with_navigation(base: str, _authority: str, variants: Iterable[Variant]) -> list[Answer]:
    """What a page can be opened with: GET, no fields of one's own, and an answer that is shown."""
    async def ask(page: Page, variant: Variant) -> Answer:
        if variant.method != "GET" or variant.headers or variant.body is not None:
            return unsendable("the address line has no methods, fields or bodies")
        if not variant.url.startswith(("/echo", "/segment", "/number", "/fixed", "/answer/slash", "/answer/external", "/page")):
            return unsendable("nothing that a page shows")
        if "redirect" in variant.name and "follow" not in variant.options:
            return unsendable("a browser follows redirects")
        try:
            return await page.go(base + variant.url)
        except TimeoutError as error:
            return trouble(error)

    async def every() -> list[Answer]:
        async with opened(base) as page:
            return [await ask(page, variant) for variant in variants]
    return asyncio.run(every())
