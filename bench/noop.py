"""A phase that only settles its items, each with a result row."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from serpline.config.run import PipelineConfig
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome
from serpline.phases.base import Work
from serpline.store.database import Connection
from serpline.store.runs import items
from serpline.store.runs.chunks import ItemRow, OwnedChunk

RESULT = '{"n": 1, "note": "a result of an ordinary width, some sixty bytes"}'


class NoopPhase:
    """A phase that plans ``count`` items and completes each."""

    name = PhaseName.KEYWORD_METRICS
    plan_sql = "SELECT 'item-' || lpad(n::text, 9, '0') AS item FROM generate_series(1, :count) n"
    divisible = True

    def __init__(self, count: int, chunk_size: int = 500) -> None:
        self._count = count
        self._chunk_size = chunk_size

    def chunk_size(self, config: PipelineConfig) -> int:
        """Items per chunk."""
        return self._chunk_size

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """The number of items."""
        return {"count": self._count}

    async def work(self, work: Work, rows: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Complete every item without work."""
        for row in rows:
            yield Done(row.item, RESULT)

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Insert a result row per item."""
        await items.write_results(
            conn, chunk.lane_id, [d.item for d in done], [d.result for d in done]
        )
