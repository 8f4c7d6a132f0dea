"""Start runs of a schedule by hand. Their slots are those of the instant at which they start.

Each run has an instant of its own, from which its id derives, as with slots of the calendar.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from serpline.core.logging import get
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, PipelineMode
from serpline.domain.schedules import SlotReason
from serpline.domain.states import SlotOutcome
from serpline.pipeline.service import PipelineService
from serpline.scheduling.merging import group_of
from serpline.scheduling.slot_runs import config_of, run_id_of
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.database import Connection
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import slots
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


async def trigger_groups(
    conn: Connection,
    pipeline: PipelineService,
    row: ScheduleRow,
    specs: Sequence[ScheduleSpec],
    groups: Sequence[Group],
    now: datetime,
    before: Sequence[Event],
    by: str | None = None,
) -> list[UUID]:
    """Start a run for each group of a locked schedule, all or none; return the runs' ids.

    Writes the events ``before`` and its own, and so ends the caller's transaction.
    """
    started: list[Event] = []
    written = list(before)
    for group in groups:
        chosen = {kind: specs[number] for kind, number in group.items()}
        instant = await slots.free_instant(conn, row.id, now)
        run_id = run_id_of(row.id, instant)
        made = [
            _slot(row, spec, group[kind], kind, instant, now, run_id)
            for kind, spec in chosen.items()
        ]
        await slots.insert(conn, made)
        config = config_of(row.id, specs, chosen, None, now)
        written += await pipeline.insert(conn, run_id, config, PipelineMode.SCHEDULED, by=by)
        detail = {
            "schedule": row.id,
            "scheduled_for": instant.isoformat(),
            "content_types": [str(kind) for kind in chosen],
            "code": str(SlotReason.TRIGGERED),
        }
        started.append(Event("slot.started", run_id, detail=detail))
    await events.append(conn, [*written, *started])
    for event in started:
        log.info(
            "schedule.triggered", action="schedule.trigger", run=str(event.run_id), **event.detail
        )
    return [event.run_id for event in started if event.run_id is not None]


def _slot(
    row: ScheduleRow,
    spec: ScheduleSpec,
    spec_no: int,
    kind: ContentType,
    instant: datetime,
    now: datetime,
    run_id: UUID,
) -> NewSlot:
    return NewSlot(
        schedule_id=row.id,
        scheduled_for=instant,
        content_type=kind,
        version=row.version,
        spec_no=spec_no,
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
