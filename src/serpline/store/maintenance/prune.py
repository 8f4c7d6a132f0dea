"""Delete expired operational data. Results and active runs stay. See ``docs/retention.md``.

The promise: only data of ended runs is deleted. A run's row is locked while its data is deleted, so
the run cannot be retried at that moment; runs locked by others are skipped. A portion is one short
transaction, so others wait only briefly. An interrupted pass simply starts again. Two passes may
run at once.

How: a pass is a sequence of steps, a step a sequence of portions, each of which returns where the
next one begins. Items are deleted chunk by chunk and run by run. Other tables are scanned by an
index in order of age, and their younger part is not read. ``store.maintenance.expiry`` deletes
expired runs.

The limits: ages are whole days before ``now``. PostgreSQL reuses the freed space; files do not
shrink. A run whose items were deleted cannot be retried (``pruned_lanes``), because what it bought
is no longer recorded per item.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from serpline.domain.states import ENDED_RUNS
from serpline.store.database import Connection
from serpline.store.maintenance.retention import Retention, Rule

Place = list[Any]
"""Where a step's next portion begins, as JSON values. Empty: at the beginning."""

# The most rows that a portion reads or deletes: some ten milliseconds.
ROWS_MAX: Final = 1_000
ITEMS_MAX: Final = 10_000

ENDED: Final = [str(status) for status in ENDED_RUNS]


@dataclass(frozen=True, slots=True)
class Terms:
    """Cutoff times and the limits of a portion.

    ``cutoffs``: by the retention's field; None: data of that kind never expires.
    """

    cutoffs: Mapping[str, datetime | None]
    rows_max: int = ROWS_MAX
    items_max: int = ITEMS_MAX

    @classmethod
    def of(cls, retention: Retention, now: datetime, **more: int) -> "Terms":
        """Return the terms of a retention at ``now``."""
        days = {each.name: getattr(retention, each.name) for each in fields(retention)}
        cutoffs = {
            name: None if kept is None else now - timedelta(days=kept)
            for name, kept in days.items()
        }
        return cls(cutoffs, **more)


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows deleted by table, and where the next portion begins; None: the step is done."""

    deleted: Mapping[str, int] = field(default_factory=dict)
    place: Place | None = None


Step = Callable[[Connection, Terms, Place], Awaitable[Portion]]


async def longest_ttl_days(conn: Connection) -> int:
    """Return the longest reference TTL of any run, in days.

    Ended runs count too: a retry, or the next run of their kind, has the same TTL.
    """
    return (await conn.execute(_LONGEST_TTL)).scalar_one() or 0


async def pruned_lanes(conn: Connection, run_id: UUID) -> set[int]:
    """Return the ids of the run's lanes whose items were pruned: they cannot be retried.

    Planned again, such a lane would buy its data again. (For a lane that computes this is
    harmless.)
    """
    rows = await conn.execute(
        sa.text(
            "SELECT DISTINCT c.lane_id FROM chunks c WHERE c.run_id = :run AND c.planned > 0"
            " AND NOT EXISTS (SELECT FROM items i"
            " WHERE i.lane_id = c.lane_id AND i.chunk_no = c.no)"
        ),
        {"run": run_id},
    )
    return {row.lane_id for row in rows}


_LONGEST_TTL: Final = sa.text(
    "SELECT max((config ->> 'reference_ttl_days')::int) FROM pipeline_executions"
)
_OLD_RUN: Final = "r.status = ANY(:ended) AND r.completed_at < :cutoff"
_NEXT_RUN: Final = sa.text(
    "SELECT r.id, r.completed_at FROM pipeline_executions r"
    f" WHERE {_OLD_RUN} AND r.items_pruned_at IS NULL AND r.expired_at IS NULL"
    " AND (r.completed_at, r.id) >= (CAST(:at AS timestamptz), CAST(:id AS uuid))"
    " ORDER BY r.completed_at, r.id LIMIT 1 FOR SHARE SKIP LOCKED"
)
# Skipped if another pass has locked the run; the next pass then finds that nothing is left.
_ITEMS_PRUNED: Final = sa.text(
    "UPDATE pipeline_executions SET items_pruned_at = now() WHERE id = (SELECT id"
    " FROM pipeline_executions WHERE id = :run FOR NO KEY UPDATE SKIP LOCKED)"
)
_CHUNKS: Final = sa.text(
    "SELECT lane_id, no, planned FROM chunks WHERE run_id = :run"
    " AND (lane_id, no) > (:lane, :no) ORDER BY lane_id, no LIMIT :limit"
)
_DELETE_ITEMS: Final = sa.text(
    "DELETE FROM items i USING unnest(CAST(:lanes AS bigint[]), CAST(:nos AS int[]))"
    " AS u(lane_id, no) WHERE i.lane_id = u.lane_id AND i.chunk_no = u.no"
)
_FIRST_RUN: Final = ["-infinity", str(UUID(int=0)), -1, -1]


async def prune_items(conn: Connection, terms: Terms, place: Place) -> Portion:
    """Delete items of some chunks, whole chunks at a time, of the run that ended first."""
    at, run_id, lane, no = place or _FIRST_RUN
    values = {"ended": ENDED, "cutoff": terms.cutoffs["items_days"], "at": at, "id": run_id}
    run = (await conn.execute(_NEXT_RUN, values)).first()
    if run is None:
        return Portion()
    if str(run.id) != run_id:
        lane, no = _FIRST_RUN[2:]
    chosen: list[tuple[int, int]] = []
    size = 0
    found = {"run": run.id, "lane": lane, "no": no, "limit": terms.rows_max}
    chunks = (await conn.execute(_CHUNKS, found)).all()
    for chunk in chunks:
        if chosen and size + chunk.planned > terms.items_max:
            break
        chosen.append((chunk.lane_id, chunk.no))
        size += chunk.planned
    nos = {"lanes": [lane for lane, _ in chosen], "nos": [no for _, no in chosen]}
    deleted = (await conn.execute(_DELETE_ITEMS, nos)).rowcount if chosen else 0
    lane, no = chosen[-1] if chosen else (lane, no)
    if len(chosen) == len(chunks) < terms.rows_max:
        await conn.execute(_ITEMS_PRUNED, {"run": run.id})
    return Portion({"items": deleted}, [run.completed_at.isoformat(), str(run.id), lane, no])


async def count_items(conn: Connection, terms: Terms) -> dict[str, int]:
    """Count the items that would be deleted."""
    found = await conn.execute(
        sa.text(
            "SELECT count(*) FROM items i JOIN pipeline_phase_status l ON l.id = i.lane_id"
            f" JOIN pipeline_executions r ON r.id = l.pipeline_execution_id WHERE {_OLD_RUN}"
        ),
        {"ended": ENDED, "cutoff": terms.cutoffs["items_days"]},
    )
    return {"items": int(found.scalar_one())}


def _window(rule: Rule, *, ended: bool) -> str:
    """Return the condition for a window: after ``:k0`` …, and if ``ended`` up to ``:l0`` …."""
    keys = ", ".join(name for name, _ in rule.key)

    def row(letter: str) -> str:
        names = (f"CAST(:{letter}{n} AS {kind})" for n, (_, kind) in enumerate(rule.key))
        return f"({', '.join(names)})"

    after = f" AND ({keys}) > {row('k')}"
    return f"{rule.where}{after}" + (f" AND ({keys}) <= {row('l')}" if ended else "")


def bounds(rule: Rule, *, begins: bool) -> str:
    """Return the statement that finds a window: its last key, its rows, and if any may be old."""
    keys = ", ".join(f"{name} AS k{n}" for n, (name, _) in enumerate(rule.key))
    order = ", ".join(name for name, _ in rule.key)
    may_be_old = "true" if rule.made is None else f"{rule.made} < :cutoff"
    where = rule.where if begins else _window(rule, ended=False)
    last = ", ".join(f"(array_agg(CAST(k{n} AS text)))[count(*)]" for n in range(len(rule.key)))
    return (
        f"SELECT count(*) AS rows, bool_or(may_be_old) AS may_be_old, ARRAY[{last}] AS last"
        f" FROM (SELECT {keys}, {may_be_old} AS may_be_old FROM {rule.table} t WHERE {where}"
        f" ORDER BY {order} LIMIT :limit) w"
    )


async def prune_table(conn: Connection, terms: Terms, place: Place, *, rule: Rule) -> Portion:
    """Delete the old rows of a window: lock their runs first, then select the rows."""
    cutoff = terms.cutoffs[rule.days]
    after = {f"k{n}": value for n, value in enumerate(place)}
    values = {"cutoff": cutoff, "limit": terms.rows_max, **after}
    found = (await conn.execute(sa.text(bounds(rule, begins=not place)), values)).one()
    if not found.rows or not found.may_be_old:
        return Portion()
    last = {f"l{n}": value for n, value in enumerate(found.last)}
    window = _window(rule, ended=True) if place else _first_window(rule)
    within = {"cutoff": cutoff, **after, **last}
    deleted = await _delete(conn, rule, f"{window} AND {rule.old}", within)
    is_last = found.rows < terms.rows_max
    return Portion({rule.table: deleted}, None if is_last else list(found.last))


def _first_window(rule: Rule) -> str:
    keys = ", ".join(name for name, _ in rule.key)
    row = ", ".join(f"CAST(:l{n} AS {kind})" for n, (_, kind) in enumerate(rule.key))
    return f"{rule.where} AND ({keys}) <= ({row})"


async def _delete(conn: Connection, rule: Rule, where: str, values: Mapping[str, Any]) -> int:
    if rule.run is None:
        # Check the condition again after locking: only the second statement sees a claim of
        # reference data made in between.
        lock = f"SELECT t.ctid FROM {rule.table} t WHERE {where} FOR UPDATE SKIP LOCKED"
        locked = (await conn.execute(sa.text(lock), values)).scalars().all()
        if not locked:
            return 0
        delete = (
            f"DELETE FROM {rule.table} t WHERE t.ctid = ANY(CAST(:locked AS tid[])) AND {where}"
        )
        return (await conn.execute(sa.text(delete), {**values, "locked": list(locked)})).rowcount
    found = await conn.execute(
        sa.text(f"SELECT DISTINCT {rule.run} AS run_id FROM {rule.table} t WHERE {where}"), values
    )
    runs = list(found.scalars())
    if not runs:
        return 0
    free = await _lock_ended(conn, [run_id for run_id in runs if run_id is not None])
    delete = (
        f"DELETE FROM {rule.table} t WHERE {where}"
        f" AND ({rule.run} IS NULL OR {rule.run} = ANY(CAST(:free AS uuid[])))"
    )
    return (await conn.execute(sa.text(delete), {**values, "free": free})).rowcount


async def count_table(conn: Connection, terms: Terms, *, rule: Rule) -> dict[str, int]:
    """Count the rows of a table that would be deleted."""
    ended = ""
    if rule.run is not None:
        ended = (
            " AND NOT EXISTS (SELECT FROM pipeline_executions r"
            f" WHERE r.id = {rule.run} AND r.status <> ALL(:ended))"
        )
    found = await conn.execute(
        sa.text(f"SELECT count(*) FROM {rule.table} t WHERE {rule.where} AND {rule.old}{ended}"),
        {"cutoff": terms.cutoffs[rule.days], "ended": ENDED},
    )
    return {rule.table: int(found.scalar_one())}


async def _lock_ended(conn: Connection, runs: Sequence[UUID]) -> list[UUID]:
    """Return the runs that have ended, and lock them against a retry, or that do not exist."""
    if not runs:
        return []
    rows = await conn.execute(
        sa.text(
            "SELECT id FROM pipeline_executions WHERE id = ANY(:runs) AND status = ANY(:ended)"
            " ORDER BY id FOR SHARE SKIP LOCKED"
        ),
        {"runs": list(runs), "ended": ENDED},
    )
    held = list(rows.scalars())
    known = await conn.execute(
        sa.text("SELECT id FROM pipeline_executions WHERE id = ANY(:runs)"), {"runs": list(runs)}
    )
    return [*held, *(set(runs) - set(known.scalars()))]
