"""Commands about results over one collected run: filters, titles, orders, one-line errors."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from harness.collected_run import DEPTH, KEYWORDS, Filled, filled_database
from harness.commands import run_command
from sqlalchemy import text

from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.domain.results import Run
from serpline.pipeline.comparison import find_side
from serpline.store.database import Database
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.results.reading import stream
from serpline.store.results.selection import Selection

EARLIER = 3
RESULTS = KEYWORDS * DEPTH
COMPANY = "oc21.com"
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def filled(postgres: EmbeddedServer, template_database: str) -> Iterator[Filled]:
    with filled_database(postgres, template_database, [EARLIER]) as made:
        yield made


@pytest.fixture(scope="module")
def command(postgres: EmbeddedServer, filled: Filled) -> Callable[..., tuple[int, str, str]]:
    url = postgres.url(filled.name)

    def called(*arguments: str, **settings: str) -> tuple[int, str, str]:
        done = run_command(*arguments, SERPLINE_DATABASE_URL=url, **settings)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return called


@pytest.fixture(scope="module")
def ask(command: Ask) -> Callable[..., list[dict[str, Any]]]:
    def asked(*arguments: str) -> list[dict[str, Any]]:
        code, out, err = command(*arguments, "--json")
        assert code == 0, err
        rows: list[dict[str, Any]] = json.loads(out)
        return rows

    return asked


def test_the_latest_run_with_results_is_shown(ask: Ask, command: Ask, filled: Filled) -> None:
    """By default, as latest and by the first characters of its id; the title names it."""
    short = str(filled.run_id)[:8]
    whole = ask("rankings", "--limit", "5000")
    assert len(whole) == RESULTS
    assert {row["run_id"] for row in whole} == {str(filled.run_id)}
    for given in ("latest", short):
        assert ask("rankings", "--run", given, "--limit", "5000") == whole
    (day,) = {row["collected_on"] for row in whole}
    for what, shown in (("rankings", "Rankings"), ("dsi show", "DSI"), ("sov", "Share of voice")):
        code, out, _ = command(*what.split(), "--limit", "2")
        assert code == 0
        title = f"{shown}: video, US, desktop, {day}, run {short} (pending)"
        assert out.splitlines()[0].removesuffix("; 40 of 40 searches collected") == title
        assert "oc" in out


def test_one_company_has_each_of_its_searches(ask: Ask) -> None:
    """Where it does not rank, its row says so. A filter of two companies has their results."""
    rows = ask("rankings", "--company", COMPANY)
    assert Counter(row["state"] for row in rows) == {"ranked": 1, "not ranked": KEYWORDS - 1}
    assert {row["company"] for row in rows if row["position"]} == {COMPANY}
    assert len(ask("rankings", "--company", f"{COMPANY},oc22.com")) == 2


def test_a_row_names_its_keyword(command: Ask) -> None:
    """So does the title, if one keyword is asked for; then no column repeats it."""
    code, out, _ = command("rankings", "--limit", "6", COLUMNS="80")
    _, header, _, *rows = out.splitlines()
    assert (code, header.split()[:3]) == (0, ["keyword", "pos", "company"])
    assert rows[0].startswith("keyword ")
    title, header, *_ = command("rankings", "--keyword", "keyword 7")[1].splitlines()
    assert title.startswith("Rankings of 'keyword 7': video, US, desktop, ")
    assert header.split()[:2] == ["pos", "company"]


def test_marks_filter_and_colour(ask: Ask, command: Ask, filled: Filled) -> None:
    """A mark selects results and figures, is a column, and colours the row."""
    for name, mark in ((COMPANY, "ours"), ("oc22.com", "competitor")):
        assert command("companies", "mark", name, "--as", mark)[0] == 0
    assert {row["company"] for row in ask("rankings", "--ours")} == {COMPANY}
    of_run = ("--run", str(filled.run_id))
    assert ask("rankings", *of_run, "--company", COMPANY, "--competitors") == []
    both = ask("dsi", "show", "--ours", "--competitors")
    assert {row["domain"]: row["relation"] for row in both} == {
        COMPANY: "ours",
        "oc22.com": "competitor",
    }
    _, out, _ = command("sov", "--ours", FORCE_COLOR="1", COLUMNS="80")
    row = next(line for line in out.splitlines() if "oc21" in line)
    assert "\x1b[32m" in row
    assert "ours" in row
    _, out, _ = command("dsi", "show", "--competitors", COLUMNS="80")
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines()[-2:] == [
        "? unknown",
        "not shown: pages judged, curve, sources (--wide shows all)",
    ]
    wide = command("dsi", "show", "--competitors", "--wide", COLUMNS="80")[1]
    assert "classic" in wide


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rankings", "--market", "XX"], "unknown market 'XX': give a code such as US, GB or DE"),
        (["dsi", "show", "--run", "latest", "--market", "PL"], "no run has dsi for markets 'PL'"),
        (["sov", "--content-type", "pictures"], "content type 'pictures': must be one of"),
        (["sov", "--content-type", "all"], "--content-type all has no share of voice"),
        (["rankings", "--device", "watch"], "device 'watch': must be one of desktop"),
        (["dsi", "show", "--tag", "brand"], "dsi cannot be filtered by tags"),
        (["rankings", "--landscape", "none"], "'none': there is no such landscape"),
        (["rankings", "--company", "localhost"], "'localhost'"),
        (["rankings", "--keyword", "third"], "no run has rankings for keyword 'third'"),
        (["rankings", "--run", "zz"], "run 'zz': there is no such run"),
        (["sov", "--since", "2026-02-02", "--until", "2026-01-01"], "--since 2026-02-02: is after"),
        (["sov", "--since", "yesterday"], "'yesterday'"),
        (["rankings", "--market", ","], "is an empty list"),
        (["sov", "--content-type", "news,all"], "--content-type all has no share of voice"),
        (["dsi", "show", "--run", "all"], "--run all: is for 'serpline export'; name one run"),
        (["export", "companies", "--run", "latest"], "companies cannot be filtered by run"),
    ],
)
def test_a_wrong_filter_is_one_line(command: Ask, arguments: list[str], message: str) -> None:
    """It names the value and what is allowed."""
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


async def test_a_day_names_the_newest_run_by_then(
    postgres: EmbeddedServer, filled: Filled, command: Ask
) -> None:
    """A run that was collected later is not meant; before the first run there is none."""
    database = await Database.connect(postgres.url(filled.name))
    moved = text(
        "UPDATE serps SET collected_at = collected_at - interval '40 days' WHERE run_id <> :run"
    )
    try:
        async with database.transaction() as conn:
            await conn.execute(moved, {"run": filled.run_id})
            days = [row.collected_on async for row in stream(conn, Run, order=["collected_on"])]
            runs = [
                await find_side(conn, str(day), ContentType.VIDEO)
                for day in (days[0], days[1] - timedelta(days=1), days[1])
            ]
            assert runs[0] == runs[1] != runs[2] == filled.run_id
            with pytest.raises(UserError, match="no tracked run has figures of video by that day"):
                await find_side(conn, str(days[0] - timedelta(days=1)), ContentType.VIDEO)
            with pytest.raises(UserError, match="run '20261130': there is no such run"):
                await find_side(conn, "20261130", ContentType.VIDEO)
    finally:
        await database.close()


async def test_a_content_type_has_its_own_history(postgres: EmbeddedServer, filled: Filled) -> None:
    """A type whose own settings keep it out of history is not meant by a day, nor tracked."""
    database = await Database.connect(postgres.url(filled.name))
    change = text(
        "UPDATE pipeline_executions SET config = config || CAST(:lanes AS jsonb) WHERE id = :run"
    )
    only = Selection(run_id=filled.run_id)
    try:
        async with database.transaction() as conn:
            for kind, is_tracked in (("news", True), ("video", False)):
                lanes = {"lanes": {kind: {"enable_historical_tracking": False}}}
                await conn.execute(change, {"run": filled.run_id, "lanes": json.dumps(lanes)})
                (row,) = [row async for row in stream(conn, Run, only)]
                assert row.is_tracked is is_tracked
                meant = await find_side(conn, str(row.collected_on), ContentType.VIDEO)
                assert (meant == filled.run_id) is is_tracked
            await conn.rollback()
    finally:
        await database.close()


def test_a_run_s_own_places_are_named(command: Ask, filled: Filled) -> None:
    """A market that a run does not have is refused with those that it has."""
    run_id = str(filled.run_id)
    _, _, err = command("sov", "--run", run_id, "--market", "PL")
    assert err == f"serpline: market 'PL': run {run_id} does not have it; it has US\n"
