"""A schedule specification: when and how content types are collected.

The JSON form is an object such as ``{"content_type": "news", "frequency": "daily",
"time_of_day": "09:00", "retry_attempts": 5}``; a schedule is one or several of them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from serpline.config.breaker import ScheduleBreaker
from serpline.config.lanes import (
    HistoricalTracking,
    LaneDeadlineHours,
    MinCollectedRatio,
    MinSuccessRatio,
    PhaseRetries,
    RetryAttempts,
    WorkPriority,
)
from serpline.config.model import ConfigModel
from serpline.config.run import ForceRefresh
from serpline.config.values import (
    Allowed,
    CreditLimits,
    ListOf,
    Name,
    Omittable,
    SearchedDevice,
    one_of,
    searches_per_batch,
    whole,
)
from serpline.domain.names import SEARCHED_TYPES, ContentType, Device, JobPriority
from serpline.scheduling.frequencies import Frequency, frequency_faults, key_fault
from serpline.scheduling.values import (
    DAY_SECONDS,
    Bound,
    Cron,
    DayOfMonth,
    DaysOfWeek,
    Instant,
    TimeOfDay,
    Zone,
    duration,
    first_instant,
    last_instant,
)

CATCH_UP_SLOTS_MAX = 100
FAILURES_MAX = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LongDuration = Annotated[int, duration(60, 366 * DAY_SECONDS)]


class Overlap(StrEnum):
    """What happens to a slot that is due while the previous one still runs."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    ALLOW = "allow"


class CatchUp(StrEnum):
    """Which slots missed during a downtime are started afterwards."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Driver(StrEnum):
    """Whose calendar starts the searches: ours, or that of the provider."""

    OWN = "own"
    PROVIDER = "provider"


class CatchUpWithin(ConfigModel):
    """Start the slots missed during a downtime, unless they are too old."""

    within_seconds: _LongDuration = Field(
        alias="within", description="How old the missed slots may be, in seconds or like 2d."
    )
    slots_max: Annotated[int, whole(1, CATCH_UP_SLOTS_MAX)] = Field(
        CATCH_UP_SLOTS_MAX, alias="max", description="The most slots that are started."
    )


_CATCH_UP = Allowed('none, latest, all, or an object such as {"within": "2d", "max": 10}')


def _catch_up(given: Any) -> CatchUp | CatchUpWithin:
    if isinstance(given, Mapping):
        return CatchUpWithin.model_validate(dict(given))
    if not isinstance(given, str) or given not in set(CatchUp):
        raise _CATCH_UP.error()
    return CatchUp(given)


def _either_key(schema: dict[str, Any]) -> None:
    """Describe ``content_type`` (one) and ``content_types`` (several) as alternatives."""
    if "content_type" not in schema["properties"]:
        return  # The output form has ``content_types`` only.
    several = schema["properties"].pop("content_type")
    one = {**several["items"], "description": "The one content type to collect."}
    schema["properties"] = {
        "content_type": one,
        "content_types": several,
        **schema["properties"],
    }
    schema["required"].remove("content_type")
    schema["oneOf"] = [{"required": ["content_type"]}, {"required": ["content_types"]}]


class ScheduleSpec(ConfigModel):
    """When to collect which content types, and how.

    Times are wall-clock times in ``timezone``; an interval is elapsed time.
    """

    model_config = ConfigDict(json_schema_extra=_either_key)
    MISSING_KEY_HINTS: ClassVar[Mapping[str, str]] = {
        "content_type": "give content_type or content_types"
    }

    content_types: Annotated[
        tuple[Annotated[ContentType, one_of(SEARCHED_TYPES)], ...], ListOf(SEARCHED_TYPES)
    ] = Field(
        validation_alias=AliasChoices("content_type", "content_types"),
        description="The content types to collect; content_type names a single one.",
    )
    frequency: Annotated[Frequency, one_of(tuple(Frequency))] = Field(
        description="How often it is due. quarterly: in January, April, July and October."
    )
    timezone: Zone = Field(
        ZoneInfo("UTC"),
        description="The time zone of the wall-clock times.",
        json_schema_extra={"default": "UTC"},
    )
    time_of_day: Omittable[TimeOfDay] = Field(
        None, description="Time of day (daily to quarterly); midnight if not given."
    )
    days_of_week: Omittable[DaysOfWeek] = Field(
        None,
        description="Days (daily, weekly). Not given: every day if daily, Monday if weekly.",
    )
    day_of_month: Omittable[DayOfMonth] = Field(
        None,
        description="Day (monthly, quarterly); 29 to 31 fall on the last day of shorter months."
        " Not given: the 1st.",
    )
    cron: Omittable[Cron] = Field(None, description="Cron expression (frequency cron).")
    interval_seconds: Omittable[_LongDuration] = Field(
        None,
        alias="interval",
        description="Time between occurrences, in seconds or like 1h30m (frequency interval).",
    )
    anchor: Omittable[Instant] = Field(
        None,
        description="Any one due instant, not necessarily the first; UTC without an offset."
        " Not given: the start of 1970 in UTC.",
    )
    start: Omittable[Bound] = Field(
        None, description="Never due before this time, or before this day in timezone."
    )
    end: Omittable[Bound] = Field(
        None, description="Never due after this time, or after this day in timezone."
    )
    devices: Annotated[tuple[SearchedDevice, ...], ListOf(tuple(Device))] = Field(
        (Device.DESKTOP,), description="The devices to search as."
    )
    landscape: Omittable[Name] = Field(None, description="Only the keywords of this named set.")
    retry_attempts: RetryAttempts = 3
    phase_retries: PhaseRetries = 1
    min_success_ratio: MinSuccessRatio = 0.5
    min_collected_ratio: MinCollectedRatio = 1.0
    batch_size: Annotated[int | None, searches_per_batch(unlimited=None)] = Field(
        None,
        description="Searches per provider batch; unlimited: as many as the provider takes.",
        json_schema_extra={"default": "unlimited"},
    )
    enable_historical_tracking: HistoricalTracking = True
    force_refresh: ForceRefresh = False
    circuit_breaker: Annotated[Omittable[ScheduleBreaker], Allowed("the settings of a breaker")] = (
        Field(None, description="The schedule's own, stricter circuit breaker for its searches.")
    )
    lane_deadline_hours: LaneDeadlineHours = 48.0
    priority: WorkPriority = Field(JobPriority.NORMAL, json_schema_extra={"default": "normal"})
    credit_limits: CreditLimits = Field(
        default_factory=dict,
        description="Credits that each run may spend, in the provider's unit.",
    )
    jitter_seconds: Annotated[int, duration(0, DAY_SECONDS)] = Field(
        0,
        alias="jitter",
        description="The time over which starts are spread, in seconds or like 5m.",
    )
    overlap: Annotated[Overlap, one_of(tuple(Overlap))] = Field(
        Overlap.SKIP,
        description="What happens to a slot that is due while the previous one still runs.",
    )
    catch_up: Annotated[
        CatchUp | CatchUpWithin,
        BeforeValidator(_catch_up, json_schema_input_type=CatchUp | CatchUpWithin),
        _CATCH_UP,
    ] = Field(
        CatchUp.LATEST, description="Which slots missed during a downtime are started afterwards."
    )
    deadline_seconds: Omittable[_LongDuration] = Field(
        None,
        alias="deadline",
        description="The longest time from a slot to its run's start, in seconds or like 6h.",
    )
    freshness_target_seconds: Omittable[_LongDuration] = Field(
        None,
        alias="freshness_target",
        description="The greatest age of the newest collected results, in seconds or like 26h;"
        " older results raise an alarm.",
    )
    pause_after_failures: Annotated[int, whole(0, FAILURES_MAX)] = Field(
        0, description="Failed runs in a row that pause the schedule; 0: never."
    )
    notify: Annotated[
        tuple[Name, ...], ListOf((), "names of notification destinations", least=0, or_one=True)
    ] = Field((), description="Destinations that get every notification about the schedule.")
    driver: Annotated[Driver, one_of(tuple(Driver))] = Field(
        Driver.OWN,
        description="own: serpline starts the searches; provider: a batch at the provider starts"
        " them by its own calendar (daily, weekly or monthly, on the hour, in the account's zone).",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_content_type(cls, given: Any) -> Any:
        """Read ``content_type`` as a list of one."""
        if not isinstance(given, Mapping) or "content_type" not in given:
            return given
        if "content_types" in given:
            raise PydanticCustomError(
                "sentence", "content_type is given twice: give content_type or content_types"
            )
        return {**given, "content_type": [given["content_type"]]}

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Refuse keys that do not go together; require those that the frequency needs."""
        written = self.to_json()
        faults = frequency_faults(self.frequency, written)
        if self.first is not None and self.last is not None and self.first > self.last:
            words = f"is before start={written['start']!r}"
            faults.append(key_fault("must", "end", written["end"], words))
        if self.deadline_seconds is not None and self.jitter_seconds >= self.deadline_seconds:
            words = f"must be less than deadline={written['deadline']}, or slots wait past it"
            faults.append(key_fault("must", "jitter", written["jitter"], words))
        if faults:
            raise ValidationError.from_exception_data("ScheduleSpec", faults)
        return self

    @property
    def counted_from(self) -> datetime:
        """An instant from which intervals are counted in both directions."""
        return self.anchor or _EPOCH

    @property
    def first(self) -> datetime | None:
        """The first instant at which it may be due, in UTC; None: no bound."""
        return None if self.start is None else first_instant(self.start, self.timezone)

    @property
    def last(self) -> datetime | None:
        """The last instant at which it may be due, in UTC; None: no bound."""
        return None if self.end is None else last_instant(self.end, self.timezone)
