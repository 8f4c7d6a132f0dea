"""The auditors of a schedule's 90 days: they compute what must be, without the product's code.

PostgreSQL's ``AT TIME ZONE`` gives the instants. The campaign knows when the worker looked and when
a person paused. The simulator's ledger gives the credits.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from chaos.slot_lanes import ON_TIME, TypePause, deadlines, rows, type_pauses
from chaos.slot_world import SlotWorld
from serpline.simulator.dataforseo import COST
from serpline.store.database import Database

_ENDED = frozenset({"completed", "completed_with_errors", "failed", "cancelled"})
_LATE = frozenset({"caught_up", "catch_up_none", "superseded", "too_old", "too_many"})
# We count its tasks, and it charges dollars.
_UNITS = {"dataforseo": COST}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Key = tuple[datetime, str]
"""An instant and a content type."""

# The first minute from which on the zone's clocks show the time or a later one. So a time that a
# clock change skips is due at the first instant after the gap, and one that it repeats the first
# time.
_INSTANTS = sa.text(
    """
    WITH wanted AS (
        SELECT day + CAST(:time AS time) AS local
        FROM (SELECT CAST(generate_series(CAST(:begin AS timestamptz) - interval '2 days',
            CAST(:until AS timestamptz) + interval '2 days', interval '1 day') AS date) AS day) d
        WHERE CASE :frequency WHEN 'daily' THEN true
            WHEN 'weekly' THEN extract(isodow FROM day) = ANY(CAST(:weekdays AS int[]))
            ELSE extract(day FROM day) = CASE WHEN CAST(:day AS int) = -1 THEN extract(day FROM
                date_trunc('month', CAST(day AS timestamp)) + interval '1 month - 1 day')
                ELSE CAST(:day AS int) END END)
    SELECT (SELECT min(minute) FROM generate_series(
            (local AT TIME ZONE :zone) - interval '3 hours',
            (local AT TIME ZONE :zone) + interval '3 hours', interval '1 minute') AS minute
        WHERE minute AT TIME ZONE :zone >= local) AS instant
    FROM wanted
    """
)
_SLOTS = sa.text(
    "SELECT t.*, e.status AS run_is FROM schedule_slots t"
    " LEFT JOIN pipeline_executions e ON e.id = t.run_id"
    " ORDER BY t.scheduled_for, t.content_type"
)
_RUNS_TWICE = sa.text(
    "SELECT count(*) FROM (SELECT FROM pipeline_executions e CROSS JOIN LATERAL"
    " jsonb_array_elements_text(e.config -> 'content_types') AS t (kind)"
    " WHERE e.scheduled_for IS NOT NULL GROUP BY e.scheduled_for, t.kind HAVING count(*) > 1) two"
)
_RUNS_ALONE = sa.text(
    "SELECT count(*) FROM pipeline_executions e WHERE NOT EXISTS"
    " (SELECT FROM schedule_slots t WHERE t.run_id = e.id)"
)
_SCORED_UNSEARCHED = sa.text(
    "SELECT count(*) FROM pipeline_phase_status d JOIN pipeline_phase_status s"
    " USING (pipeline_execution_id, content_type) WHERE d.phase_name = 'dsi_calculation'"
    " AND s.phase_name = 'serp_collection' AND d.started_at IS NOT NULL"
    " AND s.status NOT IN ('completed', 'skipped')"
)
_CREDITS = sa.text(
    "SELECT provider, sum(credits) AS credits,"
    " coalesce(sum(credits) FILTER (WHERE status = 'unknown'), 0) AS unknown,"
    " coalesce(sum(credits) FILTER (WHERE NOT EXISTS"
    "   (SELECT FROM schedule_slots t WHERE t.run_id = c.run_id)), 0) AS of_no_slot,"
    " count(*) FILTER (WHERE status = 'intent') AS open FROM provider_calls c GROUP BY 1"
)
_BUDGETS = sa.text(
    "SELECT provider, sum(spent) AS spent, sum(reserved) AS reserved FROM provider_budgets"
    " WHERE scope LIKE 'month:%' GROUP BY 1"
)
# Ids of runs that a person started are random, so instants stand for runs.
_TABLES = {
    "runs": "SELECT schedule_id, scheduled_for, content_type, run_id FROM schedule_slots",
    "slots": "SELECT schedule_id, scheduled_for, content_type, version, outcome, reason_code,"
    " reason, start_at, decided_at, started_at, run_status, run_ended_at, succeeded"
    " FROM schedule_slots",
    "lanes": "SELECT t.scheduled_for, t.content_type AS slot, l.phase_name, l.content_type,"
    " l.status, l.retry_count, l.completed_at FROM schedule_slots t"
    " JOIN pipeline_phase_status l ON l.pipeline_execution_id = t.run_id",
    "items": "SELECT t.scheduled_for, t.content_type AS slot, l.phase_name, l.content_type,"
    " i.item, i.status, i.attempts, i.error_category FROM schedule_slots t"
    " JOIN pipeline_phase_status l ON l.pipeline_execution_id = t.run_id"
    " JOIN items i ON i.lane_id = l.id",
    "scores": "SELECT t.scheduled_for, d.content_type, d.market, d.device, d.company, d.dsi,"
    " d.coverage, d.traffic_share, d.relevance, d.results, d.keywords_collected"
    " FROM schedule_slots t JOIN dsi_scores d ON d.run_id = t.run_id"
    " AND d.content_type = t.content_type",
    "events": "SELECT event_type, count(*) FROM pipeline_events GROUP BY 1",
    "credits": "SELECT provider, operation, status, sum(credits), count(*) FROM provider_calls"
    " GROUP BY 1, 2, 3",
}


class Audit(NamedTuple):
    """What the auditors found in one world. All but the first four must be 0.

    ``types_paused``: pauses of a content type after failed runs. ``deadlines``: lanes that ended by
    their deadline. ``deadlines_early``: those that ended before it.
    """

    slots: int
    outcomes: Mapping[str, int]
    types_paused: int
    deadlines: int
    deadlines_early: int
    missing: int
    unexpected: int
    undecided: int
    wordless: int
    falsely_late: int
    falsely_on_time: int
    falsely_paused: int
    falsely_unpaused: int
    runs_twice: int
    runs_without_slot: int
    ends_differing: int
    scored_unsearched: int
    deaths_missing: int
    credits_unexplained: float
    credits_uncharged: float
    credits_of_no_slot: float
    budgets_differing: float
    batches_charged_twice: int


async def audit(world: SlotWorld) -> Audit:
    """Compare a world that has ended with what must be."""
    database = world.services.database
    slots = [row for row in await rows(database, _SLOTS) if row["reason_code"] != "triggered"]
    by_hand = await _number(database, "SELECT count(*) FROM schedule_slots"
                            " WHERE reason_code = 'triggered'")  # fmt: skip
    expected = await expected_slots(world)
    found = {(row["scheduled_for"], row["content_type"]) for row in slots}
    late = {key for key in expected if not _was_looked_at(key[0], world.looks)}
    by_type = await type_pauses(world)
    paused = {
        key
        for key in expected
        if any(a <= key[0] < b for a, b in world.pauses)
        or any(each.surely_from < key[0] < each.until for each in by_type[key[1]])
    }
    codes = {(row["scheduled_for"], row["content_type"]): row["reason_code"] for row in slots}
    said_late = {key for key, code in codes.items() if code in _LATE}
    said_paused = {key for key, code in codes.items() if code == "paused"}
    said_other = {key for key, code in codes.items() if code in ("deleted", "deadline")}
    return Audit(
        slots=len(slots),
        outcomes=Counter(f"{row['outcome']} {row['reason_code']}" for row in slots),
        types_paused=sum(map(len, by_type.values())),
        missing=len(expected - found),
        unexpected=len(found - expected) + abs(by_hand - world.triggered),
        undecided=sum(row["outcome"] == "due" for row in slots),
        wordless=sum(not row["reason_code"] or not row["reason"].strip() for row in slots),
        falsely_late=len(said_late - late),
        falsely_on_time=len(late - said_late - said_paused - said_other),
        # A slot that waited may be paused with those whose instants come later.
        falsely_paused=sum(
            not _may_be_paused(row, world, by_type)
            for row in slots if row["reason_code"] == "paused"
        ),
        falsely_unpaused=len(paused - said_paused),
        runs_twice=await _number(database, _RUNS_TWICE),
        runs_without_slot=await _number(database, _RUNS_ALONE),
        ends_differing=sum(not _has_its_end(row) for row in slots),
        scored_unsearched=await _number(database, _SCORED_UNSEARCHED),
        deaths_missing=world.armed - world.died,
        **await deadlines(world),
        **await _credits(world),
    )  # fmt: skip


async def expected_slots(world: SlotWorld) -> set[Key]:
    """Every instant of every version while it held, with its content type."""
    assert world.deleted_at is not None
    ends = [at for at, _ in world.versions[1:]] + [world.deleted_at]
    found: set[Key] = set()
    for (begin, specs), until in zip(world.versions, ends, strict=True):
        for spec in specs:
            values = _values(spec, begin, until)
            instants = await rows(world.services.database, _INSTANTS, **values)
            found |= {
                (row["instant"], spec["content_type"])
                for row in instants
                if begin < row["instant"] <= until
            }
    return found


async def tables(database: Database) -> dict[str, list[str]]:
    """The tables that a replay must give again, row for row."""
    return {
        name: sorted(
            json.dumps([*row.values()], default=str) for row in await rows(database, sa.text(query))
        )
        for name, query in _TABLES.items()
    }


def rows_differing(one: Mapping[str, Sequence[str]], other: Mapping[str, Sequence[str]]) -> int:
    """How many rows only one of two worlds has."""
    return sum(
        ((Counter(one[name]) - Counter(other[name])) + (Counter(other[name]) - Counter(one[name])))
        .total()
        for name in one
    )  # fmt: skip


async def _credits(world: SlotWorld) -> dict[str, Any]:
    """Charges of the simulator beside our ledger and budgets, provider by provider.

    A call that a kill or a cut connection left unknown counts as paid, so we may count more.
    """
    database, theirs = world.services.database, world.sim.ledger
    ours = {row["provider"]: row for row in await rows(database, _CREDITS)}
    budgets = {row["provider"]: row for row in await rows(database, _BUDGETS)}
    unexplained = uncharged = budget = 0.0
    for provider in {*ours, *theirs.totals()}:
        row = ours.get(provider, {"credits": 0, "unknown": 0})
        charged = theirs.spent(provider) / _UNITS.get(provider, 1.0)
        difference = charged - float(row["credits"])
        unexplained += max(0.0, difference)
        uncharged += max(0.0, -difference - float(row["unknown"]))
    for provider, row in budgets.items():
        budget += abs(float(row["spent"]) - float(ours[provider]["credits"]))
        budget += abs(float(row["reserved"]))
    batches = Counter(each.reference for each in theirs if each.reference.startswith("batch "))
    return {
        "credits_unexplained": round(unexplained, 6),
        "credits_uncharged": round(uncharged, 6),
        "credits_of_no_slot": float(sum(row["of_no_slot"] for row in ours.values())),
        "budgets_differing": round(budget, 6),
        "batches_charged_twice": batches.total() - len(batches),
    }


def _was_looked_at(instant: datetime, looks: Sequence[datetime]) -> bool:
    """Whether the first look at or after the instant came in time; clocks may go back later."""
    first = next((look for look in looks if look >= instant), None)
    return first is not None and first <= instant + ON_TIME


def _has_its_end(row: Mapping[str, Any]) -> bool:
    """Whether a started slot has the end of its run, and every other slot has no run."""
    if row["outcome"] != "started":
        return row["run_id"] is None
    return row["run_is"] in _ENDED and row["run_status"] == row["run_is"]


def _may_be_paused(
    row: Mapping[str, Any], world: SlotWorld, by_type: Mapping[str, Sequence[TypePause]]
) -> bool:
    of_type = [(each.since, each.until) for each in by_type[row["content_type"]]]
    return any(a <= row["decided_at"] <= b + ON_TIME for a, b in (*world.pauses, *of_type))


def _values(spec: Mapping[str, Any], begin: datetime, until: datetime) -> dict[str, Any]:
    weekdays = [_WEEKDAYS.index(day) + 1 for day in spec.get("days_of_week", ["mon"])]
    return {
        "frequency": spec["frequency"],
        "time": spec["time_of_day"],
        "zone": spec["timezone"],
        "day": spec.get("day_of_month", 1),
        "weekdays": weekdays,
        "begin": begin,
        "until": until,
    }


async def _number(database: Database, query: str | sa.TextClause) -> int:
    text = sa.text(query) if isinstance(query, str) else query
    async with database.transaction() as conn:
        return int((await conn.execute(text)).scalar_one())
