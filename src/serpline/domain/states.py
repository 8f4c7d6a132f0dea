"""The state machines: one dictionary each, ``{(state, event): state}``.

Every write of a state is a compare-and-set on the "from" states of one event; zero rows changed
means that someone else was there first, which is an answer and no error. The diagrams in
``docs/architecture.md`` are drawn from these dictionaries.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar


class RunStatus(StrEnum):
    """One execution of the pipeline.

    A run is created *pending*, its first ``advance`` makes it *running*, a person may make it
    *paused* and back. It ends *completed*; *completed_with_errors* when some lane failed or was
    blocked while some lane of the last phase completed; *failed* when none did; or *cancelled*,
    which wins over completion. An ended run goes on by retry.
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

    *pending* until its dependencies are met, *running* from then until its last chunk is done.
    It ends *completed* (also when there was nothing to do), *failed* (too few items succeeded),
    *skipped* (not asked for) or *blocked* (a lane it needs failed, was blocked or was cancelled).
    """

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"


class StateStatus(StrEnum):
    """One item of a lane.

    *pending* when planned; *processing* while a worker marks it singly; *waiting* while a provider
    batch owns it; *retry_wait* until ``next_attempt_at`` after a counted, failed attempt. It ends
    *completed* (its result was committed with it), *failed* or *skipped*.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    WAITING = "waiting"
    RETRY_WAIT = "retry_wait"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class ChunkStatus(StrEnum):
    """A set of items owned by one worker at a time: *ready*, *owned*, and *done* for good."""

    READY = "ready"
    OWNED = "owned"
    DONE = "done"


class BatchStatus(StrEnum):
    """A batch at a provider, created there at most once.

    *intended* before the create is sent (its name is stored, so it can be looked up), *created*
    once its id is known, *filling* while searches are added, *filled* when all are there,
    *starting* before the start is sent, *running* once it was seen to have started, *ready* when
    its result set is known, *ingested* when every page was settled; or *lost*.
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
    """``CLOSED``: calls pass. Entered at birth, after enough good probes, and by reset.

    ``OPEN``: calls are refused until ``open_until``. Entered by a trip or a failed probe.
    ``HALF_OPEN``: only holders of a permit pass. Entered by the first caller after the timeout.
    ``ISOLATED``: calls are refused until a person resets it. Entered by hand only.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    ISOLATED = "isolated"


class BreakerEvent(StrEnum):
    """What moves a breaker; the value is the ``event_type`` of its row."""

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
    (LaneStatus.FAILED, "retry"): LaneStatus.PENDING,
    (LaneStatus.BLOCKED, "retry"): LaneStatus.PENDING,
    (LaneStatus.COMPLETED, "retry"): LaneStatus.PENDING,
    # Only a cancelled run has ended with running lanes.
    (LaneStatus.RUNNING, "retry"): LaneStatus.PENDING,
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

MACHINES: Mapping[
    str,
    Machine[RunStatus]
    | Machine[LaneStatus]
    | Machine[StateStatus]
    | Machine[ChunkStatus]
    | Machine[BatchStatus]
    | Machine[BreakerState],
] = {
    "run": RUN_MACHINE,
    "lane": LANE_MACHINE,
    "item": ITEM_MACHINE,
    "chunk": CHUNK_MACHINE,
    "batch": BATCH_MACHINE,
    "breaker": BREAKER_MACHINE,
}

ENDED_RUNS = frozenset(_ENDED_RUNS)
LIVE_ITEMS = frozenset(_LIVE_ITEMS)
ENDED_LANES = frozenset(
    {LaneStatus.COMPLETED, LaneStatus.FAILED, LaneStatus.SKIPPED, LaneStatus.BLOCKED}
)


class Change(NamedTuple):
    """A compare-and-set: from any of these states to that one."""

    sources: list[str]
    target: str


def change(machine: Machine[S], event: str) -> Change:
    """The compare-and-set of ``event``; KeyError if the machine does not know it."""
    edges = [(source, target) for (source, name), target in machine.items() if name == event]
    if not edges:
        raise KeyError(event)
    return Change([str(source) for source, _ in edges], str(edges[0][1]))
