"""A worker process of ours: ``app.run_worker`` by the settings of its environment.

With an argument, ``keyword_metrics`` is a phase of that many items that does nothing to them. It
ends in good order at the end of stdin, which comes when the benchmark's own process dies.
"""

import asyncio
import os
import sys

from bench.noop import NoopPhase
from serpline.app import run_worker
from serpline.core.logging import configure
from serpline.core.settings import load
from serpline.domain.names import PhaseName
from serpline.phases.base import Phase


async def main() -> None:
    """Work until stdin ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, heard)
    phases: dict[PhaseName, Phase] | None = None
    if len(sys.argv) > 1:
        phases = {PhaseName.KEYWORD_METRICS: NoopPhase(int(sys.argv[1]))}
    await run_worker(load(), stop, phases=phases)


if __name__ == "__main__":
    configure("WARNING")
    asyncio.run(main())
