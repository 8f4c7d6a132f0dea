"""Settings that each content type of a run may have of its own, and the keys they share.

A schedule passes them on from its specifications. A lane without its own value follows the run's
key, and so do the lanes of all types (volumes, the combined DSI).
"""

from typing import Annotated, Any, get_args

from pydantic import Field
from pydantic.fields import FieldInfo

from serpline.config.breaker import RunBreaker
from serpline.config.model import ConfigModel
from serpline.config.values import (
    BATCH_SIZE_MAX,
    Allowed,
    Priority,
    Ratio,
    Switch,
    number,
    searches_per_batch,
    whole,
)

RetryAttempts = Annotated[int, whole(1, 100), Field(description="Attempts per item.")]
PhaseRetries = Annotated[
    int,
    whole(0, 100),
    Field(description="Automatic retries of a failed step (SCHEDULED mode)."),
]
MinSuccessRatio = Annotated[
    Ratio, Field(description="A step fails if a smaller share of its items succeeds.")
]
MinCollectedRatio = Annotated[
    Ratio,
    Field(
        description="The run completes with errors if a content type collects a smaller share of"
        " its planned searches; 1: if any is missing."
    ),
]
BatchSize = Annotated[
    int,
    searches_per_batch(unlimited=BATCH_SIZE_MAX),
    Field(description="Searches per provider batch."),
]
HistoricalTracking = Annotated[
    Switch,
    Field(description="Whether trends and later combined figures use the run's results."),
]
OwnBreaker = Annotated[
    RunBreaker,
    Allowed("the settings of a breaker"),
    Field(
        description="A stricter circuit breaker for the searches, one per content type, beside the"
        " provider's."
    ),
]
LaneDeadlineHours = Annotated[
    float,
    number("0 to 1000", ge=0, le=1_000),
    Field(
        description="Hours after a step's start, or after the run's last resume, when its"
        " unfinished items fail."
    ),
]
WorkPriority = Annotated[
    Priority,
    Field(
        description="Priority of the work among all runs, and of its batches at the provider"
        " (critical: highest)."
    ),
]
ProviderSchedule = Annotated[
    Switch,
    Field(
        description="Take the result sets of a batch that the provider starts by itself for the"
        " slot (SCHEDULED mode); a schedule sets it."
    ),
]


def unset(key: Any, otherwise: str = "") -> Any:
    """A field of the annotated type ``key`` whose default is None; ``otherwise`` explains it."""
    (described,) = (part for part in get_args(key) if isinstance(part, FieldInfo))
    description = f"{(described.description or '').removesuffix('.')}{otherwise}."
    return Field(None, description=description)


class LaneSettings(ConfigModel):
    """The settings of one content type. Null or not given: the run's."""

    retry_attempts: RetryAttempts | None = unset(RetryAttempts)
    phase_retries: PhaseRetries | None = unset(PhaseRetries)
    min_success_ratio: MinSuccessRatio | None = unset(MinSuccessRatio)
    min_collected_ratio: MinCollectedRatio | None = unset(MinCollectedRatio)
    batch_size: BatchSize | None = unset(BatchSize)
    enable_historical_tracking: HistoricalTracking | None = unset(HistoricalTracking)
    circuit_breaker: OwnBreaker | None = unset(OwnBreaker)
    lane_deadline_hours: LaneDeadlineHours | None = unset(LaneDeadlineHours)
    priority: WorkPriority | None = unset(WorkPriority)
    provider_schedule: ProviderSchedule | None = unset(ProviderSchedule)
