"""The provider's driver is killed (SIGKILL) at each of its calls, and a new process goes on.

Each driver is a process of its own. It dies at the first moment of a call at which no process has
died in the same step, so a step goes on until a driver ends by itself. The auditor is the simulated
account.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from harness.forks import enter_fork, preload
from harness.provider_schedules import SPEC, store_keywords, store_schedule
from harness.world import World, open_world

from serpline.app.housekeeping import create_provider_driver
from serpline.app.tools import open_tools
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.robustness.guard import CallScope, Guard
from serpline.scheduling.provider_batch import RENEWED_AFTER
from serpline.scheduling.provider_doctor import diagnose
from serpline.store.database import Database

preload(__name__)

KEYWORDS = b"keyword,market\nkettle,PL\nteapot,PL\n"
# More processes than any step has calls.
PROCESSES_MAX = 30
_FILL = {"add_searches 1", "get_batch 2"}
# The calls of each step without a kill. A process that goes on makes others too.
CALLS: Mapping[str, set[str]] = {
    "create": {"find_batch 1", "create_batch 1", "add_searches 1", "get_batch 1", "enable 1"},
    "edit": {"get_batch 1", "disable 1", "clear_batch 1", "enable 1", *_FILL},
    "pause": {"get_batch 1", "disable 1"},
    "renew": {"get_batch 1", "delete_batch 1", "create_batch 1", "add_searches 1"},
    "resume": {"get_batch 1", "enable 1"},
    "expired": {"get_batch 1", "find_batch 1", "create_batch 1", "enable 1", *_FILL},
    "delete": {"get_batch 1", "disable 1", "delete_batch 1"},
}


def drive(
    environment: Mapping[str, str], log: Path, alive: Connection, when: str, survived: set[str]
) -> None:
    """Run a driver once. It dies at the first moment that is not in ``survived``."""
    enter_fork(environment, log, alive)
    asyncio.run(_drive(when, survived, log.with_suffix(".died")))


def moments(name: str, when: str) -> tuple[str, ...]:
    """The moments of a call at which processes die: ``when``, before or after its answer.

    Before it, only calls that change something, and those whose sending is stored also unsent.
    """
    if when == "answered" or name.startswith(("find", "get")):
        return ("answered",) if when == "answered" else ()
    return ("unsent", "unanswered") if name in ("create_batch", "add_searches") else ("unanswered",)


async def _drive(when: str, survived: set[str], note: Path) -> None:
    execute = Guard.execute
    made: list[str] = []

    async def killed(self: Guard, call: Any, scope: Any) -> Any:
        name = call.operation
        if name == "set_schedule":
            name = "enable" if call.identity["enabled"] else "disable"
        made.append(name)
        point = f"{name} {made.count(name)}"

        def die(moment: str) -> None:
            if moment in moments(name, when) and f"{point} {moment}" not in survived:
                note.write_text(f"{point} {moment}")
                os.kill(os.getpid(), signal.SIGKILL)

        send = self._sender

        async def sent(request: Any) -> Any:
            die("unsent")
            reply = await send(request)
            die("unanswered")
            return reply

        self._sender = sent
        try:
            value = await execute(self, call, scope)
        finally:
            self._sender = send
        die("answered")
        return value

    Guard.execute = killed  # type: ignore[method-assign]
    settings, clock = load(), SystemClock()
    assert settings.database_url is not None
    database = await Database.connect(settings.database_url.get_secret_value(), pool_size=2)
    try:
        async with open_tools(settings, database, clock) as tools:
            await create_provider_driver(settings, database, tools).run()
    finally:
        await database.close()


@dataclass
class Drivers:
    """Processes that die in turn, and what they died at in each step."""

    world: World
    when: str
    deaths: dict[str, set[str]] = field(default_factory=dict)

    async def step(self, name: str) -> None:
        """Start one driver after the other until one is not killed. The doctor agrees with it."""
        survived = self.deaths.setdefault(name, set())
        while True:
            assert len(survived) < PROCESSES_MAX
            # The dead owner's lease and what it sent are long over.
            await self.world.query(
                "UPDATE provider_schedules SET next_check_at = now(), owned_until = NULL,"
                " sent_at = sent_at - interval '10 minutes'"
            )
            process = self.world.pool.start(drive, self.when, survived)
            note = self.world.directory / f"worker-{len(self.world.pool.processes)}.died"
            if await process.wait() == 0:
                break
            survived.add(note.read_text())
        assert {one["finding"] for one in await self._diagnose()} <= {"ok"}

    async def _diagnose(self) -> list[dict[str, Any]]:
        """What ``schedule doctor --all`` finds."""
        services = self.world.services
        settings = load(
            scaleserp_base_url=self.world.environment["SERPLINE_SCALESERP_BASE_URL"],
            scaleserp_api_key=self.world.sim.config.key("scaleserp"),
        )
        async with open_tools(settings, services.database, services.clock) as tools:

            async def call(one: Any) -> Any:
                return await tools.guard.execute(one, CallScope(freshness="", ttl_seconds=0.0))

            return await diagnose(
                services.database,
                call,
                tools.scaleserp,
                settings.scaleserp_timezone,
                tools.guard.policy(PROVIDER),
                services.clock.now(),
            )

    async def is_as_wanted(self, *, created: int, enabled: bool, hour: int, searches: int) -> None:
        """The account has had ``created`` batches. The one that it has is that of our row."""
        account = self.world.sim.scaleserp.account
        assert account.created == created
        (batch,) = account.batches.values()
        (row,) = await self.world.query("SELECT * FROM provider_schedules")
        assert (row["provider_batch_id"], row["name"]) == (batch.id, batch.name)
        assert (row["sent_at"], row["error_message"]) == (None, None)
        assert batch.fields["schedule_hours"] == [hour]
        assert (batch.fields["enabled"], len(batch.searches)) == (enabled, searches)
        assert row["seen"]["searches"] == searches


@pytest.mark.parametrize("when", ["unanswered", "answered"])
async def test_a_kill_at_any_call_makes_no_batch_too_many(
    database_url: str, tmp_path: Path, when: str
) -> None:
    """Each step of a schedule's life makes the batches that it makes without a kill."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        drivers = Drivers(world, when)
        database = world.services.database
        account = world.sim.scaleserp.account
        # No start comes while the test runs.
        hour, later = ((world.services.clock.now().hour + hours) % 24 for hours in (6, 12))
        first, changed = ({**SPEC, "time_of_day": f"{at:02d}:00"} for at in (hour, later))
        await store_schedule(database, "s", [first])
        await drivers.step("create")
        await drivers.is_as_wanted(created=1, enabled=True, hour=hour, searches=2)
        await store_schedule(database, "s", [changed], version=2)
        await store_keywords(database, "saucer,PL\n")
        await drivers.step("edit")
        await drivers.is_as_wanted(created=1, enabled=True, hour=later, searches=3)
        await store_schedule(database, "s", [changed], version=2, status="paused")
        await drivers.step("pause")
        await drivers.is_as_wanted(created=1, enabled=False, hour=later, searches=3)
        (batch,) = account.batches.values()
        batch.created_at -= RENEWED_AFTER + timedelta(hours=1)
        await drivers.step("renew")
        await drivers.is_as_wanted(created=2, enabled=False, hour=later, searches=3)
        await store_schedule(database, "s", [changed], version=2)
        await drivers.step("resume")
        await drivers.is_as_wanted(created=2, enabled=True, hour=later, searches=3)
        (batch,) = account.batches.values()
        account.delete(batch)
        await drivers.step("expired")
        await drivers.is_as_wanted(created=3, enabled=True, hour=later, searches=3)
        await store_schedule(database, "s", [changed], version=2, status="deleted")
        await drivers.step("delete")
        assert (account.created, dict(account.batches)) == (3, {})
        assert await world.query("SELECT FROM provider_schedules") == []
        assert world.sim.ledger.spent("scaleserp") == 0
        for step, names in CALLS.items():
            calls = [(name, moments(name.split()[0], when)) for name in names]
            expected = {f"{name} {moment}" for name, found in calls for moment in found}
            assert expected - drivers.deaths[step] == set(), step
