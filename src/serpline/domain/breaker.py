"""The circuit breaker as pure functions on values: no clock, no lock, no I/O.

Promise: it opens on ``failure_threshold`` consecutive failures, or when at least
``rate_threshold`` of at least ``rate_calls_min`` calls failed within ``rate_window_seconds``. It
stays open for ``timeout_seconds`` ± 10 %, doubled on every relapse up to ``timeout_seconds_max``.
Half-open, it allows only as many probes as successes are missing, and closes at exactly
``success_threshold`` successes. A permit is a lease, so another probe replaces one lost in a crash.
A failed probe reopens the breaker even after its lease ended. Settings may change at any time: a
change never opens a breaker, and leaves ``open_until`` and permits as they are.

Limits: a report carries the generation of its permission, and is ignored after a transition. If the
clock is set back, no wait becomes longer than intended.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.recent_calls import RecentCalls
from serpline.domain.states import BREAKER_MACHINE, BreakerEvent, BreakerState

# A cancelled call gives its permit back early without a wake-up, so refused callers check again.
_PROBE_RECHECK = timedelta(seconds=10)
# Maximum clock skew between workers. A time more than this beyond its intended value was written
# before the clock was set back.
_CLOCK_SKEW_MAX = timedelta(seconds=5)
# No sign of the provider's health: too fast, out of credits, never sent, or our own bug.
_NEUTRAL = frozenset(
    {
        ErrorCategory.RATE_LIMIT,
        ErrorCategory.QUOTA,
        ErrorCategory.ACCESS_DENIED,
        ErrorCategory.NOT_FOUND,
        ErrorCategory.INTERNAL,
        ErrorCategory.POISON,
    }
)


class ReportKind(StrEnum):
    """How a permitted call ended. ``CANCELLED`` is neutral and only gives the permit back."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


def classify(error: ProviderError) -> ReportKind:
    """The kind of report for a failed call."""
    if error.breaker_failure:
        return ReportKind.FAILURE
    return ReportKind.CANCELLED if error.category in _NEUTRAL else ReportKind.SUCCESS


@dataclass(frozen=True, slots=True)
class Report:
    """``count`` calls that ended in the same way, the last at ``at``."""

    kind: ReportKind
    at: datetime
    generation: int
    permit: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class ProbePermit:
    """The right to make one call while half-open, until ``expires_at`` (lease clock).

    ``seconds``: the length of the lease.
    """

    id: str
    expires_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker's whole state.

    ``recent`` is updated while the breaker is closed, and kept until it closes again.
    ``open_seconds``: the intended time open when ``open_until`` was written.
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
    """The breaker after a step, and the event of its transition, if any."""

    breaker: Breaker
    event: BreakerEvent | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call is allowed.

    If allowed, report its end with ``generation`` and ``permit``. If refused, ``until`` is when to
    try again; None means when another call or a person changes the state.
    """

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
    """Decide on a call. ``now`` is business time, ``lease_now`` the clock of permits.

    ``call_seconds``: how long the call may take, including its waits under the permit.
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
        breaker = _transition(breaker, event)
    live = tuple(
        _cap_lease(permit, lease_now) for permit in breaker.permits if permit.expires_at > lease_now
    )
    if len(live) + breaker.probe_successes >= settings.success_threshold:
        freed = min(permit.expires_at for permit in live) - lease_now
        until = now + min(freed, _PROBE_RECHECK)
        decision = Decision(False, breaker.generation, until=until)
        return Step(replace(breaker, permits=live), event), decision
    lease_seconds = call_seconds if settings.permit_seconds is None else settings.permit_seconds
    expires_at = lease_now + timedelta(seconds=lease_seconds)
    probing = replace(breaker, permits=(*live, ProbePermit(permit_id, expires_at, lease_seconds)))
    return Step(probing, event), Decision(True, probing.generation, permit_id)


def record(breaker: Breaker, settings: BreakerSettings, report: Report, chance: float) -> Step:
    """Record how calls ended. ``chance`` in [0, 1) jitters the time open."""
    if report.generation != breaker.generation:
        return Step(breaker)
    if breaker.state is BreakerState.CLOSED:
        return _record_closed(breaker, settings, report, chance)
    if breaker.state is BreakerState.HALF_OPEN:
        return _record_probe(breaker, settings, report, chance)
    return Step(breaker)


def isolate(breaker: Breaker) -> Step:
    """Refuse every call until ``reset``. An isolated breaker stays as it is."""
    if breaker.state is BreakerState.ISOLATED:
        return Step(breaker)
    return Step(_transition(breaker, BreakerEvent.ISOLATED), BreakerEvent.ISOLATED)


def reset(breaker: Breaker) -> Step:
    """Close by hand and forget the failures."""
    if breaker.state is BreakerState.CLOSED:
        return Step(Breaker(generation=breaker.generation + 1))
    return Step(_transition(breaker, BreakerEvent.RESET), BreakerEvent.RESET)


def close_if_probed(breaker: Breaker, settings: BreakerSettings) -> Step:
    """Close a half-open breaker that has ``success_threshold`` successful probes.

    A lowered threshold may already be met. Then no probe is missing, so no report would close it.
    """
    is_half_open = breaker.state is BreakerState.HALF_OPEN
    if not is_half_open or breaker.probe_successes < settings.success_threshold:
        return Step(breaker)
    return Step(_transition(breaker, BreakerEvent.RECOVERED), BreakerEvent.RECOVERED)


def _record_closed(
    breaker: Breaker, settings: BreakerSettings, report: Report, chance: float
) -> Step:
    if report.kind is ReportKind.CANCELLED:
        return Step(breaker)
    if report.kind is ReportKind.SUCCESS:
        recent = breaker.recent.after_successes(settings, report.at, report.count)
        return Step(replace(breaker, recent=recent))
    recent = breaker.recent.after_failures(settings, report.at, report.count)
    updated = replace(breaker, recent=recent)
    if not recent.must_open(settings):
        return Step(updated)
    return _open(updated, BreakerEvent.TRIPPED, settings, report.at, 0, chance)


def _cap_lease(permit: ProbePermit, now: datetime) -> ProbePermit:
    latest = now + timedelta(seconds=permit.seconds)
    return (
        replace(permit, expires_at=latest)
        if permit.expires_at > latest + _CLOCK_SKEW_MAX
        else permit
    )


def _record_probe(
    breaker: Breaker, settings: BreakerSettings, report: Report, chance: float
) -> Step:
    """Record the end of a probe.

    A failure counts at any time, because a hanging provider outlasts any lease. A late success does
    not count, because another probe has its permit.
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


def _transition(breaker: Breaker, event: BreakerEvent) -> Breaker:
    """The state after ``event``, without the old state's own data.

    Relapses survive from open to half-open, so that the next timeout is doubled.
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
    moved = _transition(breaker, event)
    until = at + timedelta(seconds=seconds)
    opened = replace(moved, relapses=relapses, open_until=until, open_seconds=seconds)
    return Step(opened, event)
