"""What waits on a breaker is woken by its closing, however the two are timed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from harness.heart import METRICS, Heart, beating
from harness.scripted import BREAKER
from harness.waiting import until

from serpline.domain.breaker import reset
from serpline.robustness import breakers
from serpline.robustness.breakers import CircuitBreaker, CircuitBreakerManager
from serpline.store.calls import breakers as store
from serpline.store.database import Database


@pytest.fixture
async def heart(db: Database) -> AsyncIterator[Heart]:
    async with beating(db) as made:
        yield made


@pytest.fixture
def manager(heart: Heart) -> CircuitBreakerManager:
    return CircuitBreakerManager(heart.database, heart.clock, chance=lambda: 0.5)


async def opened(manager: CircuitBreakerManager) -> CircuitBreaker:
    """The scripted provider's breaker, open for an hour."""
    breaker = manager.get_breaker(BREAKER, 1, 1, 3600)
    await (await breaker.permit()).failed()
    return breaker


async def waiting(heart: Heart, item: str = "REFUSED-1") -> int:
    """A chunk that was refused by the breaker and given back."""
    run_id = await heart.start({METRICS: [item]}, lanes=[METRICS])
    (chunk_id,) = await heart.planned(run_id)
    assert await heart.worker.work(chunk_id)
    await heart.forget_wakeups()
    return chunk_id


async def test_a_refused_chunk_waits_on_its_breaker_until_a_claim(
    heart: Heart, manager: CircuitBreakerManager
) -> None:
    """The breaker's name is stored with the wait, and forgotten when the chunk is owned again."""
    await opened(manager)
    chunk_id = await waiting(heart)
    before = await heart.chunk(chunk_id)
    assert before["waits_on"] == [BREAKER]
    assert before["look_seconds"] > 3000
    await heart.worker.work(chunk_id)
    assert (await heart.chunk(chunk_id))["waits_on"] is None


async def test_closing_wakes_what_waits_and_nothing_else(
    heart: Heart, manager: CircuitBreakerManager
) -> None:
    """A good probe closes it: its waiting chunk is announced and due, a snoozed one is neither."""
    breaker = await opened(manager)
    chunk_id, other = await waiting(heart), await waiting(heart, "SNOOZE-1")
    heart.clock.ahead_seconds += 4000
    heart.clock.frozen_seconds += 4000
    await (await breaker.permit()).succeeded()
    assert (await breaker.state()).breaker.state == "closed"
    assert await heart.waiting() == [f"chunk:{chunk_id}"]
    assert (await heart.chunk(chunk_id))["look_seconds"] <= 0
    assert (await heart.chunk(other))["look_seconds"] > 3000


async def test_a_closing_by_other_settings_wakes_what_waits(
    heart: Heart, manager: CircuitBreakerManager
) -> None:
    """One good probe, and then one is enough: whoever waits is told in that transaction."""
    breaker = await opened(manager)
    await manager.configure(BREAKER, success_threshold=2)
    chunk_id = await waiting(heart)
    heart.clock.ahead_seconds += 4000
    heart.clock.frozen_seconds += 4000
    await (await breaker.permit()).succeeded()
    assert await heart.waiting() == []
    await manager.configure(BREAKER, success_threshold=1)
    assert (await breaker.state()).breaker.state == "closed"
    assert await heart.waiting() == [f"chunk:{chunk_id}"]


async def test_if_waking_fails_the_breaker_has_not_closed(
    heart: Heart, manager: CircuitBreakerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closing and its wake-ups commit together or not at all."""
    breaker = await opened(manager)
    chunk_id = await waiting(heart)

    async def fails(*_: object) -> None:
        raise RuntimeError("the database said no")

    monkeypatch.setattr(breakers, "wake", fails)
    with pytest.raises(RuntimeError):
        await manager.reset(BREAKER)
    assert (await breaker.state()).breaker.state == "open"
    assert (await heart.chunk(chunk_id))["look_seconds"] > 3000


async def test_a_breaker_that_closed_during_the_work_is_not_waited_for(
    heart: Heart, manager: CircuitBreakerManager
) -> None:
    """Refused by an old view of the breaker: the chunk is looked at again at once."""
    await opened(manager)
    await manager.reset(BREAKER)
    chunk_id = await waiting(heart)
    assert (await heart.chunk(chunk_id))["look_seconds"] < 1


async def test_a_closing_under_way_is_waited_for(
    heart: Heart, manager: CircuitBreakerManager
) -> None:
    """Between the closing's look at the chunks and its commit nobody starts to wait unseen."""
    await opened(manager)
    async with heart.database.transaction() as conn:
        row = await store.lock(conn, BREAKER)
        await manager.save(conn, row, reset(row.breaker))
        giving_back = asyncio.create_task(waiting(heart))

        async def is_held_up() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(await heart.one(f"{query} AND datname = current_database()"))

        await until(is_held_up, "the release to meet the closing")
    assert (await heart.chunk(await giving_back))["look_seconds"] < 1
