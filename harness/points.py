"""The named points at which a process under test kills itself.

The product has no hooks for them. The process wraps the function of its point, and sends itself
SIGKILL at the n-th call.
"""

import functools
import os
import signal
from collections.abc import Callable
from typing import Any

from serpline.pipeline.orchestrator import PhaseOrchestrator
from serpline.pipeline.service import PipelineService
from serpline.pipeline.state_tracker import StateTracker
from serpline.pipeline.worker import ChunkWorker
from serpline.robustness.guard import Guard
from serpline.robustness.ledger import Ledger
from serpline.scheduling import tick
from serpline.scheduling.backfilling import Backfiller
from serpline.scheduling.starting import Starter
from serpline.store.runs import batches, chunks, planning, releases, runs, settling, webhooks
from serpline.store.schedules import (
    backfill_slots,
    backfills,
    following,
    schedules,
    slots,
    starting,
)

# Point → (owner of the function, its name, before or after it, the operation of a call or "").
# A function of a store module runs inside a transaction: after it, nothing is committed yet.
# The order is that of a run.
POINTS: dict[str, tuple[Any, str, str, str]] = {
    "before advance": (PhaseOrchestrator, "advance", "before", ""),
    "in advance": (runs, "change_lane", "after", ""),
    "after advance": (PhaseOrchestrator, "advance", "after", ""),
    "before plan": (PhaseOrchestrator, "plan", "before", ""),
    "in plan": (planning, "plan", "after", ""),
    "after plan": (PhaseOrchestrator, "plan", "after", ""),
    "before claim": (ChunkWorker, "_claim_and_work", "before", ""),
    "in claim": (chunks, "claim", "after", ""),
    "after claim": (ChunkWorker, "_work_and_release", "before", ""),
    "before call": (Guard, "_send", "before", ""),
    "after call": (Ledger, "end", "before", ""),
    "call recorded": (Guard, "flush", "after", ""),
    "before settle": (StateTracker, "settle", "before", ""),
    "in settle": (settling, "settle_items", "after", ""),
    "after settle": (StateTracker, "settle", "after", ""),
    "in release": (releases, "release", "after", ""),
    "in batch intent": (batches, "intend", "after", ""),
    "before batch create": (Guard, "_send", "before", "create_batch"),
    "after batch create": (Guard, "_send", "after", "create_batch"),
    "before batch add": (Guard, "_send", "before", "add_searches"),
    "after batch add": (Guard, "_send", "after", "add_searches"),
    "before batch start": (Guard, "_send", "before", "start_batch"),
    "after batch start": (Guard, "_send", "after", "start_batch"),
    "before page file": (Guard, "_send", "before", "page_file"),
    "after page file": (Guard, "_send", "after", "page_file"),
}
# In the web process: before a webhook's inbox row, between row and wake-up, after both.
WEB_POINTS: dict[str, tuple[Any, str, str, str]] = {
    "before inbox": (PipelineService, "record_webhook", "before", ""),
    "in inbox": (webhooks, "record_webhook", "after", ""),
    "after inbox": (PipelineService, "record_webhook", "after", ""),
}
# In the tick of the schedules.
TICK_POINTS: dict[str, tuple[Any, str, str, str]] = {
    "before decide": (tick, "decide_due", "before", ""),
    "in slots": (slots, "insert", "after", ""),
    "in cursor": (schedules, "move_cursors", "after", ""),
    "after decide": (tick, "decide_due", "after", ""),
    "before start": (Starter, "_start_run", "before", ""),
    "in start": (starting, "start", "after", ""),
    "in run": (PipelineService, "create", "after", ""),
    "after start": (Starter, "_start_run", "after", ""),
    "in follow": (following, "follow", "after", ""),
    "after follow": (tick, "follow_runs", "after", ""),
}
# In a tick that works a backfill off.
BACKFILL_POINTS: dict[str, tuple[Any, str, str, str]] = {
    "in backfill lock": (backfills, "lock", "after", ""),
    "in backfill end": (backfill_slots, "end", "after", ""),
    "in backfill mark": (backfill_slots, "mark", "after", ""),
    "in run": TICK_POINTS["in run"],
    "after backfill step": (Backfiller, "_step", "after", ""),
}


def arm(point: str, passing: int) -> None:
    """Kill this process when it reaches ``point`` for the ``passing``-th time (from 1)."""
    owner, name, when, operation = {**POINTS, **WEB_POINTS, **TICK_POINTS, **BACKFILL_POINTS}[point]
    left = passing

    def passed(arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if operation and all(getattr(a, "operation", None) != operation for a in arguments):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    original = owner.__dict__[name]
    is_class_method = isinstance(original, classmethod)
    function: Callable[..., Any] = original.__func__ if is_class_method else original
    wrapped = _before(function, passed) if when == "before" else _after(function, passed)
    setattr(owner, name, classmethod(wrapped) if is_class_method else wrapped)


def _before(
    function: Callable[..., Any], passed: Callable[[tuple[Any, ...]], None]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def first(*arguments: Any, **named: Any) -> Any:
        passed(arguments)
        return function(*arguments, **named)

    return first


def _after(
    function: Callable[..., Any], passed: Callable[[tuple[Any, ...]], None]
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def then(*arguments: Any, **named: Any) -> Any:
        result = await function(*arguments, **named)
        passed(arguments)
        return result

    return then
