"""The chunk worker: own a chunk, work its items, settle what comes, give the chunk back.

One page on purpose. Whatever goes wrong in between is one of three things: the chunk is no longer
ours (stop, settle nothing), the work raised (a bug: the chunk is given back and looked at later,
and after a few times its items fail), or this process dies (the lifeline takes the chunk over).
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from datetime import datetime

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.config import PipelineConfig
from serpline.domain.errors import ErrorCategory, LeaseLost
from serpline.domain.names import JobPriority, PhaseName, PipelineMode
from serpline.domain.outcomes import Outcome, Reject, Snooze
from serpline.domain.retry import RetryStrategy
from serpline.phases.base import LeaseCheck, Phase, Work
from serpline.pipeline.lifeline import Lifeline
from serpline.pipeline.settler import Settler
from serpline.robustness.state_tracker import StateTracker
from serpline.store import chunks
from serpline.store.chunks import ItemRow, OwnedChunk
from serpline.store.database import Database
from serpline.store.wakeups import WakeUp, wake

log = get(__name__)

CRASHES_MAX = 3
CRASH_DELAY_SECONDS = 10.0


def strategy_for(mode: PipelineMode, attempts: int) -> RetryStrategy:
    """How items of a run are retried; a TESTING run does not make people wait."""
    if mode is PipelineMode.TESTING:
        return RetryStrategy(max_attempts=attempts, base_delay=0.2, max_delay=2.0)
    return RetryStrategy(max_attempts=attempts, base_delay=2.0, max_delay=300.0)


class ChunkWorker:
    """Works chunks for one process, under the lease that its lifeline keeps."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        phases: Mapping[PhaseName, Phase],
        tracker: StateTracker,
        lifeline: Lifeline,
    ) -> None:
        self._database = database
        self._clock = clock
        self._phases = phases
        self._tracker = tracker
        self._lifeline = lifeline

    async def work(self, chunk_id: int) -> bool:
        """The handler of a chunk's wake-up; False if the chunk was not to be had."""
        async with self._database.transaction() as conn:
            chunk = await chunks.claim(conn, chunk_id, self._lifeline.worker_id)
            items = await chunks.load(conn, chunk, self._clock.now()) if chunk else []
        if chunk is None:
            return False
        with self._lifeline.holding(chunk.id, chunk.epoch) as lease:
            try:
                again_at = await self._work(chunk, items, lease)
            except LeaseLost as lost:
                # Taken over, or its run was paused or cancelled: in the latter cases it is still
                # ours to give back.
                log.warning("chunk.lost", action="chunk.lost", chunk=chunk.id, reason=str(lost))
                again_at = None
            except Exception:
                await self._crashed(chunk)
                raise
            with suppress(LeaseLost):
                await self._release(chunk, again_at)
        return True

    async def _work(
        self, chunk: OwnedChunk, items: list[ItemRow], lease: LeaseCheck
    ) -> datetime | None:
        phase = self._phases[chunk.lane.phase]
        config = PipelineConfig.from_json(chunk.config)
        settler = Settler(
            self._tracker,
            chunk,
            attempts={row.item: row.attempts for row in items},
            strategy=strategy_for(PipelineMode(chunk.mode), config.retry_attempts),
            write=phase.write,
        )
        work = Work(chunk, config, self._database, self._clock, lease, settler.flush)
        try:
            async with aclosing(self._outcomes(phase, work, items)) as outcomes:
                async for outcome in outcomes:
                    if isinstance(outcome, Snooze) and outcome.until is not None:
                        work.look_again(outcome.until)
                    await settler.add(outcome)
            await settler.flush()
        except BaseException:
            await settler.salvage()
            raise
        return work.look_again_at

    async def _outcomes(
        self, phase: Phase, work: Work, items: list[ItemRow]
    ) -> AsyncGenerator[Outcome, None]:
        if work.chunk.crashes >= CRASHES_MAX:
            error = f"the work raised {work.chunk.crashes} times; see the dead letters"
            for row in items:
                yield Reject(row.item, ErrorCategory.INTERNAL, error)
        elif items:
            async with aclosing(phase.work(work, items)) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def _release(self, chunk: OwnedChunk, again_at: datetime | None) -> None:
        async with self._database.transaction() as conn:
            done = await chunks.release(conn, chunk, look_again_at=again_at, now=self._clock.now())
            if done:
                await wake(conn, [WakeUp("run", str(chunk.run_id), JobPriority.HIGH)])

    async def _crashed(self, chunk: OwnedChunk) -> None:
        async with self._database.transaction() as conn:
            await chunks.crashed(conn, chunk, CRASH_DELAY_SECONDS * 2**chunk.crashes)
