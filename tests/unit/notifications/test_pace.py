"""A destination rests longer the more it is told, and a failed message waits longer each time."""

import pytest

from serpline.notifications.pace import (
    HALVING_SECONDS,
    MESSAGE_ATTEMPTS_MAX,
    REST_SECONDS_MAX,
    REST_SECONDS_MIN,
    RETRY_SECONDS,
    RETRY_SECONDS_MAX,
    rest_seconds,
    retry_seconds,
)

HOUR = 3600.0


def test_rests_double_up_to_a_maximum() -> None:
    """In a storm each rest is twice as long as the last one, up to ten minutes."""
    rests, rest = [], 0.0
    for _ in range(10):
        rest = rest_seconds(rest, 0.0)
        rests.append(rest)
    assert rests == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_a_quiet_minute_halves_the_rest() -> None:
    """After some quiet minutes the rest is short again."""
    assert rest_seconds(160.0, HALVING_SECONDS) == 160.0
    assert rest_seconds(160.0, 3 * HALVING_SECONDS) == 40.0
    assert rest_seconds(REST_SECONDS_MAX, HOUR) == REST_SECONDS_MIN


@pytest.mark.parametrize("quiet", [-HOUR, 1e9])
def test_any_quiet_time(quiet: float) -> None:
    """A clock that was set leaves the rest within its bounds."""
    assert REST_SECONDS_MIN <= rest_seconds(40.0, quiet) <= REST_SECONDS_MAX


def test_attempts_last_about_a_day() -> None:
    """The first attempts are soon repeated; a message is given up after about a day."""
    waits = [retry_seconds(n) for n in range(1, MESSAGE_ATTEMPTS_MAX)]
    assert waits[:3] == [RETRY_SECONDS, 2 * RETRY_SECONDS, 4 * RETRY_SECONDS]
    assert max(waits) == RETRY_SECONDS_MAX
    assert 18 * HOUR < sum(waits) < 30 * HOUR
    assert retry_seconds(10**6) == RETRY_SECONDS_MAX
