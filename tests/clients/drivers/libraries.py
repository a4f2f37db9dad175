"""Python's clients: requests, urllib3, httpx over HTTP/1.1 and HTTP/2, aiohttp. Each keeps its connections.

A function asks every variant of one base URL, in order.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, Iterable, Iterator

from variants import Variant
from wire import Answer, bytes_of, shorten, trouble, unsendable

SECONDS = 60


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 65536):
        yield body[start:start + 65536]


def content(variant: Variant) -> Any:
    """The body as these libraries take it: bytes, or a generator for one without a length."""
    body = bytes_of(variant.body)
    return pieces(body) if body is not None and "chunked" in variant.options else body


def shown(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
    return Answer(status, list(headers), shorten(body))


def joined(variant: Variant) -> dict[str, str | bytes]:
    """Fields for a library that takes a dictionary; it has no way to send two of one name."""
    fields: dict[str, str | bytes] = {}
    for name, value in variant.headers:
        if name in fields:
            raise NotImplementedError("it takes one field of a name")
        # What is not Latin-1 goes out as the bytes of UTF-8.
        fields[name] = value.encode()
    return fields


def with_requests(base: str, authority: str, variants: Iterable[Variant]) -> list[Answer]:
    import requests

    session = requests.Session()
    session.trust_env, session.verify = False, authority

    def ask(variant: Variant) -> Answer:
        # Each request with no cookies but its own.
        session.cookies.clear()
        request = session.prepare_request(
            requests.Request(variant.method, base + variant.url, headers=joined(variant), data=content(variant)))
        answer = session.send(request, allow_redirects="follow" in variant.options, timeout=SECONDS, verify=authority)
        return shown(answer.status_code, answer.raw.headers.items(), answer.content)
    refusals = (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, NotImplementedError, UnicodeError)
    return [attempt(ask, variant, refusals) for variant in variants]


def with_urllib3(base: str, authority: str, variants: Iterable[Variant]) -> list[Answer]:
    import urllib3

    pool = urllib3.PoolManager(ca_certs=authority, retries=False)

    def ask(variant: Variant) -> Answer:
        headers = urllib3.HTTPHeaderDict()
        for name, value in variant.headers:
            headers.add(name, value.encode().decode("latin-1"))
        answer = pool.request(variant.method, base + variant.url, headers=headers, body=content(variant), timeout=SECONDS,
                              redirect="follow" in variant.options,
                              retries=urllib3.Retry(5) if "follow" in variant.options else False)
        return shown(answer.status, answer.headers.items(), answer.data)
    return [attempt(ask, variant, (ValueError, urllib3.exceptions.LocationParseError)) for variant in variants]


def with_httpx(base: str, authority: str, variants: Iterable[Variant], http2: bool = False) -> list[Answer]:
    import ssl

    import httpx

    logging.getLogger("httpx").setLevel(logging.WARNING)
    with httpx.Client(http2=http2, verify=ssl.create_default_context(cafile=authority), trust_env=False, timeout=SECONDS) as client:
        def ask(variant: Variant) -> Answer:
            client.cookies.clear()
            fields = [(name.encode(), value.encode()) for name, value in variant.headers]
            answer = client.request(variant.method, base + variant.url, headers=fields, content=content(variant),
                                    follow_redirects="follow" in variant.options)
            return shown(answer.status_code, answer.headers.multi_items(), answer.content)
        refusals = (httpx.LocalProtocolError, httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, ValueError)
        return [attempt(ask, variant, refusals) for variant in variants]


def with_httpx_http2(base: str, authority: str, variants: Iterable[Variant]) -> list[Answer]:
    return with_httpx(base, authority, variants, http2=True)


def with_aiohttp(base: str, authority: str, variants: Iterable[Variant]) -> list[Answer]:
    import ssl

    import aiohttp
    from multidict import CIMultiDict

    async def ask(session: aiohttp.ClientSession, variant: Variant) -> Answer:
        # It would decode the answer's bytes; headers go out as UTF-8.
        headers = CIMultiDict(variant.headers)
        body: Any = bytes_of(variant.body)
        if body is not None and "chunked" in variant.options:
            whole = body

            async def generate() -> Any:
                for piece in pieces(whole):
                    yield piece
            body = generate()
        async with session.request(variant.method, base + variant.url, headers=headers, data=body,
                                   allow_redirects="follow" in variant.options) as answer:
            fields = [(name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in answer.raw_headers]
            return shown(answer.status, fields, await answer.read())

    async def every() -> list[Answer]:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority))
        # The cookies of one answer are not sent with the next request.
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
                                         timeout=aiohttp.ClientTimeout(SECONDS), max_line_size=65536, max_field_size=65536) as session:
            found = []
            for variant in variants:
                try:
                    found.append(await ask(session, variant))
                except (aiohttp.InvalidURL, ValueError, UnicodeError) as error:
                    found.append(unsendable(repr(error)))
                except (aiohttp.ClientError, OSError) as error:
                    found.append(trouble(repr(error)))
            return found
    return asyncio.run(every())


def attempt(ask: Callable[[Variant], Answer], variant: Variant, refusals: tuple[type[Exception], ...]) -> Answer:
    try:
        return ask(variant)
    except refusals as error:
        return unsendable(repr(error))
    except Exception as error:  # noqa: BLE001  # each library has its own
        return trouble(repr(error))
