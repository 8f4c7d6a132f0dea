"""Where a run takes the results of the phases it was not asked for: resolved once, at its start.

A run that names ``inputs_from`` reads, of each phase it does not run itself, what that run reads:
the results of that run, or of the one that it took them from. So a chain of runs is resolved step
by step, and every lane names the one run whose results count (``source_run_id``). It is about the
keywords of that run, and of its content types and landscape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES, ContentType, PhaseName
from serpline.domain.phases import PHASE_DEPENDENCIES, LaneView
from serpline.domain.states import ENDED_RUNS, LaneStatus
from serpline.store.database import Connection
from serpline.store.runs import runs


@dataclass(frozen=True, slots=True)
class Resolved:
    """The configuration with what it inherits, and whose results of each phase are read.

    ``sources`` holds the phases that the run does not run itself; without ``inputs_from``, none.
    """

    config: PipelineConfig
    sources: Mapping[PhaseName, UUID] = field(default_factory=dict)


async def resolve(conn: Connection, config: PipelineConfig) -> Resolved:
    """Resolve ``inputs_from``. Raises ``UserError`` where that run cannot give the inputs."""
    if config.inputs_from is None:
        return Resolved(config)
    named = f"inputs_from={config.inputs_from}"
    # Locked, so that retention sees who reads it before it judges whether anybody does.
    run = await runs.lock(conn, config.inputs_from)
    if run is None:
        raise UserError(f"{named}: there is no such run")
    if run.status not in ENDED_RUNS:
        raise UserError(f"{named}: the run is {run.status}; its results count when it has ended")
    lanes = await runs.lanes(conn, run.id)
    sources = await runs.source_runs(conn, run.id)
    given = PipelineConfig.from_json(run.config)
    _check_given(named, config, run.id, lanes, sources)
    return Resolved(
        _inherit(named, config, given, lanes),
        {phase: sources[phase] for phase in PhaseName if phase not in config.phases},
    )


def _check_given(
    named: str,
    config: PipelineConfig,
    run_id: UUID,
    lanes: list[LaneView],
    sources: Mapping[str, UUID],
) -> None:
    """Refuse a run without a phase that a chosen one needs: its figures would lack it unseen."""
    worked = {lane.key.phase for lane in lanes if lane.status is not LaneStatus.SKIPPED}
    worked |= {phase for phase in PhaseName if sources[phase] != run_id}
    for phase in config.phases:
        for need in map(PhaseName, PHASE_DEPENDENCIES[phase]):
            if need not in config.phases and need not in worked:
                raise UserError(f"{named}: {phase} needs {need}, which was not part of that run")


def _inherit(
    named: str, config: PipelineConfig, given: PipelineConfig, lanes: list[LaneView]
) -> PipelineConfig:
    for name in ("landscape", "keyword_limit"):
        own, theirs = getattr(config, name), getattr(given, name)
        if own not in (None, theirs):
            raise UserError(f"{name}={own!r}: {named} has {theirs!r}; its keywords are used")
    searches = PhaseName.SERP_COLLECTION in config.phases
    if not searches and config.devices not in (PipelineConfig().devices, given.devices):
        theirs = ", ".join(given.devices)
        raise UserError(f"devices={', '.join(config.devices)}: {named} was searched on {theirs}")
    # What was kept out of history does not enter it by being computed again.
    tracked = config.enable_historical_tracking and (searches or given.enable_historical_tracking)
    inherited = {
        "content_types": _types(named, config, lanes),
        "devices": config.devices if searches else given.devices,
        "landscape": given.landscape,
        "keyword_limit": given.keyword_limit,
        "enable_historical_tracking": tracked,
    }
    return config.model_copy(update=inherited)


def _types(named: str, config: PipelineConfig, lanes: list[LaneView]) -> tuple[ContentType, ...]:
    """The types asked for; all types, as a run has them unless told, are all of that run's."""
    theirs = {lane.key.content_type for lane in lanes}
    known = tuple(kind for kind in SEARCHED_TYPES if kind in theirs)
    if set(config.content_types) == set(SEARCHED_TYPES) and known:
        return known
    for kind in config.content_types:
        if kind not in theirs:
            raise UserError(f"{named}: that run has no {kind}; it has {', '.join(known) or 'none'}")
    return config.content_types
