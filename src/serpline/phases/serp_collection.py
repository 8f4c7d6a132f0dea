"""Phase 2: who ranks for every keyword × market × device, per content type.

A chunk is what one ScaleSERP batch holds. Its items are handed over to the batch, and the chunk is
given back while the batch runs; a webhook or the poll brings somebody back to it. What the batch
did not bring is retried in a batch of its own. Small runs and repairs search in real time.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from serpline.analysis.domains import (
    canonical_url,
    registrable_domain,
    youtube_channel_ref,
    youtube_video_id,
)
from serpline.domain.config import PipelineConfig
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.names import ContentType, Device, PhaseName
from serpline.domain.outcomes import Done, Outcome
from serpline.phases.base import Work
from serpline.phases.serp_batch import SerpBatch
from serpline.phases.tools import Tools, as_done
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.providers.scaleserp.wire import SerpPage, SerpResult
from serpline.store import batches, plans
from serpline.store.chunks import ItemRow, OwnedChunk
from serpline.store.database import Connection
from serpline.store.results import inputs
from serpline.store.results.inputs import KeywordItem
from serpline.store.rows import insert_rows
from serpline.store.tables.results import serp_results, serps

YOUTUBE = "youtube.com"
# So few searches that a batch did not bring are repaired one by one.
REPAIRS_MAX = 20


class SerpCollectionPhase:
    """Collects search pages in batches, one set of batches per content type."""

    name = PhaseName.SERP_COLLECTION
    plan_sql = plans.SERP_COLLECTION
    divisible = False

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """One batch, which the vendor limits to 15,000 searches."""
        return config.batch_size

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """The devices."""
        return {"devices": [str(device) for device in config.devices]}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Move the chunk's batch as far as it goes; make one for what has none."""
        async with work.database.transaction() as conn:
            batch = await batches.current(conn, work.chunk)
            made = await batches.generations(conn, work.chunk)
        if batch is None:
            # Items that still say "waiting" here lost their batch together with its last owner.
            due = [row.item for row in items]
            if len(due) <= (REPAIRS_MAX if made else work.config.realtime_searches_max):
                async with aclosing(self._in_real_time(work, due)) as found:
                    async for outcome in found:
                        yield outcome
                return
            batch = await SerpBatch.intend(self._tools, work, due)
        specs = await self._specs(work, batch.items)
        driver = SerpBatch(self._tools, work, batch, specs)
        async with aclosing(driver.outcomes()) as outcomes:
            async for item, page in outcomes:
                if isinstance(page, SerpPage):
                    yield Done(item, _result(work, item, page, "batch"))
                else:
                    yield page

    async def _in_real_time(self, work: Work, due: Sequence[str]) -> AsyncGenerator[Outcome, None]:
        specs = await self._specs(work, due)

        async def search(item: str) -> Outcome:
            call = self._tools.scaleserp.search(specs[item])
            try:
                page = await self._tools.collect(work, call)
            except (ProviderError, CallRefused) as error:
                return work.retries.outcome_for(item, error)
            return Done(item, _result(work, item, page, "real time"))

        async with aclosing(as_done(search, due, self._tools.call_concurrency)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _specs(self, work: Work, items: Sequence[str]) -> dict[str, SearchSpec]:
        keys = {item: _key(item) for item in items}
        pairs = [(keyword_id, market) for keyword_id, market, _ in keys.values()]
        async with work.database.transaction() as conn:
            known = await inputs.keyword_items(conn, work.chunk.run_id, list(dict.fromkeys(pairs)))
        kind = work.chunk.lane.content_type
        return {
            item: _spec(known[keyword_id, market], kind, device)
            for item, (keyword_id, market, device) in keys.items()
        }

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """A row per search page, and one per result."""
        await insert_rows(conn, serps, [d.result["serp"] for d in done])
        await insert_rows(conn, serp_results, [r for d in done for r in d.result["results"]])


def _key(item: str) -> tuple[int, str, Device]:
    keyword_id, market, device = item.split(":")
    return int(keyword_id), market, Device(device)


def _spec(wanted: KeywordItem, content_type: ContentType, device: Device) -> SearchSpec:
    return SearchSpec(
        q=wanted.keyword,
        content_type=content_type,
        device=device,
        location=wanted.location,
        google_domain=wanted.google_domain,
        gl=wanted.gl,
        hl=wanted.hl,
    )


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
        "ai_overview": page.has_ai_overview,
        "source": source,
    }
    return {
        "serp": {**key, **serp},
        "results": [{**key, "rank": rank, **row} for rank, row in enumerate(rows, start=1)],
    }


def _row(result: SerpResult) -> dict[str, Any]:
    domain = registrable_domain(result.url) or result.domain
    video_id = youtube_video_id(result.url)
    channel_ref = None if video_id else youtube_channel_ref(result.url)
    return {
        "position": result.overall_position,
        "block_position": result.block_position,
        "url": result.url,
        "canonical_url": canonical_url(result.url) or result.url,
        "domain": YOUTUBE if video_id or channel_ref else domain,
        "title": result.title,
        "snippet": result.snippet,
        "published_at": result.date_utc or result.date,
        "source": result.source,
        "video_id": video_id,
        "channel_ref": channel_ref,
    }
