"""Parses ScaleSERP's search results.

Promise: a missing field or one of an unknown type loses only that field. A result without a link is
counted in ``unreadable``. Sections that are not parsed (inline videos, local packs, related
searches, …) stay in the raw reply in the ledger.

**Overall position.** ``position`` counts within one page. A result's ``overall_position`` is
``position_overall`` if given, else ``(page - 1) * 10 + position``. The page is the result's own
``page``, else the requested one; ``pagination.current`` is ignored, because a captured reply has a
wrong value there. Without a usable ``position`` the place in the list replaces it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from serpline.domain.names import ContentType
from serpline.domain.replies import as_count, as_list, as_number, as_object, as_text

RESULTS_PER_PAGE = 10
_POSITION_MAX = 100_000
_PAGE_MAX = 1_000

SECTIONS: Mapping[ContentType, str] = MappingProxyType(
    {
        ContentType.ORGANIC: "organic_results",
        ContentType.NEWS: "news_results",
        ContentType.VIDEO: "video_results",
    }
)


@dataclass(frozen=True, slots=True)
class SerpResult:
    """One result. ``domain`` is as given (``www.`` kept), else the host of ``url``.

    ``position``, ``block_position`` and ``position_overall`` are as given; ``overall_position`` is
    derived (see the module) and always set. ``date`` is free text in the page's language,
    ``date_utc`` ISO 8601, ``length`` as given (``m:ss``).
    """

    url: str
    domain: str
    title: str
    overall_position: int
    page: int
    position: int | None = None
    position_overall: int | None = None
    block_position: int | None = None
    snippet: str | None = None
    date: str | None = None
    date_utc: str | None = None
    source: str | None = None
    length: str | None = None


@dataclass(frozen=True, slots=True)
class SerpPage:
    """One reply to one search.

    ``credits_used`` is the request's cost (None if not stated), ``total_results`` Google's
    estimate. ``zero_results``: Google states that nothing matches the query as written.
    ``has_ai_overview`` is None if the search did not ask for one. ``other_pages`` are the numbers
    of the pages that this reply does not contain.
    """

    query: str | None
    page: int
    organic: tuple[SerpResult, ...]
    news: tuple[SerpResult, ...]
    video: tuple[SerpResult, ...]
    has_ai_overview: bool | None
    total_results: int | None
    zero_results: bool
    credits_used: float | None
    credits_remaining: float | None
    other_pages: tuple[int, ...]
    unreadable: int

    def results(self, content_type: ContentType) -> tuple[SerpResult, ...]:
        """The results of one type, in the given order. KeyError for ``ALL``."""
        by_type = {
            ContentType.ORGANIC: self.organic,
            ContentType.NEWS: self.news,
            ContentType.VIDEO: self.video,
        }
        return by_type[content_type]

    def is_answer(self, content_type: ContentType) -> bool:
        """Whether this page has results of the type, or states that there are none.

        Any other page is a failed collection: stored, it would make "not collected" look like "not
        ranked".
        """
        has_no_results = self.zero_results or self.total_results == 0 or self.page > 1
        return bool(self.results(content_type)) or has_no_results


def serp_page(body: Mapping[str, Any]) -> SerpPage:
    """Parse a search response (the body of a search, or ``result`` of a batch's record)."""
    info = as_object(body.get("request_info"))
    parameters = as_object(body.get("search_parameters"))
    about = as_object(body.get("search_information"))
    page = _page_number(parameters.get("page")) or 1
    read = {kind: list(_results(body, key, page)) for kind, key in SECTIONS.items()}
    good = {kind: tuple(r for r in found if r is not None) for kind, found in read.items()}
    return SerpPage(
        query=as_text(parameters.get("q")),
        page=page,
        organic=good[ContentType.ORGANIC],
        news=good[ContentType.NEWS],
        video=good[ContentType.VIDEO],
        has_ai_overview=_has_ai_overview(body, parameters),
        total_results=as_count(about.get("total_results")),
        zero_results=about.get("original_query_yields_zero_results") is True,
        credits_used=_credits(info.get("credits_used_this_request")),
        credits_remaining=credits_left(info),
        other_pages=_other_pages(
            as_object(body.get("pagination")), _read_pages(page, good.values())
        ),
        unreadable=sum(found.count(None) for found in read.values()),
    )


def _results(body: Mapping[str, Any], key: str, page: int) -> Iterator[SerpResult | None]:
    for place, item in enumerate(as_list(body.get(key)), start=1):
        yield _result(as_object(item), place, page)


def _result(item: dict[str, Any], place: int, page_asked: int) -> SerpResult | None:
    url = as_text(item.get("link"))
    host = host_of(url) if url else None
    if not url or not host:
        return None
    position = _position(item.get("position"))
    overall = _position(item.get("position_overall"))
    page = _page_number(item.get("page")) or page_asked
    return SerpResult(
        url=url,
        domain=as_text(item.get("domain")) or host,
        title=as_text(item.get("title")) or "",
        overall_position=overall or (page - 1) * RESULTS_PER_PAGE + (position or place),
        page=page,
        position=position,
        position_overall=overall,
        block_position=_position(item.get("block_position")),
        snippet=as_text(item.get("snippet")),
        date=as_text(item.get("date")),
        date_utc=as_text(item.get("date_utc")),
        source=as_text(item.get("source")),
        length=as_text(item.get("length")),
    )


def host_of(url: str) -> str | None:
    """The lower-case host of an http(s) URL; None for anything else."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or None) if parts.scheme in ("http", "https") else None
    except ValueError:
        return None


def identifier(value: Any) -> str | None:
    """An id as text; numbers are accepted."""
    count = as_count(value)
    return as_text(value) or (str(count) if count is not None else None)


def _position(value: Any) -> int | None:
    count = as_count(value)
    return count if count and count <= _POSITION_MAX else None


def _page_number(value: Any) -> int | None:
    count = as_count(value)
    return count if count and count <= _PAGE_MAX else None


def _credits(value: Any) -> float | None:
    number = as_number(value)
    return number if number is not None and number >= 0 else None


def _has_ai_overview(body: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool | None:
    # The section's name is undocumented here; the sister product's name starts like this.
    if any(key.startswith("ai_overview") and bool(value) for key, value in body.items()):
        return True
    return False if str(parameters.get("include_ai_overview")).lower() == "true" else None


def credits_left(info: Mapping[str, Any]) -> float | None:
    """The credits left; the top-up credits if only these are stated."""
    stated = _credits(info.get("credits_remaining"))
    return _credits(info.get("topup_credits_remaining")) if stated is None else stated


def _read_pages(page: int, found: Iterable[tuple[SerpResult, ...]]) -> set[int]:
    return {page, *(result.page for results in found for result in results)}


def _other_pages(pagination: Mapping[str, Any], read: set[int]) -> tuple[int, ...]:
    """The page numbers in ``pagination`` that are not in ``read``.

    A reply to ``max_page`` has an entry in ``pages`` for each page it contains; each lists all
    other pages. ``other_pages`` is an object keyed by page or a list of ``{page, link}``.
    """
    entries = [as_object(entry) for entry in as_list(pagination.get("pages"))] or [dict(pagination)]
    named: set[int | None] = set()
    for entry in entries:
        value = entry.get("other_pages")
        given = [as_object(each).get("page") for each in as_list(value)]
        named.update(map(_page_number, [*given, *as_object(value)]))
    held = read | {_page_number(entry.get("current")) for entry in entries if len(entries) > 1}
    return tuple(sorted(number for number in named - held if number))
