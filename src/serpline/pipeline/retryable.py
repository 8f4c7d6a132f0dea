"""Which lanes of an ended run a retry may open."""

from collections.abc import Collection
from uuid import UUID

from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneView
from serpline.domain.states import LaneStatus


def matches(lane: LaneView, phase: PhaseName | None, content_type: ContentType | None) -> bool:
    """Whether a lane is of the phase and the content type; None: of any."""
    return (phase is None or lane.key.phase is phase) and (
        content_type is None or lane.key.content_type is content_type
    )


def is_retryable(lane: LaneView, *, by_name: bool) -> bool:
    """Whether a retry opens a lane. ``by_name``: a person named its phase."""
    # A lane that completed with some failures is retried only by name.
    stopped = (LaneStatus.FAILED, LaneStatus.BLOCKED, LaneStatus.CANCELLED)
    return lane.status in stopped or (by_name and lane.status is LaneStatus.COMPLETED)


def check_not_pruned(run_id: UUID, lane: LaneView, pruned: Collection[int]) -> None:
    """Raise ``UserError`` if a lane cannot be planned again without buying its data again."""
    # Computing again costs nothing, so the DSI lane may be planned again.
    if lane.id in pruned and lane.key.phase is not PhaseName.DSI_CALCULATION:
        raise UserError(
            f"run {run_id}: the items of {lane.key} were pruned, so it cannot be retried without"
            " buying again what it has; start a new run"
        )
