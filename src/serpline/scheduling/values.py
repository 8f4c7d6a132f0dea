"""Reading the single values of a schedule specification.

Every reader takes the key and the JSON value, and answers what the specification keeps; whatever
it cannot use is a ``UserError`` of one line that names both. Nothing is guessed: ``true`` is no
number, ``"5"`` neither, and ``null`` is no value.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, time
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from serpline.domain.breaker_settings import FAILURE_THRESHOLD_MAX, BreakerSettings
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES, ContentType, Device

Choice = TypeVar("Choice", bound=StrEnum)

DAY_SECONDS = 86_400
CRON_CHARACTERS_MAX = 200
NAME_CHARACTERS_MAX = 200
_SHOWN_CHARACTERS_MAX = 80
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY_SECONDS, "w": 7 * DAY_SECONDS}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def shown(value: Any) -> str:
    """The value on one line, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"


def wrong(key: str, value: Any, must: str) -> UserError:
    """The error that says what the value of ``key`` must be."""
    return UserError(f"{key}={shown(value)}: {must}")


def refuse_unknown(given: Mapping[str, Any], known: Collection[str], prefix: str = "") -> None:
    """Raise for the first key that is not known, with the nearest one that is."""
    for key, value in given.items():
        if key not in known:
            near = get_close_matches(key[:NAME_CHARACTERS_MAX], known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise UserError(f"unknown key {shown(prefix + key)}={shown(value)}: {hint}")


def integer(low: int, high: int) -> Callable[[str, Any], int]:
    """A reader of whole numbers from ``low`` to ``high``."""

    def read(key: str, value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise wrong(key, value, f"must be a whole number, {low} to {high}")
        return value

    return read


def ratio(key: str, value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise wrong(key, value, "must be a number, 0 to 1")
    return float(value)


def boolean(key: str, value: Any) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise wrong(key, value, "must be true or false")
    return value


def choice(kind: type[Choice]) -> Callable[[str, Any], Choice]:
    """A reader of the words of an enumeration."""

    def read(key: str, value: Any) -> Choice:
        if not isinstance(value, str) or value not in set(kind):
            raise wrong(key, value, f"must be one of {', '.join(kind)}")
        return kind(value)

    return read


def duration(low: int, high: int) -> Callable[[str, Any], int]:
    """A reader of durations, to whole seconds: a number of them, or ``"90s"``, ``"1h30m"``, …"""

    def read(key: str, value: Any) -> int:
        seconds = value
        if isinstance(value, str) and _DURATION.fullmatch(value):
            parts = re.findall(r"([0-9]+)([smhdw])", value)
            seconds = sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)
        if type(seconds) is not int or not low <= seconds <= high:
            raise wrong(
                key, value, f"must be {low} to {high} seconds: a number, or like 90s, 1h30m, 2d"
            )
        return seconds

    return read


def time_of_day(key: str, value: Any) -> time:
    """``HH:MM``, 00:00 to 23:59."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(key, value, "must be HH:MM, 00:00 to 23:59")
    return time(int(match[1]), int(match[2]))


@cache
def _zone_names() -> frozenset[str]:
    # The packaged list, not the machine's files, which have names of their own ("localtime").
    return frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split())


def time_zone(key: str, value: Any) -> ZoneInfo:
    """An IANA name."""
    if not isinstance(value, str) or value not in _zone_names():
        near = get_close_matches(str(value)[:64], _zone_names(), n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise wrong(key, value, f"must be an IANA time zone such as Europe/Berlin{hint}")
    return ZoneInfo(value)


def _listed(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= 100:
        raise wrong(key, value, "must be a list of at least one")
    return value


def content_types(key: str, value: Any) -> tuple[ContentType, ...]:
    """A list of content types, each once, in the usual order."""
    found = {content_type(key, one) for one in _listed(key, value)}
    return tuple(kind for kind in SEARCHED_TYPES if kind in found)


def content_type(key: str, value: Any) -> ContentType:
    """A content type that can be searched."""
    if not isinstance(value, str) or value not in SEARCHED_TYPES:
        raise wrong(key, value, f"must be one of {', '.join(SEARCHED_TYPES)}")
    return ContentType(value)


def devices(key: str, value: Any) -> tuple[Device, ...]:
    """A list of devices, each once, in the usual order."""
    read = choice(Device)
    found = {read(key, one) for one in _listed(key, value)}
    return tuple(device for device in Device if device in found)


def days_of_week(key: str, value: Any) -> tuple[int, ...]:
    """ISO weekdays, 1 (Monday) to 7, ascending; from names, three letters, or cron's numbers."""
    return tuple(sorted({_weekday(key, one) for one in _listed(key, value)}))


def _weekday(key: str, value: Any) -> int:
    if type(value) is int and 0 <= value <= 7:
        return value or 7
    if isinstance(value, str):
        word = value.lower()
        for number, name in enumerate(_WEEKDAYS, 1):
            if word in (name, name[:3]):
                return number
    raise wrong(key, value, "must be monday to sunday, mon to sun, or 0 to 7 (0 and 7 = sunday)")


def weekday_name(number: int) -> str:
    """The name of an ISO weekday."""
    return _WEEKDAYS[number - 1]


def day_of_month(key: str, value: Any) -> int:
    """1 to 31, or -1 for the last day."""
    if type(value) is not int or (value != -1 and not 1 <= value <= 31):
        raise wrong(key, value, "must be 1 to 31, or -1 for the last day of the month")
    return value


def cron(key: str, value: Any) -> str:
    """A cron expression of five fields that matches some day at least once in 50 years."""
    if not isinstance(value, str) or len(value) > CRON_CHARACTERS_MAX or len(value.split()) != 5:
        must = "must be five fields: minute, hour, day of month, month, day of week"
        raise wrong(key, value, must)
    expression = " ".join(value.split())
    try:
        found = next(CronSim(expression, datetime(2000, 1, 1)), None)  # noqa: DTZ001  wall time
    except CronSimError as error:
        raise wrong(key, value, str(error).lower()) from None
    if found is None:
        raise wrong(key, value, "never matches")
    return expression


def instant(key: str, value: Any) -> datetime:
    """An ISO 8601 instant; without an offset it is UTC. In UTC."""
    try:
        read = datetime.fromisoformat(value)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise wrong(key, value, "must be an ISO 8601 time such as 2026-01-31T09:00:00Z") from None


def batch_size(key: str, value: Any) -> int | None:
    """Searches in a provider batch; None is ``"unlimited"``: as many as the provider takes."""
    if value == "unlimited":
        return None
    if type(value) is not int or not 1 <= value <= 15_000:
        raise wrong(key, value, 'must be 1 to 15000, or "unlimited"')
    return value


def name(key: str, value: Any) -> str:
    """1 to 200 printable characters."""
    if (
        not isinstance(value, str)
        or not value.strip()
        or len(value) > NAME_CHARACTERS_MAX
        or not value.isprintable()
    ):
        raise wrong(key, value, f"must be 1 to {NAME_CHARACTERS_MAX} printable characters")
    return value


def mapping(
    key: str, value: Any, readers: Mapping[str, Callable[[str, Any], Any]], needed: Iterable[str]
) -> dict[str, Any]:
    """An object whose keys are those of ``readers``, each value read; ``needed`` must be there."""
    if not isinstance(value, Mapping):
        raise wrong(key, value, f"must be an object with {', '.join(readers)}")
    refuse_unknown(value, readers, f"{key}.")
    for one in needed:
        if one not in value:
            raise wrong(key, value, f"{one} is missing")
    return {one: readers[one](f"{key}.{one}", given) for one, given in value.items()}


def _seconds(key: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 < value <= DAY_SECONDS:
        raise wrong(key, value, f"must be above 0, at most {DAY_SECONDS} seconds")
    return float(value)


def circuit_breaker(key: str, value: Any) -> BreakerSettings:
    """The settings of the schedule's own breaker; those not given are the usual ones."""
    thresholds = integer(1, FAILURE_THRESHOLD_MAX)
    readers: Mapping[str, Callable[[str, Any], Any]] = {
        "failure_threshold": thresholds,
        "success_threshold": thresholds,
        "timeout_seconds": _seconds,
    }
    return BreakerSettings(**mapping(key, value, readers, ()))
