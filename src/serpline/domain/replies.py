"""Reading a provider's reply: what every provider needs and none should write twice.

Promise: whatever the bytes are, the answer is a value or a ``ProviderError`` of category MALFORMED;
no text of the reply ever enters an error's message, because a reply may echo a key. Strings come
out storable: a NUL or half of a surrogate pair, which JSON can write and PostgreSQL cannot store,
becomes U+FFFD. Limit: the size of a body is bounded by ``net``, not here.
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
# What a failed reply means: category, whether repeating it is pointless, what to tell a person.
Meaning = tuple[ErrorCategory, bool, str]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://\S+")
_SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


def json_value(reply: HttpReply, provider: str) -> Any:
    """The JSON value of a reply's body. Raises ``ProviderError`` MALFORMED, which is retryable."""
    try:
        # Given bytes, json would let a raw surrogate half through; a strict decoder does not.
        value = json.loads(reply.body.decode("utf-8-sig"), parse_constant=no_constant)
        # Only an escape can bring in what cannot be stored, so most bodies need no second walk.
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
    """What a reply about many things tells of each: its value, or None if its row is unreadable.

    ``rows``: key and value; None is what cannot be read. A thing without a row is absent: the
    provider does not know it. A row without a readable key may be about any thing that has no row
    of its own, so each of these is None. A row of a thing that was not asked about is ignored.
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
    """The failure of one thing in a reply about many, which the others do not share.

    It is permanent: the reply was paid for, and the same question would bring the same row.
    """
    return ProviderError(
        f"{provider}: the row of {key[:100]!r} cannot be read",
        provider=provider,
        category=ErrorCategory.MALFORMED,
        permanent=True,
    )


def malformed(reply: HttpReply, provider: str, problem: str) -> ProviderError:
    """A reply that does not say what it should; ``problem`` is ours and quotes nothing of it."""
    return ProviderError(
        f"{provider} sent {problem} (HTTP {reply.status}, {reply.size_bytes} bytes)",
        provider=provider,
        category=ErrorCategory.MALFORMED,
        http_status=reply.status,
    )


def meaning_of_status(status: int, known: Mapping[int, Meaning], provider: str) -> Meaning:
    """What ``known`` says of a status; of others, what their hundred means."""
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
    """The error that a failed reply stands for; a permanent one is not waited for."""
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
    """Seconds to wait by ``retry-after-ms`` or ``retry-after``: numbers, or an HTTP date minus now.

    The milliseconds count where they are above zero: Azure sends ``retry-after-ms: 0`` beside
    ``retry-after: 1``. Of several values in one header (a proxy repeated it) the longest counts.
    Never negative: a date in the past is 0. None when no header says anything readable; a negative
    number says nothing. Uncapped: the retry strategy caps it.
    """
    exact = as_number(headers.get("retry-after-ms"))
    if exact is not None and exact > 0:
        return exact / 1_000
    waits = _waits(headers.get("retry-after", ""), now)
    return max(waits, default=0.0 if exact == 0 else None)


def _waits(value: str, now: datetime) -> Iterator[float]:
    """Every readable wait of a header in which a comma stands between values and inside dates."""
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
    """A provider's own words, fit for an error message: one line, no URL, no secret, cut short."""
    line = " ".join(message.split()) if isinstance(message, str) else ""
    # Cut last, so that no half of a secret is left standing.
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
    """``value`` stripped if it is text that says something, else None."""
    return (value.strip() or None) if isinstance(value, str) else None


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text; None for anything else (a bool is no number)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_count(value: Any) -> int | None:
    """A whole number ≥ 0 that fits PostgreSQL's bigint, also one written as text; else None."""
    if isinstance(value, str):
        if not (value.isascii() and value.strip().isdigit() and len(value) <= 20):
            return None
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # The range first: it is also false for NaN, and true for no integer too large for a float.
    if not 0 <= value < 2**63 or value != int(value):
        return None
    return int(value)


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and infinities, which are no JSON."""
    raise ValueError(name)
