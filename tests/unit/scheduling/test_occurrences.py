"""When a schedule is due, on ordinary days and in the nights when clocks change.

The oracle knows no rule: it looks at every minute of two weeks and takes the first at which the
clock on the wall has reached the wanted time.
"""

from bisect import bisect_left
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import accumulate, islice, pairwise, takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serpline.domain.errors import UserError
from serpline.scheduling.occurrences import HORIZON, Occurrence, is_due, occurrences
from serpline.scheduling.spec import ScheduleSpec

# A change of clocks on, or in the night before, each of these days.
NIGHTS = (
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Apia", date(2011, 4, 2)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Sao_Paulo", date(2018, 2, 18)),
    ("Asia/Kathmandu", date(1986, 1, 1)),
    ("Asia/Kathmandu", date(2026, 3, 29)),
)
DAYS_AROUND = 7
MINUTE = timedelta(minutes=1)

nights = st.sampled_from(NIGHTS)
times = st.times().map(lambda t: t.replace(second=0, microsecond=0))
# Half of the times are in the small hours, where clocks change.
daily_times = st.one_of(times, st.builds(time, st.integers(0, 4), st.integers(0, 59)))


def _spec(**given: Any) -> ScheduleSpec:
    return ScheduleSpec.from_json({"content_type": "news", "frequency": "daily", **given})


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _next(spec: ScheduleSpec, after: str, count: int) -> list[Occurrence]:
    return list(islice(occurrences(spec, _utc(after)), count))


@cache
def _minutes(zone: str, day: date) -> tuple[datetime, list[datetime]]:
    """The first instant, and the latest wall time that each minute from it on has seen."""
    start = datetime.combine(day, time(), UTC) - timedelta(days=DAYS_AROUND + 1)
    count = (2 * DAYS_AROUND + 3) * 1440
    tz = ZoneInfo(zone)
    walls = ((start + MINUTE * n).astimezone(tz).replace(tzinfo=None) for n in range(count))
    return start, list(accumulate(walls, max))


def _expected(zone: str, day: date, walls: list[datetime]) -> list[datetime]:
    """The instants of these wall times by the oracle, each once, ascending."""
    start, reached = _minutes(zone, day)
    return sorted({start + MINUTE * bisect_left(reached, wall) for wall in walls})


def _between(spec: ScheduleSpec, day: date) -> list[Occurrence]:
    """What is due from 5 days before ``day`` to 5 days after it, in UTC."""
    first = datetime.combine(day, time(), UTC) - timedelta(days=5)
    last = first + timedelta(days=10)
    return list(takewhile(lambda o: o.scheduled_for <= last, occurrences(spec, first)))


def _window(day: date, instants: list[datetime]) -> list[datetime]:
    first = datetime.combine(day, time(), UTC) - timedelta(days=5)
    return [i for i in instants if first < i <= first + timedelta(days=10)]


def _days(day: date) -> list[date]:
    return [day + timedelta(days=n) for n in range(-DAYS_AROUND, DAYS_AROUND + 1)]


@given(nights, daily_times)
def test_a_daily_time_is_neither_lost_nor_doubled(night: tuple[str, date], at: time) -> None:
    """Each wall time of each day is due once, at the first minute the clock has reached it."""
    zone, day = night
    found = _between(_spec(timezone=zone, time_of_day=f"{at:%H:%M}"), day)
    wanted = _expected(zone, day, [datetime.combine(one, at) for one in _days(day)])
    assert [one.scheduled_for for one in found] == _window(day, wanted)


@given(nights, daily_times, st.sets(st.integers(1, 7), min_size=1))
def test_weekly_days_are_neither_lost_nor_doubled(
    night: tuple[str, date], at: time, weekdays: set[int]
) -> None:
    """The same holds for several days of the week, by the date on the wall."""
    zone, day = night
    spec = _spec(
        frequency="weekly", timezone=zone, time_of_day=f"{at:%H:%M}", days_of_week=list(weekdays)
    )
    days = [one for one in _days(day) if one.isoweekday() in weekdays]
    wanted = _expected(zone, day, [datetime.combine(one, at) for one in days])
    assert [one.scheduled_for for one in _between(spec, day)] == _window(day, wanted)


@given(
    nights,
    st.sets(st.integers(0, 59), min_size=1, max_size=6),
    st.one_of(st.none(), st.sets(st.integers(0, 23), min_size=1, max_size=6)),
)
def test_cron_times_are_neither_lost_nor_doubled(
    night: tuple[str, date], minutes: set[int], hours: set[int] | None
) -> None:
    """Cron's wall times follow the same rule, whether the hour is a star or a list."""
    zone, day = night
    hour_field = "*" if hours is None else ",".join(map(str, hours))
    spec = _spec(
        frequency="cron", cron=f"{','.join(map(str, minutes))} {hour_field} * * *", timezone=zone
    )
    walls = [
        datetime.combine(one, time(hour, minute))
        for one in _days(day)
        for hour in (range(24) if hours is None else hours)
        for minute in minutes
    ]
    wanted = _window(day, _expected(zone, day, walls))
    assert [one.scheduled_for for one in _between(spec, day)] == wanted


FORMS: tuple[dict[str, Any], ...] = (
    {"time_of_day": "02:10"},
    {"time_of_day": "00:00", "frequency": "weekly", "days_of_week": ["sun", "fri"]},
    {"frequency": "monthly", "day_of_month": 31, "time_of_day": "02:30"},
    {"frequency": "monthly", "day_of_month": -1, "time_of_day": "00:00"},
    {"frequency": "quarterly", "day_of_month": 29, "time_of_day": "01:59"},
    {"frequency": "cron", "cron": "*/20 * * * *"},
    {"frequency": "cron", "cron": "30 2 * * SUN"},
    {"frequency": "interval", "interval": "7h", "anchor": "2026-01-01T00:30:00+05:45"},
)


@given(nights, st.sampled_from(FORMS), st.integers(0, 40 * 86_400))
def test_the_start_of_the_list_makes_no_difference(
    night: tuple[str, date], form: dict[str, Any], seconds: int
) -> None:
    """From any start, the list is the tail of a longer one; it increases, and local = UTC."""
    zone, day = night
    spec = _spec(timezone=zone, **form)
    first = datetime.combine(day, time(), UTC) - timedelta(days=20)
    after = first + timedelta(seconds=seconds)
    last = after + timedelta(days=12)
    whole = list(takewhile(lambda o: o.scheduled_for <= last, occurrences(spec, first)))
    tail = list(takewhile(lambda o: o.scheduled_for <= last, occurrences(spec, after)))
    assert tail == [one for one in whole if one.scheduled_for > after]
    instants = [one.scheduled_for for one in whole]
    assert instants == sorted(set(instants))
    for one in whole:
        assert one.scheduled_for.tzinfo is UTC
        assert one.local.astimezone(UTC) == one.scheduled_for
        assert one.local.utcoffset() == one.scheduled_for.astimezone(ZoneInfo(zone)).utcoffset()
        assert is_due(spec, one.scheduled_for) == one
        assert is_due(spec, one.scheduled_for + timedelta(microseconds=1)) is None


@given(
    st.sampled_from([-1, *range(1, 32)]),
    st.dates(date(1950, 1, 1), date(2150, 1, 1)),
    st.sampled_from(["monthly", "quarterly"]),
)
def test_every_month_has_its_day(day: int, start: date, frequency: str) -> None:
    """Each month (each quarter's first) has one occurrence, on the day or else on its last day."""
    spec = _spec(frequency=frequency, day_of_month=day, time_of_day="12:00")
    after = datetime.combine(start, time(12), UTC)
    found = list(islice(occurrences(spec, after), 60))
    assert len(found) == 60
    step = 1 if frequency == "monthly" else 3
    for number, one in enumerate(found):
        year, month, when = one.local.year, one.local.month, one.local.day
        last = monthrange(year, month)[1]
        assert when == (last if day == -1 else min(day, last))
        if number:
            before = found[number - 1].local
            assert (year * 12 + month) - (before.year * 12 + before.month) == step
    if frequency == "quarterly":
        assert {one.local.month for one in found} == {1, 4, 7, 10}
    gap = found[0].scheduled_for - after
    assert timedelta() < gap <= timedelta(days=31 if frequency == "monthly" else 92)


@given(
    st.integers(60, 400 * 3600).filter(lambda s: s <= 366 * 86_400),
    st.integers(631_152_000, 2_840_140_800).map(lambda s: datetime.fromtimestamp(s, UTC)),
    nights,
)
def test_an_interval_is_elapsed_time(
    seconds: int, anchor: datetime, night: tuple[str, date]
) -> None:
    """Steps are equal in UTC over any night, and fall on the anchor, before or after it."""
    zone, day = night
    spec = _spec(frequency="interval", interval=seconds, anchor=anchor.isoformat(), timezone=zone)
    after = datetime.combine(day, time(), UTC)
    found = [one.scheduled_for for one in islice(occurrences(spec, after), 20)]
    step = timedelta(seconds=seconds)
    assert after < found[0] <= after + step
    assert all(later - sooner == step for sooner, later in pairwise(found))
    assert not (found[0] - anchor) % step


@pytest.mark.parametrize(
    ("zone", "at", "after", "scheduled", "local"),
    [
        ("Europe/Berlin", "02:30", "2026-03-28T12:00", "2026-03-29T01:00", "03:00+02:00"),
        ("Europe/Berlin", "02:00", "2026-03-28T12:00", "2026-03-29T01:00", "03:00+02:00"),
        ("America/New_York", "02:59", "2026-03-07T12:00", "2026-03-08T07:00", "03:00-04:00"),
        ("Australia/Lord_Howe", "02:15", "2026-10-03T12:00", "2026-10-03T15:30", "02:30+11:00"),
        ("America/Sao_Paulo", "00:00", "2018-11-03T12:00", "2018-11-04T03:00", "01:00-02:00"),
        ("Asia/Kathmandu", "00:10", "1985-12-31T12:00", "1985-12-31T18:30", "00:15+05:45"),
    ],
)
def test_a_skipped_time_runs_at_the_end_of_the_gap(
    zone: str, at: str, after: str, scheduled: str, local: str
) -> None:
    """It runs once, at the first instant after the gap, with a note; the next day is ordinary."""
    first, second = _next(_spec(timezone=zone, time_of_day=at), after, 2)
    assert first.scheduled_for == _utc(scheduled)
    assert first.local.isoformat(timespec="minutes")[11:] == local
    assert first.note is not None
    assert f"{at} does not exist in {zone}" in first.note
    assert f"{second.local:%H:%M}" == at
    assert second.note is None


@pytest.mark.parametrize(
    ("zone", "at", "after", "scheduled", "local"),
    [
        ("Europe/Berlin", "02:30", "2026-10-24T12:00", "2026-10-25T00:30", "02:30+02:00"),
        ("America/New_York", "01:00", "2026-10-31T12:00", "2026-11-01T05:00", "01:00-04:00"),
        ("Australia/Lord_Howe", "01:45", "2026-04-04T12:00", "2026-04-04T14:45", "01:45+11:00"),
        ("America/Sao_Paulo", "23:15", "2018-02-17T12:00", "2018-02-18T01:15", "23:15-02:00"),
    ],
)
def test_a_repeated_time_runs_the_first_time_only(
    zone: str, at: str, after: str, scheduled: str, local: str
) -> None:
    """It runs once, at its first occurrence, with a note; the next is on the following day."""
    first, second = _next(_spec(timezone=zone, time_of_day=at), after, 2)
    assert first.scheduled_for == _utc(scheduled)
    assert first.local.isoformat(timespec="minutes")[11:] == local
    assert first.note is not None
    assert f"{at} happens twice in {zone}" in first.note
    assert second.local.date() == first.local.date() + timedelta(days=1)
    assert second.note is None


def test_a_skipped_day_runs_when_the_next_begins() -> None:
    """Samoa had no 30 December 2011: that day's run is due as the 31st begins, before its own."""
    found = _next(_spec(timezone="Pacific/Apia", time_of_day="09:00"), "2011-12-29T00:00", 4)
    assert [one.local.isoformat() for one in found] == [
        "2011-12-29T09:00:00-10:00",
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T09:00:00+14:00",
        "2012-01-01T09:00:00+14:00",
    ]
    assert [bool(one.note) for one in found] == [False, True, False, False]


def test_skipped_times_that_fall_together_are_one() -> None:
    """2:00, 2:20 and 2:40 do not exist that night; with 3:00 they are one occurrence."""
    spec = _spec(frequency="cron", cron="*/20 2,3 * * *", timezone="Europe/Berlin")
    found = _next(spec, "2026-03-29T00:00", 4)
    assert [f"{one.local:%d %H:%M}" for one in found] == [
        "29 03:00",
        "29 03:20",
        "29 03:40",
        "30 02:00",
    ]


def test_an_hourly_cron_does_not_run_in_the_repeated_hour() -> None:
    """Cron names wall-clock times; for even steps there are intervals."""
    hourly = _spec(frequency="cron", cron="0 * * * *", timezone="Europe/Berlin")
    found = _next(hourly, "2026-10-24T22:30", 4)
    assert [f"{one.scheduled_for:%H}" for one in found] == ["23", "00", "02", "03"]
    even = _spec(frequency="interval", interval="1h", timezone="Europe/Berlin")
    steps = _next(even, "2026-10-24T22:30", 4)
    assert [f"{one.scheduled_for:%H}" for one in steps] == ["23", "00", "01", "02"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"frequency": "monthly", "day_of_month": 31}, "01-31 02-29 03-31 04-30 05-31"),
        ({"frequency": "monthly", "day_of_month": 29}, "01-29 02-29 03-29 04-29 05-29"),
        ({"frequency": "monthly", "day_of_month": -1}, "01-31 02-29 03-31 04-30 05-31"),
        ({"frequency": "monthly"}, "02-01 03-01 04-01 05-01 06-01"),
        ({"frequency": "quarterly", "day_of_month": -1}, "01-31 04-30 07-31 10-31 01-31"),
        ({"frequency": "quarterly"}, "04-01 07-01 10-01 01-01 04-01"),
        ({"frequency": "weekly"}, "01-08 01-15 01-22 01-29 02-05"),
        (
            {"frequency": "weekly", "days_of_week": ["thursday", "Tue", 0]},
            "01-02 01-04 01-07 01-09 01-11",
        ),
        ({"days_of_week": ["mon", "tue", "wed", "thu", "fri"]}, "01-02 01-03 01-04 01-05 01-08"),
        ({"frequency": "cron", "cron": "0 0 L * *"}, "01-31 02-29 03-31 04-30 05-31"),
        ({"frequency": "cron", "cron": "0 0 * * MON#1"}, "02-05 03-04 04-01 05-06 06-03"),
    ],
)
def test_the_days_of_a_leap_year(form: dict[str, Any], expected: str) -> None:
    """Each frequency has its next five days after midnight of 1 January 2024, a Monday, in UTC."""
    found = _next(_spec(**form), "2024-01-01T00:00", 5)
    assert " ".join(f"{one.scheduled_for:%m-%d}" for one in found) == expected


@given(nights, daily_times, st.integers(-4, 4), st.integers(-4, 4))
def test_bounds_remove_instants_and_move_none(
    night: tuple[str, date], at: time, first: int, days: int
) -> None:
    """Between two days, both included, the instants are those of the schedule without bounds."""
    zone, day = night
    bounds = sorted([day + timedelta(days=first), day + timedelta(days=days)])
    assume((zone, *bounds) != ("Pacific/Apia", day, day))  # in 2011, it had no 30 December
    given = {"timezone": zone, "time_of_day": f"{at:%H:%M}"}
    start, end = (bound.isoformat() for bound in bounds)
    bounded = _between(_spec(**given, start=start, end=end), day)
    free = _between(_spec(**given), day)
    assert bounded == [o for o in free if bounds[0] <= o.local.date() <= bounds[1]]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"start": "2026-02-02"}, ["2026-02-02T09", "2026-02-03T09", "2026-02-04T09"]),
        ({"start": "2026-02-02T09:00:00Z"}, ["2026-02-02T09", "2026-02-03T09", "2026-02-04T09"]),
        (
            {"start": "2026-02-02T09:00:00.000001Z"},
            ["2026-02-03T09", "2026-02-04T09", "2026-02-05T09"],
        ),
        ({"end": "2026-02-02T10:00:00+01:00"}, ["2026-02-01T09", "2026-02-02T09"]),
        ({"end": "2026-02-02T09:59:59+01:00"}, ["2026-02-01T09"]),
        ({"end": "2026-02-02"}, ["2026-02-01T09", "2026-02-02T09"]),
        ({"end": "2026-01-31"}, []),
        ({"start": "2026-02-03", "end": "2026-02-03"}, ["2026-02-03T09"]),
        (
            {
                "frequency": "interval",
                "interval": "36h",
                "time_of_day": None,
                "start": "2026-02-02",
                "end": "2026-02-04T12:00:00Z",
            },
            ["2026-02-03T00", "2026-02-04T12"],
        ),
    ],
)
def test_the_first_and_the_last_time_are_included(
    form: dict[str, Any], expected: list[str]
) -> None:
    """Bounds are days in the schedule's zone, or instants."""
    given = {"time_of_day": "09:00", **form}
    spec = _spec(**{key: value for key, value in given.items() if value is not None})
    hours = [f"{o.scheduled_for:%Y-%m-%dT%H}" for o in _next(spec, "2026-02-01", 3)]
    assert hours == expected[:3]
    if "end" in form:
        assert len(list(occurrences(spec, _utc("2026-02-01")))) == len(expected)


def test_a_start_in_the_far_future_is_found() -> None:
    """The 100 years of the list begin with the start."""
    spec = _spec(start="2200-02-28", frequency="monthly", day_of_month=29)
    (first,) = _next(spec, "2026-02-01", 1)
    assert first.scheduled_for == _utc("2200-02-28")


def test_a_day_whose_midnight_is_skipped_begins_after_the_gap() -> None:
    """In São Paulo the day began at 01:00; the instant after the gap belongs to it."""
    given = {"timezone": "America/Sao_Paulo", "time_of_day": "00:00"}
    spec = _spec(**given, start="2018-11-04", end="2018-11-04")
    found = list(occurrences(spec, _utc("2018-11-01")))
    assert [o.local.isoformat() for o in found] == ["2018-11-04T01:00:00-02:00"]


def test_the_list_ends() -> None:
    """Nothing is due later than the horizon, so every search ends."""
    after = _utc("2999-12-31T00:00")
    for form in ({"frequency": "quarterly"}, {"frequency": "interval", "interval": "52w"}):
        found = list(occurrences(_spec(**form), after))
        assert 99 <= len(found) <= 401
        assert after + HORIZON - timedelta(days=366) < found[-1].scheduled_for <= after + HORIZON


@pytest.mark.parametrize("after", ["2026-01-01T00:00:00", "1899-12-31T00:00:00Z", "3000-01-01T00Z"])
def test_an_instant_must_have_an_offset_and_a_usual_year(after: str) -> None:
    """Other instants are refused at once, with the value."""
    with pytest.raises(UserError, match="after="):
        occurrences(_spec(), datetime.fromisoformat(after))
