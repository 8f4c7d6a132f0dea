"""A process that ticks schedules at a given instant, and may kill itself at a named point.

``python -m harness.ticking INSTANT TICKS TRIGGERS [POINT]`` works on SERPLINE_DATABASE_URL. It
prints "ready", waits for a line on stdin, ticks and triggers the schedule "s" all at once, and
prints "done".
"""

import asyncio
import os
import signal
import sys
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from harness.schedules import Schedules, SetClock
from serpline.store.database import Database, TransactionConflict

# Name → (part of the statement, whether it has been executed, the how many-th).
POINTS = {
    "before the slot": ("INSERT INTO schedule_slots", False, 1),
    "after the slot": ("INSERT INTO schedule_slots", True, 1),
    "after the cursor": ("UPDATE schedules s SET decided_until", True, 1),
    "slot committed": ("pg_try_advisory_xact_lock", False, 1),
    "before the run": ("INSERT INTO pipeline_executions", False, 1),
    "after the run": ("INSERT INTO pipeline_executions", True, 1),
    "after the events": ("INSERT INTO pipeline_events", True, 1),
    "run committed": ("SELECT FROM schedule_slots WHERE outcome = 'due' AND start_at", False, 3),
}


def kill_at(database: Database, point: str) -> None:
    """Have this process killed by SIGKILL at a point of its next tick."""
    part, is_executed, times = POINTS[point]
    seen = 0

    def check(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal seen
        seen += part in statement
        if part in statement and seen == times:
            os.kill(os.getpid(), signal.SIGKILL)

    name = "after_cursor_execute" if is_executed else "before_cursor_execute"
    sa.event.listen(database._engine.sync_engine, name, check)


async def _tick(schedules: Schedules) -> None:
    while True:
        try:
            await schedules.tick.run()
            return
        except TransactionConflict:
            continue


async def _work(instant: datetime, ticks: int, triggers: int, point: str | None) -> None:
    database = await Database.connect(os.environ["SERPLINE_DATABASE_URL"], pool_size=8)
    try:
        schedules = Schedules(database, SetClock(instant))
        await schedules.query("SELECT 1")
        print("ready", flush=True)
        sys.stdin.readline()
        if point is not None:
            kill_at(database, point)
        await asyncio.gather(
            *(_tick(schedules) for _ in range(ticks)),
            *(schedules.service.trigger("s") for _ in range(triggers)),
        )
        print("done", flush=True)
    finally:
        await database.close()


if __name__ == "__main__":
    at, how_many, by_hand, *points = sys.argv[1:]
    where = points[0] if points else None
    asyncio.run(_work(datetime.fromisoformat(at), int(how_many), int(by_hand), where))
