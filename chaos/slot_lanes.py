"""The auditors of content types: their pauses after failed runs, and the deadlines of their lanes.

They compute from the ends of runs what must be, without the product's code.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from chaos.slot_world import SlotWorld
from serpline.store.database import Database

# As documented: an instant that nobody looked at for so long was missed.
ON_TIME = timedelta(seconds=300)
# Clocks are wrong by a day at most.
_AROUND = timedelta(days=1)
_ENDS = sa.text(
    "SELECT t.content_type, e.completed_at AS ended_at,"
    " coalesce(l.status, '') = 'completed' AS is_good"
    " FROM schedule_slots t JOIN pipeline_executions e ON e.id = t.run_id"
    " LEFT JOIN pipeline_phase_status l ON l.pipeline_execution_id = e.id"
    " AND l.phase_name = 'dsi_calculation' AND l.content_type = t.content_type"
    " ORDER BY e.completed_at, t.scheduled_for"
)
_DEADLINES = sa.text(
    "SELECT DISTINCT l.id, l.content_type, l.started_at, l.completed_at"
    " FROM pipeline_phase_status l JOIN schedule_slots t ON t.run_id = l.pipeline_execution_id"
    " AND t.content_type = l.content_type"
    " WHERE l.status = 'failed' AND l.error_message LIKE '%deadline: not finished%'"
)


class TypePause(NamedTuple):
    """A pause of a content type, by the database's clock.

    ``surely_from``: no process had looked at later instants before the pause. It differs from
    ``since`` only if the clock had been set back.
    """

    since: datetime
    surely_from: datetime
    until: datetime


async def type_pauses(world: SlotWorld) -> Mapping[str, list[TypePause]]:
    """When failed runs in a row had paused each content type, until a person resumed it."""
    assert world.deleted_at is not None
    most = {spec["content_type"]: spec.get("pause_after_failures") for spec in world.plan.specs}
    found: dict[str, list[TypePause]] = {kind: [] for kind in most}
    failures: Counter[str] = Counter()
    since: dict[str, datetime] = {}
    ends = [(row["ended_at"], row) for row in await rows(world.services.database, _ENDS)]
    resumes = [(at, None) for at in (*world.resumes, world.deleted_at)]
    for at, row in sorted([*ends, *resumes], key=lambda each: each[0]):
        if row is None:
            for kind, begin in since.items():
                found[kind].append(TypePause(begin, _looked_until(world, begin), at))
            since.clear()
            failures.clear()
            continue
        kind = row["content_type"]
        failures[kind] = 0 if row["is_good"] else failures[kind] + 1
        if kind not in since and failures[kind] == most[kind]:
            since[kind] = at
    return found


def _looked_until(world: SlotWorld, at: datetime) -> datetime:
    """The latest instant that was looked at when a look saw the time ``at``."""
    last = max(number for number, look in enumerate(world.looks) if look <= at + ON_TIME)
    return max(at, *world.looks[: last + 1])


async def deadlines(world: SlotWorld) -> Mapping[str, int]:
    """How many lanes ended by their deadline, and how many of them before it."""
    ended = await rows(world.services.database, _DEADLINES)
    early = sum(_is_early(row, world) for row in ended)
    return {"deadlines": len(ended), "deadlines_early": early}


def _is_early(row: Mapping[str, Any], world: SlotWorld) -> bool:
    """Whether a lane ended before its deadline, by clocks that nobody set at that time."""
    begin, end = row["started_at"], row["completed_at"]
    if any(begin - _AROUND <= at <= end + _AROUND for at in world.clock_sets):
        return False
    hours = {spec["content_type"]: spec["lane_deadline_hours"] for spec in world.plan.specs}
    return bool(end - begin < timedelta(hours=hours[row["content_type"]]))


async def rows(database: Database, query: sa.TextClause, **values: Any) -> list[dict[str, Any]]:
    """The rows that a query returns."""
    async with database.transaction() as conn:
        return [dict(row) for row in (await conn.execute(query, values)).mappings()]
