"""What waits on a breaker is woken by its closing, however the two are timed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from harness.inline import METRICS, Harness, open_harness
from harness.scripted import BREAKER
from harness.waiting import until

from serpline.domain.breaker import reset
from serpline.robustness import breakers
from serpline.robustness.breakers import CircuitBreaker, CircuitBreakerManager
from serpline.store.calls import breakers as store
from serpline.store.database import Database


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


@pytest.fixture
def manager(harness: Harness) -> CircuitBreakerManager:
    return CircuitBreakerManager(harness.database, harness.clock, chance=lambda: 0.5)


async def opened(manager: CircuitBreakerManager) -> CircuitBreaker:
    """The scripted provider's breaker, open for an hour."""
    breaker = manager.get_breaker(BREAKER, 1, 1, 3600)
    await (await breaker.permit()).failed()
    return breaker


async def waiting(harness: Harness, item: str = "REFUSED-1") -> int:
    """A chunk that was refused by the breaker and given back."""
    run_id = await harness.start({METRICS: [item]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    assert await harness.worker.work(chunk_id)
    await harness.delete_wakeups()
    return chunk_id


async def test_a_refused_chunk_waits_on_its_breaker_until_a_claim(
    harness: Harness, manager: CircuitBreakerManager
) -> None:
    """The breaker's name is stored with the wait, and forgotten when the chunk is owned again."""
    await opened(manager)
    chunk_id = await waiting(harness)
    before = await harness.chunk(chunk_id)
    assert before["waits_on"] == [BREAKER]
    assert before["seconds_to_check"] > 3000
    await harness.worker.work(chunk_id)
    assert (await harness.chunk(chunk_id))["waits_on"] is None


async def test_closing_wakes_what_waits_and_nothing_else(
    harness: Harness, manager: CircuitBreakerManager
) -> None:
    """A good probe closes it: its waiting chunk is announced and due, a snoozed one is neither."""
    breaker = await opened(manager)
    chunk_id, other = await waiting(harness), await waiting(harness, "SNOOZE-1")
    harness.clock.ahead_seconds += 4000
    harness.clock.frozen_seconds += 4000
    await (await breaker.permit()).succeeded()
    assert (await breaker.state()).breaker.state == "closed"
    assert await harness.waiting() == [f"chunk:{chunk_id}"]
    assert (await harness.chunk(chunk_id))["seconds_to_check"] <= 0
    assert (await harness.chunk(other))["seconds_to_check"] > 3000


async def test_a_closing_by_other_settings_wakes_what_waits(
    harness: Harness, manager: CircuitBreakerManager
) -> None:
    """One good probe, and then one is enough: whoever waits is told in that transaction."""
    breaker = await opened(manager)
    await manager.configure(BREAKER, success_threshold=2)
    chunk_id = await waiting(harness)
    harness.clock.ahead_seconds += 4000
    harness.clock.frozen_seconds += 4000
    await (await breaker.permit()).succeeded()
    assert await harness.waiting() == []
    await manager.configure(BREAKER, success_threshold=1)
    assert (await breaker.state()).breaker.state == "closed"
    assert await harness.waiting() == [f"chunk:{chunk_id}"]


async def test_if_waking_fails_the_breaker_has_not_closed(
    harness: Harness, manager: CircuitBreakerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closing and its wake-ups commit together or not at all."""
    breaker = await opened(manager)
    chunk_id = await waiting(harness)

    async def fails(*_: object) -> None:
        raise RuntimeError("the database said no")

    monkeypatch.setattr(breakers, "wake", fails)
    with pytest.raises(RuntimeError):
        await manager.reset(BREAKER)
    assert (await breaker.state()).breaker.state == "open"
    assert (await harness.chunk(chunk_id))["seconds_to_check"] > 3000


async def test_a_breaker_that_closed_during_the_work_is_not_waited_for(
    harness: Harness, manager: CircuitBreakerManager
) -> None:
    """Refused by an old view of the breaker: the chunk is looked at again at once."""
    await opened(manager)
    await manager.reset(BREAKER)
    chunk_id = await waiting(harness)
    assert (await harness.chunk(chunk_id))["seconds_to_check"] < 1


async def test_a_closing_under_way_is_waited_for(
    harness: Harness, manager: CircuitBreakerManager
) -> None:
    """Between the closing's look at the chunks and its commit nobody starts to wait unseen."""
    await opened(manager)
    async with harness.database.transaction() as conn:
        row = await store.lock(conn, BREAKER)
        await manager.save(conn, row, reset(row.breaker))
        giving_back = asyncio.create_task(waiting(harness))

        async def is_held_up() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(await harness.one(f"{query} AND datname = current_database()"))

        await until(is_held_up, "the release to meet the closing")
    assert (await harness.chunk(await giving_back))["seconds_to_check"] < 1
