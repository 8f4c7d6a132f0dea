"""Real worker processes are killed, frozen, thawed, told to end and cut off; nothing is lost.

The witnesses are the scripted phases' own tables: a result written twice would be there twice.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from tests.support.heart import METRICS, Heart, make_heart, until
from tests.support.scripted import make_tables, open_gate

from serpline.domain.names import PipelineMode
from serpline.domain.states import ENDED_RUNS, RunStatus
from serpline.store.database import Database

ROOT = Path(__file__).parents[2]
DEAD_AFTER_SECONDS = 1.0
SETTINGS = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "0.2",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": str(DEAD_AFTER_SECONDS),
    "SERPLINE_LOOK_AGAIN_SECONDS": "1",
}
# In the order of their keys: some that are done, what the fault strikes at, some that come after.
BEFORE = [f"DONE-{n:02}" for n in range(10)]
AFTER = [f"RETRY0-{n:02}" for n in range(10)]


@dataclass(slots=True)
class Workers:
    """Worker processes over one database."""

    heart: Heart
    environment: dict[str, str]
    directory: Path
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, chunk_size: int = 500) -> asyncio.subprocess.Process:
        """A worker that is loaded and has begun."""
        with (self.directory / f"worker-{len(self.processes)}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.support.worker_main",
                cwd=ROOT,
                env={**self.environment, "SCRIPTED_CHUNK_SIZE": str(chunk_size)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdin is not None
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"ready\n", self.logs()
        process.stdin.write(b"go\n")
        await process.stdin.drain()
        return process

    async def close(self) -> None:
        """Kill what still lives."""
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def logs(self) -> str:
        """What the workers have logged."""
        return "\n".join(path.read_text() for path in sorted(self.directory.glob("*.log")))

    async def ended(self, run_id: UUID) -> RunStatus:
        """Wait for the run's end."""

        async def is_over() -> bool:
            return await self.heart.status(run_id) in ENDED_RUNS

        try:
            await until(is_over, "the end of the run")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None
        return await self.heart.status(run_id)

    async def run(self, *items: str, mode: PipelineMode = PipelineMode.MANUAL) -> UUID:
        """Start a run of one lane; the workers' timers find it."""
        return await self.heart.start({METRICS: items}, mode, lanes=[METRICS])

    async def row(self, process: asyncio.subprocess.Process) -> dict[str, object]:
        """What the database knows of a worker process."""
        (row,) = await self.heart.query(
            "SELECT *, extract(epoch FROM ended_at - heartbeat_at)::float AS waited_seconds"
            " FROM workers WHERE pid = :pid",
            pid=process.pid,
        )
        return row

    async def chunk(self, run_id: UUID) -> dict[str, object]:
        """The run's one chunk."""
        sql = "SELECT id FROM chunks WHERE run_id = :run"
        return await self.heart.chunk(await self.heart.one(sql, run=run_id))

    async def done_before(self, run_id: UUID) -> None:
        """Return when all that comes before the fault is settled."""

        async def is_settled() -> bool:
            return await self.heart.results(run_id) == BEFORE

        await until(is_settled, "what comes before to be settled")


@pytest.fixture
async def workers(db: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Workers]:
    await make_tables(db)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SERPLINE_")}
    environment = {**inherited, **SETTINGS, "SERPLINE_DATABASE_URL": database_url}
    made = Workers(make_heart(db), environment, tmp_path)
    try:
        yield made
    finally:
        await made.close()


async def test_a_killed_workers_chunk_is_finished_by_another(workers: Workers) -> None:
    """kill -9 in mid-chunk: after ``dead_after_seconds`` another goes on from where it was."""
    run_id = await workers.run(*BEFORE, "HANG-1", *AFTER)
    victim = await workers.start()
    await workers.heart.attempted("HANG-1")
    await workers.done_before(run_id)
    await workers.start()
    victim.kill()
    await victim.wait()
    assert await workers.ended(run_id) == "completed"
    assert await workers.heart.results(run_id) == sorted([*BEFORE, "HANG-1", *AFTER])
    # Nothing that was settled was done again, and what was in hand was begun once more.
    attempts = [await workers.heart.attempts(item) for item in (*BEFORE, "HANG-1", *AFTER)]
    assert attempts == [1] * len(BEFORE) + [2] + [1] * len(AFTER)
    chunk, row = await workers.chunk(run_id), await workers.row(victim)
    assert (chunk["status"], chunk["deaths"], chunk["crashes"]) == ("done", 1, 0)
    assert row["died"]
    waited = row["waited_seconds"]
    assert isinstance(waited, float)
    assert waited >= DEAD_AFTER_SECONDS


async def test_a_frozen_worker_settles_nothing_when_it_thaws(workers: Workers) -> None:
    """Frozen, its session alive, it is taken over like a dead one; thawed, it learns it and ends."""
    heart = workers.heart
    run_id = await workers.run(*BEFORE, "GATE-1", *AFTER)
    frozen = await workers.start()
    await heart.attempted("GATE-1")
    await workers.done_before(run_id)
    frozen.send_signal(signal.SIGSTOP)
    await workers.start()
    assert await workers.ended(run_id) == "completed"
    results = await heart.results(run_id)
    events = await heart.events(run_id)
    await open_gate(heart.database)
    frozen.send_signal(signal.SIGCONT)
    async with asyncio.timeout(20):
        assert await frozen.wait() == 0
    assert await heart.results(run_id) == results == sorted([*BEFORE, "GATE-1", *AFTER])
    assert await heart.events(run_id) == events
    began = await heart.column(
        "SELECT item FROM scripted_attempts WHERE pid = :pid ORDER BY item", pid=frozen.pid
    )
    assert began == [*BEFORE, "GATE-1"]
    chunk = await workers.chunk(run_id)
    assert (chunk["status"], chunk["completed"], chunk["deaths"]) == ("done", len(results), 1)


async def test_a_worker_told_to_end_gives_its_chunk_back(workers: Workers) -> None:
    """SIGTERM: finished items stay, the chunk is ready at once, no death is counted."""
    run_id = await workers.run(*BEFORE, "HANG-1", *AFTER)
    ending = await workers.start()
    await workers.heart.attempted("HANG-1")
    told_at = time.monotonic()
    ending.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await ending.wait() == 0
    assert time.monotonic() - told_at < 5
    assert await workers.heart.results(run_id) == BEFORE
    chunk, row = await workers.chunk(run_id), await workers.row(ending)
    assert (chunk["status"], chunk["owner"], chunk["deaths"]) == ("ready", None, 0)
    assert (row["died"], row["ended_at"] is not None) == (False, True)
    await workers.start()
    assert await workers.ended(run_id) == "completed"
    assert await workers.heart.results(run_id) == sorted([*BEFORE, "HANG-1", *AFTER])


async def test_a_cut_of_all_connections_costs_nothing(workers: Workers) -> None:
    """All sessions of a worker die in mid-chunk: it goes on, or gives back, and all is done."""
    heart = workers.heart
    run_id = await workers.run(*BEFORE, "GATE-1", *AFTER)
    await workers.start()
    await heart.attempted("GATE-1")
    for _ in range(3):
        await heart.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
    await open_gate(heart.database)
    assert await workers.ended(run_id) == "completed"
    assert await heart.results(run_id) == sorted([*BEFORE, "GATE-1", *AFTER])
    chunk = await workers.chunk(run_id)
    assert (chunk["status"], chunk["crashes"]) == ("done", 0)


async def test_a_storm_of_kills_loses_and_doubles_nothing(workers: Workers) -> None:
    """Two workers at a time, one of them killed again and again: every item is done once."""
    heart = workers.heart
    items = [f"{kind}-{n:03}" for kind in ("DONE", "RETRY1") for n in range(150)]
    run_id = await workers.run(*items, mode=PipelineMode.TESTING)
    _, victim = await asyncio.gather(workers.start(10), workers.start(10))
    for share in (0.1, 0.4, 0.7):

        async def is_so_far(share: float = share) -> bool:
            return len(await heart.results(run_id)) >= share * len(items)

        await until(is_so_far, f"{share:.0%} of the results")
        victim.kill()
        await victim.wait()
        victim = await workers.start(10)
    assert await workers.ended(run_id) == "completed"
    assert await heart.results(run_id) == items
    lane = (await heart.lanes(run_id))[METRICS]
    assert (lane.planned, lane.completed, lane.failed) == (300, 300, 0)
    assert (lane.chunks, lane.chunks_done) == (30, 30)
