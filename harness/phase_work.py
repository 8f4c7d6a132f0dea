"""The arguments of a phase's ``work``, without a worker that claimed a chunk."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.domain.phases import LaneKey
from serpline.phases.base import Act, Work
from serpline.robustness.retry import RetryManager
from serpline.store.database import Database
from serpline.store.runs.chunks import OwnedChunk


def owned(run_id: UUID, lane: LaneKey, **changes: Any) -> OwnedChunk:
    """An owned chunk of one item; ``changes`` replace its fields."""
    defaults: dict[str, Any] = {
        "id": 0,
        "epoch": 0,
        "no": 1,
        "lane_id": 1,
        "mode": "manual",
        "config": {},
        "planned": 1,
        "crashes": 0,
        "last_error": None,
        "created_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
    }
    return OwnedChunk(run_id=run_id, lane=lane, **(defaults | changes))


def work_on(chunk: OwnedChunk, database: Database, clock: Clock, **config: Any) -> Work:
    """The ``Work`` of a chunk under a lease that never ends."""

    async def settle(act: Act | None = None) -> None:
        return None

    return Work(
        chunk, PipelineConfig(**config), database, clock, lambda: True, settle, RetryManager()
    )
