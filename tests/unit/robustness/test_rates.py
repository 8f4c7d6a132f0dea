"""The pace towards a provider."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.robustness.rates import Pace, earned, pause, penalise, rate_now, reserve

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_slots_are_evenly_spaced() -> None:
    """Ten calls a second: a slot every 100 ms, none beyond the horizon."""
    _, slots = reserve(Pace(next_slot_at=NOW), 10, NOW, 100, 1.0)
    assert len(slots) == 11
    gaps = {(b - a).total_seconds() for a, b in pairwise(slots)}
    assert gaps == {0.1}


def test_idle_time_is_not_saved_up() -> None:
    """After an hour without calls the first second has no more slots than any other."""
    _, slots = reserve(Pace(next_slot_at=later(-3600)), 10, NOW, 1000, 1.0)
    assert len(slots) <= 12


def test_a_429_halves_the_rate_once_per_burst() -> None:
    """Fifty replies to calls that were under way together are one message."""
    pace = penalise(Pace(), 100, NOW, later(-1), 2.0)
    for _ in range(49):
        pace = penalise(pace, 100, later(0.5), later(-1), 2.0)
    assert rate_now(pace, 100, later(2.5)) == pytest.approx(50)
    assert pace.paused_until == later(2.5)


def test_no_slot_before_the_pause_is_over() -> None:
    """Retry-After is obeyed to the moment."""
    pace, slots = reserve(penalise(Pace(), 100, NOW, NOW, 0.5), 100, NOW, 10, 1.0)
    assert min(slots) == later(0.5)
    _, none = reserve(pause(pace, later(60), "quota"), 100, NOW, 10, 1.0)
    assert none == []


def test_a_shorter_pause_never_ends_a_longer_one() -> None:
    """A 429 with two seconds does not end a quota pause of a day."""
    pace = pause(Pace(), later(86_400), "quota")
    assert penalise(pace, 10, NOW, NOW, 2).paused_until == later(86_400)


def test_throughput_settles_within_a_tenth_of_the_providers_limit() -> None:
    """Against a provider that allows 50/s and is asked for 100/s, the second minute brings 45/s."""
    limit, pace, now, served = 50.0, Pace(next_slot_at=NOW), NOW, []
    window: list[datetime] = []
    while now < later(120):
        pace, slots = reserve(pace, 100, now, 1, 60)
        now = max(now, slots[0])
        window = [at for at in window if at > now - timedelta(seconds=1)]
        if len(window) >= limit:
            pace = penalise(pace, 100, now, now, 1.0)
            continue
        window.append(now)
        served.append(now)
    second_minute = [at for at in served if at >= later(60)]
    assert len(second_minute) / 60 >= 0.9 * limit


def test_a_storm_is_forgotten_within_two_minutes() -> None:
    """Twenty 429s in a row press the rate to its least; without another one it is whole again."""
    pace, now = Pace(), NOW
    for _ in range(20):
        pace = penalise(pace, 64, now, now, 1.0)
        now += timedelta(seconds=2)
    assert rate_now(pace, 64, now) < 2
    assert rate_now(pace, 64, now + timedelta(seconds=30)) < 2
    assert rate_now(pace, 64, now + timedelta(seconds=120)) == 64
    assert rate_now(pace, 64, now + timedelta(days=400)) == 64


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10)), max_size=30))
def test_the_rate_stays_within_its_bounds(penalties: list[tuple[float, float]]) -> None:
    """Whatever 429s come, some calls always pass and never more than configured."""
    pace, now = Pace(), NOW
    for wait, asked in penalties:
        now += timedelta(seconds=wait)
        pace = penalise(pace, 64, now, now, asked)
        assert 1 <= rate_now(pace, 64, now) <= 64


def test_retry_tokens_are_earned_by_first_attempts_and_by_time() -> None:
    """Half the floor to begin with, the other half in a minute, a share of each first attempt."""

    def tokens(had: float | None, at: datetime | None, firsts: int) -> float:
        return earned(had, at, NOW, firsts=firsts, share=0.1, floor_per_minute=30, tokens_max=20.0)

    assert tokens(None, None, 0) == 15
    assert tokens(0.0, later(-60), 0) == 15
    assert tokens(0.0, NOW, 40) == pytest.approx(4)
    assert tokens(0.0, later(60), 0) == 0  # a clock set back takes nothing away
    assert tokens(19.0, later(-3600), 1000) == 20
