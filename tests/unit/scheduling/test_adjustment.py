"""Patterns among failed and late slots: planted ones are found, chance and outages are not."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random

import pytest

from serpline.scheduling.adjustment import (
    ALPHA,
    SLOTS_MAX,
    SLOTS_MIN,
    Batch,
    Factor,
    Observation,
    Pattern,
    Trouble,
    find_patterns,
    look_after,
)
from serpline.scheduling.proportions import Counts

MONDAY = datetime(2026, 1, 5)  # noqa: DTZ001  wall time
PROVIDER = "scale_serp_api"
SIZES = (300, 1_000, 3_000, 4_900, 5_100, 9_000, 15_000)


def _slots(
    count: int, hours: float, make: Callable[[datetime], Observation], at: int = 0
) -> list[Observation]:
    first = MONDAY + timedelta(hours=at)
    return [make(first + timedelta(hours=hours) * number) for number in range(count)]


def _found(slots: Sequence[Observation]) -> tuple[int, Pattern] | None:
    """Look whenever a look is due, as the service does: the first pattern, and after how many."""
    looked = 0
    for count in range(1, len(slots) + 1):
        look, _ = look_after(count)
        if look > looked:
            looked = look
            if patterns := find_patterns(slots[:count], look):
                return count, patterns[0]
    return None


@pytest.mark.parametrize("hours", [3, 4, 6, 8, 12])
def test_failures_at_one_hour_are_found_within_30_slots(hours: int) -> None:
    """A schedule that is due two to eight times a day fails at 06:00 only."""
    slots = _slots(30, hours, lambda at: Observation(at, at.hour == 6, late=False), at=6)
    count, pattern = _found(slots)
    assert count <= 30
    assert (pattern.table.trouble, pattern.table.factor) == (Trouble.FAILED, Factor.HOUR)
    assert (pattern.table.level, pattern.table.others.bad) == (6, 0)
    assert pattern.table.ours.bad == pattern.table.ours.total >= 3


@pytest.mark.parametrize("seed", range(20))
def test_a_provider_that_fails_large_batches_is_found_within_30_slots(seed: int) -> None:
    """Batches above 5,000 searches fail, and smaller ones succeed: 5,000 is the size proposed."""
    random = Random(seed)

    def make(at: datetime) -> Observation:
        batches = tuple(Batch(PROVIDER, size, size > 5_000) for size in random.sample(SIZES, 2))
        return Observation(at, any(b.failed for b in batches), late=False, batches=batches)

    count, pattern = _found(_slots(30, 24, make))
    assert count <= 30
    assert (pattern.table.factor, pattern.table.provider) == (Factor.BATCH_SIZE, PROVIDER)
    assert pattern.table.level == 5_000


def test_late_sundays_are_found() -> None:
    """A machine that sleeps on Sundays: six Sundays are enough."""
    slots = _slots(80, 12, lambda at: Observation(at, None, late=at.isoweekday() == 7))
    count, pattern = _found(slots)
    assert (pattern.table.trouble, pattern.table.factor, pattern.table.level) == (
        Trouble.LATE,
        Factor.WEEKDAY,
        7,
    )
    # The units are dates: two slots of a Sunday are one.
    assert pattern.table.ours.total <= count / 14 + 1


def test_failures_with_a_providers_errors_are_found() -> None:
    """Slots fail when a provider answers with errors, every third day, and not otherwise."""
    errors = frozenset({"llm"})

    def make(at: datetime) -> Observation:
        failed = at.day % 3 == 0
        return Observation(at, failed, late=False, errors=errors if failed else frozenset())

    _, pattern = _found(_slots(40, 24, make))
    assert (pattern.table.factor, pattern.table.level) == (Factor.PROVIDER, "llm")


@pytest.mark.parametrize("kind", range(4))
def test_chance_makes_few_proposals(kind: int) -> None:
    """Of 1,000 schedules whose slots fail at random, 50 at most get a proposal in 120 slots.

    They are looked at nine times, which spend nine tenths of ``ALPHA``; all later looks
    together have the rest.
    """
    hours, chance = ((6, 0.05), (6, 0.3), (12, 0.5), (24, 0.1))[kind]
    found = sum(_found(_by_chance(Random(seed), hours, chance)) is not None for seed in range(250))
    assert look_after(120)[0] == 9
    assert found <= 250 * ALPHA


def _by_chance(random: Random, hours: float, chance: float) -> list[Observation]:
    def make(at: datetime) -> Observation:
        sizes = random.sample(SIZES, random.randint(1, 3))
        return Observation(
            at,
            random.random() < chance,
            random.random() < chance,
            frozenset(name for name in ("youtube", "llm") if random.random() < 0.2),
            tuple(Batch(PROVIDER, size, random.random() < chance) for size in sizes),
        )

    return _slots(120, hours, make, at=random.randrange(24))


@pytest.mark.parametrize("seed", range(20))
def test_one_long_outage_is_no_pattern(seed: int) -> None:
    """An hourly schedule with one outage of up to two days, in which the provider's errors are."""
    random = Random(seed)
    start, length = random.randrange(20, 250), random.randrange(5, 48)
    down = range(start, start + length)
    slots = []
    for number, at in enumerate(_slots(300, 1, lambda at: Observation(at, None, late=False))):
        is_down = number in down
        slots.append(
            Observation(
                at.local,
                is_down,
                late=is_down,
                errors=frozenset({PROVIDER} if is_down else ()),
                batches=(Batch(PROVIDER, 4_000 + 10 * number, is_down),),
            )
        )
    assert _found(slots) is None


def test_failures_since_the_landscape_grew_are_no_pattern_of_sizes() -> None:
    """All batches grew on one day, and an outage came later: nothing tells the two apart."""
    slots = [
        Observation(
            MONDAY + timedelta(days=day),
            day >= 40,
            late=False,
            batches=(Batch(PROVIDER, 6_000 if day >= 30 else 4_000, day >= 40),),
        )
        for day in range(60)
    ]
    assert _found(slots) is None


def test_few_observations_propose_nothing() -> None:
    """Below the minimum nothing is found, however clear it is."""
    slots = _slots(SLOTS_MIN, 12, lambda at: Observation(at, at.hour == 6, late=False), at=6)
    assert find_patterns(slots, 1)
    assert not find_patterns(slots[1:], 1)
    assert not find_patterns(slots, 0)


def test_a_later_look_asks_for_more() -> None:
    """What is enough at the first look is not at the fiftieth."""
    slots = _slots(SLOTS_MIN, 12, lambda at: Observation(at, at.hour == 6, late=False), at=6)
    assert not find_patterns(slots, 50)


def test_a_small_difference_is_not_worth_a_change() -> None:
    """A twelfth of the slots at an hour fail, and no other: beyond chance, and not proposed."""
    slots = _slots(
        SLOTS_MAX,
        6,
        lambda at: Observation(at, at.hour == 6 and at.day % 12 == 0, late=False),
    )
    assert find_patterns(slots, 1) == []
    often = [
        Observation(s.local, s.local.hour == 6 and s.local.day % 3 == 0, late=False) for s in slots
    ]
    assert find_patterns(often, 1)[0].table.level == 6


def test_cancelled_slots_are_not_judged() -> None:
    """A slot without a verdict counts neither as failed nor as good."""
    slots = _slots(40, 6, lambda at: Observation(at, None if at.hour == 6 else False, late=False))
    slots += _slots(5, 24, lambda at: Observation(at, failed=True, late=False), at=12)
    for pattern in find_patterns(slots, 1):
        assert pattern.table.level != 6


def test_the_newest_slots_are_used() -> None:
    """A pattern older than the newest ``SLOTS_MAX`` slots is forgotten."""
    old = _slots(100, 12, lambda at: Observation(at, at.hour == 6, late=False), at=6)
    new = [
        Observation(slot.local + timedelta(days=50), failed=False, late=False)
        for slot in _slots(SLOTS_MAX, 12, lambda at: Observation(at, None, late=False), at=6)
    ]
    assert find_patterns(old + new, 1) == []
    assert find_patterns(old + new[1:], 1) == []
    assert find_patterns(old + new[320:], 1)[0].table.ours == Counts(50, 90)


def test_looks_are_due_at_growing_sizes() -> None:
    """The first at the minimum, then after a third more slots, then after every 25."""
    sizes = sorted({look_after(count)[1] for count in range(200)})
    assert sizes[:5] == [12, 16, 21, 28, 37]
    assert sizes[-2:] == [186, 211]
    assert look_after(SLOTS_MIN - 1) == (0, SLOTS_MIN)
    assert look_after(30) == (4, 37)
