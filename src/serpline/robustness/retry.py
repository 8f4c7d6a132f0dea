"""What becomes of an item after a failed call: retry later, wait, or give up. Durable, never here.

Promise: a permanent error, or a category for which repeating cannot help, rejects the item at
once; any other failure is retried until ``max_attempts`` attempts were made; a refused call is a
wait and burns no attempt. Delays are full-jitter exponential, never shorter than the provider's
(capped) ``Retry-After``.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from serpline.core.clock import Clock, SystemClock
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.outcomes import Outcome, Reject, Retry, Snooze
from serpline.domain.retry import NEVER_RETRIED, RetryStrategy
from serpline.net.errors import NetError

QUOTA_LOOK_SECONDS = 300.0
ERROR_CHARS_MAX = 500


class RetryManager:
    """Maps exceptions to outcomes, and attempts to delays, by one strategy."""

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

    def with_attempts(self, max_attempts: int) -> "RetryManager":
        """The same with another number of attempts (a schedule's ``retry_attempts``)."""
        strategy = replace(self.strategy, max_attempts=max_attempts)
        return RetryManager(strategy, chance=self._chance, clock=self._clock)

    def outcome_for(self, item: str, error: Exception, attempts: int) -> Outcome:
        """``Retry``, ``Reject`` or ``Snooze``; ``attempts`` counts this one too.

        Anything else than ``ProviderError``, ``NetError`` and ``CallRefused`` says nothing about
        the item (a lost lease, a database that is away, a bug): it is raised again.
        """
        if isinstance(error, CallRefused):
            return Snooze(item, error.reason, error.until)
        if not isinstance(error, ProviderError | NetError):
            raise error
        message = str(error)[:ERROR_CHARS_MAX]
        asked = error.retry_after_seconds if isinstance(error, ProviderError) else None
        if error.category is ErrorCategory.QUOTA and not error.permanent:
            # The guard has paused the provider by now, and says until when at the next look.
            until = self._clock.now() + timedelta(seconds=asked or QUOTA_LOOK_SECONDS)
            return Snooze(item, message, until)
        if error.permanent or error.category in NEVER_RETRIED:
            return Reject(item, error.category, message)
        if attempts >= self.strategy.max_attempts:
            return Reject(item, error.category, f"{message} (attempt {attempts}, the last)")
        return Retry(item, error.category, message, asked)

    def next_delay_seconds(
        self, category: ErrorCategory, attempts: int, retry_after_seconds: float | None = None
    ) -> float:
        """How long to wait before the next attempt, after ``attempts`` failed ones.

        Raises ``ValueError`` for a category that is never retried.
        """
        if category in NEVER_RETRIED:
            raise ValueError(f"{category} is never retried")
        return self.strategy.delay_seconds(attempts, self._chance, retry_after_seconds)
