"""The state machines: one dictionary each, ``{(state, event): state}``.

Every write of a state is a compare-and-set on the source states of one event. Zero changed rows
mean that another worker was first, which is not an error. The diagrams in ``docs/architecture.md``
are drawn from these dictionaries.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar


class RunStatus(StrEnum):
    """One execution of the pipeline.

    A run is created *pending*. Its first ``advance`` makes it *running*. A person may pause it
    (*paused*) and resume it. It ends *completed*; *completed_with_errors* if a lane failed or was
    blocked but a lane of the last phase completed; *failed* if none of them did; or *cancelled*,
    which wins over completion. Retry makes an ended run *running* again.
    """

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"


class LaneStatus(StrEnum):
    """One phase of one content type of a run.

    *pending* until its dependencies are met, then *running* until its last chunk is done. It ends
    *completed* (also with nothing to do), *failed* (too few items succeeded), *skipped* (not
    requested, or without a provider), *blocked* (the searches that it needs failed, or cannot be
    made) or *cancelled* (with its run).
    """

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


class StateStatus(StrEnum):
    """One item of a lane.

    *pending* when planned; *processing* while a worker marks it as its only item; *waiting* while
    it is in a provider's batch; *retry_wait* until ``next_attempt_at`` after a failed attempt that
    counted. It ends *completed* (committed with its result), *failed* or *skipped*.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    WAITING = "waiting"
    RETRY_WAIT = "retry_wait"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class ChunkStatus(StrEnum):
    """A set of items with at most one owner: *ready*, *owned* by a worker, or finally *done*."""

    READY = "ready"
    OWNED = "owned"
    DONE = "done"


class BatchStatus(StrEnum):
    """A batch at a provider, created there at most once.

    *intended* before the create is sent (its stored name finds it), *created* once its id is known,
    *filling* while searches are added, *filled* when all are added, *starting* before the start is
    sent, *running* once a poll shows that it started, *ready* when its result set is known,
    *ingested* when every page is settled; or *lost*.
    """

    INTENDED = "intended"
    CREATED = "created"
    FILLING = "filling"
    FILLED = "filled"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    INGESTED = "ingested"
    LOST = "lost"


class BreakerState(StrEnum):
    """The state of a circuit breaker.

    ``CLOSED``: calls pass. The initial state; entered after enough successful probes and by reset.
    ``OPEN``: calls are refused until ``open_until``. Entered by a trip or a failed probe.
    ``HALF_OPEN``: only calls with a permit pass. Entered by the first caller after the timeout.
    ``ISOLATED``: calls are refused until a person resets it. Entered by hand only.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    ISOLATED = "isolated"


class ScheduleStatus(StrEnum):
    """A stored schedule: *active*, *paused* by a person or after failed runs, or *deleted*.

    A deleted schedule keeps its slots. Adding one of its name makes it *active* again.
    """

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


class SlotOutcome(StrEnum):
    """One content type of a schedule at one of its instants.

    *due*: its run will be started, now or once its jitter, the previous run or the limit of runs
    permits. It ends *started* (with its run), *skipped* (by the overlap rule, a pause or a
    deletion), *missed* (by the catch-up rule or its deadline), *refused* (its run could not be
    created) or *backfilled* (a backfill made up for it, or replaced its run).
    """

    DUE = "due"
    STARTED = "started"
    SKIPPED = "skipped"
    MISSED = "missed"
    REFUSED = "refused"
    BACKFILLED = "backfilled"


class BreakerEvent(StrEnum):
    """A breaker's transitions. The value is the ``event_type`` of the event's row."""

    TRIPPED = "opened"
    PROBED = "half_opened"
    RECOVERED = "closed"
    RELAPSED = "reopened"
    ISOLATED = "isolated"
    RESET = "reset"


S = TypeVar("S", bound=StrEnum)
Machine = Mapping[tuple[S, str], S]

_ENDED_RUNS = (
    RunStatus.COMPLETED,
    RunStatus.COMPLETED_WITH_ERRORS,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
)

RUN_MACHINE: Machine[RunStatus] = {
    (RunStatus.PENDING, "start"): RunStatus.RUNNING,
    (RunStatus.RUNNING, "pause"): RunStatus.PAUSED,
    (RunStatus.PAUSED, "resume"): RunStatus.RUNNING,
    (RunStatus.RUNNING, "complete"): RunStatus.COMPLETED,
    (RunStatus.RUNNING, "complete_with_errors"): RunStatus.COMPLETED_WITH_ERRORS,
    (RunStatus.RUNNING, "fail"): RunStatus.FAILED,
    (RunStatus.PENDING, "cancel"): RunStatus.CANCELLED,
    (RunStatus.RUNNING, "cancel"): RunStatus.CANCELLED,
    (RunStatus.PAUSED, "cancel"): RunStatus.CANCELLED,
    **{(state, "retry"): RunStatus.RUNNING for state in _ENDED_RUNS},
}

LANE_MACHINE: Machine[LaneStatus] = {
    (LaneStatus.PENDING, "start"): LaneStatus.RUNNING,
    (LaneStatus.PENDING, "skip"): LaneStatus.SKIPPED,
    (LaneStatus.PENDING, "block"): LaneStatus.BLOCKED,
    (LaneStatus.RUNNING, "complete"): LaneStatus.COMPLETED,
    (LaneStatus.RUNNING, "fail"): LaneStatus.FAILED,
    (LaneStatus.PENDING, "cancel"): LaneStatus.CANCELLED,
    (LaneStatus.RUNNING, "cancel"): LaneStatus.CANCELLED,
    (LaneStatus.FAILED, "retry"): LaneStatus.PENDING,
    (LaneStatus.BLOCKED, "retry"): LaneStatus.PENDING,
    (LaneStatus.COMPLETED, "retry"): LaneStatus.PENDING,
    # Of a phase whose provider was not set up.
    (LaneStatus.SKIPPED, "retry"): LaneStatus.PENDING,
    (LaneStatus.CANCELLED, "retry"): LaneStatus.PENDING,
}

_LIVE_ITEMS = (
    StateStatus.PENDING,
    StateStatus.PROCESSING,
    StateStatus.WAITING,
    StateStatus.RETRY_WAIT,
)

ITEM_MACHINE: Machine[StateStatus] = {
    (StateStatus.PENDING, "begin"): StateStatus.PROCESSING,
    (StateStatus.RETRY_WAIT, "begin"): StateStatus.PROCESSING,
    (StateStatus.PENDING, "hand_over"): StateStatus.WAITING,
    (StateStatus.PROCESSING, "hand_over"): StateStatus.WAITING,
    (StateStatus.RETRY_WAIT, "hand_over"): StateStatus.WAITING,
    **{(state, "complete"): StateStatus.COMPLETED for state in _LIVE_ITEMS},
    **{(state, "fail"): StateStatus.FAILED for state in _LIVE_ITEMS},
    **{(state, "skip"): StateStatus.SKIPPED for state in _LIVE_ITEMS},
    **{(state, "retry_later"): StateStatus.RETRY_WAIT for state in _LIVE_ITEMS},
    (StateStatus.FAILED, "retry"): StateStatus.PENDING,
}

CHUNK_MACHINE: Machine[ChunkStatus] = {
    (ChunkStatus.READY, "claim"): ChunkStatus.OWNED,
    (ChunkStatus.OWNED, "release"): ChunkStatus.READY,
    (ChunkStatus.OWNED, "take_over"): ChunkStatus.READY,
    (ChunkStatus.OWNED, "finish"): ChunkStatus.DONE,
    (ChunkStatus.DONE, "retry"): ChunkStatus.READY,
}

BATCH_MACHINE: Machine[BatchStatus] = {
    (BatchStatus.INTENDED, "create"): BatchStatus.CREATED,
    (BatchStatus.CREATED, "fill"): BatchStatus.FILLING,
    (BatchStatus.FILLING, "filled"): BatchStatus.FILLED,
    (BatchStatus.FILLED, "intend_start"): BatchStatus.STARTING,
    (BatchStatus.STARTING, "started"): BatchStatus.RUNNING,
    (BatchStatus.RUNNING, "result"): BatchStatus.READY,
    (BatchStatus.READY, "ingest"): BatchStatus.INGESTED,
    **{
        (state, "lose"): BatchStatus.LOST
        for state in BatchStatus
        if state not in (BatchStatus.INGESTED, BatchStatus.LOST)
    },
}

BREAKER_MACHINE: Machine[BreakerState] = {
    (BreakerState.CLOSED, BreakerEvent.TRIPPED): BreakerState.OPEN,
    (BreakerState.OPEN, BreakerEvent.PROBED): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.RECOVERED): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, BreakerEvent.RELAPSED): BreakerState.OPEN,
    (BreakerState.CLOSED, BreakerEvent.ISOLATED): BreakerState.ISOLATED,
    (BreakerState.OPEN, BreakerEvent.ISOLATED): BreakerState.ISOLATED,
    (BreakerState.HALF_OPEN, BreakerEvent.ISOLATED): BreakerState.ISOLATED,
    (BreakerState.OPEN, BreakerEvent.RESET): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, BreakerEvent.RESET): BreakerState.CLOSED,
    (BreakerState.ISOLATED, BreakerEvent.RESET): BreakerState.CLOSED,
}

SCHEDULE_MACHINE: Machine[ScheduleStatus] = {
    (ScheduleStatus.ACTIVE, "pause"): ScheduleStatus.PAUSED,
    (ScheduleStatus.PAUSED, "resume"): ScheduleStatus.ACTIVE,
    (ScheduleStatus.ACTIVE, "delete"): ScheduleStatus.DELETED,
    (ScheduleStatus.PAUSED, "delete"): ScheduleStatus.DELETED,
    (ScheduleStatus.DELETED, "add"): ScheduleStatus.ACTIVE,
}

SLOT_MACHINE: Machine[SlotOutcome] = {
    (SlotOutcome.DUE, "start"): SlotOutcome.STARTED,
    (SlotOutcome.DUE, "skip"): SlotOutcome.SKIPPED,
    (SlotOutcome.DUE, "miss"): SlotOutcome.MISSED,
    (SlotOutcome.DUE, "refuse"): SlotOutcome.REFUSED,
    (SlotOutcome.SKIPPED, "backfill"): SlotOutcome.BACKFILLED,
    (SlotOutcome.MISSED, "backfill"): SlotOutcome.BACKFILLED,
    (SlotOutcome.REFUSED, "backfill"): SlotOutcome.BACKFILLED,
    (SlotOutcome.STARTED, "backfill"): SlotOutcome.BACKFILLED,
    (SlotOutcome.BACKFILLED, "backfill"): SlotOutcome.BACKFILLED,
}

MACHINES: Mapping[
    str,
    Machine[RunStatus]
    | Machine[LaneStatus]
    | Machine[StateStatus]
    | Machine[ChunkStatus]
    | Machine[BatchStatus]
    | Machine[BreakerState]
    | Machine[ScheduleStatus]
    | Machine[SlotOutcome],
] = {
    "run": RUN_MACHINE,
    "lane": LANE_MACHINE,
    "item": ITEM_MACHINE,
    "chunk": CHUNK_MACHINE,
    "batch": BATCH_MACHINE,
    "breaker": BREAKER_MACHINE,
    "schedule": SCHEDULE_MACHINE,
    "slot": SLOT_MACHINE,
}

ENDED_RUNS = frozenset(_ENDED_RUNS)
LIVE_ITEMS = frozenset(_LIVE_ITEMS)
ENDED_LANES = frozenset(
    status for status in LaneStatus if status not in (LaneStatus.PENDING, LaneStatus.RUNNING)
)


class Change(NamedTuple):
    """A compare-and-set from any of ``sources`` to ``target``."""

    sources: list[str]
    target: str


def change(machine: Machine[S], event: str) -> Change:
    """The compare-and-set of ``event``. Raises ``KeyError`` for an unknown event."""
    edges = [(source, target) for (source, name), target in machine.items() if name == event]
    if not edges:
        raise KeyError(event)
    return Change([str(source) for source, _ in edges], str(edges[0][1]))
