"""Words of stored schedules: reasons of slots, backfills and proposals; facts per content type."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from serpline.domain.names import ContentType
from serpline.domain.states import Machine


class SlotReason(StrEnum):
    """Why a slot has its outcome; ``reason`` beside it is the sentence for people.

    Of a *due* slot: ``JITTER`` (its start is spread over time), ``PREVIOUS_RUN`` (it waits for the
    run of an earlier slot), ``NO_PLACE`` (as many scheduled runs as allowed are running).
    """

    ON_TIME = "on_time"
    CAUGHT_UP = "caught_up"
    TRIGGERED = "triggered"
    JITTER = "jitter"
    PREVIOUS_RUN = "previous_run"
    NO_PLACE = "no_place"
    OVERLAP = "overlap"
    BUFFER_FULL = "buffer_full"
    PAUSED = "paused"
    DELETED = "deleted"
    CATCH_UP_NONE = "catch_up_none"
    SUPERSEDED = "superseded"
    TOO_OLD = "too_old"
    TOO_MANY = "too_many"
    DEADLINE = "deadline"
    REFUSED = "refused"
    ERROR = "error"


class BackfillKind(StrEnum):
    """What a backfill does: a past result page cannot be searched again.

    ``REFETCH``: fetch result sets that the provider still holds. ``LATE``: a snapshot taken now,
    marked late. ``RECOMPUTE``: compute again from stored raw replies, without a call.
    """

    REFETCH = "refetch"
    LATE = "late"
    RECOMPUTE = "recompute"


class BackfillStatus(StrEnum):
    """A backfill is *planned*, *running*, *paused* by a person, *cancelled* or *completed*."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


BACKFILL_MACHINE: Machine[BackfillStatus] = {
    (BackfillStatus.PLANNED, "start"): BackfillStatus.RUNNING,
    (BackfillStatus.PLANNED, "pause"): BackfillStatus.PAUSED,
    (BackfillStatus.RUNNING, "pause"): BackfillStatus.PAUSED,
    (BackfillStatus.PAUSED, "resume"): BackfillStatus.RUNNING,
    (BackfillStatus.PLANNED, "cancel"): BackfillStatus.CANCELLED,
    (BackfillStatus.RUNNING, "cancel"): BackfillStatus.CANCELLED,
    (BackfillStatus.PAUSED, "cancel"): BackfillStatus.CANCELLED,
    (BackfillStatus.RUNNING, "complete"): BackfillStatus.COMPLETED,
}


class BackfillSlotStatus(StrEnum):
    """One slot of a backfill: *waiting* for its turn, *running*, or ended."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class ProposalKind(StrEnum):
    """What a proposal changes: *later_hour* moves slots, *spread* gives their starts a jitter."""

    LATER_HOUR = "later_hour"
    SMALLER_BATCHES = "smaller_batches"
    PRIORITY = "priority"
    SPREAD = "spread"


class ProposalStatus(StrEnum):
    """A proposed change of a schedule: *open* until a person accepts or refuses it.

    *taken_back*: accepted, and undone later. *expired*: the schedule changed before a decision.
    """

    OPEN = "open"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    TAKEN_BACK = "taken_back"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ScheduleLane:
    """What is known of one content type of a schedule.

    ``last_success_at``: when the newest data with figures were collected, at their oldest search.
    ``fresh_until``: when its data become older than the target; None: there is no target.
    ``paused_at``: set after too many failed runs in a row.
    """

    schedule_id: str
    content_type: ContentType
    last_success_at: datetime | None = None
    fresh_until: datetime | None = None
    stale_since: datetime | None = None
    failures_in_row: int = 0
    paused_at: datetime | None = None
    pause_reason: str | None = None
