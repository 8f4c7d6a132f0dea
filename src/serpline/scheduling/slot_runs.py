"""The run that slots share: its id and its configuration."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from serpline.config.model import read_value
from serpline.config.run import PipelineConfig
from serpline.config.values import NAME
from serpline.core.ids import derived_id
from serpline.domain.names import SEARCHED_TYPES, ContentType
from serpline.scheduling import merging
from serpline.scheduling.merging import Followed
from serpline.scheduling.occurrences import in_utc
from serpline.scheduling.spec import ScheduleSpec


def read_name(given: Any) -> str:
    """Return the name of a schedule. Raises ``UserError`` if it cannot be one."""
    return read_value(NAME, "schedule", given)


def run_id_of(
    schedule: str, instant: datetime, group: str = "", content_types: Sequence[ContentType] = ()
) -> UUID:
    """Return the id of a schedule's run at an instant (aware, in any zone).

    ``group``: see ``merging.group_of``; "" if the schedule has one group only. ``content_types``:
    empty, unless these start on their own, after others of their group.
    """
    moment = in_utc("instant", instant).isoformat(timespec="microseconds")
    parts = [part for part in (group, ",".join(content_types)) if part]
    return derived_id("schedule", read_name(schedule), moment, *parts)


def config_of(
    schedule: str,
    specs: Sequence[ScheduleSpec],
    followed: Followed,
    scheduled_for: datetime | None,
    after: datetime,
) -> PipelineConfig:
    """Return the configuration of the run of content types of one group.

    Its collected results are fresh until the schedule's next instant after ``after``.
    """
    in_order = {kind: followed[kind] for kind in SEARCHED_TYPES if kind in followed}
    fresh_until = merging.next_due(specs, in_order, after)
    return merging.run_config(in_order, scheduled_for, schedule, fresh_until)
