"""Concurrent calls: running calls are paid for, so they finish and are yielded."""

import asyncio
from contextlib import aclosing

import pytest

from serpline.domain.errors import LeaseLost
from serpline.phases.tools import as_done
from serpline.store.database import DatabaseUnavailable


async def test_running_work_finishes_before_the_exception() -> None:
    """After an exception no work starts, and running work finishes."""
    begun: list[int] = []
    may_end = asyncio.Event()

    async def call(n: int) -> int:
        begun.append(n)
        if n == 1:
            may_end.set()
            raise LeaseLost("must stop")
        await may_end.wait()
        await asyncio.sleep(0)
        return n

    got = []
    with pytest.raises(LeaseLost):  # noqa: PT012
        async with aclosing(as_done(call, range(10), 3)) as results:
            async for result in results:
                got.append(result)  # noqa: PERF401
    assert (begun, sorted(got)) == ([0, 1, 2], [0, 2])


async def test_running_work_finishes_when_the_consumer_fails() -> None:
    """After the consumer's exception no work starts, and running work finishes."""
    begun, ended = [], []
    may_end = asyncio.Event()

    async def call(n: int) -> int:
        begun.append(n)
        if n:
            await may_end.wait()
            ended.append(n)
        return n

    with pytest.raises(DatabaseUnavailable):  # noqa: PT012
        async with aclosing(as_done(call, range(9), 3)) as results:
            assert await anext(results) == 0
            asyncio.get_running_loop().call_later(0.01, may_end.set)
            raise DatabaseUnavailable("cut")
    assert begun == [0, 1, 2]
    assert sorted(ended) == [1, 2]


async def test_a_cancelled_consumer_cancels_running_work() -> None:
    """After a cancellation nothing is left running."""
    ended, consumed = asyncio.Event(), asyncio.Event()

    async def call(n: int) -> int:
        if n:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
        return n

    async def consume() -> None:
        async with aclosing(as_done(call, range(2), 2)) as results:
            assert await anext(results) == 0
            consumed.set()
            await asyncio.Event().wait()

    consuming = asyncio.create_task(consume())
    await consumed.wait()
    consuming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consuming
    assert ended.is_set()
