"""What a run was asked to do. Stored with the run, so a resume can never forget it."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field, ValidationInfo

from serpline.config.breaker import RunBreaker
from serpline.config.model import ConfigModel
from serpline.config.values import (
    BATCH_SIZE_MAX,
    Amount,
    AwareTime,
    Must,
    Ratio,
    SearchedDevice,
    SearchedType,
    Several,
    Switch,
    Text,
    Words,
    number,
    one_of,
    searches_per_batch,
    whole,
)
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import UserError
from serpline.domain.names import (
    SEARCHED_TYPES,
    BatchPriority,
    ContentType,
    Device,
    PhaseName,
    PipelineMode,
)
from serpline.domain.phases import PHASE_DEPENDENCIES

TESTING_KEYWORDS = 5

# Keys that a schedule gives to its runs.
RetryAttempts = Annotated[int, whole(1, 100), Field(description="Attempts per item.")]
PhaseRetries = Annotated[
    int,
    whole(0, 100),
    Field(description="Automatic retries of a failed lane (SCHEDULED mode)."),
]
MinCollectedRatio = Annotated[
    Ratio,
    Field(
        description="Share of a content type's planned searches below which the run completes with"
        " errors; 1: if any is missing."
    ),
]
HistoricalTracking = Annotated[
    Switch,
    Field(description="Whether trends and later combined figures use the run's results."),
]
ForceRefresh = Annotated[
    Switch,
    Field(
        description="Buy reference data (volumes, companies, videos, channels, analyses) once in"
        " the run even if it is fresh."
    ),
]


def _for_each_type(given: Any, info: ValidationInfo) -> Any:
    """Settings that are given once hold for each content type of the run."""
    if not isinstance(given, Mapping) or set(given) <= set(SEARCHED_TYPES):
        return given
    one = RunBreaker.model_validate(dict(given))
    return dict.fromkeys(info.data.get("content_types", SEARCHED_TYPES), one)


class PipelineConfig(ConfigModel):
    """The settings of one run. Every key has the default of an ordinary run.

    Searches are made in every run, whatever is known already.
    """

    content_types: Annotated[
        tuple[Annotated[ContentType, one_of(SEARCHED_TYPES)], ...],
        Several(SEARCHED_TYPES, or_one=True),
    ] = Field(SEARCHED_TYPES, description="The content types that are collected.")
    devices: Annotated[tuple[SearchedDevice, ...], Several(tuple(Device), or_one=True)] = Field(
        (Device.DESKTOP,), description="The devices that searches are made as."
    )
    force_refresh: ForceRefresh = False
    enable_historical_tracking: HistoricalTracking = True
    scheduled_for: AwareTime | None = Field(
        None, description="The time that the run was scheduled for."
    )
    schedule: Text | None = Field(None, description="The name of the run's schedule.")
    circuit_breaker: Annotated[
        Mapping[SearchedType, RunBreaker],
        BeforeValidator(
            _for_each_type, json_schema_input_type=RunBreaker | dict[SearchedType, RunBreaker]
        ),
        Words("the settings of a breaker, or such settings by content type"),
    ] = Field(
        default_factory=dict,
        description="A stricter circuit breaker of the run's own for its searches.",
    )
    landscape: Text | None = Field(None, description="Only the keywords of this named set.")
    keyword_limit: Annotated[int, whole(1, 10_000_000)] | None = Field(
        None, description="Only the first so many pairs of keyword and market."
    )
    phases: Annotated[
        tuple[Annotated[PhaseName, one_of(tuple(PhaseName))], ...],
        Several(tuple(PhaseName), least=0, or_one=True),
    ] = Field((), description="Only these phases (MANUAL mode); an empty list: all.")
    inputs_from: Annotated[UUID, Must("the id of a run")] | None = Field(
        None,
        description="The run that gives the results of phases that are not chosen, and with them"
        " its keywords, landscape and, unless this run searches, devices.",
    )
    retry_attempts: RetryAttempts = 3
    phase_retries: PhaseRetries = 1
    min_success_ratio: Ratio = Field(
        0.5, description="Share of a lane's items below which the lane has failed."
    )
    min_collected_ratio: MinCollectedRatio = 1.0
    batch_size: Annotated[int, searches_per_batch(unlimited=BATCH_SIZE_MAX)] = Field(
        BATCH_SIZE_MAX, description="Searches per provider batch."
    )
    realtime_searches_max: Annotated[int, whole(0, 1_000_000)] = Field(
        0, description="Up to so many searches are made one by one instead of as a provider batch."
    )
    batch_priority: Annotated[BatchPriority, one_of(tuple(BatchPriority))] | None = Field(
        None,
        description="How soon the provider runs the batches among its others; not given: normal in"
        " SCHEDULED mode, else high.",
    )
    analysis_depth: Annotated[int, whole(1, 100)] = Field(
        10, description="The last position whose page is analysed."
    )
    curve: Text = Field("classic", description="The name of the click-through curve.")
    include_ai_overview: Switch = Field(
        False,
        description="Ask for each organic search whether its page shows an AI overview, for one"
        " more credit.",
    )
    ai_overview_factor: Ratio = Field(
        0.5, description="Share of the clicks that a shown AI overview leaves."
    )
    unknown_volume: Annotated[str, one_of(("exclude", "impute"))] = Field(
        "exclude",
        description="What a keyword of unknown volume does to the traffic share: it is left out, or"
        " its volume is imputed and marked.",
    )
    content_type_weights: Annotated[
        Mapping[Text, Amount], Words("numbers by content type, each 0 or more")
    ] = Field(
        default_factory=dict,
        description="Weights of the combined DSI; a type that is not given weighs 1.",
    )
    credit_limits: Annotated[
        Mapping[Text, Amount], Words("numbers by provider, each 0 or more")
    ] = Field(
        default_factory=dict, description="Credits that the run may spend, in the provider's unit."
    )
    reference_ttl_days: Annotated[int, whole(0, 3_650)] = Field(
        30, description="Days for which bought reference data is used."
    )
    lane_deadline_hours: Annotated[float, number("0 to 1000", ge=0, le=1_000)] = Field(
        48.0,
        description="Hours after a lane's start, or after the run's last resume, at which its"
        " unfinished items fail.",
    )
    fresh_until: Annotated[
        Mapping[SearchedType, AwareTime], Words("times with a time zone by content type")
    ] = Field(
        default_factory=dict,
        description="When the collected results become stale in a later run's combined DSI; a"
        " schedule sets it to its next slot.",
    )

    def for_mode(self, mode: PipelineMode) -> "PipelineConfig":
        """What the mode makes of it (design, section 5); refuses what the mode does not allow."""
        if mode is not PipelineMode.MANUAL and self.phases:
            raise UserError(f"phases can be chosen in MANUAL mode only, not in {mode}")
        if self.inputs_from is not None and not self.phases:
            raise UserError(
                f"inputs_from={self.inputs_from}: nothing would be read from it; choose with phases"
                " what to run, and the results of all other phases are read from that run"
            )
        if self.inputs_from is None:
            for phase in self.phases:
                missing = [need for need in PHASE_DEPENDENCIES[phase] if need not in self.phases]
                if missing:
                    raise UserError(
                        f"phases: {phase} needs {missing[0]}, which is not chosen: choose it too,"
                        " or name the run its results come from with inputs_from"
                    )
        changed: dict[str, Any] = {}
        if mode is PipelineMode.TESTING:
            limit = min(self.keyword_limit or TESTING_KEYWORDS, TESTING_KEYWORDS)
            changed.update(keyword_limit=limit, force_refresh=True)
            changed.update(enable_historical_tracking=False)
        if mode is not PipelineMode.SCHEDULED:
            changed.update(phase_retries=0)
        return self.model_copy(update=changed)

    def breaker_of(self, content_type: ContentType) -> BreakerSettings | None:
        """What the run's own breaker for a content type opens on; None: it has none."""
        given = self.circuit_breaker.get(content_type)
        return None if given is None else given.settings()

    def batch_priority_in(self, mode: PipelineMode) -> BatchPriority:
        """The priority of this run's batches, which the mode decides unless it was chosen."""
        return self.batch_priority or _PRIORITY_OF[mode]


# Where a person waits, the batches go before those of schedules.
_PRIORITY_OF: Mapping[PipelineMode, BatchPriority] = {
    PipelineMode.SCHEDULED: BatchPriority.NORMAL,
    PipelineMode.TESTING: BatchPriority.HIGH,
    PipelineMode.MANUAL: BatchPriority.HIGH,
}
