"""Instants and lengths of time in options and in tables: short, for people."""

from datetime import UTC, date, datetime, time

from serpline.domain.text import length_of_time


def first_time(option: str, given: str) -> datetime:
    """The first instant of a time or a day (UTC unless it has an offset)."""
    from serpline.config.model import read_value
    from serpline.scheduling.values import INSTANT

    return read_value(INSTANT, option, given)


def last_time(option: str, given: str) -> datetime:
    """The last instant of a time or a day: ``end`` of a schedule includes its day too."""
    read = first_time(option, given)
    try:
        return datetime.combine(date.fromisoformat(given), time.max, UTC)
    except ValueError:
        return read


def minute(value: datetime | str | None) -> str | None:
    """An instant in UTC, to the minute."""
    if value is None:
        return None
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    # ISO 8601 pads the year; strftime does not.
    return instant.astimezone(UTC).isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")


def length(seconds: float | None) -> str | None:
    """A length of time in its largest unit, such as ``2 h``."""
    return None if seconds is None else length_of_time(seconds)
