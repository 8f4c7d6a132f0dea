"""Bounded waits for a condition."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_SECONDS_MAX = 150.0
# A condition is mostly a query, which takes CPU from what it waits for: a long wait polls less.
POLL_SECONDS = 0.02
POLL_SECONDS_MAX = 0.1
POLL_PER_SECOND_WAITED = 0.1


async def until(
    condition: Callable[[], Awaitable[T | None]],
    what: str,
    *,
    seconds: float = WAIT_SECONDS_MAX,
    poll_seconds: float | None = None,
) -> T:
    """Poll ``condition`` until it is true; returns its value. A timeout's error names ``what``.

    ``poll_seconds``: always as often. By default a tenth of the time waited, within bounds.
    """
    began = time.monotonic()
    while not (found := await condition()):
        waited = time.monotonic() - began
        assert waited < seconds, f"waited {seconds:g} s for {what}"
        growing = max(POLL_SECONDS, min(POLL_SECONDS_MAX, waited * POLL_PER_SECOND_WAITED))
        await asyncio.sleep(poll_seconds or growing)
    return found
