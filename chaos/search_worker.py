"""A phase whose items are searches, and a worker's parts in virtual time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from harness.guarded import rows
from harness.inline import METRICS, TravelClock
from harness.scripted import ScriptedPhase, make_tables, script
from harness.worker_parts import WorkerParts, create_run

from chaos.search_client import SearchClient, search_client
from serpline.config.run import PipelineConfig
from serpline.core.clock import SystemClock
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.outcomes import Done, Outcome
from serpline.phases.base import Work
from serpline.phases.tools import as_done
from serpline.robustness.guard import CallScope
from serpline.robustness.policies import ProviderPolicy
from serpline.store.runs.chunks import ItemRow


class SearchPhase(ScriptedPhase):
    """A phase whose items are searches; work buys ``at_once`` of them at a time."""

    def __init__(self, client: SearchClient, chunk_size: int, at_once: int) -> None:
        super().__init__(METRICS.phase, chunk_size)
        self._client = client
        self._at_once = at_once

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Buy a search per item, as a real phase does."""
        scope = CallScope(
            "chaos",
            run_id=work.chunk.run_id,
            chunk_id=work.chunk.id,
            epoch=work.chunk.epoch,
            lease=work.lease,
        )

        async def search(row: ItemRow) -> Outcome:
            try:
                await self._client.buy(row.item, scope)
            except (ProviderError, CallRefused) as error:
                return work.retries.outcome_for(row.item, error)
            return Done(row.item)

        async for outcome in as_done(search, items, self._at_once):
            yield outcome


@dataclass(slots=True)
class SearchWorker:
    """One worker, and a clock that a row sets ahead. Leases use real time.

    Chunks wait by the database's clock, so skipped time is subtracted from their waits.
    """

    client: SearchClient
    clock: TravelClock
    parts: WorkerParts
    started: float = field(default=0.0)
    skipped_seconds: float = field(default=0.0)

    async def start(self, items: Sequence[str], attempts: int = 3) -> None:
        """Create and plan a run of one lane with these items."""
        database, config = self.client.database, PipelineConfig(retry_attempts=attempts)
        run_id = await create_run(database, [METRICS], config)
        await script(database, run_id, {METRICS: items})
        await self.parts.orchestrator.advance_and_plan(run_id)

    async def work_due_chunks(self, at_once: int) -> int:
        """Work on the chunks that are due in virtual time; returns how many."""
        await self._shorten_waits()
        query = (
            "SELECT id FROM chunks WHERE status = 'ready' AND next_check_at <= now() ORDER BY id"
        )
        due = [row.id for row in await rows(self.client.database, query)]
        for start in range(0, len(due), at_once):
            await asyncio.gather(
                *(self.parts.worker.work(id_) for id_ in due[start : start + at_once])
            )
        return len(due)

    def skip_time(self, seconds: float) -> None:
        """Skip ``seconds`` of virtual time."""
        self.clock.ahead_seconds += seconds
        self.clock.frozen_seconds += seconds
        self.skipped_seconds += seconds

    async def seconds_to_next_check(self) -> float | None:
        """Seconds until a chunk is due; None if all are done."""
        await self._shorten_waits()
        query = (
            "SELECT extract(epoch FROM min(next_check_at) - now())::float FROM chunks"
            " WHERE status <> 'done'"
        )
        ((seconds,),) = await rows(self.client.database, query)
        return None if seconds is None else float(seconds)

    async def _shorten_waits(self) -> None:
        passed, self.skipped_seconds = self.skipped_seconds, 0.0
        query = (
            "UPDATE chunks SET next_check_at = next_check_at - make_interval(secs => :passed)"
            " RETURNING id"
        )
        await rows(self.client.database, query, passed=passed)


@asynccontextmanager
async def search_worker(
    url: str,
    environment: Mapping[str, str],
    how: ProviderPolicy,
    clock: TravelClock,
    *,
    chunk_size: int,
    at_once: int,
) -> AsyncIterator[SearchWorker]:
    """A running worker whose only phase buys searches."""
    async with search_client(url, environment, how, clock) as client:
        database = client.database
        await make_tables(database)
        phases = {METRICS.phase: SearchPhase(client, chunk_size, at_once)}
        parts = WorkerParts.make(
            database, clock, phases, lease_clock=SystemClock(), before_settle=client.guard.flush
        )
        async with parts.lifeline.running():
            yield SearchWorker(client, clock, parts)
