"""Automatic retention: one pass shared by all workers, whatever happens to them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness.commands import run_command
from harness.every_table import contents
from harness.scripted_workers import QUICK, ScriptedWorkers, scripted_workers
from harness.waiting import until
from tests.integration.test_prune import OLD, YOUNG, a_run, column, rows

from serpline.app.worker import run_worker
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.domain.errors import UserError
from serpline.domain.states import RunStatus
from serpline.pipeline.pruner import Pruner
from serpline.store.database import Database
from serpline.store.maintenance.passes import STEPS, Pass, last_passes
from serpline.store.maintenance.retention import Retention

HOUR = 3600.0
EVENTS = 2_500


async def fill(database: Database, runs: int = 3) -> None:
    """Add old rows of ended runs, of no run and of an active one, and young rows."""
    for _ in range(runs):
        await a_run(database, RunStatus.COMPLETED)
    await a_run(database, RunStatus.RUNNING, None)
    for at, count in ((OLD, EVENTS), (YOUNG, 7)):
        await rows(
            database,
            "INSERT INTO pipeline_events (occurred_at, event_type)"
            " SELECT :at, 'x' FROM generate_series(1, CAST(:count AS int))",
            at=at,
            count=count,
        )


async def sizes(database: Database) -> dict[str, int]:
    async with database.transaction() as conn:
        return {table: len(found) for table, found in (await contents(conn)).items()}


async def last(database: Database) -> Pass | None:
    async with database.transaction() as conn:
        return (await last_passes(conn))["automatic"]


async def told(database: Database) -> list[dict[str, Any]]:
    return await column(
        database, "SELECT detail FROM pipeline_events WHERE event_type = 'prune.finished'"
    )


def deleted_rows(before: dict[str, int], after: dict[str, int], events: int = 1) -> dict[str, int]:
    """Rows deleted since, by table; ``events`` is the number of new events."""
    after = {**after, "pipeline_events": after["pipeline_events"] - events}
    return {
        table: before[table] - left
        for table, left in after.items()
        if before[table] != left and table != "housekeeping"
    }


async def test_two_workers_make_one_pass(db: Database) -> None:
    """Two workers woken together share one pass, and it counts every row once."""
    await fill(db)
    before = await sizes(db)
    pruners = [
        Pruner(db, SystemClock(), Retention(), HOUR, rows_max=50, items_max=4) for _ in range(2)
    ]
    for pruner in pruners:
        await pruner.register()

    async def ended() -> bool:
        await asyncio.gather(*(pruner.run() for pruner in pruners))
        done = await last(db)
        return done is not None and done.finished_at is not None

    await until(ended, "the end of the pass")
    gone = deleted_rows(before, await sizes(db))
    assert gone["pipeline_events"] == EVENTS + 3
    assert gone["items"] == 18
    (detail,) = await told(db)
    assert detail["rows"] == gone
    done = await last(db)
    assert done is not None
    assert done.rows == gone
    assert done.errors == {}


async def test_a_pass_begins_when_it_is_due(db: Database) -> None:
    """After a pass the next one waits for its time; an earlier wake-up does nothing."""
    await fill(db)
    pruner = Pruner(db, SystemClock(), Retention(), HOUR)
    await pruner.register()
    await pruner.run()
    await a_run(db, RunStatus.COMPLETED)
    await pruner.run()
    assert len(await told(db)) == 1
    assert (await sizes(db))["items"] == 12
    (wait,) = await column(
        db, "SELECT extract(epoch FROM next_check_at - now())::float FROM housekeeping"
    )
    assert HOUR - 60 < wait <= HOUR
    # An hour later, and after the clock was set back by a day.
    for began in ("now() - interval '1 hour'", "now() + interval '1 day'"):
        await rows(
            db,
            "UPDATE housekeeping SET state = jsonb_set(state, '{started_at}',"
            f" to_jsonb(CAST({began} AS text)))",
        )
        await pruner.run()
    assert len(await told(db)) == 3
    assert (await sizes(db))["items"] == 6


async def test_by_hand_only(db: Database) -> None:
    """With automatic pruning off, no worker starts a pass and no time is set."""
    await fill(db)
    before = await sizes(db)
    by_hand = Pruner(db, SystemClock(), Retention(), 0)
    await by_hand.register()
    await by_hand.run()
    assert await column(db, "SELECT task FROM housekeeping") == []
    await Pruner(db, SystemClock(), Retention(), HOUR).register()
    await by_hand.run()
    assert await column(db, "SELECT next_check_at FROM housekeeping") == [None]
    assert deleted_rows(before, await sizes(db), events=0) == {}


async def test_a_step_that_raises_is_skipped(db: Database) -> None:
    """It is reported with its reason and does not stop the other steps."""
    await fill(db)
    await rows(
        db,
        "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE 'the reason'; END $$",
    )
    await rows(
        db,
        "CREATE TRIGGER trouble BEFORE DELETE ON item_retries FOR EACH STATEMENT"
        " EXECUTE FUNCTION trouble()",
    )
    before = await sizes(db)
    pruner = Pruner(db, SystemClock(), Retention(), HOUR)
    await pruner.register()
    await pruner.run()
    done = await last(db)
    assert done is not None
    assert done.finished_at is not None
    assert "the reason" in done.errors["item_retries"]
    assert list(done.errors) == ["item_retries"]
    gone = deleted_rows(before, await sizes(db))
    assert done.rows == gone
    assert {"items", "pipeline_events", "raw_replies"} < set(gone)


async def test_reference_data_is_kept_for_the_longest_ttl(db: Database) -> None:
    """A pass keeps reference data for the longest TTL of any run, and is not refused."""
    await a_run(db, RunStatus.COMPLETED, reference_ttl_days=500)
    for key, days in (("kept", 450), ("gone", 550)):
        await rows(
            db,
            "INSERT INTO reference_data (kind, key, fetched_at)"
            " VALUES ('k', :key, now() - make_interval(days => CAST(:days AS int)))",
            key=key,
            days=days,
        )
    pruner = Pruner(db, SystemClock(), Retention(reference_days=30), HOUR)
    await pruner.register()
    await pruner.run()
    assert await column(db, "SELECT key FROM reference_data") == ["kept"]


class SlowClock(SystemClock):
    """A clock that advances one second with each reading."""

    seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


async def test_a_wakeup_frees_its_slot(db: Database) -> None:
    """After ten seconds, half of them at rest, the worker is free; it continues soon."""
    await fill(db)
    pruner = Pruner(db, SlowClock(), Retention(), HOUR, rows_max=10, items_max=1)
    await pruner.register()
    assert await column(db, "SELECT delay_seconds FROM housekeeping") == [HOUR]
    before = await sizes(db)
    await pruner.run()
    # Each portion takes a second, its rest another, and to see whether there is time a third.
    assert deleted_rows(before, await sizes(db), events=0) == {"items": 9}
    assert await column(db, "SELECT delay_seconds FROM housekeeping") == [5]


@pytest.fixture
async def workers(
    db: Database, database_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedWorkers]:
    async with scripted_workers(db, database_url, tmp_path, **QUICK) as made:
        yield made


async def test_a_worker_killed_in_the_middle(db: Database, workers: ScriptedWorkers) -> None:
    """A worker killed while deleting loses no count, and another finishes its pass."""
    await fill(db)
    before = await sizes(db)
    await rows(db, "CREATE TABLE gate (is_shut bool)")
    await rows(db, "INSERT INTO gate VALUES (true)")
    await rows(
        db,
        "CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " WHILE (SELECT is_shut FROM gate) AND OLD.run_id IS NULL LOOP PERFORM pg_sleep(0.05);"
        " END LOOP; RETURN OLD; END $$",
    )
    await rows(
        db,
        "CREATE TRIGGER wait_here BEFORE DELETE ON pipeline_events FOR EACH ROW"
        " WHEN (OLD.id % 1500 = 0) EXECUTE FUNCTION wait_here()",
    )
    await rows(db, "INSERT INTO housekeeping (task, next_check_at) VALUES ('prune', now())")
    first = await workers.start()

    async def waits() -> bool:
        found = await column(
            db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        )
        return bool(found[0])

    await until(waits, "the first worker in the middle of its pass")
    first.kill()
    await first.wait()
    under_way = await last(db)
    assert under_way is not None
    assert under_way.finished_at is None
    # One of the first 1,000 events belongs to a running run; the second thousand was in progress.
    assert under_way.rows["pipeline_events"] == 999
    await rows(db, "UPDATE gate SET is_shut = false")
    await workers.start()

    async def ended() -> bool:
        done = await last(db)
        return done is not None and done.finished_at is not None

    await until(ended, "the end of the pass by another worker")
    (detail,) = await told(db)
    after = await sizes(db)
    gone = {table: n for table, n in deleted_rows(before, after).items() if table in detail["rows"]}
    assert detail["rows"] == gone
    assert gone["pipeline_events"] == EVENTS + 3
    assert workers.pool.logs().count("action=prune.finished") == 1


async def test_a_worker_refuses_invalid_days(database_url: str, tmp_path: Path) -> None:
    """It does not start, and names the setting."""
    settings = load(
        database_url=database_url, data_dir=tmp_path, retention_days={"results": 365, "call": 5}
    )
    with pytest.raises(
        UserError, match="SERPLINE_RETENTION_DAYS: unknown 'call'; did you mean calls"
    ):
        await run_worker(settings, asyncio.Event())
    settings = load(database_url=database_url, data_dir=tmp_path, retention_days={"items": 0})
    with pytest.raises(UserError, match="SERPLINE_RETENTION_DAYS: items_days=0: must be 1 to"):
        await run_worker(settings, asyncio.Event())


def test_the_last_passes_are_shown(database_url: str) -> None:
    """``prune --show`` lists the last passes and when the next one is due."""
    settings = {"SERPLINE_DATABASE_URL": database_url, "SERPLINE_RETENTION_DAYS": '{"items": 60}'}
    shown = json.loads(run_command("prune", "--show", "--json", **settings).stdout)
    assert shown["passes"] == {"automatic": None, "by hand": None}
    assert (shown["every_hours"], shown["days"]["items_days"]) == (24.0, 60)
    assert shown["days"]["results_days"] is None

    async def make() -> None:
        database = await Database.connect(database_url)
        try:
            await fill(database, runs=1)
            pruner = Pruner(database, SystemClock(), Retention(), HOUR)
            await pruner.register()
            await pruner.run()
            await a_run(database, RunStatus.COMPLETED)
        finally:
            await database.close()

    asyncio.run(make())
    assert run_command("prune", "--json", **settings).returncode == 0
    passes = json.loads(run_command("prune", "--show", "--json", **settings).stdout)["passes"]
    assert passes["automatic"]["rows"]["pipeline_events"] == EVENTS + 1
    assert passes["automatic"]["finished_at"] >= passes["automatic"]["started_at"]
    assert passes["automatic"]["next_at"] > passes["automatic"]["finished_at"]
    assert passes["by hand"]["rows"]["items"] == 6
    table = run_command("prune", "--show", **settings).stdout.decode()
    assert "pipeline_events 2,501" in table
    assert len(STEPS) == 19
