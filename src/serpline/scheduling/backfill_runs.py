"""What the runs of a backfill are: which slots share one, its id, its configuration, its cost."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from serpline.config.backfill import RunBackfill
from serpline.config.run import PipelineConfig
from serpline.core.ids import derived_id
from serpline.domain.errors import UserError
from serpline.domain.names import PhaseName
from serpline.domain.schedules import BackfillKind
from serpline.pipeline.estimate import EXACT, Estimate, Providers, estimate
from serpline.pipeline.things import Line
from serpline.scheduling.documents import specs_from_json
from serpline.scheduling.slot_runs import config_of
from serpline.store.database import Connection
from serpline.store.runs import runs
from serpline.store.schedules import schedules
from serpline.store.schedules.backfill_slots import FillableSlot

HELD = "the provider holds the results"
STORED = "stored replies; no call is made"


def run_groups(slots: Iterable[FillableSlot]) -> list[list[FillableSlot]]:
    """Group slots that share a run, newest first."""
    ordered = sorted(slots, key=lambda slot: (_group(slot), slot.content_type))
    grouped = [list(found) for _, found in groupby(ordered, key=_group)]
    return sorted(grouped, key=lambda group: group[0].scheduled_for, reverse=True)


def _group(slot: FillableSlot) -> tuple[datetime, int, str, str]:
    return slot.scheduled_for, slot.version, slot.run_group, str(slot.run_id or "")


def run_id_of(backfill_id: int, slots: Sequence[FillableSlot]) -> UUID:
    """The id of the run of slots that share one. The same backfill never makes two."""
    instant, version, group, earlier = _group(slots[0])
    moment = instant.isoformat(timespec="microseconds")
    return derived_id("backfill", str(backfill_id), moment, str(version), group, earlier)


async def config_for(
    conn: Connection,
    schedule: str,
    kind: BackfillKind,
    backfill_id: int | None,
    slots: Sequence[FillableSlot],
    now: datetime,
) -> PipelineConfig:
    """The configuration of the run of slots that share one.

    A late run follows the schedule as it was at the slot. Other runs repeat the slot's run. Raises
    ``UserError`` if that is not possible any more.
    """
    first = slots[0]
    given = None if backfill_id is None else str(backfill_id)
    if kind is BackfillKind.LATE:
        specs = specs_from_json(await schedules.specs_of(conn, schedule, first.version))
        chosen = {slot.content_type: specs[slot.spec_no] for slot in slots}
        config = config_of(schedule, specs, chosen, first.scheduled_for, now)
        return config.model_copy(update={"backfill": RunBackfill(kind=kind, id=given)})
    earlier = None if first.run_id is None else await runs.get(conn, first.run_id)
    if earlier is None:
        raise UserError(f"slot {first.scheduled_for.isoformat()}: its run {first.run_id} is gone")
    return PipelineConfig.from_json(earlier.config).model_copy(
        update={
            "content_types": tuple(slot.content_type for slot in slots),
            "result_sets": {},
            "backfill": RunBackfill(kind=kind, id=given, run_id=earlier.id),
        }
    )


async def estimate_runs(
    conn: Connection,
    schedule: str,
    kind: BackfillKind,
    slots: Sequence[FillableSlot],
    now: datetime,
    providers: Providers,
) -> dict[str, Any]:
    """What the runs of a backfill would cost together, as ``Estimate.to_json``, with their number.

    Runs of equal configuration are estimated once.
    """
    groups = run_groups(slots)
    if kind is BackfillKind.RECOMPUTE:
        return {"runs": len(groups), "slots": len(slots), "basis": STORED, "providers": {}}
    known: dict[str, Estimate] = {}
    found: list[Estimate] = []
    for group in groups:
        config = await config_for(conn, schedule, kind, None, group, now)
        key = _of_any_slot(config)
        if key not in known:
            known[key] = await estimate(conn, config, providers, now)
        found.append(known[key])
    lines = [line for each in found for line in each.lines]
    if kind is BackfillKind.REFETCH:
        lines = [_free(line) for line in lines]
    searches = sum(each.searches for each in found)
    pairs = sum(each.pairs for each in found)
    total = Estimate(pairs, searches, _sum(lines), providers.prices)
    return {"runs": len(groups), "slots": len(slots), **total.to_json()}


def _of_any_slot(config: PipelineConfig) -> str:
    """The configuration without what only its slot has: runs that share it cost the same."""
    nothing: dict[str, Any] = {
        "scheduled_for": None,
        "backfill": None,
        "result_sets": {},
        "fresh_until": {},
    }
    return config.model_copy(update=nothing).model_dump_json()


def _free(line: Line) -> Line:
    """The search line of a refetch: its calls fetch what was paid for."""
    if line.phase is not PhaseName.SERP_COLLECTION:
        return line
    return replace(line, credits=0.0, basis=HELD)


def _sum(lines: Iterable[Line]) -> tuple[Line, ...]:
    totals: dict[tuple[PhaseName, str], Line] = {}
    for line in lines:
        key = (line.phase, line.provider)
        before = totals.get(key, replace(line, calls=0, credits=0.0, basis=line.basis or EXACT))
        totals[key] = replace(
            before, calls=before.calls + line.calls, credits=before.credits + line.credits
        )
    return tuple(totals.values())
