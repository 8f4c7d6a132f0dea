"""The figures of a content type at different times, which trends compare.

A snapshot is what one run collected and scored. The combined DSI's rule decides which runs may be
compared (``combined.candidates``): tracked runs over the same keywords.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.names import ContentType
from serpline.store.database import Connection
from serpline.store.results.collection import Collection, collection, late_for
from serpline.store.results.combined import candidates
from serpline.store.runs import runs


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run's figures of one content type; ``late_for``: the slot of a late snapshot."""

    run_id: UUID
    collections: Sequence[Collection]
    late_for: datetime | None = None

    @property
    def collected_on(self) -> date:
        """Return the day (UTC) of the last search."""
        return max(each.collected_on for each in self.collections if each.collected_on)


async def of_run(conn: Connection, run_id: UUID, content_type: ContentType) -> Snapshot | None:
    """Return a run's snapshot; None if nothing was collected."""
    found = await collection(conn, run_id, content_type)
    collected = [each for each in found if each.collected]
    return Snapshot(run_id, collected, await late_for(conn, run_id)) if collected else None


async def history(
    conn: Connection, run_id: UUID, content_type: ContentType, count: int
) -> list[Snapshot]:
    """Return the run's snapshot and earlier ones, newest first, at most ``count``.

    Empty if the run has none: otherwise changes of earlier runs would appear as its own. A run over
    another run's searches replaces that run, because their searches are of the same day.
    """
    origin = (await runs.source_runs(conn, run_id))["serp_collection"]
    found: list[Snapshot] = []
    for candidate in await candidates(conn, run_id, origin, content_type):
        if candidate.id == origin != run_id:
            continue
        snapshot = await of_run(conn, candidate.id, content_type)
        if snapshot is not None:
            found.append(snapshot)
        if not found or found[0].run_id != run_id:
            return []
        if len(found) == count:
            break
    return found


async def keywords_changed(
    conn: Connection, before: UUID, after: UUID
) -> dict[str, tuple[int, int]]:
    """Return, by market, how many keywords only the earlier and only the later run has."""
    rows = await conn.execute(
        text(
            "SELECT market, count(*) FILTER (WHERE a.run_id IS NULL) AS gone,"
            " count(*) FILTER (WHERE b.run_id IS NULL) AS added"
            " FROM (SELECT * FROM run_keywords WHERE run_id = :before) b"
            " FULL JOIN (SELECT * FROM run_keywords WHERE run_id = :after) a"
            " USING (keyword_id, market) GROUP BY market"
        ),
        {"before": before, "after": after},
    )
    return {row.market: (row.gone, row.added) for row in rows}


# How a figure was computed: the same for all companies of a market and device.
_METHOD = """
    curve, curve_version, (detail ->> 'ai_overview_factor')::float8 AS ai_overview_factor,
    detail ->> 'ai_overviews' AS ai_overviews, detail ->> 'unknown_volume' AS unknown_volume
"""


async def methods(
    conn: Connection, run_id: UUID, content_type: ContentType
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return how the figures of each market and device were computed."""
    rows = await conn.execute(
        text(
            f"SELECT DISTINCT ON (market, device) market, device, {_METHOD} FROM dsi_scores"
            " WHERE run_id = :run AND content_type = :type ORDER BY market, device"
        ),
        {"run": run_id, "type": str(content_type)},
    )
    found = [dict(row) for row in rows.mappings()]
    return {(row.pop("market"), row.pop("device")): row for row in found}


async def figures(
    conn: Connection, run_id: UUID, content_type: ContentType, company: str | None
) -> list[dict[str, Any]]:
    """Return the figures that trends compare, of all companies or of one, with their components.

    In the order of ``market, device, company``. ``rank`` is None where the DSI is.
    """
    rows = await conn.execute(
        text(
            "SELECT content_type, market, device, company, dsi, coverage, traffic_share, relevance,"
            f" (detail ->> 'rank')::bigint AS rank, {_METHOD} FROM dsi_scores"
            " WHERE run_id = :run AND content_type = :type"
            " AND (CAST(:company AS text) IS NULL OR company = CAST(:company AS text))"
            " ORDER BY market, device, company"
        ),
        {"run": run_id, "type": str(content_type), "company": company},
    )
    return [dict(row) for row in rows.mappings()]
