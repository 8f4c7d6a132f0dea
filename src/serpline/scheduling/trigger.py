"""Start runs of a schedule by hand. Their slots are those of the instant at which they start."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from serpline.core.ids import new_id
from serpline.core.logging import get
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, PipelineMode
from serpline.domain.schedules import SlotReason
from serpline.domain.states import SlotOutcome
from serpline.pipeline.service import PipelineService
from serpline.scheduling.merging import group_of
from serpline.scheduling.slot_runs import config_of
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.database import Database
from serpline.store.runs.events import Event
from serpline.store.schedules import schedules, slots
from serpline.store.schedules.schedules import ScheduleRow
from serpline.store.schedules.slots import NewSlot

Group = Mapping[ContentType, int]
"""Content types that share a run, each with the number of its specification."""

log = get("scheduling")


def groups_of(
    name: str, specs: Sequence[ScheduleSpec], content_types: Sequence[str]
) -> list[Group]:
    """Group content types, or all if none is named, by the runs that they share.

    A type follows the first of its specifications. Raises ``UserError`` for one without any.
    """
    numbers: dict[ContentType, int] = {}
    for number, spec in enumerate(specs):
        for kind in spec.content_types:
            numbers.setdefault(kind, number)
    for given in content_types:
        if given not in numbers:
            known = ", ".join(numbers)
            raise UserError(f"content_type={str(given)!r}: schedule {name!r} has {known}")
    groups: dict[str, dict[ContentType, int]] = {}
    for kind in map(ContentType, content_types or numbers):
        groups.setdefault(group_of(specs[numbers[kind]]), {})[kind] = numbers[kind]
    return list(groups.values())


async def trigger_group(
    database: Database,
    pipeline: PipelineService,
    row: ScheduleRow,
    specs: Sequence[ScheduleSpec],
    group: Group,
    now: datetime,
) -> UUID:
    """Start the run of a group with its slots, in one transaction; return the run's id."""
    run_id = new_id()
    chosen = {kind: specs[number] for kind, number in group.items()}
    async with database.transaction() as conn:
        held = await schedules.lock(conn, row.id)
        if held is None or held.version != row.version:
            raise UserError(f"schedule {row.id!r} was changed at this moment; trigger it again")
        instant = await slots.free_instant(conn, row.id, now)
        made = [
            NewSlot(
                schedule_id=row.id,
                scheduled_for=instant,
                content_type=kind,
                version=row.version,
                spec_no=group[kind],
                outcome=SlotOutcome.STARTED,
                reason_code=SlotReason.TRIGGERED,
                reason="started by hand",
                run_group=group_of(spec),
                caught_up=False,
                overlap=spec.overlap,
                priority=int(spec.priority),
                start_at=instant,
                deadline_at=None,
                decided_at=now,
                started_at=now,
                run_id=run_id,
            )
            for kind, spec in chosen.items()
        ]
        await slots.insert(conn, made)
        detail = {
            "schedule": row.id,
            "scheduled_for": instant.isoformat(),
            "content_types": [str(kind) for kind in chosen],
            "code": str(SlotReason.TRIGGERED),
        }
        await pipeline.create(
            conn,
            run_id,
            config_of(row.id, specs, chosen, None, now),
            PipelineMode.SCHEDULED,
            more_events=[Event("slot.started", run_id, detail=detail)],
        )
    log.info("schedule.triggered", action="schedule.trigger", run=str(run_id), **detail)
    return run_id
