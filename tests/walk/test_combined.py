"""The combined DSI of a schedule's run whose news fail uses, and names, yesterday's news."""

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness.commands import run_command
from harness.schedules import start_scheduled
from harness.world import World, open_world

from serpline.domain.states import RunStatus
from serpline.recompute_dsi import recompute
from serpline.scheduling.spec import ScheduleSpec

KEYWORDS = b"keyword,market\nbest espresso machine,US\ncoffee grinder,US\nmoka pot,PL\n"
DAILY = ScheduleSpec.from_json(
    {
        "content_types": ["organic", "news"],
        "frequency": "daily",
        "time_of_day": "09:00",
        "phase_retries": 0,
        "retry_attempts": 1,
    }
)
TODAY = datetime(2026, 11, 30, 9, tzinfo=UTC)
REFUSED = {
    "provider": "scaleserp",
    "operation": "create_batch",
    "match": {"searches_type": "news"},
    "fault": "401",
}


def test_an_earlier_run_s_news_are_named_and_marked(database_url: str, tmp_path: Path) -> None:
    """In JSON, table and export, each company has a row, and all have one denominator."""
    yesterday, today = asyncio.run(_walk(database_url, tmp_path))
    asked = ("--run", today, "--content-type", "all")
    rows = json.loads(_ask(database_url, "dsi", "show", *asked, "--json"))
    for row in rows:
        behind = {each["content_type"]: each for each in row["sources"]}
        assert {kind: each["run_id"] for kind, each in behind.items()} == {
            "organic": today,
            "news": yesterday,
        }
        assert (behind["organic"]["stale"], behind["news"]["stale"]) == (False, True)
        assert row["stale_types"] == ["news"]
        number = {"US": 2, "PL": 1}[row["market"]]
        assert (row["keywords_collected"], row["keywords_planned"]) == (2 * number, 2 * number)
        assert row["coverage"] == row["keywords_ranked"] / (2 * number)
    typed = {
        (kind, row["market"], row["domain"]): row["dsi"]
        for kind, run_id in (("organic", today), ("news", yesterday))
        for row in json.loads(
            _ask(database_url, "dsi", "show", "--run", run_id, "--content-type", kind, "--json")
        )
    }
    assert {(row["market"], row["domain"]) for row in rows} == {key[1:] for key in typed}
    for row in rows:
        parts = [typed.get((k, row["market"], row["domain"]), 0.0) for k in ("organic", "news")]
        expected = None if None in parts else sum(parts) / 2
        assert row["dsi"] == expected or abs(row["dsi"] - expected) < 1e-9

    # The inputs of the earlier run's news are exported with it, and give the same figures again.
    inputs = [
        json.loads(line)
        for line in _ask(database_url, "dsi", "inputs", "--run", today).splitlines()
    ]
    again = {(f.market, f.company): f for f in recompute(inputs) if f.content_type == "all"}
    assert {r["run_id"] for r in inputs if r["record"] == "method"} == {today, yesterday}
    assert len(again) == len(rows)
    for row in rows:
        figure = again[row["market"], row["domain"]]
        assert figure.dsi == pytest.approx(row["dsi"], rel=1e-11)
        assert figure.coverage == pytest.approx(row["coverage"], rel=1e-11)

    exported = csv.DictReader(io.StringIO(_ask(database_url, "dsi", "export", *asked)))
    for line in exported:
        assert line["stale_types"] == "news"
        stale = [each["run_id"] for each in json.loads(line["sources"]) if each["stale"]]
        assert stale == [yesterday]
    table = _ask(database_url, "dsi", "show", *asked)
    assert f" {yesterday[:8]} stale" in table
    assert f" {today[:8]};" in table


async def _walk(database_url: str, directory: Path) -> tuple[str, str]:
    """Run two slots of one schedule; the second collects no news."""
    async with open_world(database_url, directory, KEYWORDS) as world:
        await world.start_worker()
        yesterday = await _slot(world, TODAY - timedelta(days=1), RunStatus.COMPLETED)
        world.sim.set_faults([REFUSED])
        return yesterday, await _slot(world, TODAY, RunStatus.COMPLETED_WITH_ERRORS)


async def _slot(world: World, instant: datetime, status: RunStatus) -> str:
    [run_id] = await start_scheduled(world.services.pipeline, "daily", [DAILY], instant)
    assert (await world.wait_for_end(run_id)).status is status
    return str(run_id)


def _ask(database_url: str, *arguments: str) -> str:
    """The output of a command on a wide terminal."""
    done = run_command(*arguments, SERPLINE_DATABASE_URL=database_url, COLUMNS="300")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()
