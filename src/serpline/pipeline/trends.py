"""Compare a run's snapshot with earlier ones, as rows for people."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from uuid import UUID

import polars as pl

from serpline.analysis.traffic import LANDSCAPE
from serpline.analysis.trends import FIGURES, changes
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.store import companies
from serpline.store.database import Connection
from serpline.store.results import snapshots
from serpline.store.results.collection import Collection, searched_types
from serpline.store.results.snapshots import Snapshot

_PLACE = pl.Schema(dict.fromkeys(LANDSCAPE, pl.String))


async def between(
    conn: Connection, run_id: UUID, before: UUID | None, content_type: ContentType | None
) -> list[dict[str, Any]]:
    """Changes by company from the previous snapshot (or from ``before``'s) to a run's.

    Content types without an earlier snapshot have no rows. Raises ``UserError`` if no type has
    one, or if ``before`` collected nothing that the run collected.
    """
    rows: list[dict[str, Any]] = []
    for kind in await _types(conn, run_id, content_type):
        if before is None:
            pair = await snapshots.history(conn, run_id, kind, 2)
        else:
            both = [await snapshots.of_run(conn, each, kind) for each in (run_id, before)]
            pair = [each for each in both if each is not None]
        if len(pair) == 2:
            rows += await _changes(conn, kind, *pair, company=None)
    if not rows:
        other = f"run {before}" if before else "an earlier tracked run of the same keywords"
        raise UserError(f"run {run_id}: nothing in it can be compared with {other}")
    return rows


async def history(
    conn: Connection, run_id: UUID, company: str, content_type: ContentType | None, count: int
) -> list[dict[str, Any]]:
    """Changes of one company over the last ``count`` snapshots up to a run's, oldest first.

    Each row compares a snapshot of a content type with the one before it.
    """
    rows: list[dict[str, Any]] = []
    for kind in await _types(conn, run_id, content_type):
        found = await snapshots.history(conn, run_id, kind, count)
        for before, after in pairwise(reversed(found)):
            rows += await _changes(conn, kind, after, before, company=company)
    return rows


async def _types(
    conn: Connection, run_id: UUID, content_type: ContentType | None
) -> list[ContentType]:
    asked = await searched_types(conn, run_id)
    return [ContentType(kind) for kind in asked if content_type in (None, kind)]


async def _changes(
    conn: Connection, kind: ContentType, after: Snapshot, before: Snapshot, *, company: str | None
) -> list[dict[str, Any]]:
    frames = [
        pl.DataFrame(await snapshots.figures(conn, each.run_id, kind, company), FIGURES)
        for each in (before, after)
    ]
    collected = [
        pl.DataFrame([(kind, c.market, c.device) for c in each.collections], _PLACE, orient="row")
        for each in (before, after)
    ]
    places = [{(c.market, c.device): c for c in each.collections} for each in (before, after)]
    keywords = await snapshots.keywords_changed(conn, before.run_id, after.run_id)
    merged = [await companies.aliases(conn, each.run_id, kind) for each in (before, after)]
    rows = []
    for row in changes(frames[0], frames[1], (collected[0], collected[1])).iter_rows(named=True):
        place = (row["market"], row["device"])
        gone, added = keywords.get(row["market"], (0, 0))
        rows.append(
            {
                **_unless_merged(row, *merged),
                **_side("before", before, places[0].get(place)),
                **_side("after", after, places[1].get(place)),
                "keywords_gone": gone,
                "keywords_added": added,
            }
        )
    return rows


def _unless_merged(
    row: dict[str, Any], before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, Any]:
    """The row. No change is given where merges of domains differ; ``differs`` names them."""
    company = row["company"]
    own = [companies.merged_domains(used).get(company, []) for used in (before, after)]
    why = []
    if own[0] != own[1]:
        domains = [", ".join(each) or "none" for each in own]
        why = [f"merged domains {domains[0]} and {domains[1]}"]
    elif row["status"] == "lost" and company in after:
        why = [f"merged into {after[company]}"]
    elif row["status"] == "new" and company in before:
        why = [f"merged into {before[company]} before"]
    if not why:
        return row
    return {
        **row,
        "differs": ", ".join(filter(None, [row["differs"], *why])),
        "comparable": False,
        "rank_change": None,
        "dsi_change": None,
    }


def _side(side: str, snapshot: Snapshot, collection: Collection | None) -> dict[str, Any]:
    """A snapshot's run and date, and its searches in one place (None if it has none there).

    ``late_for``: the slot that a late snapshot stands for.
    """
    return {
        f"collected_{side}": collection and collection.collected,
        f"planned_{side}": collection and collection.planned,
        f"run_{side}": snapshot.run_id,
        f"collected_on_{side}": snapshot.collected_on,
        f"late_for_{side}": snapshot.late_for,
    }
