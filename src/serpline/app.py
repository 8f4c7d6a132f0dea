"""Composition: settings → services → processes. Only this module imports every part.

``Services`` holds the database and the services that every command needs. ``run_worker`` is a whole
worker process: lifeline, timer, queue, guarded calls and phases.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.core.settings import Settings
from serpline.domain.errors import UserError
from serpline.domain.names import PhaseName
from serpline.net.client import HttpClient
from serpline.notifications.notifier import Notifier
from serpline.phases.base import Phase
from serpline.phases.registry import all_phases
from serpline.phases.tools import Tools
from serpline.pipeline.lifeline import Lifeline
from serpline.pipeline.orchestrator import PhaseOrchestrator
from serpline.pipeline.pruner import Pruner
from serpline.pipeline.service import PipelineService
from serpline.pipeline.settler import BeforeSettle, nothing_to_flush
from serpline.pipeline.state_tracker import StateTracker
from serpline.pipeline.timer import Timer
from serpline.pipeline.worker import ChunkWorker
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.llm.client import LlmClient
from serpline.providers.pages.client import PageClient
from serpline.providers.pages.extraction import Extractor
from serpline.providers.pdl.client import PdlClient
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.wikidata.client import WikidataClient
from serpline.providers.youtube.client import YouTubeClient
from serpline.queueing.manager import JobQueueManager
from serpline.robustness import budget
from serpline.robustness.guard import Guard
from serpline.robustness.policies import policies
from serpline.scheduling import provider_driver
from serpline.scheduling.adjuster import TASK as PROPOSALS
from serpline.scheduling.adjuster import Adjuster
from serpline.scheduling.provider_driver import ProviderDriver
from serpline.scheduling.service import SchedulingService
from serpline.scheduling.tick import ScheduleTick
from serpline.store.clock import DatabaseClock
from serpline.store.database import Database
from serpline.store.maintenance.retention import Retention
from serpline.store.migrate import migrate

SERVER_CHECK_SECONDS = 5.0

log = get(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """The services that every command uses."""

    settings: Settings
    clock: Clock
    database: Database
    pipeline: PipelineService
    schedules: SchedulingService
    tick: ScheduleTick
    tracker: StateTracker
    queue: JobQueueManager


@asynccontextmanager
async def open_services(settings: Settings, *, pool_size: int = 4) -> AsyncIterator[Services]:
    """Open the services. The embedded server is started and the schema migrated if necessary.

    Raises ``UserError`` for every problem that a person has to solve.
    """
    url = await database_url(settings)
    database = await Database.connect(url, pool_size=pool_size)
    try:
        await migrate(database)
        async with DatabaseClock().following(database) as clock:
            pipeline = PipelineService(database, clock)
            runs_max = settings.scheduled_runs_max
            yield Services(
                settings=settings,
                clock=clock,
                database=database,
                pipeline=pipeline,
                schedules=SchedulingService(
                    database, pipeline, clock, provider_zone=settings.scaleserp_timezone
                ),
                tick=ScheduleTick(database, pipeline, clock, runs_max=runs_max),
                tracker=StateTracker(database, clock),
                queue=JobQueueManager(database, grace_seconds=settings.shutdown_grace_seconds),
            )
    finally:
        await database.close()


async def database_url(settings: Settings) -> str:
    """The URL of the configured database, or else of the embedded server, which is started."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    # Imported here, because an external database does not need it.
    from serpline.store.embedded.server import ensure_server

    server = await asyncio.to_thread(
        ensure_server, settings.data_dir / "postgres", settings.postgres_bin
    )
    return server.url()


async def keep_server(settings: Settings, clock: Clock) -> None:
    """Restart the embedded server whenever it has died, and bound its log, until cancelled."""
    while settings.database_url is None:
        await clock.sleep(SERVER_CHECK_SECONDS)
        try:
            await database_url(settings)
        except UserError as error:
            log.warning("server.down", action="server.down", error=str(error))


def http_client(settings: Settings) -> HttpClient:
    """Make the HTTP client. Refuse a host map or test CA if a real provider is configured."""
    bases = [
        settings.scaleserp_base_url,
        settings.youtube_base_url,
        settings.dataforseo_base_url,
        settings.pdl_base_url,
        settings.wikidata_base_url,
        settings.llm_base_url,
    ]
    if settings.net_host_map or settings.net_test_ca:
        real = [base for base in bases if urlsplit(base).hostname not in _LOOPBACK]
        if real:
            raise UserError(
                "SERPLINE_NET_HOST_MAP and SERPLINE_NET_TEST_CA are for the simulator only, but"
                f" {real[0]} is a real provider"
            )
    return HttpClient(
        host_map=settings.net_host_map,
        test_ca=settings.net_test_ca,
        trusted_bases=[base for base in bases if base],
    )


_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@asynccontextmanager
async def open_tools(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[Tools]:
    """Open the provider clients, the guard that admits their calls, and the extractor."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_client(settings))
        guard = Guard(database, http.send, policies(settings), fetcher=http.fetch, clock=clock)
        stack.push_async_callback(guard.close)
        extractor = await stack.enter_async_context(
            Extractor(processes=settings.extractor_processes)
        )
        yield Tools(
            clock=clock,
            guard=guard,
            extractor=extractor,
            call_concurrency=settings.call_concurrency,
            webhook_base=settings.public_url,
            batch_poll_seconds=settings.batch_poll_seconds,
            webhook_wait_seconds=settings.webhook_wait_seconds,
            batch_call_seconds=settings.batch_call_seconds,
            batch_file_seconds=settings.batch_file_seconds,
            batch_running_seconds_max=settings.batch_running_seconds_max,
            **_clients(settings, clock),
        )


def _clients(settings: Settings, clock: Clock) -> dict[str, Any]:
    pdl_key = settings.pdl_api_key.get_secret_value()
    llm = LlmClient(
        settings.llm_base_url, settings.llm_api_key.get_secret_value(), settings.llm_model, clock
    )
    return {
        "dataforseo": DataForSeoClient(
            settings.dataforseo_base_url,
            settings.dataforseo_login,
            settings.dataforseo_password.get_secret_value(),
            clock,
        ),
        "scaleserp": ScaleSerpClient(
            settings.scaleserp_base_url, settings.scaleserp_api_key.get_secret_value(), clock
        ),
        "pdl": PdlClient(base_url=settings.pdl_base_url, api_key=pdl_key, now=clock.now)
        if pdl_key
        else None,
        "wikidata": WikidataClient(
            base_url=settings.wikidata_base_url, contact=settings.wikidata_contact, now=clock.now
        ),
        "youtube": YouTubeClient(
            base_url=settings.youtube_base_url,
            api_key=settings.youtube_api_key.get_secret_value(),
            now=clock.now,
        ),
        "pages": PageClient(now=clock.now),
        "llm": llm,
        "owner_llm": llm if settings.has_llm else None,
    }


def make_provider_driver(settings: Settings, database: Database, tools: Tools) -> ProviderDriver:
    """Make the driver of the batches that the provider starts by itself."""
    return ProviderDriver(
        database,
        tools.clock,
        tools.guard,
        tools.scaleserp,
        zone=settings.scaleserp_timezone,
        webhook_base=tools.webhook_base,
        poll_seconds=tools.batch_poll_seconds,
        call_seconds=tools.batch_call_seconds,
    )


async def run_worker(
    settings: Settings, stop: asyncio.Event, *, phases: Mapping[PhaseName, Phase] | None = None
) -> None:
    """Run a worker process until ``stop`` is set; then release the chunks in progress.

    Ends early, with a log message, if another worker declared this one dead.
    """
    retention = Retention.of(settings.retention_days)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(
            open_services(settings, pool_size=settings.worker_concurrency + 4)
        )
        database, clock = services.database, services.clock
        before_settle = nothing_to_flush
        driver: ProviderDriver | None = None
        periodic: dict[str, Callable[[str], Awaitable[None]]] = {}
        if phases is None:
            tools = await stack.enter_async_context(open_tools(settings, database, clock))
            async with database.transaction() as conn:
                await budget.apply_limits(conn, policies(settings), clock.now())
            phases, before_settle = all_phases(tools), tools.guard.flush
            driver = make_provider_driver(settings, database, tools)
        lifeline = Lifeline(
            database,
            clock,
            heartbeat_seconds=settings.worker_heartbeat_seconds,
            dead_after_seconds=settings.worker_dead_after_seconds,
            before_giving_back=before_settle,
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
        pruner = Pruner(database, clock, retention, settings.prune_hours * 3600)
        await pruner.register()
        adjuster = Adjuster(database, clock)
        await adjuster.register()
        periodic[PROPOSALS] = lambda _: adjuster.run()
        if driver is not None:
            await driver.register()
            periodic[provider_driver.TASK] = driver.run
        services.queue.register(
            "housekeeping",
            lambda payload: periodic.get(payload["target"], pruner.run)(payload["target"]),
        )
        register_handlers(services, phases, lifeline, before_settle)
        async with lifeline.running():
            ending = asyncio.Event()
            serving = services.queue.run(ending, settings.worker_concurrency, timer.check_soon)
            loops = [timer.run(ending), notifier.run(ending), serving]
            tasks = [asyncio.create_task(loop) for loop in loops]
            waits = [
                asyncio.create_task(stop.wait()),
                asyncio.create_task(lifeline.declared_dead.wait()),
            ]
            keeper = asyncio.create_task(keep_server(settings, clock))
            try:
                await asyncio.wait([*tasks, *waits], return_when=asyncio.FIRST_COMPLETED)
            finally:
                ending.set()
                lifeline.end_leases()
                for task in (*waits, keeper):
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
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
