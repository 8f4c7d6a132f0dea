"""A schedule's 90 days in virtual time: simulator, database, one worker process, and people.

Time stands still while anything works. It then jumps to the next instant at which something is due:
for the worker, for a batch at the simulator, or in the plan. A person's commands go through the
``SchedulingService`` of this process. The worker is a process that is really killed.

Limits: of the phases that enrich the search pages, two are skipped and two have no items. They cost
most of the time. The two that stay make the DSI wait for the searches.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from harness.database_time import VirtualClock, install, set_time
from harness.environment import clean_environment
from harness.scripted import make_tables

from chaos.slot_plan import Happening, Plan
from chaos.slot_process import DEAD_AFTER_SECONDS, TAKE_OVER_SECONDS, SlotProcess
from serpline.app.services import Services, open_services
from serpline.core.settings import load
from serpline.domain.errors import UserError
from serpline.imports.reading import parse_keywords
from serpline.robustness.policies import equal_rates
from serpline.scheduling.spec import ScheduleSpec
from serpline.simulator.config import BatchTiming, SimulatorConfig
from serpline.simulator.server import Simulator
from serpline.store import projects
from serpline.store.clock import DatabaseClock
from serpline.store.maintenance.clock_steps import TIMER

SCHEDULE = "90 days"
_KEYWORDS = b"keyword,market\nmoka pot,US\n"
_SETTINGS = {
    "SERPLINE_PROVIDER_RATES": json.dumps(equal_rates(10_000)),
    "SERPLINE_BATCH_POLL_SECONDS": "600",
    "SERPLINE_CREDITS_PER_MONTH": json.dumps({"scaleserp": 100_000}),
}
_TIMING = BatchTiming(queued_seconds=0, running_seconds=400, adding_seconds_per_search=0)
# Time stands still while calls are made, so limits by the minute would refuse them for ever.
_NO_LIMITS = dict.fromkeys(("scaleserp/list_batches", "dataforseo"), None)
_SET_UP = (
    # The server is not stopped, so what a killed process had committed is never lost.
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off',"
    " current_database()); END $$",
    """CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN NEW.status := ''skipped''; RETURN NEW; END'""",
    """CREATE TRIGGER leave_out BEFORE INSERT ON pipeline_phase_status FOR EACH ROW
        WHEN (NEW.phase_name IN ('youtube_enrichment', 'company_enrichment_youtube'))
        EXECUTE FUNCTION leave_out()""",
)
_IDLE = sa.text(
    "WITH beat AS (UPDATE workers SET heartbeat_at = now() WHERE id = :worker)"
    " UPDATE housekeeping SET looked_at = now() - make_interval(secs => :ago) WHERE task = :task"
).bindparams(ago=TAKE_OVER_SECONDS, task=TIMER)
_SECONDS_MIN = 1.0
_DRAIN = timedelta(days=6)


@dataclass(slots=True)
class SlotWorld:
    """The world, and what its auditors know of it from outside the product.

    ``looks``: by the worker's clock, the instants at which it has looked at everything that is due.
    ``versions``: from when which specifications held. ``pauses``: from when to when a person had
    paused it. ``resumes``: when a person resumed it or its content types. ``clock_sets``: when the
    clock was set.
    """

    sim: Simulator
    services: Services
    clock: VirtualClock
    plan: Plan
    environment: Mapping[str, str]
    directory: Path
    seed: str
    looks: list[datetime] = field(default_factory=list)
    versions: list[tuple[datetime, list[Mapping[str, Any]]]] = field(default_factory=list)
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    resumes: list[datetime] = field(default_factory=list)
    clock_sets: list[datetime] = field(default_factory=list)
    armed: int = 0
    died: int = 0
    triggered: int = 0
    deleted_at: datetime | None = None
    _ahead: timedelta = timedelta(0)
    _faults: list[Mapping[str, Any]] = field(default_factory=list)
    _paused_at: datetime | None = None
    _process: SlotProcess | None = None
    _lives: int = 0
    _worker_id: int | None = None
    _due_at: datetime | None = None
    _reborn_at: datetime | None = None

    async def live(self) -> None:
        """Live through the plan, delete the schedule, and wait until all has ended."""
        self._start()
        self.versions.append((self.clock.at, list(self.plan.specs)))
        await self.services.schedules.add(SCHEDULE, _read(self.plan.specs))
        happenings = list(self.plan.happenings)
        await self._step()
        while True:
            planned = happenings[0].at if happenings else self.plan.end
            if not await self._jump(min(planned, self.plan.end)):
                continue
            if not happenings or planned > self.plan.end:
                break
            await self._happen(happenings.pop(0))
        await self._end()

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._process.close()

    async def _end(self) -> None:
        self._faults = []
        self.sim.set_faults([])
        await self._set_clock(0)
        if self._process is None:
            self._start()
        await self.services.schedules.delete(SCHEDULE)
        self.deleted_at = self.clock.at
        if self._paused_at is not None:
            self.pauses.append((self._paused_at, self.clock.at))
        await self._step()
        until = self.clock.at + _DRAIN
        while not await self._jump(until):
            pass

    async def _jump(self, until: datetime) -> bool:
        """Go to the next instant at which something is due; whether that is ``until``."""
        waits = [self._due_at if self._process else None, self._reborn_at, self.clock.next_waking]
        at = min([until, *(wait for wait in waits if wait is not None)])
        at = max(at, self.clock.at)
        self.clock.set(at)
        # The simulator's batches go on. They need no other event.
        for _ in range(10):
            await asyncio.sleep(0)
        await self._show_time()
        if self._worker_id is not None:
            await self._note_idle_time()
        if self._reborn_at is not None and self._reborn_at <= at:
            self._start()
            await self._step()
        elif self._process is not None and self._due_at is not None and self._due_at <= at:
            await self._step()
        return at >= until

    async def _happen(self, happening: Happening) -> None:
        value, schedules = happening.value, self.services.schedules
        match happening.what:
            case "fault":
                self._faults.append(value)
                self.sim.set_faults(self._faults)
            case "fault over":
                self._faults.remove(value)
                self.sim.set_faults(self._faults)
            case "death":
                self._kill()
            case "birth":
                self._start()
            case "armed":
                self._kill()
                self.armed += 1
                self._start(value)
            case "clock":
                await self._set_clock(value)
            case "pause":
                await schedules.pause(SCHEDULE, reason="a person paused it")
                self._paused_at = self.clock.at
            case "resume":
                await schedules.resume(SCHEDULE)
                self.resumes.append(self.clock.at)
                assert self._paused_at is not None
                self.pauses.append((self._paused_at, self.clock.at))
                self._paused_at = None
            case "resume types":
                with suppress(UserError):  # nothing is paused
                    await schedules.resume(SCHEDULE)
                    self.resumes.append(self.clock.at)
            case "edit":
                number, changes = value
                specs = list(self.versions[-1][1])
                specs[number] = {**specs[number], **changes}
                await schedules.edit(SCHEDULE, _read(specs))
                self.versions.append((self.clock.at, specs))
            case "trigger":
                self.triggered += 1
                await schedules.trigger(SCHEDULE, ["video"])
            case unknown:
                raise AssertionError(unknown)
        if self._process is not None:
            await self._step()

    def _start(self, point: tuple[str, int] | None = None) -> None:
        self._lives += 1
        self._reborn_at = None
        log = self.directory / f"life-{self._lives}.log"
        self._process = SlotProcess(self.environment, log, f"{self.seed} {self._lives}", point)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = self._due_at = self._reborn_at = self._worker_id = None

    async def _step(self) -> None:
        assert self._process is not None
        stepped = await self._process.step(self.clock.at)
        if stepped is None:
            self.died += 1
            self._kill()
            assert self.died <= self.armed, self._last_log()
            # Within five minutes, so that instants are still on time.
            self._reborn_at = self.clock.at + timedelta(seconds=DEAD_AFTER_SECONDS + 20)
            return
        self._worker_id = stepped.worker_id
        self.clock.set(stepped.at)
        self.looks.append(stepped.at + self._ahead)
        self._due_at = None
        if stepped.due_in_seconds is not None:
            seconds = max(_SECONDS_MIN, stepped.due_in_seconds)
            self._due_at = self.clock.at + timedelta(seconds=seconds)

    async def _set_clock(self, ahead_seconds: float) -> None:
        self._ahead = timedelta(seconds=ahead_seconds)
        self.clock_sets.append(self.clock.at)
        await self._show_time()

    async def _show_time(self) -> None:
        """Set the database's clock, which may be wrong, and read it as a person's process does."""
        database, clock = self.services.database, self.services.clock
        assert isinstance(clock, DatabaseClock)
        await set_time(database, self.clock.at + self._ahead)
        async with database.statement() as conn:
            await clock.sync(conn)

    async def _note_idle_time(self) -> None:
        """Note that the worker has beaten and checked all the time. It had nothing else to do."""
        async with self.services.database.statement() as conn:
            await conn.execute(_IDLE, {"worker": self._worker_id})

    def _last_log(self) -> str:
        return (self.directory / f"life-{self._lives}.log").read_text()[-4_000:]


@asynccontextmanager
async def slot_world(
    url: str, directory: Path, plan: Plan, seed: str, simulator_seed: int
) -> AsyncIterator[SlotWorld]:
    """Open a world in a fresh database at the beginning of its plan."""
    clock = VirtualClock(plan.begin)
    await install(url, plan.begin)
    config = SimulatorConfig(seed=simulator_seed, clock=clock, timing=_TIMING, limits=_NO_LIMITS)
    async with Simulator(config) as sim:
        environment = {
            **clean_environment(),
            **sim.environment(),
            **_SETTINGS,
            "SERPLINE_DATABASE_URL": url,
            "SERPLINE_DATA_DIR": str(directory),
        }
        async with open_services(load(database_url=url, data_dir=directory)) as services:
            assert isinstance(services.clock, DatabaseClock)
            services.clock._base = clock
            await make_tables(services.database)
            async with services.database.transaction() as conn:
                for statement in _SET_UP:
                    await conn.execute(sa.text(statement))
                await projects.ensure_builtin_markets(conn)
                await projects.import_keywords(conn, parse_keywords(_KEYWORDS).rows)
            world = SlotWorld(sim, services, clock, plan, environment, directory, seed)
            await world._show_time()
            try:
                yield world
            finally:
                world.close()
        assert sim.gateway.crashes == [], "the simulator itself failed"


def _read(specs: Any) -> list[ScheduleSpec]:
    try:
        return [ScheduleSpec.from_json(dict(spec)) for spec in specs]
    except UserError as error:
        raise AssertionError(str(error)) from None
