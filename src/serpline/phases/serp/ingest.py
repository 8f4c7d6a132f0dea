"""What a batch brought: its result set, page by page, each kept as soon as it is read.

A page that cannot be read stops no other page. Links expire, so every look asks for new ones. The
files lie elsewhere than the API: where nothing comes from there, a look ends after a few tries, and
the next one begins with the pages behind those.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.outcomes import Retry
from serpline.domain.repair import history, is_waiting
from serpline.phases.serp.desk import Desk, Step
from serpline.providers.scaleserp.batches import ResultSet
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.records import BatchRecord, by_custom_id
from serpline.store.runs.batches import Search

# So many in a row may time out (300 s each) before the chunk would count as hung.
PAGES_FAILED_MAX = 3


async def ingest(desk: Desk) -> AsyncGenerator[Step, None]:
    """Outcomes for everything a ready batch brought, and then its end.

    Raises the ``ProviderError`` of a page that could not be read, when all others are settled.
    """
    client = desk.tools.scaleserp
    found = await desk.call(client.result_set(desk.id, desk.row.result_set_id or 0))
    waiting = {search.item: search for search in await desk.left()}
    trouble = _too_few_links(found)
    failed = 0
    for page in _pages(desk, found):
        try:
            read = await desk.call(client.page_file(found, page))
        except ProviderError as error:
            if is_waiting(error):
                raise
            trouble, failed = error, failed + 1
            if failed == PAGES_FAILED_MAX:
                break
            continue
        failed = 0
        records = by_custom_id(read)
        for step in _steps(desk, waiting, records.values()):
            yield step
        # The page counts as ingested only once its outcomes are committed.
        await desk.work.settled()
        brought = sum(record.success for item, record in records.items() if item in desk.items)
        await desk.note(
            pages_ingested=[*desk.row.pages_ingested, page],
            brought=min(desk.row.brought + brought, len(desk.row.items)),
            errors=0,
        )
    if trouble is not None:
        raise trouble
    async for step in desk.end("ingest", ErrorCategory.EMPTY, "the result set has no record of it"):
        yield step


def _pages(desk: Desk, found: ResultSet) -> list[int]:
    """The pages not ingested yet, those first that the failed looks before this did not get to."""
    pages = sorted(set(range(1, len(found.page_links) + 1)).difference(desk.row.pages_ingested))
    first = desk.row.errors * PAGES_FAILED_MAX % max(1, len(pages))
    return pages[first:] + pages[:first]


def _steps(
    desk: Desk, waiting: Mapping[str, Search], records: Iterable[BatchRecord]
) -> Iterable[Step]:
    """A result is taken whenever it comes; a failure only of a search that still waits."""
    for record in records:
        item = record.custom_id or ""
        if item not in desk.items:
            continue
        if record.page is not None:
            yield item, record.page
        elif item in waiting:
            why = f"{desk.label}: {record.error or 'the search failed'}"
            told = history(waiting[item].error, why)
            yield item, Retry(item, ErrorCategory.SERVER, told)


def _too_few_links(found: ResultSet) -> ProviderError | None:
    if len(found.page_links) >= found.page_count > 0 or found.searches_total == 0:
        return None
    return ProviderError(
        f"scaleserp: {len(found.page_links)} of {found.page_count} pages of the result set"
        " have a link",
        provider=PROVIDER,
        category=ErrorCategory.MALFORMED,
    )
