"""The circuit breaker as a pure machine: values in, values out; no clock, no lock, no I/O.

Promise: it opens on ``failure_threshold`` consecutive failures, or when at least
``rate_threshold`` of at least ``rate_calls_min`` calls failed within ``rate_window_seconds``. It
stays open for ``timeout_seconds`` ± 10 %, doubled on every relapse up to ``timeout_seconds_max``;
then lets through only as many probes as successes are still missing, and closes at exactly
``success_threshold`` of them. A permit is a lease, so a probe lost in a crash is given again; a
failure opens it anew even when its lease has ended.

Limits: the order of reports from several processes is only as good as their times. A report
carries the generation it was permitted in; one that arrives after a transition says nothing about
the present, and is ignored. When the clock is set back, what is remembered of the future is
forgotten, and no wait is longer from then on than it was meant to be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from serpline.domain.breaker_settings import BreakerSettings

_BUCKETS = 12
# A permit may come back early (its call was cancelled), and nobody is told: so look again soon.
_PROBE_LOOK = timedelta(seconds=10)
# What lies further ahead than it was meant to, by more than two processes' clocks are apart, was
# written before the clock was set back; so was what lies further ahead than a report can be late.
_APART = timedelta(seconds=5)
_LATE = timedelta(minutes=2)


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


TRANSITIONS: Mapping[tuple[BreakerState, BreakerEvent], BreakerState] = MappingProxyType(
    {
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
)


class ReportKind(StrEnum):
    """How a permitted call ended. ``CANCELLED`` is neutral: it only gives its permit back."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Report:
    """``count`` calls that ended alike, the last at ``at``."""

    kind: ReportKind
    at: datetime
    generation: int
    permit: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class ProbePermit:
    """The right to make one call while half-open; lost when ``expires_at`` (lease clock) passes.

    ``seconds``: for how long it was lent.
    """

    id: str
    expires_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """Calls that ended within one twelfth of the rate window."""

    start: int
    successes: int
    failures: int


@dataclass(frozen=True, slots=True)
class Breaker:
    """All a breaker remembers. ``failure_times``: failures since the last success, bounded.

    ``open_seconds``: how long it was to be open when ``open_until`` was written.
    """

    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    failure_times: tuple[datetime, ...] = ()
    last_success_at: datetime | None = None
    buckets: tuple[Bucket, ...] = ()
    open_until: datetime | None = None
    open_seconds: float = 0.0
    relapses: int = 0
    probe_successes: int = 0
    permits: tuple[ProbePermit, ...] = ()

    @property
    def failure_count(self) -> int:
        """Consecutive failures, as far as known."""
        return len(self.failure_times)

    @property
    def blemished(self) -> bool:
        """Whether successes matter: something failed within the window."""
        return bool(self.failure_times) or any(bucket.failures for bucket in self.buckets)


@dataclass(frozen=True, slots=True)
class Step:
    """What a step came to: the breaker after it, and the event that moved it, if any."""

    breaker: Breaker
    event: BreakerEvent | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """``allowed``, with the generation to report under and the permit to give back; or refused
    until ``until`` (None when only another call or a person can tell)."""

    allowed: bool
    generation: int
    permit: str | None = None
    until: datetime | None = None


def decide(
    breaker: Breaker,
    settings: BreakerSettings,
    *,
    now: datetime,
    lease_now: datetime,
    permit_id: str,
    call_seconds: float,
) -> tuple[Step, Decision]:
    """May a call pass? ``now`` is business time, ``lease_now`` the clock of permits.

    ``call_seconds``: how long the call may take, with whatever it waits for under its permit.
    """
    if breaker.state is BreakerState.CLOSED:
        return Step(breaker), Decision(True, breaker.generation)
    if breaker.state is BreakerState.ISOLATED:
        return Step(breaker), Decision(False, breaker.generation)
    event: BreakerEvent | None = None
    if breaker.state is BreakerState.OPEN:
        latest = now + timedelta(seconds=breaker.open_seconds)
        if breaker.open_until is not None and breaker.open_until > latest + _APART:
            breaker = replace(breaker, open_until=latest)
        if breaker.open_until is not None and now < breaker.open_until:
            return Step(breaker), Decision(False, breaker.generation, until=breaker.open_until)
        event = BreakerEvent.PROBED
        breaker = _move(breaker, event)
    live = tuple(
        _in_time(permit, lease_now) for permit in breaker.permits if permit.expires_at > lease_now
    )
    if len(live) + breaker.probe_successes >= settings.success_threshold:
        freed = min(permit.expires_at for permit in live) - lease_now
        until = now + min(freed, _PROBE_LOOK)
        decision = Decision(False, breaker.generation, until=until)
        return Step(replace(breaker, permits=live), event), decision
    lent = call_seconds if settings.permit_seconds is None else settings.permit_seconds
    expires_at = lease_now + timedelta(seconds=lent)
    probing = replace(breaker, permits=(*live, ProbePermit(permit_id, expires_at, lent)))
    return Step(probing, event), Decision(True, probing.generation, permit_id)


def record(breaker: Breaker, settings: BreakerSettings, report: Report, chance: float) -> Step:
    """Take note of how calls ended. ``chance`` in [0, 1) jitters the time it would stay open."""
    if report.generation != breaker.generation:
        return Step(breaker)
    if breaker.state is BreakerState.CLOSED:
        return _record_closed(breaker, settings, report, chance)
    if breaker.state is BreakerState.HALF_OPEN:
        return _record_probe(breaker, settings, report, chance)
    return Step(breaker)


def isolate(breaker: Breaker) -> Step:
    """Refuse every call until ``reset``; nothing happens when it is isolated already."""
    if breaker.state is BreakerState.ISOLATED:
        return Step(breaker)
    return Step(_move(breaker, BreakerEvent.ISOLATED), BreakerEvent.ISOLATED)


def reset(breaker: Breaker) -> Step:
    """Close by hand and forget the failures."""
    if breaker.state is BreakerState.CLOSED:
        return Step(Breaker(generation=breaker.generation + 1))
    return Step(_move(breaker, BreakerEvent.RESET), BreakerEvent.RESET)


def fit(breaker: Breaker, old: BreakerSettings, new: BreakerSettings) -> Step:
    """The breaker as it goes on under ``new`` settings, having lived under ``old``.

    Nothing opens it here: only the end of a call does, and the next failure sees the new
    thresholds. Half-open with as many good probes as are needed now, it closes: no probe is
    missing, so none would ever be let through to close it. A time it is open until stays, as do
    permits. Buckets are numbered in widths of the window, so another window starts without any.
    """
    if breaker.state is BreakerState.HALF_OPEN and (
        breaker.probe_successes >= new.success_threshold
    ):
        return Step(_move(breaker, BreakerEvent.RECOVERED), BreakerEvent.RECOVERED)
    same_window = old.rate_window_seconds == new.rate_window_seconds
    return Step(
        replace(
            breaker,
            failure_times=breaker.failure_times[-new.failure_threshold :],
            buckets=breaker.buckets if same_window else (),
        )
    )


def _record_closed(
    breaker: Breaker, settings: BreakerSettings, report: Report, chance: float
) -> Step:
    if report.kind is ReportKind.CANCELLED:
        return Step(breaker)
    breaker = _without_future(breaker, settings, report.at)
    times, last = breaker.failure_times, breaker.last_success_at
    if report.kind is ReportKind.SUCCESS:
        last = report.at if last is None else max(last, report.at)
        times = tuple(at for at in times if at > last)
    elif last is None or report.at >= last:
        kept = settings.failure_threshold
        times = tuple(sorted((*times, *(report.at for _ in range(min(report.count, kept))))))[
            -kept:
        ]
    buckets = _count(breaker.buckets, settings, report)
    noted = replace(breaker, failure_times=times, last_success_at=last, buckets=buckets)
    if report.kind is ReportKind.SUCCESS or not _must_trip(noted, settings):
        return Step(noted)
    return Step(
        _open(noted, BreakerEvent.TRIPPED, settings, report.at, 0, chance), BreakerEvent.TRIPPED
    )


def _in_time(permit: ProbePermit, now: datetime) -> ProbePermit:
    latest = now + timedelta(seconds=permit.seconds)
    return replace(permit, expires_at=latest) if permit.expires_at > latest + _APART else permit


def _without_future(breaker: Breaker, settings: BreakerSettings, at: datetime) -> Breaker:
    """The breaker without what it remembers of the future.

    Else no failure would count until the clock has come to where it was.
    """
    latest = at + _LATE
    last = breaker.last_success_at
    newest = _bucket_of(latest, settings)
    return replace(
        breaker,
        last_success_at=None if last is None or last > latest else last,
        failure_times=tuple(time for time in breaker.failure_times if time <= latest),
        buckets=tuple(bucket for bucket in breaker.buckets if bucket.start <= newest),
    )


def _record_probe(
    breaker: Breaker, settings: BreakerSettings, report: Report, chance: float
) -> Step:
    """The end of a probe. A failure tells the same however late it comes: a provider that hangs
    outlasts any lease. A late success would be one too many, for its place was given again."""
    if report.permit is None:
        return Step(breaker)
    if report.kind is ReportKind.FAILURE:
        relapses = breaker.relapses + 1
        opened = _open(breaker, BreakerEvent.RELAPSED, settings, report.at, relapses, chance)
        return Step(opened, BreakerEvent.RELAPSED)
    left = tuple(permit for permit in breaker.permits if permit.id != report.permit)
    if len(left) == len(breaker.permits) or report.kind is ReportKind.CANCELLED:
        return Step(replace(breaker, permits=left))
    successes = breaker.probe_successes + 1
    if successes < settings.success_threshold:
        return Step(replace(breaker, permits=left, probe_successes=successes))
    return Step(_move(breaker, BreakerEvent.RECOVERED), BreakerEvent.RECOVERED)


def _must_trip(breaker: Breaker, settings: BreakerSettings) -> bool:
    if breaker.failure_count >= settings.failure_threshold:
        return True
    failures = sum(bucket.failures for bucket in breaker.buckets)
    calls = failures + sum(bucket.successes for bucket in breaker.buckets)
    return calls >= settings.rate_calls_min and failures >= settings.rate_threshold * calls


def _count(
    buckets: tuple[Bucket, ...], settings: BreakerSettings, report: Report
) -> tuple[Bucket, ...]:
    start = _bucket_of(report.at, settings)
    good = report.count if report.kind is ReportKind.SUCCESS else 0
    by_start = {bucket.start: bucket for bucket in buckets}
    old = by_start.get(start, Bucket(start, 0, 0))
    by_start[start] = Bucket(start, old.successes + good, old.failures + report.count - good)
    newest = max(by_start)
    return tuple(by_start[key] for key in sorted(by_start) if newest - _BUCKETS < key <= newest)


def _bucket_of(at: datetime, settings: BreakerSettings) -> int:
    return int(at.timestamp() / (settings.rate_window_seconds / _BUCKETS))


def _move(breaker: Breaker, event: BreakerEvent) -> Breaker:
    """The state after ``event``; what only the old state remembered is dropped.

    Relapses survive from open to half-open, so that the next time-out is the doubled one.
    """
    state = TRANSITIONS[breaker.state, event]
    relapses = breaker.relapses if state is BreakerState.HALF_OPEN else 0
    times = breaker.failure_times if state is not BreakerState.CLOSED else ()
    return Breaker(
        state=state, generation=breaker.generation + 1, relapses=relapses, failure_times=times
    )


def _open(
    breaker: Breaker,
    event: BreakerEvent,
    settings: BreakerSettings,
    at: datetime,
    relapses: int,
    chance: float,
) -> Breaker:
    seconds = settings.open_seconds(relapses, chance)
    moved = _move(breaker, event)
    until = at + timedelta(seconds=seconds)
    return replace(moved, relapses=relapses, open_until=until, open_seconds=seconds)
