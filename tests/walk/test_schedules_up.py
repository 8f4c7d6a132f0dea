"""``serpline up`` alone runs schedules, across SIGKILL. Only the providers are simulated."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from harness.environment import clean_environment
from harness.waiting import until
from harness.world import simulated

from serpline.core.clock import SystemClock
from serpline.simulator import Simulator

KEYWORDS = b"keyword,market\nmoka pot,US\nespresso,GB\n"
# The first instant has to be after 'schedule add' has ended.
BEFORE_FIRST = timedelta(seconds=20)


class Machine:
    """One machine: its commands, and the process ``serpline up``."""

    def __init__(self, url: str, directory: Path, simulator: Simulator) -> None:
        self._environment = {
            **clean_environment(),
            **simulator.environment(),
            "SERPLINE_DATABASE_URL": url,
            "SERPLINE_DATA_DIR": str(directory),
            "SERPLINE_BATCH_POLL_SECONDS": "1",
        }
        self._directory = directory

    async def json(self, *arguments: str) -> Any:
        """Run a command that succeeds; returns its document."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "serpline.cli", *arguments, "--json"],
            capture_output=True,
            env=self._environment,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    async def add(self, name: str, first: datetime) -> None:
        """Add a schedule that is due every 60 seconds, once at ``first``."""
        file = self._directory / "spec.json"
        given = {"content_type": "news", "frequency": "interval", "interval": "60s"}
        file.write_text(json.dumps({**given, "anchor": first.isoformat()}))
        await self.json("schedule", "add", name, str(file))

    async def slots(self, name: str) -> list[dict[str, Any]]:
        """The slots of a schedule, oldest first."""
        found: list[dict[str, Any]] = await self.json("schedule", "slots", name)
        return found[::-1]

    @asynccontextmanager
    async def up(self, log: str) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Run ``serpline up``; end it by SIGTERM unless it was killed."""
        with (self._directory / log).open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "serpline.cli", "up", "--port", "0", "--workers", "1"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 60)


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the supervisor and everything that it started."""
    children = psutil.Process(process.pid).children(recursive=True)
    for pid in (process.pid, *(each.pid for each in children)):
        os.kill(pid, signal.SIGKILL)
    process.wait(10)


async def test_a_schedule_needs_nothing_but_up(database_url: str, tmp_path: Path) -> None:
    """Runs start on time and end, also after a SIGKILL of all processes. A pause skips times."""
    async with Simulator(simulated()) as simulator:
        machine = Machine(database_url, tmp_path, simulator)
        (tmp_path / "keywords.csv").write_bytes(KEYWORDS)
        await machine.json("keywords", "import", str(tmp_path / "keywords.csv"))
        first = SystemClock().now() + BEFORE_FIRST
        await machine.add("every minute", first)

        async def started() -> dict[str, Any] | None:
            found = await machine.slots("every minute")
            return found[0] if found and found[0]["outcome"] == "started" else None

        async with machine.up("first.log") as process:
            slot = await until(started, "the first slot")
            _kill_all(process)
        assert slot["scheduled_for"] == first.isoformat()
        assert 0 <= slot["lateness_seconds"] < BEFORE_FIRST.total_seconds()

        async def ended() -> dict[str, Any] | None:
            found = await machine.slots("every minute")
            return found[0] if found[0]["run_ended_at"] is not None else None

        async with machine.up("second.log"):
            slot = await until(ended, "the end of the run")
            await machine.json("schedule", "pause", "every minute")
            last = (await machine.json("schedule", "list"))[0]["decided_until"]

            async def skipped() -> dict[str, Any] | None:
                found = (await machine.slots("every minute"))[-1]
                return found if found["scheduled_for"] > last else None

            paused = await until(skipped, "a skipped slot")
        assert slot["run_status"] == "completed", slot
        assert (paused["outcome"], paused["reason_code"]) == ("skipped", "paused")
        every = await machine.slots("every minute")
        times = [datetime.fromisoformat(each["scheduled_for"]) for each in every]
        assert times == [first + timedelta(seconds=60 * n) for n in range(len(times))]
        await machine.json("schedule", "delete", "every minute")
