"""A whole serpline for tests: simulator in this process, real workers beside it, one database.

    async with open_world(url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        run_id = await world.run()

The simulator's log and ledger are the auditors. The workers are processes that can be killed.
Every wait is a bounded poll, and its timeout names the condition.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from harness.environment import clean_environment
from harness.forks import Fork
from harness.waiting import WAIT_SECONDS_MAX, until
from harness.worker_pool import WorkerPool, worker_main
from serpline.app.services import Services, open_services
from serpline.config.run import PipelineConfig
from serpline.core.settings import load
from serpline.domain.names import PipelineMode
from serpline.domain.phases import LaneView
from serpline.domain.states import ENDED_RUNS
from serpline.imports.reading import parse_keywords
from serpline.robustness.policies import equal_rates
from serpline.simulator.config import BatchTiming, SimulatorConfig
from serpline.simulator.journal import CallEntry
from serpline.simulator.server import Simulator
from serpline.store import projects
from serpline.store.runs import runs
from serpline.store.runs.runs import RunRow

SEED = 11
DAY = date(2026, 11, 20)
LOG_CHARS_SHOWN = 4_000
# A run takes seconds, and a query takes CPU from it.
END_POLL_SECONDS = 0.1
# Poll quickly; all other settings are the defaults.
_SETTINGS = {
    "SERPLINE_PROVIDER_RATES": json.dumps(equal_rates(500)),
    "SERPLINE_BATCH_POLL_SECONDS": "0.2",
    "SERPLINE_BATCH_CALL_SECONDS": "15",
    "SERPLINE_LOOK_AGAIN_SECONDS": "2",
    "SERPLINE_SHUTDOWN_GRACE_SECONDS": "2",
}
# For worlds in which workers die: detect a death soon, but not a pause of the machine.
QUICK_TAKEOVER = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "0.3",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": "3",
    "SERPLINE_BATCH_CALL_SECONDS": "4",
}


def simulated(**changes: Any) -> SimulatorConfig:
    """The simulator of these tests: one seed, one day, quick batches."""
    timing = {"queued_seconds": 0.05, "running_seconds": 0.05, "webhook_backoff_seconds": 0.02}
    return SimulatorConfig(
        seed=SEED, day=DAY, timing=BatchTiming(**{**timing, **changes.pop("timing", {})}), **changes
    )


@dataclass(slots=True)
class World:
    """The parts of one test: simulator, services and workers."""

    sim: Simulator
    services: Services
    pool: WorkerPool

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of the workers."""
        return self.pool.environment

    @property
    def directory(self) -> Path:
        """The directory of the logs."""
        return self.pool.directory

    async def start_worker(self, **settings: str) -> Fork:
        """Start a worker process with the real phases and further variables."""
        return self.pool.start(worker_main, **settings)

    async def start(self, mode: PipelineMode = PipelineMode.MANUAL, **config: Any) -> UUID:
        """Start a run; returns its id at once."""
        return await self.services.pipeline.start(PipelineConfig(**config), mode)

    async def wait_for_end(self, run_id: UUID, *, seconds: float = WAIT_SECONDS_MAX) -> RunRow:
        """Wait for the run's end."""

        async def over() -> RunRow | None:
            run = await self.get(run_id)
            return run if run.status in ENDED_RUNS else None

        try:
            run = await until(
                over,
                f"the end of run {run_id}",
                seconds=seconds,
                poll_seconds=END_POLL_SECONDS,
            )
        except AssertionError as error:
            lanes = [
                f"{lane.key} {lane.status} {lane.completed}+{lane.failed}/{lane.planned}"
                for lane in await self.lanes(run_id)
            ]
            raise AssertionError("\n".join([str(error), *lanes])) from None
        return run

    async def run(self, **config: Any) -> UUID:
        """Start a run and wait for its end; returns its id."""
        run_id = await self.start(**config)
        await self.wait_for_end(run_id)
        return run_id

    async def get(self, run_id: UUID) -> RunRow:
        """The run's row."""
        async with self.services.database.transaction() as conn:
            run = await runs.get(conn, run_id)
        assert run is not None
        return run

    async def lanes(self, run_id: UUID) -> list[LaneView]:
        """The run's lanes."""
        async with self.services.database.transaction() as conn:
            return await runs.lanes(conn, run_id)

    async def lane(self, run_id: UUID, name: str) -> LaneView:
        """One lane, by ``phase/content_type``."""
        return {str(lane.key): lane for lane in await self.lanes(run_id)}[name]

    async def query(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """Execute a statement; returns its rows."""
        async with self.services.database.transaction() as conn:
            rows = await conn.execute(text(sql), values)
            return [dict(row) for row in rows.mappings()] if rows.returns_rows else []

    def withheld(self, provider: str, operation: str) -> list[CallEntry]:
        """Calls in the simulator's log whose reply a fault withholds from the worker."""
        return [entry for entry in self.sim.log.of(provider, operation) if entry.fault == "slow"]


def paid(entries: Sequence[CallEntry]) -> Counter[tuple[str, str]]:
    """Charged calls of each purchase: (provider, identity) → calls."""
    return Counter((entry.provider, entry.identity) for entry in entries if entry.credits > 0)


def across_runs(purchases: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Purchases in a form that runs share: a batch's id derives from its run, so it is dropped."""
    same: Counter[tuple[str, str]] = Counter()
    for (provider, identity), times in purchases.items():
        operation = identity.partition(" ")[0]
        same[provider, operation if operation == "start_batch" else identity] += times
    return same


@asynccontextmanager
async def open_world(
    database_url: str,
    directory: Path,
    keywords: bytes,
    *,
    config: SimulatorConfig | None = None,
    **settings: str,
) -> AsyncIterator[World]:
    """Open simulator and services and import ``keywords`` (a CSV); no worker is started.

    ``settings`` are further variables of the workers (``SERPLINE_…``) and override the others.
    """
    async with Simulator(config or simulated()) as sim:
        environment = {
            **clean_environment(),
            **sim.environment(),
            **_SETTINGS,
            "SERPLINE_DATABASE_URL": database_url,
            "SERPLINE_DATA_DIR": str(directory),
            **settings,
        }
        loaded = load(database_url=database_url, data_dir=directory)
        async with open_services(loaded) as services:
            async with services.database.transaction() as conn:
                await projects.ensure_builtin_markets(conn)
                await projects.import_keywords(conn, parse_keywords(keywords).require_clean().rows)
            pool = WorkerPool(environment, directory)
            try:
                yield World(sim, services, pool)
            except BaseException as error:
                # A worker that cannot end, stopped or hung, must not hide the error.
                with suppress(TimeoutError):
                    await pool.end()
                error.add_note(pool.logs()[-LOG_CHARS_SHOWN:])
                raise
            await pool.end()
        assert sim.gateway.crashes == [], "the simulator itself failed"
