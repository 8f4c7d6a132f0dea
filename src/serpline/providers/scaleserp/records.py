"""Parses page files: the records of a result set, one per search of the batch.

``custom_id`` is inside ``search``. The shape of a failed record is undocumented: ``success`` false
with ``result`` missing, null or with ``request_info.message`` is a failure, and so is a record
without a usable result. No record is dropped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from serpline.domain.names import ContentType
from serpline.domain.replies import as_object, as_text, redacted
from serpline.providers.scaleserp.errors import failure_message
from serpline.providers.scaleserp.wire import SerpPage, identifier, serp_page

_WEB = (None, "web")
_TYPE_OF = {"news": ContentType.NEWS, "videos": ContentType.VIDEO}


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One search of a batch, done or failed.

    ``page`` is set exactly if ``success``; otherwise ``error`` is the reason. ``content_type`` is
    that of the submitted search.
    """

    custom_id: str | None
    success: bool
    page: SerpPage | None = None
    error: str | None = None
    content_type: ContentType | None = None


def records(values: Iterable[Any], secrets: Sequence[str] = ()) -> tuple[BatchRecord, ...]:
    """Parse every record of a page file, in order; errors do not contain ``secrets``."""
    return tuple(_record(as_object(value), secrets) for value in values)


def by_custom_id(found: Iterable[BatchRecord]) -> dict[str, BatchRecord]:
    """One record per ``custom_id``: the first success, else the first failure."""
    chosen: dict[str, BatchRecord] = {}
    for record in found:
        if record.custom_id is None:
            continue
        known = chosen.get(record.custom_id)
        if known is None or (record.success and not known.success):
            chosen[record.custom_id] = record
    return chosen


def _record(item: dict[str, Any], secrets: Sequence[str]) -> BatchRecord:
    search = as_object(item.get("search"))
    custom_id = identifier(search.get("custom_id")) or identifier(item.get("custom_id"))
    kind = _content_type(search)
    result = item.get("result")
    error = _failure(item, result, secrets)
    page = None if error else serp_page(as_object(result))
    if page is not None and kind is not None and not page.is_answer(kind):
        error = f"the result has no answer about {kind} results"
    if error:
        return BatchRecord(custom_id, False, None, error, kind)
    return BatchRecord(custom_id, True, page, None, kind)


def _failure(item: dict[str, Any], result: Any, secrets: Sequence[str]) -> str | None:
    body = as_object(result)
    refused = as_object(body.get("request_info")).get("success") is False
    if item.get("success") is True and isinstance(result, dict) and result and not refused:
        return None
    stated = redacted(failure_message(body) or failure_message(item), secrets)
    return stated or (
        "the search failed" if item.get("success") is False else "the record has no result"
    )


def _content_type(search: dict[str, Any]) -> ContentType | None:
    """The type searched for; None for a type that serpline does not collect (images, places, …)."""
    kind = as_text(search.get("search_type"))
    return ContentType.ORGANIC if kind in _WEB else _TYPE_OF.get(kind or "")
