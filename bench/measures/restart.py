"""Seconds until work continues after a worker is killed in the middle of a million items.

Measured from the start of the new process (interpreter, imports, connections) to its first settled
item. The dead worker's chunks come later, by the take-over; other chunks are ready at once.
"""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import psycopg
from harness.figures import Figure, at_most

from bench.lane_runs import LANE, count_completed, start_run
from bench.place import Place
from serpline.store.database import Database

TITLE = "restart after kill -9 among a million items"
ITEMS = 1_000_000
POLL_SECONDS = 0.02
HALF_DONE_SECONDS_MAX = 900.0


async def measure(place: Place) -> Sequence[Figure]:
    """Seconds to the first new item."""
    count = place.sized(ITEMS)
    with place.fresh_database() as name:
        database = await Database.connect(place.server.url(name))
        try:
            run_id = await start_run(database, LANE)
            environment = place.worker_environment(name)
            async with place.process("bench.worker", count, **environment):
                async with asyncio.timeout(HALF_DONE_SECONDS_MAX):
                    await _wait_for_more_than(database, run_id, count // 2)
                # The end of the block kills the worker.
            before = await _count_after_death(place, database, name, run_id)
            started = time.perf_counter()
            async with place.process("bench.worker", count, **environment):
                async with asyncio.timeout(HALF_DONE_SECONDS_MAX):
                    await _wait_for_more_than(database, run_id, before)
                seconds = time.perf_counter() - started
        finally:
            await database.close()
    place.notes.append(f"killed at {before:,} of {count:,} items")
    return [at_most("seconds from the process's start to the first new item", seconds, 5)]


async def _wait_for_more_than(database: Database, run_id: UUID, count: int) -> None:
    while await count_completed(database, run_id) <= count:
        await asyncio.sleep(POLL_SECONDS)


async def _count_after_death(place: Place, database: Database, name: str, run_id: UUID) -> int:
    """Completed items, once the server has ended the dead process's sessions."""
    busy_sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state <> 'idle'"
    with psycopg.connect(place.server.conninfo("postgres"), autocommit=True) as admin:
        while admin.execute(busy_sessions, (name,)).fetchone() != (0,):
            await asyncio.sleep(POLL_SECONDS)
    return await count_completed(database, run_id)
