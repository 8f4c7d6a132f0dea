"""Facts about suspect chunks in the database: whose death counts, and what becomes of poison."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
from harness.heart import METRICS, Heart, beating
from harness.scripted import open_gate
from harness.waiting import until

from serpline.domain.names import PhaseName
from serpline.pipeline.quarantine import Quarantine
from serpline.store.database import Database
from serpline.store.runs import chunks, workers


@pytest.fixture
async def heart(db: Database) -> AsyncIterator[Heart]:
    async with beating(db) as made:
        yield made


class WatchedDoor(Quarantine):
    """Tells when an ordinary chunk has come to it."""

    def __init__(self) -> None:
        super().__init__()
        self.ordinary_came = asyncio.Event()

    def entered(self, *, alone: bool) -> AbstractAsyncContextManager[None]:
        """As everywhere."""
        if not alone:
            self.ordinary_came.set()
        return super().entered(alone=alone)


async def suspect(heart: Heart, *items: str) -> int:
    """A chunk that lost two owners."""
    run_id = await heart.start({METRICS: items}, lanes=[METRICS])
    (chunk_id,) = await heart.planned(run_id)
    await heart.query("UPDATE chunks SET deaths = 2 WHERE id = :id", id=chunk_id)
    return chunk_id


async def dies(heart: Heart, *marked: tuple[int, Sequence[str]]) -> None:
    """A worker that owned these chunks, with these items marked, is taken over."""
    async with heart.database.transaction() as conn:
        worker_id = await workers.register(conn, "elsewhere", 1)
    for chunk_id, items in marked:
        chunk = await heart.claim(chunk_id, worker_id)
        assert chunk is not None
        async with heart.database.transaction() as conn:
            await chunks.mark(conn, chunk, items)
    await heart.query(
        "UPDATE workers SET heartbeat_at = now() - '1 h'::interval WHERE id = :id", id=worker_id
    )
    assert set(await heart.lifeline.take_over()) == {chunk_id for chunk_id, _ in marked}


async def deaths(heart: Heart) -> dict[str, int]:
    """How many deaths are counted for each item."""
    rows = await heart.query("SELECT item, deaths FROM items ORDER BY item")
    return {row["item"]: row["deaths"] for row in rows}


async def test_a_death_counts_for_what_was_marked(heart: Heart) -> None:
    """Neither the neighbours in the chunk nor what had ended already are blamed."""
    chunk_id = await suspect(heart, "DONE-1", "DONE-2", "DONE-3")
    await heart.query("UPDATE items SET status = 'skipped' WHERE item = 'DONE-3'")
    await dies(heart, (chunk_id, ["DONE-1", "DONE-3"]))
    assert await deaths(heart) == {"DONE-1": 1, "DONE-2": 0, "DONE-3": 0}


async def test_a_death_with_other_work_in_hand_counts_for_nobody(heart: Heart) -> None:
    """A worker that held two chunks may have died of either."""
    first, second = await suspect(heart, "DONE-1"), await suspect(heart, "DONE-2")
    await dies(heart, (first, ["DONE-1"]), (second, ["DONE-2"]))
    assert await deaths(heart) == {"DONE-1": 0, "DONE-2": 0}
    assert [(await heart.chunk(c))["deaths"] for c in (first, second)] == [3, 3]


async def test_an_ordinary_chunk_marks_nothing(heart: Heart) -> None:
    """Before the second death nobody is suspect: the work has everything in hand, unmarked."""
    chunk_id = await suspect(heart, "GATE-1", "DONE-2")
    await heart.query("UPDATE chunks SET deaths = 1 WHERE id = :id", id=chunk_id)
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("GATE-1")
    assert (await heart.chunk(chunk_id))["in_flight"] is None
    await open_gate(heart.database)
    assert await working


async def test_a_suspect_chunk_marks_before_it_works(heart: Heart) -> None:
    """The innocent go first and are settled; then what died before, marked alone."""
    chunk_id = await suspect(heart, "DONE-1", "GATE-2", "DONE-3")
    await heart.query("UPDATE items SET deaths = 1 WHERE item = 'GATE-2'")
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("GATE-2")
    chunk = await heart.chunk(chunk_id)
    assert (chunk["in_flight"], chunk["completed"]) == (["GATE-2"], 2)
    await open_gate(heart.database)
    assert await working
    assert (await heart.chunk(chunk_id))["status"] == "done"


async def test_a_claim_takes_only_what_it_is_for(heart: Heart) -> None:
    """An ordinary claim takes no suspect chunk, a suspect claim no other chunk."""
    divisible = [METRICS.phase]
    chunk_id = await suspect(heart, "DONE-1")

    async def is_claimed(phases: Sequence[PhaseName], *, as_suspect: bool) -> bool:
        async with heart.database.transaction() as conn:
            worker_id = heart.lifeline.worker_id
            chunk = await chunks.claim(conn, chunk_id, worker_id, phases, suspect=as_suspect)
            await conn.rollback()
        return chunk is not None

    assert not await is_claimed(divisible, as_suspect=False)
    assert await is_claimed(divisible, as_suspect=True)
    assert await is_claimed([], as_suspect=False)
    await heart.query("UPDATE chunks SET deaths = 1 WHERE id = :id", id=chunk_id)
    assert await is_claimed(divisible, as_suspect=False)
    assert not await is_claimed(divisible, as_suspect=True)


async def test_what_became_suspect_while_it_waited_is_worked_as_such(heart: Heart) -> None:
    """An ordinary chunk waits behind a suspect one and loses its second owner meanwhile."""
    before, behind = await suspect(heart, "GATE-1"), await suspect(heart, "DONE-2", "DONE-3")
    await heart.query("UPDATE chunks SET deaths = 1 WHERE id = :id", id=behind)
    door = heart.worker._quarantine = WatchedDoor()
    working = asyncio.create_task(heart.worker.work(before))
    await heart.attempted("GATE-1")
    door.ordinary_came.clear()
    waiting = asyncio.create_task(heart.worker.work(behind))
    await door.ordinary_came.wait()
    await dies(heart, (behind, []))
    await open_gate(heart.database)
    assert await working
    assert await waiting
    chunk = await heart.chunk(behind)
    assert (chunk["status"], chunk["in_flight"]) == ("done", ["DONE-2", "DONE-3"])


async def test_three_deaths_alone_make_poison_and_the_neighbours_finish(heart: Heart) -> None:
    """Poison fails, unattempted, and says why."""
    chunk_id = await suspect(heart, "DONE-1", "POISON-2", "DONE-3")
    await dies(heart, (chunk_id, ["DONE-1", "POISON-2", "DONE-3"]))
    for _ in range(3):
        await dies(heart, (chunk_id, ["POISON-2"]))
    assert await heart.worker.work(chunk_id)
    run_id = await heart.one("SELECT run_id FROM chunks WHERE id = :id", id=chunk_id)
    items = await heart.items(run_id)
    assert {item: row["status"] for item, row in items.items()} == {
        "DONE-1": "completed",
        "POISON-2": "failed",
        "DONE-3": "completed",
    }
    assert items["POISON-2"]["error_category"] == "poison"
    assert "4 workers died while it was in hand" in items["POISON-2"]["error"]
    assert await heart.attempts("POISON-2") == 0


async def test_whoever_comes_back_alive_is_cleared(heart: Heart) -> None:
    """A settlement of an item, even a failed attempt, takes its deaths back."""
    chunk_id = await suspect(heart, "RETRY1-1")
    for _ in range(2):
        await dies(heart, (chunk_id, ["RETRY1-1"]))
    assert await deaths(heart) == {"RETRY1-1": 2}
    assert await heart.worker.work(chunk_id)
    assert await deaths(heart) == {"RETRY1-1": 0}


async def test_an_item_retried_by_a_person_starts_anew(heart: Heart) -> None:
    """A retry forgets the deaths, so the item gets all its chances again."""
    chunk_id = await suspect(heart, "DONE-1")
    for _ in range(3):
        await dies(heart, (chunk_id, ["DONE-1"]))
    assert await heart.worker.work(chunk_id)
    run_id = await heart.one("SELECT run_id FROM chunks WHERE id = :id", id=chunk_id)
    assert await heart.drive(run_id) == "failed"
    await heart.service.retry(run_id, item="DONE-1")
    assert await deaths(heart) == {"DONE-1": 0}
    assert await heart.drive(run_id) == "completed"


async def test_what_cannot_be_divided_is_not_suspect(db: Database) -> None:
    """The work of an indivisible phase goes on as a whole, whatever died with it."""
    async with beating(db) as heart:
        heart.phases[METRICS.phase].divisible = False
        chunk_id = await suspect(heart, "DONE-1", "DONE-2")
        assert await heart.worker.work(chunk_id)
        assert (await heart.chunk(chunk_id))["in_flight"] is None

        async def is_done() -> bool:
            return bool((await heart.chunk(chunk_id))["status"] == "done")

        await until(is_done, "the chunk to be done")
