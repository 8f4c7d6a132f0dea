"""Preview schedules, and start their runs.

The id of a run is derived from its schedule, instant and group of content types, so any number of
calls and processes start the same runs. Every trigger starts runs of its own.

Limits: the service stores no schedules and no slots and watches no clock. The caller passes the
specifications.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from serpline.config.model import read_value
from serpline.config.values import Name
from serpline.core.clock import Clock
from serpline.core.ids import derived_id
from serpline.core.logging import get
from serpline.domain.errors import UserError
from serpline.domain.names import PipelineMode
from serpline.pipeline.service import PipelineService
from serpline.scheduling import merging
from serpline.scheduling.occurrences import in_utc
from serpline.scheduling.spec import ScheduleSpec

_log = get("scheduling")
_NAME: TypeAdapter[str] = TypeAdapter(Name)

Specs = ScheduleSpec | Sequence[ScheduleSpec]


def run_id_of(schedule_id: str, instant: datetime, group: str = "") -> UUID:
    """The id of a schedule's run at an instant (aware, in any zone).

    ``group``: see ``merging.group_of``; "" if the schedule has one group only.
    """
    moment = in_utc("instant", instant).isoformat(timespec="microseconds")
    name = read_value(_NAME, "schedule", schedule_id)
    return derived_id("schedule", name, moment, *filter(None, [group]))


class SchedulingService:
    """Preview schedules and start their runs in the pipeline."""

    def __init__(self, pipeline: PipelineService, clock: Clock) -> None:
        self._pipeline = pipeline
        self._clock = clock

    def preview(
        self, specs: Specs, count: int, after: datetime | None = None
    ) -> list[dict[str, Any]]:
        """The next ``count`` occurrences after ``after`` (default: now), as JSON rows."""
        return merging.preview(_as_list(specs), count, after or self._clock.now())

    async def trigger(self, name: str, specs: Specs) -> list[UUID]:
        """Start runs of all types now, due or not; return their ids. Every call starts others."""
        read_value(_NAME, "schedule", name)
        all_specs = _as_list(specs)
        merging.check_compatible(all_specs)
        run_ids = []
        for followed in merging.groups(all_specs):
            fresh_until = merging.next_due(all_specs, followed, self._clock.now())
            config = merging.run_config(followed, None, name, fresh_until)
            run_id = await self._pipeline.start(config, PipelineMode.SCHEDULED)
            run_ids.append(run_id)
            _log.info(
                "schedule triggered", action="schedule.trigger", schedule=name, run=str(run_id)
            )
        return run_ids

    async def start_slot(self, name: str, specs: Specs, instant: datetime) -> list[UUID]:
        """Start the runs of a schedule at ``instant``, for the types due then; return their ids.

        Existing runs are left as they are. Raises ``UserError`` if the schedule is not due at
        exactly that instant, or if a run would have nothing to do.
        """
        read_value(_NAME, "schedule", name)
        all_specs = _as_list(specs)
        due = merging.due_at(all_specs, instant)
        if due is None:
            raise UserError(f"schedule {name!r} is not due at {instant.isoformat()}")
        has_groups = len({merging.group_of(spec) for spec in all_specs}) > 1
        run_ids = []
        for followed in due.runs:
            group = merging.group_of(next(iter(followed.values()))) if has_groups else ""
            run_id = run_id_of(name, instant, group)
            fresh_until = merging.next_due(all_specs, followed, due.scheduled_for)
            config = merging.run_config(followed, due.scheduled_for, name, fresh_until)
            await self._pipeline.start(config, PipelineMode.SCHEDULED, run_id=run_id)
            run_ids.append(run_id)
            _log.info(
                "slot started",
                action="schedule.start_slot",
                schedule=name,
                run=str(run_id),
                scheduled_for=due.scheduled_for.isoformat(),
            )
        return run_ids


def _as_list(specs: Specs) -> Sequence[ScheduleSpec]:
    return (specs,) if isinstance(specs, ScheduleSpec) else specs
