"""The periodic tasks of a worker process. The timer wakes one worker for each that is due.

A task stores a row of ``housekeeping`` at the start of a worker (``register``). Its name in
``create_tasks`` is the name of that row.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from serpline.core.clock import Clock
from serpline.core.settings import Settings
from serpline.domain.errors import UserError
from serpline.phases.tools import Tools
from serpline.pipeline.pruner import Pruner
from serpline.scheduling import adjuster, provider_driver
from serpline.scheduling.adjuster import Adjuster
from serpline.scheduling.provider_driver import ProviderDriver
from serpline.store.database import Database
from serpline.store.maintenance.passes import AUTOMATIC
from serpline.store.maintenance.retention import Retention


class Task(Protocol):
    """What a periodic task can do."""

    async def register(self) -> None:
        """Store the task, so that the timer wakes it."""

    async def run(self) -> None:
        """Handle the task's wake-up: do a bounded part of what is due, set the next check."""


def create_tasks(
    settings: Settings,
    database: Database,
    clock: Clock,
    retention: Retention,
    tools: Tools | None,
) -> dict[str, Task]:
    """Create the tasks by their names. Without ``tools``, none of them makes calls."""
    tasks: dict[str, Task] = {
        AUTOMATIC: Pruner(database, clock, retention, settings.prune_hours * 3600),
        adjuster.TASK: Adjuster(database, clock),
    }
    if tools is not None:
        tasks[provider_driver.TASK] = create_provider_driver(settings, database, tools)
    return tasks


def create_provider_driver(settings: Settings, database: Database, tools: Tools) -> ProviderDriver:
    """Create the driver of the batches that the provider starts by itself."""
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


async def run_task(tasks: Mapping[str, Task], payload: Mapping[str, Any]) -> None:
    """Run the task that a wake-up names. Raises ``UserError`` if this process does not have it."""
    name = payload["target"]
    if name not in tasks:
        raise UserError(f"task={name!r}: there is no such task")
    await tasks[name].run()
