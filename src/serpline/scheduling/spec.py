"""A schedule specification: when content types are collected, and how.

The JSON form is an object such as ``{"content_type": "news", "frequency": "daily",
"time_of_day": "09:00", "retry_attempts": 5}``; a schedule is one or several of them. Every key
and value is checked when it is read, and what cannot be used is a ``UserError`` of one line.

Carried, but with no effect on runs yet: ``jitter``, ``overlap``, ``catch_up`` and ``deadline``
(they rule over slots, which are not stored yet). Freshness targets and pausing after failed runs
are not read yet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, Device
from serpline.scheduling import values

CATCH_UP_SLOTS_MAX = 100
_UTC = ZoneInfo("UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_SECONDS = 366 * values.DAY_SECONDS


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


class CatchUpMode(StrEnum):
    """Which of the slots missed during a downtime are started afterwards."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"
    WITHIN = "within"


@dataclass(frozen=True, slots=True)
class CatchUp:
    """``slots_max`` bounds ``all`` and ``within``; ``within_seconds`` is how old they may be."""

    mode: CatchUpMode = CatchUpMode.LATEST
    within_seconds: int | None = None
    slots_max: int = CATCH_UP_SLOTS_MAX

    def to_json(self) -> str | dict[str, Any]:
        """The form that the specification has."""
        if self.mode is not CatchUpMode.WITHIN:
            return str(self.mode)
        return {"within": self.within_seconds, "max": self.slots_max}


def _catch_up(key: str, value: Any) -> CatchUp:
    if isinstance(value, Mapping):
        readers: Mapping[str, Callable[[str, Any], Any]] = {
            "within": values.duration(60, _YEAR_SECONDS),
            "max": values.integer(1, CATCH_UP_SLOTS_MAX),
        }
        read = values.mapping(key, value, readers, ["within"])
        slots_max = read.get("max", CATCH_UP_SLOTS_MAX)
        return CatchUp(CatchUpMode.WITHIN, read["within"], slots_max)
    if value not in ("none", "latest", "all"):
        must = 'must be none, latest, all, or an object such as {"within": "2d", "max": 10}'
        raise values.wrong(key, value, must)
    return CatchUp(CatchUpMode(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """When to collect which content types, and how; read it with ``from_json``.

    ``frequency`` daily and weekly run at ``time_of_day`` (midnight if not given) on
    ``days_of_week`` (ISO, 1 = Monday; daily: every day, weekly: Monday, if not given); monthly and
    quarterly (January, April, July, October) on ``day_of_month`` (-1 = last; 29 to 31 fall on the
    last day of shorter months; the 1st if not given). ``cron`` has five fields. All of these are
    wall-clock times in ``timezone``. ``interval_seconds`` is elapsed time; ``anchor``
    is any instant it falls on (the start of 1970 in UTC if not given), not its first.

    ``retry_attempts`` is attempts per item, ``phase_retries`` how often a failed lane is retried
    by itself, ``batch_size`` searches per provider batch (None: as many as the provider takes),
    ``min_collected_ratio`` the share of a type's searches below which a run completes with errors.
    ``force_refresh``: whether its runs buy reference data anew that is fresh.
    """

    content_types: tuple[ContentType, ...]
    frequency: Frequency
    timezone: ZoneInfo = _UTC
    time_of_day: time | None = None
    days_of_week: tuple[int, ...] | None = None
    day_of_month: int | None = None
    cron: str | None = None
    interval_seconds: int | None = None
    anchor: datetime | None = None
    devices: tuple[Device, ...] = (Device.DESKTOP,)
    landscape: str | None = None
    retry_attempts: int = 3
    phase_retries: int = 1
    min_collected_ratio: float = 1.0
    batch_size: int | None = None
    enable_historical_tracking: bool = True
    force_refresh: bool = False
    circuit_breaker: BreakerSettings | None = None
    jitter_seconds: int = 0
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp()
    deadline_seconds: int | None = None

    def __post_init__(self) -> None:
        """Refuse keys that mean nothing with this frequency, and miss those that it needs."""
        written = self.to_json()
        for key, frequencies in _GOES_WITH.items():
            if key in written and self.frequency not in frequencies:
                raise values.wrong(
                    key,
                    written[key],
                    f"goes with frequency {' or '.join(frequencies)}, not {self.frequency}",
                )
        for frequency, key in ((Frequency.CRON, "cron"), (Frequency.INTERVAL, "interval")):
            if self.frequency is frequency and key not in written:
                raise UserError(f"{key} is missing: frequency={str(frequency)!r} needs it")

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "ScheduleSpec":
        """Read the JSON form. Raises ``UserError``, one line that names the key and the value."""
        if not isinstance(given, Mapping):
            raise UserError(
                f"a schedule specification must be an object, not {values.shown(given)}"
            )
        values.refuse_unknown(given, _READERS)
        if ("content_type" in given) == ("content_types" in given):
            state = "given twice" if "content_type" in given else "missing"
            raise UserError(f"content_type is {state}: give content_type or content_types")
        if "frequency" not in given:
            raise UserError(f"frequency is missing: give one of {', '.join(Frequency)}")
        read: dict[str, Any] = {}
        for key, value in given.items():
            read[_FIELDS.get(key, key)] = _READERS[key](key, value)
        return cls(**read)

    def to_json(self) -> dict[str, Any]:
        """The JSON form that ``from_json`` reads back; durations in seconds."""
        written: dict[str, Any] = {
            "content_types": [str(kind) for kind in self.content_types],
            "frequency": str(self.frequency),
            "timezone": self.timezone.key,
            "time_of_day": self.time_of_day and f"{self.time_of_day:%H:%M}",
            "days_of_week": self.days_of_week
            and [values.weekday_name(d) for d in self.days_of_week],
            "day_of_month": self.day_of_month,
            "cron": self.cron,
            "interval": self.interval_seconds,
            "anchor": self.anchor and self.anchor.isoformat(),
            "devices": [str(device) for device in self.devices],
            "landscape": self.landscape,
            "retry_attempts": self.retry_attempts,
            "phase_retries": self.phase_retries,
            "min_collected_ratio": self.min_collected_ratio,
            "batch_size": "unlimited" if self.batch_size is None else self.batch_size,
            "enable_historical_tracking": self.enable_historical_tracking,
            "force_refresh": self.force_refresh,
            "circuit_breaker": self.circuit_breaker
            and {
                "failure_threshold": self.circuit_breaker.failure_threshold,
                "success_threshold": self.circuit_breaker.success_threshold,
                "timeout_seconds": self.circuit_breaker.timeout_seconds,
            },
            "jitter": self.jitter_seconds,
            "overlap": str(self.overlap),
            "catch_up": self.catch_up.to_json(),
            "deadline": self.deadline_seconds,
        }
        return {key: value for key, value in written.items() if value is not None}

    @property
    def counted_from(self) -> datetime:
        """An instant that an interval falls on."""
        return self.anchor or _EPOCH


_READERS: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {
        "content_type": lambda key, value: (values.content_type(key, value),),
        "content_types": values.content_types,
        "frequency": values.choice(Frequency),
        "timezone": values.time_zone,
        "time_of_day": values.time_of_day,
        "days_of_week": values.days_of_week,
        "day_of_month": values.day_of_month,
        "cron": values.cron,
        "interval": values.duration(60, _YEAR_SECONDS),
        "anchor": values.instant,
        "devices": values.devices,
        "landscape": values.name,
        "retry_attempts": values.integer(1, 100),
        "phase_retries": values.integer(0, 100),
        "min_collected_ratio": values.ratio,
        "batch_size": values.batch_size,
        "enable_historical_tracking": values.boolean,
        "force_refresh": values.boolean,
        "circuit_breaker": values.circuit_breaker,
        "jitter": values.duration(0, values.DAY_SECONDS),
        "overlap": values.choice(Overlap),
        "catch_up": _catch_up,
        "deadline": values.duration(60, _YEAR_SECONDS),
    }
)
_FIELDS: Mapping[str, str] = {
    "content_type": "content_types",
    "interval": "interval_seconds",
    "jitter": "jitter_seconds",
    "deadline": "deadline_seconds",
}
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
