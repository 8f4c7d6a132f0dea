"""Lanes take turns, in any order of planning."""

import asyncio
from itertools import pairwise
from typing import Any

from harness.inline import METRICS, open_harness

from serpline.queueing.manager import JobQueueManager
from serpline.store.database import Database


async def test_a_small_lane_does_not_wait_for_all_of_a_large_one(db: Database) -> None:
    """One slot, forty queued chunks: a later lane's first chunk starts next but one at the latest.

    After that the two lanes take turns.
    """
    async with open_harness(db, chunk_size=1) as harness:
        large = await harness.start({METRICS: [f"DONE-large {n:02}" for n in range(40)]})
        small = await harness.start({METRICS: [f"DONE-small {n}" for n in range(3)]})
        begun: list[int] = []
        late: list[int] = []
        manager, stop = JobQueueManager(db), asyncio.Event()

        async def work(payload: dict[str, Any]) -> None:
            begun.append(int(payload["target"]))
            if len(begun) == 5:
                late.extend(await harness.plan(small))
            await harness.worker.work(begun[-1])
            if len(begun) == 43:
                stop.set()

        async def look(payload: dict[str, Any]) -> None:
            """The test advances the runs itself."""

        manager.register("chunk", work)
        manager.register("run", look)
        early = await harness.plan(large)
        async with asyncio.timeout(60):
            await manager.run(stop, 1)
        assert sorted(begun) == sorted(early + late)
        between = [begun.index(chunk_id) - 5 for chunk_id in late]
        assert between[0] <= 1
        assert [later - first for first, later in pairwise(between)] == [2, 2]
