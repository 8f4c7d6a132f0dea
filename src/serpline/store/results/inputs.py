"""What a phase's work reads of earlier phases' results, for the items it has in hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.store.database import Connection
from serpline.store.plans import SUBJECT
from serpline.store.whole_runs import over_run


@dataclass(frozen=True, slots=True)
class KeywordItem:
    """A keyword × market of a run, with the market's words for the providers."""

    keyword_id: int
    keyword: str
    market: str
    gl: str
    hl: str
    google_domain: str
    location: str
    location_code: int | None
    language_code: str | None


async def keyword_items(
    conn: Connection, run_id: UUID, pairs: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], KeywordItem]:
    """The run's keywords by (keyword id, market code)."""
    rows = await conn.execute(
        text(
            "SELECT r.keyword_id, r.keyword, r.market, m.gl, m.hl, m.google_domain, m.location,"
            " m.location_code, m.language_code FROM run_keywords r JOIN markets m"
            " ON m.code = r.market WHERE r.run_id = :run AND r.keyword_id = ANY(:ids)"
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
    """The run's channels by id: handle, title, description, country and links."""
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
    """The run's videos by id: title and description."""
    rows = await conn.execute(
        text(
            "SELECT video_id, title, description FROM youtube_videos"
            " WHERE run_id = :run AND video_id = ANY(:ids) AND found"
        ),
        {"run": run_id, "ids": list(video_ids)},
    )
    return {row["video_id"]: dict(row) for row in rows.mappings()}


async def keywords_of_subjects(
    conn: Connection, run_id: UUID, content_type: str, subjects: Sequence[str], limit: int
) -> dict[str, list[str]]:
    """The keywords that each ``v:VIDEO`` or ``u:URL`` ranks for, the best ranks first.

    One reading of the lane's results, however many are asked for.
    """
    if not subjects:
        return {}
    rows = await over_run(
        conn,
        text(
            f"""
            WITH ranks AS (
                SELECT {SUBJECT} AS subject, r.keyword, min(s.position) AS best
                FROM serp_results s JOIN run_keywords r ON r.run_id = s.run_id
                    AND r.keyword_id = s.keyword_id AND r.market = s.market
                WHERE s.run_id = :run AND s.content_type = :type AND {SUBJECT} = ANY(:subjects)
                GROUP BY 1, 2
            ), ranked AS (
                SELECT *, row_number() OVER (PARTITION BY subject ORDER BY best, keyword) AS nth
                FROM ranks
            )
            SELECT subject, array_agg(keyword ORDER BY nth) AS keywords FROM ranked
            WHERE nth <= :limit GROUP BY subject
            """
        ),
        {"run": run_id, "type": content_type, "subjects": list(subjects), "limit": limit},
    )
    return {row.subject: list(row.keywords) for row in rows}
