"""What every phase is: what it plans, how it works, what it writes.

To add a phase: copy a file of this room that resembles it, name its plan in ``store/plans.py`` and
its store function in ``store/results.py``, and list it in ``phases/registry.py``.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome
from serpline.robustness.retry import RetryManager
from serpline.store.database import Connection, Database
from serpline.store.runs.chunks import ItemRow, OwnedChunk

Act = Callable[[Connection], Awaitable[None]]


def _never() -> int:
    return 0


@dataclass(slots=True)
class Work:
    """A chunk in hand: whose it is, what the run asked for, and when to look at it again.

    ``lease()`` is asked immediately before each paid call: False means stop. Work that has to
    wait for something calls ``check_again`` and returns; the earliest such time counts, and so does
    the closing of any breaker that was named with it.
    ``await settle()`` returns when every outcome yielded so far is committed. ``retries`` says
    what a failed call means for an item. ``lapses()`` counts how often this worker's
    lease has ended.
    """

    chunk: OwnedChunk
    config: PipelineConfig
    database: Database
    clock: Clock
    lease: "LeaseCheck"
    settle: "Settle"
    retries: RetryManager
    lapses: Callable[[], int] = _never
    due_by: float | None = field(default=None)
    waits_on: set[str] = field(default_factory=set)

    def check_again(self, at: datetime, waits_on: str | None = None) -> None:
        """Have the chunk looked at again at ``at``, or earlier."""
        # By the clock that nobody sets: how long it waits is what counts.
        by = self.clock.monotonic() + (at - self.clock.now()).total_seconds()
        if self.due_by is None or by < self.due_by:
            self.due_by = by
        if waits_on is not None:
            self.waits_on.add(waits_on)

    @property
    def due_in_seconds(self) -> float | None:
        """In how many seconds to look again at the latest; None if nothing asked for it."""
        return None if self.due_by is None else self.due_by - self.clock.monotonic()


class Settle(Protocol):
    """Commits every outcome that the work has yielded so far."""

    async def __call__(self, act: Act | None = None) -> None:
        """``act`` writes in the transaction that settles the last of them. It may be repeated."""


class LeaseCheck(Protocol):
    """Whether the chunk is still this worker's, by the monotonic clock."""

    def __call__(self) -> bool:
        """True while it is."""


class Phase(Protocol):
    """One of the seven. A phase object is shared by all chunks and holds no state of a run."""

    name: PhaseName
    plan_sql: str
    """A query of one text column ``item``; parameters ``:run``, ``:content_type``, those of
    ``plan_params``, and by each phase's name the run whose results of it are read."""
    divisible: bool
    """Whether ``work`` on some of a chunk's items touches those alone; see ``quarantine``."""

    def chunk_size(self, config: PipelineConfig) -> int:
        """How many items a worker owns at once."""

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Further parameters of ``plan_sql``."""

    def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Work on items and yield an outcome for each, in any order, as they come.

        An item without an outcome stays as it is. An exception is a bug of the phase.
        """

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write the results of finished items, in the transaction that settles them."""
