"""A process that ticks schedules at a given instant, many times at once.

``python -m harness.ticking INSTANT TICKS TRIGGERS`` works on SERPLINE_DATABASE_URL, with as
many runs at once as SERPLINE_SCHEDULED_RUNS_MAX allows (default: 100). It prints "ready", waits for
a line on stdin, ticks and triggers the schedule "s" all at once, and prints "done".
"""

import asyncio
import os
import sys
from datetime import datetime

from harness.schedules import Schedules, SetClock
from serpline.store.database import Database, TransactionConflict


async def _tick(schedules: Schedules) -> None:
    while True:
        try:
            await schedules.tick.run()
            return
        except TransactionConflict:
            continue


async def _work(instant: datetime, ticks: int, triggers: int) -> None:
    database = await Database.connect(os.environ["SERPLINE_DATABASE_URL"], pool_size=8)
    try:
        runs_max = int(os.environ.get("SERPLINE_SCHEDULED_RUNS_MAX", "100"))
        schedules = Schedules(database, SetClock(instant), runs_max=runs_max)
        await schedules.query("SELECT 1")
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(
            *(_tick(schedules) for _ in range(ticks)),
            *(schedules.service.trigger("s") for _ in range(triggers)),
        )
        print("done", flush=True)
    finally:
        await database.close()


if __name__ == "__main__":
    at, how_many, by_hand = sys.argv[1:]
    asyncio.run(_work(datetime.fromisoformat(at), int(how_many), int(by_hand)))
