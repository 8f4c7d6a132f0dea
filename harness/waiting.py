"""Bounded waits for a condition."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_SECONDS_MAX = 150.0
POLL_SECONDS = 0.02


async def until(
    condition: Callable[[], Awaitable[T | None]],
    what: str,
    *,
    seconds: float = WAIT_SECONDS_MAX,
    poll_seconds: float = POLL_SECONDS,
) -> T:
    """Poll ``condition`` until it is true; returns its value. A timeout's error names ``what``."""
    gives_up = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < gives_up, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(poll_seconds)
    return found
