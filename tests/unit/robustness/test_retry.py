"""From errors to outcomes."""

from datetime import UTC, datetime, timedelta

import pytest

from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.names import PipelineMode
from serpline.domain.outcomes import Reject, Retry, Snooze
from serpline.domain.retry import NEVER_RETRIED, RetryStrategy
from serpline.domain.waits import WaitCause, WaitReason
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
    """A wait follows attempts 1 and 2 of 3. The third is the last."""
    retries = manager(max_attempts=3)
    outcome = retries.outcome_for("a", failure(ErrorCategory.SERVER, after=7))
    assert outcome == Retry("a", ErrorCategory.SERVER, "it failed", 7)
    waits = [retries.delay_seconds(outcome, attempts) for attempts in (1, 2, 3)]
    assert [wait is None for wait in waits] == [False, False, True]


@pytest.mark.parametrize("category", sorted(NEVER_RETRIED - {ErrorCategory.QUOTA}))
def test_hopeless_categories_are_rejected_at_once(category: ErrorCategory) -> None:
    """A wrong key or a bad request is not repeated."""
    assert isinstance(manager().outcome_for("a", failure(category)), Reject)


@pytest.mark.parametrize("category", sorted(ErrorCategory))
def test_a_permanent_error_is_rejected_whatever_its_category(category: ErrorCategory) -> None:
    """If the provider says that repeating cannot help, the item is rejected."""
    assert isinstance(manager().outcome_for("a", failure(category, permanent=True)), Reject)


@pytest.mark.parametrize(("asked", "waited"), [(80_000, 80_000), (None, 300)])
def test_a_quota_that_renews_is_waited_for(asked: float | None, waited: float) -> None:
    """A day's quota uses no attempt: the item waits as long as the provider says."""
    outcome = manager().outcome_for("a", failure(ErrorCategory.QUOTA, after=asked))
    until = NOW + timedelta(seconds=waited)
    assert outcome == Snooze("a", "it failed", until, wait=WaitReason(WaitCause.QUOTA, "example"))


def test_a_refused_call_burns_no_attempt() -> None:
    """A refusal is a wait until the guard's time, or for the breaker that refused."""
    refused = CallRefused("open", until=NOW, waits_on="pdl_api")
    assert manager().outcome_for("a", refused) == Snooze("a", "open", NOW, "pdl_api")
    blind = manager().outcome_for("a", CallRefused("isolated"))
    assert blind == Snooze("a", "isolated", NOW + timedelta(seconds=5))


def test_a_permanent_refusal_is_rejected() -> None:
    """A run whose own budget is spent ends with a reason and does not wait for ever."""
    refused = CallRefused("the run's credit limit for pdl is spent", permanent=True)
    outcome = manager().outcome_for("a", refused)
    assert outcome == Reject("a", ErrorCategory.QUOTA, "the run's credit limit for pdl is spent")


def test_the_delay_is_retry_after_plus_jitter() -> None:
    """Half of the ceiling at chance 0.5, plus the Retry-After, which is capped at an hour."""
    retries = manager(base_delay=2, max_delay=100, exponential_base=3, max_attempts=9)

    def delay(attempts: int, asked: float | None = None) -> float | None:
        return retries.delay_seconds(Retry("a", ErrorCategory.SERVER, "-", asked), attempts)

    assert delay(1) == pytest.approx(1)
    assert delay(3) == pytest.approx(9)
    assert delay(1, 30) == pytest.approx(31)
    assert delay(1, 1e12) == pytest.approx(3601)


def test_a_runs_mode_and_attempts_make_its_strategy() -> None:
    """A TESTING run uses short delays, because people wait. The attempts are the run's own."""
    failed = Retry("a", ErrorCategory.SERVER, "-")

    def longest(mode: PipelineMode, attempts: int) -> float | None:
        return manager(chance=1.0).for_run(mode, 50).delay_seconds(failed, attempts)

    for mode in (PipelineMode.SCHEDULED, PipelineMode.MANUAL):
        assert [longest(mode, n) for n in (1, 2, 49, 50)] == [2, 4, 300, None]
    assert [longest(PipelineMode.TESTING, n) for n in (1, 2, 49, 50)] == [0.2, 0.4, 2, None]
    assert manager().for_run(PipelineMode.TESTING, 1).delay_seconds(failed, 1) is None


def test_a_wait_for_an_event_ends_after_a_quarter_of_an_hour() -> None:
    """A breaker that closed before the wait was stored wakes no chunk."""
    tomorrow = NOW + timedelta(days=1)
    refused = CallRefused("spent", until=tomorrow, waits_on="budget:pdl")
    snooze = manager().outcome_for("a", refused)
    assert snooze == Snooze("a", "spent", NOW + timedelta(minutes=15), "budget:pdl")
    until_then = manager().outcome_for("a", CallRefused("paused", until=tomorrow))
    assert until_then == Snooze("a", "paused", tomorrow)


def test_of_an_error_five_hundred_characters_are_kept() -> None:
    """Every outcome keeps the first 500 characters of its error."""
    for error in (
        ProviderError("x" * 900, provider="e", category=ErrorCategory.SERVER),
        ProviderError("x" * 900, provider="e", category=ErrorCategory.AUTH),
    ):
        outcome = manager().outcome_for("a", error)
        assert isinstance(outcome, Retry | Reject)
        assert outcome.error == "x" * 500
    snooze = manager().outcome_for("a", CallRefused("x" * 900))
    assert isinstance(snooze, Snooze)
    assert snooze.reason == "x" * 500
