"""A deadline for the next outcome of a chunk's work, however long the work takes as a whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# The deadline comes later by this share of it, and is moved only after that time: seldom, and not
# for each of a hundred thousand outcomes.
_SPARE = 0.01


class WorkHung(Exception):  # noqa: N818  told like any other exception of the work
    """The work of a chunk brought no outcome for as long as it may."""


@asynccontextmanager
async def progress_deadline(seconds: float) -> AsyncIterator[Callable[[], None]]:
    """Around the work: ``WorkHung`` when what is given was not called for ``seconds``."""
    loop = asyncio.get_running_loop()
    progress_at = loop.time()
    spare_seconds = _SPARE * seconds

    def progress() -> None:
        nonlocal progress_at
        now = loop.time()
        if now - progress_at > spare_seconds:
            progress_at = now
            deadline.reschedule(now + seconds + spare_seconds)

    try:
        async with asyncio.timeout(seconds + spare_seconds) as deadline:
            yield progress
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise WorkHung(f"no outcome within {seconds:g} s") from error
