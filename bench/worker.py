"""A worker process of ours: ``app.run_worker`` by the settings of its environment.

With an argument, ``keyword_metrics`` is a phase of that many items that does nothing to them. It
ends in good order at the end of stdin, which comes when the benchmark's own process dies.
"""

import asyncio
import sys

from bench.noop import NoopPhase
from serpline.app import run_worker
from serpline.cli.processes import until_stopped
from serpline.core.logging import configure
from serpline.core.settings import load
from serpline.domain.names import PhaseName
from serpline.phases.base import Phase


async def main() -> None:
    """Work until stdin ends."""
    phases: dict[PhaseName, Phase] | None = None
    if len(sys.argv) > 1:
        phases = {PhaseName.KEYWORD_METRICS: NoopPhase(int(sys.argv[1]))}
    async with until_stopped(with_parent=True) as stop:
        await run_worker(load(), stop, phases=phases)


if __name__ == "__main__":
    configure("WARNING")
    asyncio.run(main())
