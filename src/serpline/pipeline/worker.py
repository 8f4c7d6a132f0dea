"""The chunk worker: own a chunk, work its items, settle what comes, give the chunk back.

One page on purpose. Whatever goes wrong in between is one of three things: the chunk is no longer
ours (stop, settle nothing), the work raised (a bug: the chunk is given back and looked at later,
and after a few times its items fail), or this process dies (the lifeline takes the chunk over).
"""

from collections.abc import Mapping

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.config import PipelineConfig
from serpline.domain.errors import ErrorCategory, LeaseLost
from serpline.domain.names import JobPriority, PhaseName
from serpline.domain.outcomes import Reject, Snooze
from serpline.domain.retry import RetryStrategy
from serpline.phases.base import Phase, Work
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
            work = Work(
                chunk,
                PipelineConfig.from_json(chunk.config),
                self._database,
                self._clock,
                lease,
            )
            try:
                await self._work(work, items)
                await self._release(work)
            except LeaseLost as lost:
                log.warning("chunk.lost", action="chunk.lost", chunk=chunk.id, reason=str(lost))
            except Exception as bug:
                await self._crashed(chunk)
                raise bug
        return True

    async def _work(self, work: Work, items: list[ItemRow]) -> None:
        phase = self._phases[work.chunk.lane.phase]
        settler = Settler(
            self._tracker,
            work.chunk,
            attempts={row.item: row.attempts for row in items},
            strategy=RetryStrategy(max_attempts=work.config.retry_attempts),
            write=phase.write,
        )
        try:
            if work.chunk.crashes >= CRASHES_MAX:
                error = f"the work raised {work.chunk.crashes} times; see the dead letters"
                for row in items:
                    await settler.add(Reject(row.item, ErrorCategory.INTERNAL, error))
            elif items:
                async for outcome in phase.work(work, items):
                    if isinstance(outcome, Snooze) and outcome.until is not None:
                        work.look_again(outcome.until)
                    await settler.add(outcome)
            await settler.flush()
        finally:
            await settler.abandon()

    async def _release(self, work: Work) -> None:
        async with self._database.transaction() as conn:
            done = await chunks.release(
                conn, work.chunk, look_again_at=work.look_again_at, now=self._clock.now()
            )
            if done:
                await wake(conn, [WakeUp("run", str(work.chunk.run_id), JobPriority.HIGH)])

    async def _crashed(self, chunk: OwnedChunk) -> None:
        async with self._database.transaction() as conn:
            await chunks.crashed(conn, chunk, CRASH_DELAY_SECONDS * 2**chunk.crashes)
