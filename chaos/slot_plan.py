"""What happens to a schedule in 90 days, drawn from a seed: faults, deaths, clock steps, people.

The time is cut into periods. In each, one thing happens to the process, its clock or the schedule,
and ends before the next period. Faults of the provider come at any time beside them.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.points import POINTS, TICK_POINTS

from serpline.simulator.routes import BATCH_SEARCH

DAYS = 90
PERIOD = timedelta(days=6)
PERIODS = DAYS // PERIOD.days
# News are paused after so many failed runs in a row. The longest outage makes more.
FAILURES_MAX = 2
# Both have a change to or from summer time in New York and in Berlin.
_STARTS = (
    datetime(2026, 2, 20, 11, 0, 7, tzinfo=UTC),
    datetime(2026, 9, 10, 11, 0, 7, tzinfo=UTC),
)
_OWN = {"provider": "scaleserp"}
# Each with the hours that it lasts.
_FAULTS: Sequence[tuple[Mapping[str, Any], float, float]] = (
    ({**_OWN, "fault": "503"}, 1, 8),
    ({**_OWN, "fault": "503"}, 60, 90),
    ({"provider": "*", "fault": "503"}, 2, 30),
    ({**_OWN, "operation": "start_batch", "fault": "402"}, 5, 50),
    (
        {**_OWN, "operation": BATCH_SEARCH, "fault": "failed_searches", "probability": 0.6},
        50,
        150,
    ),
    ({**_OWN, "operation": BATCH_SEARCH, "fault": "missing_records", "probability": 0.5}, 20, 90),
    ({**_OWN, "fault": "429", "retry_after": 5, "probability": 0.3}, 10, 60),
    ({"provider": "*", "fault": "cut", "where": "body", "probability": 0.15}, 20, 60),
)
_WORK_POINTS = ("in plan", "in claim", "after batch create", "after batch start", "in settle")
_EDITS: Sequence[tuple[int, Mapping[str, Any]]] = (
    (0, {"timezone": "Europe/Berlin"}),
    (0, {"time_of_day": "02:30", "catch_up": "none"}),
    (1, {"days_of_week": ["tue", "fri"], "overlap": "skip"}),
    (2, {"day_of_month": 15, "catch_up": "none"}),
)
_CLOCK_STEPS = (3600, -3600, 86_400, -86_400, -5)


@dataclass(frozen=True, slots=True, order=True)
class Happening:
    """One thing that happens at an instant; ``number`` makes the order unique."""

    at: datetime
    number: int
    what: str = field(compare=False)
    value: Any = field(compare=False, default=None)


@dataclass(frozen=True, slots=True)
class Plan:
    """The first specifications and everything that happens, in order."""

    begin: datetime
    end: datetime
    specs: tuple[Mapping[str, Any], ...]
    happenings: tuple[Happening, ...]


def make_plan(seed: str, number: int) -> Plan:
    """Draw the plan of a seed.

    By ``number``, seeds take turns at seasons, clock steps and points of the tick: two have all of
    these points.
    """
    rng = random.Random(seed)
    begin = _STARTS[number % len(_STARTS)]
    found: list[Happening] = []

    def add(at: datetime, what: str, value: Any = None) -> None:
        found.append(Happening(at, len(found), what, value))

    for fault, least, most in _FAULTS:
        start = begin + timedelta(hours=rng.uniform(1, DAYS * 24 - most))
        add(start, "fault", fault)
        add(start + timedelta(hours=rng.uniform(least, most)), "fault over", fault)
    points = [*list(TICK_POINTS)[number % 2 :: 2], rng.choice(_WORK_POINTS)]
    steps = [_CLOCK_STEPS[(2 * number + each) % len(_CLOCK_STEPS)] for each in range(2)]
    kinds: list[tuple[str, Any]] = [
        *(("armed", (point, rng.randint(1, 2))) for point in points),
        *(("clock", step) for step in steps),
        *(("down", hours) for hours in (rng.uniform(2, 20), rng.uniform(50, 90))),
        *(("edit", edit) for edit in rng.sample(_EDITS, 2)),
        ("pause", None),
        ("pause", None),
        ("trigger", None),
    ]
    assert len(kinds) == PERIODS
    assert set(points) <= {*POINTS, *TICK_POINTS}
    rng.shuffle(kinds)
    for number, (what, value) in enumerate(kinds):
        at = begin + number * PERIOD + timedelta(hours=rng.uniform(1, 30))
        # Every pause, downtime and wrong clock of a period is over by then.
        add(begin + (number + 1) * PERIOD - timedelta(hours=1), "resume types")
        match what:
            case "clock":
                add(at, what, value)
                add(at + timedelta(hours=rng.uniform(1, 48)), what, 0)
            case "down":
                add(at, "death")
                add(at + timedelta(hours=value), "birth")
            case "pause":
                add(at, what)
                add(at + timedelta(hours=rng.uniform(10, 90)), "resume")
            case _:
                add(at, what, value)
    end = begin + timedelta(days=DAYS)
    return Plan(begin, end, _specs(rng), tuple(sorted(found)))


def _specs(rng: random.Random) -> tuple[Mapping[str, Any], ...]:
    zone, time_of_day = "America/New_York", rng.choice(("01:30", "02:30", "09:00"))
    return (
        {
            "content_type": "news",
            "frequency": "daily",
            "timezone": zone,
            "time_of_day": time_of_day,
            "retry_attempts": 5,
            "lane_deadline_hours": 6,
            "pause_after_failures": FAILURES_MAX,
            "jitter": "10m",
            "catch_up": {"within": "36h", "max": 2},
            "freshness_target": "26h",
        },
        {
            "content_type": "video",
            "frequency": "weekly",
            "timezone": zone,
            "time_of_day": time_of_day,
            "retry_attempts": 3,
            "lane_deadline_hours": 30,
            "overlap": "buffer_one",
            "catch_up": "latest",
            "priority": "high",
        },
        {
            "content_type": "organic",
            "frequency": "monthly",
            "timezone": "Europe/Berlin",
            "day_of_month": -1,
            "time_of_day": "02:30",
            "devices": ["desktop", "mobile"],
            "retry_attempts": 2,
            "lane_deadline_hours": 12,
            "catch_up": "all",
            "credit_limits": {"scaleserp": 100},
            "enable_historical_tracking": True,
        },
    )
