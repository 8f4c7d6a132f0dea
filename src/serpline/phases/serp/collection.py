"""Phase 2: the ranking pages for every keyword × market × device, per content type.

A chunk holds the searches of one ScaleSERP batch. The worker releases it while the batch runs; a
webhook or the next poll makes it due again. Searches without a result go through the stages of
``domain/repair``: further batches, then real time. Small runs search in real time from the start.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from serpline.config.backfill import GivenResultSet
from serpline.config.run import PipelineConfig
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError, ReplyNotStored
from serpline.domain.names import PhaseName, PipelineMode
from serpline.domain.outcomes import Done, NotStored, Outcome, Reject, Skip, Snooze
from serpline.domain.repair import RepairStage, history, is_incident, shape_of, stage_of
from serpline.domain.retry import cap_retry_after
from serpline.domain.waits import WaitCause, WaitReason
from serpline.phases.base import Work
from serpline.phases.freshness import bought_since
from serpline.phases.serp.batch import SerpBatch, intend, take
from serpline.phases.serp.batch_session import BatchSession
from serpline.phases.serp.repair import QUOTA_POLLS
from serpline.phases.serp.rows import collected
from serpline.phases.serp.scheduled import scheduled_batch
from serpline.phases.serp.searches import item_key, search_spec
from serpline.phases.tools import Tools, as_done
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.providers.scaleserp.wire import SerpPage
from serpline.store.database import Connection
from serpline.store.results import inputs
from serpline.store.results.collection import collected_at
from serpline.store.rows import insert_rows
from serpline.store.runs import batches, plans
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.runs.searches import Search, unfinished
from serpline.store.tables.results import serp_results, serps


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
        elif searches:
            given = _next_given(work, made) or (None if made else await scheduled_batch(work))
            if given is not None:
                items_given = [search.item for search in searches]
                session = await take(self._tools, work, items_given, given, generation=made)
                searches = []
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
        times = await self._collected_at(session.work, session.row.items)
        driver = SerpBatch(session, specs, waiting)
        async with aclosing(driver.outcomes()) as outcomes:
            async for item, page in outcomes:
                if isinstance(page, SerpPage):
                    at = times.get(item) or session.collected_at or session.work.clock.now()
                    yield collected(session.work, item, page, "batch", at)
                else:
                    yield page

    async def _in_real_time(
        self, work: Work, searches: Sequence[Search]
    ) -> AsyncGenerator[Outcome, None]:
        items = [search.item for search in searches]
        specs, times = await self._specs(work, items), await self._collected_at(work, items)
        is_stored = not work.config.buys_searches
        no_credits: list[Snooze] = []

        async def search(due: Search) -> Outcome:
            if no_credits:
                return replace(no_credits[0], item=due.item)
            call = self._tools.scaleserp.search(specs[due.item])
            try:
                page = await self._tools.collect(work, call, is_stored=is_stored)
            except ReplyNotStored as refused:
                tried = history(due.error, refused.reason)
                if work.config.is_replay:
                    return NotStored(due.item, tried)
                return Reject(due.item, ErrorCategory.EMPTY, tried)
            except CallRefused as refused:
                return work.retries.outcome_for(due.item, refused)
            except ProviderError as error:
                if error.category is ErrorCategory.QUOTA:
                    # The account has no credits: as for a batch, wait and use no attempt.
                    seconds = QUOTA_POLLS * self._tools.batch_poll_seconds
                    until = work.clock.now() + timedelta(seconds=seconds)
                    wait = WaitReason(WaitCause.QUOTA, PROVIDER)
                    no_credits.append(Snooze(due.item, str(error), until, wait=wait))
                    return no_credits[-1]
                if is_incident(error):
                    # The vendor reports an incident and charges nothing: wait, use no attempt.
                    seconds = max(
                        self._tools.batch_poll_seconds, cap_retry_after(error.retry_after_seconds)
                    )
                    until = work.clock.now() + timedelta(seconds=seconds)
                    wait = WaitReason(WaitCause.INCIDENT, PROVIDER)
                    return Snooze(due.item, str(error), until, wait=wait)
                outcome = work.retries.outcome_for(due.item, error)
                if isinstance(outcome, Snooze | Done | Skip):
                    return outcome
                return replace(outcome, error=history(due.error, f"real time: {outcome.error}"))
            at = times.get(due.item) or bought_since(work) if is_stored else work.clock.now()
            return collected(work, due.item, page, "real time", at)

        async with aclosing(as_done(search, searches, self._tools.call_concurrency)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _specs(self, work: Work, items: Sequence[str]) -> dict[str, SearchSpec]:
        keys = {item: item_key(item) for item in items}
        pairs = [(keyword_id, market) for keyword_id, market, _ in keys.values()]
        async with work.database.transaction() as conn:
            known = await inputs.keyword_items(conn, work.chunk.run_id, list(dict.fromkeys(pairs)))
        kind = work.chunk.lane.content_type
        return {
            item: search_spec(known[keyword_id, market], kind, device, work.config)
            for item, (keyword_id, market, device) in keys.items()
        }

    async def _collected_at(self, work: Work, items: Sequence[str]) -> dict[str, datetime]:
        """When the replaced run collected these searches; empty if this run replaces none."""
        replaced = work.config.replaces
        if replaced is None:
            return {}
        keys = {item: item_key(item) for item in items}
        async with work.database.transaction() as conn:
            kind = work.chunk.lane.content_type
            found = await collected_at(conn, replaced, kind, list(keys.values()))
        return {item: found[key] for item, key in keys.items() if key in found}

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write a row per search page and a row per result."""
        await insert_rows(conn, serps, [d.result["serp"] for d in done])
        await insert_rows(conn, serp_results, [r for d in done for r in d.result["results"]])


def _next_given(work: Work, made: int) -> GivenResultSet | None:
    """The given result set that the chunk tries next, after ``made`` batches; None if it had all.

    The batches of an earlier run with as many searches per batch are in the order of its chunks, so
    a chunk begins with its own.
    """
    given = work.config.result_sets.get(work.chunk.lane.content_type, ())
    return given[(work.chunk.no + made) % len(given)] if made < len(given) else None


def _split(
    config: PipelineConfig, searches: Sequence[Search], due: Set[str]
) -> tuple[list[Search], list[Search], RepairStage]:
    """The searches due in real time, those for the next batch, and that batch's stage.

    A run that buys no searches reads the stored replies to real-time searches. Searches of the
    earliest stage go first. If one of them is due, the batch takes all of them.
    """
    if not config.buys_searches:
        return [search for search in searches if search.item in due], [], RepairStage.FIRST
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
