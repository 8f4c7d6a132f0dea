"""Facts about results that expire: a run is deleted as a whole, once nothing names it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from harness.every_table import contents, fill_run
from harness.tables import RESULT_TABLES
from tests.integration.test_prune import NOW, OLD, YOUNG, a_run, column, rows

from serpline.config.run import PipelineConfig
from serpline.core.clock import SystemClock
from serpline.core.ids import new_id
from serpline.domain.errors import UserError
from serpline.domain.states import RunStatus
from serpline.pipeline.service import PipelineService
from serpline.store.database import Database
from serpline.store.maintenance.passes import prune
from serpline.store.maintenance.retention import OF_RUN, Retention
from serpline.store.results import reports
from serpline.store.runs import runs as run_rows
from serpline.store.tables import metadata, results
from serpline.store.tables.runs import run_keywords

SCORES = results.dsi_scores
DAYS = Retention(results_days=365)
BY_AGE = {"raw_replies", "provider_calls", "item_retries", "pipeline_events", "webhook_inbox"}

# The one row of a search's results, twice more.
_MORE_RESULTS = (
    "INSERT INTO serp_results SELECT (jsonb_populate_record(r, jsonb_build_object('rank', n))).*"
    " FROM serp_results r, generate_series(100, 101) AS n WHERE run_id = :run"
)


async def scored(
    database: Database, run_id: UUID, content_type: str, named: Mapping[str, UUID | None]
) -> None:
    """A run's figures for each market, which name these runs."""
    async with database.transaction() as conn:
        for market, source in named.items():
            for company in ("a", "b", "c"):
                await fill_run(
                    conn,
                    run_id,
                    [results.dsi_scores],
                    content_type=content_type,
                    market=market,
                    company=company,
                    sources=[{"run_id": str(source or new_id())}],
                )


async def whole_run(
    database: Database, status: RunStatus = RunStatus.COMPLETED, days: int = 500
) -> UUID:
    """A run with rows in every table, created and ended some days ago."""
    at = NOW - timedelta(days=days)
    run_id = await a_run(database, status, at if status is RunStatus.COMPLETED else None)
    async with database.transaction() as conn:
        await fill_run(conn, run_id, [run_keywords, *(t for t in RESULT_TABLES if t is not SCORES)])
    await rows(database, _MORE_RESULTS, run=run_id)
    await rows(
        database,
        "INSERT INTO provider_budgets (provider, scope, spent)"
        " VALUES ('pdl', 'run:' || CAST(:run AS text), 3)",
        run=run_id,
    )
    await scored(database, run_id, "news", {"us": run_id})
    await rows(
        database,
        "UPDATE pipeline_executions SET created_at = :at WHERE id = :run",
        at=at,
        run=run_id,
    )
    return run_id


async def left(database: Database) -> set[UUID]:
    return set(await column(database, "SELECT id FROM pipeline_executions"))


async def test_a_run_is_deleted_as_a_whole(db: Database) -> None:
    """All rows of an expired run are deleted, as counted before."""
    await whole_run(db)
    young = await whole_run(db, days=300)
    said = await prune(db, DAYS, now=NOW, dry_run=True)
    async with db.transaction() as conn:
        before = await contents(conn)
    gone = await prune(db, DAYS, now=NOW, rows_max=2)
    async with db.transaction() as conn:
        after = await contents(conn)
    assert gone == said
    told = after["pipeline_events"].pop()
    assert told["event_type"] == "prune.finished"
    assert told["detail"] == {"rows": {k: n for k, n in gone.items() if n}, "by_hand": True}
    assert {table for table, count in gone.items() if count} == {
        *OF_RUN,
        *BY_AGE,
        "circuit_breakers",
    }
    for table in set(metadata.tables) - {"housekeeping"}:
        assert len(before[table]) - len(after[table]) == gone.get(table, 0), table
    assert await left(db) == {young}
    assert len(after["serp_results"]) == 3
    assert sum((await prune(db, DAYS, now=NOW)).values()) == 0


async def test_results_stay_without_days(db: Database) -> None:
    """Without configured days, no result is deleted, whatever its age."""
    run_id = await whole_run(db, days=2_000)
    gone = await prune(db, Retention(), now=NOW)
    assert {table for table in OF_RUN if gone[table]} == {"items"}
    assert await left(db) == {run_id}


@pytest.mark.parametrize("status", [RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED])
async def test_no_run_that_has_not_ended(db: Database, status: RunStatus) -> None:
    """An unended run stays, and so do the runs that it may read, for a day."""
    lives = await whole_run(db, status, days=900)
    ended = await whole_run(db)
    gone = await prune(db, DAYS, now=NOW)
    assert gone["serps"] == 0
    async with db.transaction() as conn:
        assert await run_rows.get(conn, ended) is None
        assert await run_rows.get(conn, lives) is not None
    await rows(db, "UPDATE pipeline_executions SET expired_at = expired_at - interval '23 hours'")
    assert (await prune(db, DAYS, now=NOW))["serps"] == 0
    await rows(db, "UPDATE pipeline_executions SET expired_at = expired_at - interval '1 hour'")
    assert (await prune(db, DAYS, now=NOW))["serps"] == 1
    assert await left(db) == {lives}


async def test_a_source_of_another_run(db: Database) -> None:
    """A run stays while another run reads its results."""
    source, reader = await whole_run(db), await whole_run(db, days=400)
    await rows(
        db,
        "UPDATE pipeline_phase_status SET source_run_id = :source"
        " WHERE pipeline_execution_id = :run",
        source=source,
        run=reader,
    )
    assert (await prune(db, Retention(results_days=450), now=NOW))["serps"] == 0
    assert await left(db) == {source, reader}
    assert (await prune(db, DAYS, now=NOW))["serps"] == 1
    assert await left(db) == {source}
    assert (await prune(db, DAYS, now=NOW))["serps"] == 1
    assert await left(db) == set()


@pytest.mark.parametrize("market", ["us", "de", "za"])
async def test_a_run_that_a_combined_figure_names(db: Database, market: str) -> None:
    """A run stays while a combined figure names it, in any market."""
    source, combined = await whole_run(db), await whole_run(db, days=400)
    await whole_run(db, days=501)
    named: dict[str, UUID | None] = dict.fromkeys(("us", "de", "za"))
    await scored(db, combined, "all", {**named, market: source})
    await prune(db, Retention(results_days=450), now=NOW)
    assert await left(db) == {source, combined}
    await prune(db, DAYS, now=NOW)
    assert await left(db) == {source}
    await prune(db, DAYS, now=NOW)
    assert await left(db) == set()


async def test_named_while_it_expires(db: Database) -> None:
    """An expired run is restored if a figure in progress then comes to name it."""
    source = await whole_run(db)
    lives = await whole_run(db, RunStatus.RUNNING, days=400)
    await prune(db, DAYS, now=NOW)
    await scored(db, lives, "all", {"us": source})
    await rows(db, "UPDATE pipeline_executions SET status = 'completed' WHERE id = :r", r=lives)
    assert (await prune(db, DAYS, now=NOW))["serps"] == 0
    async with db.transaction() as conn:
        assert await run_rows.get(conn, source) is not None


async def test_an_expired_run_is_hidden(db: Database) -> None:
    """An expired run is not listed, cannot be retried, and is no run's source."""
    run_id = await whole_run(db)
    other = await whole_run(db, days=900)
    await rows(db, "UPDATE pipeline_executions SET expired_at = now() WHERE id = :r", r=run_id)
    service = PipelineService(db, SystemClock())
    async with db.transaction() as conn:
        assert [run.id for run in await run_rows.recent(conn, 10)] == [other]
        assert await reports.latest_run(conn) == other
        assert await reports.latest_run(conn, scored=True) == other
        assert await reports.runs_starting_with(conn, str(run_id)) == []
    with pytest.raises(UserError, match="there is no such run"):
        await service.retry(run_id)
    with pytest.raises(UserError, match="there is no such run"):
        await service.start(
            PipelineConfig(phases=("dsi_calculation",), inputs_from=run_id)  # type: ignore[arg-type]
        )


async def test_a_run_that_takes_it_as_its_source_comes_first(db: Database) -> None:
    """A run does not expire while a new run that reads it is being created."""
    run_id = await whole_run(db)
    async with db.transaction() as conn:
        assert await run_rows.lock(conn, run_id) is not None
        assert sum((await prune(db, DAYS, now=NOW)).values()) == 0
    assert await column(db, "SELECT expired_at FROM pipeline_executions") == [None]


async def test_an_interrupted_deletion_continues(db: Database) -> None:
    """The next pass continues a deletion that was interrupted."""
    await whole_run(db)
    seen = 0

    def stop(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal seen
        seen += statement.startswith("DELETE FROM serp_results")
        if seen == 2:
            raise RuntimeError("cut off")

    engine = db._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", stop)
    with pytest.raises(RuntimeError, match="cut off"):
        await prune(db, DAYS, now=NOW, rows_max=2)
    sa.event.remove(engine, "before_cursor_execute", stop)
    assert await column(db, "SELECT count(*) FROM serp_results") == [1]
    assert (await prune(db, DAYS, now=NOW))["serp_results"] == 1
    assert await left(db) == set()


@pytest.mark.parametrize("ended", [OLD, YOUNG])
async def test_calls_of_this_month_stay(db: Database, ended: Any) -> None:
    """Calls that a month's budget counts stay, whatever the days."""
    with pytest.raises(UserError, match=r"calls_days=32: must be at least 33"):
        Retention(calls_days=32, raw_replies_days=1)
    await a_run(db, RunStatus.COMPLETED, ended)
    await rows(db, "UPDATE provider_calls SET finished_at = :at", at=NOW - timedelta(days=33))
    kept = Retention(calls_days=33, raw_replies_days=1)
    assert (await prune(db, kept, now=NOW))["provider_calls"] == 0
    later = NOW + timedelta(seconds=1)
    assert (await prune(db, kept, now=later))["provider_calls"] == 1


async def test_runs_expire_some_at_a_time(db: Database) -> None:
    """A transaction checks at most twenty runs for names."""
    await rows(
        db,
        "INSERT INTO pipeline_executions (id, status, mode, config, created_at, completed_at)"
        " SELECT gen_random_uuid(), 'completed', 'manual', '{}', :old, :old"
        " FROM generate_series(1, 25)",
        old=OLD,
    )
    expired = []

    def note(_c: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "SET expired_at = now()" in statement:
            expired.append(cursor.rowcount)

    engine = db._engine.sync_engine
    sa.event.listen(engine, "after_cursor_execute", note)
    gone = await prune(db, DAYS, now=NOW)
    sa.event.remove(engine, "after_cursor_execute", note)
    assert expired == [20, 5]
    assert gone["pipeline_executions"] == 25
