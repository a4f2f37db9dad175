"""Writes what the book is built of: the pages of the repository, and the reference pages, which are made here.

    python docs/build.py SOURCE             # writes SOURCE, for `mdbook build SOURCE`
    python docs/build.py --check BOOK       # every link of a built book leads somewhere

GATE=... is the gate that is asked for its commands, findings and metrics; by default target/debug/console-gate. Nothing of
this is checked in, so nothing of it can be stale.
"""

from __future__ import annotations

import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GATE = Path(os.environ.get("GATE", ROOT / "target" / "debug" / "console-gate")).resolve()
PAGES = ("README.md", "SECURITY.md", "ARCHITECTURE.md", "CHANGELOG.md")
# Made by others, or of this book's own making.
NOT_PAGES = ("SUMMARY.md",)
LINK = re.compile(r"(?<!!)\[([^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\(([^()\s]+)\)")
START_SECONDS = 60


# --- pages ---

def page_of(path: str) -> str:
    """The name in the book: mdBook calls a folder's first page `index`."""
    return re.sub(r"(^|/)README\.md$", r"\1index.md", path)


def pages() -> list[str]:
    """Every page of the repository that is in the book."""
    found = [*PAGES, *(str(file.relative_to(ROOT)) for folder in ("docs", "deploy") for file in sorted((ROOT / folder).rglob("*.md")))]
    return [path for path in found if Path(path).name not in NOT_PAGES]


def relinked(text: str, page: str, known: set[str]) -> str:
    """Links to pages and files of the book, as the book names them; what is not in the book becomes text."""
    def one(found: re.Match[str]) -> str:
        label, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found.group(0)
        path, hash_sign, anchor = target.partition("#")
        whole = os.path.normpath(os.path.join(os.path.dirname(page), path))
        if f"{whole}/README.md" in known:
            whole += "/README.md"
        if whole not in known:
            if not (ROOT / whole).exists():
                raise SystemExit(f"docs: {page} links to {target}, which does not exist")
            return label if label.startswith("`") else f"{label} (`{whole}`)"
        return f"[{label}]({os.path.relpath(page_of(whole), os.path.dirname(page) or '.')}{hash_sign}{anchor})"

    # Not in code; a link's text may be code.
    parts = re.split(r"(^```.*?^```$|(?<!\[)`(?!\])[^`\n]+`(?!\]))", text, flags=re.M | re.S)
    return "".join(part if number % 2 else LINK.sub(one, part) for number, part in enumerate(parts))


def section_of_readme(heading: str) -> str:
    """The text below a heading, with links from a folder below README's."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    if not text:
        raise SystemExit(f"docs: README.md has no `## {heading}`")
    return re.sub(r"\]\((?![a-z]+:|#)", "](../", text)


def quickstart() -> str:
    """How to try the gate without an app, and README's first hour."""
    return (f"# Quickstart\n\n## Without an app\n{section_of_readme('Try it')}\n"
            f"## In front of your own app\n{section_of_readme('Put it in front of your own app')}\n")


# --- reference ---

def gate(*words: str) -> str:
    ran = subprocess.run([GATE, *words], check=False, capture_output=True, text=True, cwd=tempfile.gettempdir(),
                         env={name: value for name, value in os.environ.items() if not name.startswith("CONSOLE_")})
    if ran.returncode != 0:
        raise SystemExit(f"docs: {GATE} {' '.join(words)}: {ran.stderr}")
    return ran.stdout


def subcommands(help_text: str) -> list[str]:
    """What stands between the usage and the options, under one heading or several; arguments are in angle brackets."""
    listed = help_text.partition("\nUsage: ")[2].partition("\nOptions:\n")[0]
    return [name for name in re.findall(r"(?m)^  ([a-z][a-z-]*) ", listed) if name != "help"]


def commands() -> str:
    """`--help` of every command."""
    texts: dict[tuple[str, ...], str] = {}
    waiting: list[tuple[str, ...]] = [()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while waiting:
            for words, text in zip(waiting, pool.map(lambda words: gate(*words, "--help"), waiting)):
                texts[words] = text
            waiting = [(*words, name) for words in waiting for name in subcommands(texts[words])]
    order = sorted(texts, key=lambda words: [subcommands(texts[words[:depth]]).index(word) for depth, word in enumerate(words)])
    parts = ["# Commands\n\nWhat each says with `--help`; `console-gate man FOLDER` writes it as man pages."]
    for words in order:
        parts.append(f"{'#' * min(2 + max(len(words) - 1, 0), 4)} {' '.join(('console-gate', *words))}\n\n"
                     f"```text\n{texts[words].strip()}\n```")
    return "\n\n".join(parts) + "\n"


def settings() -> str:
    """deploy/gate.toml, a heading for each section."""
    text = (ROOT / "deploy" / "gate.toml").read_text(encoding="utf-8")
    head, *sections = re.split(r"(?m)^(?=\[[a-z_.]+\]$)", text)
    said = "\n".join(line.removeprefix("#").strip() for line in head.splitlines() if line.startswith("#"))
    first = "\n".join(line for line in head.splitlines() if line and not line.startswith("#"))
    parts = [f"# Settings: gate.toml\n\n{said}\n\n```toml\n{first}\n```"]
    schema = ROOT / "deploy" / "schema" / "gate.schema.json"
    if schema.exists():
        parts.append("For editors: [JSON Schema](../deploy/schema/gate.schema.json), and [that of routes.toml]"
                     "(../deploy/schema/routes.schema.json).")
    for section in sections:
        name = section.partition("]")[0] + "]"
        parts.append(f"## {name}\n\n```toml\n{section.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def findings() -> str:
    return ("# Findings about routes.toml\n\nEvery kind, as `console-gate check --list` prints it. `check` exits 1 at a warning, "
            f"or at an error with `--deny error`.\n\n```text\n{gate('check', '--list').strip()}\n```\n")


MESSAGES = {
    "mapping": ("Messages about routes.toml", "Rows that `check` refuses or warns of"),
    "settings": ("Messages about gate.toml", "Settings with which nothing starts"),
    "commands": ("Messages of commands", "Command lines"),
}


def messages(kind: str) -> str:
    """What is said of each mistake of tests/workbench/mistakes: those texts are compared in the tests."""
    title, what = MESSAGES[kind]
    text = (ROOT / "tests" / "workbench" / "golden" / "mistakes" / f"{kind}.txt").read_text(encoding="utf-8")
    parts = [f"# {title}\n\n{what}, and what is said of them: search this page for a word of the message that you have."]
    for block in re.split(r"(?m)^--- ", text)[1:]:
        name, _, rest = block.partition("\n")
        written, _, said = rest.partition("\n\nexit ")
        code, _, said = said.partition("\n")
        language = "console" if kind == "commands" else "toml"
        written = "\n".join(f"$ console-gate {line}" for line in written.strip().splitlines()) if kind == "commands" else written.strip()
        parts.append(f"## {name.strip()}\n\n```{language}\n{written}\n```\n\nIt exits with {code.strip()}:\n\n```text\n{said.strip()}\n```")
    if len(parts) < 20:
        raise SystemExit(f"docs: {len(parts)} messages of {kind}")
    return "\n\n".join(parts) + "\n"


def scraped() -> str:
    """/metrics of a gate that has just started."""
    with tempfile.TemporaryDirectory(prefix="gate-docs-") as folder:
        (Path(folder) / "gate.toml").write_text('[mapping]\nfile = "routes.toml"\n', encoding="utf-8")
        (Path(folder) / "routes.toml").write_text(
            'version = 1\nunmapped = "deny"\n[clusters]\na = "legacy"\n[blueprints.a]\ncluster = "a"\n[blueprints.a.routes]\n'
            '"GET /" = { legacy = ["x"], undecided = "x" }\n', encoding="utf-8")
        admin = f"unix:{folder}/admin.sock"
        key = gate("keygen").strip()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CONSOLE_", "FLAG_"))}
        environment |= {"CONSOLE_GATE_KEYS": key, "CONSOLE_GATE_AUDIT_KEYS": key, "CONSOLE_SECRET_KEY": "a secret of the book's build"}
        # An app of its own: the smallest tables that [console] can read.
        subprocess.run([sys.executable, "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("
                        "'CREATE TABLE people (id TEXT PRIMARY KEY, role TEXT)')", f"{folder}/gate.sqlite"], check=True)
        with open(Path(folder) / "gate.toml", "a", encoding="utf-8") as file:
            file.write('[console]\nadmins = "SELECT id, 0 AS disabled, id AS label FROM people WHERE id = $1"\n'
                       'all_admins = "SELECT id, 0 AS disabled, id AS label FROM people"\n'
                       'legacy_roles = "SELECT role FROM people WHERE id = $1"\n'
                       'all_legacy_roles = "SELECT id AS admin_id, role FROM people"\nadmins_key = "people.id"\n')
        log = Path(folder) / "log"
        with open(log, "wb") as output:
            process = subprocess.Popen([GATE, "serve", "--config", "gate.toml", "--admin", admin, "--listen", f"unix:{folder}/proxy.sock",
                                        "--database", f"sqlite:{folder}/gate.sqlite"], cwd=folder, env=environment, stdout=output,
                                       stderr=output)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                ran = subprocess.run(["curl", "-sf", "--unix-socket", f"{folder}/admin.sock", "http://gate/metrics"], check=False,
                                     capture_output=True, text=True)
                if "gate_mapping_info" in ran.stdout:
                    return ran.stdout
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"docs: no metrics\n{log.read_text()}")
                time.sleep(0.1)
        finally:
            process.terminate()
            process.wait()


TEXT = r'"((?:[^"\\]|\\.|\\\n)*)"'
# How the source declares a metric: in a table of a kind, as a family that is written at each scrape, or where it is counted.
TABLE = re.compile(rf'const (\w+):|\(\s*"((?:gate|process)_\w+)",\s*{TEXT}')
FAMILY = re.compile(rf'let help =\s*{TEXT}|\bfamily\(\s*"(\w+)",\s*Kind::(\w+),\s*(?:{TEXT})?')
COUNTED = re.compile(r'\b(counter|gauge|histogram)!\(\s*"((?:gate|process)_\w+)"')


def declared() -> tuple[dict[str, str], dict[str, str]]:
    """What each metric of the source is, and its kind."""
    known: dict[str, str] = {}
    kinds: dict[str, str] = {}

    def add(name: str, kind: str, said: str) -> None:
        known[name] = known.get(name) or re.sub(r"\\\n\s*", "", said).replace('\\"', '"')
        kinds.setdefault(name, kind.lower())

    for file in sorted((ROOT / "src").rglob("*.rs")):
        text = file.read_text(encoding="utf-8")
        kind = ""
        for table, name, said in TABLE.findall(text) if "metrics" in (file.stem, file.parent.name) else ():
            if table:
                kind = next((word for word in ("counter", "gauge", "histogram") if table.lower().startswith(word)), "")
            else:
                add(name, kind, said)
        help_text = ""
        for before, name, kind, said in FAMILY.findall(text):
            if name:
                add(name, kind, said or help_text)
            else:
                help_text = before
        for kind, name in COUNTED.findall(text):
            add(name, kind, "")
    return known, kinds


def metrics() -> str:
    """Of the source, and of a running gate: some series are there only once there is something to say."""
    known, kinds = declared()
    labels: dict[str, set[str]] = {}
    for line in scraped().splitlines():
        if found := re.match(r"# (HELP|TYPE) (\w+) (.+)", line):
            (known if found.group(1) == "HELP" else kinds)[found.group(2)] = found.group(3)
        elif found := re.match(r"(\w+)\{([^}]*)\}", line):
            names = set(re.findall(r'(\w+)="', found.group(2))) - {"le", "quantile"}
            labels.setdefault(re.sub(r"_(bucket|sum|count)$", "", found.group(1)), set()).update(names)
    if len(known) < 40:
        raise SystemExit(f"docs: {len(known)} metrics")
    rows = []
    for name, said in sorted(known.items()):
        by = ", ".join(f"`{label}`" for label in sorted(labels.get(name, ())))
        rows.append(f"| `{name}` | {kinds.get(name, 'untyped')}{f' by {by}' if by else ''}: {said or 'not described'} |")
    return ("# Metrics\n\nOf `/metrics` at the admin address. The labels are those of a gate that has just started; others come with "
            "the first event.\n\n| name | what it is |\n|---|---|\n" + "\n".join(rows) + "\n")


REFERENCE = {
    "reference/commands.md": commands,
    "reference/settings.md": settings,
    "reference/findings.md": findings,
    "reference/metrics.md": metrics,
    **{f"reference/messages-{kind}.md": (lambda kind=kind: messages(kind)) for kind in MESSAGES},
    "docs/quickstart.md": quickstart,
}


# --- the book ---

def title(text: str) -> str:
    return re.search(r"(?m)^# (.+)$", text).group(1)


def summary(texts: dict[str, str]) -> str:
    """SUMMARY.md, with what comes and goes: runbooks, decisions, and pages that it does not name yet."""
    text = (ROOT / "docs" / "SUMMARY.md").read_text(encoding="utf-8")
    lines = lambda paths, indent="": "\n".join(f"{indent}- [{title(texts[path])}]({path})" for path in paths)  # noqa: E731
    runbooks = [path for path in texts if "/runbooks/" in path]
    decisions = [path for path in texts if re.match(r"docs/decisions/\d", path)]
    named = set(re.findall(r"\]\(([^)]+)\)", text)) | set(runbooks) | set(decisions)
    text = text.replace("<!-- runbooks -->", lines(runbooks)).replace("<!-- decisions -->", lines(decisions, "  "))
    text = text.replace("<!-- more -->\n", "".join(f"{line}\n" for line in lines(sorted(texts.keys() - named)).splitlines()))
    return re.sub(r"\]\(([^)]+)\)", lambda found: f"]({page_of(found.group(1))})", text)


def build(source: Path) -> None:
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in pages()}
    for path, make in REFERENCE.items():
        texts[path] = make()
    # Samples that pages link to.
    files = [str(file.relative_to(ROOT)) for file in (ROOT / "deploy").rglob("*") if file.is_file() and file.suffix != ".md"
             and "__pycache__" not in file.parts and file.suffix != ".env"] + ["routes.toml", "LICENSE"]
    # Pictures: those of the pages, and the chart of the bench.
    files += [str(file.relative_to(ROOT)) for file in [*(ROOT / "docs" / "images").rglob("*.*"), *(ROOT / "bench").glob("*.svg")]]
    known = set(texts) | set(files)
    for path, text in texts.items():
        target = source / page_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(relinked(text, path, known), encoding="utf-8")
    for file in files:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, source / file)
    (source / "SUMMARY.md").write_text(summary(texts), encoding="utf-8")
    for file in ("book.toml", "book.css"):
        shutil.copy(ROOT / "docs" / file, source)
    print(f"docs: {len(texts)} pages in {source}")


class Page(html.parser.HTMLParser):
    """The links and the ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.ids.add(value)
            if tag == "a" and name == "href" and value:
                self.links.append(value)


def broken(book: Path) -> list[str]:
    """Links that lead nowhere."""
    # `print.html` repeats every page.
    read = {file: Page(file.read_text(encoding="utf-8")) for file in book.rglob("*.html") if file.name not in ("print.html", "404.html")}
    found = []
    for file, page in read.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            path, _, anchor = urllib.parse.unquote(link).partition("#")
            target = (file.parent / path).resolve() if path else file
            if not target.exists():
                found.append(f"{file.relative_to(book)}: {link}")
            elif anchor and target in read and anchor not in read[target].ids:
                found.append(f"{file.relative_to(book)}: {link}: no such heading")
    return found


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--check"] and len(arguments) == 2:
        if found := broken(Path(arguments[1]).resolve()):
            raise SystemExit("docs: broken links:\n" + "\n".join(found))
    elif len(arguments) == 1:
        build(Path(arguments[0]).resolve())
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
