"""ScaleSERP's errors.

The status decides, then the body: ``request_info.success`` false is a failure under any status,
including 200, and the body may have ``retry_after`` (seconds). A reply that is not 200 is not
billed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.json_stream import json_items
from serpline.domain.replies import (
    as_number,
    as_object,
    json_object,
    malformed,
    redacted,
    retry_after_seconds,
)

PROVIDER = "scaleserp"
# Bounds of a page file: a page of results has some hundred kilobytes, a batch 15,000 searches.
RECORD_CHARACTERS_MAX = 2_000_000
RECORDS_MAX = 15_000
# Undocumented: the refusal of a start while this batch runs or the account's limit is reached.
_BUSY = re.compile(r"\b(?:running|queued|concurrent\w*|simultaneous\w*)\b", re.IGNORECASE)

# The category, and whether the error is permanent.
_BY_STATUS = {
    400: (ErrorCategory.BAD_REQUEST, True),
    401: (ErrorCategory.AUTH, True),
    402: (ErrorCategory.QUOTA, True),
    403: (ErrorCategory.AUTH, True),
    404: (ErrorCategory.BAD_REQUEST, True),
    408: (ErrorCategory.TIMEOUT, False),
    429: (ErrorCategory.RATE_LIMIT, False),
}


def answer(reply: HttpReply, now: datetime, secrets: Sequence[str]) -> dict[str, Any]:
    """The JSON object of a successful reply. Raises ``ProviderError`` for every other reply."""
    if not is_success(reply.status):
        raise from_reply(reply, now, secrets)
    body = json_object(reply, PROVIDER)
    if as_object(body.get("request_info")).get("success") is False:
        raise from_reply(reply, now, secrets)
    return body


def acknowledged(reply: HttpReply, now: datetime, secrets: Sequence[str]) -> dict[str, Any]:
    """Like ``answer``, for calls whose status is the answer: a success may have an empty body."""
    if is_success(reply.status) and not reply.body.strip():
        return {}
    return answer(reply, now, secrets)


def started(reply: HttpReply, now: datetime, secrets: Sequence[str]) -> dict[str, Any]:
    """Like ``answer``, for a start. A start refused because of running batches may be repeated.

    Success must be explicit: a batch wrongly taken as started would be polled in vain.
    """
    try:
        body = answer(reply, now, secrets)
    except ProviderError as error:
        if error.category is ErrorCategory.BAD_REQUEST and _BUSY.search(str(error)):
            error.permanent = False
        raise
    if as_object(body.get("request_info")).get("success") is not True:
        raise malformed(reply, PROVIDER, "an answer to a start without success")
    return body


def is_success(status: int) -> bool:
    """Whether ``status`` is 2xx."""
    return 200 <= status < 300


def from_reply(reply: HttpReply, now: datetime, secrets: Sequence[str] = ()) -> ProviderError:
    """The error of a reply; its message quotes the vendor's, without keys."""
    body = _body(reply)
    category, permanent = _meaning(reply.status)
    stated = redacted(failure_message(body), secrets)
    text = f"scaleserp HTTP {reply.status}" + (f": {stated}" if stated else "")
    return ProviderError(
        text,
        provider=PROVIDER,
        category=category,
        permanent=permanent,
        retry_after_seconds=_wait_seconds(reply, body, now),
        http_status=reply.status,
    )


def failure_message(body: dict[str, Any]) -> Any:
    """The message of a failure: ``request_info.message``, else ``message``."""
    return as_object(body.get("request_info")).get("message") or body.get("message")


def is_gone(error: ProviderError) -> bool:
    """Whether a batch, a result set or a page file is gone, or a link expired.

    A gone batch is lost. For a page file, fetch the result set again for new links.
    """
    return error.http_status in (403, 404, 410) and error.category is not ErrorCategory.AUTH


def file_records(reply: HttpReply, now: datetime, secrets: Sequence[str]) -> Iterator[Any]:
    """Yield the records of a page file. Its host's 403 means an expired link, not a wrong key.

    Raises ``ProviderError``, possibly after some records.
    """
    if reply.status in (403, 404, 410):
        raise ProviderError(
            f"scaleserp HTTP {reply.status}: the page file is gone, or its link expired",
            provider=PROVIDER,
            category=ErrorCategory.BAD_REQUEST,
            permanent=True,
            http_status=reply.status,
        )
    if not is_success(reply.status):
        raise from_reply(reply, now, secrets)
    count = 0
    try:
        for record in json_items(reply, PROVIDER, characters_max=RECORD_CHARACTERS_MAX):
            count += 1
            if count > RECORDS_MAX:
                raise malformed(reply, PROVIDER, f"more than {RECORDS_MAX} records")
            yield record
    except ProviderError:
        if as_object(_body(reply).get("request_info")).get("success") is False:
            raise from_reply(reply, now, secrets) from None
        raise
    if not count:
        # Every search has a record, even a failed one. An empty file would buy all again.
        raise malformed(reply, PROVIDER, "a page file without a record")


def _meaning(status: int) -> tuple[ErrorCategory, bool]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    # 2xx with success false: the vendor's search failed and may succeed next time.
    if status >= 500 or is_success(status):
        return ErrorCategory.SERVER, False
    return ErrorCategory.BAD_REQUEST, True


def _wait_seconds(reply: HttpReply, body: dict[str, Any], now: datetime) -> float | None:
    for place in (body, as_object(body.get("request_info"))):
        seconds = as_number(place.get("retry_after"))
        if seconds is not None and seconds >= 0:
            return seconds
    return retry_after_seconds(reply.headers, now)


def _body(reply: HttpReply) -> dict[str, Any]:
    if reply.large is not None:
        reply = replace(reply, body=reply.open().read(RECORD_CHARACTERS_MAX), large=None)
    try:
        return json_object(reply, PROVIDER)
    except ProviderError:
        return {}
