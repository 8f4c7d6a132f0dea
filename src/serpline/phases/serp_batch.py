"""One ScaleSERP batch, from intention to ingested: created, filled and started exactly once.

Every step stores what it is about to do, does it, and stores what came of it. Whoever takes the
chunk over repeats nothing blindly: before a create he looks for the name, before an add for the
searches that are there, before a start for whether it has run. The vendor has no "completed": a
batch returns to idle and its results count has risen.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from serpline.core.ids import secret_path
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.http import ProviderCall
from serpline.domain.outcomes import Outcome, Retry
from serpline.domain.states import BatchStatus
from serpline.phases.base import Work
from serpline.phases.tools import Tools
from serpline.providers.scaleserp.batches import Batch, ResultSet
from serpline.providers.scaleserp.client import SEARCHES_PER_ADD_MAX
from serpline.providers.scaleserp.errors import PROVIDER, is_gone
from serpline.providers.scaleserp.records import BatchRecord, by_custom_id
from serpline.providers.scaleserp.spec import SEARCHES_TYPE, BatchSearch, SearchSpec
from serpline.providers.scaleserp.wire import SerpPage
from serpline.store import batches
from serpline.store.batches import BatchRow

T = TypeVar("T")

LOOKS_FAILED_MAX = 8
LOOK_SECONDS_MAX = 300.0
RUNNING_HOURS_MAX = 24

Step = tuple[str, SerpPage | Outcome]


class SerpBatch:
    """Drives one batch under its chunk's lease. It waits by giving the chunk back."""

    def __init__(
        self, tools: Tools, work: Work, batch: BatchRow, specs: Mapping[str, SearchSpec]
    ) -> None:
        self._tools = tools
        self._work = work
        self._batch = batch
        self._specs = specs
        # What was sent in an earlier life may have arrived although we never heard of it.
        self._inherited = True

    @classmethod
    async def intend(cls, tools: Tools, work: Work, items: Sequence[str]) -> BatchRow:
        """Store the intention: the name a create will carry, the secret of its callback."""
        chunk = work.chunk
        async with work.database.transaction() as conn:
            generation = await batches.generations(conn, chunk)
            name = f"serpline {chunk.run_id} {chunk.lane.content_type} {chunk.no}.{generation}"
            return await batches.intend(
                conn,
                chunk,
                provider=PROVIDER,
                name=name,
                secret_path=secret_path(),
                generation=generation,
                items=items,
                now=work.clock.now(),
            )

    async def outcomes(self) -> AsyncGenerator[Step, None]:
        """Go as far as it goes; yields what the batch brought, or what its end means for items."""
        try:
            while await self._step():
                if self._batch.status is BatchStatus.READY:
                    async for step in self._ingest():
                        yield step
                    return
        except CallRefused as refused:
            if refused.permanent:
                async for step in self._lose(refused):
                    yield step
            else:
                wait = self._work.retries.wait("", refused)
                self._work.look_again(wait.until or self._work.clock.now(), wait.waits_on)
        except ProviderError as error:
            async for step in self._after(error):
                yield step

    async def _step(self) -> bool:
        """One transition; False when there is nothing to do but wait."""
        match self._batch.status:
            case BatchStatus.INTENDED:
                return await self._create()
            case BatchStatus.CREATED:
                await self._advance("fill")
            case BatchStatus.FILLING:
                await self._fill()
            case BatchStatus.FILLED:
                await self._intend_start()
            case BatchStatus.STARTING:
                await self._start()
            case BatchStatus.RUNNING:
                return await self._look()
            case _:
                return True
        return True

    async def _create(self) -> bool:
        now = self._work.clock.now()
        sent_at = self._batch.sent_at
        if sent_at is not None:
            # A create may be under way or lost: wait until it can no longer arrive, then look.
            grace_ends = sent_at + timedelta(seconds=1.2 * self._tools.batch_call_seconds + 1)
            if now < grace_ends:
                self._work.look_again(grace_ends)
                return False
            found = await self._call(self._tools.scaleserp.find_batch_by_name(self._batch.name))
            if found is not None:
                await self._advance("create", provider_batch_id=found.id)
                return True
        await self._note(sent_at=now)
        created = await self._call(
            self._tools.scaleserp.create_batch(
                self._batch.name,
                SEARCHES_TYPE[self._work.chunk.lane.content_type],
                notification_webhook=self._webhook(),
            )
        )
        self._inherited = False
        await self._advance("create", provider_batch_id=created.id)
        return True

    def _webhook(self) -> str | None:
        base = self._tools.webhook_base
        return f"{base}/webhooks/scaleserp/{self._batch.secret_path}" if base else None

    async def _fill(self) -> None:
        there = await self._searches_there() if self._inherited else set()
        missing = [item for item in self._batch.items if item not in there]
        for start in range(0, len(missing), SEARCHES_PER_ADD_MAX):
            part = missing[start : start + SEARCHES_PER_ADD_MAX]
            searches = [BatchSearch(item, self._specs[item]) for item in part]
            # Should the reply get lost, whoever comes next compares again.
            self._inherited = True
            await self._call(self._tools.scaleserp.add_searches(self._id, searches))
        await self._advance("filled")

    async def _searches_there(self) -> set[str]:
        there: set[str] = set()
        page, pages = 1, 1
        while page <= pages:
            found = await self._call(self._tools.scaleserp.searches_page(self._id, page))
            there.update(search.custom_id for search in found.searches if search.custom_id)
            page, pages = page + 1, min(found.page_count, 100)
        return there

    async def _intend_start(self) -> None:
        seen = await self._seen()
        await self._advance(
            "intend_start",
            results_count=seen.results_count,
            next_result_set_id=seen.next_result_set_id,
        )
        self._inherited = False

    async def _start(self) -> None:
        if self._inherited and self._has_started(await self._seen()):
            await self._advance("started", started_at=self._work.clock.now())
            return
        self._inherited = True
        cost = sum(self._specs[item].credits for item in self._batch.items)
        await self._call(self._tools.scaleserp.start(self._id, credits_required=cost))
        await self._advance("started", started_at=self._work.clock.now())

    def _has_started(self, seen: Batch) -> bool:
        before = (self._batch.results_count, self._batch.next_result_set_id)
        return not seen.is_idle or (seen.results_count, seen.next_result_set_id) != before

    async def _look(self) -> bool:
        seen = await self._seen()
        if seen.is_idle and seen.results_count > (self._batch.results_count or 0):
            result_set = self._batch.next_result_set_id
            if result_set is None:
                newest = await self._call(self._tools.scaleserp.results(self._id))
                result_set = newest[0].id
            await self._advance("result", result_set_id=result_set)
            return True
        now = self._work.clock.now()
        began = self._batch.started_at or now
        if now - began > timedelta(hours=RUNNING_HOURS_MAX):
            raise ProviderError(
                f"scaleserp: batch {self._batch.name} has run for {RUNNING_HOURS_MAX} hours",
                provider=PROVIDER,
                category=ErrorCategory.TIMEOUT,
                permanent=True,
            )
        if self._batch.errors:
            await self._note(errors=0)
        self._work.look_again(now + timedelta(seconds=self._tools.batch_poll_seconds))
        return False

    async def _ingest(self) -> AsyncGenerator[Step, None]:
        found: ResultSet = await self._call(
            self._tools.scaleserp.result_set(self._id, self._batch.result_set_id or 0)
        )
        brought: set[str] = set()
        wanted = set(self._batch.items)
        for page in range(1, len(found.page_links) + 1):
            if page in self._batch.pages_ingested:
                continue
            records = await self._call(self._tools.scaleserp.page_file(found, page))
            for item, record in by_custom_id(records).items():
                if item in wanted and item not in brought:
                    brought.add(item)
                    yield item, _outcome(item, record)
            # The page counts as ingested only once its outcomes are committed.
            await self._work.settled()
            done = [*self._batch.pages_ingested, page]
            await self._note(pages_ingested=done)
        await self._work.settled()
        # What no page brought is still waiting; what was settled before is left alone by the
        # compare-and-set.
        async with self._work.database.transaction() as conn:
            left = await batches.still_waiting(conn, self._work.chunk, self._batch.items)
        for item in left:
            yield item, Retry(item, ErrorCategory.EMPTY, "the result set has no record of it")
        await self._work.settled()
        await self._advance("ingest")

    async def _after(self, error: ProviderError) -> AsyncGenerator[Step, None]:
        """A failed call: look again later; if it cannot be repaired, the batch is lost."""
        failures = self._batch.errors + 1
        if not (error.permanent or is_gone(error)) and failures < LOOKS_FAILED_MAX:
            await self._note(errors=failures)
            wait = min(self._tools.batch_poll_seconds * 2**failures / 2, LOOK_SECONDS_MAX)
            wait = max(wait, min(error.retry_after_seconds or 0.0, 12 * LOOK_SECONDS_MAX))
            self._work.look_again(self._work.clock.now() + timedelta(seconds=wait))
            return
        async for step in self._lose(error):
            yield step

    async def _lose(self, error: ProviderError | CallRefused) -> AsyncGenerator[Step, None]:
        await self._advance("lose", error_message=str(error)[:2000])
        for item in self._batch.items:
            if isinstance(error, ProviderError) and is_gone(error):
                yield item, Retry(item, error.category, str(error))
            else:
                yield item, self._work.retries.outcome_for(item, error)

    @property
    def _id(self) -> str:
        if self._batch.provider_batch_id is None:
            raise RuntimeError(f"batch {self._batch.name} has no id in state {self._batch.status}")
        return self._batch.provider_batch_id

    async def _seen(self) -> Batch:
        return await self._call(self._tools.scaleserp.get_batch(self._id))

    async def _call(self, call: ProviderCall[T]) -> T:
        """A call about the batch itself: never answered from the ledger, with our own deadline."""
        seconds = min(call.request.timeout_seconds, self._tools.batch_call_seconds)
        if call.operation == "page_file":
            return await self._tools.collect(self._work, call)
        bounded = replace(call, request=replace(call.request, timeout_seconds=seconds))
        return await self._tools.collect(self._work, bounded, ttl_seconds=0)

    async def _advance(self, event: str, **values: Any) -> None:
        async with self._work.database.transaction() as conn:
            self._batch = await batches.advance(
                conn, self._work.chunk, self._batch, event, **values
            )

    async def _note(self, **values: Any) -> None:
        async with self._work.database.transaction() as conn:
            self._batch = await batches.note(conn, self._work.chunk, self._batch, **values)


def _outcome(item: str, record: BatchRecord) -> SerpPage | Outcome:
    if record.page is not None:
        return record.page
    return Retry(item, ErrorCategory.SERVER, record.error or "the search failed")
