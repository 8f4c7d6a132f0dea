"""How a content type of a schedule fares: how old its data are, and how often it failed in a row.

Pure. A content type fails alone: after too many failures in a row it is paused, and the others go
on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from serpline.domain.names import ContentType
from serpline.domain.schedules import ScheduleLane
from serpline.scheduling.spec import ScheduleSpec


@dataclass(frozen=True, slots=True)
class Targets:
    """What a schedule demands of a content type; None and 0: nothing."""

    freshness_seconds: int | None = None
    failures_max: int = 0


def targets_of(specs: Sequence[ScheduleSpec], content_type: ContentType) -> Targets:
    """The strictest targets of the specifications of a content type."""
    own = [spec for spec in specs if content_type in spec.content_types]
    ages = [s.freshness_target_seconds for s in own if s.freshness_target_seconds is not None]
    failures = [s.pause_after_failures for s in own if s.pause_after_failures]
    return Targets(min(ages, default=None), min(failures, default=0))


def content_types_of(specs: Iterable[ScheduleSpec]) -> set[ContentType]:
    """The content types of a schedule."""
    return {kind for spec in specs for kind in spec.content_types}


def with_data(
    lane: ScheduleLane, targets: Targets, data_at: datetime, now: datetime
) -> ScheduleLane:
    """The lane after a success with data of ``data_at``. Older data than known change nothing."""
    at = max(lane.last_success_at or data_at, data_at)
    lane = replace(lane, last_success_at=at)
    if targets.freshness_seconds is None:
        return replace(lane, fresh_until=None, stale_since=None)
    fresh_until = at + timedelta(seconds=targets.freshness_seconds)
    is_stale = fresh_until <= now
    return replace(
        lane, fresh_until=fresh_until, stale_since=lane.stale_since if is_stale else None
    )


def after_run(
    lane: ScheduleLane,
    targets: Targets,
    *,
    succeeded: bool | None,
    was_succeeded: bool | None,
    now: datetime,
) -> ScheduleLane:
    """The lane after a run. A cancelled run (``succeeded`` None) changes nothing.

    ``was_succeeded``: what was known of the run before. A run that is retried counts once.
    """
    if succeeded is None or succeeded is was_succeeded:
        return lane
    if succeeded:
        return replace(lane, failures_in_row=0)
    if was_succeeded is not None:
        return lane
    lane = replace(lane, failures_in_row=lane.failures_in_row + 1)
    if lane.paused_at is None and 0 < targets.failures_max <= lane.failures_in_row:
        reason = f"{lane.failures_in_row} runs in a row failed"
        return replace(lane, paused_at=now, pause_reason=reason)
    return lane
