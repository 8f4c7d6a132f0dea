"""Level-triggered orchestration: ``advance`` looks at a run and does what is due; anyone may call.

It is one short transaction under the run's row lock: settle the lanes that are worked off, start
those that are ready, block those that can never run, end the run, or set the next look. It carries
nothing over from one call to the next, so a lost call is repaired by the next and a double one
finds nothing to do. Planning, which may take long, is a transaction of its own per lane.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.domain.errors import ERROR_CHARS_MAX
from serpline.domain.names import JobPriority, PhaseName, PipelineMode
from serpline.domain.phases import (
    PHASE_DEPENDENCIES,
    LaneEvent,
    LaneKey,
    LaneView,
    ending_of,
    settle,
    start_or_block,
    uncollected,
)
from serpline.domain.states import LANE_MACHINE, LaneStatus, RunStatus, change
from serpline.phases.base import Phase
from serpline.store.database import (
    Connection,
    Database,
    DatabaseUnavailable,
    TransactionConflict,
)
from serpline.store.maintenance import clock_steps
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.results import combined
from serpline.store.runs import events, items, planning, runs
from serpline.store.runs.events import Event
from serpline.store.runs.runs import RunRow

log = get(__name__)

DEADLINE_REASON = "deadline: not finished in the time that the run allows a lane"

_ENDINGS = {
    RunStatus.COMPLETED: "complete",
    RunStatus.COMPLETED_WITH_ERRORS: "complete_with_errors",
    RunStatus.FAILED: "fail",
}


class PhaseOrchestrator:
    """Advance runs. ``check_again_seconds``: how soon a run is checked without a wake-up."""

    PHASE_DEPENDENCIES: ClassVar[Mapping[str, Sequence[str]]] = PHASE_DEPENDENCIES

    def __init__(
        self,
        database: Database,
        clock: Clock,
        phases: Mapping[PhaseName, Phase],
        *,
        check_again_seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._phases = phases
        self._check_again_seconds = check_again_seconds

    async def advance_and_plan(self, run_id: UUID) -> RunStatus | None:
        """The handler of a run's wake-up: advance it, then plan the lanes that started."""
        status = await self.advance(run_id)
        if status is RunStatus.RUNNING:
            async with self._database.transaction() as conn:
                lanes = await runs.lanes(conn, run_id)
            for lane in lanes:
                if lane.status is LaneStatus.RUNNING and not lane.is_planned:
                    await self._plan_or_fail(run_id, lane)
        return status

    async def _plan_or_fail(self, run_id: UUID, lane: LaneView) -> None:
        """A lane that cannot be planned has failed, and says why; the other lanes go on."""
        try:
            await self.plan(run_id, lane)
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except Exception as error:
            log.exception("lane.unplanned", action="lane.unplanned", lane=str(lane.key))
            reason = f"planning failed: {described(error)}"[:ERROR_CHARS_MAX]
            async with self._database.transaction() as conn:
                run = await runs.lock(conn, run_id)
                if run is None or not await planning.lock_unplanned(conn, lane.id):
                    return
                told = [await self._apply(conn, run, LaneEvent(lane, "fail", reason))]
                if self._may_retry(run, lane, PipelineConfig.from_json(run.config)):
                    told.append(await self._retry(conn, run, lane))
                await wake(conn, [WakeUp("run", str(run_id), JobPriority.HIGH)])
                await events.append(conn, told)

    async def advance(self, run_id: UUID) -> RunStatus | None:
        """Do what is due; returns the run's state afterwards, None for an unknown run."""
        async with self._database.transaction() as conn:
            run = await runs.lock(conn, run_id)
            if run is None:
                return None
            told: list[Event] = []
            if run.status is RunStatus.PENDING:
                await runs.change_run(conn, run_id, "start", self._clock.now())
                told.append(Event("run.started", run_id))
            elif run.status is not RunStatus.RUNNING:
                return run.status
            states, lane_events = await self._advance_lanes(conn, run)
            told.extend(lane_events)
            ending = ending_of(states)
            if ending is None:
                await runs.check_again(conn, run_id, self._check_again_seconds)
            else:
                missing = await self._uncollected(conn, run)
                if missing and ending is RunStatus.COMPLETED:
                    ending = RunStatus.COMPLETED_WITH_ERRORS
                error = _what_went_wrong(states, missing)
                await runs.change_run(conn, run_id, _ENDINGS[ending], self._clock.now(), error)
                told.append(Event(f"run.{ending}", run_id, detail={"error": error}))
            await events.append(conn, told)
        for event in told:
            log.info(event.event_type, action=event.event_type, run=str(run_id), **event.detail)
        return ending or RunStatus.RUNNING

    async def _advance_lanes(
        self, conn: Connection, run: RunRow
    ) -> tuple[dict[LaneKey, LaneStatus], list[Event]]:
        config = PipelineConfig.from_json(run.config)
        found = await runs.lanes(conn, run.id)
        if any(lane.status is LaneStatus.RUNNING and self._is_over(lane) for lane in found):
            # Perhaps nobody was there to work, and no timer has said so yet.
            await clock_steps.extend_deadlines(conn)
            found = await runs.lanes(conn, run.id)
        lanes = [await self._expired(conn, lane) for lane in found]
        states = {lane.key: lane.status for lane in lanes}
        now = self._clock.now()
        run_seconds = (now - (run.started_at or now)).total_seconds()
        told = []
        # In the order of the data flow, so that one pass carries a change all the way down.
        for lane in lanes:
            decision: LaneEvent | None
            if lane.status is LaneStatus.RUNNING and not lane.planned and self._is_over(lane):
                decision = LaneEvent(lane, "fail", DEADLINE_REASON)  # it could not even be planned
            elif lane.status is LaneStatus.RUNNING and lane.is_finished:
                decision = settle(lane, config.min_success_ratio)
            elif lane.status is LaneStatus.PENDING:
                decision = start_or_block(lane, states, run_seconds)
            else:
                decision = None
            if decision is None:
                continue
            told.append(await self._apply(conn, run, decision))
            states[lane.key] = LaneStatus(change(LANE_MACHINE, decision.event).target)
            if decision.event == "fail" and self._may_retry(run, lane, config):
                told.append(await self._retry(conn, run, lane))
                states[lane.key] = LaneStatus.PENDING
        deadline = self._clock.now() + timedelta(hours=config.lane_deadline_hours)
        await runs.set_deadlines(conn, run.id, deadline, replace=False)
        if any(event.event_type == "lane.retry" for event in told):
            await wake(conn, [WakeUp("run", str(run.id), JobPriority.HIGH)])
        return states, told

    async def _uncollected(self, conn: Connection, run: RunRow) -> list[str]:
        """What the search results that the run reads lack, in words."""
        sources = await runs.source_runs(conn, run.id)
        lanes = await runs.lanes(conn, sources[PhaseName.SERP_COLLECTION])
        config = PipelineConfig.from_json(run.config)
        read = [lane for lane in lanes if lane.key.content_type in config.content_types]
        return uncollected(read, config.min_collected_ratio)

    async def _expired(self, conn: Connection, lane: LaneView) -> LaneView:
        """A running lane whose deadline has passed: what is left of it fails, so that it ends."""
        if lane.status is not LaneStatus.RUNNING or not self._is_over(lane):
            return lane
        failed = await planning.fail_unfinished(conn, lane.id, DEADLINE_REASON)
        return replace(lane, failed=lane.failed + failed, chunks_done=lane.chunks, is_planned=True)

    def _is_over(self, lane: LaneView) -> bool:
        return lane.deadline_at is not None and lane.deadline_at <= self._clock.now()

    def _may_retry(self, run: RunRow, lane: LaneView, config: PipelineConfig) -> bool:
        """Not after the deadline: the run must come to an end."""
        may = run.mode == PipelineMode.SCHEDULED and lane.retry_count < config.phase_retries
        return may and not self._is_over(lane)

    async def _apply(self, conn: Connection, run: RunRow, decision: LaneEvent) -> Event:
        lane = decision.lane
        if decision.event == "fail" and (why := await items.sample_error(conn, lane.id)):
            decision = replace(decision, reason=f"{decision.reason}, for example: {why}")
        await runs.change_lane(conn, lane.id, decision.event, self._clock.now(), decision.reason)
        detail: dict[str, object] = {"lane": str(lane.key)}
        if decision.reason:
            detail["reason"] = decision.reason
        if lane.is_planned:
            detail.update(planned=lane.planned, completed=lane.completed, failed=lane.failed)
        return Event(
            f"lane.{decision.event}", run.id, lane.key.phase, lane.key.content_type, detail
        )

    async def _retry(self, conn: Connection, run: RunRow, lane: LaneView) -> Event:
        await runs.change_lane(conn, lane.id, "retry", self._clock.now())
        await planning.reopen_failed(conn, lane.id)
        detail = {"lane": str(lane.key), "retry": lane.retry_count + 1}
        return Event("lane.retry", run.id, lane.key.phase, lane.key.content_type, detail)

    async def plan(self, run_id: UUID, lane: LaneView) -> int:
        """Plan a running lane that is not planned yet; returns how many chunks wait for workers.

        Safe to call twice at once: the second caller waits for the lane's row and finds it planned.
        """
        phase = self._phases[lane.key.phase]
        async with self._database.transaction() as conn:
            run = await runs.get(conn, run_id)
            if run is None or not await planning.lock_unplanned(conn, lane.id):
                return 0
            config = PipelineConfig.from_json(run.config)
            params = {
                **await combined.plan_params(conn, run_id, lane.key),
                "run": run_id,
                "content_type": lane.key.content_type,
                **phase.plan_params(config),
            }
            await planning.plan(conn, lane.id, phase.plan_sql, params, phase.chunk_size(config))
            ready = await planning.ready_of(conn, lane.id)
            priority = JobPriority(run.priority)
            targets = [WakeUp("chunk", str(chunk_id), priority) for chunk_id in ready]
            # Nothing to do: the run itself is what has to be looked at.
            await wake(conn, targets or [WakeUp("run", str(run_id), JobPriority.HIGH)])
        log.info("lane.planned", action="lane.planned", lane=str(lane.key), chunks=len(ready))
        return len(ready)


def _what_went_wrong(states: Mapping[LaneKey, LaneStatus], missing: Sequence[str]) -> str | None:
    broken = [f"{key} {status}" for key, status in states.items() if status in _BROKEN]
    return "; ".join([*broken, *missing]) or None


_BROKEN = (LaneStatus.FAILED, LaneStatus.BLOCKED)
