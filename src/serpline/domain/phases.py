"""A run's lanes, their order and what each of them needs, as pure functions."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from serpline.domain.names import SEARCHED_TYPES, ContentType, PhaseName
from serpline.domain.phase_inputs import PHASE_INPUTS
from serpline.domain.states import ENDED_LANES, LaneStatus, RunStatus

# The order of the phases. ``PHASE_INPUTS`` has what each of them needs.
PHASE_DEPENDENCIES: Mapping[str, Sequence[str]] = {
    "keyword_metrics": [],
    "serp_collection": ["keyword_metrics"],
    "company_enrichment_serp": ["serp_collection"],
    "youtube_enrichment": ["serp_collection"],
    "company_enrichment_youtube": ["youtube_enrichment", "company_enrichment_serp"],
    "content_analysis": ["company_enrichment_serp", "youtube_enrichment"],
    "dsi_calculation": ["content_analysis", "company_enrichment_youtube"],
}

# The longest time that volumes delay searches, which do not read them. Search results are of a
# day, volumes of a month.
ORDER_SECONDS_MAX = 300.0


class LaneKey(NamedTuple):
    """A lane within its run."""

    phase: PhaseName
    content_type: ContentType

    def __str__(self) -> str:
        return f"{self.phase}/{self.content_type}"

    @property
    def is_combined(self) -> bool:
        """Whether this is the lane of the combined DSI."""
        return self == _COMBINED


_ALL = ContentType.ALL
_COMBINED = LaneKey(PhaseName.DSI_CALCULATION, _ALL)


def lanes_of(content_types: Collection[ContentType]) -> list[LaneKey]:
    """The lanes of a run over these content types, in the order of the data flow.

    ``keyword_metrics`` has one lane for all types. So has the combined DSI, which comes last.
    """
    typed = [kind for kind in SEARCHED_TYPES if kind in content_types]
    lanes = [LaneKey(PhaseName.KEYWORD_METRICS, ContentType.ALL)]
    for phase in PhaseName:
        if phase is not PhaseName.KEYWORD_METRICS:
            lanes.extend(LaneKey(phase, kind) for kind in typed)
    return [*lanes, _COMBINED]


def lanes_before(lane: LaneKey, lanes: Collection[LaneKey]) -> list[LaneKey]:
    """The lanes that end before ``lane`` starts: of its content type, or for all types."""
    return _lanes_of_phases(lane, map(PhaseName, PHASE_DEPENDENCIES[lane.phase]), lanes)


def inputs_of(lane: LaneKey, lanes: Collection[LaneKey]) -> list[LaneKey]:
    """The lanes whose results ``lane`` reads: of its content type, or for all types."""
    return _lanes_of_phases(lane, PHASE_INPUTS[lane.phase].reads, lanes)


def _lanes_of_phases(
    lane: LaneKey, phases: Iterable[PhaseName], lanes: Collection[LaneKey]
) -> list[LaneKey]:
    if lane.is_combined:
        return [key for key in lanes if key.phase is lane.phase and key != lane]
    found = [LaneKey(phase, kind) for phase in phases for kind in (lane.content_type, _ALL)]
    return [key for key in found if key in lanes]


def dependents_of(lane: LaneKey, lanes: Collection[LaneKey]) -> list[LaneKey]:
    """Every lane that reads ``lane``, directly or through others, in the order of ``lanes``."""
    return _after(lane, lanes, inputs_of)


def lanes_after(lane: LaneKey, lanes: Collection[LaneKey]) -> list[LaneKey]:
    """Every lane that waits for ``lane``, directly or through others, in the order of ``lanes``."""
    return _after(lane, lanes, lanes_before)


def _after(
    lane: LaneKey,
    lanes: Collection[LaneKey],
    before: Callable[[LaneKey, Collection[LaneKey]], list[LaneKey]],
) -> list[LaneKey]:
    found = {lane}
    ordered = []
    for key in lanes:
        if key not in found and found.intersection(before(key, lanes)):
            found.add(key)
            ordered.append(key)
    return ordered


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane as ``advance`` sees it: its state and the sums of its chunks' counters."""

    id: int
    key: LaneKey
    status: LaneStatus
    is_planned: bool
    retry_count: int
    chunks: int
    chunks_done: int
    planned: int
    completed: int
    failed: int
    skipped: int
    deadline_at: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the lane is planned and all its chunks are done."""
        return self.is_planned and self.chunks == self.chunks_done


@dataclass(frozen=True, slots=True)
class LaneEvent:
    """A decision of ``advance`` for one lane: an event of the lane machine, with its reason."""

    lane: LaneView
    event: str
    reason: str | None = None


def settle(lane: LaneView, min_success_ratio: float) -> LaneEvent:
    """How a finished lane ends. A lane without any success fails at every ratio."""
    if lane.planned == 0:
        return LaneEvent(lane, "complete", "nothing to do")
    good = lane.completed + lane.skipped
    if good == 0:
        return LaneEvent(lane, "fail", f"all {lane.planned} items failed")
    if good / lane.planned < min_success_ratio:
        reason = f"{lane.failed} of {lane.planned} items failed, more than the run allows"
        return LaneEvent(lane, "fail", reason)
    return LaneEvent(lane, "complete")


def start_or_block(
    lane: LaneView,
    states: Mapping[LaneKey, LaneStatus],
    run_seconds: float = 0.0,
    lack: str | None = None,
) -> LaneEvent | None:
    """Start, skip or block a pending lane, or return None if it has to wait.

    ``lack``: why none of its providers can be called (``phase_inputs.lack_of``). It is then skipped
    at once, or blocked if no figure can do without it. Only such a lane blocks others: all other
    lanes enrich, and what failed in them is unknown in the figures. A lane waits for those before
    it and for those that it reads. Volumes delay searches until the run is ``ORDER_SECONDS_MAX``
    old.
    """
    if lack is not None:
        is_needed = PHASE_INPUTS[lane.key.phase].is_needed
        return LaneEvent(lane, "block" if is_needed else "skip", lack)
    reads = {key: states[key] for key in inputs_of(lane.key, states)}
    if lane.key.is_combined:
        if any(status not in ENDED_LANES for status in reads.values()):
            return None
        # The combined figure covers the types that were computed; without any it has no meaning.
        if LaneStatus.COMPLETED in reads.values():
            return LaneEvent(lane, "start")
        return LaneEvent(lane, "block", "no content type has a DSI")
    broken = [
        f"{key} {status}"
        for key, status in reads.items()
        if status in (LaneStatus.FAILED, LaneStatus.BLOCKED) and PHASE_INPUTS[key.phase].is_needed
    ]
    if broken:
        return LaneEvent(lane, "block", " and ".join(broken))
    waits = {key: states[key] for key in lanes_before(lane.key, states)}
    if run_seconds > ORDER_SECONDS_MAX:
        waits = {key: s for key, s in waits.items() if key.phase is not PhaseName.KEYWORD_METRICS}
    if all(status in ENDED_LANES for status in (waits | reads).values()):
        return LaneEvent(lane, "start")
    return None


def uncollected(lanes: Iterable[LaneView], ratios: Mapping[ContentType, float]) -> list[str]:
    """A message for each content type that collected a smaller share of its searches than given."""
    return [
        f"{lane.key.content_type}: {lane.completed} of {lane.planned} searches collected"
        for lane in lanes
        if lane.key.phase is PhaseName.SERP_COLLECTION
        and lane.completed < lane.planned * ratios[lane.key.content_type]
    ]


def ending_of(states: Mapping[LaneKey, LaneStatus]) -> RunStatus | None:
    """The run's final status, or None until every lane has ended.

    Lanes that were skipped were not chosen, or have no provider. A run of which nothing else is
    left has failed.
    """
    if any(status not in ENDED_LANES for status in states.values()):
        return None
    worked = [key for key, status in states.items() if status is not LaneStatus.SKIPPED]
    last_phase = worked[-1].phase if worked else None
    last = [status for key, status in states.items() if key.phase == last_phase]
    if LaneStatus.COMPLETED not in last:
        return RunStatus.FAILED if states else RunStatus.COMPLETED
    if any(s in (LaneStatus.FAILED, LaneStatus.BLOCKED) for s in states.values()):
        return RunStatus.COMPLETED_WITH_ERRORS
    return RunStatus.COMPLETED
