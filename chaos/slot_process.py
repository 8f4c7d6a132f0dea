"""A worker process in virtual time: everything that is due at an instant, when it is told to.

It has the parts of ``run_worker``: the tick of the schedules, the timer, the orchestrator, the
chunk worker and guarded calls. Its wake-ups are handled here one after another, by priority and
age, so that a seed gives the same order every time.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from harness.database_time import AdvancingClock
from harness.forks import Fork, enter_fork, forks, preload
from harness.points import arm
from harness.scripted import ScriptedPhase
from harness.waiting import until

from serpline.app.services import open_services
from serpline.app.tools import open_tools
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.domain.names import PhaseName
from serpline.phases.base import Phase
from serpline.phases.registry import all_phases
from serpline.pipeline.lifeline import Lifeline
from serpline.pipeline.orchestrator import PhaseOrchestrator
from serpline.pipeline.timer import Timer
from serpline.pipeline.worker import ChunkWorker
from serpline.robustness import ledger
from serpline.store.clock import DatabaseClock
from serpline.store.database import Database

preload(__name__)
preload("harness.warm")
# A worker that was killed is taken over after this time. Its heart beats in real time.
DEAD_AFTER_SECONDS = 100.0
_BEAT_SECONDS = 20.0
TAKE_OVER_SECONDS = 5.0
# A lost wake-up is issued again after this time.
_CHECK_SECONDS = 1800.0
_WITHOUT_ITEMS = (PhaseName.COMPANY_ENRICHMENT_SERP, PhaseName.CONTENT_ANALYSIS)
_TAKE = sa.text(
    "WITH taken AS (DELETE FROM procrastinate_jobs WHERE status = 'todo' RETURNING *)"
    " SELECT args ->> 'job_type' AS job_type, args ->> 'target' AS target FROM taken"
    " ORDER BY priority DESC, id"
)
# As the timer's query, without housekeeping: no pruning is part of these 90 days.
_DUE_IN = sa.text(
    """
    SELECT CAST(extract(epoch FROM least(
        (SELECT min(next_check_at) FROM pipeline_executions
            WHERE status IN ('pending', 'running')),
        (SELECT min(c.next_check_at) FROM chunks c JOIN pipeline_executions r ON r.id = c.run_id
            WHERE c.status = 'ready' AND r.status = 'running')) - now()) AS float)
    """
)
_IS_LOCKED = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = :id"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


class Stepped(NamedTuple):
    """When a step ended, by whom, and the seconds until more is due; None: nothing waits."""

    at: datetime
    worker_id: int
    due_in_seconds: float | None


class SlotProcess:
    """The process, seen from the campaign."""

    def __init__(
        self, environment: Mapping[str, str], log: Path, seed: str, point: tuple[str, int] | None
    ) -> None:
        """Start it. ``point``: where it kills itself, and at which passing."""
        self._commands, theirs = forks.Pipe()
        self._fork = Fork(_main, environment, log, theirs, seed, point)
        theirs.close()

    async def step(self, at: datetime) -> Stepped | None:
        """Have it do everything that is due at ``at``; None if it died meanwhile."""
        try:
            self._commands.send(at)
            stepped: Stepped = await asyncio.to_thread(self._commands.recv)
        except (EOFError, ConnectionError):
            await self._fork.wait()
            self.close()
            return None
        return stepped

    def close(self) -> None:
        """``kill -9``, if it still runs."""
        self._fork.close()
        self._commands.close()


def _main(
    environment: Mapping[str, str],
    log: Path,
    alive: Connection,
    commands: Connection,
    seed: str,
    point: tuple[str, int] | None,
) -> None:
    enter_fork(environment, log, alive)
    random.seed(seed)  # retries and breakers draw their jitter from this generator
    if point is not None:
        arm(*point)
    asyncio.run(_serve(commands))


async def _serve(commands: Connection) -> None:
    settings = load()
    # Time stands still, so a call's end waits for no others in vain.
    ledger.OUTCOME_SECONDS = 0.0
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        database, clock = services.database, services.clock
        assert isinstance(clock, DatabaseClock)
        base = AdvancingClock(clock.now(), database, clock)
        clock._base = base
        tools = await stack.enter_async_context(open_tools(settings, database, clock))
        phases: dict[PhaseName, Phase] = dict(all_phases(tools))
        phases.update({name: ScriptedPhase(name) for name in _WITHOUT_ITEMS})
        lifeline = Lifeline(
            database,
            SystemClock(),
            heartbeat_seconds=_BEAT_SECONDS,
            dead_after_seconds=DEAD_AFTER_SECONDS,
            before_giving_back=tools.guard.flush,
        )
        timer = Timer(
            database,
            clock,
            lifeline,
            check_again_seconds=_CHECK_SECONDS,
            take_over_seconds=TAKE_OVER_SECONDS,
        )
        orchestrator = PhaseOrchestrator(
            database, clock, phases, check_again_seconds=_CHECK_SECONDS
        )
        worker = ChunkWorker(
            database,
            clock,
            phases,
            services.tracker,
            lifeline,
            silence_seconds=settings.chunk_silence_seconds,
            before_settle=tools.guard.flush,
        )
        await stack.enter_async_context(lifeline.running())
        lifeline._takeover_grace_until = 0.0  # as one that has run for long
        # Before time jumps over its first heartbeat, or it would take itself for dead.
        await until(lambda: _is_locked(database, lifeline.worker_id), "the worker's lock")
        while not lifeline.declared_dead.is_set():
            await base.follow(await asyncio.to_thread(commands.recv))
            while True:
                tick_in = await services.tick.run()
                await timer.tick()
                wakeups = await _take_wakeups(database)
                if not wakeups:
                    break
                while wakeups:
                    for job_type, target in wakeups:
                        if job_type == "run":
                            await orchestrator.advance_and_plan(UUID(target))
                        elif job_type == "chunk":
                            await worker.work(int(target))
                    wakeups = await _take_wakeups(database)
            async with database.statement() as conn:
                work_in = (await conn.execute(_DUE_IN)).scalar_one()
            waits = [seconds for seconds in (tick_in, work_in) if seconds is not None]
            due_in = min(waits, default=None)
            commands.send(Stepped(base.now(), lifeline.worker_id, due_in))


async def _is_locked(database: Database, worker_id: int) -> bool:
    async with database.statement() as conn:
        return bool((await conn.execute(_IS_LOCKED, {"id": worker_id})).scalar_one())


async def _take_wakeups(database: Database) -> list[tuple[str, str]]:
    async with database.statement() as conn:
        return [(row.job_type, row.target) for row in await conn.execute(_TAKE)]
