"""Schedules as people and the tick see them: what is due next, and starting the run of it.

Promise: the run of a (schedule, instant) has an id that follows from the two, so however often and
from however many processes it is asked for, there is one. A trigger is a run of its own.

Limits: nothing here remembers schedules, watches the clock or stores slots; who calls brings the
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
    """The id of the one run of a schedule at an instant (aware), whichever zone it is given in."""
    moment = in_utc("instant", instant).isoformat(timespec="microseconds")
    return derived_id("schedule", read_value(_NAME, "schedule", schedule_id), moment)


class SchedulingService:
    """Tells what schedules will do, and has the pipeline do it."""

    def __init__(self, pipeline: PipelineService, clock: Clock) -> None:
        self._pipeline = pipeline
        self._clock = clock

    def preview(
        self, specs: Specs, count: int, after: datetime | None = None
    ) -> list[dict[str, Any]]:
        """The next ``count`` times after ``after`` (now, if not given), as JSON rows."""
        return merging.preview(_several(specs), count, after or self._clock.now())

    async def trigger(self, name: str, specs: Specs) -> UUID:
        """Start a run now, whatever the schedule says; every call starts another one."""
        read_value(_NAME, "schedule", name)
        several = _several(specs)
        wanted = {kind for spec in several for kind in spec.content_types}
        fresh_until = merging.next_due(several, wanted, self._clock.now())
        config = merging.run_config(several, None, name, fresh_until)
        run_id = await self._pipeline.start(config, PipelineMode.SCHEDULED)
        _log.info("schedule triggered", action="schedule.trigger", schedule=name, run=str(run_id))
        return run_id

    async def start_slot(self, name: str, specs: Specs, instant: datetime) -> UUID:
        """Start the one run of a schedule at ``instant``, over the types that are due then.

        Does nothing but answer its id if it is there already. Raises ``UserError`` if the schedule
        is not due at that very instant, or if the run could not do anything.
        """
        run_id = run_id_of(name, instant)
        several = _several(specs)
        due = merging.due_at(several, instant)
        if due is None:
            raise UserError(f"schedule {name!r} is not due at {instant.isoformat()}")
        fresh_until = merging.next_due(several, due.content_types, due.scheduled_for)
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


def _several(specs: Specs) -> Sequence[ScheduleSpec]:
    return (specs,) if isinstance(specs, ScheduleSpec) else specs
