"""The documents: examples run, commands and files exist, links resolve, diagrams are up to date."""

import ast
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from types import CodeType
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
import typer

from serpline.cli import app, global_options_first
from serpline.domain.schedules import SlotReason
from serpline.domain.states import SlotOutcome
from serpline.scheduling.documents import read_specs
from serpline.scheduling.occurrences import occurrences
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.database import Database

ROOT = Path(__file__).parents[2]
PAGES = [
    page.relative_to(ROOT) for page in sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SQL = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CRONTAB = re.compile(r"^\| `([^`]+)` \| `({[^`]+})` \|$", re.MULTILINE)
_REASON = re.compile(r"^\| `(\w+)` \| ([\w, ]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# A file, with or without its folder, or a folder.
_FILE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|toml|csv)|(?:[a-z_]+/)+)`")
# A name with an underscore or with capitals inside, perhaps of a module or an object.
_NAME = re.compile(r"`((?:\w+\.)?(?:\w*[A-Za-z]_\w+|_[a-z]\w+|[A-Z]\w*[a-z][A-Z]\w*))(?:\(\))?`")
_CODE = ("src", "harness", "chaos", "bench", "tests", "tools")
_OF_THE_CODE = [Path("docs/architecture.md"), Path("docs/extend.md"), Path("CONTRIBUTING.md")]
_WORD = re.compile(r"\w+")
# The first cell of a row, and a command, of the page of questions and errors.
_MESSAGE = re.compile(r"^\| `([^`]+)`", re.MULTILINE)
_COMMAND = re.compile(r"`(serpline [^`]+)`")
_SCHEDULES = Path("docs/schedules.md")
_FAQ = Path("docs/faq.md")
_SHELL_OPERATORS = {"&", "&&", "|", ";", ">"}
# Decisions and the changelog name files of their time.
_OF_NOW = [page for page in PAGES if page.parts[1:2] != ("adr",) and page.name != "CHANGELOG.md"]


def _text(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(_text(page))
    }


def _commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every ``serpline`` command in a page's shell blocks."""
    for block in _SHELL.findall(_text(page)):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = next((n for n, word in enumerate(words) if word in _SHELL_OPERATORS), None)
                command, words = words[:end], [] if end is None else words[end + 1 :]
                if command and command[0] == "serpline":
                    yield command[1:]


def _blocks(document: str) -> list[CodeType]:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return [
        compile(block, f"{document}#{number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for number, block in enumerate(_BLOCK.findall(text), start=1)
    ]


async def test_examples(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example of the documentation runs as written, in the order of the page."""
    monkeypatch.setenv("SERPLINE_DATABASE_URL", database_url)
    blocks = _blocks("examples.md")
    assert len(blocks) >= 7
    async with AsyncExitStack() as stack:
        names: dict[str, object] = {"stack": stack}
        for block in blocks:
            coroutine = eval(block, names)  # the page itself is the program
            if coroutine is not None:
                await coroutine


async def test_questions_to_the_database(db: Database) -> None:
    """Every query of the page for operators fits the tables."""
    blocks = _SQL.findall(_text(Path("docs/operate.md")))
    queries = [query for block in blocks for query in block.split(";") if query.strip()]
    assert len(queries) == 4
    values = {"run": uuid4(), "phase": "serp_collection", "type": "news", "item": "x", "chunk": 1}
    async with db.transaction() as conn:
        for query in queries:
            used = {name: value for name, value in values.items() if f":{name}" in query}
            assert (await conn.execute(sa.text(query), used)).all() == []


async def test_a_figure_by_hand() -> None:
    """The page on the figures computes by hand what the script computes."""
    (block,) = _blocks("figures.md")
    eval(block, {})  # the page itself is the program


def test_specifications_of_the_page_on_schedules() -> None:
    """Each example is accepted as written."""
    blocks = _YAML.findall(_text(_SCHEDULES))
    assert len(blocks) >= 2
    for block in blocks:
        assert read_specs(block.encode(), is_yaml=True)


@pytest.mark.parametrize(("line", "keys"), _CRONTAB.findall(_text(_SCHEDULES)))
def test_keys_that_replace_a_crontab_line(line: str, keys: str) -> None:
    """Both are due at the same instants, over two years with their clock changes."""
    common = {"content_type": "news", "timezone": "Europe/Berlin"}
    as_cron = {**common, "frequency": "cron", "cron": line}
    after, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    cron, own = (
        list(
            takewhile(
                lambda due: due < until,
                (due.scheduled_for for due in occurrences(ScheduleSpec.from_json(each), after)),
            )
        )
        for each in (as_cron, {**common, **json.loads(keys)})
    )
    assert len(cron) > 7
    assert cron == own


def test_every_reason_is_explained() -> None:
    """The page on schedules has each code once, with outcomes that exist."""
    section = _text(_SCHEDULES).split("### Reasons")[1].split("\n## ")[0]
    rows = _REASON.findall(section)
    assert sorted(code for code, _ in rows) == sorted(SlotReason)
    assert {each for _, outcomes in rows for each in outcomes.split(", ")} <= set(SlotOutcome)


@pytest.mark.parametrize("tool", ["draw_states", "write_dictionary", "write_keys"])
def test_what_is_written_from_the_code(tool: str) -> None:
    """The state diagrams are those of the transition tables, the keys those of the models."""
    spec = importlib.util.spec_from_file_location("draw", ROOT / "tools" / f"{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    document = draw.DOCUMENT.read_text(encoding="utf-8")
    assert draw.drawn(document) == document


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link of a page leads to a file that is there, and to a heading of it."""
    for target, anchor in _LINK.findall(_text(page)):
        linked = (page.parent / target) if target else page
        assert (ROOT / linked).exists(), target
        if anchor:
            assert anchor in _anchors(linked), f"{target}#{anchor}"


def test_every_page_is_in_the_site() -> None:
    """The contents of the site name every page of docs/."""
    listed = re.findall(r"^([\w/-]+)$", _text(Path("docs/index.md")), re.MULTILINE)
    files = (*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.ipynb"))
    pages = {page.stem for page in files} - {"index"}
    assert sorted(listed) == sorted(pages | {"adr/README"})


@pytest.mark.parametrize("page", _OF_NOW, ids=str)
def test_named_files_exist(page: Path) -> None:
    """A file or folder that a page names is there, below the package or the project.

    Without its folder, it is anywhere among the code.
    """
    places = (ROOT, ROOT / "src" / "serpline")
    named = [name for name in _FILE.findall(_text(page)) if "NAME" not in name]
    files = {path.name for path in _code_files()}
    assert not [
        name
        for name in named
        if not any((place / name).exists() for place in places) and name not in files
    ]


@pytest.mark.parametrize("page", _OF_THE_CODE, ids=str)
def test_names_of_the_code_exist(page: Path) -> None:
    """A function, class or constant that a page for developers names is in the code."""
    words = {word for path in _code_files() for word in _WORD.findall(path.read_text("utf-8"))}
    named = _NAME.findall(_FENCED.sub("", _text(page)))
    assert len(named) >= 3
    assert not [name for name in named if not words.issuperset(_WORD.findall(name))]


def _code_files() -> Iterator[Path]:
    for folder in _CODE:
        yield from (ROOT / folder).glob("**/*.py")


@pytest.mark.parametrize("page", [page for page in PAGES if _SHELL.search(_text(page))], ids=str)
def test_commands_exist(page: Path) -> None:
    """Every command of a page is one of serpline's, with options and arguments that it has."""
    for arguments in _commands(page):
        _parse(arguments)


def test_messages_of_the_faq() -> None:
    """A message that the page explains is one of ours, word for word but for its values.

    Every command that helps exists.
    """
    page = _text(_FAQ)
    ours = "\n".join([*_texts_of_the_code(), _text(Path("Makefile"))])
    messages = _MESSAGE.findall(page)
    assert len(messages) > 60
    assert not [message for message in messages if message.strip("… ") not in ours]
    for command in set(_COMMAND.findall(page)).difference(messages):
        _parse(shlex.split(command)[1:])


def _texts_of_the_code() -> Iterator[str]:
    """Every text in the package, with … in the place of its values."""
    for path in (ROOT / "src").glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = node.values
                yield "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _parse(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    context = command.context_class(command)
    _, rest, _ = command.make_parser(context).parse_args(global_options_first(arguments))
    while rest and hasattr(command, "commands"):
        command = command.commands[rest[0]]
        context = command.context_class(command, parent=context)
        _, rest, _ = command.make_parser(context).parse_args(rest[1:])
    assert not rest, arguments
    assert not hasattr(command, "commands"), arguments
