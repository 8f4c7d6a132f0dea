"""A clock that stands still until a test moves it, and a world on one fixed day."""

import asyncio
import heapq
from datetime import UTC, date, datetime, timedelta

import pytest

from serpline.simulator.world import World

DAY = date(2026, 11, 23)


class ManualClock:
    """Time passes only by ``advance``; whoever sleeps until then wakes."""

    def __init__(self) -> None:
        self._start = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._passed + seconds, self._count, waiting))
        await waiting

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, waking each sleeper at its own instant."""
        until = self._passed + seconds
        # What was started before this call gets its chance to fall asleep first.
        for _ in range(20):
            await asyncio.sleep(0)
        while self._sleepers and self._sleepers[0][0] <= until:
            self._passed, _, waiting = heapq.heappop(self._sleepers)
            if not waiting.done():
                waiting.set_result(None)
            for _ in range(20):
                await asyncio.sleep(0)
        self._passed = until


@pytest.fixture
def clock() -> ManualClock:
    """A clock at 2026-11-23 12:00 UTC."""
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> World:
    """The market of seed 1 on 2026-11-23."""
    return World(1, clock, DAY)
