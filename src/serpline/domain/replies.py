"""Functions that read a provider's reply, shared by all providers.

Promise: any bytes give a value or a ``ProviderError`` of category MALFORMED. An error's message
contains no text of the reply, because a reply may echo a key. All strings can be stored: a NUL or
half of a surrogate pair, which JSON can contain and PostgreSQL cannot store, becomes U+FFFD.
Limit: ``net`` bounds the size of a body.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.text import storable

T = TypeVar("T")
# The meaning of a failed reply: category, whether it is permanent, the message for a person.
Meaning = tuple[ErrorCategory, bool, str]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://\S+")
_SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


def json_value(reply: HttpReply, provider: str) -> Any:
    """The JSON value of a reply's body. Raises ``ProviderError`` MALFORMED, which is retryable."""
    try:
        # From bytes, json would accept a raw surrogate half. A strict decoder does not.
        value = json.loads(reply.body.decode("utf-8-sig"), parse_constant=no_constant)
        # Only an escape can contain text that cannot be stored. Most bodies have none.
        return storable(value) if b"\\u" in reply.body else value
    except (ValueError, RecursionError):
        problem = "an empty body" if not reply.body.strip() else "a body that is not JSON"
        raise malformed(reply, provider, problem) from None


def json_object(reply: HttpReply, provider: str) -> dict[str, Any]:
    """The JSON object of a reply's body. Raises ``ProviderError`` MALFORMED if it is not one."""
    value = json_value(reply, provider)
    if not isinstance(value, dict):
        raise malformed(reply, provider, "JSON that is not an object")
    return value


def by_key(
    reply: HttpReply,
    provider: str,
    asked: Iterable[str],
    rows: Sequence[tuple[str | None, T | None]],
) -> dict[str, T | None]:
    """The values of a reply about many keys. None is an unreadable row.

    ``rows``: key and value, each None if unreadable. A key without a row is absent: the provider
    does not know it. A row without a readable key may belong to any key without a row, so each of
    these gets None. Rows of keys that are not in ``asked`` are ignored.
    Raises ``ProviderError`` MALFORMED, which is retryable, if there are rows and none is readable.
    """
    if rows and all(value is None for _, value in rows):
        raise malformed(reply, provider, "no row that can be read")
    keys = list(asked)
    values: dict[str | None, T | None] = {}
    for key, value in rows:
        if values.get(key) is None:
            values[key] = value
    return {key: values.get(key) for key in keys if key in values or None in values}


def unreadable(provider: str, key: str) -> ProviderError:
    """The failure of one key in a reply about many.

    It is permanent: the reply is paid for, and the same request would return the same row.
    """
    return ProviderError(
        f"{provider}: the row of {key[:100]!r} cannot be read",
        provider=provider,
        category=ErrorCategory.MALFORMED,
        permanent=True,
    )


def malformed(reply: HttpReply, provider: str, problem: str) -> ProviderError:
    """The error for an unreadable reply. ``problem`` must not quote the reply."""
    return ProviderError(
        f"{provider} sent {problem} (HTTP {reply.status}, {reply.size_bytes} bytes)",
        provider=provider,
        category=ErrorCategory.MALFORMED,
        http_status=reply.status,
    )


def meaning_of_status(status: int, known: Mapping[int, Meaning], provider: str) -> Meaning:
    """The meaning of a status from ``known``, else of its class (4xx, 5xx, other)."""
    if status in known:
        return known[status]
    if 400 <= status < 500:
        return ErrorCategory.BAD_REQUEST, True, f"{provider} refused the request"
    if status >= 500:
        return ErrorCategory.SERVER, False, f"{provider} failed"
    return ErrorCategory.MALFORMED, False, f"{provider} sent no answer"


def failure_of(
    reply: HttpReply, provider: str, meaning: Meaning, wait_seconds: float | None
) -> ProviderError:
    """The error for a failed reply. A permanent one has no wait."""
    category, permanent, message = meaning
    return ProviderError(
        f"{message} (HTTP {reply.status})",
        provider=provider,
        category=category,
        permanent=permanent,
        retry_after_seconds=None if permanent else wait_seconds,
        http_status=reply.status,
    )


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by ``retry-after-ms`` or ``retry-after``: number, or HTTP date minus ``now``.

    Milliseconds win if above zero: Azure sends ``retry-after-ms: 0`` beside ``retry-after: 1``. Of
    several values in one header (a proxy repeated it) the longest counts. Never negative: a past
    date is 0. None if no header is readable; a negative number is not. The retry strategy caps it.
    """
    exact = as_number(headers.get("retry-after-ms"))
    if exact is not None and exact > 0:
        return exact / 1_000
    waits = _waits(headers.get("retry-after", ""), now)
    return max(waits, default=0.0 if exact == 0 else None)


def _waits(value: str, now: datetime) -> Iterator[float]:
    """Every readable wait of a header. A comma separates values and also occurs inside dates."""
    parts = [part.strip() for part in value.split(",")]
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if _SECONDS.fullmatch(part):
            yield float(part)
        seconds = _until(f"{part}, {following}" if part.isalpha() else part, now)
        if seconds is not None:
            yield seconds


def _until(date: str, now: datetime) -> float | None:
    try:
        at = parsedate_to_datetime(date)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return max(0.0, (at - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def redacted(message: Any, secrets: Sequence[str] = (), *, characters_max: int = 200) -> str:
    """A provider's text for an error message: one line, cut, without URLs and secrets."""
    line = " ".join(message.split()) if isinstance(message, str) else ""
    # Cut last, so that no half of a secret remains.
    for secret in secrets:
        if secret:
            line = line.replace(secret, "[secret]").replace(quote(secret, safe=""), "[secret]")
    return _URL.sub("[url]", line)[:characters_max]


def as_object(value: Any) -> dict[str, Any]:
    """``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """``value`` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str | None:
    """``value`` stripped if it is text that is not blank, else None."""
    return (value.strip() or None) if isinstance(value, str) else None


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text. None for anything else, including a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_count(value: Any) -> int | None:
    """A whole number ≥ 0 that fits PostgreSQL's bigint, also one written as text. Else None."""
    if isinstance(value, str):
        if not (value.isascii() and value.strip().isdigit() and len(value) <= 20):
            return None
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # The range comes first: it excludes NaN and integers too large for a float.
    if not 0 <= value < 2**63 or value != int(value):
        return None
    return int(value)


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and infinities, which are not JSON."""
    raise ValueError(name)
