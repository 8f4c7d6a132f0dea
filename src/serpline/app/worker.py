"""A whole worker process: lifeline, timer, queue, notifier, periodic tasks and phases."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import UUID

from serpline.app.housekeeping import create_tasks, run_task
from serpline.app.server import keep_server
from serpline.app.services import Services, open_services
from serpline.app.tools import check_configuration, open_tools
from serpline.core.settings import Settings
from serpline.domain.names import PhaseName
from serpline.domain.providers import SET_UP
from serpline.notifications.notifier import Notifier
from serpline.phases.base import Phase
from serpline.phases.registry import all_phases
from serpline.phases.tools import Tools
from serpline.pipeline.lifeline import Lifeline
from serpline.pipeline.orchestrator import PhaseOrchestrator
from serpline.pipeline.settler import BeforeSettle, nothing_to_flush
from serpline.pipeline.timer import Timer
from serpline.pipeline.worker import ChunkWorker
from serpline.robustness import budget
from serpline.robustness.policies import policies
from serpline.store.maintenance.retention import Retention


async def run_worker(
    settings: Settings, stop: asyncio.Event, *, phases: Mapping[PhaseName, Phase] | None = None
) -> None:
    """Run a worker process until ``stop`` is set; then release the chunks in progress.

    Ends early, with a log message, if another worker declared this one dead.
    """
    check_configuration(settings)
    retention = Retention.of(settings.retention_days)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(
            open_services(settings, pool_size=settings.worker_concurrency + 4)
        )
        database, clock = services.database, services.clock
        before_settle = nothing_to_flush
        tools: Tools | None = None
        providers = frozenset(SET_UP) if phases else settings.providers
        if phases is None:
            tools = await stack.enter_async_context(open_tools(settings, database, clock))
            async with database.transaction() as conn:
                await budget.apply_limits(conn, policies(settings), clock.now())
            phases, before_settle = all_phases(tools), tools.guard.flush
        lifeline = Lifeline(
            database,
            clock,
            heartbeat_seconds=settings.worker_heartbeat_seconds,
            dead_after_seconds=settings.worker_dead_after_seconds,
            before_giving_back=before_settle,
            providers=providers,
        )
        timer = Timer(
            database,
            clock,
            lifeline,
            check_again_seconds=settings.look_again_seconds,
            take_over_seconds=min(settings.worker_heartbeat_seconds, 5.0),
            schedules=services.tick,
        )
        notifier = create_notifier(services)
        tasks = create_tasks(settings, database, clock, retention, tools)
        for task in tasks.values():
            await task.register()
        services.queue.register("housekeeping", partial(run_task, tasks))
        register_handlers(services, phases, lifeline, before_settle)
        async with lifeline.running():
            ending = asyncio.Event()
            serving = services.queue.run(ending, settings.worker_concurrency, timer.check_soon)
            loops = [
                asyncio.create_task(loop)
                for loop in (timer.run(ending), notifier.run(ending), serving)
            ]
            waits = [
                asyncio.create_task(stop.wait()),
                asyncio.create_task(lifeline.declared_dead.wait()),
            ]
            keeper = asyncio.create_task(keep_server(settings, clock))
            try:
                await asyncio.wait([*loops, *waits], return_when=asyncio.FIRST_COMPLETED)
            finally:
                ending.set()
                lifeline.end_leases()
                for wait in (*waits, keeper):
                    wait.cancel()
                ended = await asyncio.gather(*loops, return_exceptions=True)
            for result in ended:
                if isinstance(result, BaseException):
                    raise result


def create_notifier(services: Services) -> Notifier:
    """Create the notifier of this process."""
    settings = services.settings
    scopes = partial(budget.period_scopes, list(policies(settings)))
    minutes = settings.notify_breaker_minutes
    return Notifier(services.database, services.clock, scopes, breaker_minutes=minutes)


def register_handlers(
    services: Services,
    phases: Mapping[PhaseName, Phase],
    lifeline: Lifeline,
    before_settle: BeforeSettle = nothing_to_flush,
) -> None:
    """Register the handlers of runs, chunks and batches with the queue."""
    database, clock = services.database, services.clock
    orchestrator = PhaseOrchestrator(
        database, clock, phases, check_again_seconds=services.settings.look_again_seconds
    )
    worker = ChunkWorker(
        database,
        clock,
        phases,
        services.tracker,
        lifeline,
        before_settle=before_settle,
        silence_seconds=services.settings.chunk_silence_seconds,
    )

    async def advance_run(payload: dict[str, Any]) -> None:
        await orchestrator.advance_and_plan(UUID(payload["target"]))

    async def work_on_chunk(payload: dict[str, Any]) -> None:
        await worker.work(int(payload["target"]))

    async def wake_batch(payload: dict[str, Any]) -> None:
        await services.pipeline.wake_batch(payload)

    services.queue.register("run", advance_run)
    services.queue.register("chunk", work_on_chunk)
    services.queue.register("serp_batch_processing", wake_batch)
