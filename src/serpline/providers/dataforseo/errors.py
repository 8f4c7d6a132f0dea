"""DataForSEO's errors.

Nearly every reply has HTTP 200. ``status_code`` decides, in the envelope and again in the task. Its
families: 2xxxx success, 401xx authentication (but 40101 to 40103 are failures of the task), 402xx
money and rates, 404xx not found, 405xx invalid fields, 5xxxx server errors.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import (
    as_count,
    as_list,
    as_object,
    json_object,
    malformed,
    redacted,
    retry_after_seconds,
)

PROVIDER = "dataforseo"
OK = 20000
NO_RESULTS = 40102
_INVALID_FIELD = 40501

# The category, and whether the error is permanent.
_Meaning = tuple[ErrorCategory, bool]
_BY_CODE: Mapping[int, _Meaning] = MappingProxyType(
    {
        40101: (ErrorCategory.SERVER, False),
        40103: (ErrorCategory.SERVER, False),
        40202: (ErrorCategory.RATE_LIMIT, False),
        40209: (ErrorCategory.RATE_LIMIT, False),
        40204: (ErrorCategory.AUTH, True),
        40207: (ErrorCategory.AUTH, True),
    }
)
_BY_FAMILY: Mapping[int, _Meaning] = MappingProxyType(
    {
        401: (ErrorCategory.AUTH, True),
        402: (ErrorCategory.QUOTA, True),
        403: (ErrorCategory.AUTH, True),
        408: (ErrorCategory.TIMEOUT, False),
        429: (ErrorCategory.RATE_LIMIT, False),
        504: (ErrorCategory.TIMEOUT, False),
    }
)


class DataForSeoError(ProviderError):
    """A failed call, with the vendor's own ``code`` (None if it gave none)."""

    def __init__(
        self,
        message: str,
        *,
        category: ErrorCategory,
        permanent: bool,
        retry_after_seconds: float | None,
        http_status: int,
        code: int | None,
    ) -> None:
        super().__init__(
            message,
            provider=PROVIDER,
            category=category,
            permanent=permanent,
            retry_after_seconds=retry_after_seconds,
            http_status=http_status,
        )
        self.code = code


def is_keyword_error(error: ProviderError) -> bool:
    """Whether one keyword may have failed the request; if so, split it to get the others."""
    return isinstance(error, DataForSeoError) and error.code == _INVALID_FIELD


def named_keyword(error: ProviderError, sent: Sequence[str]) -> str | None:
    """The sent keyword that the message quotes at its end; None if it quotes none.

    ``Invalid Field: 'keywords'. Keyword text has invalid characters or symbols: 'a?'``.
    """
    message = str(error).casefold().rstrip(". ")
    return next((keyword for keyword in sent if message.endswith(f"'{keyword.casefold()}'")), None)


def task_of(reply: HttpReply, now: datetime, secrets: Sequence[str] = ()) -> dict[str, Any]:
    """The task of a successful reply, checked in envelope and task.

    "No results" (40102) is a success. Raises ``ProviderError`` for every other reply.
    """
    if not 200 <= reply.status < 300:
        raise _from_status(reply, now, secrets)
    body = json_object(reply, PROVIDER)
    _check(body, reply, now, secrets)
    tasks = as_list(body.get("tasks"))
    if len(tasks) != 1 or not isinstance(tasks[0], dict):
        raise malformed(reply, PROVIDER, "not exactly one task")
    _check(tasks[0], reply, now, secrets)
    return tasks[0]


def _check(level: dict[str, Any], reply: HttpReply, now: datetime, secrets: Sequence[str]) -> None:
    code = as_count(level.get("status_code"))
    if code is None:
        raise malformed(reply, PROVIDER, "no status_code")
    if code not in (OK, NO_RESULTS):
        raise _error(code, level.get("status_message"), reply, now, secrets)


def _from_status(reply: HttpReply, now: datetime, secrets: Sequence[str]) -> ProviderError:
    try:
        body = as_object(json_object(reply, PROVIDER))
    except ProviderError:
        body = {}
    return _error(
        as_count(body.get("status_code")), body.get("status_message"), reply, now, secrets
    )


def _error(
    code: int | None, message: Any, reply: HttpReply, now: datetime, secrets: Sequence[str]
) -> ProviderError:
    category, permanent = _meaning(code, reply.status)
    label = f"status {code}" if code is not None else f"HTTP {reply.status}"
    words = redacted(message, secrets)
    return DataForSeoError(
        f"dataforseo {label}" + (f": {words}" if words else ""),
        category=category,
        permanent=permanent,
        retry_after_seconds=retry_after_seconds(reply.headers, now),
        http_status=reply.status,
        code=code,
    )


def _meaning(code: int | None, status: int) -> _Meaning:
    # A success code in the body does not override an HTTP error status.
    if code is None or 20000 <= code < 30000:
        code = status * 100
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code // 100 in _BY_FAMILY:
        return _BY_FAMILY[code // 100]
    if 40000 <= code < 50000:
        return ErrorCategory.BAD_REQUEST, True
    return ErrorCategory.SERVER, False
