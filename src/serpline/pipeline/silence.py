"""A deadline for the next outcome of a chunk's work. The whole work may take any time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# The deadline has this share of slack, and moves only when the slack is used up. So many quick
# outcomes move it seldom.
_SLACK = 0.01


class WorkHung(Exception):  # noqa: N818  reported like any other exception of the work
    """The work of a chunk yielded no outcome within its deadline."""


@asynccontextmanager
async def progress_deadline(seconds: float) -> AsyncIterator[Callable[[], None]]:
    """Raise ``WorkHung`` in the block unless the yielded function is called every ``seconds``."""
    loop = asyncio.get_running_loop()
    progress_at = loop.time()
    slack_seconds = _SLACK * seconds

    def progress() -> None:
        nonlocal progress_at
        now = loop.time()
        if now - progress_at > slack_seconds:
            progress_at = now
            deadline.reschedule(now + seconds + slack_seconds)

    try:
        async with asyncio.timeout(seconds + slack_seconds) as deadline:
            yield progress
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise WorkHung(f"no outcome within {seconds:g} s") from error
