"""Maps a failed call to the item's outcome: retry, snooze or reject. Retries are durable.

Promise: this is the only way from a failed call to an outcome. A permanent error, or a category
for which repeating cannot help, rejects the item at once. So does a permanent refusal (the run's
own budget is spent). A call that only a stored reply may answer skips the item if there is none.
Any other refusal, and a quota that renews, snoozes the item and uses no attempt. Any other failure
is retried until ``max_attempts`` attempts were made. Delays are full-jitter exponential, never
shorter than the provider's (capped) ``Retry-After``.
"""

import random
from collections.abc import Callable
from datetime import timedelta

from serpline.core.clock import Clock, SystemClock
from serpline.domain.errors import (
    ERROR_CHARS_MAX,
    CallRefused,
    ErrorCategory,
    ProviderError,
    ReplyNotStored,
)
from serpline.domain.names import PipelineMode
from serpline.domain.outcomes import NotStored, Outcome, Reject, Retry, Snooze
from serpline.domain.retry import NEVER_RETRIED, RetryStrategy
from serpline.domain.waits import WaitCause, WaitReason

REFUSED_SECONDS = 5.0
# A closing breaker or a raised budget wakes what waits on it. This bounds the wait if that event
# came before the wait was stored.
WOKEN_SECONDS = 900.0
QUOTA_SECONDS = 300.0


def strategy_for(mode: PipelineMode, attempts: int) -> RetryStrategy:
    """How items of a run are retried. TESTING runs use short delays, because people wait."""
    if mode is PipelineMode.TESTING:
        return RetryStrategy(max_attempts=attempts, base_delay=0.2, max_delay=2.0)
    return RetryStrategy(max_attempts=attempts, base_delay=2.0, max_delay=300.0)


class RetryManager:
    """Maps errors to outcomes, and attempts to delays, by one strategy."""

    def __init__(
        self,
        strategy: RetryStrategy | None = None,
        *,
        chance: Callable[[], float] = random.random,
        clock: Clock | None = None,
    ) -> None:
        """``chance`` draws evenly from [0, 1)."""
        self.strategy = strategy or RetryStrategy()
        self._chance = chance
        self._clock = clock or SystemClock()

    def for_run(self, mode: PipelineMode, attempts: int) -> "RetryManager":
        """A copy with the strategy of a run of ``mode`` with ``attempts`` per item."""
        return RetryManager(strategy_for(mode, attempts), chance=self._chance, clock=self._clock)

    def outcome_for(self, item: str, error: ProviderError | CallRefused) -> Outcome:
        """``Retry``, ``Reject``, ``Snooze`` or, for a missing stored reply, ``NotStored``.

        ``delay_seconds`` decides if a retry is the last.
        """
        message = str(error)[:ERROR_CHARS_MAX]
        if isinstance(error, ReplyNotStored):
            return NotStored(item, message)
        if isinstance(error, CallRefused):
            if error.permanent:
                return Reject(item, ErrorCategory.QUOTA, message)
            return self.wait(item, error)
        if error.permanent:
            return Reject(item, error.category, message)
        retry_after = error.retry_after_seconds
        if error.category is ErrorCategory.QUOTA:
            # The guard has paused the provider and will state the end in its next refusal.
            until = self._clock.now() + timedelta(seconds=retry_after or QUOTA_SECONDS)
            return Snooze(item, message, until, wait=WaitReason(WaitCause.QUOTA, error.provider))
        if error.category in NEVER_RETRIED:
            return Reject(item, error.category, message)
        return Retry(item, error.category, message, retry_after)

    def wait(self, item: str, refused: CallRefused) -> Snooze:
        """The snooze after a refusal: when to try again, and which breaker may wake it earlier."""
        seconds = REFUSED_SECONDS if refused.waits_on is None else WOKEN_SECONDS
        latest = self._clock.now() + timedelta(seconds=seconds)
        until = refused.until or latest
        if refused.waits_on is not None:
            until = min(until, latest)
        reason = refused.reason[:ERROR_CHARS_MAX]
        return Snooze(item, reason, until, refused.waits_on, refused.wait)

    def delay_seconds(self, failed: Retry, attempts: int) -> float | None:
        """The wait after ``attempts`` failed attempts, or None if no attempt is left."""
        if attempts >= self.strategy.max_attempts:
            return None
        return self.strategy.delay_seconds(attempts, self._chance, failed.retry_after_seconds)
