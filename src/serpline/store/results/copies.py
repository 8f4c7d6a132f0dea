"""Copy an earlier run's results of single items into a run that recomputes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import Table, text

from serpline.domain.names import PhaseName
from serpline.store.database import Connection
from serpline.store.tables.results import (
    channel_owners,
    company_profiles,
    content_analyses,
    keyword_metrics,
    youtube_channel_refs,
    youtube_channels,
    youtube_videos,
)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows ``t`` of ``table`` that belong to items; ``where`` may name ``:items``, ``:run``.

    ``item``: the item of a row, if such a row exists exactly for finished items.
    """

    table: Table
    where: str
    item: str | None = None


def _own(table: Table, item: str) -> _Rows:
    return _Rows(table, f"{item} = ANY(:items)", item)


_CHANNELS: Final = (
    "t.channel_id IN (SELECT v.channel_id FROM youtube_videos v WHERE v.run_id = :run"
    " AND 'v:' || v.video_id = ANY(:items) UNION SELECT r.channel_id FROM youtube_channel_refs r"
    " WHERE r.run_id = :run AND 'c:' || r.ref = ANY(:items))"
)
_OWNERS: Final = (
    "t.domain IN (SELECT o.domain FROM channel_owners o WHERE o.run_id = :run"
    " AND o.channel_id = ANY(:items))"
)

_ROWS: Final[Mapping[PhaseName, tuple[_Rows, ...]]] = MappingProxyType(
    {
        PhaseName.KEYWORD_METRICS: (
            _own(keyword_metrics, "CAST(t.keyword_id AS text) || ':' || t.market"),
        ),
        PhaseName.COMPANY_ENRICHMENT_SERP: (_own(company_profiles, "t.domain"),),
        PhaseName.YOUTUBE_ENRICHMENT: (
            _own(youtube_videos, "'v:' || t.video_id"),
            _own(youtube_channel_refs, "'c:' || t.ref"),
            _Rows(youtube_channels, _CHANNELS),
        ),
        PhaseName.COMPANY_ENRICHMENT_YOUTUBE: (
            _own(channel_owners, "t.channel_id"),
            _Rows(company_profiles, _OWNERS),
        ),
        PhaseName.CONTENT_ANALYSIS: (
            _Rows(
                content_analyses,
                "t.content_type = :type AND t.subject = ANY(:items)",
                "t.subject",
            ),
        ),
    }
)


async def finished(
    conn: Connection, run_id: UUID, phase: PhaseName, content_type: str, items: Sequence[str]
) -> set[str]:
    """Return the items of a phase of which ``run_id`` has a result."""
    found: set[str] = set()
    for rows in _ROWS[phase]:
        if rows.item is not None:
            selected = await conn.execute(
                text(
                    f"SELECT DISTINCT {rows.item} FROM {rows.table.name} t"
                    f" WHERE t.run_id = :run AND {rows.where}"
                ),
                _values(rows, run_id, content_type, items),
            )
            found.update(selected.scalars())
    return found


async def copy(
    conn: Connection,
    earlier: UUID,
    run_id: UUID,
    phase: PhaseName,
    content_type: str,
    items: Sequence[str],
) -> None:
    """Copy the results of items from run ``earlier``; a row that ``run_id`` has stays."""
    for rows in _ROWS[phase]:
        names = ", ".join(column.name for column in rows.table.columns if column.name != "run_id")
        await conn.execute(
            text(
                f"INSERT INTO {rows.table.name} (run_id, {names}) SELECT :target, {names}"
                f" FROM {rows.table.name} t WHERE t.run_id = :run AND {rows.where}"
                " ON CONFLICT DO NOTHING"
            ),
            {**_values(rows, earlier, content_type, items), "target": run_id},
        )


def _values(
    rows: _Rows, run_id: UUID, content_type: str, items: Sequence[str]
) -> dict[str, object]:
    values: dict[str, object] = {"run": run_id, "items": list(items)}
    return {**values, "type": str(content_type)} if ":type" in rows.where else values
