"""Errors of model servers.

A rate limit and an empty account both have status 429; the error's ``code`` or ``type`` decides:
``insufficient_quota`` means money, and waiting does not help. A daily limit is 429 too and is a
quota. A content filter may refuse with any 4xx (Azure 400 ``content_filter``, OpenRouter 403 with
``metadata.reasons``, DashScope ``data_inspection_failed``, DeepSeek "Content Exists Risk"): that is
a final answer about one text and does not count against the server's health. The wait is in
``retry-after-ms``, ``retry-after``, the ``x-ratelimit-reset-*`` durations (``6m0s``), or Gemini's
``retryDelay``.
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
    json_object,
    redacted,
    retry_after_seconds,
)
from serpline.providers.llm.error_body import ErrorBody, read_error_body

PROVIDER = "llm"

# The category, and whether the error is permanent.
_BY_STATUS: Mapping[int, tuple[ErrorCategory, bool]] = MappingProxyType(
    {
        401: (ErrorCategory.AUTH, True),
        402: (ErrorCategory.QUOTA, True),
        403: (ErrorCategory.AUTH, True),
        408: (ErrorCategory.TIMEOUT, False),
        409: (ErrorCategory.SERVER, False),
        425: (ErrorCategory.SERVER, False),
        429: (ErrorCategory.RATE_LIMIT, False),
        498: (ErrorCategory.RATE_LIMIT, False),  # Groq: its flexible capacity is used up
        504: (ErrorCategory.TIMEOUT, False),
    }
)
_NO_MONEY = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
    }
)
_NO_KEY = frozenset({"invalid_api_key", "api_key_invalid"})
_FILTERED = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "data_inspection_failed",
        "datainspectionfailed",
        "moderation",
        "moderation_blocked",
    }
)
_FILTER_WORDS = re.compile(
    r"content management policy|content[ _](?:policy|filter)|content exists risk"
    r"|inappropriate content|(?:input|prompt) was (?:flagged|blocked)|requires moderation",
    re.IGNORECASE,
)
_DAILY = re.compile(r"per[ _-]?day|\bRPD\b|\bTPD\b|daily (?:limit|quota)", re.IGNORECASE)
# A daily limit rarely states its end; the next call comes after this long.
DAY_LIMIT_SECONDS = 3_600.0
# Groq's code if the model failed to write JSON.
_FAILED_FORM = "json_validate_failed"
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|us|µs|ns|d|h|m|s))+")
_DURATION_PART = re.compile(r"([0-9.]+)(ms|us|µs|ns|d|h|m|s)")
_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"([0-9.]{1,20}s)"')
_DELAY_BYTES_MAX = 20_000
_UNIT_SECONDS: Mapping[str, float] = MappingProxyType(
    {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
)


def answer(reply: HttpReply, now: datetime, secrets: Sequence[str]) -> dict[str, Any]:
    """The JSON object of a successful reply. Raises ``ProviderError`` for every other reply.

    A reply with status 200 and an ``error`` is a failure too; some servers send it.
    """
    if not 200 <= reply.status < 300:
        raise from_reply(reply, now, secrets)
    body = json_object(reply, PROVIDER)
    if body.get("error") and not body.get("choices"):
        raise from_reply(reply, now, secrets)
    return body


def from_reply(reply: HttpReply, now: datetime, secrets: Sequence[str] = ()) -> ProviderError:
    """The error of a reply; its message quotes the server's, without the key."""
    body = read_error_body(reply)
    status = reply.status if reply.status >= 300 else body.status or reply.status
    words = redacted(body.words, secrets)
    category, permanent, note = _meaning(status, body)
    wait = None if permanent else _asked_wait(category, reply, now)
    return ProviderError(
        f"llm HTTP {status}" + "".join(f": {part}" for part in (note, words) if part),
        provider=PROVIDER,
        category=category,
        permanent=permanent,
        retry_after_seconds=wait,
        http_status=status,
    )


def _asked_wait(category: ErrorCategory, reply: HttpReply, now: datetime) -> float | None:
    """The requested wait. Every reply states the rates' resets; only a 429 means them."""
    if category is ErrorCategory.RATE_LIMIT:
        return wait_seconds(reply, now)
    if category is ErrorCategory.QUOTA:
        return max(wait_seconds(reply, now) or 0.0, DAY_LIMIT_SECONDS)
    return retry_after_seconds(reply.headers, now)


def wait_seconds(reply: HttpReply, now: datetime) -> float | None:
    """Seconds until the server accepts calls again; None if it does not state them.

    Of the two rates (requests, tokens) the used-up one counts; if the headers do not show which,
    the longer wait.
    """
    wait = retry_after_seconds(reply.headers, now)
    if wait is not None:
        return wait
    resets: dict[str, float] = {}
    for rate in ("requests", "tokens"):
        seconds = duration_seconds(reply.headers.get(f"x-ratelimit-reset-{rate}", ""))
        if seconds is not None:
            resets[rate] = seconds
    used_up = [
        seconds
        for rate, seconds in resets.items()
        if as_count(reply.headers.get(f"x-ratelimit-remaining-{rate}")) == 0
    ]
    delay = _RETRY_DELAY.search(reply.body[:_DELAY_BYTES_MAX])
    delay_seconds = duration_seconds(delay[1].decode()) if delay else None
    return max(used_up or resets.values(), default=delay_seconds)


def duration_seconds(text: str) -> float | None:
    """Parse a duration such as ``6m0s``, ``1.5s``, ``120ms`` or ``1d2h`` to seconds, or None."""
    text = text.strip()
    if not _DURATION.fullmatch(text):
        return None
    parts = _DURATION_PART.findall(text)
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def _meaning(status: int, body: ErrorBody) -> tuple[ErrorCategory, bool, str]:
    """The category, whether it is permanent, and our note before the server's message."""
    refusing = 400 <= status < 500 and status not in (401, 402, 429)
    if refusing and (body.kinds & _FILTERED or _FILTER_WORDS.search(body.words)):
        return ErrorCategory.EMPTY, True, "the content filter refused"
    if _FAILED_FORM in body.kinds:
        return ErrorCategory.UNUSABLE, False, ""
    if body.kinds & _NO_MONEY:
        return ErrorCategory.QUOTA, True, ""
    if body.kinds & _NO_KEY:
        return ErrorCategory.AUTH, True, ""
    if status == 429 and any(_DAILY.search(words) for words in (body.words, *body.kinds)):
        return ErrorCategory.QUOTA, False, ""
    if status in _BY_STATUS:
        return (*_BY_STATUS[status], "")
    if status >= 500 or 200 <= status < 300:
        return ErrorCategory.SERVER, False, ""
    return ErrorCategory.BAD_REQUEST, True, ""
