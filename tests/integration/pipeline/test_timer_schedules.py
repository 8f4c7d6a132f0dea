"""The timer runs the tick of the schedules when that has work, and goes on whatever it raises."""

from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
from harness.inline import METRICS, Harness, open_harness
from sqlalchemy import text

from serpline.pipeline.timer import ScheduleTick, Timer
from serpline.store.database import Connection, Database, DatabaseUnavailable


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


class RecordedTick:
    """Has work after ``due_in`` seconds; notes how often it is asked and run."""

    def __init__(self, due_in: float | None) -> None:
        self.seconds = due_in
        self.asked = 0
        self.runs = 0

    async def due_in(self, conn: Connection) -> float | None:
        self.asked += 1
        return self.seconds

    async def run(self) -> float | None:
        self.runs += 1
        return self.seconds


class FailingTick(RecordedTick):
    """Has work at once, and raises ``error`` when it is run."""

    def __init__(self, error: Exception) -> None:
        super().__init__(0.0)
        self._error = error

    async def run(self) -> NoReturn:
        raise self._error


class StatementTick(RecordedTick):
    """Executes ``statement`` when it is asked."""

    def __init__(self, statement: str) -> None:
        super().__init__(0.0)
        self._statement = statement

    async def due_in(self, conn: Connection) -> float | None:
        await conn.execute(text(self._statement))
        return self.seconds


def timer_with(harness: Harness, tick: ScheduleTick) -> Timer:
    return Timer(
        harness.database,
        harness.clock,
        harness.lifeline,
        check_again_seconds=30,
        take_over_seconds=5,
        schedules=tick,
    )


async def test_at_its_time(harness: Harness) -> None:
    """It runs when it is due, between two take-overs too."""
    tick = RecordedTick(2.0)
    timer = timer_with(harness, tick)
    assert await timer.tick() <= 2.0
    await timer.tick()
    assert tick.runs == 0
    harness.clock.frozen_seconds += 2.0
    assert await timer.tick() <= 2.0
    assert (tick.asked, tick.runs) == (1, 1)
    harness.clock.frozen_seconds += 2.0
    await timer.tick()
    assert tick.runs == 2


@pytest.mark.parametrize("due_in", [3_600.0, None])
async def test_nothing_due(harness: Harness, due_in: float | None) -> None:
    """It is asked again with each take-over, since another process may have changed a schedule."""
    tick = RecordedTick(due_in)
    timer = timer_with(harness, tick)
    assert await timer.tick() <= 5.0
    harness.clock.frozen_seconds += 5.0
    await timer.tick()
    assert (tick.asked, tick.runs) == (2, 0)
    tick.seconds = 0.0
    harness.clock.frozen_seconds += 5.0
    await timer.tick()
    assert tick.runs == 1


@pytest.mark.parametrize(
    "tick", [FailingTick(RuntimeError("a bug")), StatementTick("SELECT nothing_there")]
)
async def test_an_error_in_it(harness: Harness, tick: ScheduleTick) -> None:
    """An error of ours is logged, and runs in progress are woken all the same."""
    timer = timer_with(harness, tick)
    run_id = await harness.start({METRICS: ["DONE-a"]}, lanes=[METRICS])
    await harness.delete_wakeups()
    await timer.tick()
    assert f"run:{run_id}" in await harness.waiting()


@pytest.mark.parametrize(
    "tick",
    [
        FailingTick(DatabaseUnavailable("gone")),
        StatementTick("SELECT pg_terminate_backend(pg_backend_pid())"),
    ],
)
async def test_an_outage_in_it(harness: Harness, tick: ScheduleTick) -> None:
    """An outage of the database reaches the loop, which tries again."""
    with pytest.raises(DatabaseUnavailable):
        await timer_with(harness, tick).tick()
