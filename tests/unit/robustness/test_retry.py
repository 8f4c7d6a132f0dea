"""From exceptions to outcomes."""

from datetime import UTC, datetime, timedelta

import pytest

from serpline.domain.errors import CallRefused, ErrorCategory, LeaseLost, ProviderError
from serpline.domain.outcomes import Reject, Retry, Snooze
from serpline.domain.retry import NEVER_RETRIED, RetryStrategy
from serpline.net.errors import NetError
from serpline.robustness.retry import RetryManager

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("retries are durable: nobody sleeps here")


def manager(chance: float = 0.5, **strategy: float) -> RetryManager:
    chosen = RetryStrategy(**strategy)  # type: ignore[arg-type]  # int or float by name
    return RetryManager(chosen, chance=lambda: chance, clock=FixedClock())


def failure(
    category: ErrorCategory, *, permanent: bool = False, after: float | None = None
) -> ProviderError:
    return ProviderError(
        "it failed",
        provider="example",
        category=category,
        permanent=permanent,
        retry_after_seconds=after,
    )


def test_a_failure_is_retried_until_the_last_attempt() -> None:
    """Attempts 1 and 2 of 3 are retried; the third failure rejects the item and says so."""
    retries = manager(max_attempts=3)
    error = failure(ErrorCategory.SERVER, after=7)
    assert retries.outcome_for("a", error, 1) == Retry("a", ErrorCategory.SERVER, "it failed", 7)
    assert isinstance(retries.outcome_for("a", error, 2), Retry)
    last = retries.outcome_for("a", error, 3)
    assert last == Reject("a", ErrorCategory.SERVER, "it failed (attempt 3, the last)")


@pytest.mark.parametrize("category", sorted(NEVER_RETRIED - {ErrorCategory.QUOTA}))
def test_hopeless_categories_are_rejected_at_once(category: ErrorCategory) -> None:
    """A wrong key or a bad request is not asked twice."""
    assert isinstance(manager().outcome_for("a", failure(category), 1), Reject)
    with pytest.raises(ValueError, match="never retried"):
        manager().next_delay_seconds(category, 1)


@pytest.mark.parametrize("category", sorted(ErrorCategory))
def test_a_permanent_error_is_rejected_whatever_its_category(category: ErrorCategory) -> None:
    """The provider's own word that repeating cannot help is final."""
    assert isinstance(manager().outcome_for("a", failure(category, permanent=True), 1), Reject)


def test_a_quota_that_is_renewed_is_waited_for() -> None:
    """A day's quota burns no attempt: the item waits as long as the provider says."""
    outcome = manager().outcome_for("a", failure(ErrorCategory.QUOTA, after=3600), 1)
    assert outcome == Snooze("a", "it failed", NOW + timedelta(hours=1))


def test_a_refused_call_burns_no_attempt() -> None:
    """However many attempts were made, a refusal is a wait until the guard's time."""
    outcome = manager(max_attempts=1).outcome_for("a", CallRefused("breaker", until=NOW), 9)
    assert outcome == Snooze("a", "breaker", NOW)


def test_a_network_error_is_a_failure_like_others() -> None:
    """What the net room raises is judged by the same two properties."""
    broken = NetError(ErrorCategory.NETWORK, "cut")
    refused = NetError(ErrorCategory.BAD_REQUEST, "private address", permanent=True)
    assert isinstance(manager().outcome_for("a", broken, 1), Retry)
    assert isinstance(manager().outcome_for("a", refused, 1), Reject)


@pytest.mark.parametrize("error", [LeaseLost("gone"), KeyError("bug"), OSError("disk")])
def test_what_says_nothing_about_the_item_is_raised_again(error: Exception) -> None:
    """A lost lease or a bug never becomes an item's failed attempt."""
    with pytest.raises(type(error)):
        manager().outcome_for("a", error, 1)


def test_the_delay_is_jitter_on_top_of_what_the_provider_asks() -> None:
    """Half of the ceiling at chance 0.5, plus the Retry-After, which is capped at an hour."""
    retries = manager(base_delay=2, max_delay=100, exponential_base=3)
    assert retries.next_delay_seconds(ErrorCategory.SERVER, 1) == pytest.approx(1)
    assert retries.next_delay_seconds(ErrorCategory.SERVER, 3) == pytest.approx(9)
    assert retries.next_delay_seconds(ErrorCategory.RATE_LIMIT, 1, 30) == pytest.approx(31)
    assert retries.next_delay_seconds(ErrorCategory.SERVER, 1, 1e12) == pytest.approx(3601)


def test_a_schedules_attempts_replace_only_the_attempts() -> None:
    """``retry_attempts`` of a schedule keeps the delays of the provider's strategy."""
    retries = manager(base_delay=2).with_attempts(5)
    assert (retries.strategy.max_attempts, retries.strategy.base_delay) == (5, 2)
