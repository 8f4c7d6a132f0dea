"""The account: its batches and their runs. It is the only mutable state of ScaleSERP."""

import asyncio
import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.faults import FaultPlan
from serpline.simulator.journal import Ledger
from serpline.simulator.routes import BATCH_SEARCH
from serpline.simulator.scaleserp.batches import BATCHES_MAX, Batch, Refused, ResultSet, Status
from serpline.simulator.seeds import hex_id
from serpline.simulator.world import World

SMALL_SEARCHES_MAX, SMALL_AT_ONCE, LARGE_AT_ONCE = 250, 5, 1
_PRIORITIES = ("highest", "high", "normal", "low", "lowest")
_OUTCOMES = {"failed_searches": "failed", "missing_records": "missing"}

# Called with ("running" | "finished", batch, result set or None).
Listener = Callable[[str, Batch, ResultSet | None], None]


class Slots:
    """A semaphore that admits waiters by priority, then by arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    async def enter(self, priority: int) -> None:
        """Wait for a slot. A lower ``priority`` number goes first."""
        if self._free > 0:
            self._free -= 1
            return
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (priority, self._arrivals, slot))
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Give the slot to the next waiter, or free it."""
        while self._waiting:
            _, _, slot = heapq.heappop(self._waiting)
            if not slot.done():
                slot.set_result(None)
                return
        self._free += 1


class Account:
    """Batches by id, and the tasks that run them."""

    def __init__(
        self,
        config: SimulatorConfig,
        world: World,
        ledger: Ledger,
        faults: FaultPlan,
        listener: Listener,
    ) -> None:
        self._config = config
        self._world = world
        self._ledger = ledger
        self._faults = faults
        self._notify = listener
        self._name_counts: Counter[str] = Counter()
        self._run_counts: Counter[str] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._small, self._large = Slots(SMALL_AT_ONCE), Slots(LARGE_AT_ONCE)
        self.batches: OrderedDict[str, Batch] = OrderedDict()

    def create(self, fields: Mapping[str, Any], searches: list[Any]) -> Batch:
        """Create a batch. Names may repeat; ids never do."""
        if len(self.batches) >= BATCHES_MAX:
            raise Refused(400, f"The account already has {BATCHES_MAX} batches.")
        name = str(fields.get("name", ""))
        batch_id = hex_id(8, self._config.seed, "batch", name, self._name_counts[name])
        price = self._config.search_credits
        batch = Batch(batch_id, self._config.clock.now(), dict(fields), search_credits=price)
        batch.add(self._config.seed, searches)
        self._name_counts[name] += 1
        self.batches[batch_id] = batch
        return batch

    def find(self, batch_id: str) -> Batch:
        """The batch of an id. Raises ``Refused`` (404)."""
        batch = self.batches.get(batch_id)
        if batch is None:
            raise Refused(404, f"The batch '{batch_id}' does not exist.")
        return batch

    @property
    def created(self) -> int:
        """The number of batches ever created, including deleted ones."""
        return self._name_counts.total()

    def delete(self, batch: Batch) -> None:
        """Delete a batch with its result sets. A running batch is stopped."""
        if batch.status is not Status.IDLE:
            self.stop(batch)
        del self.batches[batch.id]

    def start(self, batch: Batch, reason: str = "batch queued") -> None:
        """Charge for a run and queue it. Raises ``Refused``: 400 not idle, 402 too few credits."""
        self._charge(batch, reason)
        batch.status = Status.QUEUED
        self._tasks[batch.id] = asyncio.create_task(self._run(batch), name=f"batch {batch.id}")

    def duration(self, batch: Batch) -> timedelta:
        """How long a run takes if no other batch runs."""
        timing = self._config.timing
        return timedelta(seconds=timing.queued_seconds + self._running_seconds(batch))

    def run_in_the_past(self, batch: Batch, instant: datetime, reason: str) -> None:
        """Make the run that began at ``instant`` and has ended. Raises as ``start`` does."""
        self._charge(batch, reason)
        self._notify("running", batch, None)
        day = self._world.day if self._config.day else instant.date()
        self._finish(batch, instant, instant + self.duration(batch), day)

    def stop(self, batch: Batch) -> None:
        """Stop a batch without a result set. Credits are refunded only while it is queued."""
        if batch.status is Status.IDLE:
            raise Refused(400, f"Cannot stop: the batch '{batch.id}' is idle.")
        if batch.status is Status.QUEUED:
            self._ledger.charge(
                "scaleserp", -batch.credits_required(), "stopped in queue", f"batch {batch.id}"
            )
        batch.status = Status.IDLE
        self._tasks.pop(batch.id).cancel()

    async def idle(self) -> None:
        """Wait until no batch is queued or running."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        """Cancel all runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, batch: Batch) -> None:
        clock = self._config.clock
        await clock.sleep(self._config.timing.queued_seconds)
        slots = self._small if len(batch.searches) <= SMALL_SEARCHES_MAX else self._large
        await slots.enter(_PRIORITIES.index(batch.fields.get("priority", "normal")))
        try:
            batch.status = Status.RUNNING
            started, day = clock.now(), self._world.day
            self._notify("running", batch, None)
            await clock.sleep(self._running_seconds(batch))
            ended = clock.now()
        finally:
            slots.leave()
        del self._tasks[batch.id]
        self._finish(batch, started, ended, day)

    def _running_seconds(self, batch: Batch) -> float:
        timing = self._config.timing
        return timing.running_seconds + timing.running_seconds_per_search * len(batch.searches)

    def _charge(self, batch: Batch, reason: str) -> None:
        batch.require_idle("start")
        if not batch.searches:
            raise Refused(400, f"The batch '{batch.id}' has no searches.")
        price = batch.credits_required()
        if not self._ledger.charge("scaleserp", price, reason, f"batch {batch.id}"):
            raise Refused(402, "The account does not have enough credits to start the batch.")

    def _finish(self, batch: Batch, started: datetime, ended: datetime, day: date) -> None:
        result_set = ResultSet(
            id=batch.next_result_set_id,
            day=day,
            started_at=started,
            ended_at=ended,
            searches=[self._outcome(batch, *item) for item in batch.searches.items()],
        )
        batch.next_result_set_id += 1
        batch.last_run = started
        batch.result_sets.append(result_set)
        batch.status = Status.IDLE
        self._notify("finished", batch, result_set)

    def _outcome(
        self, batch: Batch, search_id: str, search: dict[str, str]
    ) -> tuple[dict[str, str], str]:
        """The record and outcome of a search: ok, failed, missing or duplicate."""
        record = {**search, "id": search_id}
        what = repr(sorted((name, v) for name, v in search.items() if name != "custom_id"))
        self._run_counts[what] += 1
        context = {
            **search,
            "search_type": search.get("search_type", "web"),
            "batch_id": batch.id,
            "batch_name": batch.name,
            "priority": batch.fields.get("priority", "normal"),
            "searches_total": len(batch.searches),
        }
        rule = self._faults.call("scaleserp", BATCH_SEARCH, context, what, self._run_counts[what])
        return record, "ok" if rule is None else _OUTCOMES.get(rule.fault, "duplicate")
