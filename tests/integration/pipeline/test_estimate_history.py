"""Estimates read the project's own runs: which of them, and what of it."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from serpline.config.run import PipelineConfig
from serpline.core.clock import SystemClock
from serpline.domain.keywords import KeywordRow
from serpline.domain.names import ContentType, PhaseName, PipelineMode
from serpline.domain.phases import lanes_of
from serpline.domain.states import LaneStatus
from serpline.pipeline.estimate import Providers, estimate
from serpline.pipeline.service import PipelineService
from serpline.store import projects
from serpline.store.database import Connection, Database
from serpline.store.results import history
from serpline.store.rows import insert_rows
from serpline.store.runs import runs
from serpline.store.tables import metadata

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NEWS = PipelineConfig(content_types=(ContentType.NEWS,))
SERP, ANALYSIS, DSI = (
    PhaseName.SERP_COLLECTION,
    PhaseName.CONTENT_ANALYSIS,
    PhaseName.DSI_CALCULATION,
)


async def _run(
    conn: Connection,
    skipped: Collection[PhaseName] = (),
    mode: PipelineMode = PipelineMode.MANUAL,
) -> UUID:
    """A completed run of ten items in each lane that it did not skip, newer than those before."""
    run_id = uuid4()
    lanes = [
        (key, LaneStatus.SKIPPED if key.phase in skipped else LaneStatus.COMPLETED)
        for key in lanes_of(NEWS.content_types)
    ]
    await runs.create(conn, run_id, mode=mode, config=NEWS.to_json(), lanes=lanes)
    for statement in (
        "UPDATE pipeline_executions SET status = 'completed', created_at = clock_timestamp()"
        " WHERE id = :run",
        "INSERT INTO chunks (lane_id, no, run_id, status, planned, completed) SELECT id, 0, :run,"
        " 'done', 10, 10 FROM pipeline_phase_status WHERE pipeline_execution_id = :run"
        " AND status = 'completed'",
    ):
        await conn.execute(text(statement), {"run": run_id})
    numbers = dict.fromkeys(
        [
            *("keywords_ranked", "keywords_collected", "keywords_planned", "relevance_basis"),
            *("results", "unknown_volume_keywords", "unknown_ai_overview_keywords"),
            *("unanalysed_results", "curve_version"),
        ],
        1,
    )
    figure: dict[str, Any] = {
        "run_id": run_id,
        "content_type": "news",
        "market": "US",
        "device": "desktop",
        "company": "example.com",
        "completeness": "complete",
        "coverage": 1.0,
        "curve": "classic",
        "proxy": False,
        **numbers,
    }
    await insert_rows(conn, metadata.tables["dsi_scores"], [figure])
    return run_id


async def test_the_newest_run_of_the_project_is_the_basis(db: Database) -> None:
    """Runs over other runs' searches have none. A test of five keywords says little of others."""
    async with db.transaction() as conn:
        assert await history.load(conn, NOW) is None
        tried = await _run(conn, mode=PipelineMode.TESTING)
        found = await history.load(conn, NOW)
        assert found is not None
        assert found.run.id == tried
        whole = await _run(conn, skipped=[ANALYSIS])
        await _run(conn, skipped=[phase for phase in PhaseName if phase is not DSI])
        await _run(conn, mode=PipelineMode.TESTING)
        found = await history.load(conn, NOW)
    assert found is not None
    assert found.run.id == whole
    assert found.searches == {"news": 10}
    assert found.items[PhaseName.COMPANY_ENRICHMENT_SERP, "news"] == 10
    assert (ANALYSIS, "news") not in found.items


async def test_calls_without_a_reply_are_no_part_of_a_rate(db: Database) -> None:
    """A refused key would otherwise make matches look rare, and so cheap."""
    async with db.transaction() as conn:
        run_id = await _run(conn)
        await conn.execute(
            text(
                "INSERT INTO provider_calls (id, key, provider, operation, identity, freshness,"
                " shared, status, attempt, credits, run_id, chunk_id, started_at)"
                " SELECT gen_random_uuid(), sha256(int8send(n)), 'pdl', 'x', 'x', '', false,"
                " CASE WHEN n = 1 THEN 'ok' ELSE 'failed' END, 1,"
                " CASE WHEN n = 1 THEN 1 ELSE 0 END, :run, c.id, now()"
                " FROM generate_series(1, 5) AS n, chunks c JOIN pipeline_phase_status l"
                " ON l.id = c.lane_id WHERE l.phase_name = 'company_enrichment_serp'"
            ),
            {"run": run_id},
        )
        found = await history.load(conn, NOW)
    assert found is not None
    assert found.paid == {(PhaseName.COMPANY_ENRICHMENT_SERP, "pdl"): (1, 1.0)}


@pytest.mark.parametrize("removed", [False, True])
async def test_a_run_over_another_runs_results_has_its_keywords(
    db: Database, *, removed: bool
) -> None:
    """However many the project has today."""
    async with db.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await projects.import_keywords(conn, [KeywordRow(1, "tea", "tea", "US")])
    first = await PipelineService(db, SystemClock()).start(NEWS)
    chosen = NEWS.model_copy(update={"phases": (ANALYSIS, DSI), "inputs_from": first})
    async with db.transaction() as conn:
        if removed:
            await conn.execute(text("DELETE FROM keyword_markets"))
        else:
            more = [KeywordRow(1, word, word, "US") for word in ("coffee", "milk")]
            await projects.import_keywords(conn, more)
        found = await estimate(conn, chosen, Providers(has_pdl=True, has_llm=True), NOW)
    assert (found.pairs, found.searches) == (1, 1)
