"""Poison: find the item that kills its worker, and fail no other.

A chunk that lost two owners is suspect. Its next owner works on nothing else beside it. It works
the items in groups, and marks each group before it starts: first all items, and after every death
tenths of the marked group, down to a single item. An item that was alone in flight at three deaths
is poison and fails. Less suspect items go first, so they have ended by then.

An outside kill marks no item as poison unless it hits the same isolated item three times. A phase
that buys a thousand things with one call makes ten calls of it, not a thousand.

Limit: some work is one unit for all its items (a provider's batch, a computation over a lane) and
cannot be divided. If it kills its workers, the lane's deadline ends it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby

from serpline.store.runs.chunks import ItemRow

NARROWING = 10
ALONE_DEATHS_MAX = 3


def is_poison(row: ItemRow, planned: int) -> bool:
    """Whether this item of a chunk of ``planned`` was alone in flight at enough deaths."""
    return row.deaths >= _deaths_until_alone(planned) + ALONE_DEATHS_MAX


def groups(rows: Sequence[ItemRow], planned: int) -> Iterator[list[ItemRow]]:
    """Yield the groups to work on, least suspect first; more suspect groups are smaller."""
    ordered = sorted(rows, key=lambda row: (row.deaths, row.item))
    for deaths, same_deaths in groupby(ordered, key=lambda row: row.deaths):
        size = max(1, planned // NARROWING**deaths)
        suspects = list(same_deaths)
        for start in range(0, len(suspects), size):
            yield suspects[start : start + size]


def tenths(rows: Sequence[ItemRow]) -> Iterator[Sequence[ItemRow]]:
    """Split ``rows`` into at most ten groups; two or more rows always make at least two groups."""
    size = -(-len(rows) // NARROWING)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _deaths_until_alone(planned: int) -> int:
    deaths = 0
    while planned // NARROWING**deaths > 1:
        deaths += 1
    return deaths


class Quarantine:
    """A lock of this process: ordinary chunks share it, a suspect chunk holds it alone."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holders = 0
        self._free = asyncio.Event()
        self._free.set()

    @asynccontextmanager
    async def hold(self, *, alone: bool) -> AsyncIterator[None]:
        """Hold the lock while working on a chunk. ``alone``: wait until all others have left."""
        if alone:
            async with self._lock:
                await self._free.wait()
                yield
            return
        async with self._lock:
            self._holders += 1
            self._free.clear()
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._free.set()
