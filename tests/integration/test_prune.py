"""Facts about retention: expired data is deleted, except that of unended runs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from harness.commands import run_command
from harness.every_table import contents
from harness.inline import METRICS, Harness, open_harness

from serpline.cli import root
from serpline.core.ids import new_id
from serpline.domain.errors import UserError
from serpline.domain.states import ENDED_RUNS, RunStatus
from serpline.store.calls.reference import claim_missing
from serpline.store.database import Database
from serpline.store.maintenance import prune as pruning
from serpline.store.maintenance.passes import PRUNED_TABLES, prune
from serpline.store.maintenance.prune import pruned_lanes
from serpline.store.maintenance.retention import DAYS_MAX, KEPT, OF_RUN, RULES, Retention, Rule
from serpline.store.runs import runs as run_rows
from serpline.store.tables import metadata

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
OLD = NOW - timedelta(days=2_000)
YOUNG = NOW - timedelta(days=1)
DOCUMENT = Path(__file__).parents[2] / "docs" / "retention.md"


async def rows(database: Database, statement: str, **values: Any) -> list[dict[str, Any]]:
    async with database.transaction() as conn:
        found = await conn.execute(sa.text(statement), values)
        return [dict(row) for row in found.mappings()] if found.returns_rows else []


async def column(database: Database, statement: str, **values: Any) -> list[Any]:
    return [value for row in await rows(database, statement, **values) for value in row.values()]


async def a_run(
    database: Database,
    status: RunStatus,
    ended: datetime | None = OLD,
    *,
    items: int = 3,
    **more: Any,
) -> UUID:
    """A run with old rows in every table that is pruned by run."""
    run_id = new_id()
    values = {"run": run_id, "old": OLD, "n": items, "call": new_id(), "batch": str(run_id)}
    given = {"status": status, "ended": ended, "config": json.dumps(more)}
    statements = [
        "INSERT INTO pipeline_executions (id, status, mode, config, created_at, completed_at)"
        " VALUES (:run, :status, 'manual', CAST(:config AS jsonb), :old, :ended)",
        "INSERT INTO pipeline_phase_status (pipeline_execution_id, phase_name, content_type,"
        " source_run_id, status) VALUES (:run, 'keyword_metrics', 'all', :run, 'completed')",
        "INSERT INTO chunks (lane_id, no, run_id, status, planned, completed)"
        " SELECT id, no, :run, 'done', :n, :n FROM pipeline_phase_status,"
        " generate_series(0, 1) AS no WHERE pipeline_execution_id = :run",
        "INSERT INTO items (lane_id, item, chunk_no, status)"
        " SELECT c.lane_id, c.no || '-' || i, c.no, 'completed'"
        " FROM chunks c, generate_series(1, :n) AS i WHERE c.run_id = :run",
        "INSERT INTO item_results (lane_id, item, result)"
        " SELECT i.lane_id, i.item, '{}' FROM items i JOIN pipeline_phase_status l"
        " ON l.id = i.lane_id WHERE l.pipeline_execution_id = :run",
        "INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,"
        " status, attempt, run_id, started_at, finished_at, credits) VALUES (:call,"
        " sha256(CAST(CAST(:call AS text) AS bytea)), 'pdl', 'find', '', 'run', true, 'ok', 1,"
        " :run, :old, :old, 1)",
        "INSERT INTO raw_replies (call_id, http_status, headers, url, body, size_bytes, stored_at)"
        " VALUES (:call, 200, '{}', 'u', 'b', 1, :old)",
        "INSERT INTO pipeline_events (occurred_at, run_id, event_type) VALUES (:old, :run, 'x')",
        "INSERT INTO item_retries (run_id, phase_name, content_type, item, attempt,"
        " error_category, occurred_at) VALUES (:run, 'serp_collection', 'news', 'a', 1, 'server',"
        " :old)",
        "INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path, status,"
        " provider_batch_id, items, stage, priority)"
        " SELECT id, 0, 'scaleserp', :batch, :batch,"
        " 'ingested', :batch, '{}', 'first', 'normal' FROM chunks"
        " WHERE run_id = :run AND no = 0",
        "INSERT INTO webhook_inbox (provider, provider_batch_id, result_set_id, received_at, body)"
        " VALUES ('scaleserp', :batch, 1, :old, '{}')",
        "INSERT INTO circuit_breakers (name, settings, settings_at, changed_at)"
        " VALUES ('scale_serp_api@' || :batch || '/news', '{}', :old, :old)",
    ]
    for statement in statements:
        await rows(database, statement, **values, **given)
    return run_id


BY_RUN = (
    "items",
    "item_retries",
    "raw_replies",
    "provider_calls",
    "pipeline_events",
    "webhook_inbox",
    "circuit_breakers",
)


async def owners(database: Database) -> dict[str, set[UUID]]:
    """The runs that have rows left, by table."""
    queries = {
        "items": "SELECT l.pipeline_execution_id FROM items i"
        " JOIN pipeline_phase_status l ON l.id = i.lane_id",
        "raw_replies": "SELECT c.run_id FROM raw_replies r JOIN provider_calls c"
        " ON c.id = r.call_id",
        "item_retries": "SELECT run_id FROM item_retries",
        "provider_calls": "SELECT run_id FROM provider_calls",
        "pipeline_events": "SELECT run_id FROM pipeline_events WHERE event_type = 'x'",
        "webhook_inbox": "SELECT CAST(provider_batch_id AS uuid) FROM webhook_inbox",
        "circuit_breakers": "SELECT CAST(substr(name, 16, 36) AS uuid) FROM circuit_breakers",
    }
    return {table: set(await column(database, sql)) for table, sql in queries.items()}


@pytest.mark.parametrize("status", RunStatus)
async def test_only_runs_that_ended(db: Database, status: RunStatus) -> None:
    """Data of an unended run stays, whatever its age."""
    ended = status in ENDED_RUNS
    run_id = await a_run(db, status, OLD if ended else None)
    gone = await prune(db, Retention(), now=NOW)
    assert {table for table, count in gone.items() if count} == (set(BY_RUN) if ended else set())
    left = set() if ended else {run_id}
    assert await owners(db) == dict.fromkeys(BY_RUN, left)


async def test_results_progress_and_batches_stay(db: Database) -> None:
    """A complete pass leaves runs, lanes, chunks, batches and results unchanged."""
    await a_run(db, RunStatus.COMPLETED)
    async with db.transaction() as conn:
        before = await contents(conn)
    gone = await prune(db, Retention(), now=NOW)
    async with db.transaction() as conn:
        after = await contents(conn)
    assert gone["items"] == 6
    assert before["item_results"]
    for table in set(metadata.tables) - {*BY_RUN, "pipeline_executions", "housekeeping"}:
        assert after[table] == before[table], table
    marks = {"items_pruned_at": None}
    assert [row | marks for row in after["pipeline_executions"]] == before["pipeline_executions"]
    assert [row["event_type"] for row in after.pop("pipeline_events")] == ["prune.finished"]
    assert all(after[table] == [] for table in BY_RUN if table in after)


async def test_days_are_counted_from_the_end(db: Database) -> None:
    """Each kind of data stays until its own days are over."""
    await a_run(db, RunStatus.COMPLETED, OLD)
    days = {field.name: 100 for field in fields(Retention) if field.default is not None}
    for spared in ("items", "retries", "raw_replies", "events", "webhooks", "calls"):
        kept = Retention(**{**days, f"{spared}_days": 3_000, "calls_days": 3_000})
        gone = await prune(db, kept, now=NOW, dry_run=True)
        named = {"events": "pipeline_events", "retries": "item_retries"}
        table = {**named, "webhooks": "webhook_inbox"}.get(spared, spared)
        expected = set(BY_RUN) - {table, "provider_calls"}
        if spared == "items":  # a run's breaker is of use as long as the run may be retried
            expected.remove("circuit_breakers")
        assert {name for name, count in gone.items() if count} == expected
    exactly = Retention(**dict.fromkeys(days, 2_000))
    assert sum((await prune(db, exactly, now=NOW)).values()) == 0
    assert sum((await prune(db, exactly, now=NOW + timedelta(seconds=1))).values()) == 12


async def test_a_dry_run_counts_what_a_prune_deletes(db: Database) -> None:
    """A dry run deletes nothing, and the next prune deletes exactly what it counted."""
    for status in (RunStatus.COMPLETED, RunStatus.RUNNING, RunStatus.FAILED):
        await a_run(db, status, None if status is RunStatus.RUNNING else OLD)
    await without_runs(db)
    async with db.transaction() as conn:
        before = await contents(conn)
    said = await prune(db, Retention(), now=NOW, dry_run=True)
    async with db.transaction() as conn:
        assert await contents(conn) == before
    assert tuple(said) == PRUNED_TABLES
    by_age = {"items", *(rule.table for rule in RULES)}
    assert {table for table, count in said.items() if count} == by_age
    assert await prune(db, Retention(), now=NOW) == said
    assert sum((await prune(db, Retention(), now=NOW)).values()) == 0


async def without_runs(database: Database) -> None:
    """Old and young rows in the tables without a run."""
    await rows(
        database,
        "INSERT INTO notification_destinations (name, url, since_id) VALUES ('d', 'json://h', 0)",
    )
    await rows(
        database, "INSERT INTO schedules (id, version, decided_until) VALUES ('s', 1, now())"
    )
    await rows(
        database,
        "INSERT INTO schedule_versions (schedule_id, version, specs) VALUES ('s', 1, '[]')",
    )
    for number, when in enumerate((OLD, YOUNG)):
        values = {"when": when, "n": number}
        for statement in (
            "INSERT INTO pipeline_events (occurred_at, event_type) VALUES (:when, 'x')",
            "INSERT INTO circuit_breaker_events (breaker_name, event_type, occurred_at,"
            " failure_count, state, previous_state) VALUES ('b', 'x', :when, 0, 'open', 'closed')",
            "INSERT INTO workers (host, pid, started_at, ended_at) VALUES ('h', :n, :when, :when)",
            "INSERT INTO reference_data (kind, key, found, fetched_at)"
            " VALUES ('k', CAST(:n AS text), false,"
            " CAST(:when AS timestamptz) - interval '40 days')",
            "INSERT INTO provider_budgets (provider, scope, spent) VALUES ('pdl',"
            " 'day:' || CAST(CAST(CAST(:when AS timestamptz) AS date) AS text), 1),"
            " ('pdl', 'month:' || to_char(CAST(:when AS timestamptz), 'YYYY-MM'), 1),"
            " ('pdl', 'backfill:' || CAST(extract(year FROM CAST(:when AS timestamptz)) AS text)"
            " || '000', 1)",
            "INSERT INTO dead_letters (job_type, payload, priority, error, attempts, status,"
            " failed_at, settled_at) VALUES ('j', '{}', 0, 'e', 1, 'retried', :when, :when)",
            *(
                _SLOT.format(outcome=outcome, type=kind, run=run)
                for outcome, kind, run in (
                    ("missed", "news", "NULL"),
                    ("due", "organic", "NULL"),
                    ("started", "video", "gen_random_uuid()"),
                )
            ),
            "WITH b AS (INSERT INTO schedule_backfills (schedule_id, kind, slots_from, slots_to,"
            " status, created_at, ended_at) VALUES ('s', 'late', :when, :when, 'completed', :when,"
            " :when) RETURNING id) INSERT INTO schedule_backfill_slots (backfill_id, scheduled_for,"
            " content_type) SELECT id, now(), 'news' FROM b",
            *(
                "INSERT INTO notification_deliveries (id, destination, kind, incident, is_open,"
                " occurred_at, created_at, note, state, settled_at) VALUES (gen_random_uuid(), 'd',"
                f" 'k', 'i', false, :when, :when, '{{}}', '{state}', {settled})"
                for state, settled in (("sent", ":when"), ("pending", "NULL"))
            ),
            "INSERT INTO schedule_proposals (schedule_id, content_type, kind, change, evidence,"
            " status, made_at, decided_at) VALUES ('s', 'news', 'spread', '{}', '{}', 'refused',"
            " :when, :when)",
        ):
            names = set(re.findall(r"(?<!:):(\w+)", statement))
            await rows(database, statement, **{name: values[name] for name in names})


# A slot whose run is unknown here and has not been followed to its end stays, as a due one does.
_SLOT = (
    "INSERT INTO schedule_slots (schedule_id, scheduled_for, content_type, version, outcome,"
    " reason_code, reason, run_group, overlap, start_at, decided_at, run_id) VALUES ('s', :when,"
    " '{type}', 1, '{outcome}', 'x', 'x', '', 'skip', :when, :when, {run})"
)


async def test_tables_without_a_run(db: Database) -> None:
    """Events, letters, workers and reference data are deleted by age alone."""
    await without_runs(db)
    gone = await prune(db, Retention(), now=NOW)
    assert {table: count for table, count in gone.items() if count} == {
        "pipeline_events": 1,
        "provider_budgets": 4,
        "circuit_breaker_events": 1,
        "workers": 1,
        "reference_data": 1,
        "dead_letters": 1,
        "schedule_slots": 1,
        "schedule_backfill_slots": 1,
        "schedule_backfills": 1,
        "schedule_proposals": 1,
        "notification_deliveries": 1,
    }
    assert await column(db, "SELECT key FROM reference_data") == ["1"]
    assert await column(db, "SELECT pid FROM workers") == [1]


async def test_data_that_is_in_use_stays(db: Database) -> None:
    """An unsettled dead letter, a running worker and a call in flight stay for ever."""
    await rows(
        db,
        "INSERT INTO dead_letters (job_type, payload, priority, error, attempts, failed_at)"
        " VALUES ('j', '{}', 0, 'e', 1, :old)",
        old=OLD,
    )
    await rows(db, "INSERT INTO workers (host, pid, heartbeat_at) VALUES ('h', 1, :old)", old=OLD)
    await rows(
        db,
        "INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,"
        " status, attempt, started_at) VALUES (:id, sha256('k'), 'pdl', 'find', '', 'f', true,"
        " 'intent', 1, :old)",
        id=new_id(),
        old=OLD,
    )
    assert sum((await prune(db, Retention(), now=NOW)).values()) == 0


async def test_reference_data_in_use(db: Database) -> None:
    """An answer that is fresh for a run in progress stays, and so does a live chunk's claim."""
    run_id = await a_run(db, RunStatus.RUNNING, None, reference_ttl_days=10)
    (worker,) = await column(db, "INSERT INTO workers (host, pid) VALUES ('h', 1) RETURNING id")
    (chunk,) = await column(
        db,
        "UPDATE chunks SET status = 'owned', owner = :worker, epoch = 4 WHERE run_id = :run"
        " AND no = 0 RETURNING id",
        worker=worker,
        run=run_id,
    )
    for key, days, epoch in (
        ("fresh to the run", 9, None),
        ("stale", 11, None),
        ("being renewed", 11, 4),
        ("was being renewed", 11, 3),
    ):
        await rows(
            db,
            "INSERT INTO reference_data (kind, key, found, fetched_at, claimed_chunk,"
            " claimed_epoch) VALUES ('k', :key, true, :at, :chunk, :epoch)",
            key=key,
            at=OLD - timedelta(days=days),
            chunk=None if epoch is None else chunk,
            epoch=epoch,
        )
    async with db.transaction() as conn:
        await claim_missing(conn, "k", ["being bought"], NOW, chunk, 4)
        await claim_missing(conn, "k", ["was being bought"], NOW, chunk, 3)
    gone = await prune(db, Retention(), now=NOW)
    assert gone["reference_data"] == 3
    left = await column(db, "SELECT key FROM reference_data ORDER BY key")
    assert left == ["being bought", "being renewed", "fresh to the run"]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_reference_data_that_the_next_run_counts_on(db: Database, dry_run: bool) -> None:
    """Fewer days than any run's TTL, even an ended one's, are refused before any deletion."""
    await a_run(db, RunStatus.COMPLETED, reference_ttl_days=60)
    await a_run(db, RunStatus.COMPLETED, reference_ttl_days=7)
    with pytest.raises(UserError, match=r"reference_days=59: .* reference_ttl_days \(60\)"):
        await prune(db, Retention(reference_days=59), now=NOW, dry_run=dry_run)
    assert await column(db, "SELECT count(*) FROM items") == [12]
    gone = await prune(db, Retention(reference_days=60), now=NOW, dry_run=dry_run)
    assert gone["items"] == 12


@pytest.fixture
def transactions(db: Database) -> AsyncIterator[list[int]]:
    """The rows that each DELETE deleted, in order."""
    deleted: list[int] = []

    def note(_c: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE"):
            deleted.append(cursor.rowcount)

    sa.event.listen(db._engine.sync_engine, "after_cursor_execute", note)
    yield deleted
    sa.event.remove(db._engine.sync_engine, "after_cursor_execute", note)


async def test_bounded_batches(db: Database, transactions: list[int]) -> None:
    """No transaction exceeds its limit, and together they delete everything."""
    for _ in range(3):
        await a_run(db, RunStatus.COMPLETED, items=40)
    await rows(
        db,
        "INSERT INTO pipeline_events (occurred_at, event_type, detail)"
        " SELECT :old, 'x', jsonb_build_object('n', repeat('x', 500))"
        " FROM generate_series(1, 500)",
        old=OLD,
    )
    gone = await prune(db, Retention(), now=NOW, rows_max=20, items_max=50)
    assert (gone["items"], gone["pipeline_events"]) == (240, 503)
    assert await owners(db) == {table: set() for table in BY_RUN}
    # A chunk of 40 items is never split, and two of them would be too many.
    assert max(transactions) == 40
    assert sorted(transactions)[-7:-6] == [20]
    assert sum(transactions) == 240 + 503 + 5 * 3


@pytest.mark.parametrize(("planned", "batches"), [(4_000, [6]), (6_000, [3, 3])])
async def test_ten_thousand_items_at_once(
    db: Database, transactions: list[int], planned: int, batches: list[int]
) -> None:
    """A portion deletes whole chunks, up to ten thousand items."""
    await a_run(db, RunStatus.COMPLETED)
    await rows(db, "UPDATE chunks SET planned = :planned", planned=planned)
    await prune(db, Retention(), now=NOW)
    assert [count for count in transactions if count > 1] == batches


async def test_stopped_and_run_again(db: Database) -> None:
    """A prune stopped half-way loses nothing, and the next one completes it."""
    for _ in range(4):
        await a_run(db, RunStatus.COMPLETED)
    seen = 0

    def stop(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal seen
        seen += statement.startswith("DELETE FROM items")
        if seen == 3:
            raise asyncio.CancelledError

    engine = db._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", stop)
    with pytest.raises(asyncio.CancelledError):
        await prune(db, Retention(), now=NOW, items_max=1)
    sa.event.remove(engine, "before_cursor_execute", stop)
    assert await column(db, "SELECT count(*) FROM items") == [4 * 6 - 2 * 3]
    again = await prune(db, Retention(), now=NOW, items_max=1)
    assert again["items"] == 18
    assert sum((await prune(db, Retention(), now=NOW)).values()) == 0


async def test_a_retry_at_the_same_moment(db: Database) -> None:
    """A run that is being retried keeps its data, and the prune does not wait for its commit."""
    run_id = await a_run(db, RunStatus.FAILED)
    other = await a_run(db, RunStatus.FAILED)
    async with db.transaction() as conn:
        assert await run_rows.lock(conn, run_id) is not None
        assert await run_rows.change_run(conn, run_id, "retry", NOW)
        gone = await prune(db, Retention(results_days=100), now=NOW)
    assert gone["items"] == 6
    assert await owners(db) == {table: {run_id} for table in BY_RUN}
    assert sum((await prune(db, Retention(results_days=100), now=NOW)).values()) == 0
    assert await column(db, "SELECT id FROM pipeline_executions") == [run_id]
    assert other not in (await owners(db))["items"]


async def test_a_retried_run_is_pruned_again(db: Database) -> None:
    """Items that a retry added to a pruned run are pruned after their own days."""
    run_id = await a_run(db, RunStatus.FAILED)
    assert (await prune(db, Retention(), now=NOW))["items"] == 6
    async with db.transaction() as conn:
        assert await run_rows.change_run(conn, run_id, "retry", NOW)
        assert await run_rows.change_run(conn, run_id, "complete", NOW)
    await rows(
        db,
        "INSERT INTO items (lane_id, item, chunk_no, status)"
        " SELECT lane_id, 'new-' || no, no, 'completed' FROM chunks WHERE run_id = :run",
        run=run_id,
    )
    assert (await prune(db, Retention(), now=NOW))["items"] == 0
    assert (await prune(db, Retention(), now=NOW + timedelta(days=91)))["items"] == 2


async def test_two_at_once(db: Database) -> None:
    """Two prunes at once delete everything, and no row is counted by both."""
    for _ in range(5):
        await a_run(db, RunStatus.COMPLETED, items=10)
    await without_runs(db)
    said = await prune(db, Retention(), now=NOW, dry_run=True)
    both = await asyncio.gather(
        *(prune(db, Retention(), now=NOW, rows_max=2, items_max=1) for _ in range(2))
    )
    for table, count in said.items():
        assert sum(gone[table] for gone in both) == count, table


async def test_a_conflict_is_repeated(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A portion that PostgreSQL rolled back for another transaction is repeated."""
    await a_run(db, RunStatus.COMPLETED)
    await rows(db, "CREATE SEQUENCE tries")
    await rows(
        db,
        "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('tries') < 3 THEN RAISE SQLSTATE '40P01'; END IF; RETURN OLD; END $$",
    )
    await rows(
        db,
        "CREATE TRIGGER conflict BEFORE DELETE ON items FOR EACH STATEMENT"
        " EXECUTE FUNCTION conflict()",
    )
    assert (await prune(db, Retention(), now=NOW))["items"] == 6
    assert await column(db, "SELECT last_value FROM tries") == [3]


@pytest.mark.parametrize("state", ["57014", "55P03", "58030", "25006", "40P01"])
def test_an_unavailable_database_is_one_line(database_url: str, state: str) -> None:
    """A database that is unavailable gives one line on stderr, without a traceback."""

    async def prepare() -> None:
        database = await Database.connect(database_url)
        try:
            await a_run(database, RunStatus.COMPLETED)
            await rows(
                database,
                "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" RAISE SQLSTATE '{state}' USING MESSAGE = 'the reason'; END $$",
            )
            await rows(
                database,
                "CREATE TRIGGER trouble BEFORE DELETE ON items FOR EACH STATEMENT"
                " EXECUTE FUNCTION trouble()",
            )
        finally:
            await database.close()

    asyncio.run(prepare())
    done = run_command("prune", SERPLINE_DATABASE_URL=database_url)
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n")) == (2, 1), said
    assert said.startswith("serpline: the database is unavailable or busy: the reason")


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


async def test_lanes_with_pruned_items(harness: Harness) -> None:
    """A lane with pruned items is recognised, and is not retried."""
    run_id = await harness.start({METRICS: ["DONE-1", "REJECT-2", "DONE-3"]})
    await harness.drive(run_id)
    database = harness.database
    async with database.transaction() as conn:
        assert await pruned_lanes(conn, run_id) == set()
    later = harness.clock.now() + timedelta(days=91)
    assert (await prune(database, Retention(), now=later))["items"] == 3
    lanes = await harness.lanes(run_id)
    async with database.transaction() as conn:
        assert await pruned_lanes(conn, run_id) == {lanes[METRICS].id}
    assert (lanes[METRICS].planned, lanes[METRICS].failed) == (3, 1)
    with pytest.raises(UserError, match="items of keyword_metrics/all were pruned"):
        await harness.service.retry(run_id, phase=METRICS.phase)
    assert await harness.lanes(run_id) == lanes


_MANY = {
    "raw_replies": "INSERT INTO raw_replies (call_id, http_status, headers, url, body, size_bytes,"
    " stored_at) SELECT id, 200, '{}', 'u', 'b', 1, finished_at FROM provider_calls",
    "provider_calls": "INSERT INTO provider_calls (id, key, provider, operation, identity,"
    " freshness, shared, status, attempt, started_at, finished_at) SELECT gen_random_uuid(),"
    " sha256(CAST(CAST(n AS text) AS bytea)), 'pdl', 'find', '', 'run', true, 'ok', 1, now(),"
    " CAST(:young AS timestamptz) + n * interval '1 second' FROM generate_series(1, 20000) AS n",
    "pipeline_events": "INSERT INTO pipeline_events (event_type, occurred_at) SELECT 'x', :young"
    " FROM generate_series(1, 20000)",
    "item_retries": "INSERT INTO item_retries (run_id, phase_name, content_type, item, attempt,"
    " error_category, occurred_at) SELECT gen_random_uuid(), 'p', 'news', 'a', 1, 'server', :young"
    " FROM generate_series(1, 20000)",
    "reference_data": "INSERT INTO reference_data (kind, key, found, fetched_at)"
    " SELECT 'k', CAST(n AS text), false, CAST(:young AS timestamptz) + n / 100"
    " * interval '1 second' FROM generate_series(1, 20000) AS n",
}


@pytest.mark.parametrize("rule", [each for each in RULES if each.table in _MANY])
async def test_the_younger_part_is_not_read(db: Database, rule: Rule) -> None:
    """Pruning a table of 20,000 young rows reads a few hundred of them."""
    if rule.table == "raw_replies":
        await rows(db, _MANY["provider_calls"], young=YOUNG)
        await rows(db, _MANY["raw_replies"])
    else:
        await rows(db, _MANY[rule.table], young=YOUNG)
    await rows(db, f"ANALYZE {rule.table}")
    for begins in (True, False):
        place = {f"k{n}": _FIRST[kind] for n, (_, kind) in enumerate(rule.key)}
        values = {"cutoff": NOW - timedelta(days=30), "limit": 200, **({} if begins else place)}
        statement = f"EXPLAIN (ANALYZE, FORMAT JSON) {pruning.bounds(rule, begins=begins)}"
        (plan,) = await column(db, statement, **values)
        read = [node["Actual Rows"] for node in nodes(plan[0]["Plan"]) if "Relation Name" in node]
        assert sum(read) <= 1_000, plan


_FIRST = {
    "bigint": "0",
    "timestamptz": "-infinity",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "text": "",
}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        ({"items_days": 0}, "items_days=0: must be 1 to 36500"),
        ({"events_days": DAYS_MAX + 1}, "events_days=36501: must be 1 to 36500"),
        ({"calls_days": 89}, "calls_days=89: must be at least raw_replies_days"),
        ({"reference_days": 29}, r"reference_days=29: must be .* reference_ttl_days \(30\)"),
    ],
)
def test_invalid_days(days: dict[str, int], reason: str) -> None:
    """Invalid days are refused, and so are too few days for data that other data needs."""
    with pytest.raises(UserError, match=reason):
        Retention(**days)


def test_the_document_is_complete() -> None:
    """The document names the rule of every table and the default of every option."""
    text = DOCUMENT.read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `--([a-z-]+)` \| ([^|]+) \|", text, re.MULTILINE))
    defaults = Retention()
    assert listed == {
        each.name.replace("_", "-"): str(getattr(defaults, each.name) or "for ever")
        for each in fields(Retention)
    }
    told = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", text, re.MULTILINE))
    assert told == {table: "; ".join(rules_of(table)) or "stays" for table in metadata.tables}


def rules_of(table: str) -> list[str]:
    """The rules of a table, as in the document."""
    by_age = {"items": "items_days", **{rule.table: rule.days for rule in RULES}}
    days = [f"`--{by_age[table].replace('_', '-')}`"] if table in by_age else []
    return [*days, *(["with its run"] if table in OF_RUN else [])]


def test_every_table_has_a_rule() -> None:
    """Every table is pruned by age or with its run, or is kept."""
    pruned = {"items", *(rule.table for rule in RULES), *OF_RUN}
    assert not pruned & KEPT
    assert pruned | KEPT == set(metadata.tables)
    assert set(PRUNED_TABLES) == pruned


def test_the_command(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """``prune`` prints counts by table, and ``--dry-run`` the same counts first."""
    monkeypatch.setenv("SERPLINE_DATABASE_URL", database_url)
    app = root.app

    async def fill() -> None:
        database = await Database.connect(database_url)
        try:
            await a_run(database, RunStatus.COMPLETED)
        finally:
            await database.close()

    asyncio.run(fill())
    options = ["--items-days", "30", "--calls-days", "100", "--raw-replies-days=100", "--json"]
    app(["prune", "--dry-run", *options], standalone_mode=False)
    said = json.loads(capfd.readouterr().out)
    assert said["dry_run"] is True
    assert said["days"]["items_days"] == 30
    app(["prune", *options], standalone_mode=False)
    out, err = capfd.readouterr()
    assert json.loads(out)["rows"] == said["rows"]
    assert said["rows"]["items"] == 6
    assert "items: 6 rows deleted" in err
    app(["prune"], standalone_mode=False)
    assert "raw_replies" in capfd.readouterr().out
    with pytest.raises(UserError, match="items_days=0"):
        app(["prune", "--items-days", "0"], standalone_mode=False)
