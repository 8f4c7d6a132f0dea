"""Many schedules: what a tick costs, the start after a week's standstill, a year of slots.

Time is virtual: the clock stands still between ticks, so only their own cost is measured. Schedules
and the year of slots are written by statements, because only reading them is measured.
"""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from harness.figures import Figure, at_most, equal
from harness.schedules import Schedules, spec

from bench.place import Place
from serpline.scheduling.adjuster import Adjuster
from serpline.store.database import Database

TITLE = "many schedules"
SCHEDULES, TICK_SECONDS, TICKS = 10_000, 5, 240
YEAR_SCHEDULES, DAYS = 1_000, 365
RUNS_MAX = 10
CPU_MS_MAX, START_SECONDS_MAX, QUERY_MS_MAX = 50, 10, 50
_DAY = timedelta(days=1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

# Copies of the schedule "s", each at its own minute of the day.
_COPY_SCHEDULES = (
    "INSERT INTO schedules (id, version, decided_until, next_at) SELECT 's' || n, 1,"
    " s.decided_until, s.next_at + make_interval(mins => n % 1440)"
    " FROM schedules s, generate_series(1, :count) AS n",
    "INSERT INTO schedule_versions (schedule_id, version, specs, created_at)"
    " SELECT 's' || n, 1, jsonb_build_array((v.specs -> 0) || jsonb_build_object('time_of_day',"
    " to_char(CAST(:at AS time) + make_interval(mins => n % 1440), 'HH24:MI'))), v.created_at"
    " FROM schedule_versions v, generate_series(1, :count) AS n",
)
_YEAR_OF_SLOTS = (
    "INSERT INTO schedule_slots (schedule_id, scheduled_for, content_type, version, outcome,"
    " reason_code, reason, run_group, overlap, start_at, decided_at) SELECT s.id, at, 'news', 1,"
    " 'missed', 'too_old', 'no process looked at schedules at its time', '', 'skip', at, at"
    " FROM schedules s, generate_series(s.decided_until - make_interval(days => :days),"
    " s.decided_until, interval '1 day') AS at"
)


async def measure(place: Place) -> Sequence[Figure]:
    """Ticks over 10,000 schedules, and reads of a year's slots of 1,000."""
    figures = []
    with place.fresh_database() as name:
        async with _schedules(place, name, place.sized(SCHEDULES)) as made:
            figures += await _ticks(place, made)
            figures += await _start_after_a_week(place, made)
    with place.fresh_database() as name:
        async with _schedules(place, name, place.sized(YEAR_SCHEDULES)) as made:
            figures += await _year(place, made)
    return figures


@asynccontextmanager
async def _schedules(place: Place, name: str, count: int) -> AsyncIterator[Schedules]:
    """So many daily schedules in a database, and the service and tick of one process."""
    database = await Database.connect(place.server.url(name))
    try:
        made = Schedules(database, runs_max=RUNS_MAX)
        made.clock.at = NOON - timedelta(minutes=1)
        await made.import_keywords()
        await made.service.add("s", spec(time_of_day=f"{NOON:%H:%M}"))
        for statement in _COPY_SCHEDULES:
            await made.query(statement, count=count - 1, at=NOON.time())
        await made.query("ANALYZE")
        yield made
    finally:
        await database.close()


async def _ticks(place: Place, made: Schedules) -> list[Figure]:
    """Ticks every five seconds; each minute brings the slots of some schedules."""
    idle, all_ticks, started = [], [], 0
    for _ in range(place.sized(TICKS)):
        await made.end_runs()
        made.clock.at += timedelta(seconds=TICK_SECONDS)
        before, cpu = started, time.process_time()
        await made.tick.run()
        all_ticks.append((time.process_time() - cpu) * 1000)
        started = len(await made.query("SELECT FROM pipeline_executions"))
        if started == before:
            idle.append(all_ticks[-1])
    place.notes.append(
        f"{len(all_ticks)} ticks started {started} runs; the longest took {max(all_ticks):.0f} ms"
    )
    few, many = await _statements(made, 1), await _statements(made, 150)
    return [
        at_most("CPU ms of a tick with nothing due", sum(idle) / len(idle), CPU_MS_MAX),
        at_most("CPU ms of a tick, on average", sum(all_ticks) / len(all_ticks), CPU_MS_MAX),
        equal("statements of a tick with 150 due schedules, and with 1", many, few),
    ]


async def _statements(made: Schedules, due: int) -> int:
    """Statements of a tick in which so many schedules are due, and no run can start."""
    await made.query("UPDATE schedules SET next_at = :later", later=made.clock.at + _DAY)
    await made.query(
        "UPDATE schedules SET next_at = :now, decided_until = :before"
        " WHERE id IN (SELECT id FROM schedules ORDER BY id LIMIT :due)",
        now=made.clock.at,
        before=made.clock.at - _DAY,
        due=due,
    )
    await made.query("DELETE FROM schedule_slots")
    tick = Schedules(made.database, made.clock, runs_max=0).tick
    with _timed(made.database) as taken:
        await tick.run()
    return len(taken)


async def _start_after_a_week(place: Place, made: Schedules) -> list[Figure]:
    """All processes were down for a week; the first tick decides every slot."""
    await made.query("DELETE FROM schedule_slots")
    await made.query("DELETE FROM pipeline_executions")
    await made.query("UPDATE schedules SET decided_until = :now, next_at = :now", now=made.clock.at)
    made.clock.at += timedelta(days=7)
    started = time.perf_counter()
    await made.tick.run()
    seconds = time.perf_counter() - started
    (slots,) = await made.query("SELECT count(*) AS count FROM schedule_slots")
    place.notes.append(f"a week's standstill left {slots['count']} slots")
    running = await made.query("SELECT FROM pipeline_executions WHERE status <> 'completed'")
    return [
        at_most("seconds of the first tick after a week", seconds, START_SECONDS_MAX),
        at_most("runs at once", len(running), RUNS_MAX),
    ]


async def _year(place: Place, made: Schedules) -> list[Figure]:
    """Every read and task of schedules, with a year of slots."""
    await made.query(_YEAR_OF_SLOTS, days=place.sized(DAYS))
    await made.query("ANALYZE")
    adjuster = Adjuster(made.database, made.clock)
    await adjuster.register()
    with _timed(made.database) as taken:
        await made.service.slots("s7")
        await made.service.slots("s7", since=NOON - timedelta(days=DAYS), limit=1000)
        await made.service.get("s7")
        await made.service.listed()
        for _ in range(24):
            await made.after(seconds=TICK_SECONDS)
        await made.service.edit("s7", spec(time_of_day="03:00"))
        await made.service.pause("s8")
        await made.service.trigger("s9")
        await adjuster.run()
        await made.service.proposals()
    (slots,) = await made.query("SELECT count(*) AS count FROM schedule_slots")
    seconds, statement = max(taken)
    place.notes.append(
        f"{slots['count']} slots; the slowest of {len(taken)} statements begins {statement[:60]!r}"
    )
    return [at_most("ms of the slowest query of a year's slots", seconds * 1000, QUERY_MS_MAX)]


@contextmanager
def _timed(database: Database) -> Iterator[list[tuple[float, str]]]:
    """The statements on a database with the seconds from sending to the answer."""
    taken: list[tuple[float, str]] = []
    engine = database._engine.sync_engine

    def begin(conn: Any, *_: Any) -> None:
        conn.info["begun"] = time.perf_counter()

    def end(conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        text = " ".join(statement.split())
        taken.append((time.perf_counter() - conn.info["begun"], text))

    sa.event.listen(engine, "before_cursor_execute", begin)
    sa.event.listen(engine, "after_cursor_execute", end)
    try:
        yield taken
    finally:
        sa.event.remove(engine, "before_cursor_execute", begin)
        sa.event.remove(engine, "after_cursor_execute", end)
