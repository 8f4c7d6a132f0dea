"""A phase whose items name their outcome, and tables that record every attempt and result.

An item is ``KIND-anything``; ``KIND`` is one of:

DONE      completes, with a result row
RETRYn    fails n times, then completes
REJECT    fails for good; FLAKY fails the first time and then completes
SKIP      has nothing to do
SNOOZE    is not attempted and due again in an hour; SNOOZEBLIND names no time
REFUSED   the first time, the breaker "scripted_api" refuses it for an hour; then completes
NOTHING   yields no outcome
RAISE     always raises: a bug
HANG      never returns the first time; then completes
STUCK     never returns
POISON    kills its process
SLOW      completes after 50 ms
GATE      the first time, waits until the test opens the gate; then completes
OUTAGE    loses the database the first time; then completes
UNWRITABLE  completes, but its result cannot be written: a bug

``scripted_items`` holds the items to plan, so any process can plan them. An attempt is recorded in
its own transaction before anything else happens. ``scripted_results`` has no key, so it shows a
result that was written twice.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.config.run import PipelineConfig
from serpline.domain.errors import ErrorCategory, LeaseLost
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome, Reject, Retry, Skip, Snooze
from serpline.domain.phases import LaneKey
from serpline.domain.waits import WaitCause, WaitReason
from serpline.phases.base import Phase, Work
from serpline.store.database import Connection, Database, DatabaseUnavailable
from serpline.store.runs.chunks import ItemRow, OwnedChunk

BREAKER = "scripted_api"
_TABLES = (
    "CREATE TABLE scripted_items (run_id uuid, phase text, content_type text, item text)",
    "CREATE TABLE scripted_attempts (lane_id bigint, item text, pid int)",
    "CREATE TABLE scripted_results (lane_id bigint, item text, pid int)",
    "CREATE TABLE scripted_gate (is_open boolean)",
    "INSERT INTO scripted_gate VALUES (false)",
)
# An item of this name makes the plan itself fail.
_PLAN = """
    SELECT CASE WHEN item = 'UNPLANNABLE' THEN repeat('x', 3000) ELSE item END AS item
    FROM scripted_items WHERE run_id = :run AND phase = '{phase}'
    AND content_type = :content_type
"""


async def make_tables(database: Database) -> None:
    """Create the tables that record attempts and results."""
    async with database.transaction() as conn:
        for statement in _TABLES:
            await conn.execute(text(statement))


async def script(database: Database, run_id: UUID, items: Mapping[LaneKey, Iterable[str]]) -> None:
    """Set the items that the lanes of a run will plan."""
    sql = text(
        "INSERT INTO scripted_items SELECT :run, :phase, :type, unnest(CAST(:items AS text[]))"
    )
    async with database.transaction() as conn:
        for lane, names in items.items():
            phase, content_type = str(lane.phase), str(lane.content_type)
            values = {"run": run_id, "phase": phase, "type": content_type, "items": [*names]}
            await conn.execute(sql, values)


async def open_gate(database: Database) -> None:
    """Release everything that waits at the gate."""
    async with database.transaction() as conn:
        await conn.execute(text("UPDATE scripted_gate SET is_open = true"))


class ScriptedPhase:
    """A phase that gives each item the outcome in its name."""

    def __init__(self, name: PhaseName, chunk_size: int = 500) -> None:
        self.name = name
        self.divisible = True
        self.plan_sql = _PLAN.format(phase=name)
        self._chunk_size = chunk_size

    def chunk_size(self, config: PipelineConfig) -> int:
        """The constructor's size."""
        return self._chunk_size

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """No parameters."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Yield an outcome per item, in order; check the lease before each."""
        for row in items:
            if not work.lease():
                raise LeaseLost("the lease has ended")
            before = await _record_attempt(work, row.item)
            outcome = await _outcome(work, row, is_first=before == 0)
            if outcome is not None:
                yield outcome

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Insert a row per item, without protection against a second one."""
        for one in done:
            if one.item.startswith("UNWRITABLE"):
                raise RuntimeError("this cannot be written")
        await conn.execute(
            text("INSERT INTO scripted_results SELECT :lane, unnest(CAST(:items AS text[])), :pid"),
            {"lane": chunk.lane_id, "items": [d.item for d in done], "pid": os.getpid()},
        )


def scripted_phases(chunk_size: int = 500) -> Mapping[PhaseName, Phase]:
    """All seven phases, scripted."""
    return {name: ScriptedPhase(name, chunk_size) for name in PhaseName}


async def _record_attempt(work: Work, item: str) -> int:
    values = {"lane": work.chunk.lane_id, "item": item, "pid": os.getpid()}
    async with work.database.transaction() as conn:
        before = await conn.execute(
            text("SELECT count(*) FROM scripted_attempts WHERE lane_id = :lane AND item = :item"),
            values,
        )
        await conn.execute(
            text("INSERT INTO scripted_attempts VALUES (:lane, :item, :pid)"), values
        )
        return int(before.scalar_one())


async def _outcome(work: Work, row: ItemRow, *, is_first: bool) -> Outcome | None:
    kind = row.item.partition("-")[0]
    match kind:
        case "REJECT":
            return Reject(row.item, ErrorCategory.BAD_REQUEST, "refused for good")
        case "FLAKY" if is_first:
            return Reject(row.item, ErrorCategory.SERVER, "failed this time")
        case "SKIP":
            return Skip(row.item, "nothing to do for it")
        case "SNOOZE":
            return Snooze(row.item, "refused", work.clock.now() + timedelta(hours=1))
        case "SNOOZEBLIND":
            return Snooze(row.item, "refused")
        case "REFUSED" if is_first:
            until = work.clock.now() + timedelta(hours=1)
            wait = WaitReason(WaitCause.BREAKER, BREAKER)
            return Snooze(row.item, "refused", until, waits_on=BREAKER, wait=wait)
        case "NOTHING":
            return None
        case "RAISE":
            raise RuntimeError("a bug of the phase")
        case "HANG" if is_first:
            await asyncio.Event().wait()
        case "STUCK":
            await asyncio.Event().wait()
        case "POISON":
            os.kill(os.getpid(), signal.SIGKILL)
        case "SLOW":
            await asyncio.sleep(0.05)
        case "GATE" if is_first:
            while not await _gate_is_open(work.database):
                await asyncio.sleep(0.01)
        case "OUTAGE" if is_first:
            raise DatabaseUnavailable("the server has gone away")
        case _ if kind.startswith("RETRY") and row.attempts < int(kind.removeprefix("RETRY")):
            return Retry(row.item, ErrorCategory.SERVER, f"failed {row.attempts + 1} times")
    return Done(row.item)


async def _gate_is_open(database: Database) -> bool:
    async with database.transaction() as conn:
        return bool((await conn.execute(text("SELECT is_open FROM scripted_gate"))).scalar_one())
