"""Failed items as people see them: counted, filtered, in pages, and tried again by category."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from harness.commands import run_command
from harness.inline import NEWS, VIDEO, Harness, open_harness

from serpline.domain.errors import ErrorCategory, UserError
from serpline.domain.names import PhaseName
from serpline.domain.phases import LaneKey, lanes_of
from serpline.store.database import Database
from serpline.store.runs import failures
from serpline.store.runs.failures import FailureFilter

SERP = PhaseName.SERP_COLLECTION
FAILED = [f"REJECT-{n:02}" for n in range(25)]


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


async def _failed_run(harness: Harness) -> UUID:
    """25 searches of news and 3 of video failed; five of news by a time-out."""
    lanes = {key: [f"DONE-{key}"] for key in lanes_of([NEWS, VIDEO])}
    lanes[LaneKey(SERP, NEWS)] = [*FAILED, "DONE-a"]
    lanes[LaneKey(SERP, VIDEO)] = [*FAILED[:3], "DONE-b"]
    run_id = await harness.start(lanes, content_types=(NEWS, VIDEO))
    assert await harness.drive(run_id) == "failed"
    await harness.query(
        "UPDATE items SET error_category = 'timeout', error = 'scaleserp: no answer'"
        " FROM pipeline_phase_status l WHERE l.id = lane_id AND l.content_type = 'news'"
        " AND item < 'REJECT-05' AND items.status = 'failed'"
    )
    return run_id


async def _prepared(database_url: str) -> str:
    database = await Database.connect(database_url)
    try:
        async with open_harness(database) as harness:
            return str(await _failed_run(harness))
    finally:
        await database.close()


async def test_pages_have_each_failure_once(harness: Harness) -> None:
    """In the order of lanes and items, whatever the size of a page; filters hold in each."""
    run_id = await _failed_run(harness)
    async with harness.database.transaction() as conn:
        everything = await failures.page(conn, run_id, FailureFilter(), limit=1000)
        paged: list[dict[str, Any]] = []
        after = (0, "")
        while rows := await failures.page(conn, run_id, FailureFilter(), after=after, limit=4):
            paged += rows
            after = (rows[-1]["lane_id"], rows[-1]["item"])
        assert paged == everything
        assert [(row["content_type"], row["item"]) for row in everything] == (
            [("news", item) for item in FAILED] + [("video", item) for item in FAILED[:3]]
        )
        for chosen, number in (
            (FailureFilter(content_type="video"), 3),
            (FailureFilter(category="timeout"), 5),
            (FailureFilter(provider="scaleserp"), 5),
            (FailureFilter(provider="llm"), 0),
            (FailureFilter(phase=str(SERP), category="timeout", content_type="video"), 0),
        ):
            assert len(await failures.page(conn, run_id, chosen, limit=1000)) == number
            counts = await failures.counts(conn, run_id, chosen)
            assert sum(row["items"] for row in counts) == number
        assert await failures.latest_run(conn) == run_id


async def test_a_retry_by_category(harness: Harness) -> None:
    """A dry run changes nothing and counts what the retry does. Other failures stay."""
    run_id = await _failed_run(harness)
    chosen = {"content_type": NEWS, "category": ErrorCategory.TIMEOUT}
    before = await harness.items(run_id)
    planned = await harness.service.retry(run_id, **chosen, dry_run=True)
    assert planned.items == 5
    assert planned.lanes[0] == f"{SERP}/news"
    assert (await harness.items(run_id), await harness.status(run_id)) == (before, "failed")
    assert (await harness.events(run_id)).count("run.retry") == 0
    assert await harness.service.retry(run_id, **chosen) == planned
    assert await harness.drive(run_id) == "failed"
    assert await harness.attempts("REJECT-04") == 2
    assert await harness.attempts("REJECT-05") == 1
    with pytest.raises(UserError, match="nothing to retry"):
        await harness.service.retry(run_id, category=ErrorCategory.POISON)


def test_the_commands(database_url: str) -> None:
    """The counts, then pages of 80 columns; the next page is named; a retry names its number."""
    run_id = asyncio.run(_prepared(database_url))

    def ask(*arguments: str, code: int = 0) -> tuple[str, str]:
        done = run_command(*arguments, SERPLINE_DATABASE_URL=database_url, COLUMNS="80")
        assert done.returncode == code, done.stderr
        return done.stdout.decode(), done.stderr.decode()

    out, err = ask("failures", "--limit", "10")
    assert out.startswith(f"28 failed items of run {run_id[:8]}")
    assert max(map(len, out.splitlines())) <= 80
    assert ("REJECT-09" in out, "REJECT-10" in out) == (True, False)
    assert err.startswith("more failures: --after '")
    page = json.loads(ask("failures", "--limit", "10", "--json")[0])
    assert page["run_id"] == run_id
    again = json.loads(ask("failures", "--limit", "20", "--after", page["next"], "--json")[0])
    assert [row["item"] for row in again["failures"]] == [*FAILED[10:], *FAILED[:3]]
    assert again["next"] is None
    retry = ("run", "retry", run_id[:8], "--category", "timeout")
    assert ask(*retry, "--dry-run")[1].endswith("; failed items: 5\n")
    done = json.loads(ask(*retry, "--json")[0])
    assert (done["items"], done["dry_run"], done["lanes"][0]) == (5, False, f"{SERP}/news")
    for wrong, words in (
        (("failures", "--after", "x"), "--after 'x': must be what the page before says"),
        (("failures", "--category", "luck"), "luck"),
        (("run", "retry", run_id), "only an ended run can be retried"),
    ):
        assert words in ask(*wrong, code=2)[1]
