"""curl and wget: a process for each request, a few at a time."""

from __future__ import annotations

import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterable

from variants import Variant
from wire import Answer, bytes_of, shorten, trouble, unsendable

AT_ONCE = 4
SECONDS = 30
METHODS_OF_WGET = re.compile(r"[A-Z]+")


def last_head(head: bytes) -> tuple[int, list[tuple[str, str]]]:
    """The status and the fields of the last of several heads: 100, then the redirects, then the answer."""
    text = head.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
    blocks = [block for block in re.split(r"(?:\r?\n){2,}", text) if block.startswith("HTTP/")]
    if not blocks:
        return 0, []
    first, *lines = re.split(r"\r?\n", blocks[-1])
    fields = [(name.strip(), value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon]
    return int(first.split(" ")[1]), fields


def ask_all(ask: Callable[[Variant, Path], Answer], variants: Iterable[Variant]) -> list[Answer]:
    with tempfile.TemporaryDirectory(prefix="gate-clients-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        def one(numbered: tuple[int, Variant]) -> Answer:
            number, variant = numbered
            at = Path(folder, str(number))
            at.mkdir()
            body = bytes_of(variant.body)
            if body is not None:
                (at / "sent").write_bytes(body)
            try:
                return ask(variant, at)
            except subprocess.TimeoutExpired:
                return trouble(f"it had no answer after {SECONDS} s")
        return list(pool.map(one, enumerate(variants)))


def with_curl(*options: str) -> Callable[[str, str, Iterable[Variant]], list[Answer]]:
    def ask_every(base: str, authority: str, variants: Iterable[Variant]) -> list[Answer]:
        def ask(variant: Variant, at: Path) -> Answer:
            # -g: brackets and braces are the URL's.
            command = ["curl", "-q", "-g", "--silent", "--show-error", "--cacert", authority, "--dump-header", at / "head", "--output",
                       at / "body", "--max-time", str(SECONDS), "--header", "User-Agent: curl", *options]
            if variant.method == "HEAD":
                command.append("--head")
            elif variant.method != "GET" or variant.body is not None:
                command += ["--request", variant.method]
            for name, value in variant.headers:
                # curl sends an empty field as `Name;`.
                command += ["--header", f"{name}: {value}" if value else f"{name};"]
            if variant.body is not None:
                command += ["--data-binary", f"@{at / 'sent'}"]
                if "content-type" not in {name.lower() for name, _ in variant.headers}:
                    command += ["--header", "Content-Type:"]
                if "chunked" in variant.options:
                    if "--http1.0" in options:
                        return unsendable("HTTP/1.0 has no chunks")
                    command += ["--header", "Transfer-Encoding: chunked"]
            if "follow" in variant.options:
                command.append("--location")
            ran = subprocess.run([*command, base + variant.url], capture_output=True, check=False, timeout=SECONDS + 10)
            said = ran.stderr.decode(errors="replace").strip()
            if ran.returncode == 3:
                return unsendable(said)
            status, fields = last_head((at / "head").read_bytes() if (at / "head").exists() else b"")
            if ran.returncode or not status:
                return trouble(f"curl exited with {ran.returncode}: {said}; status {status}")
            # With `--head` the head is what curl puts out.
            has_body = variant.method != "HEAD" and (at / "body").exists()
            return Answer(status, fields, shorten((at / "body").read_bytes() if has_body else b""))
        return ask_all(ask, variants)
    return ask_every


def with_wget(base: str, authority: str, variants: Iterable[Variant]) -> list[Answer]:
    def ask(variant: Variant, at: Path) -> Answer:
        command = ["wget", "--no-config", "--quiet", "--tries=1", "--no-cookies", f"--timeout={SECONDS}", f"--ca-certificate={authority}",
                   "--no-hsts", "--content-on-error", "--server-response", f"--output-document={at / 'body'}", "--no-iri"]
        if not METHODS_OF_WGET.fullmatch(variant.method):
            return unsendable("wget's methods are of capital letters")
        if "chunked" in variant.options:
            return unsendable("wget has no chunked bodies")
        if variant.method != "GET" or variant.body is not None:
            command.append(f"--method={variant.method}")
        names = [name.lower() for name, _ in variant.headers]
        if len(set(names)) < len(names):
            return unsendable("wget sends one field of a name")
        command += [f"--header={name}: {value}" for name, value in variant.headers]
        if variant.body is not None:
            command.append(f"--body-file={at / 'sent'}")
        if "follow" not in variant.options:
            command.append("--max-redirect=0")
        if "304" in variant.url or {"if-none-match", "if-modified-since"} & set(names):
            # wget reads the body of a 304 on to the end of the connection, which there is none of.
            command.append("--no-http-keep-alive")
        ran = subprocess.run([*command, base + variant.url], capture_output=True, check=False, timeout=SECONDS + 10)
        # `--server-response` writes each line of a head with two spaces before it.
        status, fields = last_head(re.sub(rb"(?m)^  (?=HTTP/)", b"\n\n", re.sub(rb"(?m)^  (?!HTTP/)", b"", ran.stderr)))
        if not status:
            said = ran.stderr.decode(errors="replace").strip()
            return (unsendable if ran.returncode in (1, 2) else trouble)(f"wget exited with {ran.returncode}: {said[-300:]}")
        return Answer(status, fields, shorten((at / "body").read_bytes() if (at / "body").exists() else b""))
    return ask_all(ask, variants)
