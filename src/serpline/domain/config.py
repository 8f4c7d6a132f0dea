"""What a run was asked to do. Stored with the run, so a resume can never forget it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

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
from serpline.domain.text import is_storable

TESTING_KEYWORDS = 5
# What a column of credits can hold ends here.
AMOUNT_LIMIT = 1e12

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """The settings of one run; every field has the default of an ordinary run.

    ``force_refresh`` buys reference data (volumes, companies, videos, channels, analyses) once in
    the run even if it is fresh; without it what was bought within ``reference_ttl_days`` is used.
    Searches are made in every run.
    ``keyword_limit`` takes the first so many keyword × market pairs; ``landscape`` takes those of
    a named set. ``phases`` chooses phases (MANUAL mode only); the results of those not chosen are
    read from the run ``inputs_from``, whose keywords, landscape and (unless it searches itself)
    devices the run then has. ``retry_attempts`` is attempts per item, ``phase_retries`` how
    often a failed lane is retried by itself (SCHEDULED mode). ``min_success_ratio`` is the share
    of a lane's items below which the lane has failed. ``min_collected_ratio`` is the share of a
    content type's planned searches below which the run completes with errors; 1: if any is missing.
    ``credit_limits`` caps what the run may spend, by provider. ``analysis_depth`` is the last
    position whose page is analysed.
    ``include_ai_overview`` asks for each organic search whether its page shows an AI overview, for
    one more credit; a shown one leaves ``ai_overview_factor`` of the clicks.
    ``unknown_volume`` says what a keyword of unknown volume does to the traffic share: excluded,
    or imputed and marked. ``realtime_searches_max``: at most so many searches are made one by one
    instead of as a provider batch. ``schedule`` is the schedule's name. ``circuit_breaker`` is what
    a stricter breaker of the run's own opens on when it collects: settings for all content types,
    or by content type; kept by content type. ``lane_deadline_hours``: what a
    lane has not finished so long after its start, or after the run's last resume, fails.
    ``fresh_until``: by content type, from when on what the run collected is stale in a later run's
    combined DSI; a schedule sets it to its next slot (see ``domain.freshness``).
    ``batch_priority``: how soon the provider runs the batches among its others; not given, the mode
    decides.
    """

    content_types: tuple[ContentType, ...] = SEARCHED_TYPES
    devices: tuple[Device, ...] = (Device.DESKTOP,)
    force_refresh: bool = False
    enable_historical_tracking: bool = True
    scheduled_for: datetime | None = None
    schedule: str | None = None
    circuit_breaker: Mapping[str, Any] = field(default_factory=dict)
    landscape: str | None = None
    keyword_limit: int | None = None
    phases: tuple[PhaseName, ...] = ()
    inputs_from: UUID | None = None
    retry_attempts: int = 3
    phase_retries: int = 1
    min_success_ratio: float = 0.5
    min_collected_ratio: float = 1.0
    batch_size: int = 15_000
    realtime_searches_max: int = 0
    batch_priority: BatchPriority | None = None
    analysis_depth: int = 10
    curve: str = "classic"
    include_ai_overview: bool = False
    ai_overview_factor: float = 0.5
    unknown_volume: str = "exclude"
    content_type_weights: Mapping[str, float] = field(default_factory=dict)
    credit_limits: Mapping[str, float] = field(default_factory=dict)
    reference_ttl_days: int = 30
    lane_deadline_hours: float = 48.0
    fresh_until: Mapping[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Accept words for enumerations; refuse what cannot be run, naming field and value."""
        for name, kind in (
            ("content_types", ContentType),
            ("devices", Device),
            ("phases", PhaseName),
        ):
            object.__setattr__(self, name, _words(name, getattr(self, name), kind))
        if not self.content_types:
            raise UserError("content_types: at least one of organic, news, video is needed")
        if ContentType.ALL in self.content_types:
            raise UserError("content_types='all': must be organic, news or video")
        if not self.devices:
            raise UserError("devices: at least one of desktop, mobile, tablet is needed")
        for name in ("landscape", "curve", "schedule"):
            value = getattr(self, name)
            if not (isinstance(value, str) or (value is None and name != "curve")):
                raise UserError(f"{name}={value!r}: must be a name")
            _storable(name, value or "")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"{name}={getattr(self, name)!r}: must be true or false")
        if self.scheduled_for is not None and self.scheduled_for.tzinfo is None:
            raise UserError(f"scheduled_for={self.scheduled_for}: needs a time zone")
        _within("retry_attempts", self.retry_attempts, 1, 100, whole=True)
        _within("phase_retries", self.phase_retries, 0, 100, whole=True)
        _within("min_success_ratio", self.min_success_ratio, 0, 1)
        _within("min_collected_ratio", self.min_collected_ratio, 0, 1)
        _within("batch_size", self.batch_size, 1, 15_000, whole=True)
        _within("realtime_searches_max", self.realtime_searches_max, 0, 1_000_000, whole=True)
        _within("reference_ttl_days", self.reference_ttl_days, 0, 3_650, whole=True)
        _within("lane_deadline_hours", self.lane_deadline_hours, 0, 1_000)
        _within("analysis_depth", self.analysis_depth, 1, 100, whole=True)
        _within("ai_overview_factor", self.ai_overview_factor, 0, 1)
        if self.keyword_limit is not None:
            _within("keyword_limit", self.keyword_limit, 1, 10_000_000, whole=True)
        for name in ("content_type_weights", "credit_limits"):
            _amounts(name, getattr(self, name))
            for key in getattr(self, name):
                _storable(name, key)
        _check_fresh_until(self.fresh_until)
        breakers = _breakers(self.circuit_breaker, self.content_types)
        object.__setattr__(self, "circuit_breaker", breakers)
        if self.batch_priority is not None:
            if self.batch_priority not in list(BatchPriority):
                known = ", ".join(BatchPriority)
                raise UserError(f"batch_priority={self.batch_priority!r}: must be one of {known}")
            object.__setattr__(self, "batch_priority", BatchPriority(self.batch_priority))
        if self.unknown_volume not in ("exclude", "impute"):
            raise UserError(f"unknown_volume={self.unknown_volume!r}: must be exclude or impute")

    def for_mode(self, mode: PipelineMode) -> "PipelineConfig":
        """What the mode makes of it (design, section 5); refuses what the mode does not allow."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
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
        if mode is PipelineMode.TESTING:
            limit = min(self.keyword_limit or TESTING_KEYWORDS, TESTING_KEYWORDS)
            values.update(keyword_limit=limit, force_refresh=True)
            values.update(enable_historical_tracking=False)
        if mode is not PipelineMode.SCHEDULED:
            values.update(phase_retries=0)
        return PipelineConfig(**values)

    def breaker_of(self, content_type: ContentType) -> BreakerSettings | None:
        """What the run's own breaker for a content type opens on; None: it has none."""
        given = self.circuit_breaker.get(content_type)
        return None if given is None else BreakerSettings(**given)

    def batch_priority_in(self, mode: PipelineMode) -> BatchPriority:
        """The priority of this run's batches, which the mode decides unless it was chosen."""
        return self.batch_priority or _PRIORITY_OF[mode]

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "PipelineConfig":
        """Read what ``to_json`` wrote, or a person; unknown and malformed fields are named."""
        unknown = sorted(set(given) - {f.name for f in fields(cls)})
        if unknown:
            raise UserError(f"unknown setting of a run: {unknown[0]}={given[unknown[0]]!r}")
        values: dict[str, Any] = {}
        for name, value in given.items():
            try:
                read = _READERS.get(name) if value is not None else None
                values[name] = read(value) if read else value
            except (ValueError, TypeError, AttributeError, OverflowError):
                raise UserError(f"{name}={value!r}: not a value this setting can have") from None
        return cls(**values)


# Where a person waits, the batches go before those of schedules.
_PRIORITY_OF: Mapping[PipelineMode, BatchPriority] = {
    PipelineMode.SCHEDULED: BatchPriority.NORMAL,
    PipelineMode.TESTING: BatchPriority.HIGH,
    PipelineMode.MANUAL: BatchPriority.HIGH,
}

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "scheduled_for": lambda v: v if isinstance(v, datetime) else datetime.fromisoformat(v),
    "inputs_from": lambda v: v if isinstance(v, UUID) else UUID(v),
    "fresh_until": lambda v: {
        kind: at if isinstance(at, datetime) else datetime.fromisoformat(at)
        for kind, at in v.items()
    },
    "batch_size": lambda v: 15_000 if v == "unlimited" else int(v),
}


_SWITCHES = (
    "force_refresh",
    "enable_historical_tracking",
    "include_ai_overview",
)


def _words(name: str, given: Iterable[str], kind: type[E]) -> tuple[E, ...]:
    """The words as members of ``kind``, in the order of the enumeration, each once."""
    if not isinstance(given, Iterable):
        raise UserError(f"{name}={given!r}: must be a list of {', '.join(kind)}")
    chosen = set()
    for word in [given] if isinstance(given, str) else given:
        if word not in list(kind):
            raise UserError(f"{name}: {word!r} is none of {', '.join(kind)}")
        chosen.add(kind(word))
    return tuple(member for member in kind if member in chosen)


def _within(name: str, value: float, low: float, high: float, *, whole: bool = False) -> None:
    kind = int if whole else int | float
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        number = "a whole number, " if whole else ""
        raise UserError(f"{name}={value!r}: must be {number}{low} to {high}")


def _storable(name: str, text: str) -> None:
    if not is_storable(text):
        raise UserError(f"{name}={text!r}: must be text without NUL and halves of surrogate pairs")


def _breakers(given: Any, content_types: Iterable[ContentType]) -> dict[str, dict[str, Any]]:
    if not isinstance(given, Mapping):
        raise UserError(f"circuit_breaker={given!r}: must be an object")
    by_type = given if set(given) <= set(SEARCHED_TYPES) else dict.fromkeys(content_types, given)
    for settings in by_type.values():
        try:
            BreakerSettings(**settings)
        except TypeError:
            known = ", ".join(f.name for f in fields(BreakerSettings))
            raise UserError(f"circuit_breaker={settings!r}: must be numbers of {known}") from None
        except UserError as error:
            raise UserError(f"circuit_breaker: {error}") from None
    return {str(kind): dict(settings) for kind, settings in by_type.items()}


def _check_fresh_until(given: Any) -> None:
    if not isinstance(given, Mapping) or not set(given) <= set(SEARCHED_TYPES):
        raise UserError(f"fresh_until={given!r}: must be an object of times by content type")
    for kind, at in given.items():
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise UserError(f"fresh_until: {kind}={at}: must be a time with a time zone")


def _amounts(name: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise UserError(f"{name}={given!r}: must be an object of numbers")
    for key, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < AMOUNT_LIMIT:
            raise UserError(
                f"{name}: {key}={value!r}: must be a number, 0 or more, below {AMOUNT_LIMIT:.0e}"
            )
