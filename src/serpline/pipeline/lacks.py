"""Which phases no worker can work on, because none of their providers is set up.

The settings of the workers decide, as they stand in the ``workers`` table when a lane is due. Those
of the process that starts a run do not: it may be a machine without keys, or a schedule.

A worker that ended a moment ago may only be restarting. If the others lack its providers, nothing
is decided yet about the phases that need them.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from serpline.config.run import PipelineConfig
from serpline.domain.names import PhaseName
from serpline.domain.phase_inputs import lack_of
from serpline.domain.phases import LaneKey, LaneView
from serpline.domain.states import ENDED_LANES, LaneStatus
from serpline.store.database import Connection
from serpline.store.runs import workers

# A worker ends within 28 s of its signal and starts within a few seconds.
RESTART_SECONDS: Final = 60.0


class Lacks(NamedTuple):
    """``reasons``: by phase, why it cannot work. ``held``: phases whose only worker has just ended.

    A phase with neither can work.
    """

    reasons: Mapping[PhaseName, str] = MappingProxyType({})
    held: Collection[PhaseName] = ()


async def lacks_of(
    conn: Connection, config: PipelineConfig, phases: Collection[PhaseName]
) -> Lacks:
    """Return which phases lack a provider. A recomputation calls nobody, so it lacks nothing.

    Without any worker nothing is known, so nothing lacks.
    """
    if not phases or config.is_replay:
        return Lacks()
    available = await workers.available_providers(conn)
    if available is None:
        return Lacks()
    reasons = {phase: why for phase in phases if (why := lack_of(phase, available))}
    if not reasons:
        return Lacks()
    returning = available | await workers.recent_providers(conn, RESTART_SECONDS)
    held = {phase for phase in reasons if lack_of(phase, returning) is None}
    return Lacks({phase: why for phase, why in reasons.items() if phase not in held}, held)


async def lacks_of_lanes(
    conn: Connection, config: PipelineConfig, lanes: Iterable[LaneView]
) -> Lacks:
    """As ``lacks_of``, for the lanes that have not ended."""
    phases = {lane.key.phase for lane in lanes if lane.status not in ENDED_LANES}
    return await lacks_of(conn, config, phases)


async def startable(
    conn: Connection, config: PipelineConfig, lanes: Iterable[LaneView]
) -> set[LaneKey]:
    """Return the lanes that were skipped without a provider and could start now."""
    chosen = config.phases or tuple(PhaseName)
    skipped = [
        lane.key for lane in lanes if lane.status is LaneStatus.SKIPPED and lane.key.phase in chosen
    ]
    lacks = await lacks_of(conn, config, {key.phase for key in skipped})
    return {key for key in skipped if key.phase not in lacks.reasons}
