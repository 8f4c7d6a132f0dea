"""The periodic tasks of a worker."""

import pytest
from sqlalchemy import text

from serpline.app.housekeeping import create_tasks, run_task
from serpline.app.tools import open_tools
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.domain.errors import UserError
from serpline.store.database import Database
from serpline.store.maintenance.retention import Retention


async def test_a_wakeup_runs_the_task_that_it_names(db: Database) -> None:
    """Each task stores its row under its name, and its wake-up moves the time of that row."""
    settings, clock = load(), SystemClock()
    async with open_tools(settings, db, clock) as tools:
        tasks = create_tasks(settings, db, clock, Retention(), tools)
        for name, task in tasks.items():
            await task.register()
            async with db.transaction() as conn:
                await conn.execute(
                    text("UPDATE housekeeping SET next_check_at = '2020-01-01' WHERE task = :task"),
                    {"task": name},
                )
        async with db.transaction() as conn:
            stored = set(await conn.scalars(text("SELECT task FROM housekeeping")))
        assert set(tasks) <= stored
        for name in tasks:
            await run_task(tasks, {"target": name})
            async with db.transaction() as conn:
                moved = await conn.scalar(
                    text("SELECT next_check_at > now() FROM housekeeping WHERE task = :task"),
                    {"task": name},
                )
            assert moved, name


async def test_an_unknown_task_is_refused(db: Database) -> None:
    """A process without provider clients has no task that calls providers."""
    tasks = create_tasks(load(), db, SystemClock(), Retention(), None)
    for name in ("x", "provider_schedules"):
        with pytest.raises(UserError, match=f"task='{name}': there is no such task"):
            await run_task(tasks, {"target": name})
