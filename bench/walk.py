"""Items through plan, claim, no-op work, settle with a result row, release: ``URL COUNT``.

This is a process of its own, so its peak memory is that of this many items. It prints
``{"seconds", "resident_mb"}``. The seconds exclude the process's start.
"""

import asyncio
import json
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from harness.worker_parts import WorkerParts

from bench.lane_runs import LANE, start_run
from bench.noop import NoopPhase
from serpline.core.clock import SystemClock
from serpline.core.logging import configure
from serpline.domain.names import PhaseName
from serpline.domain.states import LaneStatus
from serpline.pipeline.worker import ChunkWorker
from serpline.store.database import Database
from serpline.store.runs import planning, runs

CONCURRENCY = 4


async def walk(database: Database, count: int) -> float:
    """Seconds from the first advance of the run to its end, including planning."""
    clock, phases = SystemClock(), {PhaseName.KEYWORD_METRICS: NoopPhase(count)}
    parts = WorkerParts.make(database, clock, phases)
    run_id = await start_run(database, LANE)
    async with parts.lifeline.running():
        started = time.perf_counter()
        await parts.orchestrator.advance_and_plan(run_id)
        await _work_off(database, parts.worker, run_id)
        await parts.orchestrator.advance_and_plan(run_id)
        seconds = time.perf_counter() - started
    async with database.transaction() as conn:
        (view,) = await runs.lanes(conn, run_id)
    if view.completed != count or view.status is not LaneStatus.COMPLETED:
        raise SystemExit(f"the run did not finish: {view}")
    return seconds


async def _work_off(database: Database, worker: ChunkWorker, run_id: UUID) -> None:
    """Work on every ready chunk, some at a time, as a worker process does."""
    async with database.transaction() as conn:
        (view,) = await runs.lanes(conn, run_id)
        ready = iter(await planning.ready_of(conn, view.id))

    async def one() -> None:
        for chunk_id in ready:
            await worker.work(chunk_id)

    await asyncio.gather(*[one() for _ in range(CONCURRENCY)])


def resident_mb_max() -> float:
    """The peak resident size of this process, in MB."""
    with suppress(FileNotFoundError):
        # On Linux ``ru_maxrss`` includes the peak of the parent process.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


async def main() -> None:
    """Run and print the figures."""
    database = await Database.connect(sys.argv[1])
    try:
        seconds = await walk(database, int(sys.argv[2]))
    finally:
        await database.close()
    sys.stdout.write(json.dumps({"seconds": seconds, "resident_mb": resident_mb_max()}))


if __name__ == "__main__":
    configure("WARNING")
    asyncio.run(main())
