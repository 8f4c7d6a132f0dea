"""One ScaleSERP batch, created, filled and started exactly once.

Each step stores its intention, makes the call and stores the result. An unacknowledged create, add
or start may still take effect and is not repeated until it no longer can. Then the chunk's next
owner checks first: it finds the batch by name before a create, lists the searches before an add,
and fetches the batch before a start.

The vendor has no "completed" state: a finished batch is idle and its results count has risen.
``repair`` handles failed calls.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from serpline.config.backfill import GivenResultSet
from serpline.core.ids import secret_path
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.names import BatchPriority, PipelineMode
from serpline.domain.repair import RepairStage
from serpline.domain.states import BatchStatus
from serpline.phases.base import Work
from serpline.phases.serp.announcement import wait_for_webhook
from serpline.phases.serp.batch_session import BatchSession, Step
from serpline.phases.serp.ingest import ingest
from serpline.phases.serp.repair import BatchOverError, BatchRepair
from serpline.phases.serp.scheduled import find_result_of_slot
from serpline.phases.tools import Tools
from serpline.providers.scaleserp.batches import Batch
from serpline.providers.scaleserp.client import SEARCHES_PER_ADD_MAX
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.spec import SEARCHES_TYPE, BatchSearch, SearchSpec
from serpline.store.runs import batches
from serpline.store.runs.searches import Search

# A started batch that stays idle for this many polls without a result set was stopped.
IDLE_POLLS_MAX = 20
_STOPPED = "the batch was stopped before it had a result"
_NOT_STARTED = "the provider did not start its scheduled batch"


async def intend(
    tools: Tools,
    work: Work,
    items: Sequence[str],
    *,
    stage: RepairStage,
    priority: BatchPriority,
    generation: int,
) -> BatchSession:
    """Store the intention to create a batch, with its name and the secret of its webhook.

    ``generation``: how many batches the chunk has had.
    """
    async with work.database.transaction() as conn:
        row = await batches.intend(
            conn,
            work.chunk,
            provider=PROVIDER,
            name=_name(work, generation),
            secret_path=secret_path(),
            generation=generation,
            stage=stage,
            priority=priority,
            items=items,
        )
    return BatchSession(tools, work, row, resumed=False)


async def take(
    tools: Tools,
    work: Work,
    items: Sequence[str],
    given: GivenResultSet,
    *,
    generation: int,
) -> BatchSession:
    """Store that the chunk takes a result set of a batch that it does not start."""
    priority = work.config.batch_priority_in(PipelineMode(work.chunk.mode))
    async with work.database.transaction() as conn:
        row = await batches.take(
            conn,
            work.chunk,
            provider=PROVIDER,
            name=_name(work, generation),
            secret_path=secret_path(),
            generation=generation,
            priority=priority,
            items=items,
            batch_id=given.batch_id,
            result_set_id=given.result_set_id,
            scheduled_for=given.scheduled_for,
            now=work.clock.now(),
        )
    return BatchSession(tools, work, row, resumed=True)


def _name(work: Work, generation: int) -> str:
    chunk = work.chunk
    return f"serpline {chunk.run_id} {chunk.lane.content_type} {chunk.no}.{generation}"


class SerpBatch:
    """Drives one batch under its chunk's lease. To wait, it releases the chunk."""

    def __init__(
        self, session: BatchSession, specs: Mapping[str, SearchSpec], waiting: Sequence[Search]
    ) -> None:
        """``waiting``: the chunk's searches for a later batch."""
        self._session = session
        self._client = session.tools.scaleserp
        self._specs = specs
        self._repair = BatchRepair(session, waiting)
        self._price = self._estimate()

    async def outcomes(self) -> AsyncGenerator[Step, None]:
        """Advance the batch as far as possible; yield its pages and its items' outcomes."""
        try:
            while await self._step():
                if self._session.row.status is BatchStatus.READY:
                    async for step in ingest(self._session):
                        yield step
                    return
        except CallRefused as refused:
            async for step in self._repair.handle_refusal(refused):
                yield step
        except ProviderError as error:
            async for step in self._repair.handle_failure(error):
                yield step

    async def _step(self) -> bool:
        """Make one transition; return False if the batch has to wait."""
        match self._session.row.status:
            case BatchStatus.INTENDED:
                return await self._create()
            case BatchStatus.CREATED:
                await self._session.advance("fill")
            case BatchStatus.FILLING:
                return await self._fill()
            case BatchStatus.FILLED:
                await self._intend_start()
            case BatchStatus.STARTING:
                return await self._start()
            case BatchStatus.RUNNING:
                return await self._poll()
            case _:
                return True
        return True

    async def _create(self) -> bool:
        session = self._session
        if session.is_in_doubt():
            return False
        made = None
        if session.resumed:
            made = await session.call(self._client.find_batch_by_name(session.row.name))
        if made is None:
            made = await session.change(
                self._client.create_batch(
                    session.row.name,
                    SEARCHES_TYPE[session.work.chunk.lane.content_type],
                    notification_webhook=self._webhook(),
                    priority=session.row.priority,
                )
            )
        await session.advance("create", provider_batch_id=made.id)
        return True

    def _webhook(self) -> str | None:
        base = self._session.tools.webhook_base
        return f"{base}/webhooks/scaleserp/{self._session.row.secret_path}" if base else None

    async def _fill(self) -> bool:
        session = self._session
        if session.is_in_doubt():
            return False
        added = await self._added_items() if session.resumed else set()
        missing = [item for item in session.row.items if item not in added]
        for start in range(0, len(missing), SEARCHES_PER_ADD_MAX):
            page = missing[start : start + SEARCHES_PER_ADD_MAX]
            searches = [BatchSearch(item, self._specs[item]) for item in page]
            await session.change(self._client.add_searches(session.id, searches))
        await session.advance("filled")
        return True

    async def _added_items(self) -> set[str]:
        added: set[str] = set()
        page, pages = 1, 1
        while page <= pages:
            call = self._client.searches_page(self._session.id, page)
            found = await self._session.call(call)
            added.update(search.custom_id for search in found.searches if search.custom_id)
            page, pages = page + 1, min(found.page_count, 100)
        return added

    async def _intend_start(self) -> None:
        batch = await self._session.fetch()
        if batch.searches_total_count > len(self._session.row.items):
            raise BatchOverError("the batch holds more searches than planned")
        estimate, self._price = self._estimate(), self._price_of(batch)
        run_events: list[tuple[str, dict[str, Any]]] = []
        if self._price > estimate:
            detail = {"estimate": estimate, "price": self._price}
            run_events.append(("batch.price_above_estimate", detail))
        await self._session.advance(
            "intend_start",
            run_events=run_events,
            results_count=batch.results_count,
            next_result_set_id=batch.next_result_set_id,
            started_at=self._session.work.clock.now(),
        )

    async def _start(self) -> bool:
        session = self._session
        if session.resumed:
            batch = await session.fetch()
            if session.has_started(batch):
                await session.advance("started")
                return True
            if session.is_in_doubt():
                return False
            self._price = self._price_of(batch)
            await session.void_start()
        await session.change(self._client.start(session.id, credits_required=self._price))
        await session.advance("started", started_at=session.work.clock.now())
        return True

    def _estimate(self) -> float:
        return sum(self._specs[item].credits for item in self._session.row.items)

    def _price_of(self, batch: Batch) -> float:
        """The credits of a start: as the batch states, else the estimate."""
        return batch.credits_required or self._estimate()

    async def _find_result(self, batch: Batch) -> int | None:
        slot = self._session.row.scheduled_for
        if slot is None:
            return await self._session.find_result(batch)
        each = max(self._specs[item].credits for item in self._session.row.items)
        return await find_result_of_slot(self._session, batch, slot, each)

    async def _poll(self) -> bool:
        session = self._session
        batch = await session.fetch()
        if (result_set := await self._find_result(batch)) is not None:
            run_events = await wait_for_webhook(session, result_set)
            if run_events is None:
                return False
            await session.advance("result", result_set_id=result_set, run_events=run_events)
            return True
        if batch.is_queued:
            # Time in the queue does not count towards the running time.
            await session.note(started_at=session.work.clock.now())
        if session.is_overdue:
            raise BatchOverError("the batch has run for too long")
        poll = session.tools.batch_poll_seconds
        if batch.is_idle and session.running_seconds > IDLE_POLLS_MAX * poll:
            raise BatchOverError(_NOT_STARTED if session.row.scheduled_for else _STOPPED)
        if session.row.errors or session.row.error_message:
            await session.note(errors=0, error_message=None)
        session.check_in(poll)
        return False
