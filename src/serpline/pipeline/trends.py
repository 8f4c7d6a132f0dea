"""What changed between the snapshots of a run and of those before it, as rows for people."""

from itertools import pairwise
from typing import Any
from uuid import UUID

import polars as pl

from serpline.analysis.traffic import LANDSCAPE
from serpline.analysis.trends import FIGURES, changes
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.store.database import Connection
from serpline.store.results import snapshots
from serpline.store.results.collection import Collection, searched_types
from serpline.store.results.snapshots import Snapshot

_PLACE = pl.Schema(dict.fromkeys(LANDSCAPE, pl.String))


async def between(
    conn: Connection, run_id: UUID, before: UUID | None, content_type: ContentType | None
) -> list[dict[str, Any]]:
    """What changed from the snapshot before (or from ``before``'s) to a run's, by company.

    Content types without a snapshot before have no rows. ``UserError``: no type has one, or
    ``before`` collected nothing that the run collected.
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
        told = f"run {before}" if before else "an earlier tracked run of the same keywords"
        raise UserError(f"run {run_id}: nothing in it can be compared with {told}")
    return rows


async def history(
    conn: Connection, run_id: UUID, company: str, content_type: ContentType | None, count: int
) -> list[dict[str, Any]]:
    """One company in the last ``count`` snapshots up to a run's, oldest first, by content type.

    Each row compares a snapshot with the one before it.
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
    seen = [
        pl.DataFrame([(kind, c.market, c.device) for c in each.collections], _PLACE, orient="row")
        for each in (before, after)
    ]
    places = [{(c.market, c.device): c for c in each.collections} for each in (before, after)]
    keywords = await snapshots.keywords_changed(conn, before.run_id, after.run_id)
    rows = []
    for row in changes(frames[0], frames[1], (seen[0], seen[1])).iter_rows(named=True):
        place = (row["market"], row["device"])
        gone, added = keywords.get(row["market"], (0, 0))
        rows.append(
            {
                **row,
                **_side("before", before, places[0].get(place)),
                **_side("after", after, places[1].get(place)),
                "keywords_gone": gone,
                "keywords_added": added,
            }
        )
    return rows


def _side(side: str, snapshot: Snapshot, here: Collection | None) -> dict[str, Any]:
    """A snapshot's run and date, and its searches in one place (None: there are none)."""
    return {
        f"collected_{side}": here and here.collected,
        f"planned_{side}": here and here.planned,
        f"run_{side}": snapshot.run_id,
        f"collected_on_{side}": snapshot.collected_on,
    }
