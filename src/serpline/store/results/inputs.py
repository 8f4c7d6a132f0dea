"""Results of earlier phases that a phase reads for the items it works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection
from serpline.store.runs.plans import SUBJECT_OF_LANE


@dataclass(frozen=True, slots=True)
class KeywordItem:
    """A keyword × market of a run, with the market's parameters for the providers.

    ``language``: the market's, a BCP 47 tag.
    """

    keyword_id: int
    keyword: str
    market: str
    language: str
    gl: str
    hl: str
    google_domain: str
    location: str
    location_code: int | None
    language_code: str | None


async def keyword_items(
    conn: Connection, run_id: UUID, pairs: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], KeywordItem]:
    """Return the run's keywords by (keyword id, market code)."""
    rows = await conn.execute(
        text(
            "SELECT r.keyword_id, r.keyword, r.market, m.language, m.gl, m.hl,"
            " m.google_domain, m.location, m.location_code, m.language_code"
            " FROM run_keywords r JOIN markets m ON m.code = r.market"
            " WHERE r.run_id = :run AND r.keyword_id = ANY(:ids)"
            " AND r.market = ANY(:codes)"
        ),
        {
            "run": run_id,
            "ids": sorted({id_ for id_, _ in pairs}),
            "codes": sorted({code for _, code in pairs}),
        },
    )
    found = {(row["keyword_id"], row["market"]): row for row in rows.mappings()}
    return {pair: KeywordItem(**found[pair]) for pair in pairs if pair in found}


async def channels(
    conn: Connection, run_id: UUID, channel_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the run's channels by id: handle, title, description, country and links."""
    rows = await conn.execute(
        text(
            "SELECT channel_id, handle, title, description, country, links FROM youtube_channels"
            " WHERE run_id = :run AND channel_id = ANY(:ids) AND found"
        ),
        {"run": run_id, "ids": list(channel_ids)},
    )
    return {row["channel_id"]: dict(row) for row in rows.mappings()}


async def videos(
    conn: Connection, run_id: UUID, video_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the run's videos by id: title and description."""
    rows = await conn.execute(
        text(
            "SELECT video_id, title, description FROM youtube_videos"
            " WHERE run_id = :run AND video_id = ANY(:ids) AND found"
        ),
        {"run": run_id, "ids": list(video_ids)},
    )
    return {row["video_id"]: dict(row) for row in rows.mappings()}


async def searches_of_subjects(
    conn: Connection,
    run_id: UUID,
    content_type: str,
    subjects: Sequence[str],
    *,
    depth: int,
    limit: int,
) -> dict[str, list[KeywordItem]]:
    """Return the searches in which each ``v:VIDEO`` or ``u:URL`` ranks, the best ranks first.

    Down to position ``depth``, and the best ``limit`` of each market. An index finds a subject's
    results, so the cost grows with the subjects, not with the run.
    """
    rows = await conn.execute(
        text(
            f"""
            SELECT w.subject, f.keyword_id, f.market
            FROM unnest(CAST(:subjects AS text[])) AS w(subject) CROSS JOIN LATERAL (
                SELECT s.keyword_id, s.market, min(s.position) AS best, row_number() OVER
                    (PARTITION BY s.market ORDER BY min(s.position), s.keyword_id) AS nth
                FROM serp_results s
                WHERE hashtextextended({SUBJECT_OF_LANE}, 0)
                    = hashtextextended(CAST(:lane AS text) || w.subject, 0)
                AND {SUBJECT_OF_LANE} = CAST(:lane AS text) || w.subject
                AND s.position <= :depth
                GROUP BY s.keyword_id, s.market
            ) f WHERE f.nth <= :limit ORDER BY w.subject, f.best, f.keyword_id, f.market
            """
        ),
        {
            "lane": f"{run_id}{content_type}",
            "subjects": list(subjects),
            "depth": depth,
            "limit": limit,
        },
    )
    ranked = [(row.subject, (row.keyword_id, row.market)) for row in rows]
    known = await keyword_items(conn, run_id, sorted({pair for _, pair in ranked}))
    found: dict[str, list[KeywordItem]] = {}
    for subject, pair in ranked:
        found.setdefault(subject, []).append(known[pair])
    return found
