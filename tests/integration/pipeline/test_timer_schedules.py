"""The timer calls the tick of the schedules at its time, and goes on whatever happens in it."""

from collections.abc import AsyncIterator

import pytest
from harness.inline import METRICS, Harness, open_harness

from serpline.pipeline.timer import ScheduleTick, Timer
from serpline.store.database import Database, DatabaseUnavailable


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


def timer_with(harness: Harness, tick: ScheduleTick) -> Timer:
    return Timer(
        harness.database,
        harness.clock,
        harness.lifeline,
        check_again_seconds=30,
        take_over_seconds=5,
        tick_schedules=tick,
    )


@pytest.mark.parametrize(("due_in", "seconds"), [(2.0, 2.0), (3_600.0, 5.0), (None, 5.0)])
async def test_at_its_time(harness: Harness, due_in: float | None, seconds: float) -> None:
    """It is called when more is due, and every five seconds at the latest."""
    calls = 0

    async def tick() -> float | None:
        nonlocal calls
        calls += 1
        return due_in

    timer = timer_with(harness, tick)
    assert await timer.tick() <= seconds
    await timer.tick()
    assert calls == 1
    harness.clock.frozen_seconds += seconds
    await timer.tick()
    assert calls == 2


async def test_an_error_in_it(harness: Harness) -> None:
    """An error of ours in the tick is logged, and runs in progress are woken all the same."""

    async def tick() -> float | None:
        raise RuntimeError("a bug")

    timer = timer_with(harness, tick)
    run_id = await harness.start({METRICS: ["DONE-a"]}, lanes=[METRICS])
    await harness.delete_wakeups()
    await timer.tick()
    assert f"run:{run_id}" in await harness.waiting()


async def test_an_outage_in_it(harness: Harness) -> None:
    """An outage of the database reaches the loop, which tries again."""

    async def tick() -> float | None:
        raise DatabaseUnavailable("gone")

    with pytest.raises(DatabaseUnavailable):
        await timer_with(harness, tick).tick()
