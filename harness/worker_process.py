"""A worker process under test: ``app.worker.run_worker`` with the settings of its environment.

Its phases are the real ones or scripted. Forks call ``work``. Run as a script, for a process on
another release's code, it loads everything, prints "ready" and starts work with the first line on
stdin. It shuts down on SIGTERM, or when stdin closes because the test's process died.
"""

import asyncio
import os
from collections.abc import Mapping

from serpline.app.worker import run_worker
from serpline.cli.processes import end_seconds, until_stopped
from serpline.core.logging import configure
from serpline.core.settings import load
from serpline.domain.names import PhaseName
from serpline.phases.base import Phase


async def work(phases: Mapping[PhaseName, Phase] | None = None) -> None:
    """Work until stopped, with the real phases unless others are given."""
    settings = load()
    async with until_stopped(with_parent=True, ends_within=end_seconds(settings)) as stop:
        await run_worker(settings, stop, phases=phases)


if __name__ == "__main__":
    configure("INFO")
    print("ready", flush=True)
    if os.read(0, 1):
        asyncio.run(work())
