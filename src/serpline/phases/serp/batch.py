"""One ScaleSERP batch, from intention to its end: created, filled and started exactly once.

Every step stores what it is about to do, does it, and stores what came of it. Whoever takes the
chunk over repeats nothing blindly: once a call without an answer can no longer take effect, he
looks for the name before a create, for the searches that are there before an add, for whether it
has run before a start. The vendor has no "completed": a
batch returns to idle and its results count has risen. What a failed call means is decided in
``domain/repair``; nothing that may have been paid for is given up while it may still come.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from serpline.core.ids import secret_path
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.outcomes import Outcome, Reject
from serpline.domain.repair import BatchShape, Rung, Verdict, after_failure, history, is_started
from serpline.domain.retry import cap_retry_after
from serpline.domain.states import BatchStatus
from serpline.phases.base import Work
from serpline.phases.serp.desk import ERROR_CHARS_MAX, Desk, Step
from serpline.phases.serp.ingest import ingest
from serpline.phases.tools import Tools
from serpline.providers.scaleserp.batches import Batch
from serpline.providers.scaleserp.client import SEARCHES_PER_ADD_MAX
from serpline.providers.scaleserp.errors import PROVIDER, is_gone
from serpline.providers.scaleserp.spec import SEARCHES_TYPE, BatchSearch, SearchSpec
from serpline.robustness.budget import BudgetSpent
from serpline.store.runs import batches
from serpline.store.runs.batches import BatchRow, Search

LOOK_SECONDS_MAX = 300.0
# A started batch that is idle for so many polls, without a result set, was stopped over there.
IDLE_POLLS_MAX = 20
# Credits come back when a person buys some, or with the next month.
QUOTA_POLLS = 10


class BatchOverError(ProviderError):
    """The batch will never bring anything."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"scaleserp: {why}", provider=PROVIDER, category=ErrorCategory.TIMEOUT, permanent=True
        )


async def intend(
    tools: Tools, work: Work, items: Sequence[str], rung: Rung, shape: BatchShape
) -> BatchRow:
    """Store the intention: the name a create will carry, the secret of its callback."""
    chunk = work.chunk
    async with work.database.transaction() as conn:
        generation, _ = await batches.made_so_far(conn, chunk)
        name = f"serpline {chunk.run_id} {chunk.lane.content_type} {chunk.no}.{generation}"
        return await batches.intend(
            conn,
            chunk,
            provider=PROVIDER,
            name=name,
            secret_path=secret_path(),
            generation=generation,
            rung=rung,
            priority=shape.priority,
            items=items,
            now=work.clock.now(),
        )


class SerpBatch:
    """Drives one batch under its chunk's lease. It waits by giving the chunk back."""

    def __init__(
        self, tools: Tools, work: Work, batch: BatchRow, specs: Mapping[str, SearchSpec]
    ) -> None:
        self._tools = tools
        self._work = work
        self._desk = Desk(tools, work, batch)
        self._specs = specs
        # What was sent in an earlier life may have arrived although we never heard of it.
        self._inherited = True
        self._price: float | None = None
        self.gave_up: Callable[[Search], Outcome] | None = None
        """What becomes of a search when nothing can be done for any, until a person does it."""

    async def outcomes(self) -> AsyncGenerator[Step, None]:
        """Go as far as it goes; yields what the batch brought, or what its end means for items."""
        try:
            while await self._step():
                if self._desk.row.status is BatchStatus.READY:
                    async for step in ingest(self._desk):
                        yield step
                    return
        except CallRefused as refused:
            async for step in self._refused(refused):
                yield step
        except ProviderError as error:
            async for step in self._after(error):
                yield step

    async def _step(self) -> bool:
        """One transition; False when there is nothing to do but wait."""
        match self._desk.row.status:
            case BatchStatus.INTENDED:
                return await self._create()
            case BatchStatus.CREATED:
                await self._desk.advance("fill")
            case BatchStatus.FILLING:
                return await self._fill()
            case BatchStatus.FILLED:
                await self._intend_start()
            case BatchStatus.STARTING:
                return await self._start()
            case BatchStatus.RUNNING:
                return await self._look()
            case _:
                return True
        return True

    async def _create(self) -> bool:
        desk, client = self._desk, self._tools.scaleserp
        doubt = await desk.doubt("create_batch")
        if doubt.sent_at is not None:
            if desk.may_arrive(doubt):
                return False
            found = await desk.call(client.find_batch_by_name(desk.row.name))
            if found is not None:
                await desk.advance("create", provider_batch_id=found.id)
                return True
        created = await desk.call(
            client.create_batch(
                desk.row.name,
                SEARCHES_TYPE[self._work.chunk.lane.content_type],
                notification_webhook=self._webhook(),
                priority=desk.row.priority,
            )
        )
        self._inherited = False
        await desk.advance("create", provider_batch_id=created.id)
        return True

    def _webhook(self) -> str | None:
        base = self._tools.webhook_base
        return f"{base}/webhooks/scaleserp/{self._desk.row.secret_path}" if base else None

    async def _fill(self) -> bool:
        desk = self._desk
        if self._inherited and desk.may_arrive(await desk.doubt("add_searches")):
            return False
        there = await self._searches_there() if self._inherited else set()
        missing = [item for item in desk.row.items if item not in there]
        for start in range(0, len(missing), SEARCHES_PER_ADD_MAX):
            part = missing[start : start + SEARCHES_PER_ADD_MAX]
            searches = [BatchSearch(item, self._specs[item]) for item in part]
            # Should the reply get lost, whoever comes next compares again.
            self._inherited = True
            await desk.call(self._tools.scaleserp.add_searches(desk.id, searches))
        await desk.advance("filled")
        return True

    async def _searches_there(self) -> set[str]:
        there: set[str] = set()
        page, pages = 1, 1
        while page <= pages:
            call = self._tools.scaleserp.searches_page(self._desk.id, page)
            found = await self._desk.call(call)
            there.update(search.custom_id for search in found.searches if search.custom_id)
            page, pages = page + 1, min(found.page_count, 100)
        return there

    async def _intend_start(self) -> None:
        seen = await self._desk.seen()
        if seen.searches_total_count > len(self._desk.row.items):
            raise BatchOverError("the batch holds more searches than were meant for it")
        estimate, self._price = self._estimate(), self._price_of(seen)
        tell: tuple[str, dict[str, Any]] | None = None
        if self._price > estimate:
            told = {"estimate": estimate, "price": self._price}
            tell = ("batch.price_above_estimate", told)
        await self._desk.advance(
            "intend_start",
            tell=tell,
            results_count=seen.results_count,
            next_result_set_id=seen.next_result_set_id,
            started_at=self._work.clock.now(),
        )
        self._inherited = False

    async def _start(self) -> bool:
        desk = self._desk
        if self._inherited:
            seen = await desk.seen()
            if self._has_started(seen):
                await desk.advance("started")
                return True
            self._price = self._price_of(seen)
            if desk.may_arrive(await desk.doubt("start_batch")):
                return False
            await desk.forgive_start()
        self._inherited = True
        price = self._estimate() if self._price is None else self._price
        await desk.call(self._tools.scaleserp.start(desk.id, credits_required=price))
        await desk.advance("started", started_at=self._work.clock.now())
        return True

    def _estimate(self) -> float:
        return sum(self._specs[item].credits for item in self._desk.row.items)

    def _price_of(self, seen: Batch) -> float:
        """What a start is charged: what the batch states, else what its searches should cost."""
        return seen.credits_required or self._estimate()

    def _has_started(self, seen: Batch) -> bool:
        before = (self._desk.row.results_count, self._desk.row.next_result_set_id)
        return not seen.is_idle or (seen.results_count, seen.next_result_set_id) != before

    async def _look(self) -> bool:
        desk = self._desk
        seen = await desk.seen()
        if await self._has_result(seen):
            return True
        if seen.is_queued:
            # The time it may take begins when it runs: others may be before it.
            await desk.note(started_at=self._work.clock.now())
        if self._is_overdue():
            raise BatchOverError("the batch has run for too long")
        poll = self._tools.batch_poll_seconds
        if seen.is_idle and self._runs_for_seconds() > IDLE_POLLS_MAX * poll:
            raise BatchOverError("the batch was stopped before it had a result")
        if desk.row.errors or desk.row.error_message:
            await desk.note(errors=0, error_message=None)
        desk.look_in(poll)
        return False

    async def _has_result(self, seen: Batch) -> bool:
        desk = self._desk
        if not seen.is_idle or seen.results_count <= (desk.row.results_count or 0):
            return False
        result_set = desk.row.next_result_set_id
        if result_set is None:
            newest = await desk.call(self._tools.scaleserp.results(desk.id))
            if not newest:
                return False
            result_set = newest[0].id
        await desk.advance("result", result_set_id=result_set)
        return True

    def _runs_for_seconds(self) -> float:
        started = self._desk.row.started_at
        return (self._work.clock.now() - started).total_seconds() if started else 0.0

    def _is_overdue(self) -> bool:
        return self._runs_for_seconds() > self._tools.batch_running_seconds_max

    async def _after(self, error: ProviderError) -> AsyncGenerator[Step, None]:
        """A failed call: wait, look again later, or come to an end."""
        try:
            verdict = await self._verdict(error)
        except CallRefused as refused:
            async for step in self._refused(refused):
                yield step
            return
        except ProviderError as other:
            # Not even certain what has become of it: what is certain has to be found out first.
            error, verdict = other, Verdict.LOOK_AGAIN
        desk, poll = self._desk, self._tools.batch_poll_seconds
        match verdict:
            case Verdict.WAIT:
                polls = QUOTA_POLLS if error.category is ErrorCategory.QUOTA else 1
                wait = max(polls * poll, cap_retry_after(error.retry_after_seconds))
                await desk.failed(error, wait, counts=False)
            case Verdict.LOOK_AGAIN:
                wait = min(poll * 2.0 ** min(desk.row.errors, 10), LOOK_SECONDS_MAX)
                wait = max(wait, cap_retry_after(error.retry_after_seconds))
                await desk.failed(error, wait, counts=True)
            case Verdict.GIVE_UP:
                await desk.note(errors=0, error_message=str(error)[:ERROR_CHARS_MAX])

                def failed(search: Search, error: ProviderError = error) -> Outcome:
                    told = history(search.error, f"{desk.label}: {error}")
                    return Reject(search.item, error.category, told)

                async for step in self._give_up(failed):
                    yield step
            case Verdict.NEXT_RUNG:
                event = "ingest" if desk.row.pages_ingested else "lose"
                async for step in desk.end(
                    event, error.category, str(error), str(error)[:ERROR_CHARS_MAX]
                ):
                    yield step

    async def _verdict(self, error: ProviderError) -> Verdict:
        row = self._desk.row
        is_over = isinstance(error, BatchOverError)
        gone = is_gone(error) and row.provider_batch_id is not None and await self._is_gone()
        verdict = after_failure(
            error, row.status, row.errors + 1, gone=gone or is_over, overdue=self._is_overdue()
        )
        if verdict is Verdict.NEXT_RUNG and not gone and not await self._let_go():
            return Verdict.LOOK_AGAIN
        return verdict

    async def _is_gone(self) -> bool:
        """Whether the batch is not listed either: one 404 alone would cost what was paid."""
        name = self._desk.row.name
        found = await self._desk.call(self._tools.scaleserp.find_batch_by_name(name))
        return found is None or found.id != self._desk.id

    async def _let_go(self) -> bool:
        """See to it that a batch costs nothing more; False if it has something to bring yet."""
        desk, client = self._desk, self._tools.scaleserp
        if desk.row.status is BatchStatus.RUNNING:
            seen = await desk.seen()
            if not seen.is_idle:
                await desk.call(client.stop(desk.id))
            if await self._has_result(await desk.seen()):
                return False
            if seen.is_queued:
                await desk.forgive_start(is_refunded=True)  # as one that is stopped in the queue is
            return True
        if desk.row.status is BatchStatus.STARTING:
            if self._has_started(await desk.seen()):
                await desk.advance("started")
                return False
            await desk.call(client.delete_batch(desk.id))
            await desk.forgive_start()
        elif not is_started(desk.row.status) and desk.row.provider_batch_id is not None:
            # It cannot cost anything; over there it is forgotten in two months.
            with suppress(ProviderError, CallRefused):
                await desk.call(client.delete_batch(desk.id))
        return True

    async def _refused(self, refused: CallRefused) -> AsyncGenerator[Step, None]:
        """Our own guard said no: a wait; or, for this run, a no for good, and the batch stays."""
        desk, retries = self._desk, self._work.retries
        if not refused.permanent:
            wait = retries.wait("", refused)
            if isinstance(refused, BudgetSpent):
                await desk.waits_for(refused.reason)
            self._work.look_again(wait.until or self._work.clock.now(), wait.waits_on)
            return
        await desk.note(error_message=refused.reason[:ERROR_CHARS_MAX])
        async for step in self._give_up(lambda search: retries.outcome_for(search.item, refused)):
            yield step

    async def _give_up(self, outcome_of: Callable[[Search], Outcome]) -> AsyncGenerator[Step, None]:
        """What is left of it comes to an end now, and so does what waits behind it."""
        self.gave_up = outcome_of
        for search in await self._desk.left():
            yield search.item, outcome_of(search)
