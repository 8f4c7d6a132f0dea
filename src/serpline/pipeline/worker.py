"""The chunk worker: claim a chunk, work on its items, settle the outcomes, release the chunk.

Four things can go wrong in between:

- The chunk is no longer ours: stop and settle nothing.
- The database is unavailable: release the chunk. It counts as no crash. If the release fails, the
  lifeline gives the chunk back later.
- The work raises or yields nothing for too long, which is a bug: release the chunk and try it
  later. Then an item that raises fails alone (``_isolating``). If the work still crashes after
  ``CRASHES_MAX`` times, its items fail.
- This process dies: another worker takes the chunk over and isolates the item that caused it
  (``quarantine``).
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.domain.errors import ErrorCategory, LeaseLost
from serpline.domain.names import JobPriority, PhaseName, PipelineMode
from serpline.domain.outcomes import Outcome, Reject, Retry, Snooze
from serpline.domain.phase_inputs import lack_of
from serpline.phases.base import LeaseCheck, Phase, Work
from serpline.pipeline import quarantine
from serpline.pipeline.lifeline import Lifeline
from serpline.pipeline.quarantine import Quarantine
from serpline.pipeline.settler import BeforeSettle, Settler, nothing_to_flush
from serpline.pipeline.silence import progress_deadline
from serpline.pipeline.state_tracker import Settled, StateTracker
from serpline.robustness.retry import RetryManager
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import chunks, releases
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.runs.retries import FailedAttempt, record_attempts

log = get(__name__)

CRASHES_MAX = 3
CRASH_DELAY_SECONDS = 10.0
SNOOZE_SECONDS = 5.0


class ChunkWorker:
    """Work on chunks for one process, under the lease that its lifeline keeps."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        phases: Mapping[PhaseName, Phase],
        tracker: StateTracker,
        lifeline: Lifeline,
        *,
        silence_seconds: float,
        retries: RetryManager | None = None,
        before_settle: BeforeSettle = nothing_to_flush,
    ) -> None:
        """``silence_seconds``: the longest time a chunk's work may take for its next outcome."""
        self._database = database
        self._clock = clock
        self._phases = phases
        self._tracker = tracker
        self._lifeline = lifeline
        self._retries = retries or RetryManager(clock=clock)
        self._before_settle = before_settle
        self._silence_seconds = silence_seconds
        self._quarantine = Quarantine()

    async def work(self, chunk_id: int) -> bool:
        """Handle a chunk's wake-up; return False if the chunk could not be claimed."""
        divisible = [name for name, phase in self._phases.items() if phase.divisible]
        async with self._quarantine.hold(alone=False):
            if await self._claim_and_work(chunk_id, divisible, suspect=False):
                return True
        async with self._database.transaction() as conn:
            if not await chunks.is_suspect(conn, chunk_id, divisible):
                return False
        async with self._quarantine.hold(alone=True):
            return await self._claim_and_work(chunk_id, divisible, suspect=True)

    async def _claim_and_work(
        self, chunk_id: int, divisible: Collection[PhaseName], *, suspect: bool
    ) -> bool:
        if not self._lifeline.has_lease:
            return False  # the timer wakes the chunk again, for a worker that has a lease
        with self._lifeline.at_work(chunk_id):
            loaded_at = self._clock.now()
            async with self._database.transaction() as conn:
                chunk = await chunks.claim(
                    conn, chunk_id, self._lifeline.worker_id, divisible, suspect=suspect
                )
                items = await chunks.load(conn, chunk, loaded_at) if chunk else []
            if chunk is None:
                return False
            with self._lifeline.holding(chunk.id, chunk.epoch) as lease:
                await self._work_and_release(chunk, items, lease, loaded_at, suspect=suspect)
        return True

    async def _work_and_release(
        self,
        chunk: OwnedChunk,
        items: list[ItemRow],
        lease: LeaseCheck,
        loaded_at: datetime,
        *,
        suspect: bool,
    ) -> None:
        work, at_once = None, True
        try:
            work, settled = await self._work(chunk, items, lease, suspect=suspect)
            at_once = settled or not lease()
        except LeaseLost as lost:
            # Either the chunk was taken over, or its run was paused or cancelled. In the latter
            # cases this worker still has to release it.
            log.warning("chunk.lost", action="chunk.lost", chunk=chunk.id, reason=str(lost))
        except (DatabaseUnavailable, TransactionConflict) as error:
            log.warning("chunk.broken", action="chunk.broken", chunk=chunk.id, reason=str(error))
            at_once = False
        except Exception as error:
            await self._crashed(chunk, error)
            raise
        except BaseException:
            with suppress(LeaseLost, DatabaseUnavailable, TransactionConflict):
                await self._release(chunk, None, loaded_at, at_once=True)
            raise
        with suppress(LeaseLost):
            await self._release(chunk, work, loaded_at, at_once=at_once)

    async def _work(
        self, chunk: OwnedChunk, items: list[ItemRow], lease: LeaseCheck, *, suspect: bool
    ) -> tuple[Work, bool]:
        """Return the work, which knows what it waits for, and whether anything was settled."""
        phase = self._phases[chunk.lane.phase]
        config = PipelineConfig.from_json(chunk.config).of(chunk.lane.content_type)
        retries = self._retries.for_run(PipelineMode(chunk.mode), config.retry_attempts)
        settler = Settler(
            self._tracker,
            chunk,
            attempts={row.item: row.attempts for row in items if row.attempts},
            retries=retries,
            write=phase.write,
            before_settle=self._before_settle,
            isolating=chunk.crashes > 0,
        )
        work = Work(
            chunk,
            config,
            self._database,
            self._clock,
            lease,
            settler.flush,
            retries,
            self._lifeline.lapses,
        )
        outcomes = self._outcomes(phase, work, items, suspect=suspect)
        try:
            async with progress_deadline(self._silence_seconds) as progress, aclosing(outcomes):
                async for outcome in outcomes:
                    progress()
                    if isinstance(outcome, Snooze):
                        later = self._clock.now() + timedelta(seconds=SNOOZE_SECONDS)
                        work.check_again(outcome.until or later, outcome.waits_on, outcome.wait)
                    await settler.add(outcome)
            await settler.flush()
        except BaseException:
            await settler.flush_after_error()
            raise
        return work, settler.total != Settled()

    async def _outcomes(
        self, phase: Phase, work: Work, items: list[ItemRow], *, suspect: bool
    ) -> AsyncGenerator[Outcome, None]:
        chunk = work.chunk
        lack = lack_of(chunk.lane.phase, self._lifeline.providers)
        if lack is not None and not work.config.is_replay:
            # Another worker has the key, or ``advance`` ends the lane.
            log.warning("chunk.left", action="chunk.left", chunk=chunk.id, reason=lack)
            work.check_again(self._clock.now() + timedelta(seconds=SNOOZE_SECONDS))
        elif chunk.crashes >= CRASHES_MAX:
            error = f"the work crashed {chunk.crashes} times; last error: {chunk.last_error}"
            for row in items:
                yield Reject(row.item, ErrorCategory.INTERNAL, error)
        elif suspect:
            async with aclosing(self._narrowing(phase, work, items)) as outcomes:
                async for outcome in outcomes:
                    yield outcome
        elif items:
            is_split = chunk.crashes and phase.divisible
            stream = self._isolating(phase, work, items) if is_split else phase.work(work, items)
            async with aclosing(stream) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def _isolating(
        self, phase: Phase, work: Work, items: Sequence[ItemRow]
    ) -> AsyncGenerator[Outcome, None]:
        """Work on a chunk whose work raised before: only the item that raises loses an attempt.

        If the work raises again, the remaining items are split into tenths, down to single items.
        """
        remaining = {row.item: row for row in items}
        try:
            async with aclosing(phase.work(work, items)) as outcomes:
                async for outcome in outcomes:
                    remaining.pop(outcome.item, None)
                    yield outcome
            return
        except (LeaseLost, DatabaseUnavailable, TransactionConflict):
            raise
        except Exception as error:
            if not remaining:
                raise
            if len(items) == 1:
                log.exception("item.raised", action="item.raised", chunk=work.chunk.id)
                yield Retry(items[0].item, ErrorCategory.INTERNAL, described(error))
                return
        for group in quarantine.tenths(list(remaining.values())):
            async with aclosing(self._isolating(phase, work, group)) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def _narrowing(
        self, phase: Phase, work: Work, items: list[ItemRow]
    ) -> AsyncGenerator[Outcome, None]:
        """Work on a suspect chunk group by group. Each group is marked first and settled last."""
        poison = [row for row in items if quarantine.is_poison(row, work.chunk.planned)]
        for row in poison:
            error = f"poison: {row.deaths} workers died working on it, the last ones on it alone"
            yield Reject(row.item, ErrorCategory.POISON, error)
        innocent = [row for row in items if row not in poison]
        for group in quarantine.groups(innocent, work.chunk.planned):
            async with self._database.transaction() as conn:
                await chunks.mark(conn, work.chunk, [row.item for row in group])
            async with aclosing(phase.work(work, group)) as outcomes:
                async for outcome in outcomes:
                    yield outcome
            await work.settle()

    async def _release(
        self, chunk: OwnedChunk, work: Work | None, loaded_at: datetime, *, at_once: bool
    ) -> None:
        # The chunk's next owner must find every paid reply.
        await self._before_settle()
        async with self._database.transaction() as conn:
            is_done = await releases.release(
                conn,
                chunk,
                due_in_seconds=work.due_in_seconds if work else None,
                now=self._clock.now(),
                loaded_at=loaded_at,
                at_once=at_once,
                waits_on=work.waits_on if work else (),
                wait=work.wait if work else None,
            )
            if is_done:
                await wake(conn, [WakeUp("run", str(chunk.run_id), JobPriority.HIGH)])

    async def _crashed(self, chunk: OwnedChunk, error: Exception) -> None:
        delay_seconds = CRASH_DELAY_SECONDS * 2**chunk.crashes
        reason = described(error)
        attempt = FailedAttempt(
            f"chunk {chunk.no}", chunk.crashes + 1, delay_seconds, ErrorCategory.INTERNAL, reason
        )
        async with self._database.transaction() as conn:
            await releases.release_crashed(conn, chunk, delay_seconds, reason)
            await record_attempts(conn, chunk, self._clock.now(), [attempt])
