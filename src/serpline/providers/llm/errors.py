"""What a model server's replies mean when they are no answer.

429 has two meanings, told apart by the error's ``code`` or ``type``: ``insufficient_quota`` is
money and never passes by waiting; everything else is a rate. How long to wait stands in
``retry-after-ms``, ``retry-after``, or in the ``x-ratelimit-reset-*`` durations (``6m0s``).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import (
    as_count,
    as_object,
    as_text,
    json_object,
    redacted,
    retry_after_seconds,
)

PROVIDER = "llm"

# category, and whether repeating the same request is pointless
_BY_STATUS: Mapping[int, tuple[ErrorCategory, bool]] = MappingProxyType(
    {
        401: (ErrorCategory.AUTH, True),
        402: (ErrorCategory.QUOTA, True),
        403: (ErrorCategory.AUTH, True),
        408: (ErrorCategory.TIMEOUT, False),
        409: (ErrorCategory.SERVER, False),
        429: (ErrorCategory.RATE_LIMIT, False),
        504: (ErrorCategory.TIMEOUT, False),
    }
)
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|us|µs|ns|d|h|m|s))+")
_DURATION_PART = re.compile(r"([0-9.]+)(ms|us|µs|ns|d|h|m|s)")
_UNIT_SECONDS: Mapping[str, float] = MappingProxyType(
    {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
)


def answer(reply: HttpReply, now: datetime, secrets: Sequence[str]) -> dict[str, Any]:
    """The JSON object of a successful reply. Raises ``ProviderError`` for every other reply.

    Some servers put an ``error`` into a reply with status 200; that is a failure too.
    """
    if not 200 <= reply.status < 300:
        raise from_reply(reply, now, secrets)
    body = json_object(reply, PROVIDER)
    if body.get("error") and not body.get("choices"):
        raise from_reply(reply, now, secrets)
    return body


def from_reply(reply: HttpReply, now: datetime, secrets: Sequence[str] = ()) -> ProviderError:
    """The error that a reply stands for; its message quotes the server's, without the key."""
    error = _error(reply)
    kinds = {as_text(error.get("code")), as_text(error.get("type"))}
    category, permanent = _meaning(reply.status)
    if kinds & _NO_MONEY:
        category, permanent = ErrorCategory.QUOTA, True
    said = redacted(error.get("message"), secrets)
    return ProviderError(
        f"llm HTTP {reply.status}" + (f": {said}" if said else ""),
        provider=PROVIDER,
        category=category,
        permanent=permanent,
        retry_after_seconds=None if permanent else wait_seconds(reply.headers, now),
        http_status=reply.status,
    )


def wait_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the server wants to hear of us again; None if it does not say.

    Of the two rates (requests, tokens) only a used-up one is waited for; if the headers do not
    say which one is, the longer.
    """
    milliseconds = as_count(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1_000
    asked = retry_after_seconds(headers, now)
    if asked is not None:
        return asked
    resets: dict[str, float] = {}
    for rate in ("requests", "tokens"):
        seconds = duration_seconds(headers.get(f"x-ratelimit-reset-{rate}", ""))
        if seconds is not None:
            resets[rate] = seconds
    used_up = [
        seconds
        for rate, seconds in resets.items()
        if as_count(headers.get(f"x-ratelimit-remaining-{rate}")) == 0
    ]
    return max(used_up or resets.values(), default=None)


def duration_seconds(text: str) -> float | None:
    """Seconds of a duration such as ``6m0s``, ``1.5s``, ``120ms`` or ``1d2h``; else None."""
    text = text.strip()
    if not _DURATION.fullmatch(text):
        return None
    parts = _DURATION_PART.findall(text)
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def _meaning(status: int) -> tuple[ErrorCategory, bool]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500 or 200 <= status < 300:
        return ErrorCategory.SERVER, False
    return ErrorCategory.BAD_REQUEST, True


def _error(reply: HttpReply) -> dict[str, Any]:
    try:
        error = json_object(reply, PROVIDER).get("error")
    except ProviderError:
        return {}
    return {"message": error} if isinstance(error, str) else as_object(error)
