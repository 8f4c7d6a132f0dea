"""Owning: a chunk of items belongs to one worker at a time, fenced by the chunk's epoch.

``claim`` makes one worker the owner and raises the epoch; ``load`` reads what is due; ``release``
gives the chunk back or ends it. Planning is ``store.planning``, settling ``store.settling``.
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
from serpline.store.database import BRIEFLY, Connection

_LIVE = {str(status): status for status in LIVE_ITEMS}

# A chunk whose work settled nothing and named no time to look again is left alone this long;
# one that named a time, at least a pause that doubles while nothing comes. Without them such a
# chunk would be worked in a circle. What waits on a breaker may sleep longer: its closing wakes it.
IDLE_SECONDS = 5.0
PAUSE_SECONDS = 0.25
PAUSE_SECONDS_MAX = 5.0
WAITING_SECONDS_MAX = 60.0
# Two processes' clocks that follow the database's, with much to spare.
CLOCKS_APART_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OwnedChunk:
    """A chunk in a worker's hands, with what its work needs to know of its run."""

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
    """An item that is due. ``attempts`` counts the failed ones so far; ``deaths`` those of workers
    that had marked it."""

    item: str
    status: StateStatus
    attempts: int
    deaths: int = 0


async def claim(conn: Connection, chunk_id: int, worker_id: int, deaths: int) -> OwnedChunk | None:
    """Own a ready chunk of a running run; None if another was first or nothing is to be done.

    Nor may a worker own anything once it was declared dead, or left; nor a chunk that has lost
    other than ``deaths`` owners, for whether it is suspect decides how it is worked.
    """
    step = change(CHUNK_MACHINE, "claim")
    rows = await conn.execute(
        text(
            "UPDATE chunks c SET status = :target, owner = :worker, epoch = c.epoch + 1,"
            " next_look_at = NULL, delay_seconds = 0, waits_on = NULL, in_flight = NULL"
            " FROM pipeline_phase_status l, pipeline_executions r"
            " WHERE c.id = :id AND c.status = ANY(:sources) AND c.deaths = :deaths"
            " AND l.id = c.lane_id"
            " AND l.status = 'running' AND r.id = c.run_id AND r.status = 'running'"
            " AND EXISTS (SELECT 1 FROM workers WHERE id = :worker AND ended_at IS NULL)"
            " RETURNING c.id, c.epoch, c.no, c.lane_id, l.phase_name, l.content_type, c.run_id,"
            f" r.mode, r.config, c.planned, c.crashes, c.last_error, r.created_at, {BRIEFLY}"
        ),
        {
            "id": chunk_id,
            "worker": worker_id,
            "deaths": deaths,
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


_TOO_FAR = "next_attempt_at > :now + make_interval(secs => delay_seconds + :apart)"


async def load(conn: Connection, chunk: OwnedChunk, now: datetime) -> list[ItemRow]:
    """The chunk's items that have not ended and are due, in the order of their keys.

    An attempt that lies further ahead than its delay was put there before the clock was set back:
    it is made its delay from now.
    """
    values = {"lane": chunk.lane_id, "no": chunk.no, "live": list(_LIVE), "now": now}
    values |= {"apart": CLOCKS_APART_SECONDS}
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


async def suspicion(conn: Connection, chunk_id: int) -> tuple[PhaseName, int] | None:
    """The chunk's phase, and how many workers died with it; None if there is no such chunk."""
    rows = await conn.execute(
        text(
            "SELECT l.phase_name, c.deaths FROM chunks c"
            " JOIN pipeline_phase_status l ON l.id = c.lane_id WHERE c.id = :id"
        ),
        {"id": chunk_id},
    )
    row = rows.first()
    return (PhaseName(row.phase_name), row.deaths) if row else None


async def mark(conn: Connection, chunk: OwnedChunk, items: Sequence[str]) -> None:
    """Note what its owner has in hand from now on; ``LeaseLost`` if it is no longer ours."""
    rows = await conn.execute(
        text(
            "UPDATE chunks SET in_flight = :items"
            " WHERE id = :id AND epoch = :epoch AND status = 'owned' RETURNING id"
        ),
        {"id": chunk.id, "epoch": chunk.epoch, "items": list(items)},
    )
    if rows.first() is None:
        raise LeaseLost(f"chunk {chunk.id} is no longer owned at epoch {chunk.epoch}")


async def release(
    conn: Connection,
    chunk: OwnedChunk,
    *,
    look_again_seconds: float | None,
    now: datetime,
    loaded_at: datetime,
    at_once: bool,
    waits_on: Collection[str] = (),
) -> bool:
    """Give the chunk back: done for good if every item ended (True), else ready again.

    ``now`` is the time by which the items' next attempts were set; how long the chunk waits is
    counted by the database's clock. The next look is the earliest of ``look_again_seconds``, of the
    next attempts that were not due yet at ``loaded_at``, of a ``look_now`` meanwhile and of the
    closing of a breaker in ``waits_on``; with none of these, at once. Without ``at_once`` (nothing
    was settled) only the latter two, which are events, may come so soon that the work would run in
    a circle. ``LeaseLost`` if the chunk is no longer ours.
    """
    has_closed = bool(waits_on) and await _one_is_closed(conn, waits_on)
    # ``next_look_at`` is read from the row that is written, never from a joined copy of it: this
    # statement may wait for a ``look_now``, and only the row itself is read again after the wait.
    rows = await conn.execute(
        text(
            """
            WITH wait AS (
                SELECT now() + make_interval(secs => seconds) AS due,
                    greatest(:idle, :pause_max, seconds) AS longest
                FROM (
                    SELECT least(CAST(:again AS float8), min(least(delay_seconds, extract(
                        epoch FROM next_attempt_at - CAST(:now AS timestamptz))))) AS seconds
                    FROM items WHERE lane_id = :lane AND chunk_no = :no AND status = ANY(:live)
                    AND next_attempt_at > :loaded
                ) AS earliest
            )
            UPDATE chunks c SET owner = NULL, waits_on = CAST(:waits_on AS text[]),
                delay_seconds = longest,
                idle_looks = CASE WHEN :at_once THEN 0 ELSE least(c.idle_looks + 1, 1000) END,
                crashes = CASE WHEN :at_once THEN 0 ELSE c.crashes END,
                status = CASE WHEN c.completed + c.failed + c.skipped = c.planned
                              THEN 'done' ELSE 'ready' END,
                next_look_at = CASE
                    WHEN c.completed + c.failed + c.skipped = c.planned THEN NULL
                    WHEN :at_once THEN coalesce(
                        least(due, c.next_look_at, CASE WHEN :has_closed THEN now() END), now())
                    ELSE least(
                        greatest(coalesce(due, now() + make_interval(secs => :idle)),
                            now() + make_interval(secs => least(:pause_max,
                                :pause * 2.0 ^ least(c.idle_looks, 16)))),
                        c.next_look_at, CASE WHEN :has_closed THEN now() END)
                    END
            FROM wait WHERE c.id = :id AND c.epoch = :epoch AND c.status = 'owned'
            RETURNING c.status
            """
        ),
        {
            "lane": chunk.lane_id,
            "no": chunk.no,
            "live": list(_LIVE),
            "id": chunk.id,
            "epoch": chunk.epoch,
            "again": look_again_seconds,
            "now": now,
            "loaded": loaded_at,
            "has_closed": has_closed,
            "waits_on": sorted(waits_on) or None,
            "at_once": at_once,
            "idle": IDLE_SECONDS,
            "pause": PAUSE_SECONDS,
            "pause_max": WAITING_SECONDS_MAX if waits_on else PAUSE_SECONDS_MAX,
        },
    )
    row = rows.first()
    if row is None:
        raise LeaseLost(f"chunk {chunk.id} is no longer owned at epoch {chunk.epoch}")
    return bool(row.status == "done")


async def _one_is_closed(conn: Connection, breakers: Collection[str]) -> bool:
    """Whether a breaker closed between its refusal and now; whoever closes one later waits for us.

    The rows are locked until the chunk is released, so a closing comes before and is seen here, or
    comes after and finds the chunk waiting.
    """
    rows = await conn.execute(
        text(
            f"SELECT state, {BRIEFLY} FROM circuit_breakers WHERE name = ANY(:names)"
            " ORDER BY name FOR SHARE"
        ),
        {"names": list(breakers)},
    )
    return "closed" in rows.scalars().all()


async def crashed(conn: Connection, chunk: OwnedChunk, after_seconds: float, error: str) -> None:
    """Give back a chunk whose work broke off, which is a bug; look again later, not at once."""
    await conn.execute(
        text(
            "UPDATE chunks SET status = 'ready', owner = NULL, crashes = crashes + 1,"
            " last_error = :error,"
            " next_look_at = least(next_look_at, now() + make_interval(secs => :s)),"
            " delay_seconds = :s"
            " WHERE id = :id AND epoch = :epoch AND status = 'owned'"
        ),
        {"id": chunk.id, "epoch": chunk.epoch, "s": after_seconds, "error": error[:500]},
    )


async def held_by(conn: Connection, worker_id: int) -> dict[tuple[int, int], bool]:
    """The (id, epoch) of the chunks this worker owns, and whether their runs are still running."""
    rows = await conn.execute(
        text(
            "SELECT c.id, c.epoch, r.status = 'running' AS wanted FROM chunks c"
            " JOIN pipeline_executions r ON r.id = c.run_id"
            " WHERE c.owner = :worker AND c.status = 'owned'"
        ),
        {"worker": worker_id},
    )
    return {(row.id, row.epoch): row.wanted for row in rows}


async def give_back(conn: Connection, worker_id: int, held: Sequence[tuple[int, int]]) -> list[int]:
    """Make chunks ready that this worker owns and nobody works on; returns their ids."""
    rows = await conn.execute(
        text(
            "UPDATE chunks c SET status = 'ready', owner = NULL, epoch = c.epoch + 1,"
            " next_look_at = now()"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:epochs AS bigint[])) AS u(id, epoch)"
            " WHERE c.id = u.id AND c.epoch = u.epoch AND c.owner = :worker"
            " AND c.status = 'owned' RETURNING c.id"
        ),
        {
            "worker": worker_id,
            "ids": [chunk_id for chunk_id, _ in held],
            "epochs": [epoch for _, epoch in held],
        },
    )
    return [row.id for row in rows]
