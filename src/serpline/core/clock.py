"""Business time. The only module that reads the wall clock; everywhere else time is a parameter.

Leases and locks do not ask this clock: they use the database's, which all processes share.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time, and lets it pass."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, the machine's sleep included; never runs backwards."""

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


# A machine that slept has to know that its leases are over; Linux' CLOCK_MONOTONIC stands still.
_COUNTS_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251  the one place

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never runs backwards."""
        return time.clock_gettime(_COUNTS_SLEEP)

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        await asyncio.sleep(seconds)
