"""How long to wait before the next attempt, as pure functions. Randomness and time are parameters.

Full jitter: the delay is drawn evenly between zero and an exponentially growing ceiling, so that
items that failed together do not return together. The provider's ``Retry-After`` is a lower bound.
It is capped, so that no reply can park an item for years.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from serpline.domain.errors import ErrorCategory, UserError
from serpline.domain.replies import retry_after_seconds

RETRY_AFTER_SECONDS_MAX = 3600.0

NEVER_RETRIED = frozenset(
    {
        ErrorCategory.AUTH,
        ErrorCategory.QUOTA,
        ErrorCategory.BAD_REQUEST,
        ErrorCategory.ACCESS_DENIED,
        ErrorCategory.NOT_FOUND,
        ErrorCategory.POISON,
    }
)
"""Categories in which the same request cannot succeed after any wait."""


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """Attempts and delays. ``max_attempts`` includes the first one; delays are in seconds."""

    max_attempts: int = 3
    base_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0

    def __post_init__(self) -> None:
        """Refuse values that never try, wait for ever, or shrink the delay."""
        if not 1 <= self.max_attempts <= 100:
            raise UserError(f"max_attempts={self.max_attempts}: must be 1 to 100")
        if not 0 <= self.base_delay <= 86_400:
            raise UserError(f"base_delay={self.base_delay}: must be 0 to 86400 seconds")
        if not self.base_delay <= self.max_delay <= 86_400:
            raise UserError(f"max_delay={self.max_delay}: must be base_delay to 86400 seconds")
        if not 1 <= self.exponential_base <= 100:
            raise UserError(f"exponential_base={self.exponential_base}: must be 1 to 100")

    def ceiling_seconds(self, attempts: int) -> float:
        """The longest delay after ``attempts`` attempts (at least 1) have failed."""
        if self.base_delay == 0:
            return 0.0
        # In logarithms, because the power and the quotient may overflow a float.
        power = (max(attempts, 1) - 1) * math.log(self.exponential_base)
        ceiling = math.log(self.base_delay) + power
        if ceiling >= math.log(self.max_delay):
            return self.max_delay
        return math.exp(ceiling)

    def delay_seconds(
        self, attempts: int, chance: Callable[[], float], retry_after_seconds: float | None = None
    ) -> float:
        """The wait after ``attempts`` failed attempts. ``chance`` draws evenly from [0, 1).

        The jitter is added to the (capped) ``retry_after_seconds``.
        """
        jitter = self.ceiling_seconds(attempts) * chance()
        return cap_retry_after(retry_after_seconds) + jitter


def cap_retry_after(seconds: float | None) -> float:
    """Cap a provider's requested wait. Missing, negative and NaN values are 0."""
    if seconds is None or math.isnan(seconds) or seconds <= 0:
        return 0.0
    return min(seconds, RETRY_AFTER_SECONDS_MAX)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a ``Retry-After`` value: a number, or an HTTP date minus ``now``.

    None for a missing or unreadable value, 0 for a past date, at most ``RETRY_AFTER_SECONDS_MAX``.
    """
    seconds = retry_after_seconds({"retry-after": value or ""}, now)
    return None if seconds is None else cap_retry_after(seconds)
