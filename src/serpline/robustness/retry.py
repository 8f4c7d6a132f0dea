"""What becomes of an item after a failed call: retry later, wait, or give up. Durable, never here.

Promise: this is the only way from a failed call to an outcome. A permanent error, or a category
for which repeating cannot help, rejects the item at once, and so does a refusal that no waiting
ends (the run's own budget is spent); any other failure is retried until ``max_attempts`` attempts
were made; a refused call is a wait and burns no attempt. Delays are full-jitter exponential, never
shorter than the provider's (capped) ``Retry-After``.
"""

import random
from collections.abc import Callable
from datetime import timedelta

from serpline.core.clock import Clock, SystemClock
from serpline.domain.errors import ERROR_CHARS_MAX, CallRefused, ErrorCategory, ProviderError
from serpline.domain.names import PipelineMode
from serpline.domain.outcomes import Outcome, Reject, Retry, Snooze
from serpline.domain.retry import NEVER_RETRIED, RetryStrategy

REFUSED_SECONDS = 5.0
# What waits on a breaker is woken by its closing, what waits on a budget by its rise; this is for
# such an event that came before the wait was written.
WOKEN_SECONDS = 900.0
QUOTA_SECONDS = 300.0


def strategy_for(mode: PipelineMode, attempts: int) -> RetryStrategy:
    """How items of a run are retried; a TESTING run does not make people wait."""
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
        """The same with the strategy of a run of ``mode`` with ``attempts`` per item."""
        return RetryManager(strategy_for(mode, attempts), chance=self._chance, clock=self._clock)

    def outcome_for(self, item: str, error: ProviderError | CallRefused) -> Outcome:
        """``Retry``, ``Reject`` or ``Snooze``. Whether a retry was the last is decided later."""
        message = str(error)[:ERROR_CHARS_MAX]
        if isinstance(error, CallRefused):
            if error.permanent:
                return Reject(item, ErrorCategory.QUOTA, message)
            return self.wait(item, error)
        if error.permanent:
            return Reject(item, error.category, message)
        asked = error.retry_after_seconds
        if error.category is ErrorCategory.QUOTA:
            # The guard has paused the provider by now, and says until when at the next look.
            until = self._clock.now() + timedelta(seconds=asked or QUOTA_SECONDS)
            return Snooze(item, message, until)
        if error.category in NEVER_RETRIED:
            return Reject(item, error.category, message)
        return Retry(item, error.category, message, asked)

    def wait(self, item: str, refused: CallRefused) -> Snooze:
        """When to look again after a refusal, and which breaker's closing is a reason to."""
        seconds = REFUSED_SECONDS if refused.waits_on is None else WOKEN_SECONDS
        latest = self._clock.now() + timedelta(seconds=seconds)
        until = refused.until or latest
        if refused.waits_on is not None:
            until = min(until, latest)
        return Snooze(item, refused.reason[:ERROR_CHARS_MAX], until, refused.waits_on)

    def delay_seconds(self, failed: Retry, attempts: int) -> float | None:
        """The wait before the next attempt, ``attempts`` having failed; None: that was the last."""
        if attempts >= self.strategy.max_attempts:
            return None
        return self.strategy.delay_seconds(attempts, self._chance, failed.retry_after_seconds)
