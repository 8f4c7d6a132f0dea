"""The configuration of a run. It is stored with the run, so a resume uses the same."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field

from serpline.config.backfill import GivenResultSet, RunBackfill
from serpline.config.lanes import (
    BatchSize,
    HistoricalTracking,
    LaneDeadlineHours,
    LaneSettings,
    MinCollectedRatio,
    MinSuccessRatio,
    OwnBreaker,
    PhaseRetries,
    ProviderSchedule,
    RetryAttempts,
    WorkPriority,
    unset,
)
from serpline.config.model import ConfigModel
from serpline.config.values import (
    BATCH_SIZE_MAX,
    Allowed,
    Amount,
    AwareTime,
    CreditLimits,
    ListOf,
    Must,
    OneSpelling,
    Ratio,
    SearchedDevice,
    SearchedType,
    Switch,
    Text,
    one_of,
    whole,
)
from serpline.domain.errors import UserError
from serpline.domain.names import (
    SEARCHED_TYPES,
    BatchPriority,
    ContentType,
    Device,
    JobPriority,
    PhaseName,
    PipelineMode,
)
from serpline.domain.phase_inputs import needed_by
from serpline.domain.schedules import BackfillKind

TESTING_KEYWORDS = 5

ForceRefresh = Annotated[
    Switch,
    Field(
        description="Buy reference data (volumes, companies, videos, channels, analyses) once in"
        " the run even if it is fresh."
    ),
]


class PipelineConfig(ConfigModel):
    """The settings of one run. The defaults are those of an ordinary run.

    Every run makes its searches, whatever earlier runs collected.
    """

    content_types: Annotated[
        tuple[Annotated[ContentType, one_of(SEARCHED_TYPES)], ...],
        ListOf(SEARCHED_TYPES, or_one=True),
    ] = Field(SEARCHED_TYPES, description="The content types to collect.")
    devices: Annotated[tuple[SearchedDevice, ...], ListOf(tuple(Device), or_one=True)] = Field(
        (Device.DESKTOP,), description="The devices to search as."
    )
    force_refresh: ForceRefresh = False
    enable_historical_tracking: HistoricalTracking = True
    scheduled_for: AwareTime | None = Field(None, description="The time the run was scheduled for.")
    schedule: Text | None = Field(None, description="The name of the run's schedule.")
    backfill: Annotated[
        RunBackfill | None, Allowed("an object with kind and, unless it is late, run_id")
    ] = Field(None, description="The run stands for a past slot of its schedule.")
    result_sets: Annotated[
        Mapping[SearchedType, tuple[GivenResultSet, ...]],
        Allowed("lists of result sets by content type"),
    ] = Field(
        default_factory=dict,
        description="Result sets at the provider that the run takes before it searches.",
    )
    circuit_breaker: OwnBreaker | None = unset(OwnBreaker)
    lanes: Annotated[Mapping[SearchedType, LaneSettings], Allowed("settings by content type")] = (
        Field(
            default_factory=dict,
            description="Settings of single content types, in place of the run's.",
        )
    )
    landscape: Annotated[Text, OneSpelling] | None = Field(
        None, description="Only the keywords of this named set."
    )
    keyword_limit: Annotated[int, whole(1, 10_000_000)] | None = Field(
        None, description="The most pairs of keyword and market; the first ones are used."
    )
    phases: Annotated[
        tuple[Annotated[PhaseName, one_of(tuple(PhaseName))], ...],
        ListOf(tuple(PhaseName), least=0, or_one=True),
    ] = Field((), description="Only these phases (MANUAL mode); an empty list: all.")
    inputs_from: Annotated[UUID, Must("the id of a run")] | None = Field(
        None,
        description="The run whose results are used for phases that are not chosen. Its keywords"
        " and landscape are used too, and its devices unless this run searches.",
    )
    retry_attempts: RetryAttempts = 3
    phase_retries: PhaseRetries = 1
    min_success_ratio: MinSuccessRatio = 0.5
    min_collected_ratio: MinCollectedRatio = 1.0
    batch_size: BatchSize = BATCH_SIZE_MAX
    realtime_searches_max: Annotated[int, whole(0, 1_000_000)] = Field(
        0, description="Up to this many searches are made one by one, more as a provider batch."
    )
    batch_priority: Annotated[BatchPriority, one_of(tuple(BatchPriority))] | None = Field(
        None,
        description="Priority of the batches at the provider; not given: priority, or else normal"
        " in SCHEDULED mode and high in the others.",
    )
    priority: WorkPriority | None = unset(WorkPriority, "; not given: normal")
    provider_schedule: ProviderSchedule = False
    analysis_depth: Annotated[int, whole(1, 100)] = Field(
        10, description="The last position whose page is analysed."
    )
    curve: Text = Field("classic", description="The name of the click-through curve.")
    include_ai_overview: Switch = Field(
        False,
        description="Ask whether each organic search page shows an AI overview, for one more credit"
        " a search.",
    )
    ai_overview_factor: Ratio = Field(
        0.5, description="Share of clicks that remain when an AI overview is shown."
    )
    unknown_volume: Annotated[str, one_of(("exclude", "impute"))] = Field(
        "exclude",
        description="How keywords of unknown volume count in the traffic share: not at all, or with"
        " an imputed volume that is marked.",
    )
    content_type_weights: Annotated[
        Mapping[Text, Amount], Allowed("numbers by content type, each 0 or more")
    ] = Field(
        default_factory=dict,
        description="Weights of the combined DSI; a type that is not given weighs 1.",
    )
    credit_limits: CreditLimits = Field(
        default_factory=dict, description="Credits that the run may spend, in the provider's unit."
    )
    reference_ttl_days: Annotated[int, whole(0, 3_650)] = Field(
        30, description="Days after which bought reference data is bought again."
    )
    lane_deadline_hours: LaneDeadlineHours = 48.0
    fresh_until: Annotated[
        Mapping[SearchedType, AwareTime], Allowed("times with a time zone by content type")
    ] = Field(
        default_factory=dict,
        description="When the collected results become stale in the combined DSI of later runs; a"
        " schedule sets it to its next slot.",
    )

    def for_mode(self, mode: PipelineMode) -> Self:
        """Apply the mode's settings. Raises ``UserError`` for keys the mode does not allow."""
        if mode is not PipelineMode.MANUAL and self.phases:
            raise UserError(f"phases can be chosen in MANUAL mode only, not in {mode}")
        if self.inputs_from is not None and not self.phases:
            raise UserError(
                f"inputs_from={self.inputs_from}: all phases would run, so nothing would be read"
                " from it; choose phases to run, and all others are read from that run"
            )
        if self.inputs_from is None:
            for phase in self.phases:
                missing = [need for need in needed_by(phase) if need not in self.phases]
                if missing:
                    raise UserError(
                        f"phases: {phase} needs {missing[0]}, which is not chosen: choose it too,"
                        " or give the run that has its results with inputs_from"
                    )
        changed = self
        if mode is PipelineMode.TESTING:
            limit = min(self.keyword_limit or TESTING_KEYWORDS, TESTING_KEYWORDS)
            changed = changed.model_copy(update={"keyword_limit": limit, "force_refresh": True})
            changed = changed.for_every_lane("enable_historical_tracking", False)
        if mode is not PipelineMode.SCHEDULED:
            changed = changed.for_every_lane("phase_retries", 0)
            changed = changed.for_every_lane("provider_schedule", False)
        return changed

    def of(self, content_type: str) -> Self:
        """The configuration of a content type's lanes: its own settings, else those of the run."""
        own = self.lanes.get(content_type)
        if own is None:
            return self
        return self.model_copy(update={key: value for key, value in own if value is not None})

    def for_every_lane(self, key: str, value: Any) -> Self:
        """A copy with one value of ``key`` for the run and all of its content types."""
        lanes = {kind: own.model_copy(update={key: None}) for kind, own in self.lanes.items()}
        return self.model_copy(update={key: value, "lanes": lanes})

    def deadlines(self, now: datetime) -> dict[str, datetime]:
        """By content type, when a lane that starts at ``now`` must have finished."""
        return {
            str(kind): now + timedelta(hours=self.of(kind).lane_deadline_hours)
            for kind in ContentType
        }

    def job_priorities(self) -> dict[str, JobPriority]:
        """The priority of each content type's work."""
        return {str(kind): self.of(kind).priority or JobPriority.NORMAL for kind in ContentType}

    @property
    def buys_searches(self) -> bool:
        """Whether a search without a result is made; a backfill only reads what was paid for."""
        return self.backfill is None or self.backfill.kind is BackfillKind.LATE

    @property
    def replaces(self) -> UUID | None:
        """The earlier run of the slot, in whose place this run stands, or None."""
        return None if self.backfill is None else self.backfill.run_id

    @property
    def is_late(self) -> bool:
        """Whether the run's searches were made after its slot."""
        given = self.backfill
        return given is not None and (given.kind is BackfillKind.LATE or given.is_late)

    @property
    def is_replay(self) -> bool:
        """Whether stored replies answer every call of the run, so that none is made."""
        return self.backfill is not None and self.backfill.kind is BackfillKind.RECOMPUTE

    def batch_priority_in(self, mode: PipelineMode) -> BatchPriority:
        """The configured priority of the run's batches, or else that of the mode."""
        if self.batch_priority is None and self.priority is not None:
            return _BATCH_PRIORITY[self.priority]
        return self.batch_priority or _PRIORITY_OF[mode]


_BATCH_PRIORITY: Mapping[JobPriority, BatchPriority] = {
    JobPriority.LOW: BatchPriority.LOW,
    JobPriority.NORMAL: BatchPriority.NORMAL,
    JobPriority.HIGH: BatchPriority.HIGH,
    JobPriority.CRITICAL: BatchPriority.HIGHEST,
}
# When a person waits for the run, its batches go before those of schedules.
_PRIORITY_OF: Mapping[PipelineMode, BatchPriority] = {
    PipelineMode.SCHEDULED: BatchPriority.NORMAL,
    PipelineMode.TESTING: BatchPriority.HIGH,
    PipelineMode.MANUAL: BatchPriority.HIGH,
}
