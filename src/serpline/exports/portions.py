"""Frames from a database connection, read by a writer in a thread."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from anyio import CancelScope

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")


async def write_in_thread(
    frames: AsyncGenerator["pl.DataFrame", None], write: Callable[[Iterable["pl.DataFrame"]], T]
) -> T:
    """Return what ``write`` returns for the frames, which it pulls one by one from its thread.

    A cancellation ends the frames, and waits until the thread has ended. Exceptions of either side
    pass unchanged.
    """
    loop = asyncio.get_running_loop()
    is_stopped = False

    async def following() -> "pl.DataFrame | None":
        return await anext(frames, None)

    def pulled() -> "Iterator[pl.DataFrame]":
        # Any thread may pull: the engine behind Parquet has its own.
        while not is_stopped:
            frame = asyncio.run_coroutine_threadsafe(following(), loop).result()
            if frame is None:
                return
            yield frame
        raise CancelledError

    async with aclosing(frames):
        work = asyncio.ensure_future(asyncio.to_thread(write, pulled()))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            is_stopped = True
            # In the Python face, a cancelled task is cancelled again at each await.
            with CancelScope(shield=True):
                await asyncio.gather(work, return_exceptions=True)
            raise
