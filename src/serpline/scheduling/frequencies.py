"""How often a schedule is due, and which keys of its specification go with which frequency."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError


class Frequency(StrEnum):
    """How often a schedule is due."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    CRON = "cron"
    INTERVAL = "interval"


_MONTHS = (Frequency.MONTHLY, Frequency.QUARTERLY)
_WEEKS = (Frequency.DAILY, Frequency.WEEKLY)
_FREQUENCIES_OF_KEY: Mapping[str, tuple[Frequency, ...]] = {
    "time_of_day": (*_WEEKS, *_MONTHS),
    "days_of_week": _WEEKS,
    "day_of_month": _MONTHS,
    "cron": (Frequency.CRON,),
    "interval": (Frequency.INTERVAL,),
    "anchor": (Frequency.INTERVAL,),
}


def frequency_faults(frequency: Frequency, given: Mapping[str, Any]) -> list[InitErrorDetails]:
    """Every key of ``given`` that does not apply to the frequency, and those that it lacks."""
    faults = [
        key_fault(
            "must", key, given[key], f"goes with frequency {' or '.join(allowed)}, not {frequency}"
        )
        for key, allowed in _FREQUENCIES_OF_KEY.items()
        if key in given and frequency not in allowed
    ]
    for needed, key in ((Frequency.CRON, "cron"), (Frequency.INTERVAL, "interval")):
        if frequency is needed and key not in given:
            faults.append(
                key_fault("missing_key", key, None, f"frequency={str(frequency)!r} needs it")
            )
    return faults


def key_fault(kind: str, key: str, value: Any, words: str) -> InitErrorDetails:
    """An error about one key, for pydantic."""
    error = PydanticCustomError(kind, "{words}", {"words": words})
    return InitErrorDetails(type=error, loc=(key,), input=value)
