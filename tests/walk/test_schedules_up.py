"""``serpline up`` alone runs schedules, across SIGKILL. Only the providers are simulated."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from harness.schedules import spec
from harness.waiting import until
from harness.world import QUICK_TAKEOVER, World, open_world

from serpline.core.clock import SystemClock
from serpline.scheduling.spec import ScheduleSpec

KEYWORDS = b"keyword,market\nmoka pot,US\nespresso,GB\n"
NAME = "every minute"
INTERVAL = timedelta(seconds=60)
SOON = timedelta(seconds=2)
LATENESS_SECONDS_MAX = 20.0
WORKER_RUNS = "SELECT 1 FROM workers WHERE ended_at IS NULL"
STARTED = "SELECT 1 FROM schedule_slots WHERE outcome = 'started'"
ENDED = "SELECT 1 FROM schedule_slots WHERE run_ended_at IS NOT NULL"
SKIPPED = "SELECT 1 FROM schedule_slots WHERE reason_code = 'paused'"


@asynccontextmanager
async def up(world: World, log: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run ``serpline up``; end it by SIGTERM unless it was killed."""
    with (world.directory / log).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "serpline.cli", "up", "--port", "0", "--workers", "1"],
            env=world.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 60)


def told(world: World, log: str) -> str:
    """The log of an ``up`` so far."""
    return (world.directory / log).read_text()


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the supervisor and everything that it started."""
    children = psutil.Process(process.pid).children(recursive=True)
    for pid in (process.pid, *(each.pid for each in children)):
        os.kill(pid, signal.SIGKILL)
    process.wait(10)


def every_minute() -> ScheduleSpec:
    """News once a minute, first ``SOON``."""
    anchor = (SystemClock().now() + SOON).isoformat()
    return spec(frequency="interval", interval="60s", anchor=anchor)


async def test_a_schedule_needs_nothing_but_up(database_url: str, tmp_path: Path) -> None:
    """Runs start on time and end, also after a SIGKILL of all processes. A pause skips times."""
    async with open_world(database_url, tmp_path, KEYWORDS, **QUICK_TAKEOVER) as world:
        schedules = world.services.schedules

        async def slots() -> list[dict[str, Any]]:
            return (await schedules.slots(NAME))[::-1]

        async with up(world, "first.log") as process:
            await until(partial(world.query, WORKER_RUNS), "the worker")
            assert re.search(r"up: web on http://127.0.0.1:[1-9]", told(world, "first.log"))
            first = every_minute()
            await schedules.add(NAME, first)
            await until(partial(world.query, STARTED), "the first slot")
            _kill_all(process)
        (slot,) = await slots()
        assert (slot["outcome"], slot["scheduled_for"]) == ("started", first.anchor)
        assert 0 <= slot["lateness_seconds"] < LATENESS_SECONDS_MAX
        async with up(world, "second.log"):
            await until(partial(world.query, ENDED), "the end of the run")
            await schedules.pause(NAME)
            second = every_minute()
            await schedules.edit(NAME, second)
            await until(partial(world.query, SKIPPED), "a skipped slot")
        slot, *between, paused = await slots()
        assert slot["run_status"] == "completed", slot
        assert (paused["outcome"], paused["reason_code"]) == ("skipped", "paused")
        times = [each["scheduled_for"] for each in (slot, *between)]
        assert times == [first.anchor + INTERVAL * n for n in range(len(times))]
        assert paused["scheduled_for"] == second.anchor
        await schedules.delete(NAME)
