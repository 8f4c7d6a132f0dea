"""How long a destination rests after a message, and when a failed message is tried again."""

from typing import Final

REST_SECONDS_MIN: Final = 5.0
REST_SECONDS_MAX: Final = 600.0
# After this time without a message the next rest is half as long.
HALVING_SECONDS: Final = 60.0

RETRY_SECONDS: Final = 30.0
RETRY_SECONDS_MAX: Final = 1800.0
# About a day of attempts.
MESSAGE_ATTEMPTS_MAX: Final = 50
_DOUBLINGS_MAX: Final = 20


def rest_seconds(last_seconds: float, quiet_seconds: float) -> float:
    """The rest after a message. ``quiet_seconds``: from the end of the last rest until it.

    Each message doubles the rest; each quiet minute halves it. So one incident is told at once, and
    a storm in ever fewer digests.
    """
    halvings = max(0.0, quiet_seconds) / HALVING_SECONDS
    longer = 2 * last_seconds / 2 ** min(halvings, _DOUBLINGS_MAX)
    return min(max(longer, REST_SECONDS_MIN), REST_SECONDS_MAX)


def retry_seconds(attempts: int) -> float:
    """The wait after ``attempts`` failed attempts in a row."""
    return min(RETRY_SECONDS * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX), RETRY_SECONDS_MAX)
