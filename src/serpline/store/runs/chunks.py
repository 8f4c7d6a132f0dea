"""Chunk ownership: one worker at a time owns a chunk of items, fenced by the chunk's epoch.

``claim`` makes a worker the owner and raises the epoch. ``load`` reads the items that are due.
``store.runs.releases`` releases the chunk, ``store.runs.planning`` creates chunks, and
``store.runs.settling`` settles items.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from serpline.domain.errors import LeaseLost
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.domain.states import CHUNK_MACHINE, LIVE_ITEMS, StateStatus, change
from serpline.store.database import IDLE_LIMIT, Connection

_LIVE = {str(status): status for status in LIVE_ITEMS}

# Maximum clock skew between workers, whose clocks follow the database's; generous.
CLOCK_SKEW_SECONDS_MAX = 5.0
# A chunk that lost this many owners is suspect, if its phase can work on its items separately.
SUSPECT_DEATHS = 2
_IS_SUSPECT = "(c.deaths >= :deaths AND l.phase_name = ANY(:divisible))"


@dataclass(frozen=True, slots=True)
class OwnedChunk:
    """A chunk that a worker owns, with what its work needs from its run."""

    id: int
    epoch: int
    no: int
    lane_id: int
    lane: LaneKey
    run_id: UUID
    mode: str
    config: dict[str, Any]
    planned: int
    crashes: int
    last_error: str | None
    created_at: datetime


class ItemRow(NamedTuple):
    """An item that is due.

    ``attempts``: failed attempts so far. ``deaths``: deaths of workers that had marked it.
    """

    item: str
    status: StateStatus
    attempts: int
    deaths: int = 0


async def claim(
    conn: Connection,
    chunk_id: int,
    worker_id: int,
    divisible: Collection[PhaseName],
    *,
    suspect: bool,
) -> OwnedChunk | None:
    """Claim a ready chunk of a running run; None if it is taken or not ready.

    A worker that ended or was declared dead can claim nothing. An ordinary claim takes no suspect
    chunk and a ``suspect`` claim takes no other, because they are worked differently.
    ``divisible``: the phases whose chunks can be suspect.
    """
    step = change(CHUNK_MACHINE, "claim")
    rows = await conn.execute(
        text(
            "UPDATE chunks c SET status = :target, owner = :worker, epoch = c.epoch + 1,"
            " next_check_at = NULL, delay_seconds = 0, waits_on = NULL, in_flight = NULL"
            " FROM pipeline_phase_status l, pipeline_executions r"
            " WHERE c.id = :id AND c.status = ANY(:sources) AND l.id = c.lane_id"
            f" AND {_IS_SUSPECT} = :suspect"
            " AND l.status = 'running' AND r.id = c.run_id AND r.status = 'running'"
            " AND EXISTS (SELECT 1 FROM workers WHERE id = :worker AND ended_at IS NULL)"
            " RETURNING c.id, c.epoch, c.no, c.lane_id, l.phase_name, l.content_type, c.run_id,"
            f" r.mode, r.config, c.planned, c.crashes, c.last_error, r.created_at, {IDLE_LIMIT}"
        ),
        {
            "id": chunk_id,
            "worker": worker_id,
            "deaths": SUSPECT_DEATHS,
            "divisible": [str(phase) for phase in divisible],
            "suspect": suspect,
            "target": step.target,
            "sources": step.sources,
        },
    )
    row = rows.mappings().first()
    if row is None:
        return None
    given = {name: value for name, value in row.items() if name != "set_config"}
    key = LaneKey(PhaseName(given.pop("phase_name")), ContentType(given.pop("content_type")))
    return OwnedChunk(lane=key, **given)


_TOO_FAR = "next_attempt_at > :now + make_interval(secs => delay_seconds + :skew)"


async def load(conn: Connection, chunk: OwnedChunk, now: datetime) -> list[ItemRow]:
    """Return the chunk's items that have not ended and are due, in the order of their keys.

    An attempt further ahead than its delay was set before the clock was set back. It is moved to
    its delay from now.
    """
    values = {"lane": chunk.lane_id, "no": chunk.no, "live": list(_LIVE), "now": now}
    values |= {"skew": CLOCK_SKEW_SECONDS_MAX}
    rows = await conn.execute(
        text(
            f"SELECT item, status, attempts, deaths, coalesce({_TOO_FAR}, false) AS is_too_far"
            " FROM items WHERE lane_id = :lane AND chunk_no = :no AND status = ANY(:live)"
            f" AND (next_attempt_at IS NULL OR next_attempt_at <= :now OR {_TOO_FAR}) ORDER BY item"
        ),
        values,
    )
    found = rows.all()
    if any(row.is_too_far for row in found):
        await conn.execute(
            text(
                "UPDATE items SET next_attempt_at = :now + make_interval(secs => delay_seconds)"
                f" WHERE lane_id = :lane AND chunk_no = :no AND status = ANY(:live) AND {_TOO_FAR}"
            ),
            values,
        )
    return [
        ItemRow(row.item, _LIVE[row.status], row.attempts, row.deaths)
        for row in found
        if not row.is_too_far
    ]


async def is_suspect(conn: Connection, chunk_id: int, divisible: Collection[PhaseName]) -> bool:
    """Whether a ready chunk of a ``divisible`` phase has lost ``SUSPECT_DEATHS`` owners."""
    rows = await conn.execute(
        text(
            "SELECT FROM chunks c JOIN pipeline_phase_status l ON l.id = c.lane_id"
            f" WHERE c.id = :id AND c.status = 'ready' AND {_IS_SUSPECT}"
        ),
        {
            "id": chunk_id,
            "deaths": SUSPECT_DEATHS,
            "divisible": [str(phase) for phase in divisible],
        },
    )
    return rows.first() is not None


async def mark(conn: Connection, chunk: OwnedChunk, items: Sequence[str]) -> None:
    """Store the items that the owner now works on; ``LeaseLost`` if it lost the chunk."""
    rows = await conn.execute(
        text(
            "UPDATE chunks SET in_flight = :items"
            " WHERE id = :id AND epoch = :epoch AND status = 'owned' RETURNING id"
        ),
        {"id": chunk.id, "epoch": chunk.epoch, "items": list(items)},
    )
    if rows.first() is None:
        raise LeaseLost(f"chunk {chunk.id} is no longer owned at epoch {chunk.epoch}")
