"""``schedule backfill`` and ``schedule backfills``: one document each, one line for a mistake."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from harness.commands import run_command
from harness.schedules import Schedules, spec

from serpline.store.database import Database

# The last day is included.
FROM, TO = "2026-11-01", "2026-11-03"


class Commands:
    """Commands over one database with a schedule that missed three days."""

    def __init__(self, url: str, directory: Path) -> None:
        self._settings = {"SERPLINE_DATABASE_URL": url, "SERPLINE_DATA_DIR": str(directory)}

    async def prepare(self) -> None:
        """Add the schedule and let three days pass."""
        database = await Database.connect(self._settings["SERPLINE_DATABASE_URL"])
        made = Schedules(database)
        await made.import_keywords()
        made.clock.at = datetime(2026, 11, 1, 8, tzinfo=UTC)
        await made.service.add("daily news", spec(catch_up="none"))
        await made.at(datetime(2026, 11, 4, 8, tzinfo=UTC))
        await database.close()

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command of ``schedule``; returns its code, stdout and stderr."""
        done = run_command("schedule", *arguments, **self._settings)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def json(self, *arguments: str) -> Any:
        """Run a command that succeeds; returns its document."""
        code, out, err = self.run(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)


@pytest.fixture
def commands(database_url: str, tmp_path: Path) -> Commands:
    """The commands, after three missed days."""
    made = Commands(database_url, tmp_path)
    asyncio.run(made.prepare())
    return made


def test_a_backfill_is_planned_made_and_controlled(commands: Commands) -> None:
    """The dry run stores nothing. Each change returns the backfill as it is then."""
    given = ("backfill", "daily news", "--from", FROM, "--to", TO, "--kind", "late")
    plan = commands.json(*given, "--dry-run")
    assert [slot["outcome"] for slot in plan["slots"]] == ["missed"] * 3
    assert (plan["estimate"]["runs"], plan["estimate"]["searches"]) == (3, 9)
    assert commands.json("backfills", "daily news") == []
    code, out, _ = commands.run(*given, "--dry-run")
    assert code == 0
    assert "2026-11-03" in out
    assert "3 runs; nothing was spent" in out
    code, out, err = commands.run(*given, "--credits", "50,pdl=7", "--at-once", "2", "--json")
    assert (code, err.startswith("no worker is running: start workers")) == (0, True)
    made = json.loads(out)
    assert made["credit_limits"] == {"scaleserp": 50.0, "pdl": 7.0}
    assert (made["status"], made["runs_at_once"]) == ("planned", 2)
    assert commands.json("backfills", "daily news", "pause")["status"] == "paused"
    resumed = commands.json("backfills", "daily news", "resume", "--credits", "80")
    assert resumed["credit_limits"] == {"scaleserp": 80.0, "pdl": 7.0}
    assert resumed["status"] == "running"
    assert commands.json("backfills", "daily news", "cancel")["status"] == "cancelled"
    (row,) = commands.json("backfills", "daily news")
    assert row["slots"] == {"total": 3, "skipped": 3}
    code, out, _ = commands.run("backfills", "daily news")
    assert (code, "3 of 3" in out) == (0, True)
    assert "2026-11-01 00:00 to 2026-11-03 23:59" in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("backfill", "x", "--from", FROM, "--to", TO), "schedule 'x': there is no such schedule"),
        (
            ("backfill", "daily news", "--from", TO, "--to", FROM),
            "from=2026-11-03T00:00:00+00:00: must not be after to=2026-11-01T23:59:59.999999+00:00",
        ),
        (
            ("backfill", "daily news", "--from", "soon", "--to", TO),
            "--from='soon': must be an ISO 8601 time",
        ),
        (
            ("backfill", "daily news", "--from", FROM, "--to", TO, "--credits", "many"),
            "--credits 'many': must be a number, 0 or more, or PROVIDER=number",
        ),
        (
            ("backfill", "daily news", "--from", FROM, "--to", TO),
            "schedule 'daily news' has nothing to backfill from 2026-11-01T00:00:00+00:00",
        ),
        (
            ("backfills", "daily news", "pause", "--credits", "9"),
            "--credits '9': only resume takes new limits",
        ),
        (("backfills", "daily news", "stop"), "'stop': must be one of pause, resume, cancel"),
        (
            ("backfills", "daily news", "pause"),
            "schedule 'daily news' has no backfill that has not ended",
        ),
        (("backfills", "daily news", "pause", "9"), "schedule 'daily news' has no backfill 9"),
    ],
)
def test_a_mistake_is_one_line(commands: Commands, arguments: tuple[str, ...], line: str) -> None:
    """It ends with code 2, without a traceback."""
    code, out, err = commands.run(*arguments)
    assert (code, out) == (2, "")
    assert line in err
    assert len(err.strip().splitlines()) == 1
