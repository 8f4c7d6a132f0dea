"""Which result set of a scheduled batch belongs to a slot."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from serpline.providers.scaleserp.batches import ResultSet

# The provider's clock may be ahead of ours.
EARLY = timedelta(minutes=10)


def result_of_slot(
    found: Iterable[ResultSet], slot: datetime, next_slot: datetime | None
) -> ResultSet | None:
    """The first result set that was started for a slot: near its time, before the next one."""
    until = (next_slot or datetime.max.replace(tzinfo=UTC) - timedelta(days=1)) - EARLY
    timed = [(_time(one.started_at or one.ended_at), one) for one in found]
    own = [(at, one) for at, one in timed if at is not None and slot - EARLY <= at < until]
    return min(own, key=lambda pair: (pair[0], pair[1].id), default=(None, None))[1]


def _time(text: str | None) -> datetime | None:
    try:
        read = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
