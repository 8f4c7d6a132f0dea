"""What a run waits for: typed causes, and the one function that finds them from stored facts.

A cause is stored where it arises, with the chunk that waits (``WaitReason``). ``waits_of`` adds
what no chunk knows: a pause, missing workers, busy workers. It folds equal causes into one, and
names the steps that cannot start before.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from serpline.domain.phases import LaneKey, lanes_after
from serpline.domain.providers import period_ends_at
from serpline.domain.states import BreakerState, LaneStatus, RunStatus


class WaitCause(StrEnum):
    """Why work waits, the most telling first: a chunk with several causes stores the first.

    ``PAUSED``: by a person. ``NO_WORKER``: no worker process is running. ``BUDGET_TOO_SMALL``: one
    call costs more than a limit allows. ``BUDGET``: a limit of credits is used up. ``BREAKER``: the
    provider's circuit breaker refuses calls. ``QUOTA``: the provider's own limit or credits are
    used up. ``INCIDENT``: the provider reports that it cannot work now. ``PROVIDER_QUEUE``: the
    provider works on our batch. ``PURCHASE``: another run buys the same data. ``RETRY``: failed
    attempts are repeated later. ``RATE``: the provider takes no more calls per second.
    ``CAPACITY``: all workers are busy with other runs.
    """

    PAUSED = "paused"
    NO_WORKER = "no_worker"
    BUDGET_TOO_SMALL = "budget_too_small"
    BUDGET = "budget"
    BREAKER = "breaker"
    QUOTA = "quota"
    INCIDENT = "incident"
    PROVIDER_QUEUE = "provider_queue"
    PURCHASE = "purchase"
    RETRY = "retry"
    RATE = "rate"
    CAPACITY = "capacity"


_ORDER = {cause: place for place, cause in enumerate(WaitCause)}


@dataclass(frozen=True, slots=True)
class WaitReason:
    """A cause and what it is about.

    ``subject``: the breaker; the provider; ``"provider scope"`` of a budget; the run that buys.
    """

    cause: WaitCause
    subject: str = ""


def most_telling(one: WaitReason | None, other: WaitReason | None) -> WaitReason | None:
    """The reason that a chunk with both stores."""
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda reason: _ORDER[reason.cause])


@dataclass(frozen=True, slots=True)
class ChunkGroup:
    """Unfinished chunks of a lane that are alike. ``items``: those without a final state.

    ``reason``: why they wait; None: they are due, or wait a moment for a technical reason.
    ``next_check_at``: the earliest of them.
    """

    lane: LaneKey
    is_owned: bool
    is_due: bool
    reason: WaitReason | None
    items: int
    next_check_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BatchFact:
    """A batch at a provider: the ``number``-th of the ``total`` of its lane.

    ``since``: its start, or when it was last seen in the provider's queue. ``error``: the last
    failed poll, or what the provider says about it.
    """

    lane: LaneKey
    number: int
    total: int
    since: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BreakerFact:
    """A breaker's state, and until when it is open."""

    state: BreakerState
    open_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class BudgetFact:
    """Credits of a budget."""

    limit: Decimal | None
    spent: Decimal


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Everything that ``waits_of`` needs to know, as it is at ``now``.

    ``lanes``: the state of each, in the order of the data flow; ``unplanned``: running lanes that
    are being planned. ``workers``: running ones; ``silent_since``: the last sign of any worker.
    ``others``: chunks of other runs that workers own. ``pauses``: by provider, until when all calls
    to it wait.
    """

    now: datetime
    status: RunStatus
    lanes: Mapping[LaneKey, LaneStatus]
    unplanned: Collection[LaneKey] = ()
    groups: Sequence[ChunkGroup] = ()
    workers: int = 1
    silent_since: datetime | None = None
    others: int = 0
    paused_at: datetime | None = None
    paused_by: str | None = None
    batches: Sequence[BatchFact] = ()
    breakers: Mapping[str, BreakerFact] = field(default_factory=dict)
    budgets: Mapping[str, BudgetFact] = field(default_factory=dict)
    pauses: Mapping[str, datetime] = field(default_factory=dict)
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """One cause. ``steps`` wait for it themselves; ``later`` steps need those, and so wait too.

    ``since`` and ``until`` are None if unknown. ``next_at``: when the provider is asked again, if
    only it knows when the wait ends. ``items``: of ``steps``.
    """

    cause: WaitCause
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None
    next_at: datetime | None = None
    steps: Sequence[LaneKey] = ()
    later: Sequence[LaneKey] = ()
    items: int = 0
    by: str | None = None
    error: str | None = None
    batches: Sequence[BatchFact] = ()
    breaker: BreakerFact | None = None
    budget: BudgetFact | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a run does now: the steps it works on, with their items, and what it waits for."""

    steps: Sequence[LaneKey] = ()
    items: int = 0
    waits: Sequence[Wait] = ()


def waits_of(facts: RunFacts) -> Waiting:
    """What the run works on and waits for; the most telling cause first, each once."""
    unended = [key for key, status in facts.lanes.items() if status in _UNENDED]
    if facts.status is RunStatus.PAUSED:
        paused = Wait(WaitCause.PAUSED, since=facts.paused_at, by=facts.paused_by, steps=unended)
        return Waiting(waits=[paused])
    if facts.status not in (RunStatus.PENDING, RunStatus.RUNNING):
        return Waiting()
    if not facts.workers:
        missing = Wait(WaitCause.NO_WORKER, since=facts.silent_since, steps=unended)
        return Waiting(waits=[missing])
    if facts.status is RunStatus.PENDING:
        busy = Wait(WaitCause.CAPACITY, steps=unended)
        return Waiting(waits=[busy] if facts.others else [])
    waiting: dict[WaitReason, list[ChunkGroup]] = {}
    working: list[ChunkGroup] = []
    queued: list[ChunkGroup] = []
    for group in facts.groups:
        if facts.lanes[group.lane] is not LaneStatus.RUNNING:
            continue  # retried items of a step that cannot start yet; nobody takes them
        if group.reason is not None and _still_waits(group, group.reason, facts):
            waiting.setdefault(group.reason, []).append(group)
        else:
            (working if group.is_owned else queued).append(group)
    if queued and not working and facts.others:
        waiting[WaitReason(WaitCause.CAPACITY)] = queued
    else:
        working += queued
    waits = [_wait(reason, groups, facts) for reason, groups in waiting.items()]
    at_work = {group.lane for group in working} | set(facts.unplanned)
    return Waiting(
        steps=[key for key in facts.lanes if key in at_work],
        items=sum(group.items for group in working),
        waits=sorted(waits, key=lambda wait: (_ORDER[wait.cause], wait.subject)),
    )


_UNENDED = (LaneStatus.PENDING, LaneStatus.RUNNING)


def _still_waits(group: ChunkGroup, reason: WaitReason, facts: RunFacts) -> bool:
    """Whether a stored reason still holds.

    A worker that owns a chunk may only be asking again; until something is settled, a breaker that
    has not closed, the provider's work and another run's purchase hold.
    """
    match reason.cause:
        case WaitCause.BREAKER:
            known = facts.breakers.get(reason.subject)
            return known is not None and known.state is not BreakerState.CLOSED
        case WaitCause.PROVIDER_QUEUE | WaitCause.PURCHASE:
            return True
        case _:
            return not group.is_owned and not group.is_due


def _wait(reason: WaitReason, groups: Sequence[ChunkGroup], facts: RunFacts) -> Wait:
    cause, subject = reason.cause, reason.subject
    steps = {group.lane for group in groups}
    needing = {later for step in steps for later in lanes_after(step, list(facts.lanes))}
    batches = [batch for batch in facts.batches if batch.lane in steps]
    is_queue = cause is WaitCause.PROVIDER_QUEUE
    breaker = facts.breakers.get(subject) if cause is WaitCause.BREAKER else None
    next_at = min((g.next_check_at for g in groups if g.next_check_at), default=None)
    until: datetime | None = None
    match cause:
        case WaitCause.BREAKER:
            until = breaker.open_until if breaker else None
        case WaitCause.BUDGET:
            # The chunks look earlier, in case the limit was raised.
            provider, _, scope = subject.partition(" ")
            until = period_ends_at(provider, scope)
        case WaitCause.QUOTA:
            until = facts.pauses.get(subject)
        case WaitCause.RATE:
            until = facts.pauses.get(subject, next_at)
        case WaitCause.RETRY:
            until = next_at
    is_open = until is None and cause in (WaitCause.QUOTA, WaitCause.INCIDENT)
    return Wait(
        cause,
        subject,
        since=min((b.since for b in batches if b.since), default=None) if is_queue else None,
        until=until,
        next_at=next_at if is_open else None,
        steps=[key for key in facts.lanes if key in steps],
        later=[
            key
            for key, status in facts.lanes.items()
            if key in needing and status is LaneStatus.PENDING
        ],
        items=sum(group.items for group in groups),
        error=facts.last_error if cause is WaitCause.RETRY else None,
        batches=batches if is_queue else (),
        breaker=breaker,
        budget=facts.budgets.get(subject),
    )
