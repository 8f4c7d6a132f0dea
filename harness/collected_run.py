"""A run with all its results, written by SQL: for tests of what statements cost."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import text

from harness.databases import fresh_database
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.domain.states import LaneStatus
from serpline.store import projects
from serpline.store.database import Connection, Database
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.runs import items, planning, runs
from serpline.store.tables import metadata

KEYWORDS = 40
DEPTH = 20
CHUNK = 50
ITEMS = 4000
# Rows in all: keywords, metrics, SERPs, results of two types, videos, what names channels,
# channels, owners, analyses, scores.
ROWS = KEYWORDS * (4 + 2 * DEPTH + 2 * (DEPTH // 2) + 2 * DEPTH + 2 * DEPTH + DEPTH)
VIDEO = LaneKey(PhaseName.SERP_COLLECTION, ContentType.VIDEO)
VIDEO_DSI = LaneKey(PhaseName.DSI_CALCULATION, ContentType.VIDEO)

# Odd ranks are known videos; even ranks are channels by handle.
_RUN = (
    "INSERT INTO run_keywords (run_id, keyword_id, keyword, market)"
    " SELECT :run, id, keyword, 'US' FROM keywords ORDER BY id LIMIT :n",
    "INSERT INTO keyword_metrics (run_id, keyword_id, market, search_volume, source, fetched_at)"
    " SELECT run_id, keyword_id, market, 100, 'x', now() FROM run_keywords WHERE run_id = :run",
    "INSERT INTO serps (run_id, content_type, keyword_id, market, device, collected_at, results,"
    " ai_overview, source) SELECT run_id, type, keyword_id, market, 'desktop', now(), :depth,"
    " false, 'x' FROM run_keywords, unnest(ARRAY['organic', 'video']) t(type) WHERE run_id = :run",
    "INSERT INTO serp_results (run_id, content_type, keyword_id, market, device, rank, position,"
    " url, canonical_url, domain, title, video_id, channel_ref)"
    " SELECT run_id, content_type, keyword_id, market, device, r, r, url, url,"
    " CASE content_type WHEN 'video' THEN 'youtube.com' ELSE 'd' || n % 97 || '.com' END, 'x',"
    " CASE content_type WHEN 'video' THEN 'vid' || n END,"
    " CASE WHEN content_type = 'video' AND r % 2 = 0 THEN '@handle' || n END"
    " FROM serps, generate_series(1, :depth) r, LATERAL (SELECT keyword_id * :depth + r AS n) x,"
    " LATERAL (SELECT 'https://example.com/' || n AS url) y WHERE run_id = :run",
    "INSERT INTO youtube_videos (run_id, video_id, found, channel_id, fetched_at)"
    " SELECT run_id, video_id, true, 'c' || substr(video_id, 4), now() FROM serp_results"
    " WHERE run_id = :run AND content_type = 'video' AND channel_ref IS NULL",
    "INSERT INTO youtube_channels (run_id, channel_id, found, handle, fetched_at)"
    " SELECT run_id, 'c' || substr(video_id, 4), true, '@hANDLE' || substr(video_id, 4), now()"
    " FROM serp_results WHERE run_id = :run AND content_type = 'video'",
    "INSERT INTO youtube_channel_refs (run_id, ref, channel_id)"
    " SELECT run_id, channel_ref, 'c' || substr(video_id, 4) FROM serp_results"
    " WHERE run_id = :run AND channel_ref IS NOT NULL",
    "INSERT INTO channel_owners (run_id, channel_id, domain, method)"
    " SELECT run_id, channel_id, 'o' || channel_id || '.com', 'x' FROM youtube_channels"
    " WHERE run_id = :run",
    "INSERT INTO content_analyses (run_id, content_type, subject, market, relevance, judged_for,"
    " sentiment, content_kind, topics, brands, summary, model, prompt, fetched_at)"
    " SELECT run_id, content_type, CASE content_type WHEN 'video' THEN 'v:' || video_id"
    " ELSE 'u:' || url END, market, 0.5, '[]', 'neutral', 'other', '{}', '{}', '', 'm', 'p', now()"
    " FROM serp_results WHERE run_id = :run",
    "INSERT INTO dsi_scores (run_id, content_type, market, device, company, completeness,"
    " coverage,"
    " keywords_ranked, keywords_collected, keywords_planned, relevance_basis, results,"
    " unknown_volume_keywords, unknown_ai_overview_keywords, unanalysed_results, curve,"
    " curve_version, proxy)"
    " SELECT run_id, 'video', 'US', 'desktop', domain, 'complete', 0.1, 1, :n, :n, 1, 1, 0, 0, 0,"
    " 'classic', 1, false"
    " FROM channel_owners WHERE run_id = :run",
)


async def collected_run(conn: Connection, keywords: int) -> UUID:
    """A run with all results, and a lane without a plan."""
    run_id = uuid4()
    lanes = [(VIDEO, LaneStatus.RUNNING), (VIDEO_DSI, LaneStatus.COMPLETED)]
    config = {"enable_historical_tracking": True}
    await runs.create(conn, run_id, mode="manual", config=config, lanes=lanes)
    for statement in _RUN:
        await conn.execute(text(statement), {"run": run_id, "n": keywords, "depth": DEPTH})
    return run_id


async def plan_items(conn: Connection, run_id: UUID, number: int, size: int = CHUNK) -> int:
    """Plan ``number`` items in the run's lane, in chunks of ``size``; return the lane's id."""
    lane_id = await lane_of(conn, run_id)
    source = "SELECT n || '\\:US' AS item FROM generate_series(1, :n) n"
    await planning.plan(conn, lane_id, source, {"n": number}, size)
    return lane_id


async def lane_of(conn: Connection, run_id: UUID) -> int:
    return await items.lane_id(conn, run_id, VIDEO)


@dataclass(frozen=True, slots=True)
class Filled:
    """A database to be cloned, and its run that is not in the server's statistics."""

    name: str
    run_id: UUID


@contextmanager
def filled_database(
    server: EmbeddedServer, template: str, older: Sequence[int]
) -> Iterator[Filled]:
    """Write a run after ``older`` ones, each of so many keywords, which ANALYZE has counted.

    Filling a database costs seconds, cloning it a tenth of one.
    """

    async def write(name: str) -> UUID:
        database = await Database.connect(server.url(name))
        try:
            return await _fill(database, older)
        finally:
            await database.close()

    with fresh_database(server, template, copies_files=True) as name:
        yield Filled(name, asyncio.run(write(name)))


async def _fill(database: Database, older: Sequence[int]) -> UUID:
    async with database.transaction() as conn:
        for table in metadata.tables:
            await conn.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = false)"))
        await projects.ensure_builtin_markets(conn)
        await conn.execute(
            text(
                "INSERT INTO keywords (keyword, folded)"
                " SELECT 'keyword ' || n, 'keyword ' || n FROM generate_series(1, :n) n"
            ),
            {"n": KEYWORDS},
        )
        for keywords in older:
            await plan_items(
                conn, await collected_run(conn, keywords), ITEMS * keywords // KEYWORDS
            )
    async with database.transaction() as conn:
        if older:
            await conn.execute(text("ANALYZE"))
    async with database.transaction() as conn:
        return await collected_run(conn, KEYWORDS)
