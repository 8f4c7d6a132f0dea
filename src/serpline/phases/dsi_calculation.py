"""Phase 7: the Digital Share Index, from what is stored alone; no provider is asked.

Items are ``market:device:company``. The figures of a lane are computed in one go, since a share is
of a whole; a chunk then takes those of its companies. The combined lane weighs the figures that
the content types have already.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serpline.domain.config import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.outcomes import Done, Outcome, Skip
from serpline.phases.base import Work
from serpline.store import runs
from serpline.store.chunks import ItemRow, OwnedChunk
from serpline.store.database import Connection
from serpline.store.results import combined, scores
from serpline.store.rows import insert_rows
from serpline.store.tables.results import dsi_scores

if TYPE_CHECKING:
    from serpline.phases.dsi_figures import Figures


class DsiCalculationPhase:
    """Pure: the same stored inputs give the same figures, to the last bit."""

    name = PhaseName.DSI_CALCULATION
    plan_sql = scores.PLAN
    divisible = False

    def chunk_size(self, config: PipelineConfig) -> int:
        """A whole lane, as a rule: the computation is shared by all of it."""
        return 15_000

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """None of its own."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """The figures of each company."""
        if work.chunk.lane.content_type is ContentType.ALL:
            figures = await self._combined(work)
        else:
            figures = await self._typed(work)
        for row in items:
            found = figures.get(row.item)
            if found is None:
                yield Skip(row.item, "ranks in no content type that counts")
            else:
                yield Done(row.item, found)

    async def _typed(self, work: Work) -> "Figures":
        from serpline.phases import dsi_figures  # not at a worker's start: it takes its time

        chunk, config = work.chunk, work.config
        kind = chunk.lane.content_type
        async with work.database.transaction() as conn:
            sources = await runs.source_runs(conn, chunk.run_id)
            results = await scores.results(conn, sources, kind)
            collected = await scores.collected(conn, sources, kind)
            behind = await combined.of_type(conn, chunk.run_id, kind)
        # In a thread: a large lane takes seconds, and heartbeats must go on.
        return await asyncio.to_thread(dsi_figures.typed, results, collected, behind, config)

    async def _combined(self, work: Work) -> "Figures":
        from serpline.phases import dsi_figures  # not at a worker's start: it takes its time

        async with work.database.transaction() as conn:
            sources = await combined.choose(conn, work.chunk.run_id)
            typed = await combined.typed_scores(conn, sources)
        return await asyncio.to_thread(dsi_figures.combined, typed, sources, work.config)

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """A row per company, with every component."""
        kind = str(chunk.lane.content_type)
        rows = [{"run_id": chunk.run_id, "content_type": kind, **d.result} for d in done]
        await insert_rows(conn, dsi_scores, rows)
