"""How long what a run collected stands for its content type in the figures of later runs.

A schedule's run is fresh until the next slot of the type is due: the schedule writes that time into
the run's configuration (``fresh_until``). Any other run is fresh for as long as its content type is
usually collected in: a day for news, a week for videos, a month for organic results.
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


def is_stale(
    config: PipelineConfig, content_type: str, started_at: datetime, now: datetime
) -> bool:
    """Whether what a run of ``config`` collected is stale at ``now``.

    ``started_at``: the time it was scheduled for, or else made.
    """
    due = config.fresh_until.get(content_type, started_at + FRESH_FOR[content_type])
    return now >= due
