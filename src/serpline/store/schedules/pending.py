"""What the tick has to do, and when it has more to do: one statement when there is nothing."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from serpline.store.database import Connection
from serpline.store.schedules.following import FOLLOWED, FOLLOWED_VALUES


@dataclass(frozen=True, slots=True)
class PendingWork:
    """What the tick has to do, and the earliest later instant at which it has more to do."""

    has_instants: bool
    has_due_slots: bool
    has_results: bool
    has_stale: bool
    has_backfills: bool
    next_at: datetime | None

    @property
    def is_any(self) -> bool:
        """Whether there is anything to do."""
        return (
            self.has_instants
            or self.has_due_slots
            or self.has_results
            or self.has_stale
            or self.has_backfills
        )

    def seconds_from(self, now: datetime) -> float | None:
        """Return the seconds from ``now`` until there is more to do; None if there never is."""
        return None if self.next_at is None else max(0.0, (self.next_at - now).total_seconds())


_PENDING = text(
    f"""
    SELECT EXISTS (SELECT FROM schedules WHERE status <> 'deleted' AND next_at <= :now)
            AS has_instants,
        EXISTS (SELECT FROM schedule_slots WHERE outcome = 'due' AND start_at <= :now)
            AS has_due_slots,
        EXISTS (SELECT {FOLLOWED}) AS has_results,
        EXISTS (SELECT FROM schedule_lanes WHERE stale_since IS NULL AND fresh_until <= :now)
            AS has_stale,
        EXISTS (SELECT FROM schedule_backfills WHERE status IN ('planned', 'running'))
            OR EXISTS (SELECT FROM schedule_backfill_slots WHERE status = 'running')
            AS has_backfills,
        least(
            (SELECT min(next_at) FROM schedules WHERE status <> 'deleted'),
            (SELECT min(start_at) FROM schedule_slots WHERE outcome = 'due' AND start_at > :now),
            (SELECT min(fresh_until) FROM schedule_lanes WHERE stale_since IS NULL)
        ) AS next_at
    """
)


async def pending_work(conn: Connection, now: datetime) -> PendingWork:
    """Return what the tick has to do, in one statement.

    ``next_at`` leaves out what waits for the end of a run or for a free place.
    """
    values = {**FOLLOWED_VALUES, "now": now}
    return PendingWork(**(await conn.execute(_PENDING, values)).mappings().one())
