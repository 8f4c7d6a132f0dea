"""Open lanes and failed items of an ended run."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.domain.errors import ErrorCategory, UserError
from serpline.domain.names import ContentType, JobPriority, PhaseName
from serpline.domain.phase_inputs import PHASE_INPUTS
from serpline.domain.phases import LaneView, dependents_of
from serpline.domain.states import ENDED_RUNS, LaneStatus
from serpline.pipeline.lacks import lacks_of, startable
from serpline.store.database import Connection
from serpline.store.maintenance.prune import pruned_lanes
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.results.scores import delete_scores
from serpline.store.runs import events, planning, runs
from serpline.store.runs.events import Event, acted
from serpline.store.runs.runs import RunRow
from serpline.store.schedules import backfills, slots


@dataclass(frozen=True, slots=True)
class Retried:
    """The lanes that a retry reopens, in data-flow order, and how many failed items in them."""

    lanes: list[str]
    items: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks to retry; None: any."""

    phase: PhaseName | None
    content_type: ContentType | None
    item: str | None
    category: ErrorCategory | None

    @property
    def is_of_items(self) -> bool:
        """Return whether only some items are asked for."""
        return self.item is not None or self.category is not None


async def reopen(
    conn: Connection, run: RunRow, asked: Asked, now: datetime, by: str | None
) -> Retried:
    """Open lanes and failed items of a run whose row is locked (``PipelineService.retry``)."""
    run_id = run.id
    if run.status not in ENDED_RUNS:
        raise UserError(f"run {run_id} is {run.status}: only an ended run can be retried")
    views = {lane.key: lane for lane in await runs.lanes(conn, run_id)}
    config = PipelineConfig.from_json(run.config)
    able = await startable(conn, config, views.values())
    chosen = [lane for lane in views.values() if _matches(lane, asked.phase, asked.content_type)]
    if asked.is_of_items:
        holders = await planning.lanes_where_failed(conn, run_id, asked.item, asked.category)
        chosen = [lane for lane in chosen if lane.id in holders]
    else:
        named = asked.phase is not None
        chosen = [lane for lane in chosen if lane.key in able or _is_retryable(lane, by_name=named)]
    stopped = {key for key, lane in views.items() if lane.status is LaneStatus.CANCELLED}
    if not chosen and (asked.is_of_items or asked.phase is not None or not stopped):
        raise UserError(
            f"run {run_id}: no failed step or item matches, so there is nothing to retry"
        )
    needed = {lane.key.phase for lane in chosen if PHASE_INPUTS[lane.key.phase].is_needed}
    if lacking := (await lacks_of(conn, config, needed)).reasons:
        # The retry would delete the figures that exist, and then block the steps that make them.
        phase, why = next(iter(lacking.items()))
        raise UserError(f"run {run_id}: {phase} cannot be retried: {why}")
    reopened = {lane.key for lane in chosen} | stopped
    for lane in chosen:
        reopened.update(dependents_of(lane.key, list(views)))
    names, count = [], 0
    pruned = await pruned_lanes(conn, run_id)
    for key, lane in views.items():
        if key in reopened and (lane.status is not LaneStatus.SKIPPED or key in able):
            _check_not_pruned(run_id, lane, pruned)
            count += await _reopen(conn, run_id, lane, asked, now, is_chosen=lane in chosen)
            names.append(str(key))
    await runs.change_run(conn, run_id, "retry", now)
    if schedule := run.config.get("schedule"):
        await slots.reopen(conn, schedule, run_id)
    if backfill := (run.config.get("backfill") or {}).get("id"):
        await backfills.reopen_slots(conn, backfill, run_id)
    await wake(conn, [WakeUp("run", str(run_id), JobPriority.HIGH)])
    detail = {"lanes": names, **acted(by)}
    await events.append(conn, [Event("run.retry", run_id, detail=detail)])
    return Retried(names, count)


async def _reopen(
    conn: Connection, run_id: UUID, lane: LaneView, asked: Asked, now: datetime, *, is_chosen: bool
) -> int:
    """Open a lane; returns how many failed items are pending again."""
    await runs.change_lane(conn, lane.id, "retry", now)
    if lane.key.phase is PhaseName.DSI_CALCULATION:
        # Delete the items first: this waits for a worker that is still settling some.
        await planning.discard(conn, lane.id)
        await delete_scores(conn, run_id, lane.key.content_type)
    elif is_chosen:
        return await planning.reopen_failed(conn, lane.id, asked.item, asked.category)
    elif not asked.is_of_items and lane.status is LaneStatus.FAILED:
        return await planning.reopen_failed(conn, lane.id)
    return 0


def _matches(lane: LaneView, phase: PhaseName | None, content_type: ContentType | None) -> bool:
    """Whether a lane is of the phase and the content type; None: of any."""
    return (phase is None or lane.key.phase is phase) and (
        content_type is None or lane.key.content_type is content_type
    )


def _is_retryable(lane: LaneView, *, by_name: bool) -> bool:
    """Whether a retry opens a lane. ``by_name``: a person named its phase."""
    # A lane that completed with some failures is retried only by name.
    stopped = (LaneStatus.FAILED, LaneStatus.BLOCKED, LaneStatus.CANCELLED)
    return lane.status in stopped or (by_name and lane.status is LaneStatus.COMPLETED)


def _check_not_pruned(run_id: UUID, lane: LaneView, pruned: Collection[int]) -> None:
    """Raise ``UserError`` if a lane cannot be planned again without buying its data again."""
    # Computing again costs nothing, so the DSI lane may be planned again.
    if lane.id in pruned and lane.key.phase is not PhaseName.DSI_CALCULATION:
        raise UserError(
            f"run {run_id}: the items of {lane.key} were pruned, so it cannot be retried without"
            " buying again what it has; start a new run"
        )
