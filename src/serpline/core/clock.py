"""Business time. Only this module reads the wall clock; elsewhere time is a parameter.

Leases and locks use the database's clock, which all processes share.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Reads the time, and sleeps."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, including machine sleep. Never runs backwards."""

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


# After machine sleep, leases must count as ended. Linux' CLOCK_MONOTONIC stops during sleep.
_COUNTS_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251  the one place

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin. Never runs backwards."""
        return time.clock_gettime(_COUNTS_SLEEP)

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        await asyncio.sleep(seconds)
