"""Phase 7: the Digital Share Index, from what is stored alone; no provider is asked.

Items are ``market:device:company``. The figures of a lane are computed in one go, since a share is
of a whole; a chunk then takes those of its companies. The combined lane weighs the figures that
the content types have already.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.outcomes import Done, Outcome, Skip
from serpline.phases.base import Work
from serpline.store.database import Connection
from serpline.store.results import combined, scores
from serpline.store.rows import insert_rows
from serpline.store.runs import runs
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.tables.results import dsi_scores

if TYPE_CHECKING:
    from serpline.phases.dsi_figures import Figures


# More companies than a lane can have: their figures are of one whole, so they are one chunk.
LANE_ITEMS_MAX = 1_000_000_000


class DsiCalculationPhase:
    """Pure: the same stored inputs give the same figures, to the last bit."""

    name = PhaseName.DSI_CALCULATION
    plan_sql = scores.PLAN
    divisible = False

    def __init__(self) -> None:
        # One lane's frames at a time: they are what a worker needs most memory for.
        self._computing = asyncio.Lock()

    def chunk_size(self, config: PipelineConfig) -> int:
        """All of a lane: its figures are computed once."""
        return LANE_ITEMS_MAX

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """None of its own."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """The figures of each company."""
        due = {row.item for row in items}
        async with self._computing:
            figures = await self._figures(work)
        for item, row in figures:
            if item in due:
                due.remove(item)
                yield Done(item, row)
        for item in sorted(due):
            yield Skip(item, "ranks in no content type that counts")

    async def _figures(self, work: Work) -> "Figures":
        from serpline.phases import dsi_figures  # not at a worker's start: it takes its time

        chunk, config = work.chunk, work.config
        kind = chunk.lane.content_type
        async with work.database.transaction() as conn:
            if kind is ContentType.ALL:
                used = await combined.choose(conn, chunk.run_id)
                typed = await combined.typed_scores(conn, used)
            else:
                used = await combined.of_type(conn, chunk.run_id, kind)
                sources = await runs.source_runs(conn, chunk.run_id)
                results, collected = await scores.inputs(conn, sources, kind)
        # In a thread: a large lane takes seconds, and heartbeats must go on.
        if kind is ContentType.ALL:
            return await asyncio.to_thread(dsi_figures.combined, typed, used, config)
        return await asyncio.to_thread(dsi_figures.typed, results, collected, used, config)

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """A row per company, with every component."""
        kind = str(chunk.lane.content_type)
        rows = [{"run_id": chunk.run_id, "content_type": kind, **d.result} for d in done]
        await insert_rows(conn, dsi_scores, rows)
