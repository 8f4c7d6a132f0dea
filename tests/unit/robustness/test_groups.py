"""Group commit."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from harness.virtual import in_virtual_time

from serpline.robustness.groups import GroupCommitter
from serpline.store.database import DatabaseUnavailable


class Writer:
    """Writes groups, fails as configured, and records each number written."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.away = 0
        self.bad: set[int] = set()
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("restarting")
        if self.bad & set(items):
            raise ValueError("unwritable")
        self.groups.append(list(items))
        return [10 * item for item in items]


async def test_items_that_arrive_together_are_written_together() -> None:
    """A hundred items take one write in their order, and each gets its own answer."""
    writer = Writer()
    group = GroupCommitter(writer, delay_seconds=0.01, size_max=500)
    answers = await asyncio.gather(*(group.put(number) for number in range(100)))
    assert writer.groups == [list(range(100))]
    assert answers == [10 * number for number in range(100)]


async def test_a_full_group_does_not_wait() -> None:
    """Reaching the size ends the delay (an hour here)."""
    writer = Writer()
    group = GroupCommitter(writer, delay_seconds=3600, size_max=10)
    await asyncio.gather(*(group.put(number) for number in range(10)))
    assert writer.groups == [list(range(10))]


async def test_flush_ends_the_delay() -> None:
    """After ``flush`` every item put before it is written."""
    writer = Writer()
    group = GroupCommitter(writer, delay_seconds=3600, size_max=10)
    group.put(1)
    await asyncio.sleep(0)
    await group.flush()
    assert writer.groups == [[1]]


async def test_flush_does_not_wait_for_later_items() -> None:
    """``flush`` ends under endless traffic."""
    writer = Writer()
    group = GroupCommitter(writer, delay_seconds=0, size_max=10)
    going = True

    async def traffic() -> None:
        while going:
            group.put(2)
            await asyncio.sleep(0)

    others = asyncio.create_task(traffic())
    group.put(1)
    async with asyncio.timeout(30):
        await group.flush()
    going = False
    await others
    assert 1 in writer.groups[0]


async def test_a_database_that_comes_back_loses_nothing() -> None:
    """The write is repeated until it succeeds. Callers only wait longer."""
    writer = Writer()
    writer.away = 2
    group = GroupCommitter(writer, delay_seconds=0, size_max=10, retry_seconds_max=30)
    assert await group.put(1) == 10


async def test_a_database_that_stays_away_is_an_error() -> None:
    """After ``retry_seconds_max`` every caller of the group gets the error."""
    writer = Writer()
    writer.away = 1000
    group = GroupCommitter(writer, delay_seconds=0.001, size_max=10, retry_seconds_max=0)
    results = await asyncio.gather(group.put(1), group.put(2), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailable] * 2


async def test_one_unwritable_item_fails_alone() -> None:
    """The other items of its group are written."""
    writer = Writer()
    writer.bad = {5}
    committer = GroupCommitter(writer, delay_seconds=0.001, size_max=10)
    results = await asyncio.gather(*(committer.put(n) for n in range(8)), return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, ValueError)] == [5]
    assert sorted(item for group in writer.groups for item in group) == [0, 1, 2, 3, 4, 6, 7]


async def test_a_cancelled_caller_takes_its_item_out() -> None:
    """An item whose caller was cancelled before the write is not written."""
    writer = Writer()
    group = GroupCommitter(writer, delay_seconds=0.001, size_max=10)
    first, second = group.put(1), group.put(2)
    first.cancel()
    await second
    assert writer.groups == [[2]]


async def test_flush_waits_for_a_write_whose_caller_was_cancelled() -> None:
    """So a write whose caller is gone can be undone afterwards."""
    writer = Writer()
    writer.gate = asyncio.Event()
    group = GroupCommitter(writer, delay_seconds=0, size_max=10)
    future = group.put(1)
    await writer.entered.wait()
    future.cancel()
    flushing = asyncio.create_task(group.flush())
    await asyncio.sleep(0)
    assert not flushing.done()
    writer.gate.set()
    await flushing
    assert writer.groups == [[1]]


async def test_waiting_items_are_bounded() -> None:
    """One item more than ``waiting_max`` is refused at once."""
    group = GroupCommitter(Writer(), delay_seconds=3600, size_max=10, waiting_max=3)
    for number in range(3):
        group.put(number)
    with pytest.raises(OverflowError):
        group.put(3)
    await asyncio.sleep(0)
    await group.flush()


async def test_one_write_is_bounded() -> None:
    """A statement's size is bounded, however many items wait."""
    writer = Writer()
    group = GroupCommitter(writer)
    await asyncio.gather(*(group.put(number) for number in range(600)))
    assert [len(one) for one in writer.groups] == [250, 250, 100]


async def test_twenty_thousand_may_wait() -> None:
    """20,000 items wait for an unavailable database. One more is refused."""
    writer = Writer()
    writer.gate = asyncio.Event()
    group = GroupCommitter(writer)
    waiting = [group.put(number) for number in range(20_000)]
    with pytest.raises(OverflowError):
        group.put(20_000)
    writer.gate.set()
    assert await asyncio.gather(*waiting) == [10 * number for number in range(20_000)]


class UnavailableUntil(Writer):
    """A database that is unavailable until a given time."""

    def __init__(self, until_seconds: float) -> None:
        super().__init__()
        self.until_seconds = until_seconds
        self.asked: list[float] = []

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.asked.append(asyncio.get_running_loop().time())
        if self.asked[-1] < self.until_seconds:
            raise DatabaseUnavailable("restarting")
        return await super().__call__(items)


@pytest.mark.parametrize(("seconds", "is_told"), [(8.0, False), (12.0, True)])
def test_ten_seconds_are_waited_for_the_database(seconds: float, is_told: bool) -> None:
    """A cut connection is replaced by then. After that, callers get the error."""
    writer = UnavailableUntil(seconds)

    async def write() -> list[int | BaseException]:
        return await asyncio.gather(GroupCommitter(writer).put(1), return_exceptions=True)

    (result,) = in_virtual_time(write())
    assert isinstance(result, DatabaseUnavailable) is is_told
    pauses = [after - before for before, after in pairwise(writer.asked)]
    # The first repeats come soon, the later ones every two seconds.
    assert pauses[:3] == pytest.approx([0.05, 0.1, 0.2])
    assert max(pauses) == pytest.approx(2)
