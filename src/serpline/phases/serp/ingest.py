"""Read a batch's result set page by page and settle each page as soon as it is read.

An unreadable page does not stop the others. Links expire, so each attempt fetches new ones. The
files are on another host than the API: after ``PAGES_FAILED_MAX`` failures in a row the attempt
ends, and the next one starts with the pages after those.
"""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Any

from serpline.domain.errors import ErrorCategory, ProviderError, ReplyNotStored
from serpline.domain.repair import is_waiting
from serpline.phases.serp.batch_session import BatchSession, Step
from serpline.providers.scaleserp.batches import ResultSet
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.records import BatchRecord, by_custom_id
from serpline.store.runs.searches import Search

# Consecutive timeouts (300 s each) before the chunk would count as hung.
PAGES_FAILED_MAX = 3


async def ingest(session: BatchSession) -> AsyncGenerator[Step, None]:
    """Yield the outcomes of a ready batch and end it.

    One transaction settles a page's outcomes and marks the page as ingested; that of the last page
    ends the batch. Raises the ``ProviderError`` of an unreadable page after the others are settled.
    """
    client = session.tools.scaleserp
    found = await session.call(client.result_set(session.id, session.row.result_set_id or 0))
    if session.is_given:
        session.collected_at = _time(found.ended_at, session.work.clock.now())
    waiting = {search.item: search for search in await session.unfinished()}
    failure = _missing_links(found)
    failed = 0
    last: dict[str, Any] = {}
    pages = _pages(session, found)
    for page in pages:
        try:
            read = await session.call(client.page_file(found, page))
        except ReplyNotStored:
            continue  # a recomputation reads the other pages
        except ProviderError as error:
            if is_waiting(error):
                raise
            failure, failed = error, failed + 1
            if failed == PAGES_FAILED_MAX:
                break
            continue
        failed = 0
        records = by_custom_id(read)
        for step in _steps(session, waiting, records.values()):
            yield step
        received = sum(record.success for item, record in records.items() if item in session.items)
        ingested = {
            "pages_ingested": [*session.row.pages_ingested, page],
            "received": min(session.row.received + received, len(session.row.items)),
            "errors": 0,
        }
        if page == pages[-1] and failure is None:
            last = ingested
        else:
            await session.settle_page(**ingested)
    if failure is not None:
        raise failure
    why = "the result set has no record of it"
    async for step in session.end("ingest", waiting.values(), ErrorCategory.EMPTY, why, **last):
        yield step


def _pages(session: BatchSession, found: ResultSet) -> list[int]:
    """The pages not ingested yet, rotated so that failed attempts do not retry the same ones."""
    pages = sorted(set(range(1, len(found.page_links) + 1)).difference(session.row.pages_ingested))
    first = session.row.errors * PAGES_FAILED_MAX % max(1, len(pages))
    return pages[first:] + pages[:first]


def _steps(
    session: BatchSession, waiting: dict[str, Search], records: Iterable[BatchRecord]
) -> Iterable[Step]:
    """Yield every result, and the failures of searches in ``waiting``.

    A search with an outcome is removed from ``waiting``.
    """
    for record in records:
        item = record.custom_id or ""
        if item not in session.items:
            continue
        search = waiting.pop(item, None)
        if record.page is not None:
            yield item, record.page
        elif search is not None:
            why = record.error or "the search failed"
            yield item, session.missing(search, ErrorCategory.SERVER, why)


def _time(stated: str | None, now: datetime) -> datetime | None:
    """A time as the provider states it, not after now; None if unreadable or without a zone."""
    try:
        found = datetime.fromisoformat(stated or "")
    except ValueError:
        return None
    return min(found, now) if found.tzinfo else None


def _missing_links(found: ResultSet) -> ProviderError | None:
    if len(found.page_links) >= found.page_count > 0 or found.searches_total == 0:
        return None
    return ProviderError(
        f"scaleserp: {len(found.page_links)} of {found.page_count} pages of the result set"
        " have a link",
        provider=PROVIDER,
        category=ErrorCategory.MALFORMED,
    )
