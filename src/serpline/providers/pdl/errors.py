"""PDL's errors."""

from datetime import UTC, datetime

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import (
    as_number,
    failure_of,
    meaning_of_status,
    retry_after_seconds,
)

# A number in ``x-ratelimit-reset`` from here on is an epoch time, below it a number of seconds.
_EPOCH_SECONDS_MIN = 1_000_000_000

_MEANINGS = {
    400: (ErrorCategory.BAD_REQUEST, True, "pdl refused the request as invalid"),
    401: (ErrorCategory.AUTH, True, "pdl does not accept the API key"),
    402: (ErrorCategory.QUOTA, True, "pdl: the account has no credits left"),
    403: (ErrorCategory.AUTH, True, "pdl: the API key may not use company enrichment"),
    405: (ErrorCategory.BAD_REQUEST, True, "pdl refused the request's method"),
    408: (ErrorCategory.TIMEOUT, False, "pdl took too long"),
    429: (ErrorCategory.RATE_LIMIT, False, "pdl: too many requests"),
}


def failure(reply: HttpReply, now: datetime) -> ProviderError:
    """The error of ``reply`` (status neither 200 nor 404)."""
    meaning = meaning_of_status(reply.status, _MEANINGS, "pdl")
    return failure_of(reply, "pdl", meaning, _wait_seconds(reply, now))


def _wait_seconds(reply: HttpReply, now: datetime) -> float | None:
    """``Retry-After``, or for a 429 the time until the rate window's reset.

    PDL has sent the reset as an ISO time and as epoch seconds; a small number means seconds from
    now.
    """
    wait_seconds = retry_after_seconds(reply.headers, now)
    if wait_seconds is not None or reply.status != 429:
        return wait_seconds
    reset = reply.headers.get("x-ratelimit-reset", "").strip().strip('"')
    number = as_number(reset)
    if number is not None:
        wait = number - now.timestamp() if number >= _EPOCH_SECONDS_MIN else number
        return max(0.0, wait)
    try:
        at = datetime.fromisoformat(reset)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
