"""A schedule specification: when content types are collected, and how.

The JSON form is an object such as ``{"content_type": "news", "frequency": "daily",
"time_of_day": "09:00", "retry_attempts": 5}``; a schedule is one or several of them.

``jitter``, ``overlap``, ``catch_up`` and ``deadline`` have no effect on runs yet: they rule over
slots, which are not stored yet.
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
from pydantic_core import InitErrorDetails, PydanticCustomError

from serpline.config.breaker import ScheduleBreaker
from serpline.config.model import ConfigModel
from serpline.config.run import (
    ForceRefresh,
    HistoricalTracking,
    MinCollectedRatio,
    PhaseRetries,
    RetryAttempts,
)
from serpline.config.values import (
    LeftOut,
    Name,
    SearchedDevice,
    Several,
    Words,
    one_of,
    searches_per_batch,
    whole,
)
from serpline.domain.names import SEARCHED_TYPES, ContentType, Device
from serpline.scheduling.values import (
    DAY_SECONDS,
    Cron,
    DayOfMonth,
    DaysOfWeek,
    Instant,
    TimeOfDay,
    Zone,
    duration,
)

CATCH_UP_SLOTS_MAX = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LongDuration = Annotated[int, duration(60, 366 * DAY_SECONDS)]


class Frequency(StrEnum):
    """How the occurrences of a schedule follow each other."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    CRON = "cron"
    INTERVAL = "interval"


class Overlap(StrEnum):
    """What becomes of a slot that is due while the one before it still runs."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    ALLOW = "allow"


class CatchUp(StrEnum):
    """Which of the slots missed during a downtime are started afterwards."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class CatchUpWithin(ConfigModel):
    """Slots missed during a downtime are started afterwards unless they are too old."""

    within_seconds: _LongDuration = Field(
        alias="within", description="How old the missed slots may be, in seconds or like 2d."
    )
    slots_max: Annotated[int, whole(1, CATCH_UP_SLOTS_MAX)] = Field(
        CATCH_UP_SLOTS_MAX, alias="max", description="How many of them are started at most."
    )


_CATCH_UP = Words('none, latest, all, or an object such as {"within": "2d", "max": 10}')


def _catch_up(given: Any) -> CatchUp | CatchUpWithin:
    if isinstance(given, Mapping):
        return CatchUpWithin.model_validate(dict(given))
    if not isinstance(given, str) or given not in set(CatchUp):
        raise _CATCH_UP.error()
    return CatchUp(given)


def _either_key(schema: dict[str, Any]) -> None:
    """One content type has a key of its own, beside that of several."""
    if "content_type" not in schema["properties"]:
        return  # What is written has the key of several alone.
    several = schema["properties"].pop("content_type")
    one = {**several["items"], "description": "The one content type that is collected."}
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
    INSTEAD_OF_MISSING: ClassVar[Mapping[str, str]] = {
        "content_type": "give content_type or content_types"
    }

    content_types: Annotated[
        tuple[Annotated[ContentType, one_of(SEARCHED_TYPES)], ...], Several(SEARCHED_TYPES)
    ] = Field(
        validation_alias=AliasChoices("content_type", "content_types"),
        description="The content types that are collected; content_type names a single one.",
    )
    frequency: Annotated[Frequency, one_of(tuple(Frequency))] = Field(
        description="How the times follow each other. quarterly: in January, April, July, October."
    )
    timezone: Zone = Field(
        ZoneInfo("UTC"),
        description="The zone of the wall-clock times.",
        json_schema_extra={"default": "UTC"},
    )
    time_of_day: LeftOut[TimeOfDay] = Field(
        None, description="Time of day (daily to quarterly); midnight if not given."
    )
    days_of_week: LeftOut[DaysOfWeek] = Field(
        None,
        description="Days (daily, weekly). Not given: every day if daily, Monday if weekly.",
    )
    day_of_month: LeftOut[DayOfMonth] = Field(
        None,
        description="Day (monthly, quarterly); 29 to 31 fall on the last day of shorter months."
        " Not given: the 1st.",
    )
    cron: LeftOut[Cron] = Field(None, description="Cron expression (frequency cron).")
    interval_seconds: LeftOut[_LongDuration] = Field(
        None,
        alias="interval",
        description="From one to the next, in seconds or like 1h30m (frequency interval).",
    )
    anchor: LeftOut[Instant] = Field(
        None,
        description="Any instant that the interval falls on, not its first; UTC without an offset."
        " Not given: the start of 1970 in UTC.",
    )
    devices: Annotated[tuple[SearchedDevice, ...], Several(tuple(Device))] = Field(
        (Device.DESKTOP,), description="The devices that searches are made as."
    )
    landscape: LeftOut[Name] = Field(None, description="Only the keywords of this named set.")
    retry_attempts: RetryAttempts = 3
    phase_retries: PhaseRetries = 1
    min_collected_ratio: MinCollectedRatio = 1.0
    batch_size: Annotated[int | None, searches_per_batch(unlimited=None)] = Field(
        None,
        description="Searches per provider batch; unlimited: as many as the provider takes.",
        json_schema_extra={"default": "unlimited"},
    )
    enable_historical_tracking: HistoricalTracking = True
    force_refresh: ForceRefresh = False
    circuit_breaker: Annotated[LeftOut[ScheduleBreaker], Words("the settings of a breaker")] = (
        Field(
            None, description="A stricter circuit breaker of the schedule's own for its searches."
        )
    )
    jitter_seconds: Annotated[int, duration(0, DAY_SECONDS)] = Field(
        0, alias="jitter", description="By how much starts are spread, in seconds or like 5m."
    )
    overlap: Annotated[Overlap, one_of(tuple(Overlap))] = Field(
        Overlap.SKIP,
        description="What becomes of a slot that is due while the one before it still runs.",
    )
    catch_up: Annotated[
        CatchUp | CatchUpWithin,
        BeforeValidator(_catch_up, json_schema_input_type=CatchUp | CatchUpWithin),
        _CATCH_UP,
    ] = Field(
        CatchUp.LATEST, description="Which slots missed during a downtime are started afterwards."
    )
    deadline_seconds: LeftOut[_LongDuration] = Field(
        None,
        alias="deadline",
        description="How late a run may start at most, in seconds or like 6h.",
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
    def _fit_the_frequency(self) -> Self:
        """Refuse keys that mean nothing with this frequency, and miss those that it needs."""
        written = self.to_json()
        for key, frequencies in _GOES_WITH.items():
            if key in written and self.frequency not in frequencies:
                goes = f"goes with frequency {' or '.join(frequencies)}, not {self.frequency}"
                raise _fault("must", key, written[key], goes)
        for frequency, key in ((Frequency.CRON, "cron"), (Frequency.INTERVAL, "interval")):
            if self.frequency is frequency and key not in written:
                needs = f"frequency={str(frequency)!r} needs it"
                raise _fault("missing_key", key, None, needs)
        return self

    @property
    def counted_from(self) -> datetime:
        """An instant that an interval falls on."""
        return self.anchor or _EPOCH


def _fault(kind: str, key: str, value: Any, words: str) -> ValidationError:
    error = PydanticCustomError(kind, "{words}", {"words": words})
    fault = InitErrorDetails(type=error, loc=(key,), input=value)
    return ValidationError.from_exception_data("ScheduleSpec", [fault])


_MONTHS = (Frequency.MONTHLY, Frequency.QUARTERLY)
_WEEKS = (Frequency.DAILY, Frequency.WEEKLY)
_GOES_WITH: Mapping[str, tuple[Frequency, ...]] = {
    "time_of_day": (*_WEEKS, *_MONTHS),
    "days_of_week": _WEEKS,
    "day_of_month": _MONTHS,
    "cron": (Frequency.CRON,),
    "interval": (Frequency.INTERVAL,),
    "anchor": (Frequency.INTERVAL,),
}
