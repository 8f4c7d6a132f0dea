"""A process that ticks once and kills itself at a named point."""

import asyncio
import functools
import os
import signal
from collections.abc import Mapping
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from harness.forks import enter_fork, preload
from harness.schedules import Schedules, SetClock
from serpline.store.database import Database

preload(__name__)


def tick_until_death(
    environment: Mapping[str, str],
    log: Path,
    alive: Connection,
    url: str,
    at: datetime,
    owner: str,
    name: str,
) -> None:
    """Tick at ``at``; send SIGKILL to this process when ``owner.name`` has returned."""
    enter_fork(environment, log, alive)
    found = resolve_name(owner)
    function = getattr(found, name)

    @functools.wraps(function)
    async def fatal(*given: Any, **more: Any) -> Any:
        await function(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(found, name, fatal)
    asyncio.run(_tick(url, at))


async def _tick(url: str, at: datetime) -> None:
    await Schedules(await Database.connect(url), SetClock(at)).tick.run()
