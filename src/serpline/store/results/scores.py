"""Inputs and outputs of the DSI, and the reports over them.

A run may take a phase's results from an earlier run. The statements here take, by the name of each
phase, the run whose results they read (``runs.source_runs``).
"""

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import RowMapping, TextClause, text

from serpline.store.database import Connection
from serpline.store.frames import Repeated, read_frame
from serpline.store.hash_joins import stream_hash_joined
from serpline.store.runs.plans import SUBJECT
from serpline.store.tables.views.searches import companies
from serpline.store.tables.views.sources import GIVEN

if TYPE_CHECKING:
    import polars as pl

# Of a YouTube result, whether its owner was looked up. "YouTube does not show it" is an answer.
_OWNER_KNOWN = """
    CASE WHEN s.video_id IS NOT NULL OR s.channel_ref IS NOT NULL
         THEN o.channel_id IS NOT NULL OR v.found IS FALSE END
"""

_RESULTS = f"""
    SELECT s.content_type, s.market, s.device, s.keyword_id, s.rank, s.position, s.canonical_url,
           {SUBJECT} AS subject, z.company,
           {_OWNER_KNOWN} AS owner_known
    FROM serp_results s
    {companies(GIVEN)}
    WHERE s.run_id = :serp_collection AND s.content_type = :content_type
"""

# Results without a known company count in every denominator, but have no row of their own.
UNKNOWN_COMPANY = "(nobody known)"

# The scores that the combined DSI weighs (``combined``).
CHOSEN = """
    run_id = ANY(CAST(:chosen_runs AS uuid[])) AND (content_type, market, device, run_id) IN (
        SELECT * FROM unnest(CAST(:chosen_types AS text[]), CAST(:chosen_markets AS text[]),
            CAST(:chosen_devices AS text[]), CAST(:chosen_runs AS uuid[])))
"""

# The combined lane's companies are those of the figures that it weighs (``combined``).
PLAN = f"""
    SELECT DISTINCT market || ':' || device || ':' || company AS item
    FROM ({_RESULTS}) r WHERE company IS NOT NULL AND company <> ''
    UNION
    SELECT DISTINCT market || ':' || device || ':' || company FROM dsi_scores WHERE {CHOSEN}
"""


# Every result of a content type with all that the DSI needs, in no order.
RESULTS = text(
    f"""
    SELECT r.content_type, r.market, r.device, r.keyword_id, r.canonical_url AS url,
           coalesce(nullif(r.company, ''), '{UNKNOWN_COMPANY}') AS company,
           r.position, m.search_volume AS volume, p.ai_overview, a.relevance, r.owner_known
    FROM ({_RESULTS}) r
    JOIN serps p ON p.run_id = :serp_collection AND p.content_type = r.content_type
        AND p.keyword_id = r.keyword_id AND p.market = r.market AND p.device = r.device
    LEFT JOIN keyword_metrics m ON m.run_id = :keyword_metrics
        AND m.keyword_id = r.keyword_id AND m.market = r.market
    LEFT JOIN content_analyses a ON a.run_id = :content_analysis
        AND a.content_type = r.content_type AND a.subject = r.subject AND a.market = r.market
    """
)
_PAGE = {"content_type": Repeated, "market": Repeated, "device": Repeated, "keyword_id": int}
_RESULT = {
    **_PAGE,
    "url": str,
    "company": str,
    "position": int,
    "volume": int,
    "ai_overview": bool,
    "relevance": float,
    "owner_known": bool,
}

_COLLECTED = {**_PAGE, "volume": int, "ai_overview": bool}

# The keywords whose SERP was collected, with or without results, and their volumes.
COLLECTED = text(
    """
    SELECT p.content_type, p.market, p.device, p.keyword_id, m.search_volume AS volume,
           p.ai_overview
    FROM serps p LEFT JOIN keyword_metrics m ON m.run_id = :keyword_metrics
        AND m.keyword_id = p.keyword_id AND m.market = p.market
    WHERE p.run_id = :serp_collection AND p.content_type = :content_type
    """
)


async def inputs(
    conn: Connection, sources: Mapping[str, UUID], content_type: str
) -> "tuple[pl.DataFrame, pl.DataFrame]":
    """Return ``RESULTS`` and ``COLLECTED``; an unknown volume or relevance is null."""
    values = {**sources, "content_type": content_type}
    return (
        await read_frame(conn, RESULTS, values, _RESULT),
        await read_frame(conn, COLLECTED, values, _COLLECTED),
    )


async def stream_inputs(
    conn: Connection, statement: TextClause, sources: Mapping[str, UUID], content_type: str
) -> AsyncGenerator[RowMapping, None]:
    """Stream the rows of ``RESULTS`` or ``COLLECTED``, in order of the searches."""
    ordered = text(f"{statement.text} ORDER BY 2, 3, 4")
    async with stream_hash_joined(conn, ordered, {**sources, "content_type": content_type}) as rows:
        async for row in rows.mappings():
            yield row


async def delete_scores(conn: Connection, run_id: UUID, content_type: str) -> None:
    """Delete the scores of a lane, which will be computed again."""
    await conn.execute(
        text("DELETE FROM dsi_scores WHERE run_id = :run AND content_type = :type"),
        {"run": run_id, "type": content_type},
    )


async def scored_markets(conn: Connection, run_id: UUID) -> list[str]:
    """Return the markets for which a run has scores."""
    rows = await conn.execute(
        text("SELECT DISTINCT market FROM dsi_scores WHERE run_id = :run ORDER BY market"),
        {"run": run_id},
    )
    return [row.market for row in rows]
