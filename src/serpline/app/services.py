"""The database and the services that every command needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serpline.app.server import database_url
from serpline.core.clock import Clock
from serpline.core.settings import Settings
from serpline.pipeline.service import PipelineService
from serpline.pipeline.state_tracker import StateTracker
from serpline.queueing.manager import JobQueueManager
from serpline.scheduling.service import SchedulingService
from serpline.scheduling.tick import ScheduleTick
from serpline.store.clock import DatabaseClock
from serpline.store.database import Database
from serpline.store.migrate import migrate


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
