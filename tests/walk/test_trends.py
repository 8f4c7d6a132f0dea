"""Changes from one run to the next, compared with the figures of both."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from harness.commands import run_command
from harness.world import DAY, open_world

from serpline.cli.trends import _cells, _largest

KEYWORDS = b"keyword,market\nbest espresso machine,US\ncoffee grinder,US\nmoka pot,US\n"
_SIDES = ("before", "after")
PARTS = ("coverage", "positions", "volume", "relevance")
RUN = {"content_types": ("organic",), "analysis_depth": 10}


def test_trends_are_the_differences_of_two_runs(database_url: str, tmp_path: Path) -> None:
    """Only tracked runs are compared, unless one is named; never figures computed differently."""
    first, second, untracked, other_factor, again = asyncio.run(_walk(database_url, tmp_path))
    rows = _json(database_url, "trends", "--run", second)
    assert rows == _json(database_url, "trends", "--run", second, "--before", first)
    before, after = (_figures(database_url, each) for each in (first, second))
    assert {row["company"] for row in rows} == before.keys() | after.keys()
    states = Counter(row["status"] for row in rows)
    assert min(states[name] for name in ("kept", "new", "lost")) > 0
    assert states.total() == len(rows)
    for row in rows:
        company = row["company"]
        assert (row["run_before"], row["run_after"]) == (first, second)
        assert (row["collected_after"], row["planned_after"]) == (3, 3)
        then, now = before.get(company), after.get(company)
        assert (row["dsi_before"], row["dsi_after"]) == (then, now)
        assert row["status"] == (
            "lost" if company not in after else "new" if company not in before else "kept"
        )
        if then is not None and now is not None:
            assert abs(row["dsi_change"] - (now - then)) < 1e-12
            assert row["comparable"] is True
        else:  # one side is missing or not known
            assert row["dsi_change"] is None
    ranks = sorted(row["rank_after"] for row in rows if row["rank_after"])
    assert ranks == list(range(1, len(ranks) + 1))
    table = _ask(database_url, "trends", "--run", second, "--limit", "3")
    shown = [row["company"] in table for row in sorted(rows, key=_size)[:4]]
    assert shown == [True, True, True, False]

    _check_comparison(database_url, first, second)
    _check_series(database_url, first, second)
    company = next(row["company"] for row in rows if row["status"] == "kept")
    (point,) = _json(database_url, "trends", "--run", second, "--company", company)
    assert point == next(row for row in rows if row["company"] == company)
    _ask(database_url, "companies", "mark", company, "--as", "ours")
    assert _json(database_url, "trends", "--run", second, "--ours") == [point]

    # What is kept out of history has no trends of its own, and stands in nobody else's.
    done = run_command("trends", "--run", untracked, SERPLINE_DATABASE_URL=database_url)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"nothing in it can be compared with an earlier tracked run" in done.stderr
    rows = _json(database_url, "trends", "--run", other_factor)
    assert {row["run_before"] for row in rows} == {second}
    kept = [row for row in rows if row["status"] == "kept"]
    assert kept
    for row in kept:
        assert (row["comparable"], row["dsi_change"], row["rank_change"]) == (False, None, None)
        assert row["differs"] == "ai_overview_factor 0.5 and 0.25"
    compared = _json(database_url, "dsi", "compare", second, other_factor)["companies"]
    assert {row["note"] for row in compared} == {"ai_overview_factor 0.5 and 0.25"}
    assert {row[f"part_{name}"] for row in compared for name in PARTS} == {None}
    assert "ai_overview_factor 0.5 and 0.25" in _ask(database_url, "trends", "--run", other_factor)

    # Computed again, the second run's searches are still a month after the first's.
    rows = _json(database_url, "trends", "--run", again)
    assert {(row["run_before"], row["run_after"]) for row in rows} == {(first, again)}
    assert {row["company"]: row["dsi_after"] for row in rows if row["dsi_after"]} == {
        company: dsi for company, dsi in after.items() if dsi
    }


def _check_comparison(database_url: str, first: str, second: str) -> None:
    """The parts sum to each change; the keywords are those of both runs' rankings."""
    found = _json(database_url, "dsi", "compare", first[:8], second)
    assert found["keywords"] is None
    states: Counter[str] = Counter()
    for row in found["companies"]:
        parts = [row[f"part_{name}"] for name in PARTS]
        if row["change"] is None:
            assert row["note"].startswith("unknown: ")
            assert parts == [None] * 4
            continue
        states[row["status"]] += 1
        change = (row["dsi_after"] or 0.0) - (row["dsi_before"] or 0.0)
        assert row["change"] == change
        assert abs(sum(parts) - change) < 1e-9
        assert abs(row["part_positions"] + row["part_volume"] - row["part_traffic_share"]) < 1e-12
    assert min(states[name] for name in ("kept", "new", "lost")) > 0
    largest = max(found["companies"], key=lambda row: abs(row["change"] or 0.0))
    named = ("--company", largest["company"])
    moved = _json(database_url, "dsi", "compare", first, second, *named)["keywords"]
    best = []
    for run_id in (first, second):
        ranked: dict[str, int] = {}
        for row in _json(database_url, "rankings", "--run", run_id, *named):
            if row["position"]:
                known = ranked.get(row["keyword"], row["position"])
                ranked[row["keyword"]] = min(known, row["position"])
        best.append(ranked)
    assert {row["keyword"]: row["position_before"] for row in moved if row["position_before"]} == (
        best[0]
    )
    assert {row["keyword"]: row["position_after"] for row in moved if row["position_after"]} == (
        best[1]
    )
    assert largest["keywords_new"] == len(best[1].keys() - best[0].keys())
    narrow = {"SERPLINE_DATABASE_URL": database_url, "COLUMNS": "80"}
    done = run_command("dsi", "compare", first, second, **narrow)
    lines = done.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("DSI compared: organic, US, desktop, ")
    assert any(largest["company"][:12] in line for line in lines)
    for wrong, words in (
        ((first, first), f"both sides are run {first}"),
        (("zz",), "there is no such run"),
    ):
        done = run_command("dsi", "compare", *wrong, SERPLINE_DATABASE_URL=database_url)
        assert (done.returncode, done.stdout) == (2, b"")
        assert words in done.stderr.decode()


def _check_series(database_url: str, first: str, second: str) -> None:
    """Values and positions are those of both runs; a top is won or lost between them."""
    figures = [_figures(database_url, run_id) for run_id in (first, second)]
    rows = _json(database_url, "trends", "--run", second, "--metric", "dsi", "--limit", "500")
    assert {row["company"]: row["values"] for row in rows} == {
        company: [figures[0].get(company), dsi] for company, dsi in figures[1].items()
    }
    assert {tuple(row["runs"]) for row in rows} == {(first, second)}
    table = _ask(database_url, "trends", "--run", second, "--metric", "coverage")
    assert table.startswith("coverage: organic, US, desktop, ")
    (voice,) = _json(
        database_url,
        *("trends", "--run", second, "--metric", "share_of_first", "--company", rows[0]["company"]),
    )
    shares = [
        _json(database_url, "sov", "--run", run_id, "--company", rows[0]["company"])
        for run_id in (first, second)
    ]
    assert voice["values"] == [each[0]["share_of_first"] if each else None for each in shares]

    word = ("--keyword", "coffee grinder")
    rows = _json(database_url, "trends", "--run", second, *word)
    best: list[dict[str, int]] = [{}, {}]
    for positions, run_id in zip(best, (first, second), strict=True):
        for row in _json(database_url, "rankings", "--run", run_id, *word):
            if row["company"]:
                known = positions.get(row["company"], row["position"])
                positions[row["company"]] = min(known, row["position"])
    assert {row["company"]: row["positions"] for row in rows} == {
        company: [positions.get(company) for positions in best]
        for company in best[0].keys() | best[1].keys()
    }
    for row in rows:
        then, now = row["positions"]
        assert row["states"] == ["ranked" if each else "not ranked" for each in (then, now)]
        assert row["won"] == [t for t in (3, 10) if now and now <= t and not (then and then <= t)]
        assert row["lost"] == [t for t in (3, 10) if then and then <= t and not (now and now <= t)]
    assert any(row["won"] for row in rows)
    named = ("--positions", "--company", rows[0]["company"])
    (own,) = (
        row
        for row in _json(database_url, "trends", "--run", second, *named)
        if row["keyword"] == "coffee grinder"
    )
    assert own == rows[0]
    narrow = {"SERPLINE_DATABASE_URL": database_url, "COLUMNS": "80"}
    for arguments in (word, ("--metric", "relevance"), ()):
        done = run_command("trends", "--run", second, *arguments, **narrow)
        assert done.returncode == 0, done.stderr
        assert max(map(len, done.stdout.decode().splitlines())) <= 80
    for wrong, words in (
        (("--positions",), "--positions: name companies"),
        (("--metric", "dsi", *word), "exclude each other"),
        (("--content-type", "all"), "--content-type all has no trends"),
    ):
        done = run_command("trends", *wrong, SERPLINE_DATABASE_URL=database_url)
        assert (done.returncode, done.stdout) == (2, b"")
        assert words in done.stderr.decode()


def test_equal_changes_show_the_strongest_companies() -> None:
    """If nothing changed, the table starts with the first of the ranking."""
    rows = [
        {"content_type": "news", "market": "US", "device": "desktop", "company": name}
        | {"dsi_before": dsi, "dsi_after": dsi}
        for name, dsi in (("a", 1.0), ("b", 3.0), ("c", None), ("d", 2.0))
    ]
    assert [row["company"] for row in _largest(rows, 2)] == ["b", "d"]


@pytest.mark.parametrize(
    ("sides", "note"),
    [
        ({}, ""),
        ({"collected_before": 2}, "before: 2 of 3 searches"),
        ({"collected_after": None, "planned_after": None}, "after: no searches"),
        ({"keywords_gone": 1, "keywords_added": 4}, "keywords: 1 gone, 4 added"),
        (
            {"late_for_after": datetime(2026, 11, 20, 9, tzinfo=UTC)},
            "after: late for 2026-11-20 09:00",
        ),
        ({"keywords_added": 4, "differs": "curve a and b"}, "curve a and b; keywords: 4 added"),
    ],
)
def test_a_change_of_other_searches_is_noted(sides: dict[str, Any], note: str) -> None:
    """A figure that rose because searches are missing has not risen."""
    same = {"content_type": "news", "market": "US", "device": "desktop", "company": "a"}
    same |= {"collected_on_before": DAY, "collected_on_after": DAY, "status": "kept"}
    same |= {f"{name}_{side}": 3 for name in ("collected", "planned") for side in _SIDES}
    same |= {f"{name}_{side}": 1 for name in ("rank", "dsi") for side in _SIDES}
    same |= {"rank_change": 0, "dsi_change": 0.0, "differs": ""}
    same |= {"keywords_gone": 0, "keywords_added": 0}
    same |= dict.fromkeys(("late_for_before", "late_for_after"))
    assert _cells(same | sides)[-1] == note


def test_an_unknown_market_or_run_is_one_line(database_url: str, tmp_path: Path) -> None:
    """The beginning of a run's id names it; the error names the missing thing."""
    run_id = asyncio.run(_one(database_url, tmp_path))
    for command in (["dsi", "show"], ["dsi", "export"]):
        done = run_command(*command, "--market", "XX", SERPLINE_DATABASE_URL=database_url)
        assert (done.returncode, done.stdout) == (2, b"")
        assert "market 'XX': " in done.stderr.decode()
    done = run_command(
        "dsi", "show", "--run", run_id, "--market", "GB", SERPLINE_DATABASE_URL=database_url
    )
    assert done.stderr.decode().strip() == (
        f"serpline: market 'GB': run {run_id} does not have it; it has US"
    )
    for limit, note in ((3, "the first 3 rows are shown"), (1000, "")):
        shown = ["rankings", "--limit", str(limit), "--json"]
        done = run_command(*shown, SERPLINE_DATABASE_URL=database_url)
        assert (done.stderr.decode().strip() == "") is (note == "")
        assert note in done.stderr.decode()
        assert (len(json.loads(done.stdout)) == limit) is (limit == 3)
    again = ["run", "start", "--phases", "dsi_calculation", "--dry-run", "--inputs-from"]
    assert _ask(database_url, *again, run_id[:8]).startswith("3 keyword")
    for wrong, words in (
        (["zz"], "run 'zz': there is no such run"),
        ([run_id, "--devices", "tablet"], "was searched on desktop"),
    ):
        done = run_command(*again, *wrong, SERPLINE_DATABASE_URL=database_url)
        assert (done.returncode, done.stdout) == (2, b"")
        assert words in done.stderr.decode()


def _size(row: dict[str, Any]) -> float:
    return -abs((row["dsi_after"] or 0) - (row["dsi_before"] or 0))


async def _walk(database_url: str, directory: Path) -> list[str]:
    """Runs of four days; the third is kept out of history, the fourth counts clicks otherwise.

    The last computes the second again.
    """
    changes: list[dict[str, Any]] = [
        {},
        {},
        {"enable_historical_tracking": False},
        {"ai_overview_factor": 0.25},
    ]
    async with open_world(database_url, directory, KEYWORDS) as world:
        await world.start_worker()
        made = []
        for no, change in enumerate(changes):
            world.sim.set_day(DAY + timedelta(days=30 * no))
            made.append(str(await world.run(**RUN, **change)))
        again = {"phases": ("dsi_calculation",), "inputs_from": UUID(made[1])}
        return [*made, str(await world.run(**RUN, **again))]


async def _one(database_url: str, directory: Path) -> str:
    async with open_world(database_url, directory, KEYWORDS) as world:
        await world.start_worker()
        return str(await world.run(**RUN))


def _figures(database_url: str, run_id: str) -> dict[str, float | None]:
    rows = _json(database_url, "dsi", "show", "--run", run_id, "--content-type", "organic")
    return {row["domain"]: row["dsi"] for row in rows}


def _json(database_url: str, *arguments: str) -> Any:
    rows: Any = json.loads(_ask(database_url, *arguments, "--json"))
    return rows


def _ask(database_url: str, *arguments: str) -> str:
    """The output of a command on a wide terminal."""
    done = run_command(*arguments, SERPLINE_DATABASE_URL=database_url, COLUMNS="300")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()
