"""Find what failed or late slots of a schedule have in common. Pure: same slots, same answer.

``find_patterns`` looks at one content type of a schedule. For each hour, weekday, provider and
batch size it compares the share of bad slots with that among the schedule's own other slots.

What it promises: if nothing but chance makes slots fail, a schedule gets a pattern with probability
``ALPHA`` at most, over its whole life, however often it is looked at (``proportions``).

How it keeps that promise where failures come in groups:
- An hour is judged by its dates, a weekday by its dates. A date counts as bad if at least half of
  its slots are. So one outage is one observation, however many slots it hits.
- Slots with and without a provider's errors, or with larger and smaller batches, are compared
  over the time in which there were both. So one outage is no pattern, and neither is a landscape
  that grew before it.

Limits: ``SLOTS_MIN`` slots propose nothing. A look uses the newest ``SLOTS_MAX`` slots. A schedule
that is due at one hour only has nothing to compare that hour with. Slots start late before they
have batches, so lateness is not compared with batch sizes.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from serpline.scheduling.proportions import (
    Counts,
    greater,
    least,
    level_of_look,
    number_of_tests,
)

_Key = TypeVar("_Key", bound=Hashable)

ALPHA = 0.05
SLOTS_MIN = 12
SLOTS_MAX = 400
# A look after a third more slots loses less power to the correction than one after every slot.
_GROWTH = 3
_STEP_MAX = 25
# A larger share than by chance is not yet worth a change.
_BAD_MIN = 3
_SHARE_MIN = 0.2
_TIMES_MIN = 2
BATCH_SIZES = (100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class Factor(StrEnum):
    """What bad slots may have in common."""

    BATCH_SIZE = "batch_size"
    HOUR = "hour"
    WEEKDAY = "weekday"
    PROVIDER = "provider"


class Trouble(StrEnum):
    """What is bad about a slot: its content type *failed*, or it started *late* or never."""

    FAILED = "failed"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Batch:
    """One provider batch of a slot's run."""

    provider: str
    searches: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """One slot that is over. ``local``: its time in the schedule's zone, without the zone.

    ``failed`` None: its run never started, or was cancelled. ``errors``: the providers that
    answered its run with errors.
    """

    local: datetime
    failed: bool | None
    late: bool
    errors: frozenset[str] = frozenset()
    batches: tuple[Batch, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Slots with the ``level`` of a ``factor``, and the schedule's other slots.

    ``level``: an hour (0 to 23), an ISO weekday (1 to 7), a provider, or a number of searches that
    batches of ``provider`` exceed. ``ours`` and ``others`` count the units compared, and those in
    ``trouble``.
    """

    trouble: Trouble
    factor: Factor
    level: int | str
    ours: Counts
    others: Counts
    provider: str | None = None

    @property
    def difference(self) -> float:
        """How much larger the share of bad slots is than among the others."""
        return self.ours.share - self.others.share


@dataclass(frozen=True, slots=True)
class Pattern:
    """A table whose slots are in trouble more often than the others, beyond chance.

    ``p_value`` is at most ``threshold``: the level of this ``look``, divided by the ``tests``.
    """

    table: Table
    p_value: float
    tests: int
    look: int
    threshold: float


def look_after(slots: int) -> tuple[int, int]:
    """The number of the latest look at ``slots`` slots (0: none yet), and when the next is due."""
    look, following = 0, SLOTS_MIN
    while following <= slots:
        look, following = look + 1, following + min(following // _GROWTH, _STEP_MAX)
    return look, following


def find_patterns(
    observations: Sequence[Observation], look: int, alpha: float = ALPHA
) -> list[Pattern]:
    """Find the patterns in the newest observations of one content type, the clearest first.

    ``look``: how many looks at this content type there were, with this one. ``alpha``: the
    probability of a pattern by chance over all looks.
    """
    seen = sorted(observations, key=lambda each: each.local)[-SLOTS_MAX:]
    if look < 1 or len(seen) < SLOTS_MIN:
        return []
    tables = [table for table in _tables(seen) if table.ours.total and table.others.total]
    level = level_of_look(alpha, look)
    floors = [least(table.ours, table.others) for table in tables]
    tests = number_of_tests(floors, level)
    found = []
    for table, floor in zip(tables, floors, strict=True):
        if floor > level / tests or not _is_worth_a_change(table):
            continue
        p_value = greater(table.ours, table.others)
        if p_value <= level / tests:
            found.append(Pattern(table, p_value, tests, look, level / tests))
    order = list(Factor)
    return sorted(
        _best_sizes(found), key=lambda each: (each.p_value, order.index(each.table.factor))
    )


def _best_sizes(found: Sequence[Pattern]) -> list[Pattern]:
    """Keep one size of each provider: the one that separates bad from good batches best.

    Of several, the smallest: batches up to it are known to work.
    """
    others = [each for each in found if each.table.factor is not Factor.BATCH_SIZE]
    best: dict[str | None, Pattern] = {}
    for each in found:
        if each.table.factor is Factor.BATCH_SIZE:
            known = best.setdefault(each.table.provider, each)
            if each.table.difference > known.table.difference:
                best[each.table.provider] = each
    return [*others, *best.values()]


def _is_worth_a_change(table: Table) -> bool:
    return (
        table.ours.bad >= _BAD_MIN
        and table.ours.share >= _SHARE_MIN
        and table.ours.share >= _TIMES_MIN * table.others.share
    )


def _tables(seen: Sequence[Observation]) -> Iterator[Table]:
    for trouble in Trouble:
        bad = [(each, _is_bad(each, trouble)) for each in seen]
        judged = [(each, is_bad) for each, is_bad in bad if is_bad is not None]
        yield from _by_time(trouble, judged)
        yield from _by_provider(trouble, judged)
    yield from _by_batch_size(seen)


def _is_bad(slot: Observation, trouble: Trouble) -> bool | None:
    return slot.failed if trouble is Trouble.FAILED else slot.late


def _by_time(trouble: Trouble, judged: Sequence[tuple[Observation, bool]]) -> Iterator[Table]:
    hours = _halves(((slot.local.date(), slot.local.hour), bad) for slot, bad in judged)
    for hour in sorted({hour for _, hour in hours}):
        groups = _split((key[1] == hour, bad) for key, bad in hours.items())
        yield Table(trouble, Factor.HOUR, hour, *groups)
    dates = _halves((slot.local.date(), bad) for slot, bad in judged)
    for weekday in sorted({day.isoweekday() for day in dates}):
        groups = _split((day.isoweekday() == weekday, bad) for day, bad in dates.items())
        yield Table(trouble, Factor.WEEKDAY, weekday, *groups)


def _by_provider(trouble: Trouble, judged: Sequence[tuple[Observation, bool]]) -> Iterator[Table]:
    for provider in sorted({name for slot, _ in judged for name in slot.errors}):
        marked = [(provider in slot.errors, bad) for slot, bad in judged]
        yield Table(trouble, Factor.PROVIDER, provider, *_split(_with_both(marked)))


def _by_batch_size(seen: Sequence[Observation]) -> Iterator[Table]:
    """Compare each provider's larger batches with its smaller ones.

    A slot gives one unit a side: of its larger batches the smallest, of its smaller ones the
    largest. So a good batch just above the size speaks against the size.
    """
    for provider in sorted({batch.provider for slot in seen for batch in slot.batches}):
        slots = [
            _halves((b.searches, b.failed) for b in slot.batches if b.provider == provider)
            for slot in seen
        ]
        for size in BATCH_SIZES:
            marked = []
            for sizes in slots:
                if larger := [searches for searches in sizes if searches > size]:
                    marked.append((True, sizes[min(larger)]))
                if smaller := [searches for searches in sizes if searches <= size]:
                    marked.append((False, sizes[max(smaller)]))
            groups = _split(_with_both(marked))
            yield Table(Trouble.FAILED, Factor.BATCH_SIZE, size, *groups, provider)


def _halves(units: Iterable[tuple[_Key, bool]]) -> dict[_Key, bool]:
    """Whether at least half of each key's units are bad."""
    found: dict[_Key, list[bool]] = defaultdict(list)
    for key, bad in units:
        found[key].append(bad)
    return {key: 2 * sum(bad) >= len(bad) for key, bad in found.items()}


def _with_both(marked: Sequence[tuple[bool, bool]]) -> Sequence[tuple[bool, bool]]:
    """Keep the time from the first to the last unit of the group that was seen for less long."""
    first: dict[bool, int] = {}
    last: dict[bool, int] = {}
    for place, (ours, _) in enumerate(marked):
        first.setdefault(ours, place)
        last[ours] = place
    if len(first) < 2:
        return []
    return marked[max(first.values()) : min(last.values()) + 1]


def _split(units: Iterable[tuple[bool, bool]]) -> tuple[Counts, Counts]:
    counts = {True: [0, 0], False: [0, 0]}
    for ours, bad in units:
        counts[ours][0] += bad
        counts[ours][1] += 1
    return Counts(*counts[True]), Counts(*counts[False])
