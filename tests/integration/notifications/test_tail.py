"""The tail reads every event once, in order, whoever reads; levels are judged by time."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from harness.receiver import Receiver
from tests.integration.notifications.conftest import BREAKER_MINUTES, Notifying

from serpline.config.run import PipelineConfig
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.imports.reading import parse_keywords
from serpline.notifications import tail
from serpline.pipeline.service import PipelineService
from serpline.robustness import budget
from serpline.robustness.policies import policies
from serpline.store import projects
from serpline.store.notifications import watch
from serpline.store.runs.events import Event

URL = "json://127.0.0.1:9/"
DAY = "day:2026-11-30"


async def headlines(notifying: Notifying, destination: str = "ops") -> list[str]:
    """What a destination is told, in order."""
    return [row["note"]["headline"] for row in reversed(await notifying.service.log(destination))]


async def read(notifying: Notifying, *, levels: bool = False) -> None:
    while await notifying.notifier._tail.read(levels=levels):
        levels = False


async def test_many_readers_read_once(
    notifying: Notifying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes that read at once make one delivery of every event, in portions."""
    monkeypatch.setattr(tail, "EVENTS_MAX", 7)
    await notifying.add("ops", URL)
    ids = [uuid4() for _ in range(50)]
    readers = [Notifying(notifying.database) for _ in range(4)]

    async def read_to_the_end(one: Notifying) -> None:
        while (await notifying.query(_BEHIND))[0].is_behind:
            await read(one)

    await notifying.fail_runs(ids)
    await asyncio.gather(*(read_to_the_end(one) for one in readers))
    found = await notifying.service.log("ops", limit=1000)
    assert [row["note"]["subject"] for row in reversed(found)] == [str(one)[:8] for one in ids]


async def start_run(notifying: Notifying, config: PipelineConfig) -> UUID:
    rows = parse_keywords(b"keyword,market\nlamp,GB\n").require_clean().rows
    async with notifying.database.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await projects.import_keywords(conn, rows)
    return await PipelineService(notifying.database, SystemClock()).start(config)


_BEHIND = (
    "SELECT (state ->> 'cursor')::bigint < (SELECT max(id) FROM pipeline_events) AS is_behind"
    " FROM housekeeping WHERE task = 'notifications'"
)


async def test_a_new_destination_hears_of_later_events(notifying: Notifying) -> None:
    """A destination hears nothing of what happened before it was added, read or not."""
    await notifying.add("first", URL)
    await notifying.fail_runs([uuid4()])
    await notifying.add("second", URL)
    await notifying.fail_runs([uuid4()])
    await read(notifying)
    assert len(await headlines(notifying, "first")) == 2
    assert len(await headlines(notifying, "second")) == 1


async def test_without_destinations(notifying: Notifying) -> None:
    """Without destinations events are passed over, and the first one hears of later events."""
    await notifying.notifier.register()
    await notifying.fail_runs([uuid4()])
    await read(notifying)
    assert not (await notifying.query(_BEHIND))[0].is_behind
    await notifying.add("ops", URL)
    await read(notifying)
    assert await headlines(notifying) == []


async def test_the_schedule_of_a_run(notifying: Notifying) -> None:
    """A run's event belongs to the schedule of its configuration, with its scheduled time."""
    config = PipelineConfig(
        schedule="täglich / news", scheduled_for=datetime(2026, 11, 30, 6, tzinfo=UTC)
    )
    run_id = await start_run(notifying, config)
    await notifying.add("ops", URL, schedules=["täglich / news"])
    await notifying.add("other", URL, schedules=["another"])
    await notifying.fail_runs([run_id])
    await read(notifying)
    (row,) = await notifying.service.log()
    assert row["destination"] == "ops"
    assert row["note"]["headline"] == f"Run {str(run_id)[:8]} of schedule 'täglich / news' failed"
    assert row["note"]["facts"][0] == "It was scheduled for 2026-11-30 06:00 UTC."


async def test_a_schedule_names_its_destinations(notifying: Notifying) -> None:
    """The specification of a schedule names destinations; only its newest version counts."""
    await notifying.query(
        "INSERT INTO schedules (id, version, decided_until) VALUES ('s', 2, now())"
    )
    await notifying.query(
        "INSERT INTO schedule_versions (schedule_id, version, specs) VALUES ('s', 1,"
        """ '[{"notify": ["old"]}]'), ('s', 2, '[{"notify": ["a"]}, {"notify": "b"}, {}]')"""
    )
    for name in ("a", "b", "old"):
        await notifying.add(name, URL, schedules=["another"])
    await notifying.happen(Event("schedule.paused", detail={"schedule": "s", "reason": "x"}))
    await read(notifying)
    assert sorted(row["destination"] for row in await notifying.service.log()) == ["a", "b"]


async def test_an_event_that_a_person_caused(notifying: Notifying) -> None:
    """The events that the pipeline writes are those that kinds name."""
    await notifying.add("ops", URL, events=["all"])
    run_id = await start_run(notifying, PipelineConfig())
    await PipelineService(notifying.database, SystemClock()).cancel(run_id)
    await read(notifying)
    assert await headlines(notifying) == [f"Run {str(run_id)[:8]} was cancelled"]


async def test_an_event_that_cannot_be_read(notifying: Notifying) -> None:
    """An event of another form is told as such, and stops no other."""
    await notifying.add("ops", URL)
    await notifying.query(
        "INSERT INTO pipeline_events (event_type, detail) VALUES ('slot.missed', '[1]')"
    )
    await notifying.fail_runs([uuid4()])
    await read(notifying)
    first, second = await headlines(notifying)
    assert first.endswith("is slot.missed")
    assert second.endswith("failed")


async def open_breaker(notifying: Notifying, name: str, minutes: float) -> None:
    await notifying.query(
        "INSERT INTO circuit_breakers (name, state, changed_at) VALUES (:name, 'half_open', now())"
        " ON CONFLICT (name) DO UPDATE SET state = 'half_open'",
        name=name,
    )
    await notifying.query(
        "INSERT INTO circuit_breaker_events (breaker_name, event_type, occurred_at, failure_count,"
        " state, previous_state) VALUES (:name, 'opened', now() - :m * interval '1 minute', 5,"
        " 'open', 'closed'), (:name, 'reopened', now(), 5, 'open', 'half_open')",
        name=name,
        m=minutes,
    )


async def test_a_breaker_that_is_open_for_long(notifying: Notifying) -> None:
    """A breaker is told once it has not closed for ten minutes, once, and then that it closed."""
    await notifying.add("ops", URL)
    await notifying.add("news", URL, schedules=["news/daily"])
    await open_breaker(notifying, "pdl_api", BREAKER_MINUTES - 1)
    await open_breaker(notifying, "llm_api", BREAKER_MINUTES + 1)
    await open_breaker(notifying, "scale_serp_api@news/daily/news", BREAKER_MINUTES + 1)
    for _ in range(2):
        await read(notifying, levels=True)
        await notifying.pass_time(61)
    assert await headlines(notifying) == [
        "The breaker llm_api is open",
        "The breaker scale_serp_api@news/daily/news is open",
    ]
    assert len(await headlines(notifying, "news")) == 1
    await notifying.query("UPDATE circuit_breakers SET state = 'closed' WHERE name = 'llm_api'")
    for _ in range(2):
        await read(notifying, levels=True)
        await notifying.pass_time(61)
    assert (await headlines(notifying))[2:] == ["The breaker llm_api is closed"]
    await open_breaker(notifying, "llm_api", BREAKER_MINUTES + 1)
    await read(notifying, levels=True)
    assert (await headlines(notifying))[3:] == ["The breaker llm_api is open"]


async def test_levels_are_read_once_a_minute(notifying: Notifying) -> None:
    """Levels that another process just read are not read again."""
    await notifying.add("ops", URL)
    await read(notifying, levels=True)
    await open_breaker(notifying, "llm_api", BREAKER_MINUTES + 1)
    await read(notifying, levels=True)
    assert await headlines(notifying) == []
    await notifying.pass_time(61)
    async with notifying.database.transaction() as conn:
        assert (await watch.due(conn, 60)).has_levels
    await read(notifying, levels=True)
    assert len(await headlines(notifying)) == 1


async def spend(notifying: Notifying, spent: int, limit: int | None = 100) -> None:
    await notifying.query(
        "INSERT INTO provider_budgets (provider, scope, limit_credits, spent)"
        " VALUES ('pdl', :scope, :limit, :spent) ON CONFLICT (provider, scope)"
        " DO UPDATE SET spent = :spent, limit_credits = :limit",
        scope=DAY,
        limit=limit,
        spent=spent,
    )
    await read(notifying, levels=True)
    await notifying.pass_time(61)


async def test_budgets(notifying: Notifying) -> None:
    """80 % and 100 % of a budget's limit are one event each, and one notification each."""
    await notifying.add("ops", URL)
    notifying.scopes = [DAY]
    await spend(notifying, 79)
    assert await headlines(notifying) == []
    for spent in (80, 99, 100, 120):
        await spend(notifying, spent)
    assert await headlines(notifying) == [
        "80 % of the pdl budget of day 2026-11-30 is spent",
        "All of the pdl budget of day 2026-11-30 is spent",
    ]
    events = await notifying.query("SELECT event_type, detail FROM pipeline_events ORDER BY id")
    assert [one.event_type for one in events] == ["budget.80", "budget.100"]
    assert events[0].detail == {"provider": "pdl", "scope": DAY, "spent": "80", "limit": "100"}


async def test_budgets_that_make_no_event(notifying: Notifying) -> None:
    """A budget without a limit, one that forbids all calls and one of another day are silent."""
    notifying.scopes = ["day:2026-12-01"]
    await notifying.notifier.register()
    await spend(notifying, 100)
    notifying.scopes = [DAY]
    await spend(notifying, 100, None)
    await spend(notifying, 0, 0)
    assert await notifying.query("SELECT FROM pipeline_events") == []
    # From nothing to all of it between two looks: one event.
    await spend(notifying, 100)
    assert len(await notifying.query("SELECT FROM pipeline_events")) == 1


async def test_a_held_budget_is_not_waited_for(notifying: Notifying) -> None:
    """While a call holds a budget's row, the levels are read without it, and later with it."""
    await notifying.add("ops", URL)
    notifying.scopes = [DAY]
    await spend(notifying, 10)
    async with notifying.database.transaction() as conn:
        await conn.exec_driver_sql("UPDATE provider_budgets SET spent = 90")
        async with asyncio.timeout(5):
            await read(notifying, levels=True)
        await notifying.pass_time(61)
    await read(notifying, levels=True)
    assert len(await headlines(notifying)) == 1


def test_the_current_periods() -> None:
    """The scopes are the day and the month of every provider's zone."""
    found = budget.period_scopes(policies(load()), datetime(2026, 12, 1, 3, tzinfo=UTC))
    assert found == ["day:2026-11-30", "day:2026-12-01", "month:2026-11", "month:2026-12"]


async def test_idle(notifying: Notifying, receiver: Receiver) -> None:
    """When nothing happens, a look is one statement, and the next one is 15 seconds later."""
    await notifying.add("ops", receiver.url())
    await notifying.fail_runs([uuid4()])
    await notifying.turn()
    statements = []
    engine = notifying.database._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    assert await notifying.notifier.work() == 15.0
    assert len(statements) == 1
