"""Waiting for a condition: a bounded poll that names what it waited for."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.02


async def until(
    condition: Callable[[], Awaitable[T]], what: str, *, seconds: float = PATIENCE_SECONDS
) -> T:
    """Poll until ``condition`` gives something true; its value. ``AssertionError`` after it."""
    gives_up_at = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < gives_up_at, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(_POLL_SECONDS)
    return found
