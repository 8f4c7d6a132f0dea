"""Phase 7: the Digital Share Index, computed from stored data without a provider.

Items are ``market:device:company``. A share needs the whole, so a lane's figures are computed
together; the chunk then takes its companies. The combined lane weighs the content types' figures.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.outcomes import Done, Outcome, Skip
from serpline.domain.phase_inputs import components_of
from serpline.phases.base import Work
from serpline.store import companies
from serpline.store.database import Connection
from serpline.store.results import combined, scores
from serpline.store.rows import insert_rows
from serpline.store.runs import runs
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.runs.skipped import unfinished_phases
from serpline.store.tables.results import dsi_scores

if TYPE_CHECKING:
    from serpline.phases.dsi_figures import Figures


# More companies than a lane can have: one chunk holds the whole lane.
LANE_ITEMS_MAX = 1_000_000_000


class DsiCalculationPhase:
    """Computes shares. The same stored inputs give the same figures to the last bit."""

    name = PhaseName.DSI_CALCULATION
    plan_sql = scores.PLAN
    divisible = False

    def __init__(self) -> None:
        # One lane's frames at a time bounds the worker's memory.
        self._computing = asyncio.Lock()

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return the whole lane: its figures are computed once."""
        return LANE_ITEMS_MAX

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return no further parameters."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Compute the lane's figures and yield those of the chunk's companies."""
        async with self._computing:
            figures = await self._figures(work)
        due = {row.item for row in items}
        for item, row in figures:
            if item in due:
                due.remove(item)
                yield Done(item, row)
        for item in sorted(due):
            yield Skip(item, "ranks in no content type with a weight")

    async def _figures(self, work: Work) -> "Figures":
        from serpline.phases import dsi_figures  # importing polars would slow the worker's start

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
                unfinished = components_of(await unfinished_phases(conn, sources, kind))
                merged = companies.merged_domains(await companies.aliases(conn, chunk.run_id, kind))
        # In a thread, so that heartbeats continue: a large lane takes seconds.
        if kind is ContentType.ALL:
            return await asyncio.to_thread(dsi_figures.combined, typed, used, config)
        return await asyncio.to_thread(
            dsi_figures.typed,
            results,
            collected,
            used,
            config,
            merged=merged,
            unfinished=unfinished,
        )

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write a row per company, with every component."""
        kind = str(chunk.lane.content_type)
        rows = [{"run_id": chunk.run_id, "content_type": kind, **d.result} for d in done]
        await insert_rows(conn, dsi_scores, rows)
