"""The provider's driver is killed (SIGKILL) before and after each of its calls.

Each driver is a process of its own. The auditor is the simulated account: one batch was created,
whatever happened, and it ends as the schedule wants it.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness.forks import enter_fork, preload
from harness.provider_schedules import SPEC, store_schedule
from harness.world import World, open_world

from serpline.app import make_provider_driver, open_services, open_tools
from serpline.core.settings import load
from serpline.robustness.guard import Guard

preload(__name__)

KEYWORDS = b"keyword,market\nkettle,PL\nteapot,PL\n"
# Short, because a driver that dies in a create or add is followed by a wait of 1.2 of it.
CALL_SECONDS = "0.5"
STEPS_MAX = 12


def drive(environment: Mapping[str, str], log: Path, alive: Connection) -> None:
    """Run a driver once; ``KILL_AT``: the number of the call, ``KILL_WHEN``: before or after it."""
    enter_fork(environment, log, alive)
    asyncio.run(_drive(int(environment["KILL_AT"]), environment["KILL_WHEN"]))


async def _drive(at: int, when: str) -> None:
    execute, made = Guard.execute, 0

    async def killed(self: Guard, call: Any, scope: Any) -> Any:
        nonlocal made
        made += 1
        if made == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = await execute(self, call, scope)
        if made == at and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    Guard.execute = killed  # type: ignore[method-assign]
    settings = load()
    async with (
        open_services(settings) as services,
        open_tools(settings, services.database, services.clock) as tools,
    ):
        await make_provider_driver(settings, services.database, tools).run()


async def _until_done(world: World, at: int, when: str) -> bool:
    """Run drivers until one is not killed; returns whether any was. Leases end at once."""
    process = world.pool.start(drive, KILL_AT=str(at), KILL_WHEN=when)
    was_killed = await process.wait() == -signal.SIGKILL
    while True:
        await world.query(
            "UPDATE provider_schedules SET next_check_at = now(), owned_until = NULL,"
            " sent_at = sent_at - interval '10 seconds'"
        )
        process = world.pool.start(drive, KILL_AT="0", KILL_WHEN="never")
        assert await process.wait() == 0
        rows = await world.query("SELECT sent_at, filled, wanted FROM provider_schedules")
        if all(row["wanted"] and row["filled"] and row["sent_at"] is None for row in rows):
            return was_killed


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_kill_at_any_call_makes_no_batch_too_many(
    database_url: str, tmp_path: Path, when: str
) -> None:
    """Create, edit, pause and delete, each killed at every call: one batch created per schedule."""
    async with open_world(
        database_url, tmp_path, KEYWORDS, SERPLINE_BATCH_CALL_SECONDS=CALL_SECONDS
    ) as world:
        database = world.services.database
        account = world.sim.scaleserp.account
        later = {**SPEC, "time_of_day": "17:00"}
        kills = 0
        for at in range(1, STEPS_MAX):
            name = f"s{at}"
            await store_schedule(database, name, [SPEC])
            was_killed = await _until_done(world, at, when)
            kills += was_killed
            assert account.created == at
            await store_schedule(database, name, [later], version=2)
            kills += await _until_done(world, at, when)
            await store_schedule(database, name, [later], version=2, status="paused")
            kills += await _until_done(world, at, when)
            assert account.created == at
            (batch,) = account.batches.values()
            assert batch.fields["schedule_hours"] == [17]
            assert (batch.fields["enabled"], len(batch.searches)) == (False, 2)
            await store_schedule(database, name, [later], version=2, status="deleted")
            kills += await _until_done(world, at, when)
            assert account.batches == {}
            if not was_killed:
                break
        else:
            raise AssertionError("a driver makes more calls than were tried")
        assert kills >= 10
        assert world.sim.ledger.spent("scaleserp") == 0
        async with database.transaction() as conn:
            found = await conn.execute(sa.text("SELECT count(*) FROM provider_schedules"))
            assert found.scalar_one() == 0
