"""Delays between attempts."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.domain.errors import UserError
from serpline.domain.retry import RETRY_AFTER_SECONDS_MAX, RetryStrategy, parse_retry_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_ceiling_grows_exponentially_to_its_maximum() -> None:
    """It is 1, 2, 4, 8 seconds, and never above ``max_delay``."""
    strategy = RetryStrategy(max_attempts=9, base_delay=1, max_delay=10, exponential_base=2)
    ceilings = [strategy.ceiling_seconds(attempts) for attempts in range(1, 7)]
    assert ceilings == pytest.approx([1, 2, 4, 8, 10, 10])


@given(
    attempts=st.integers(0, 10**9),
    chance=st.floats(0, 1, exclude_max=True),
    base=st.floats(0, 100),
    exponential=st.floats(1, 100),
    asked=st.none() | st.floats(),
)
def test_every_delay_is_bounded(
    attempts: int, chance: float, base: float, exponential: float, asked: float | None
) -> None:
    """For any attempt and reply, the wait lies within the caps."""
    strategy = RetryStrategy(3, base, 100, exponential)
    delay = strategy.delay_seconds(attempts, lambda: chance, asked)
    assert 0 <= delay <= 100.001 + RETRY_AFTER_SECONDS_MAX
    if asked is not None and 0 < asked <= RETRY_AFTER_SECONDS_MAX:
        assert delay >= asked


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 1.5 ", 1.5),
        ("99999999999999", RETRY_AFTER_SECONDS_MAX),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:59:00 GMT", 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", RETRY_AFTER_SECONDS_MAX),
        (None, None),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("１２０", None),
        ("Sun, 99 Mar 2026 99:00:30 GMT", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after_in_every_form(value: str | None, seconds: float | None) -> None:
    """Seconds and dates are read, garbage is None, and the year 2100 is capped."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_raises(value: str) -> None:
    """Any text is either read within the cap or ignored."""
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_SECONDS_MAX


def test_an_ordinary_strategy_waits_up_to_a_minute() -> None:
    """One second, doubled after each of three attempts."""
    strategy = RetryStrategy()
    ceilings = [strategy.ceiling_seconds(attempts) for attempts in (1, 2, 6, 7, 20)]
    assert ceilings == pytest.approx([1, 2, 32, 60, 60])
    assert strategy.max_attempts == 3


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("max_attempts", 100),
        ("base_delay", 86_400),
        ("max_delay", 86_400),
        ("exponential_base", 100),
    ],
)
def test_a_strategy_has_a_maximum(name: str, most: int) -> None:
    """At most a hundred attempts, and a day between them."""
    usual = {"max_delay": 86_400}
    assert getattr(RetryStrategy(**usual | {name: most}), name) == most  # type: ignore[arg-type]  # by name
    with pytest.raises(UserError, match=f"^{name}={most + 1}: must be"):
        RetryStrategy(**usual | {name: most + 1})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 0}, {"base_delay": -1}, {"max_delay": 0.5}, {"exponential_base": 0.5}],
)
def test_impossible_strategies_are_named(wrong: dict[str, float]) -> None:
    """A strategy that never tries, or shrinks, is refused by key and value."""
    (name,) = wrong
    with pytest.raises(UserError, match=f"^{name}="):
        RetryStrategy(**wrong)  # type: ignore[arg-type]  # wrong on purpose
