"""The pace towards one provider and its retry tokens, as pure arithmetic over what its row says.

A 429 halves the rate and notes where it happened. From there the rate climbs back within
``CLIMB_SECONDS`` to just below that ceiling, and then creeps upwards, to find out whether the
provider has become generous again. A ceiling the provider insists on is therefore met from below
nearly all the time. One that it has not insisted on for ``HOLD_SECONDS`` was a storm's: the rate
then doubles every ``DOUBLING_SECONDS`` until it is the configured one. Recovery follows from the
time alone, so it costs no write.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

CLIMB_SECONDS = 5.0
CLIMB_SHARE = 0.95
CREEP_PER_SECOND = 0.002
HOLD_SECONDS = 30.0
DOUBLING_SECONDS = 5.0
_DOUBLINGS_MAX = 16.0
RATE_SHARE_MIN = 1 / 64
BURST_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """What a provider's row remembers. All None: never used, never penalised."""

    next_slot_at: datetime | None = None
    paused_until: datetime | None = None
    pause_reason: str | None = None
    penalised_at: datetime | None = None
    penalised_rate: float | None = None
    ceiling_rate: float | None = None


def rate_now(pace: Pace, rate_max: float, now: datetime) -> float:
    """Calls per second allowed now; never above ``rate_max``."""
    if pace.penalised_at is None or pace.penalised_rate is None or pace.ceiling_rate is None:
        return rate_max
    elapsed = max(0.0, (now - pace.penalised_at).total_seconds())
    knee = CLIMB_SHARE * pace.ceiling_rate
    if elapsed < CLIMB_SECONDS:
        rate = pace.penalised_rate + (knee - pace.penalised_rate) * elapsed / CLIMB_SECONDS
    else:
        crept = elapsed - CLIMB_SECONDS
        rate = knee + pace.ceiling_rate * CREEP_PER_SECOND * crept
        rate *= 2 ** min(max(0.0, crept - HOLD_SECONDS) / DOUBLING_SECONDS, _DOUBLINGS_MAX)
    return min(rate_max, rate)


def reserve(
    pace: Pace, rate_max: float, now: datetime, count: int, horizon_seconds: float
) -> tuple[Pace, list[datetime]]:
    """Up to ``count`` slots, none later than ``horizon_seconds`` from now; fewer if they end."""
    gap = timedelta(seconds=1 / rate_now(pace, rate_max, now))
    earliest = now - timedelta(seconds=BURST_SECONDS)
    slot = earliest if pace.next_slot_at is None else max(pace.next_slot_at, earliest)
    if pace.paused_until is not None and pace.paused_until > now:
        slot = max(slot, pace.paused_until)
    last = now + timedelta(seconds=horizon_seconds)
    slots: list[datetime] = []
    while len(slots) < count and slot <= last:
        slots.append(slot)
        slot += gap
    return replace(pace, next_slot_at=slot), slots


def penalise(
    pace: Pace, rate_max: float, now: datetime, started_at: datetime, pause_seconds: float
) -> Pace:
    """After a 429 to a call that started at ``started_at``: halve once per burst, and pause.

    A call that was under way when the rate was halved tells nothing new; it may only lengthen
    the pause.
    """
    until = now + timedelta(seconds=pause_seconds)
    paused = pause(pace, until, "the provider asked to wait (429)")
    if pace.penalised_at is not None and started_at <= pace.penalised_at:
        return replace(paused, penalised_at=max(pace.penalised_at, until))
    rate = rate_now(pace, rate_max, now)
    halved = max(rate / 2, rate_max * RATE_SHARE_MIN)
    return replace(paused, penalised_at=until, penalised_rate=halved, ceiling_rate=rate)


def pause(pace: Pace, until: datetime, reason: str) -> Pace:
    """No call before ``until``; a longer pause in force stays as it is."""
    if pace.paused_until is not None and pace.paused_until >= until:
        return pace
    return replace(pace, paused_until=until, pause_reason=reason)


def earned(
    tokens: float | None,
    tokens_at: datetime | None,
    now: datetime,
    *,
    firsts: int,
    share: float,
    floor_per_minute: float,
    tokens_max: float,
) -> float:
    """The retry tokens there are now, of which each retry costs one; None: never counted.

    First attempts earn ``share`` of a token each, time earns half the floor a minute (the other
    half is there at the start).
    """
    had = floor_per_minute / 2 if tokens is None else tokens
    elapsed = max(0.0, (now - (tokens_at or now)).total_seconds())
    return min(tokens_max, had + share * firsts + elapsed * floor_per_minute / 120)
