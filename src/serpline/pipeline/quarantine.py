"""Poison: finding the item that kills its worker, without condemning those beside it.

A chunk that lost two owners is suspect. Whoever owns it next has nothing else in hand, and works
its items in groups, each marked before its work: first all of them, and after every death a tenth
of the group that was marked, down to an item alone. An item that was alone in flight at three
deaths is poison and fails; what is innocent ended long before, for it goes first.

So a kill that comes from outside condemns nobody, unless it strikes the same item, alone, three
times. And a phase that buys a thousand things with one call makes ten calls of it, not a thousand.

The limit: a phase whose work is one for all its items (a provider's batch, a computation over a
lane) cannot be divided; what kills there is ended by the lane's deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby

from serpline.store.runs.chunks import ItemRow

NARROWING = 10
ALONE_DEATHS_MAX = 3


def is_poison(row: ItemRow, planned: int) -> bool:
    """Whether the item, of a chunk of ``planned``, was alone in flight at enough deaths."""
    return row.deaths >= _deaths_to_stand_alone(planned) + ALONE_DEATHS_MAX


def groups(rows: Sequence[ItemRow], planned: int) -> Iterator[list[ItemRow]]:
    """What to have in flight at once: least suspect first, smaller the more suspect it is."""
    ordered = sorted(rows, key=lambda row: (row.deaths, row.item))
    for deaths, equals in groupby(ordered, key=lambda row: row.deaths):
        size = max(1, planned // NARROWING**deaths)
        alike = list(equals)
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def tenths(rows: Sequence[ItemRow]) -> Iterator[Sequence[ItemRow]]:
    """``rows`` in at most ten groups, each smaller than all of them unless there is one row."""
    size = -(-len(rows) // NARROWING)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _deaths_to_stand_alone(planned: int) -> int:
    deaths = 0
    while planned // NARROWING**deaths > 1:
        deaths += 1
    return deaths


class Quarantine:
    """The door of this process: ordinary chunks share it, a suspect one has it to itself."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def entered(self, *, alone: bool) -> AsyncIterator[None]:
        """Around all work on a chunk. ``alone``: once everybody has left, and nobody may enter."""
        if alone:
            async with self._door:
                await self._empty.wait()
                yield
            return
        async with self._door:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()
