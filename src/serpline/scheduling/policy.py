"""What becomes of the instants of a schedule. Pure: time and everything known are parameters.

``decide`` gives every instant after the cursor its slots. An instant is *on time* if it is the
newest of its specification and at most ``ON_TIME_SECONDS`` old. Older ones were missed by every
process, and ``catch_up`` chooses among them. ``judge`` says whether a due slot may start now.

Two processes decide alike: nothing depends on the process, and jitter follows from the slot.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, takewhile

from serpline.core.ids import digest
from serpline.domain.names import SEARCHED_TYPES, ContentType
from serpline.domain.schedules import SlotReason
from serpline.domain.states import ScheduleStatus, SlotOutcome
from serpline.scheduling.merging import group_of
from serpline.scheduling.occurrences import occurrences
from serpline.scheduling.spec import (
    CATCH_UP_SLOTS_MAX,
    CatchUp,
    CatchUpWithin,
    Overlap,
    ScheduleSpec,
)

# A restart of all workers takes less.
ON_TIME_SECONDS = 300.0
# The most instants of a schedule that are decided in one transaction.
INSTANTS_MAX = 1_000
_ON_TIME = timedelta(seconds=ON_TIME_SECONDS)
_LATE = "no process looked at schedules at its time"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with its code and a sentence. Of a waiting slot, ``STARTED`` means "may start"."""

    outcome: SlotOutcome
    code: SlotReason
    reason: str


@dataclass(frozen=True, slots=True)
class Slot:
    """One content type at one instant, decided."""

    content_type: ContentType
    scheduled_for: datetime
    verdict: Verdict
    spec: ScheduleSpec
    spec_no: int
    group: str
    start_at: datetime
    is_caught_up: bool = False

    @property
    def deadline_at(self) -> datetime | None:
        """The latest instant at which its run may start; None: any."""
        seconds = self.spec.deadline_seconds
        return None if seconds is None else self.scheduled_for + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Decided:
    """Slots in order of time. Every instant up to ``until`` is decided; ``next_at`` is the next."""

    slots: Sequence[Slot]
    until: datetime
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Halt:
    """Why nothing of a schedule starts: it as a whole, or single content types."""

    schedule: str | None = None
    content_types: Mapping[ContentType, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, status: ScheduleStatus, pause_reason: str | None, lanes: Mapping[ContentType, str]
    ) -> "Halt":
        """The halt of a stored schedule; ``lanes``: why single content types are paused."""
        is_paused = status is ScheduleStatus.PAUSED
        return cls((pause_reason or "by hand") if is_paused else None, lanes)

    def reason(self, content_type: ContentType) -> str | None:
        """The sentence for a content type, or None if it may start."""
        if self.schedule is not None:
            return f"the schedule was paused: {self.schedule}"
        own = self.content_types.get(content_type)
        return None if own is None else f"{content_type} was paused: {own}"


def decide(
    schedule: str,
    specs: Sequence[ScheduleSpec],
    after: datetime,
    now: datetime,
    halt: Halt = Halt(),
    *,
    instants_max: int = INSTANTS_MAX,
) -> Decided:
    """Decide the instants in (``after``, ``now``], or the first ``instants_max`` of them.

    If two specifications of one content type are due at one instant, the first one decides.
    """
    due: dict[datetime, list[int]] = {}
    next_at = None
    for instant, index in _merged(specs, after):
        if instant > now or (instant not in due and len(due) == instants_max):
            next_at = instant
            break
        due.setdefault(instant, []).append(index)
    is_cut = next_at is not None and next_at <= now
    until = max(due) if is_cut else max(after, now)
    newer = [_count(spec, until, now) if is_cut else 0 for spec in specs]
    groups = [group_of(spec) for spec in specs]
    slots: list[Slot] = []
    for instant in reversed(due):
        chosen = _first_of_each_type(specs, due[instant])
        jitters = _jitters(specs, groups, chosen.values())
        for kind in reversed([kind for kind in SEARCHED_TYPES if kind in chosen]):
            number = chosen[kind]
            spec, group = specs[number], groups[number]
            start_at = instant + jitter(schedule, group, instant, jitters[group])
            is_on_time = newer[number] == 0 and now - instant <= _ON_TIME
            verdict = _decided(spec, instant, start_at, newer[number], is_on_time, now)
            halted = halt.reason(kind)
            if halted is not None:
                verdict = Verdict(SlotOutcome.SKIPPED, SlotReason.PAUSED, halted)
            slots.append(
                Slot(kind, instant, verdict, spec, number, group, start_at, not is_on_time)
            )
        for number in due[instant]:
            newer[number] += 1
    slots.reverse()
    return Decided(slots, until, next_at)


def next_instant(specs: Sequence[ScheduleSpec], after: datetime) -> datetime | None:
    """The first instant strictly after ``after``; None: there is none."""
    return next((instant for instant, _ in _merged(specs, after)), None)


def jitter(schedule: str, group: str, instant: datetime, seconds: float) -> timedelta:
    """How long the start of a run is delayed: less than ``seconds``, and always the same."""
    if not seconds:
        return timedelta(0)
    moment = instant.isoformat(timespec="microseconds")
    share = int(digest([schedule, group, moment])[:8], 16) / 2**32
    return timedelta(milliseconds=int(share * seconds * 1000))


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is known of a due slot: runs of its content type, and due slots before it."""

    overlap: Overlap
    is_caught_up: bool
    deadline_at: datetime | None
    running: int
    ahead: int
    is_deleted: bool = False
    halted: str | None = None


def judge(slot: Waiting, now: datetime) -> Verdict:
    """Decide whether a due slot starts, waits for an earlier one, or ends without a run.

    Slots that are caught up wait for each other, whatever the overlap rule, unless it is ``allow``.
    """
    if slot.is_deleted:
        reason = "the schedule was deleted before it started"
        return Verdict(SlotOutcome.SKIPPED, SlotReason.DELETED, reason)
    if slot.halted is not None:
        return Verdict(SlotOutcome.SKIPPED, SlotReason.PAUSED, slot.halted)
    if slot.deadline_at is not None and slot.deadline_at < now:
        return _missed(SlotReason.DEADLINE, "it could not start within its deadline")
    before = min(slot.running, 1) + slot.ahead
    if slot.overlap is Overlap.ALLOW or before == 0:
        return Verdict(SlotOutcome.STARTED, SlotReason.ON_TIME, "started on time")
    if slot.is_caught_up or (slot.overlap is Overlap.BUFFER_ONE and before == 1):
        reason = "waits for the run of an earlier slot"
        return Verdict(SlotOutcome.DUE, SlotReason.PREVIOUS_RUN, reason)
    if slot.overlap is Overlap.BUFFER_ONE:
        reason = "an earlier slot was waiting already (overlap=buffer_one)"
        return Verdict(SlotOutcome.SKIPPED, SlotReason.BUFFER_FULL, reason)
    reason = "the run of an earlier slot had not ended (overlap=skip)"
    return Verdict(SlotOutcome.SKIPPED, SlotReason.OVERLAP, reason)


def _merged(specs: Sequence[ScheduleSpec], after: datetime) -> Iterable[tuple[datetime, int]]:
    """Every instant after ``after`` with the number of its specification, in order."""
    return heapq.merge(*(_numbered(spec, number, after) for number, spec in enumerate(specs)))


def _numbered(spec: ScheduleSpec, number: int, after: datetime) -> Iterator[tuple[datetime, int]]:
    return ((found.scheduled_for, number) for found in occurrences(spec, after))


def _count(spec: ScheduleSpec, after: datetime, now: datetime) -> int:
    """How many instants lie in (``after``, ``now``]; no more than matter."""
    found = takewhile(lambda each: each.scheduled_for <= now, occurrences(spec, after))
    return sum(1 for _ in islice(found, CATCH_UP_SLOTS_MAX))


def _first_of_each_type(
    specs: Sequence[ScheduleSpec], due: Sequence[int]
) -> dict[ContentType, int]:
    chosen: dict[ContentType, int] = {}
    for index in due:
        for kind in specs[index].content_types:
            chosen.setdefault(kind, index)
    return chosen


def _jitters(
    specs: Sequence[ScheduleSpec], groups: Sequence[str], chosen: Iterable[int]
) -> dict[str, int]:
    """The longest jitter of each group: the content types of a run start together."""
    found: dict[str, int] = {}
    for number in chosen:
        group = groups[number]
        found[group] = max(found.get(group, 0), specs[number].jitter_seconds)
    return found


def _decided(
    spec: ScheduleSpec,
    instant: datetime,
    start_at: datetime,
    newer: int,
    is_on_time: bool,
    now: datetime,
) -> Verdict:
    if is_on_time and start_at > now:
        reason = f"waits for its jitter of {(start_at - instant).total_seconds():.0f} s"
        return Verdict(SlotOutcome.DUE, SlotReason.JITTER, reason)
    if is_on_time:
        return Verdict(SlotOutcome.DUE, SlotReason.ON_TIME, "is due")
    age = now - instant
    if spec.deadline_seconds is not None and age > timedelta(seconds=spec.deadline_seconds):
        return _missed(SlotReason.DEADLINE, f"{_LATE}, and its deadline has passed")
    return _caught_up(spec.catch_up, age, newer)


def _caught_up(rule: CatchUp | CatchUpWithin, age: timedelta, newer: int) -> Verdict:
    """Apply the catch-up rule to a slot with ``newer`` later instants of its specification."""
    if rule is CatchUp.NONE:
        return _missed(SlotReason.CATCH_UP_NONE, f"{_LATE} (catch_up=none)")
    if rule is CatchUp.LATEST and newer > 0:
        reason = f"{_LATE}, and only the latest slot is caught up (catch_up=latest)"
        return _missed(SlotReason.SUPERSEDED, reason)
    most = CATCH_UP_SLOTS_MAX
    if isinstance(rule, CatchUpWithin):
        most = rule.slots_max
        if age > timedelta(seconds=rule.within_seconds):
            reason = f"{_LATE}, and it was older than {rule.within_seconds} s (catch_up.within)"
            return _missed(SlotReason.TOO_OLD, reason)
    if newer >= most:
        reason = f"{_LATE}, and at most {most} slots are caught up"
        return _missed(SlotReason.TOO_MANY, reason)
    return Verdict(SlotOutcome.DUE, SlotReason.CAUGHT_UP, f"late: {_LATE}")


def _missed(code: SlotReason, reason: str) -> Verdict:
    return Verdict(SlotOutcome.MISSED, code, reason)
