"""Level-triggered orchestration: ``advance`` does everything that is due in a run.

It is one short transaction under the run's row lock. It settles finished lanes, starts ready lanes,
blocks lanes that can never run, and then ends the run or sets its next check. Anyone may call it at
any time. It keeps no state between calls: the next call repairs a lost one, and a duplicate call
finds nothing to do. Planning may take long, so each lane is planned in a transaction of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.domain.errors import ERROR_CHARS_MAX, ErrorCategory
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
from serpline.pipeline.lacks import Lacks, lacks_of_lanes
from serpline.store import companies
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
from serpline.store.runs import lanes as lane_rows
from serpline.store.runs.events import Event
from serpline.store.runs.runs import RunRow
from serpline.store.runs.skipped import skipped_for

log = get(__name__)

DEADLINE_REASON = "deadline: not finished within the time allowed for a step"

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
        """Handle a run's wake-up: advance the run, then plan the lanes that started."""
        status = await self.advance(run_id)
        if status is RunStatus.RUNNING:
            async with self._database.transaction() as conn:
                lanes = await runs.lanes(conn, run_id)
            for lane in lanes:
                if lane.status is LaneStatus.RUNNING and not lane.is_planned:
                    await self._plan_or_fail(run_id, lane)
        return status

    async def _plan_or_fail(self, run_id: UUID, lane: LaneView) -> None:
        """Plan a lane. If planning raises, the lane fails with the reason; other lanes continue."""
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
                new_events = [await self._apply(conn, run, LaneEvent(lane, "fail", reason))]
                if self._may_retry(run, lane):
                    new_events.append(await self._retry(conn, run, lane))
                await wake(conn, [WakeUp("run", str(run_id), JobPriority.HIGH)])
                await events.append(conn, new_events)

    async def advance(self, run_id: UUID) -> RunStatus | None:
        """Do everything that is due; return the run's new state, or None for an unknown run."""
        async with self._database.transaction() as conn:
            run = await runs.lock(conn, run_id)
            if run is None:
                return None
            new_events: list[Event] = []
            if run.status is RunStatus.PENDING:
                await runs.change_run(conn, run_id, "start", self._clock.now())
                new_events.append(Event("run.started", run_id))
            elif run.status is not RunStatus.RUNNING:
                return run.status
            states, lane_events = await self._advance_lanes(conn, run)
            new_events.extend(lane_events)
            ending = ending_of(states)
            if ending is None:
                await runs.check_again(conn, run_id, self._check_again_seconds)
            else:
                missing = await self._uncollected(conn, run)
                if missing and ending is RunStatus.COMPLETED:
                    ending = RunStatus.COMPLETED_WITH_ERRORS
                skipped = await skipped_for(conn, run_id)
                error = _error_of(states, missing)
                if error is None and ending is RunStatus.FAILED:
                    error = "; ".join(skipped)
                await runs.change_run(conn, run_id, _ENDINGS[ending], self._clock.now(), error)
                detail = {"error": error, "skipped": skipped}
                new_events.append(Event(f"run.{ending}", run_id, detail=detail))
            await events.append(conn, new_events)
        for event in new_events:
            log.info(event.event_type, action=event.event_type, run=str(run_id), **event.detail)
        return ending or RunStatus.RUNNING

    async def _advance_lanes(
        self, conn: Connection, run: RunRow
    ) -> tuple[dict[LaneKey, LaneStatus], list[Event]]:
        config = PipelineConfig.from_json(run.config)
        found = await runs.lanes(conn, run.id)
        if any(
            lane.status is LaneStatus.RUNNING and self._is_past_deadline(lane) for lane in found
        ):
            # There may have been no worker for a while, and no timer has counted that gap yet.
            await clock_steps.extend_deadlines(conn)
            found = await runs.lanes(conn, run.id)
        lacks = await lacks_of_lanes(conn, config, found)
        lanes = [await self._fail_if_hopeless(conn, lane, lacks) for lane in found]
        states = {lane.key: lane.status for lane in lanes}
        now = self._clock.now()
        run_seconds = (now - (run.started_at or now)).total_seconds()
        new_events = []
        # Lanes are in data-flow order, so one pass carries a change to all later lanes.
        for lane in lanes:
            decision: LaneEvent | None
            if (
                lane.status is LaneStatus.RUNNING
                and not lane.planned
                and (why := self._hopeless(lane, lacks))
            ):
                decision = LaneEvent(lane, "fail", why)  # never planned
            elif lane.status is LaneStatus.RUNNING and lane.is_finished:
                decision = settle(lane, config.of(lane.key.content_type).min_success_ratio)
            elif lane.status is LaneStatus.PENDING and lane.key.phase not in lacks.held:
                lack = lacks.reasons.get(lane.key.phase)
                decision = start_or_block(lane, states, run_seconds, lack)
            else:
                decision = None
            if decision is None:
                continue
            new_events.append(await self._apply(conn, run, decision))
            states[lane.key] = LaneStatus(change(LANE_MACHINE, decision.event).target)
            can_retry = lane.key.phase not in lacks.reasons and self._may_retry(run, lane)
            if decision.event == "fail" and can_retry:
                new_events.append(await self._retry(conn, run, lane))
                states[lane.key] = LaneStatus.PENDING
        await lane_rows.set_deadlines(
            conn, run.id, config.deadlines(self._clock.now()), replace=False
        )
        if any(event.event_type == "lane.retry" for event in new_events):
            await wake(conn, [WakeUp("run", str(run.id), JobPriority.HIGH)])
        return states, new_events

    async def _uncollected(self, conn: Connection, run: RunRow) -> list[str]:
        """Describe the missing search results among those that the run reads."""
        sources = await runs.source_runs(conn, run.id)
        lanes = await runs.lanes(conn, sources[PhaseName.SERP_COLLECTION])
        config = PipelineConfig.from_json(run.config)
        read = [lane for lane in lanes if lane.key.content_type in config.content_types]
        ratios = {kind: config.of(kind).min_collected_ratio for kind in config.content_types}
        return uncollected(read, ratios)

    async def _fail_if_hopeless(self, conn: Connection, lane: LaneView, lacks: Lacks) -> LaneView:
        """Fail the unfinished items of a running lane past its deadline or without a provider."""
        why = self._hopeless(lane, lacks)
        if lane.status is not LaneStatus.RUNNING or why is None:
            return lane
        is_late = why == DEADLINE_REASON
        category = ErrorCategory.TIMEOUT if is_late else ErrorCategory.AUTH
        failed = await planning.fail_unfinished(conn, lane.id, why, category)
        return replace(lane, failed=lane.failed + failed, chunks_done=lane.chunks, is_planned=True)

    def _hopeless(self, lane: LaneView, lacks: Lacks) -> str | None:
        late = self._is_past_deadline(lane)
        return DEADLINE_REASON if late else lacks.reasons.get(lane.key.phase)

    def _is_past_deadline(self, lane: LaneView) -> bool:
        return lane.deadline_at is not None and lane.deadline_at <= self._clock.now()

    def _may_retry(self, run: RunRow, lane: LaneView) -> bool:
        """Allow retries in SCHEDULED mode, up to ``phase_retries``, until the lane's deadline."""
        config = PipelineConfig.from_json(run.config).of(lane.key.content_type)
        may = run.mode == PipelineMode.SCHEDULED and lane.retry_count < config.phase_retries
        return may and not self._is_past_deadline(lane)

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
        """Plan a running lane unless it is planned; return the number of ready chunks.

        Concurrent calls are safe: the second one waits for the lane's row and finds it planned.
        """
        phase = self._phases[lane.key.phase]
        async with self._database.transaction() as conn:
            run = await runs.get(conn, run_id)
            if run is None or not await planning.lock_unplanned(conn, lane.id):
                return 0
            config = PipelineConfig.from_json(run.config).of(lane.key.content_type)
            if lane.key.phase is PhaseName.DSI_CALCULATION:
                await companies.take_aliases(conn, run_id, lane.key.content_type)
            params = {
                **await combined.plan_params(conn, run_id, lane.key),
                "run": run_id,
                "content_type": lane.key.content_type,
                **phase.plan_params(config),
            }
            await planning.plan(conn, lane.id, phase.plan_sql, params, phase.chunk_size(config))
            ready = await planning.ready_of(conn, lane.id)
            priority = config.priority or JobPriority.NORMAL
            targets = [WakeUp("chunk", str(chunk_id), priority) for chunk_id in ready]
            # Without chunks, wake the run, so that it settles the lane.
            await wake(conn, targets or [WakeUp("run", str(run_id), JobPriority.HIGH)])
        log.info("lane.planned", action="lane.planned", lane=str(lane.key), chunks=len(ready))
        return len(ready)


def _error_of(states: Mapping[LaneKey, LaneStatus], missing: Sequence[str]) -> str | None:
    unsuccessful = [f"{key} {status}" for key, status in states.items() if status in _UNSUCCESSFUL]
    return "; ".join([*unsuccessful, *missing]) or None


_UNSUCCESSFUL = (LaneStatus.FAILED, LaneStatus.BLOCKED)
