"""A process that ticks once and kills itself at a named point."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path

from harness.forks import enter_fork, preload
from harness.points import arm
from harness.schedules import Schedules, SetClock
from serpline.store.database import Database

preload(__name__)


def tick_until_death(
    environment: Mapping[str, str],
    log: Path,
    alive: Connection,
    url: str,
    at: datetime,
    point: str,
) -> None:
    """Tick at ``at``; send SIGKILL to this process when it first reaches ``point``."""
    enter_fork(environment, log, alive)
    arm(point, 1)
    asyncio.run(_tick(url, at))


async def _tick(url: str, at: datetime) -> None:
    await Schedules(await Database.connect(url), SetClock(at)).tick.run()
