"""A phase in a recomputation: it reads what an earlier run paid for, and makes no call.

Each item takes the first of these that exists:

1. what its stored replies say, read by this release;
2. the earlier run's own result, where the reply is gone or belongs to another run;
3. for items that the earlier run did not finish: reference data that is known by now;
4. nothing: the item is skipped, and its reason names the missing reply.

Times of purchase are at most the end of the earlier run. In any other run the phase works as it is.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.domain.outcomes import Done, NotStored, Outcome
from serpline.phases.base import Phase, Work
from serpline.phases.freshness import replay_of
from serpline.store.database import Connection
from serpline.store.results import copies
from serpline.store.runs.chunks import ItemRow, OwnedChunk

_COPIED: Any = object()


class _PastClock:
    """A clock whose time stands at the end of the earlier run."""

    def __init__(self, clock: Clock, at: datetime) -> None:
        self._clock = clock
        self._at = at

    def now(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class Recomputable:
    """A phase that can also recompute."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase
        self.name = phase.name
        self.plan_sql = phase.plan_sql
        self.divisible = phase.divisible

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return the phase's."""
        return self._phase.chunk_size(config)

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return the phase's."""
        return self._phase.plan_params(config)

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Work as the phase does; in a recomputation, see the module."""
        replay = replay_of(work.config) if work.config.is_replay else None
        if replay is None:
            async with aclosing(self._phase.work(work, items)) as outcomes:
                async for outcome in outcomes:
                    yield outcome
            return
        past = replace(work, clock=_PastClock(work.clock, replay.until))
        missing: set[str] = set()
        async with aclosing(self._phase.work(past, items)) as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, NotStored):
                    missing.add(outcome.item)
                else:
                    yield outcome
        copied = await self._copied(work, replay.run_id, missing)
        for item in copied:
            yield Done(item, _COPIED)
        if rest := [row for row in items if row.item in missing.difference(copied)]:
            known = replace(past, reads_known=True)
            async with aclosing(self._phase.work(known, rest)) as outcomes:
                async for outcome in outcomes:
                    yield outcome

    async def _copied(self, work: Work, run_id: UUID, missing: set[str]) -> set[str]:
        if not missing:
            return set()
        async with work.database.transaction() as conn:
            kind = work.chunk.lane.content_type
            return await copies.finished(conn, run_id, self.name, kind, sorted(missing))

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write the phase's results, and copy the earlier run's."""
        await self._phase.write(conn, chunk, [d for d in done if d.result is not _COPIED])
        copied = [d.item for d in done if d.result is _COPIED]
        earlier = PipelineConfig.from_json(chunk.config).replaces if copied else None
        if earlier is not None:
            await copies.copy(
                conn, earlier, chunk.run_id, self.name, chunk.lane.content_type, copied
            )
