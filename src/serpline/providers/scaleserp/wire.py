"""Search results as ScaleSERP writes them, read into types.

The promise: a field that is missing or of a strange type costs that field, never the page; a
result that cannot be used (no link) is counted in ``unreadable``, not dropped in silence. Sections
that are not read here (inline videos, local packs, related searches, …) stay in the raw reply,
which the ledger keeps.

**Overall position.** ``position`` counts within one page. A result's ``overall_position`` is
``position_overall`` if given; else ``(page - 1) * 10 + position`` when its page is known (its own
``page``, else the page that was asked for: ``pagination.current`` is not trusted, a captured reply
has nonsense there); else ``position``. Without a usable ``position`` the place in the list stands
in for it.
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
    derived (see the module) and always there. ``date`` is free text in the page's language,
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

    ``credits_used`` is what this request cost (None if not said), ``total_results`` Google's
    estimate, ``zero_results`` its word that nothing matches the query as written.
    ``has_ai_overview`` is None where the search did not ask for one.
    ``other_pages`` are the numbers of the pages that this reply does not hold.
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
        """The results of one searched type, in the order given. KeyError for ``ALL``."""
        by_type = {
            ContentType.ORGANIC: self.organic,
            ContentType.NEWS: self.news,
            ContentType.VIDEO: self.video,
        }
        return by_type[content_type]

    def is_answer(self, content_type: ContentType) -> bool:
        """Whether this page says who ranks, or says that nobody does.

        A page with no results of the wanted type, and no word that there are none, is a failed
        collection: storing it would make "not collected" look like "not ranked".
        """
        said_none = self.zero_results or self.total_results == 0 or self.page > 1
        return bool(self.results(content_type)) or said_none


def serp_page(body: Mapping[str, Any]) -> SerpPage:
    """Read a search response (the whole body of a search, or ``result`` of a batch's record)."""
    info = as_object(body.get("request_info"))
    asked = as_object(body.get("search_parameters"))
    about = as_object(body.get("search_information"))
    page = _page_number(asked.get("page")) or 1
    read = {kind: list(_results(body, key, page)) for kind, key in SECTIONS.items()}
    good = {kind: tuple(r for r in found if r is not None) for kind, found in read.items()}
    return SerpPage(
        query=as_text(asked.get("q")),
        page=page,
        organic=good[ContentType.ORGANIC],
        news=good[ContentType.NEWS],
        video=good[ContentType.VIDEO],
        has_ai_overview=_has_ai_overview(body, asked),
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
    """The host of an http(s) URL, lower case; None for anything else."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or None) if parts.scheme in ("http", "https") else None
    except ValueError:
        return None


def identifier(value: Any) -> str | None:
    """An id as text; ids that are numbers are accepted."""
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


def _has_ai_overview(body: Mapping[str, Any], asked: Mapping[str, Any]) -> bool | None:
    # The section's exact name is not documented for this product; its sister's begins like this.
    if any(key.startswith("ai_overview") and bool(value) for key, value in body.items()):
        return True
    return False if str(asked.get("include_ai_overview")).lower() == "true" else None


def credits_left(info: Mapping[str, Any]) -> float | None:
    """The credits an account has left; those bought on top where no others are stated."""
    said = _credits(info.get("credits_remaining"))
    return _credits(info.get("topup_credits_remaining")) if said is None else said


def _read_pages(page: int, found: Iterable[tuple[SerpResult, ...]]) -> set[int]:
    return {page, *(result.page for results in found for result in results)}


def _other_pages(pagination: Mapping[str, Any], read: set[int]) -> tuple[int, ...]:
    """The page numbers named, without those ``read``.

    A reply to ``max_page`` has an entry in ``pages`` for each page it holds, each naming all the
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
