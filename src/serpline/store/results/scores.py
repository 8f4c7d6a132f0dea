"""The inputs and outputs of the DSI, and what people read of them.

A run may take the results of a phase from an earlier run. Statements here are given, by the name of
each phase, the run whose results they read (``runs.source_runs``), and read no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import ContentType
from serpline.store.database import Connection
from serpline.store.plans import SUBJECT
from serpline.store.results.collection import PLANNED, searched_types
from serpline.store.runs import source_runs
from serpline.store.whole_runs import over_run

# Who a result belongs to: the registrable domain; for a video, the owner of its channel, and the
# channel itself while no owner is known. youtube.com is never the answer.
COMPANY_OF_RESULT = """
    CASE WHEN s.video_id IS NULL AND s.channel_ref IS NULL THEN s.domain
         WHEN o.domain IS NOT NULL THEN o.domain
         ELSE 'youtube.com/channel/' || coalesce(c.channel_id, h.channel_id) END
"""

# A channel is known by its video, by its id, or else by its handle: three joins by equality, since
# one with an OR could only compare each result with each channel.
_OWNERS = """
    LEFT JOIN youtube_videos v ON v.run_id = :youtube_enrichment AND v.video_id = s.video_id
    LEFT JOIN youtube_channels c ON c.run_id = :youtube_enrichment AND c.found
        AND c.channel_id = coalesce(v.channel_id, s.channel_ref)
    LEFT JOIN (
        SELECT lower(handle) AS handle, min(channel_id) AS channel_id FROM youtube_channels
        WHERE run_id = :youtube_enrichment AND found GROUP BY lower(handle)
    ) h ON h.handle = lower(s.channel_ref) AND v.channel_id IS NULL AND c.channel_id IS NULL
    LEFT JOIN channel_owners o ON o.run_id = :company_enrichment_youtube
        AND o.channel_id = coalesce(c.channel_id, h.channel_id)
"""

_RESULTS = f"""
    SELECT s.content_type, s.market, s.device, s.keyword_id, s.rank, s.position, s.canonical_url,
           {SUBJECT} AS subject, {COMPANY_OF_RESULT} AS company
    FROM serp_results s
    {_OWNERS}
    WHERE s.run_id = :serp_collection AND s.content_type = :content_type
"""

# Results that nobody can be named for count in every denominator, and have no row of their own.
NOBODY = "(nobody known)"

# For the combined lane the companies are those that any content type of the run has.
PLAN = f"""
    SELECT DISTINCT market || ':' || device || ':' || company AS item
    FROM ({_RESULTS}) r WHERE company IS NOT NULL AND company <> ''
    UNION
    SELECT DISTINCT market || ':' || device || ':' || company FROM dsi_scores
    WHERE :content_type = 'all' AND run_id = :run AND content_type <> 'all'
"""


async def results(
    conn: Connection, sources: Mapping[str, UUID], content_type: str
) -> list[dict[str, Any]]:
    """Every result of a content type with all the DSI needs to know of it.

    ``volume`` and ``relevance`` are None where nobody knows them.
    """
    rows = await over_run(
        conn,
        text(
            f"""
            SELECT r.content_type, r.market, r.device, r.keyword_id, r.canonical_url AS url,
                   coalesce(nullif(r.company, ''), :nobody) AS company,
                   r.position, m.search_volume AS volume, p.ai_overview, a.relevance
            FROM ({_RESULTS}) r
            JOIN serps p ON p.run_id = :serp_collection AND p.content_type = r.content_type
                AND p.keyword_id = r.keyword_id AND p.market = r.market AND p.device = r.device
            LEFT JOIN keyword_metrics m ON m.run_id = :keyword_metrics
                AND m.keyword_id = r.keyword_id AND m.market = r.market
            LEFT JOIN content_analyses a ON a.run_id = :content_analysis
                AND a.content_type = r.content_type AND a.subject = r.subject
            ORDER BY r.market, r.device, r.keyword_id, r.rank
            """
        ),
        {**sources, "content_type": content_type, "nobody": NOBODY},
    )
    return [dict(row) for row in rows.mappings()]


async def collected(
    conn: Connection, sources: Mapping[str, UUID], content_type: str
) -> list[dict[str, Any]]:
    """The keywords whose SERP was collected, with or without results, and their volumes."""
    rows = await over_run(
        conn,
        text(
            "SELECT p.content_type, p.market, p.device, p.keyword_id,"
            " m.search_volume AS volume FROM serps p LEFT JOIN keyword_metrics m"
            " ON m.run_id = :keyword_metrics AND m.keyword_id = p.keyword_id"
            " AND m.market = p.market WHERE p.run_id = :serp_collection AND p.content_type = :type"
            " ORDER BY p.market, p.device, p.keyword_id"
        ),
        {**sources, "type": content_type},
    )
    return [dict(row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True)
class Latest:
    """Side by side: content types, the runs that scored them last, and whose results these used.

    A value for the statements that read scores and SERPs: joined to the choice itself, they would
    read those of all runs.
    """

    types: list[str]
    runs: list[UUID]
    sources: list[UUID]


async def latest(conn: Connection, run_id: UUID) -> Latest:
    """Of each content type the run scored last: this one, else a tracked one before it.

    Runs whose results are kept out of history never serve another run's combined figure, nor do
    those that score what another run collected. Such a run stands where that one stood: what was
    collected since is not before it.
    """
    sources = await source_runs(conn, run_id)
    rows = await conn.execute(
        text(
            """
            SELECT DISTINCT ON (t.content_type) t.content_type, r.id AS run,
                CASE r.id WHEN :run THEN CAST(:source AS uuid) ELSE r.id END AS source
            FROM pipeline_executions r CROSS JOIN unnest(CAST(:types AS text[])) t(content_type)
            CROSS JOIN LATERAL (
                SELECT FROM dsi_scores d
                WHERE d.run_id = r.id AND d.content_type = t.content_type LIMIT 1
            ) scored
            WHERE r.id = :run OR ((r.config ->> 'enable_historical_tracking')::boolean
                AND r.created_at <= (SELECT created_at FROM pipeline_executions WHERE id = :source)
                AND r.id NOT IN (
                    SELECT pipeline_execution_id FROM pipeline_phase_status
                    WHERE phase_name = 'serp_collection' AND source_run_id <> pipeline_execution_id
                )
                AND (SELECT (config ->> 'enable_historical_tracking')::boolean
                     FROM pipeline_executions WHERE id = :run))
            ORDER BY t.content_type, r.id = :run DESC, r.created_at DESC
            """
        ),
        {
            "run": run_id,
            "source": sources["serp_collection"],
            "types": [kind for kind in ContentType if kind is not ContentType.ALL],
        },
    )
    found = rows.all()
    return Latest(
        [row.content_type for row in found],
        [row.run for row in found],
        [row.source for row in found],
    )


async def latest_typed(conn: Connection, chosen: Latest) -> list[dict[str, Any]]:
    """The scores of the chosen runs, each of its content type."""
    rows = await conn.execute(
        text(
            "SELECT s.* FROM unnest(CAST(:types AS text[]), CAST(:runs AS uuid[]))"
            " AS latest(content_type, run_id) JOIN dsi_scores s USING (content_type, run_id)"
            " ORDER BY s.content_type, s.market, s.device, s.company"
        ),
        {"types": chosen.types, "runs": chosen.runs},
    )
    return [dict(row) for row in rows.mappings()]


async def collection_dates(conn: Connection, chosen: Latest) -> list[dict[str, Any]]:
    """When each content type, market and device of the chosen was collected (UTC dates).

    Collections in which nobody ranked are among them.
    """
    rows = await conn.execute(
        text(
            "SELECT p.content_type, p.market, p.device,"
            " (max(p.collected_at) AT TIME ZONE 'UTC')::date AS collected_on"
            " FROM unnest(CAST(:types AS text[]), CAST(:sources AS uuid[]))"
            " AS latest(content_type, run_id) JOIN serps p USING (content_type, run_id)"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
        {"types": chosen.types, "sources": chosen.sources},
    )
    return [dict(row) for row in rows.mappings()]


async def forget_dsi(conn: Connection, run_id: UUID, content_type: str) -> None:
    """Drop the scores of a lane that is to be computed anew."""
    await conn.execute(
        text("DELETE FROM dsi_scores WHERE run_id = :run AND content_type = :type"),
        {"run": run_id, "type": content_type},
    )


async def scores(
    conn: Connection, run_id: UUID, *, content_type: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """The scores of a run, the strongest first; unknown ones last."""
    sources = await source_runs(conn, run_id)
    rows = await over_run(
        conn,
        text(
            "SELECT d.*, p.name AS company_name, c.relation FROM dsi_scores d"
            " LEFT JOIN (SELECT DISTINCT ON (domain) domain, name FROM company_profiles"
            " WHERE run_id IN (:company_enrichment_serp, :company_enrichment_youtube)"
            " ORDER BY domain, name IS NULL, run_id = :company_enrichment_serp DESC) p"
            " ON p.domain = d.company LEFT JOIN companies c ON c.domain = d.company"
            " WHERE d.run_id = :run"
            " AND (CAST(:type AS text) IS NULL OR d.content_type = CAST(:type AS text))"
            " ORDER BY d.content_type, d.market, d.device, d.dsi DESC NULLS LAST,"
            " d.coverage DESC, d.company LIMIT :limit"
        ),
        {**sources, "run": run_id, "type": content_type, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]


async def rankings(
    conn: Connection,
    run_id: UUID,
    *,
    keyword: str | None = None,
    company: str | None = None,
    limit: int = 200,
) -> list[dict[str, Any]]:
    """Who ranks where: one row per result, of a keyword (folded) or a company or all.

    ``company`` is whom the result belongs to: a video's is its channel's owner.

    Every planned keyword × market × device × content type has a row: a collected one without
    results is "not ranked", without a position, and one of which nothing came is "not collected".
    """
    sources = await source_runs(conn, run_id)
    types = await searched_types(conn, run_id, asked=False)
    rows = await over_run(
        conn,
        text(
            f"""
            SELECT r.keyword, r.market, r.content_type, r.device, s.position, s.url, s.title,
                s.domain, s.company, m.search_volume,
                CASE WHEN p.run_id IS NULL THEN 'not collected'
                     WHEN s.run_id IS NULL THEN 'not ranked' ELSE 'ranked' END AS state
            FROM ({PLANNED}) r
            LEFT JOIN serps p ON p.run_id = :serp_collection AND p.keyword_id = r.keyword_id
                AND p.market = r.market AND p.device = r.device
                AND p.content_type = r.content_type
            LEFT JOIN (
                SELECT s.*, {COMPANY_OF_RESULT} AS company FROM serp_results s {_OWNERS}
                WHERE s.run_id = :serp_collection
                AND (CAST(:keyword AS text) IS NULL OR s.keyword_id =
                    (SELECT id FROM keywords WHERE folded = CAST(:keyword AS text)))
            ) s ON s.run_id = p.run_id AND s.keyword_id = p.keyword_id AND s.market = p.market
                AND s.content_type = p.content_type AND s.device = p.device
                AND (CAST(:company AS text) IS NULL OR s.company = CAST(:company AS text))
            LEFT JOIN keyword_metrics m ON m.run_id = :keyword_metrics
                AND m.keyword_id = r.keyword_id AND m.market = r.market
            WHERE CAST(:keyword AS text) IS NULL OR r.keyword_id =
                (SELECT id FROM keywords WHERE folded = CAST(:keyword AS text))
            ORDER BY r.keyword, r.market, array_position(CAST(:types AS text[]), r.content_type),
                r.device, s.rank LIMIT :limit
            """
        ),
        {**sources, "types": types, "keyword": keyword, "company": company, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]
