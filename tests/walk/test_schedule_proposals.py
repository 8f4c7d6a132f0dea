"""``serpline schedule proposals|accept|refuse|take-back`` on a stored proposal."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness.commands import run_command

from serpline.store.database import Database

SUMMARY = "7 of 7 slots at 06:00 failed, of the others 0 of 21 (p = 8e-07): move them"
COUNTS = {"bad": 7, "total": 7, "share": 1.0}
EVIDENCE = {
    "version": 1,
    "trouble": "failed",
    "factor": "hour",
    "level": 6,
    "provider": None,
    "ours": COUNTS,
    "others": {"bad": 0, "total": 21, "share": 0.0},
    "promised": 0.0,
    "p_value": 8e-7,
    "summary": SUMMARY,
}


@pytest.fixture
def command(database_url: str) -> Any:
    """Run one command over the test's database: its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        done = run_command("schedule", *arguments, SERPLINE_DATABASE_URL=database_url)
        return done.returncode, (done.stdout or done.stderr).decode()

    return run


async def _propose(database_url: str) -> None:
    database = await Database.connect(database_url)
    try:
        async with database.transaction() as conn:
            await conn.execute(
                sa.text(
                    "INSERT INTO schedule_proposals (schedule_id, content_type, kind, change,"
                    " evidence, made_at) VALUES ('daily', 'news', 'later_hour',"
                    " CAST(:change AS jsonb), CAST(:evidence AS jsonb), now())"
                ),
                {
                    "change": json.dumps({"hour": 6, "to_hour": 7}),
                    "evidence": json.dumps(EVIDENCE),
                },
            )
    finally:
        await database.close()


def test_a_proposal_is_shown_accepted_and_taken_back(
    command: Any, database_url: str, tmp_path: Path
) -> None:
    """Each step as a table or a line, and as JSON; wrong numbers are errors of one line."""
    spec = {"content_type": "news", "frequency": "daily", "time_of_day": "06:00"}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    assert command("add", "daily", str(tmp_path / "spec.json"))[0] == 0
    asyncio.run(_propose(database_url))

    code, table = command("proposals", "daily", "--open")
    assert (code, SUMMARY in table, "open" in table) == (0, True, True)
    code, shown = command("accept", "1", "--json")
    accepted = json.loads(shown)
    assert (code, accepted["status"], accepted["version_after"]) == (0, "accepted", 2)
    assert json.loads(command("show", "daily", "--json")[1])["specs"][0]["time_of_day"] == "07:00"
    (row,) = json.loads(command("proposals", "--json")[1])
    assert (row["id"], row["promised"], row["evidence"]["p_value"]) == (1, 0.0, 8e-7)
    assert row["since"] == {"bad": 0, "total": 0, "share": 0.0}

    assert command("refuse", "1") == (2, "serpline: proposal 1 is accepted: it is not open\n")
    code, line = command("take-back", "1", "--reason", "too late for the report")
    assert (code, line) == (0, "proposal 1 is taken back: schedule 'daily' is as in version 1\n")
    assert json.loads(command("show", "daily", "--json")[1])["specs"][0]["time_of_day"] == "06:00"
    assert command("accept", "9") == (2, "serpline: proposal 9: there is no such proposal\n")
    assert command("proposals", "--open", "--json") == (0, "[]\n")

    asyncio.run(_propose(database_url))
    assert command("refuse", "2")[1] == "proposal 2 is refused: nothing changed\n"
