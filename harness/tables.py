"""The result tables of a run as values, to compare two runs.

Run ids, times and the dates that the combined figure quotes are left out: they may differ between
two runs that collected the same. Everything else has to be equal, row for row.
"""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select

from serpline.store.database import Database
from serpline.store.tables import results

RESULT_TABLES: tuple[Table, ...] = (
    results.keyword_metrics,
    results.serps,
    results.serp_results,
    results.company_profiles,
    results.youtube_videos,
    results.youtube_channels,
    results.youtube_channel_refs,
    results.channel_owners,
    results.content_analyses,
    results.run_company_aliases,
    results.dsi_scores,
)
_TIMES = frozenset({"run_id", "fetched_at", "collected_at"})
_DATES = frozenset({"oldest_collected_on", "latest_collected_on"})
_SOURCE_DATES = frozenset({"run_id", "collected_on"})
DIFFERENCES_MAX = 20

Tables = Mapping[str, Mapping[str, str]]
"""Table → key of a row → the row's other columns; keys and rows as JSON texts."""


async def final_tables(database: Database, run_id: UUID) -> Tables:
    """All results of a run."""
    found: dict[str, dict[str, str]] = {}
    async with database.transaction() as conn:
        for table in RESULT_TABLES:
            keys = [c.name for c in table.primary_key if c.name not in _TIMES]
            rows = await conn.execute(select(table).where(table.c.run_id == run_id))
            found[table.name] = {
                _text([row[key] for key in keys]): _text(_comparable(row))
                for row in rows.mappings()
            }
    return found


def differences(one: Tables, other: Tables) -> list[str]:
    """The rows in which two runs differ; empty if they are equal row for row."""
    lines: list[str] = []
    for table in sorted({*one, *other}):
        left, right = one.get(table, {}), other.get(table, {})
        unequal = [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
        lines += [f"{table} {key}:\n  {left.get(key)}\n  {right.get(key)}" for key in unequal]
    return lines[:DIFFERENCES_MAX]


def _comparable(row: Mapping[Any, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in _TIMES}
    if "detail" in kept:
        kept["detail"] = {k: v for k, v in kept["detail"].items() if k not in _DATES}
    if "sources" in kept:
        kept["sources"] = [
            {k: v for k, v in source.items() if k not in _SOURCE_DATES}
            for source in kept["sources"]
        ]
    return kept


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
