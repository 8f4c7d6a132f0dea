"""Resolve ``backfill``: the earlier run that a new run replaces, and what is left of its searches.

It is resolved once, at the run's start. The new run takes the keywords, landscape and devices of
the replaced one, and its time. A run that replaces a replacement replaces the first of them: they
share one scope of stored replies.
"""

from uuid import UUID

from serpline.config.backfill import GivenResultSet, RunBackfill
from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.schedules import BackfillKind
from serpline.domain.states import ENDED_RUNS
from serpline.store.database import Connection
from serpline.store.runs import batches, runs
from serpline.store.runs.runs import RunRow


async def resolve(conn: Connection, config: PipelineConfig) -> PipelineConfig:
    """Fill in ``backfill`` and ``result_sets``.

    Raises ``UserError`` if the named run cannot be replaced.
    """
    given = config.backfill
    if given is None or given.kind is BackfillKind.LATE:
        return config
    if given.run_id is None:
        raise UserError(f"backfill.run_id is missing: {given.kind} reads an earlier run's replies")
    named = f"backfill.run_id={given.run_id}"
    # The lock keeps a retry from continuing it before this run exists.
    run = await runs.lock(conn, given.run_id)
    if run is None:
        raise UserError(f"{named}: there is no such run")
    if run.status not in ENDED_RUNS or run.completed_at is None:
        raise UserError(f"{named}: the run is {run.status}; only an ended run is replaced")
    earlier = PipelineConfig.from_json(run.config)
    if earlier.inputs_from is not None:
        raise UserError(f"{named}: it used the results of run {earlier.inputs_from}; name that run")
    for kind in config.content_types:
        if kind not in earlier.content_types:
            raise UserError(f"{named}: that run has no {kind}")
    first = await _first(conn, run, earlier)
    sets = await _result_sets(conn, first.id, config)
    return config.model_copy(
        update={
            "backfill": RunBackfill(
                kind=given.kind,
                id=given.id,
                run_id=first.id,
                is_late=earlier.is_late,
                started_at=first.created_at,
                ended_at=run.completed_at,
            ),
            "result_sets": config.result_sets or sets,
            "devices": earlier.devices,
            "landscape": earlier.landscape,
            "keyword_limit": earlier.keyword_limit,
            "enable_historical_tracking": config.enable_historical_tracking
            and earlier.enable_historical_tracking,
        }
    )


async def _first(conn: Connection, run: RunRow, config: PipelineConfig) -> RunRow:
    if config.replaces is None:
        return run
    first = await runs.lock(conn, config.replaces)
    if first is None:
        raise UserError(
            f"backfill.run_id={run.id}: run {config.replaces}, which it replaced, is gone"
        )
    return first


async def _result_sets(
    conn: Connection, run_id: UUID, config: PipelineConfig
) -> dict[str, tuple[GivenResultSet, ...]]:
    """The result sets that a run's batches made, by content type.

    A recomputation makes no call, so it takes those whose id is stored.
    """
    found: dict[str, list[GivenResultSet]] = {}
    for kind, batch_id, result_set_id in await batches.started(conn, run_id):
        if kind in config.content_types and (result_set_id is not None or not config.is_replay):
            made = GivenResultSet(batch_id=batch_id, result_set_id=result_set_id)
            found.setdefault(kind, []).append(made)
    return {kind: tuple(sets) for kind, sets in found.items()}
