"""A clock that is set back lengthens no wait; time without workers counts towards no deadline."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from harness import every_table
from harness.clock_steps import set_clock_back
from harness.inline import METRICS, Harness, TravelClock, open_harness
from harness.phase_work import work_on
from harness.waiting import until

from serpline.config.run import PipelineConfig
from serpline.domain.names import BatchPriority
from serpline.domain.repair import RepairStage
from serpline.domain.states import BatchStatus
from serpline.phases.base import Work
from serpline.phases.serp.batch_session import BatchSession
from serpline.pipeline.timer import Timer
from serpline.queueing.manager import JobQueueManager
from serpline.store.database import Database
from serpline.store.maintenance import clock_steps
from serpline.store.runs import batches, workers
from serpline.store.tables import metadata

HOUR = 3600.0
AGAIN, LEASE, DELAY = 40.0, 20.0, 30.0

# Corrected where they are read: the code that does it.
JUDGED = {
    "items.next_attempt_at",  # chunks.load
    "circuit_breakers.open_until",  # domain.breaker.decide, in ``machine``
    "provider_rates.next_slot_at",  # provider_first_slot
    "provider_rates.paused_until",  # pace_in_time
    "provider_rates.penalised_at",
    "provider_retries.tokens_at",  # reserve_slots
    "pipeline_phase_status.deadline_at",  # lanes.set_deadlines
}
# Nothing waits for these: they are history or an age.
HISTORY = {
    "channel_owners": set(),
    "circuit_breaker_events": {"occurred_at"},
    "circuit_breakers": {"changed_at", "settings_at"},
    "companies": {"merged_at"},
    "company_profiles": {"fetched_at"},
    "content_analyses": {"fetched_at"},
    "dead_letters": {"failed_at", "settled_at"},
    "item_retries": {"occurred_at"},
    "keyword_metrics": {"fetched_at"},
    "keywords": {"created_at"},
    "landscapes": {"created_at"},
    "notification_deliveries": {"occurred_at", "created_at", "settled_at"},
    "notification_destinations": {"created_at", "failing_since", "last_sent_at"},
    "pipeline_events": {"occurred_at"},
    "pipeline_executions": {
        "scheduled_for",
        "created_at",
        "completed_at",
        "items_pruned_at",
        "expired_at",
    },
    "pipeline_phase_status": {"started_at", "completed_at", "planned_at"},
    # The time of a slot is a wall-clock time, too.
    "provider_batches": {"ended_at", "scheduled_for"},
    "provider_calls": {"finished_at"},
    "provider_schedules": {"seen_at"},
    "queue_schema_versions": {"applied_at"},
    "queued_jobs": {"created_at"},
    "raw_replies": {"stored_at"},
    "reference_data": {"fetched_at"},
    # Times of schedules are wall-clock times that people named: no change of the clock moves them.
    "schedule_backfill_slots": {"scheduled_for", "ended_at"},
    "schedule_backfills": {"slots_from", "slots_to", "created_at", "ended_at"},
    "schedule_lanes": {"last_success_at", "fresh_until", "stale_since", "paused_at"},
    "schedule_proposals": {"made_at", "decided_at"},
    "schedule_slots": {
        "scheduled_for",
        "start_at",
        "deadline_at",
        "decided_at",
        "started_at",
        "run_ended_at",
    },
    "schedule_versions": {"created_at"},
    "schedules": {
        "paused_at",
        "decided_until",
        "next_at",
        "created_at",
        "changed_at",
        "deleted_at",
    },
    "serps": {"collected_at"},
    "webhook_inbox": {"received_at"},
    "workers": {"started_at", "ended_at"},
    "youtube_channels": {"fetched_at"},
    "youtube_videos": {"fetched_at"},
}
CUT = [(table, column) for table, (_, columns) in clock_steps.WAITS.items() for column in columns]


def test_every_time_is_known() -> None:
    """Every stored time is a wait that is cut or decided where it is used, or it is history."""
    cut = {f"{table}.{column}" for table, column in CUT}
    told = {f"{table}.{column}" for table, columns in HISTORY.items() for column in columns}
    times = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.DateTime)
    }
    assert not cut & JUDGED
    assert not (cut | JUDGED) & told
    assert cut - {"procrastinate_workers.last_heartbeat"} | JUDGED | told == times


# Makes the first row of a table wait, with its delay.
WAITING = {
    "pipeline_executions": "status = 'running'",
    "chunks": f"status = 'ready', owner = NULL, delay_seconds = {DELAY}",
    "workers": "ended_at = NULL",
    "queued_jobs": f"delay_seconds = {DELAY}",
    "provider_leases": "slots = 1",
    "provider_batches": "status = 'running'",
    "provider_calls": "status = 'intent'",
    "provider_schedules": f"delay_seconds = {DELAY}",
    "housekeeping": f"delay_seconds = {DELAY}",
    "notification_destinations": f"delay_seconds = {DELAY}",
    "procrastinate_workers": "last_heartbeat = now()",
}
LONGEST = {
    "pipeline_executions.next_check_at": AGAIN,
    "chunks.next_check_at": DELAY,
    "queued_jobs.next_check_at": DELAY,
    "queued_jobs.not_before": DELAY,
    "provider_leases.expires_at": LEASE,
    # Twice the longest time-out of a call about a batch, and a little.
    "provider_schedules.owned_until": 1210.0,
    "provider_schedules.next_check_at": DELAY,
    "housekeeping.next_check_at": DELAY,
    "notification_destinations.next_message_at": DELAY,
}


async def query(database: Database, sql: str, **values: Any) -> list[Any]:
    async with database.transaction() as conn:
        found = await conn.execute(sa.text(sql), values)
        return list(found.all()) if found.returns_rows else []


async def correct(database: Database) -> dict[str, int]:
    async with database.transaction() as conn:
        return await clock_steps.correct_waits(conn, again_seconds=AGAIN, lease_seconds=LEASE)


async def due_again(database: Database) -> None:
    """Let enough time pass since the last check for another one."""
    await query(
        database,
        "UPDATE housekeeping SET looked_at = now() - interval '5 seconds' WHERE task = 'timer'",
    )


@pytest.fixture
async def filled(db: Database) -> Database:
    """A database with a row in every table, each of which waits."""
    async with db.transaction() as conn:
        await every_table.fill(conn)
        await conn.execute(sa.text("INSERT INTO procrastinate_workers DEFAULT VALUES"))
    for table, sets in WAITING.items():
        await query(db, f"UPDATE {table} SET {sets}")
    assert await correct(db) == {}
    await due_again(db)
    return db


@pytest.mark.parametrize(("table", "column"), CUT)
async def test_a_wait_is_never_longer_than_its_length(
    filled: Database, table: str, column: str
) -> None:
    """A wait an hour ahead is shortened to its rule's maximum; shorter waits stay."""
    longest = LONGEST.get(f"{table}.{column}", 0.0)
    where = "" if table != "housekeeping" else " WHERE task <> 'timer'"
    # Clock skew may be five seconds.
    for ahead, lies in ((longest + 4, longest + 4), (longest + 6, longest), (HOUR, longest)):
        await query(
            filled,
            f"UPDATE {table} SET {column} = now() + make_interval(secs => :s){where}",
            s=ahead,
        )
        cut = await correct(filled)
        await due_again(filled)
        assert (table in cut) is (lies == longest)
        (row,) = await query(
            filled,
            f"SELECT extract(epoch FROM max({column}) - now())::float AS s FROM {table}{where}",
        )
        assert lies - 2 < row.s <= lies


async def test_one_worker_checks_for_all(filled: Database) -> None:
    """Of two concurrent checks one does the work, and the other finds it done."""
    await query(filled, "UPDATE queued_jobs SET next_check_at = now() + interval '1 hour'")
    first, second = await asyncio.gather(correct(filled), correct(filled))
    assert {**first, **second} == {"queued_jobs": every_table.ROWS}
    await query(filled, "UPDATE queued_jobs SET next_check_at = now() + interval '1 hour'")
    for ago, cut in ((1.5, {}), (2.5, {"queued_jobs": every_table.ROWS})):
        await query(
            filled, "UPDATE housekeeping SET looked_at = now() - make_interval(secs => :s)", s=ago
        )
        assert await correct(filled) == cut


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db, chance=lambda: 1.0, dead_after_seconds=1.0) as made:
        yield made


@pytest.fixture
def timer(harness: Harness) -> Timer:
    return Timer(
        harness.database,
        harness.clock,
        harness.lifeline,
        check_again_seconds=1,
        take_over_seconds=0,
    )


async def test_an_attempt_comes_after_its_delay(harness: Harness, timer: Timer) -> None:
    """An item due in two seconds is due in two seconds, even if the clock is set back an hour."""
    run_id = await harness.start({METRICS: ["RETRY1-a", "DONE-b"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    await harness.worker.work(chunk_id)
    await timer.tick()
    await set_clock_back(harness.database, HOUR)
    await timer.tick()
    assert (await harness.chunk(chunk_id))["seconds_to_check"] <= 5
    await harness.worker.work(chunk_id)
    item, chunk = (await harness.items(run_id))["RETRY1-a"], await harness.chunk(chunk_id)
    assert (item["status"], item["attempts"]) == ("retry_wait", 1)
    assert chunk["seconds_to_check"] <= 2.1

    async def is_over() -> bool:
        await harness.worker.work(chunk_id)
        return await harness.results(run_id) == ["DONE-b", "RETRY1-a"]

    await until(is_over, "the second attempt", seconds=10)
    assert await harness.attempts("RETRY1-a") == 2


def test_work_in_progress_waits_by_the_monotonic_clock() -> None:
    """A wait requested before the clock was set back keeps its length."""
    clock: Any = TravelClock()
    none: Any = None
    work = Work(none, PipelineConfig(), none, clock, lambda: True, none, none)
    clock.ahead_seconds = HOUR
    work.check_again(clock.now() + timedelta(seconds=30))
    clock.ahead_seconds = 0
    work.check_again(clock.now() + timedelta(seconds=60))
    assert work.due_in_seconds is not None
    assert 29 < work.due_in_seconds <= 30


async def test_a_dead_worker_is_taken_over(harness: Harness, timer: Timer) -> None:
    """A heartbeat an hour in the future keeps no dead worker alive."""
    run_id = await harness.start({METRICS: ["DONE-a"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    dead = await harness.one("INSERT INTO workers (host, pid) VALUES ('gone', 1) RETURNING id")
    assert await harness.claim(chunk_id, dead) is not None
    await timer.tick()
    await harness.query(
        "UPDATE workers SET heartbeat_at = now() + interval '1 hour' WHERE id = :id", id=dead
    )
    await due_again(harness.database)

    async def is_ready() -> bool:
        await timer.tick()
        return bool((await harness.chunk(chunk_id))["status"] == "ready")

    await until(is_ready, "the take-over", seconds=10)


async def test_a_jobs_lease_ends(db: Database) -> None:
    """A dead worker's job and a waiting job are due after their own delays."""
    manager = JobQueueManager(db)
    await query(
        db,
        "INSERT INTO queued_jobs (job_type, payload, priority, max_retries, status, not_before,"
        " next_check_at, delay_seconds) VALUES ('x', '{}', 0, 1, 'running', now(),"
        " now() + interval '61 minutes', 0), ('x', '{}', 0, 1, 'waiting',"
        " now() + interval '61 minutes', now() + interval '61 minutes', 0)",
    )
    assert await correct(db) == {}
    await due_again(db)
    assert await correct(db) == {"queued_jobs": 2}
    await manager.sweep()
    rows = await query(db, "SELECT status, deaths, not_before <= now() AS may FROM queued_jobs")
    assert sorted((row.status, row.deaths, row.may) for row in rows) == [
        ("waiting", 0, True),
        ("waiting", 1, True),
    ]


SUSPENDED = 72 * HOUR


@pytest.mark.parametrize("timer_first", [False, True])
async def test_time_without_workers_does_not_count(
    harness: Harness, timer: Timer, timer_first: bool
) -> None:
    """After three days without workers a lane has its remaining time, whoever checks first."""
    run_id = await harness.start({METRICS: ["DONE-a"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    await timer.tick()
    (before,) = await harness.column("SELECT deadline_at FROM pipeline_phase_status")
    await set_clock_back(harness.database, -SUSPENDED)
    if timer_first:
        await timer.tick()
    assert await harness.orchestrator.advance_and_plan(run_id) == "running"
    (deadline,) = await harness.column("SELECT deadline_at FROM pipeline_phase_status")
    assert abs((deadline - before).total_seconds()) < 30
    await harness.worker.work(chunk_id)
    assert await harness.orchestrator.advance_and_plan(run_id) == "completed"


@pytest.mark.parametrize(("gap", "status"), [(50, "failed"), (70, "running")])
async def test_time_with_a_worker_counts(
    harness: Harness, timer: Timer, gap: int, status: str
) -> None:
    """A lane's deadline that passes while a worker lives ends it; gaps under a minute count."""
    run_id = await harness.start({METRICS: ["DONE-a"]}, lanes=[METRICS])
    await harness.plan(run_id)
    await timer.tick()
    await harness.query(
        "UPDATE pipeline_phase_status SET deadline_at = now() - interval '1 second'"
    )
    await harness.query(
        "UPDATE housekeeping SET looked_at = now() - make_interval(secs => :gap)", gap=gap
    )
    assert await harness.orchestrator.advance_and_plan(run_id) == status


async def test_a_deadline_is_no_later_than_its_rule(harness: Harness) -> None:
    """A clock set back gives a lane no extra hour."""
    run_id = await harness.start({METRICS: ["DONE-a"]}, lanes=[METRICS])
    await harness.plan(run_id)
    await set_clock_back(harness.database, HOUR)
    await harness.orchestrator.advance_and_plan(run_id)
    (left,) = await harness.column(
        "SELECT extract(epoch FROM deadline_at - now())::float FROM pipeline_phase_status"
    )
    assert left <= PipelineConfig().lane_deadline_hours * HOUR


async def a_batch(harness: Harness) -> tuple[BatchSession, Work]:
    """A batch whose create is about to be sent."""
    run_id = await harness.start({METRICS: ["a"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    async with harness.database.transaction() as conn:
        worker_id = await workers.register(conn, "here", 1)
    chunk = await harness.claim(chunk_id, worker_id)
    assert chunk is not None
    async with harness.database.transaction() as conn:
        batch = await batches.intend(
            conn,
            chunk,
            provider="scaleserp",
            name="b",
            secret_path="s",
            generation=0,
            stage=RepairStage.FIRST,
            priority=BatchPriority.NORMAL,
            items=["a"],
        )
    work = work_on(chunk, harness.database, harness.clock)
    tools: Any = SimpleNamespace(batch_call_seconds=60.0)
    return BatchSession(tools, work, batch, resumed=True), work


async def test_a_call_of_the_future_may_take_effect_for_its_time_only(harness: Harness) -> None:
    """A create sent an hour in the future counts as sent now, and is not forgotten."""
    session, work = await a_batch(harness)
    await session.note(sent_at=harness.clock.now() + timedelta(seconds=HOUR))
    assert session.is_in_doubt()
    assert work.due_in_seconds is not None
    assert 70 < work.due_in_seconds <= 73
    await correct(harness.database)
    await due_again(harness.database)
    assert await correct(harness.database) == {"provider_batches": 1}
    (sent_at,) = await harness.column("SELECT sent_at FROM provider_batches")
    assert abs((sent_at - harness.clock.now()).total_seconds()) < 10


async def test_a_call_after_the_clock_was_set_back_is_seen(harness: Harness) -> None:
    """A create sent by the new time is in doubt for its period, and no longer."""
    harness.clock.ahead_seconds = HOUR
    session, _ = await a_batch(harness)
    harness.clock.ahead_seconds = 0
    await session.note(sent_at=harness.clock.now())
    assert session.is_in_doubt()
    harness.clock.ahead_seconds = 74
    assert not session.is_in_doubt()


async def test_a_batch_does_not_age_without_workers(harness: Harness, timer: Timer) -> None:
    """Three days without workers do not count towards a running batch's time."""
    now = harness.clock.now()
    session, _ = await a_batch(harness)
    await harness.query(
        "UPDATE provider_batches SET status = :running, started_at = :now",
        running=str(BatchStatus.RUNNING),
        now=now,
    )
    await timer.tick()
    await set_clock_back(harness.database, -SUSPENDED)
    await timer.tick()
    (started,) = await harness.column("SELECT started_at FROM provider_batches")
    assert abs((started - now).total_seconds()) < 30
    assert session.row.started_at is None
