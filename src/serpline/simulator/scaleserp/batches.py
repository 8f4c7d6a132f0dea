"""Batches of the account: fields, searches and result sets, without timing and wire format."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from serpline.simulator.journal import iso
from serpline.simulator.scaleserp.calendar import LISTS, minutes_between
from serpline.simulator.scaleserp.search import SEARCH_TYPES, BadSearch, check, credits_of, pages_of
from serpline.simulator.seeds import hex_id

SEARCHES_MAX, SEARCHES_WITH_HTML_MAX = 15_000, 100
ADD_MAX, PAGE_SIZE, BATCHES_MAX = 1_000, 1_000, 10_000
KEPT = timedelta(days=14)
_TYPES = ("mixed", *SEARCH_TYPES)
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "schedule_type": ("manual", "daily", "weekly", "monthly", "minutes"),
    "priority": ("highest", "high", "normal", "low", "lowest"),
    "searches_type": _TYPES,
}
_RANGES: Mapping[str, tuple[int, int]] = {
    "schedule_hours": (0, 23),
    "schedule_days_of_week": (0, 6),
    "schedule_days_of_month": (1, 31),
}
_PLAIN = (
    "name",
    "enabled",
    "schedule_minutes",
    "destination_ids",
    "notification_webhook",
    "notification_email",
    "notification_as_json",
    "notification_as_jsonlines",
    "notification_as_csv",
)
FIELDS = (*_CHOICES, *_RANGES, *_PLAIN)


class Status(StrEnum):
    """The state of a batch. After a run it is idle again, with one more result set."""

    IDLE = "idle"
    QUEUED = "queued"
    RUNNING = "running"


class Refused(Exception):  # noqa: N818  a refusal that becomes a reply
    """A request that gets an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class ResultSet:
    """One finished run. ``searches`` are those of the run, in order, with their outcome."""

    id: int
    day: date
    started_at: datetime
    ended_at: datetime
    searches: list[tuple[dict[str, str], str]]
    webhook_log: list[dict[str, str]] = field(default_factory=list)
    webhook_status: str = "pending"

    @property
    def expires_at(self) -> datetime:
        """When its files expire."""
        return self.ended_at + KEPT

    def count(self, outcome: str) -> int:
        """How many searches had this outcome."""
        return sum(1 for _, each in self.searches if each == outcome)


@dataclass(slots=True)
class Batch:
    """One batch of the account."""

    id: str
    created_at: datetime
    fields: dict[str, Any]
    searches: OrderedDict[str, dict[str, str]] = field(default_factory=OrderedDict)
    status: Status = Status.IDLE
    last_run: datetime | None = None
    result_sets: list[ResultSet] = field(default_factory=list)
    next_result_set_id: int = 1
    search_ids: dict[str, int] = field(default_factory=dict)
    adding: bool = False
    search_credits: int = 1
    # Every instant of its calendar up to this time was handled.
    looked_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.looked_at = self.created_at

    @property
    def name(self) -> str:
        """The name given by the caller."""
        return str(self.fields.get("name", ""))

    def credits_required(self) -> int:
        """The credits of one run."""
        return sum(credits_of(search, self.search_credits) for search in self.searches.values())

    def shown(self) -> dict[str, Any]:
        """The batch in its wire format."""
        return {
            "id": self.id,
            "created_at": iso(self.created_at),
            **({"last_run": iso(self.last_run)} if self.last_run else {}),
            "schedule_type": "manual",
            "enabled": True,
            "priority": "normal",
            "searches_type": "mixed",
            "searches_type_locked": bool(self.searches),
            **self.fields,
            "status": self.status.value,
            "searches_total_count": len(self.searches),
            "searches_page_count": pages(len(self.searches)),
            "credits_required": self.credits_required(),
            "next_result_set_id": self.next_result_set_id,
            "results_count": len(self.result_sets),
        }

    def require_idle(self, what: str) -> None:
        """Raise ``Refused`` (400) while the batch is queued or running."""
        if self.status is not Status.IDLE:
            raise Refused(400, f"Cannot {what}: the batch '{self.id}' is {self.status.value}.")

    def add(self, seed: int, items: Iterable[Any]) -> int:
        """Add all searches or none. Returns their number. Raises ``Refused``."""
        given = [_search(item, str(self.fields.get("searches_type", "mixed"))) for item in items]
        if len(given) > ADD_MAX:
            raise Refused(400, f"At most {ADD_MAX} searches can be added in one request.")
        after = [*self.searches.values(), *given]
        most = max((pages_of(search) for search in after), default=1)
        html = any(search.get("include_html") == "true" for search in after)
        if len(after) > (SEARCHES_WITH_HTML_MAX if html else SEARCHES_MAX) // most:
            raise Refused(400, f"A batch cannot hold {len(after)} searches of {most} pages.")
        for search in given:
            what = repr(sorted(search.items()))
            number = self.search_ids.get(what, 0)
            self.search_ids[what] = number + 1
            self.searches[hex_id(10, seed, "search", self.id, what, number)] = search
        return len(given)


def pages(count: int, size: int = PAGE_SIZE) -> int:
    """The number of pages that ``count`` entries fill."""
    return -(-count // size)


def batch_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """The known fields of a create or update. Raises ``Refused`` for a value out of range."""
    for name, allowed in _CHOICES.items():
        if name in given and given[name] not in allowed:
            raise Refused(400, f"'{name}' must be one of {', '.join(allowed)}.")
    given = {**given, **{name: _numbers(given[name]) for name in LISTS if name in given}}
    for name, (low, high) in _RANGES.items():
        values = given.get(name, [])
        if not isinstance(values, list) or not all(
            isinstance(value, int) and low <= value <= high for value in values
        ):
            raise Refused(400, f"'{name}' must be a list of numbers from {low} to {high}.")
    if "schedule_minutes" in given:
        try:
            minutes_between(str(given["schedule_minutes"]))
        except ValueError:
            raise Refused(400, "'schedule_minutes' must be like every_5_minutes.") from None
    return {name: given[name] for name in FIELDS if name in given}


def _numbers(value: Any) -> Any:
    """The list of a comma-separated text, which the vendor accepts too."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",")]
    return [int(part) for part in parts] if all(map(str.isdecimal, parts)) else value


def _search(item: Any, searches_type: str) -> dict[str, str]:
    if not isinstance(item, dict):
        raise Refused(400, "Each search must be an object.")
    search = {name: _text(value) for name, value in item.items() if name != "id"}
    try:
        check(search)
    except BadSearch as error:
        raise Refused(400, str(error)) from None
    kind = search.get("search_type", "web")
    if searches_type not in ("mixed", kind):
        raise Refused(400, f"A batch of type '{searches_type}' cannot hold a '{kind}' search.")
    return search


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
