"""Suspect chunks in the database: which deaths count, and what happens to poison."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
from harness.inline import METRICS, Harness, open_harness
from harness.scripted import open_gate
from harness.waiting import until

from serpline.domain.names import PhaseName
from serpline.pipeline.quarantine import Quarantine
from serpline.store.database import Database
from serpline.store.runs import chunks, workers


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


class WatchedQuarantine(Quarantine):
    """Signal when an ordinary chunk arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.ordinary_arrived = asyncio.Event()

    def hold(self, *, alone: bool) -> AbstractAsyncContextManager[None]:
        """Hold it, and signal an ordinary chunk."""
        if not alone:
            self.ordinary_arrived.set()
        return super().hold(alone=alone)


async def suspect(harness: Harness, *items: str) -> int:
    """A chunk that lost two owners."""
    run_id = await harness.start({METRICS: items}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    await harness.query("UPDATE chunks SET deaths = 2 WHERE id = :id", id=chunk_id)
    return chunk_id


async def dies(harness: Harness, *marked: tuple[int, Sequence[str]]) -> None:
    """Take over a worker that owned these chunks, with these items marked."""
    async with harness.database.transaction() as conn:
        worker_id = await workers.register(conn, "elsewhere", 1)
    for chunk_id, items in marked:
        chunk = await harness.claim(chunk_id, worker_id)
        assert chunk is not None
        async with harness.database.transaction() as conn:
            await chunks.mark(conn, chunk, items)
    await harness.query(
        "UPDATE workers SET heartbeat_at = now() - '1 h'::interval WHERE id = :id", id=worker_id
    )
    assert set(await harness.lifeline.take_over()) == {chunk_id for chunk_id, _ in marked}


async def deaths(harness: Harness) -> dict[str, int]:
    """The number of deaths counted for each item."""
    rows = await harness.query("SELECT item, deaths FROM items ORDER BY item")
    return {row["item"]: row["deaths"] for row in rows}


async def test_a_death_counts_for_marked_items_only(harness: Harness) -> None:
    """Other items of the chunk, and marked items that had ended, get no death."""
    chunk_id = await suspect(harness, "DONE-1", "DONE-2", "DONE-3")
    await harness.query("UPDATE items SET status = 'skipped' WHERE item = 'DONE-3'")
    await dies(harness, (chunk_id, ["DONE-1", "DONE-3"]))
    assert await deaths(harness) == {"DONE-1": 1, "DONE-2": 0, "DONE-3": 0}


async def test_a_death_with_two_chunks_counts_for_no_item(harness: Harness) -> None:
    """A worker that held two chunks may have died of either."""
    first, second = await suspect(harness, "DONE-1"), await suspect(harness, "DONE-2")
    await dies(harness, (first, ["DONE-1"]), (second, ["DONE-2"]))
    assert await deaths(harness) == {"DONE-1": 0, "DONE-2": 0}
    assert [(await harness.chunk(c))["deaths"] for c in (first, second)] == [3, 3]


async def test_an_ordinary_chunk_marks_nothing(harness: Harness) -> None:
    """Before the second death no item is suspect: all are in flight together, unmarked."""
    chunk_id = await suspect(harness, "GATE-1", "DONE-2")
    await harness.query("UPDATE chunks SET deaths = 1 WHERE id = :id", id=chunk_id)
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-1")
    assert (await harness.chunk(chunk_id))["in_flight"] is None
    await open_gate(harness.database)
    assert await working


async def test_a_suspect_chunk_marks_before_it_works(harness: Harness) -> None:
    """Unsuspected items go first and are settled; then suspects, marked and alone."""
    chunk_id = await suspect(harness, "DONE-1", "GATE-2", "DONE-3")
    await harness.query("UPDATE items SET deaths = 1 WHERE item = 'GATE-2'")
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-2")
    chunk = await harness.chunk(chunk_id)
    assert (chunk["in_flight"], chunk["completed"]) == (["GATE-2"], 2)
    await open_gate(harness.database)
    assert await working
    assert (await harness.chunk(chunk_id))["status"] == "done"


async def test_each_claim_takes_its_kind_of_chunk(harness: Harness) -> None:
    """An ordinary claim takes no suspect chunk; a suspect claim takes no ordinary one."""
    divisible = [METRICS.phase]
    chunk_id = await suspect(harness, "DONE-1")

    async def is_claimed(phases: Sequence[PhaseName], *, as_suspect: bool) -> bool:
        async with harness.database.transaction() as conn:
            worker_id = harness.lifeline.worker_id
            chunk = await chunks.claim(conn, chunk_id, worker_id, phases, suspect=as_suspect)
            await conn.rollback()
        return chunk is not None

    assert not await is_claimed(divisible, as_suspect=False)
    assert await is_claimed(divisible, as_suspect=True)
    assert await is_claimed([], as_suspect=False)
    await harness.query("UPDATE chunks SET deaths = 1 WHERE id = :id", id=chunk_id)
    assert await is_claimed(divisible, as_suspect=False)
    assert not await is_claimed(divisible, as_suspect=True)


async def test_a_chunk_that_becomes_suspect_while_it_waits_is_isolated(harness: Harness) -> None:
    """An ordinary chunk waits behind a suspect one and loses its second owner in the meantime."""
    before, behind = await suspect(harness, "GATE-1"), await suspect(harness, "DONE-2", "DONE-3")
    await harness.query("UPDATE chunks SET deaths = 1 WHERE id = :id", id=behind)
    quarantine = harness.worker._quarantine = WatchedQuarantine()
    working = asyncio.create_task(harness.worker.work(before))
    await harness.wait_until_attempted("GATE-1")
    quarantine.ordinary_arrived.clear()
    waiting = asyncio.create_task(harness.worker.work(behind))
    await quarantine.ordinary_arrived.wait()
    await dies(harness, (behind, []))
    await open_gate(harness.database)
    assert await working
    assert await waiting
    chunk = await harness.chunk(behind)
    assert (chunk["status"], chunk["in_flight"]) == ("done", ["DONE-2", "DONE-3"])


async def test_three_deaths_alone_make_poison_and_the_neighbours_finish(harness: Harness) -> None:
    """Poison fails without an attempt and with the reason; its neighbours finish."""
    chunk_id = await suspect(harness, "DONE-1", "POISON-2", "DONE-3")
    await dies(harness, (chunk_id, ["DONE-1", "POISON-2", "DONE-3"]))
    for _ in range(3):
        await dies(harness, (chunk_id, ["POISON-2"]))
    assert await harness.worker.work(chunk_id)
    run_id = await harness.one("SELECT run_id FROM chunks WHERE id = :id", id=chunk_id)
    items = await harness.items(run_id)
    assert {item: row["status"] for item, row in items.items()} == {
        "DONE-1": "completed",
        "POISON-2": "failed",
        "DONE-3": "completed",
    }
    assert items["POISON-2"]["error_category"] == "poison"
    assert "4 workers died working on it" in items["POISON-2"]["error"]
    assert await harness.attempts("POISON-2") == 0


async def test_a_settled_item_loses_its_deaths(harness: Harness) -> None:
    """Any settlement of an item, even a failed attempt, resets its deaths."""
    chunk_id = await suspect(harness, "RETRY1-1")
    for _ in range(2):
        await dies(harness, (chunk_id, ["RETRY1-1"]))
    assert await deaths(harness) == {"RETRY1-1": 2}
    assert await harness.worker.work(chunk_id)
    assert await deaths(harness) == {"RETRY1-1": 0}


async def test_a_retry_resets_deaths(harness: Harness) -> None:
    """An item retried by a person gets all its chances again."""
    chunk_id = await suspect(harness, "DONE-1")
    for _ in range(3):
        await dies(harness, (chunk_id, ["DONE-1"]))
    assert await harness.worker.work(chunk_id)
    run_id = await harness.one("SELECT run_id FROM chunks WHERE id = :id", id=chunk_id)
    assert await harness.drive(run_id) == "failed"
    await harness.service.retry(run_id, item="DONE-1")
    assert await deaths(harness) == {"DONE-1": 0}
    assert await harness.drive(run_id) == "completed"


async def test_an_indivisible_phase_is_never_suspect(db: Database) -> None:
    """The work of an indivisible phase continues as a whole, whoever died with it."""
    async with open_harness(db) as harness:
        harness.phases[METRICS.phase].divisible = False
        chunk_id = await suspect(harness, "DONE-1", "DONE-2")
        assert await harness.worker.work(chunk_id)
        assert (await harness.chunk(chunk_id))["in_flight"] is None

        async def is_done() -> bool:
            return bool((await harness.chunk(chunk_id))["status"] == "done")

        await until(is_done, "the chunk to be done")
