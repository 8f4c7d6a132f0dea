"""The contract of a phase: its plan, its work and its results.

``docs/extend.md`` has the steps to add one.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome
from serpline.domain.waits import WaitReason, most_telling
from serpline.robustness.retry import RetryManager
from serpline.store.database import Connection, Database
from serpline.store.runs.chunks import ItemRow, OwnedChunk

Act = Callable[[Connection], Awaitable[None]]


def _never() -> int:
    return 0


@dataclass(slots=True)
class Work:
    """A claimed chunk, with its lane's settings (``config``) and the worker's services.

    ``lease()`` is checked immediately before each paid call: False means stop. Work that waits
    calls ``check_again`` and returns. The chunk is due at the earliest of these times, or when a
    breaker named in one of the calls closes. ``await settle()`` returns when every outcome yielded
    so far is committed. ``retries`` turns a failed call into an item's outcome. ``lapses()`` counts
    how often this worker's lease has ended. ``reads_known``: see ``tools.claim_missing``.
    ``buyer``: another run that buys data which this chunk needs too.
    """

    chunk: OwnedChunk
    config: PipelineConfig
    database: Database
    clock: Clock
    lease: "LeaseCheck"
    settle: "Settle"
    retries: RetryManager
    lapses: Callable[[], int] = _never
    reads_known: bool = False
    due_by: float | None = field(default=None)
    waits_on: set[str] = field(default_factory=set)
    wait: WaitReason | None = None
    buyer: UUID | None = None

    def check_again(
        self, at: datetime, waits_on: str | None = None, wait: WaitReason | None = None
    ) -> None:
        """Make the chunk due at ``at`` at the latest, or when the breaker ``waits_on`` closes.

        ``wait``: why. The most telling reason is stored with the chunk.
        """
        # The monotonic clock measures the wait: the wall clock may be set.
        by = self.clock.monotonic() + (at - self.clock.now()).total_seconds()
        if self.due_by is None or by < self.due_by:
            self.due_by = by
        if waits_on is not None:
            self.waits_on.add(waits_on)
        self.wait = most_telling(self.wait, wait)

    @property
    def due_in_seconds(self) -> float | None:
        """Seconds until the chunk is due; None if ``check_again`` was not called."""
        return None if self.due_by is None else self.due_by - self.clock.monotonic()


class Settle(Protocol):
    """Commits every outcome that the work has yielded so far."""

    async def __call__(self, act: Act | None = None) -> None:
        """Commit. ``act`` writes in the transaction of the last outcome and may be repeated."""


class LeaseCheck(Protocol):
    """Checks by the monotonic clock that this worker still owns the chunk."""

    def __call__(self) -> bool:
        """Return True while it does."""


class Phase(Protocol):
    """One of the seven phases. All chunks share the object, so it holds no state of a run."""

    name: PhaseName
    plan_sql: str
    """A query with one text column ``item``. Its parameters are ``:run``, ``:content_type``, those
    of ``plan_params``, and one per phase name: the run whose results of that phase it reads."""
    divisible: bool
    """Whether ``work`` on a part of a chunk touches only that part; see ``quarantine``."""

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return the number of items in a chunk. ``config``: the lane's."""

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return the further parameters of ``plan_sql``."""

    def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Work on items and yield their outcomes in any order.

        An item without an outcome keeps its state. An exception is a bug of the phase.
        """

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write the results of finished items in the transaction that settles them."""
