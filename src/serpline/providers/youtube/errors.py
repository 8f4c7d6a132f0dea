"""YouTube's errors: the reason decides, then the status.

A used-up quota resets at midnight in Los Angeles, summer and winter. Until then every call would be
refused and still cost a unit. It has two forms: 403 ``quotaExceeded`` and, since July 2026, 429
with the reason of a rate limit. The second shows its period only in ``quota_unit``
(``1/d/{project}``), ``quota_limit`` and the message.
"""

import re
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import (
    Meaning,
    as_list,
    as_object,
    as_text,
    failure_of,
    json_object,
    meaning_of_status,
    retry_after_seconds,
)

_QUOTA_ZONE = ZoneInfo("America/Los_Angeles")

_QUOTA = frozenset({"quotaExceeded", "dailyLimitExceeded", "dailyLimitExceededUnreg"})
_RATE = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
# Our own reason for a daily limit.
_DAILY = "per day"
_DAY_WORDS = re.compile(r"per[ _-]?day|\b1/d/", re.IGNORECASE)
_BY_STATUS = {
    403: (ErrorCategory.ACCESS_DENIED, True, "youtube does not show this"),
    404: (ErrorCategory.NOT_FOUND, True, "youtube does not have this"),
    408: (ErrorCategory.TIMEOUT, False, "youtube took too long"),
}
_AUTH = frozenset(
    {
        "API_KEY_INVALID",
        "API_KEY_SERVICE_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "SERVICE_DISABLED",
        "accessNotConfigured",
        "ipRefererBlocked",
        "keyExpired",
        "keyInvalid",
    }
)


def failure(reply: HttpReply, now: datetime) -> ProviderError:
    """The error of ``reply`` (status not 200)."""
    meaning = _meaning(reply.status, _reasons(reply))
    if meaning[0] is ErrorCategory.QUOTA:
        wait_seconds: float | None = seconds_until_quota_resets(now)
    else:
        wait_seconds = retry_after_seconds(reply.headers, now)
    return failure_of(reply, "youtube", meaning, wait_seconds)


def seconds_until_quota_resets(now: datetime) -> float:
    """Seconds from ``now`` (aware) to the next midnight in Los Angeles; 23 to 25 hours at most."""
    tomorrow = now.astimezone(_QUOTA_ZONE).date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, time(), _QUOTA_ZONE)
    # Subtract timestamps: wall-clock times would ignore a change to or from summer time.
    return midnight.timestamp() - now.timestamp()


def _meaning(status: int, reasons: frozenset[str]) -> Meaning:
    is_limit = bool(reasons & _RATE) or status == 429
    if reasons & _QUOTA or (is_limit and _DAILY in reasons):
        return ErrorCategory.QUOTA, False, "youtube: the day's quota is used up"
    if is_limit:
        return ErrorCategory.RATE_LIMIT, False, "youtube: too many requests"
    if reasons & _AUTH or status == 401:
        return ErrorCategory.AUTH, True, "youtube does not accept the API key"
    return meaning_of_status(status, _BY_STATUS, "youtube")


def _reasons(reply: HttpReply) -> frozenset[str]:
    """Every ``reason`` of the error document, with ``_DAILY`` for a daily limit."""
    try:
        error = as_object(json_object(reply, "youtube").get("error"))
    except ProviderError:
        return frozenset()
    entries = [
        as_object(e) for e in (*as_list(error.get("errors")), *as_list(error.get("details")))
    ]
    reasons = {reason for entry in entries if (reason := as_text(entry.get("reason")))}
    return frozenset(reasons | ({_DAILY} if _is_daily(error, entries) else set()))


def _is_daily(error: dict[str, Any], entries: list[dict[str, Any]]) -> bool:
    """Whether the limit is daily, by its name and unit, else by the message."""
    limits = [as_object(entry.get("metadata")) for entry in entries]
    named = [as_text(each.get(k)) for each in limits for k in ("quota_limit", "quota_unit")]
    limit_texts = list(filter(None, named)) or [as_text(error.get("message")) or ""]
    return any(_DAY_WORDS.search(text) for text in limit_texts)
