"""Phase 2: the ranking pages for every keyword × market × device, per content type.

A chunk holds the searches of one ScaleSERP batch. The worker releases it while the batch runs; a
webhook or the next poll makes it due again. Searches without a result go through the stages of
``domain/repair``: further batches, then real time. Small runs search in real time from the start.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Any

from serpline.analysis.domains import (
    canonical_url,
    publisher,
    youtube_channel_ref,
    youtube_video_id,
)
from serpline.config.run import PipelineConfig
from serpline.core.logging import described, get
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.keywords import searched
from serpline.domain.names import ContentType, Device, PhaseName, PipelineMode
from serpline.domain.outcomes import Done, Outcome, Reject, Skip, Snooze
from serpline.domain.repair import RepairStage, history, is_incident, shape_of, stage_of
from serpline.domain.retry import cap_retry_after
from serpline.phases.base import Work
from serpline.phases.serp.batch import SerpBatch, intend
from serpline.phases.serp.batch_session import BatchSession
from serpline.phases.serp.repair import QUOTA_POLLS
from serpline.phases.tools import Tools, as_done
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.providers.scaleserp.wire import SerpPage, SerpResult
from serpline.store.database import Connection
from serpline.store.results import inputs
from serpline.store.results.inputs import KeywordItem
from serpline.store.rows import insert_rows
from serpline.store.runs import batches, plans
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.runs.searches import Search, unfinished
from serpline.store.tables.results import serp_results, serps

log = get(__name__)

YOUTUBE = "youtube.com"


class SerpCollectionPhase:
    """Collects search pages in batches, one set of batches per content type."""

    name = PhaseName.SERP_COLLECTION
    plan_sql = plans.SERP_COLLECTION
    divisible = False

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return the size of the lane's batches, which the vendor limits to 15,000 searches."""
        return config.batch_size

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return the devices."""
        return {"devices": [str(device) for device in config.devices]}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Advance the chunk's batch as far as possible, then make due searches in real time."""
        due = [row.item for row in items]
        async with work.database.transaction() as conn:
            batch = await batches.current(conn, work.chunk)
            made, largest = await batches.count_made(conn, work.chunk)
            searches = await unfinished(conn, work.chunk, due)
        session = None
        if batch is not None:
            session = BatchSession(self._tools, work, batch, resumed=True)
            searches = [search for search in searches if search.item not in session.items]
        in_real_time, in_batch, stage = _split(work.config, searches, set(due))
        if session is None and in_batch:
            priority = work.config.batch_priority_in(PipelineMode(work.chunk.mode))
            size = largest or work.config.batch_size
            shape = shape_of(min(s.attempts for s in in_batch), stage, size, priority)
            taken, in_batch = in_batch[: shape.searches_max], in_batch[shape.searches_max :]
            searched_items = [search.item for search in taken]
            session = await intend(
                self._tools,
                work,
                searched_items,
                stage=stage,
                priority=shape.priority,
                generation=made,
            )
        if session is not None:
            async with aclosing(self._drive(session, waiting=in_batch)) as outcomes:
                async for outcome in outcomes:
                    yield outcome
        if in_real_time:
            async with aclosing(self._in_real_time(work, in_real_time)) as found:
                async for outcome in found:
                    yield outcome

    async def _drive(
        self, session: BatchSession, waiting: Sequence[Search]
    ) -> AsyncGenerator[Outcome, None]:
        """Yield the batch's outcomes; if it is given up, also those of the ``waiting`` searches."""
        specs = await self._specs(session.work, session.row.items)
        driver = SerpBatch(session, specs, waiting)
        async with aclosing(driver.outcomes()) as outcomes:
            async for item, page in outcomes:
                if isinstance(page, SerpPage):
                    yield _collected(session.work, item, page, "batch")
                else:
                    yield page

    async def _in_real_time(
        self, work: Work, searches: Sequence[Search]
    ) -> AsyncGenerator[Outcome, None]:
        specs = await self._specs(work, [search.item for search in searches])
        no_credits: list[Snooze] = []

        async def search(due: Search) -> Outcome:
            if no_credits:
                return replace(no_credits[0], item=due.item)
            call = self._tools.scaleserp.search(specs[due.item])
            try:
                page = await self._tools.collect(work, call)
            except CallRefused as refused:
                return work.retries.outcome_for(due.item, refused)
            except ProviderError as error:
                if error.category is ErrorCategory.QUOTA:
                    # The account has no credits: as for a batch, wait and use no attempt.
                    seconds = QUOTA_POLLS * self._tools.batch_poll_seconds
                    until = work.clock.now() + timedelta(seconds=seconds)
                    no_credits.append(Snooze(due.item, str(error), until))
                    return no_credits[-1]
                if is_incident(error):
                    # The vendor reports an incident and charges nothing: wait, use no attempt.
                    seconds = max(
                        self._tools.batch_poll_seconds, cap_retry_after(error.retry_after_seconds)
                    )
                    until = work.clock.now() + timedelta(seconds=seconds)
                    return Snooze(due.item, str(error), until)
                outcome = work.retries.outcome_for(due.item, error)
                if isinstance(outcome, Snooze | Done | Skip):
                    return outcome
                return replace(outcome, error=history(due.error, f"real time: {outcome.error}"))
            return _collected(work, due.item, page, "real time")

        async with aclosing(as_done(search, searches, self._tools.call_concurrency)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _specs(self, work: Work, items: Sequence[str]) -> dict[str, SearchSpec]:
        keys = {item: _key(item) for item in items}
        pairs = [(keyword_id, market) for keyword_id, market, _ in keys.values()]
        async with work.database.transaction() as conn:
            known = await inputs.keyword_items(conn, work.chunk.run_id, list(dict.fromkeys(pairs)))
        kind = work.chunk.lane.content_type
        return {
            item: _spec(known[keyword_id, market], kind, device, work.config)
            for item, (keyword_id, market, device) in keys.items()
        }

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write a row per search page and a row per result."""
        await insert_rows(conn, serps, [d.result["serp"] for d in done])
        await insert_rows(conn, serp_results, [r for d in done for r in d.result["results"]])


def _split(
    config: PipelineConfig, searches: Sequence[Search], due: Set[str]
) -> tuple[list[Search], list[Search], RepairStage]:
    """The searches due in real time, those for the next batch, and that batch's stage.

    Searches of the earliest stage go first. If one of them is due, the batch takes all of them.
    """
    stages = {search.item: stage_of(search.attempts, config.retry_attempts) for search in searches}
    alone = [search for search in searches if stages[search.item] is RepairStage.REAL_TIME]
    rest = [search for search in searches if stages[search.item] is not RepairStage.REAL_TIME]
    if len(rest) <= config.realtime_searches_max:
        alone, rest = list(searches), []
    alone = [search for search in alone if search.item in due]
    earliest = min(
        (stages[s.item] for s in rest), key=list(RepairStage).index, default=RepairStage.FIRST
    )
    together = [search for search in rest if stages[search.item] is earliest]
    if not any(search.item in due for search in together):
        together = []
    return alone, together, earliest


def _key(item: str) -> tuple[int, str, Device]:
    keyword_id, market, device = item.split(":")
    return int(keyword_id), market, Device(device)


def _spec(
    keyword: KeywordItem, content_type: ContentType, device: Device, config: PipelineConfig
) -> SearchSpec:
    return SearchSpec(
        q=searched(keyword.keyword),
        content_type=content_type,
        device=device,
        location=keyword.location,
        google_domain=keyword.google_domain,
        gl=keyword.gl,
        hl=keyword.hl,
        include_ai_overview=_asks_for_overviews(config, content_type),
    )


def _collected(work: Work, item: str, page: SerpPage, source: str) -> Outcome:
    """The page as rows. An exception here is a bug of ours and fails only its own search.

    Quarantine cannot isolate it: the chunk is one batch and indivisible.
    """
    try:
        return Done(item, _result(work, item, page, source))
    except Exception as error:
        log.exception("search.raised", action="search.raised", chunk=work.chunk.id)
        return Reject(item, ErrorCategory.INTERNAL, described(error))


def _asks_for_overviews(config: PipelineConfig, content_type: ContentType) -> bool:
    # Only organic pages have overviews, and each request for one is charged.
    return config.include_ai_overview and content_type is ContentType.ORGANIC


def _ai_overview(work: Work, page: SerpPage) -> bool | None:
    """Whether the page shows an AI overview; None if the search did not ask."""
    if page.has_ai_overview is None and _asks_for_overviews(
        work.config, work.chunk.lane.content_type
    ):
        return False  # the search asked, though the reply does not repeat the parameter
    return page.has_ai_overview


def _result(work: Work, item: str, page: SerpPage, source: str) -> dict[str, Any]:
    keyword_id, market, device = _key(item)
    key = {
        "run_id": work.chunk.run_id,
        "content_type": str(work.chunk.lane.content_type),
        "keyword_id": keyword_id,
        "market": market,
        "device": str(device),
    }
    found = page.results(work.chunk.lane.content_type)
    rows = [_row(result) for result in found]
    serp = {
        "collected_at": work.clock.now(),
        "results": len(rows),
        "total_results": page.total_results,
        "ai_overview": _ai_overview(work, page),
        "source": source,
    }
    return {
        "serp": {**key, **serp},
        "results": [{**key, "rank": rank, **row} for rank, row in enumerate(rows, start=1)],
    }


def _row(result: SerpResult) -> dict[str, Any]:
    """The result as a row. Wrapped links are resolved to the publisher's page, owner and video."""
    found = publisher(result.url, result.domain)
    video_id = youtube_video_id(found.url)
    channel_ref = None if video_id else youtube_channel_ref(found.url)
    return {
        "position": result.overall_position,
        "block_position": result.block_position,
        "url": result.url,
        "canonical_url": canonical_url(found.url) or found.url,
        "domain": YOUTUBE if video_id or channel_ref else found.domain,
        "title": result.title,
        "snippet": result.snippet,
        "published_at": result.date_utc or result.date,
        "source": result.source,
        "video_id": video_id,
        "channel_ref": channel_ref,
    }
