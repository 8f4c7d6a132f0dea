"""Resolve ``inputs_from``: the source run of each phase that a run does not run itself.

It is resolved once, at the run's start. The source of a phase is the run named by ``inputs_from``,
or that run's own source for the phase. So a chain of runs is resolved step by step, and every lane
stores the one run whose results it reads (``source_run_id``). The run takes its keywords, content
types and landscape from the named run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from serpline.config.lanes import LaneSettings
from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES, ContentType, PhaseName
from serpline.domain.phase_inputs import needed_by
from serpline.domain.phases import LaneView
from serpline.domain.states import ENDED_RUNS, LaneStatus
from serpline.store.database import Connection
from serpline.store.runs import runs


@dataclass(frozen=True, slots=True)
class Resolved:
    """The configuration with inherited values, and the source run of each phase.

    ``sources`` has the phases that the run does not run itself; it is empty without
    ``inputs_from``.
    """

    config: PipelineConfig
    sources: Mapping[PhaseName, UUID] = field(default_factory=dict)


async def resolve(conn: Connection, config: PipelineConfig) -> Resolved:
    """Resolve ``inputs_from``. Raises ``UserError`` if that run cannot provide the inputs."""
    if config.inputs_from is None:
        return Resolved(config)
    named = f"inputs_from={config.inputs_from}"
    # The lock makes retention wait, so that it sees this run as a reader.
    run = await runs.lock(conn, config.inputs_from)
    if run is None:
        raise UserError(f"{named}: there is no such run")
    if run.status not in ENDED_RUNS:
        raise UserError(
            f"{named}: the run is {run.status}; its results can be used once it has ended"
        )
    lanes = await runs.lanes(conn, run.id)
    sources = await runs.source_runs(conn, run.id)
    source_config = PipelineConfig.from_json(run.config)
    _check_phases(named, config, run.id, lanes, sources)
    return Resolved(
        _inherit(named, config, source_config, lanes),
        {phase: sources[phase] for phase in PhaseName if phase not in config.phases},
    )


def _check_phases(
    named: str,
    config: PipelineConfig,
    run_id: UUID,
    lanes: list[LaneView],
    sources: Mapping[str, UUID],
) -> None:
    """Refuse a source run without a phase that a chosen one cannot work without."""
    available = {lane.key.phase for lane in lanes if lane.status is not LaneStatus.SKIPPED}
    available |= {phase for phase in PhaseName if sources[phase] != run_id}
    for phase in config.phases:
        for need in needed_by(phase):
            if need not in config.phases and need not in available:
                raise UserError(f"{named}: {phase} needs {need}, which was not part of that run")


def _inherit(
    named: str, config: PipelineConfig, source_config: PipelineConfig, lanes: list[LaneView]
) -> PipelineConfig:
    for name in ("landscape", "keyword_limit"):
        value, source_value = getattr(config, name), getattr(source_config, name)
        if value not in (None, source_value):
            raise UserError(
                f"{name}={value!r}: {named} has {source_value!r}; its keywords are used"
            )
    searches = PhaseName.SERP_COLLECTION in config.phases
    if not searches and config.devices not in (PipelineConfig().devices, source_config.devices):
        devices = ", ".join(source_config.devices)
        raise UserError(f"devices={', '.join(config.devices)}: {named} was searched on {devices}")
    content_types = _types(named, config, lanes)
    inherited = {
        "content_types": content_types,
        "devices": config.devices if searches else source_config.devices,
        "landscape": source_config.landscape,
        "keyword_limit": source_config.keyword_limit,
    }
    config = config.model_copy(update=inherited)
    return config if searches else _keep_out_of_history(config, source_config)


def _keep_out_of_history(config: PipelineConfig, source: PipelineConfig) -> PipelineConfig:
    """Results kept out of history stay out of it when they are recomputed."""

    def is_tracked(of: str) -> bool:
        return all(each.of(of).enable_historical_tracking for each in (config, source))

    of_run, lanes = is_tracked(ContentType.ALL), dict(config.lanes)
    for kind in config.content_types:
        if kind in lanes or is_tracked(kind) != of_run:
            own = lanes.get(kind, LaneSettings())
            lanes[kind] = own.model_copy(update={"enable_historical_tracking": is_tracked(kind)})
    return config.model_copy(update={"enable_historical_tracking": of_run, "lanes": lanes})


def _types(named: str, config: PipelineConfig, lanes: list[LaneView]) -> tuple[ContentType, ...]:
    """The configured content types; the default (all types) means all types of the source run."""
    source_types = {lane.key.content_type for lane in lanes}
    known = tuple(kind for kind in SEARCHED_TYPES if kind in source_types)
    if set(config.content_types) == set(SEARCHED_TYPES) and known:
        return known
    for kind in config.content_types:
        if kind not in source_types:
            raise UserError(f"{named}: that run has no {kind}; it has {', '.join(known) or 'none'}")
    return config.content_types
