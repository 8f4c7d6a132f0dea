"""A run's lanes and their dependencies, as pure functions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from serpline.domain.names import SEARCHED_TYPES, ContentType, PhaseName
from serpline.domain.states import ENDED_LANES, LaneStatus, RunStatus

PHASE_DEPENDENCIES: Mapping[str, Sequence[str]] = {
    "keyword_metrics": [],
    "serp_collection": ["keyword_metrics"],
    "company_enrichment_serp": ["serp_collection"],
    "youtube_enrichment": ["serp_collection"],
    "company_enrichment_youtube": ["youtube_enrichment", "company_enrichment_serp"],
    "content_analysis": ["company_enrichment_serp", "youtube_enrichment"],
    "dsi_calculation": ["content_analysis", "company_enrichment_youtube"],
}


# Phases whose results others use but can do without. They run in the order above and block none.
ENRICHING = frozenset({PhaseName.KEYWORD_METRICS})
# Waits for the end of enriching lanes, because figures are computed once.
_READS_ENRICHING = frozenset({PhaseName.DSI_CALCULATION})
# The longest time that an enriching lane delays others. Search results are of a day, volumes of a
# month.
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


_COMBINED = LaneKey(PhaseName.DSI_CALCULATION, ContentType.ALL)


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


def needs_of(lane: LaneKey, lanes: Collection[LaneKey]) -> list[LaneKey]:
    """The lanes that must end before ``lane`` starts: of its content type, or for all types."""
    if lane.is_combined:
        return [key for key in lanes if key.phase is lane.phase and key != lane]
    needed = [PhaseName(name) for name in PHASE_DEPENDENCIES[lane.phase]]
    candidates = [
        LaneKey(phase, kind) for phase in needed for kind in (lane.content_type, ContentType.ALL)
    ]
    return [key for key in candidates if key in lanes]


def dependents_of(lane: LaneKey, lanes: Collection[LaneKey]) -> list[LaneKey]:
    """Every lane that needs ``lane``, directly or through others, in the order of ``lanes``."""
    found = {lane}
    ordered = []
    for key in lanes:
        if key not in found and found.intersection(needs_of(key, lanes)):
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
    lane: LaneView, states: Mapping[LaneKey, LaneStatus], run_seconds: float = 0.0
) -> LaneEvent | None:
    """Start or block a pending lane, or None if it has to wait.

    An enriching lane blocks no lane. Other lanes wait for it until the run is
    ``ORDER_SECONDS_MAX`` old; the DSI waits until it ends.
    """
    needs = {need: states[need] for need in needs_of(lane.key, states)}
    broken = [
        need
        for need, status in needs.items()
        if status in (LaneStatus.FAILED, LaneStatus.BLOCKED) and need.phase not in ENRICHING
    ]
    if lane.key.is_combined:
        if any(status not in ENDED_LANES for status in needs.values()):
            return None
        # The combined figure covers the types that were computed; without any it has no meaning.
        if LaneStatus.COMPLETED in needs.values():
            return LaneEvent(lane, "start")
        return LaneEvent(lane, "block", "no content type has a DSI")
    if broken:
        return LaneEvent(lane, "block", " and ".join(f"{n} {states[n]}" for n in broken))
    if lane.key.phase in _READS_ENRICHING:
        needs |= {key: status for key, status in states.items() if key.phase in ENRICHING}
    elif run_seconds > ORDER_SECONDS_MAX:
        needs = {key: status for key, status in needs.items() if key.phase not in ENRICHING}
    if all(status in ENDED_LANES for status in needs.values()):
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
    """The run's final status, or None until every lane has ended."""
    if any(status not in ENDED_LANES for status in states.values()):
        return None
    asked = [key for key, status in states.items() if status is not LaneStatus.SKIPPED]
    last_phase = asked[-1].phase if asked else None
    last = [status for key, status in states.items() if key.phase == last_phase]
    if LaneStatus.COMPLETED not in last:
        return RunStatus.FAILED if asked else RunStatus.COMPLETED
    if any(s in (LaneStatus.FAILED, LaneStatus.BLOCKED) for s in states.values()):
        return RunStatus.COMPLETED_WITH_ERRORS
    return RunStatus.COMPLETED
