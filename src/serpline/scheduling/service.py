"""Preview schedules, and start their runs.

The id of a run is derived from its schedule and instant, so any number of calls and processes start
one run for a slot. Every trigger starts a run of its own.

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


def run_id_of(schedule_id: str, instant: datetime) -> UUID:
    """The id of a schedule's run at an instant (aware, in any zone)."""
    moment = in_utc("instant", instant).isoformat(timespec="microseconds")
    return derived_id("schedule", read_value(_NAME, "schedule", schedule_id), moment)


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

    async def trigger(self, name: str, specs: Specs) -> UUID:
        """Start a run now, whether the schedule is due or not. Every call starts another run."""
        read_value(_NAME, "schedule", name)
        all_specs = _as_list(specs)
        content_types = {kind for spec in all_specs for kind in spec.content_types}
        fresh_until = merging.next_due(all_specs, content_types, self._clock.now())
        config = merging.run_config(all_specs, None, name, fresh_until)
        run_id = await self._pipeline.start(config, PipelineMode.SCHEDULED)
        _log.info("schedule triggered", action="schedule.trigger", schedule=name, run=str(run_id))
        return run_id

    async def start_slot(self, name: str, specs: Specs, instant: datetime) -> UUID:
        """Start the run of a schedule's slot at ``instant``, for the types due then; return its id.

        An existing run is left as it is. Raises ``UserError`` if the schedule is not due at exactly
        that instant, or if the run would have nothing to do.
        """
        run_id = run_id_of(name, instant)
        all_specs = _as_list(specs)
        due = merging.due_at(all_specs, instant)
        if due is None:
            raise UserError(f"schedule {name!r} is not due at {instant.isoformat()}")
        fresh_until = merging.next_due(all_specs, due.content_types, due.scheduled_for)
        config = merging.run_config(due.specs, due.scheduled_for, name, fresh_until)
        await self._pipeline.start(config, PipelineMode.SCHEDULED, run_id=run_id)
        _log.info(
            "slot started",
            action="schedule.start_slot",
            schedule=name,
            run=str(run_id),
            scheduled_for=due.scheduled_for.isoformat(),
        )
        return run_id


def _as_list(specs: Specs) -> Sequence[ScheduleSpec]:
    return (specs,) if isinstance(specs, ScheduleSpec) else specs
