"""How long a run's results stay fresh in the combined figures of later runs.

A schedule's run is fresh until the next slot of the content type is due. The schedule stores that
time in the run's configuration (``fresh_until``). Any other run is fresh for a day (news), a week
(video) or a month (organic).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType

FRESH_FOR: Mapping[str, timedelta] = {
    ContentType.NEWS: timedelta(days=1),
    ContentType.VIDEO: timedelta(days=7),
    ContentType.ORGANIC: timedelta(days=31),
}


def stands_at(
    config: PipelineConfig, scheduled_for: datetime | None, created_at: datetime
) -> datetime:
    """The time for which a run's figures stand: of its slot, or else of its creation.

    A late snapshot stands for the time at which it was taken. A run that replaces another one
    stands in its place.
    """
    backfill = config.backfill
    made_at = (backfill and backfill.started_at) or created_at
    return made_at if config.is_late else scheduled_for or made_at


def is_stale(
    config: PipelineConfig, content_type: str, started_at: datetime, now: datetime
) -> bool:
    """Whether the results of a run of ``config`` are stale at ``now``.

    ``started_at``: the time for which its figures stand (``stands_at``).
    """
    due = config.fresh_until.get(content_type, started_at + FRESH_FOR[content_type])
    return now >= due
