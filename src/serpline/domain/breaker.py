"""The circuit breaker as a pure machine: values in, values out; no clock, no lock, no I/O.

Promise: it opens on ``failure_threshold`` consecutive failures, or when at least
``rate_threshold`` of at least ``rate_calls_min`` calls failed within ``rate_window_seconds``. It
stays open for ``timeout_seconds`` ± 10 %, doubled on every relapse up to ``timeout_seconds_max``.
Half-open, it lets through only as many probes as successes are missing, and closes at exactly
``success_threshold`` of them. A permit is a lease, so a probe lost in a crash is given again; a
failed probe reopens the breaker even when its lease has ended. Settings may change at any time:
a change never opens a breaker, and leaves ``open_until`` and permits as they are.

Limits: a report carries the generation it was permitted in; one that arrives after a transition is
ignored. When the clock is set back, no wait is longer from then on than it was meant to be.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.recent_calls import RecentCalls
from serpline.domain.states import BREAKER_MACHINE, BreakerEvent, BreakerState

# A cancelled call gives its permit back early and wakes nobody: refused callers check again soon.
_PROBE_RECHECK = timedelta(seconds=10)
# Maximum clock skew between workers. What lies further ahead than it was meant to, by more than
# this, was written before the clock was set back.
_CLOCK_SKEW_MAX = timedelta(seconds=5)
# These say nothing about the provider: too fast, out of credits, never sent, or a bug of ours.
_NEUTRAL = frozenset(
    {
        ErrorCategory.RATE_LIMIT,
        ErrorCategory.QUOTA,
        ErrorCategory.REFUSED_BY_PEER,
        ErrorCategory.INTERNAL,
        ErrorCategory.POISON,
    }
)


class ReportKind(StrEnum):
    """How a permitted call ended. ``CANCELLED`` is neutral: it only gives its permit back."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


def classify(error: ProviderError) -> ReportKind:
    """What a failed call says about its provider."""
    if error.breaker_failure:
        return ReportKind.FAILURE
    return ReportKind.CANCELLED if error.category in _NEUTRAL else ReportKind.SUCCESS


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
class Breaker:
    """All a breaker remembers. ``recent`` counts while it is closed, and is kept until it closes.

    ``open_seconds``: how long it was to be open when ``open_until`` was written.
    """

    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    recent: RecentCalls = field(default_factory=RecentCalls)
    open_until: datetime | None = None
    open_seconds: float = 0.0
    relapses: int = 0
    probe_successes: int = 0
    permits: tuple[ProbePermit, ...] = ()

    @property
    def failure_count(self) -> int:
        """Consecutive failures, as far as known."""
        return len(self.recent.failure_times)


@dataclass(frozen=True, slots=True)
class Step:
    """The breaker after a step, and the event that moved it, if any."""

    breaker: Breaker
    event: BreakerEvent | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """``allowed``, with the generation to report under and the permit to give back; or refused
    until ``until`` (None: until another call or a person changes the state)."""

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
    step = close_if_probed(breaker, settings)
    if step.breaker.state is BreakerState.CLOSED:
        return step, Decision(True, step.breaker.generation)
    if breaker.state is BreakerState.ISOLATED:
        return Step(breaker), Decision(False, breaker.generation)
    event: BreakerEvent | None = None
    if breaker.state is BreakerState.OPEN:
        latest = now + timedelta(seconds=breaker.open_seconds)
        if breaker.open_until is not None and breaker.open_until > latest + _CLOCK_SKEW_MAX:
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
        until = now + min(freed, _PROBE_RECHECK)
        decision = Decision(False, breaker.generation, until=until)
        return Step(replace(breaker, permits=live), event), decision
    lent = call_seconds if settings.permit_seconds is None else settings.permit_seconds
    expires_at = lease_now + timedelta(seconds=lent)
    probing = replace(breaker, permits=(*live, ProbePermit(permit_id, expires_at, lent)))
    return Step(probing, event), Decision(True, probing.generation, permit_id)


def record(breaker: Breaker, settings: BreakerSettings, report: Report, chance: float) -> Step:
    """Record how calls ended. ``chance`` in [0, 1) jitters the time that it would stay open."""
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


def close_if_probed(breaker: Breaker, settings: BreakerSettings) -> Step:
    """Close a half-open breaker that has had as many good probes as ``settings`` ask for.

    With lower settings it has them already: no probe is missing, so none would ever close it.
    """
    is_half_open = breaker.state is BreakerState.HALF_OPEN
    if not is_half_open or breaker.probe_successes < settings.success_threshold:
        return Step(breaker)
    return Step(_move(breaker, BreakerEvent.RECOVERED), BreakerEvent.RECOVERED)


def _record_closed(
    breaker: Breaker, settings: BreakerSettings, report: Report, chance: float
) -> Step:
    if report.kind is ReportKind.CANCELLED:
        return Step(breaker)
    if report.kind is ReportKind.SUCCESS:
        recent = breaker.recent.after_successes(settings, report.at, report.count)
        return Step(replace(breaker, recent=recent))
    recent = breaker.recent.after_failures(settings, report.at, report.count)
    noted = replace(breaker, recent=recent)
    if not recent.must_open(settings):
        return Step(noted)
    return _open(noted, BreakerEvent.TRIPPED, settings, report.at, 0, chance)


def _in_time(permit: ProbePermit, now: datetime) -> ProbePermit:
    latest = now + timedelta(seconds=permit.seconds)
    return (
        replace(permit, expires_at=latest)
        if permit.expires_at > latest + _CLOCK_SKEW_MAX
        else permit
    )


def _record_probe(
    breaker: Breaker, settings: BreakerSettings, report: Report, chance: float
) -> Step:
    """The end of a probe.

    A failure counts however late it comes: a provider that hangs outlasts any lease. A late
    success would be one too many, because its permit was given again.
    """
    if report.permit is None:
        return Step(breaker)
    if report.kind is ReportKind.FAILURE:
        relapses = breaker.relapses + 1
        return _open(breaker, BreakerEvent.RELAPSED, settings, report.at, relapses, chance)
    left = tuple(permit for permit in breaker.permits if permit.id != report.permit)
    if len(left) == len(breaker.permits) or report.kind is ReportKind.CANCELLED:
        return Step(replace(breaker, permits=left))
    successes = breaker.probe_successes + 1
    return close_if_probed(replace(breaker, permits=left, probe_successes=successes), settings)


def _move(breaker: Breaker, event: BreakerEvent) -> Breaker:
    """The state after ``event``; what only the old state remembered is dropped.

    Relapses survive from open to half-open, so that the next time-out is the doubled one.
    """
    state = BREAKER_MACHINE[breaker.state, event]
    relapses = breaker.relapses if state is BreakerState.HALF_OPEN else 0
    recent = RecentCalls() if state is BreakerState.CLOSED else breaker.recent
    return Breaker(state, breaker.generation + 1, recent, relapses=relapses)


def _open(
    breaker: Breaker,
    event: BreakerEvent,
    settings: BreakerSettings,
    at: datetime,
    relapses: int,
    chance: float,
) -> Step:
    seconds = settings.open_seconds(relapses, chance)
    moved = _move(breaker, event)
    until = at + timedelta(seconds=seconds)
    opened = replace(moved, relapses=relapses, open_until=until, open_seconds=seconds)
    return Step(opened, event)
