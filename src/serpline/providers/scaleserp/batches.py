"""Parses ScaleSERP's batches and result sets.

A batch has no state "completed": it returns to ``idle`` and its ``results_count`` rises.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from serpline.domain.replies import as_count, as_list, as_number, as_object, as_text
from serpline.providers.scaleserp.calendar import Calendar, calendar
from serpline.providers.scaleserp.wire import credits_left, host_of, identifier

_PAGE_FILE = re.compile(r"_Page_([0-9]{1,6})\.json$")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch at ScaleSERP. ``status`` is ``idle``, ``queued`` or ``running``.

    ``results_count`` counts its result sets; ``next_result_set_id`` is the next one's id;
    ``credits_required`` is the price of a start. ``calendar`` is None if it starts by hand only, or
    by a calendar that serpline does not write. ``last_run`` is as given (ISO 8601).
    """

    id: str
    name: str
    status: str
    searches_total_count: int
    results_count: int
    next_result_set_id: int | None
    credits_required: float | None
    priority: str | None
    created_at: str | None
    enabled: bool = True
    calendar: Calendar | None = None
    last_run: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it is neither queued nor running."""
        return self.status == "idle"

    @property
    def is_queued(self) -> bool:
        """Whether it was started and waits to run."""
        return self.status == "queued"


@dataclass(frozen=True, slots=True)
class BatchesPage:
    """One page (up to 1,000) of the account's batches; ``page`` counts from 1 to ``page_count``."""

    page: int
    page_count: int
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class StoredSearch:
    """A search in a batch."""

    id: str | None
    custom_id: str | None


@dataclass(frozen=True, slots=True)
class SearchesPage:
    """One page (up to 1,000) of a batch's searches; ``page`` counts from 1 to ``page_count``."""

    page: int
    page_count: int
    searches: tuple[StoredSearch, ...]


@dataclass(frozen=True, slots=True)
class ResultSet:
    """The results of one start of a batch. The provider keeps them for 14 days.

    Times are as given (ISO 8601). ``page_links`` are the page files' URLs in page order, from this
    authenticated reply only.
    """

    batch_id: str
    id: int
    started_at: str | None
    ended_at: str | None
    expires_at: str | None
    page_count: int
    searches_completed: int
    searches_failed: int
    searches_total: int
    page_links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """The account's credits and batches. A field is None if not stated."""

    credits_used: float | None
    credits_remaining: float | None
    credits_limit: float | None
    batches_limit: int | None


def batch(value: Any) -> Batch | None:
    """Parse a batch; None without an id."""
    item = as_object(value)
    batch_id = identifier(item.get("id"))
    if batch_id is None:
        return None
    return Batch(
        id=batch_id,
        name=as_text(item.get("name")) or "",
        status=(as_text(item.get("status")) or "unknown").lower(),
        searches_total_count=as_count(item.get("searches_total_count")) or 0,
        results_count=as_count(item.get("results_count")) or 0,
        next_result_set_id=as_count(item.get("next_result_set_id")),
        credits_required=as_number(item.get("credits_required")),
        priority=as_text(item.get("priority")),
        created_at=as_text(item.get("created_at")),
        enabled=item.get("enabled") is not False,
        calendar=calendar(item),
        last_run=as_text(item.get("last_run")),
    )


def batches_page(body: dict[str, Any]) -> BatchesPage:
    """Parse a page of the account's batches. One without an id is left out."""
    found = (batch(value) for value in as_list(body.get("batches")))
    return BatchesPage(
        page=as_count(body.get("current_page")) or 1,
        page_count=as_count(body.get("total_pages")) or 1,
        batches=tuple(one for one in found if one is not None),
    )


def find_oldest_by_name(values: Iterable[Any], name: str) -> Batch | None:
    """The batch of exactly this name; the oldest of several (a create took effect twice).

    Every process finds the same one. The name is compared again here, because a wrong match would
    spend money twice.
    """
    named = [found for found in map(batch, values) if found is not None and found.name == name]
    return min(named, key=lambda b: (b.created_at or "~", b.id), default=None)


def searches_page(body: dict[str, Any]) -> SearchesPage:
    """Parse a page of a batch's searches."""
    found = []
    for value in as_list(body.get("searches")):
        item = as_object(value)
        found.append(StoredSearch(identifier(item.get("id")), identifier(item.get("custom_id"))))
    return SearchesPage(
        page=as_count(body.get("searches_page_current")) or 1,
        page_count=as_count(body.get("searches_page_count")) or 0,
        searches=tuple(found),
    )


def result_set(value: Any, batch_id: str) -> ResultSet | None:
    """Parse a result set; None without an id."""
    item = as_object(value)
    set_id = as_count(item.get("id"))
    if set_id is None:
        return None
    links = as_object(item.get("download_links"))
    pages = as_list(links.get("pages")) or as_list(as_object(links.get("json")).get("pages"))
    good = [link for link in map(as_text, pages) if link and host_of(link)]
    return ResultSet(
        batch_id=batch_id,
        id=set_id,
        started_at=as_text(item.get("started_at")),
        ended_at=as_text(item.get("ended_at")),
        expires_at=as_text(item.get("expires_at")),
        # Counts pages with an unreadable link too, so that missing pages are noticed.
        page_count=as_count(item.get("results_page_count")) or len(pages),
        searches_completed=as_count(item.get("searches_completed")) or 0,
        searches_failed=as_count(item.get("searches_failed")) or 0,
        searches_total=as_count(item.get("searches_total")) or 0,
        page_links=_in_page_order(good),
    )


def account(body: dict[str, Any]) -> Account:
    """Parse ``GET /account``."""
    item = as_object(body.get("account_info"))
    return Account(
        credits_used=as_number(item.get("credits_used")),
        credits_remaining=credits_left(item),
        credits_limit=as_number(item.get("credits_limit")),
        batches_limit=as_count(item.get("batches_limit")),
    )


def _in_page_order(links: list[str]) -> tuple[str, ...]:
    """Sort by the number in the file's name if every link has one; else keep the order."""
    numbers = [_PAGE_FILE.search(urlsplit(link).path) for link in links]
    if not all(numbers):
        return tuple(links)
    keyed = sorted(
        (int(found[1]), link) for found, link in zip(numbers, links, strict=True) if found
    )
    return tuple(link for _, link in keyed)
