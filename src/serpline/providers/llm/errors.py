"""What a model server's replies mean when they are no answer.

A rate and an empty account are both 429, told apart by the error's ``code`` or ``type``:
``insufficient_quota`` is money and never passes by waiting. A limit of the day comes as 429 too and
is a quota. A content filter may refuse with any 4xx (Azure 400 ``content_filter``, OpenRouter 403
with ``metadata.reasons``, DashScope ``data_inspection_failed``, DeepSeek "Content Exists Risk"):
that is the model's word about one text, final, and no sign of ill health. How long to wait stands
in ``retry-after-ms``, ``retry-after``, in the ``x-ratelimit-reset-*`` durations (``6m0s``), or in
Gemini's ``retryDelay``.
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
from serpline.providers.llm.complaint import Complaint, complaint

PROVIDER = "llm"

# category, and whether repeating the same request is pointless
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
_A_DAY = re.compile(r"per[ _-]?day|\bRPD\b|\bTPD\b|daily (?:limit|quota)", re.IGNORECASE)
# A day's limit rarely says when its day ends; the provider is asked again after this long.
DAY_LIMIT_SECONDS = 3_600.0
# A model of a free form of JSON failed to write any: Groq's code.
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
    said = complaint(reply)
    status = reply.status if reply.status >= 300 else said.status or reply.status
    words = redacted(said.words, secrets)
    category, permanent, ours = _meaning(status, said)
    asked = None if permanent else _asked_wait(category, reply, now)
    return ProviderError(
        f"llm HTTP {status}" + "".join(f": {part}" for part in (ours, words) if part),
        provider=PROVIDER,
        category=category,
        permanent=permanent,
        retry_after_seconds=asked,
        http_status=status,
    )


def _asked_wait(category: ErrorCategory, reply: HttpReply, now: datetime) -> float | None:
    """The pause a refusal asks for. Every reply tells the rates' resets; only a 429 means them."""
    if category is ErrorCategory.RATE_LIMIT:
        return wait_seconds(reply, now)
    if category is ErrorCategory.QUOTA:
        return max(wait_seconds(reply, now) or 0.0, DAY_LIMIT_SECONDS)
    return retry_after_seconds(reply.headers, now)


def wait_seconds(reply: HttpReply, now: datetime) -> float | None:
    """Seconds until the server wants to hear of us again; None if it does not say.

    Of the two rates (requests, tokens) only a used-up one is waited for; if the headers do not
    say which one is, the longer.
    """
    asked = retry_after_seconds(reply.headers, now)
    if asked is not None:
        return asked
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
    told = duration_seconds(delay[1].decode()) if delay else None
    return max(used_up or resets.values(), default=told)


def duration_seconds(text: str) -> float | None:
    """Seconds of a duration such as ``6m0s``, ``1.5s``, ``120ms`` or ``1d2h``; else None."""
    text = text.strip()
    if not _DURATION.fullmatch(text):
        return None
    parts = _DURATION_PART.findall(text)
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def _meaning(status: int, said: Complaint) -> tuple[ErrorCategory, bool, str]:
    """Category, permanence, and what we add to the server's words."""
    refusing = 400 <= status < 500 and status not in (401, 402, 429)
    if refusing and (said.kinds & _FILTERED or _FILTER_WORDS.search(said.words)):
        return ErrorCategory.EMPTY, True, "the content filter refused"
    if _FAILED_FORM in said.kinds:
        return ErrorCategory.UNUSABLE, False, ""
    if said.kinds & _NO_MONEY:
        return ErrorCategory.QUOTA, True, ""
    if said.kinds & _NO_KEY:
        return ErrorCategory.AUTH, True, ""
    if status == 429 and any(_A_DAY.search(words) for words in (said.words, *said.kinds)):
        return ErrorCategory.QUOTA, False, ""
    if status in _BY_STATUS:
        return (*_BY_STATUS[status], "")
    if status >= 500 or 200 <= status < 300:
        return ErrorCategory.SERVER, False, ""
    return ErrorCategory.BAD_REQUEST, True, ""
