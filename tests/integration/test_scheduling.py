"""The scheduling service over a real database: one run for a (schedule, instant)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from serpline.core.clock import SystemClock
from serpline.domain.errors import UserError
from serpline.domain.keywords import parse_keywords
from serpline.pipeline.service import PipelineService
from serpline.scheduling.service import SchedulingService, run_id_of
from serpline.scheduling.spec import ScheduleSpec
from serpline.store import projects
from serpline.store.database import Database
from serpline.store.runs import runs

CALLERS = 50
NINE = datetime(2026, 2, 1, 9, tzinfo=UTC)


def _spec(**given: Any) -> ScheduleSpec:
    return ScheduleSpec.from_json(
        {"content_type": "news", "frequency": "daily", "time_of_day": "09:00", **given}
    )


NEWS = _spec(retry_attempts=5)
ORGANIC = _spec(content_type="organic", frequency="monthly", phase_retries=2)


@pytest.fixture
async def project(db: Database) -> Database:
    """A project of three keywords."""
    await _import(db, b"keyword,market\nmoka pot,US\ncafe,US\nespresso,GB\n")
    return db


@pytest.fixture
async def other(project: Database, database_url: str) -> AsyncIterator[Database]:
    """The same database, opened as another process would."""
    database = await Database.connect(database_url)
    try:
        yield database
    finally:
        await database.close()


async def _import(database: Database, document: bytes) -> None:
    async with database.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await projects.import_keywords(conn, parse_keywords(document).rows)


def _service(database: Database) -> SchedulingService:
    clock = SystemClock()
    return SchedulingService(PipelineService(database, clock), clock)


async def _count(database: Database, query: str) -> int:
    async with database.transaction() as conn:
        return int((await conn.execute(text(query))).scalar_one())


async def test_many_callers_start_one_run(project: Database, other: Database) -> None:
    """Fifty concurrent callers over two connections' pools get the same id; there is one run."""
    services = [_service(project), _service(other)]
    calls = [services[n % 2].start_slot("daily", [NEWS, ORGANIC], NINE) for n in range(CALLERS)]
    assert await asyncio.gather(*calls) == [[run_id_of("daily", NINE)]] * CALLERS
    assert await _count(project, "SELECT count(*) FROM pipeline_executions") == 1
    assert await _count(project, "SELECT count(*) FROM run_keywords") == 3
    created = "SELECT count(*) FROM pipeline_events WHERE event_type = 'run.created'"
    assert await _count(project, created) == 1


async def test_the_run_of_a_slot_has_its_specifications(project: Database) -> None:
    """It is a SCHEDULED run of the types due at that instant, with its scheduled time stored."""
    service = _service(project)
    [both] = await service.start_slot("daily", [NEWS, ORGANIC], NINE)
    [alone] = await service.start_slot("daily", [NEWS, ORGANIC], NINE + timedelta(days=1))
    async with project.transaction() as conn:
        first, second = await runs.get(conn, both), await runs.get(conn, alone)
    assert first is not None
    assert second is not None
    assert (first.mode, first.scheduled_for) == ("scheduled", NINE)
    assert first.config["content_types"] == ["organic", "news"]
    lanes = first.config["lanes"]
    assert (lanes["news"]["retry_attempts"], lanes["news"]["phase_retries"]) == (5, 1)
    assert (lanes["organic"]["retry_attempts"], lanes["organic"]["phase_retries"]) == (3, 2)
    assert second.config["content_types"] == ["news"]
    assert second.scheduled_for == NINE + timedelta(days=1)


async def test_an_instant_at_which_nothing_is_due_starts_nothing(project: Database) -> None:
    """The error names the schedule and the instant, and no run exists."""
    late = NINE + timedelta(seconds=1)
    with pytest.raises(UserError, match=r"^schedule 'daily' is not due at 2026-02-01T09:00:01"):
        await _service(project).start_slot("daily", NEWS, late)
    assert await _count(project, "SELECT count(*) FROM pipeline_executions") == 0


async def test_every_trigger_is_a_run_of_its_own(project: Database) -> None:
    """It has no scheduled time and does not replace the slot's run."""
    service = _service(project)
    [slot] = await service.start_slot("daily", NEWS, NINE)
    each = await asyncio.gather(*(service.trigger("daily", NEWS) for _ in range(3)))
    triggered = [run_id for [run_id] in each]
    assert len({slot, *triggered}) == 4
    async with project.transaction() as conn:
        found = [await runs.get(conn, run_id) for run_id in triggered]
    assert [(run.mode, run.scheduled_for) for run in found if run] == [("scheduled", None)] * 3


async def test_a_slot_that_cannot_start_can_start_later(db: Database) -> None:
    """Without keywords the run is refused without a trace; with some it starts."""
    service = _service(db)
    with pytest.raises(UserError, match=r"^no keywords"):
        await service.start_slot("daily", NEWS, NINE)
    assert await _count(db, "SELECT count(*) FROM pipeline_executions") == 0
    await _import(db, b"keyword,market\nmoka pot,US\n")
    assert await service.start_slot("daily", NEWS, NINE) == [run_id_of("daily", NINE)]


async def test_types_that_differ_in_devices_have_runs_of_their_own(project: Database) -> None:
    """One instant starts a run per group, once, with the devices and the limits of its types."""
    service = _service(project)
    mobile = _spec(content_type="video", devices=["mobile"], credit_limits={"scaleserp": 7})
    specs = [NEWS, mobile, _spec(content_type="organic")]
    started = await service.start_slot("daily", specs, NINE)
    assert await service.start_slot("daily", specs, NINE) == started
    assert await _count(project, "SELECT count(*) FROM pipeline_executions") == 2
    async with project.transaction() as conn:
        found = [await runs.get(conn, run_id) for run_id in started]
    assert [
        (run.config["content_types"], run.config["devices"], run.config["credit_limits"])
        for run in found
        if run
    ] == [(["organic", "news"], ["desktop"], {}), (["video"], ["mobile"], {"scaleserp": 7.0})]
    limited = "SELECT count(*) FROM provider_budgets WHERE limit_credits = 7"
    assert await _count(project, limited) == 1
    assert len(await service.trigger("daily", specs)) == 2


async def test_a_lane_s_work_has_its_own_priority(project: Database) -> None:
    """It is stored with the lane, from which every wake-up of its chunks takes it."""
    specs = [_spec(priority="high"), _spec(content_type="video", priority="low")]
    await _service(project).start_slot("daily", specs, NINE)
    async with project.transaction() as conn:
        query = "SELECT DISTINCT content_type, priority FROM pipeline_phase_status ORDER BY 1"
        rows = (await conn.execute(text(query))).all()
    assert rows == [("all", 10), ("news", 10), ("video", -10)]


async def test_a_preview_starts_now_by_default(db: Database) -> None:
    """The service's clock gives the time; the rows are those of the command."""

    class Noon(SystemClock):
        def now(self) -> datetime:
            return NINE + timedelta(hours=3)

    service = SchedulingService(PipelineService(db, Noon()), Noon())
    assert service.preview(NEWS, 1)[0]["scheduled_for"] == "2026-02-02T09:00:00+00:00"
    before = NINE - timedelta(seconds=1)
    assert service.preview([NEWS, ORGANIC], 1, before)[0]["content_types"] == ["organic", "news"]


async def test_an_unnamed_schedule_is_not_triggered(project: Database) -> None:
    """A trigger names its schedule, like a slot."""
    with pytest.raises(UserError, match=r"^schedule='': must be"):
        await _service(project).trigger("", NEWS)
    assert await _count(project, "SELECT count(*) FROM pipeline_executions") == 0
