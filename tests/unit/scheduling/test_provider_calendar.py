"""Which specifications a provider's calendar can express, and the reasons for the others."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serpline.domain.errors import UserError
from serpline.providers.scaleserp.calendar import Calendar, ScheduleType
from serpline.scheduling.occurrences import occurrences
from serpline.scheduling.provider_calendar import calendar_of, check_provider_driven
from serpline.scheduling.spec import ScheduleSpec
from serpline.simulator.scaleserp.calendar import due_between

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


def spec(**keys: Any) -> ScheduleSpec:
    return ScheduleSpec.from_json(
        {"content_type": "news", "frequency": "daily", "driver": "provider", **keys}
    )


@pytest.mark.parametrize(
    ("keys", "zone", "expected"),
    [
        ({}, "UTC", Calendar(ScheduleType.DAILY, 0)),
        ({"time_of_day": "09:00"}, "UTC", Calendar(ScheduleType.DAILY, 9)),
        (
            {"time_of_day": "09:00", "timezone": "Europe/Berlin"},
            "Europe/Berlin",
            Calendar(ScheduleType.DAILY, 9),
        ),
        # Without clock changes another zone is a number of hours away.
        (
            {"time_of_day": "09:00", "timezone": "Asia/Tokyo"},
            "UTC",
            Calendar(ScheduleType.DAILY, 0),
        ),
        ({"frequency": "weekly"}, "UTC", Calendar(ScheduleType.WEEKLY, 0, (1,))),
        (
            {"days_of_week": ["sunday", "friday"], "time_of_day": "05:00"},
            "UTC",
            Calendar(ScheduleType.WEEKLY, 5, (0, 5)),
        ),
        # Monday in Tokyo is still Sunday in UTC.
        (
            {"frequency": "weekly", "time_of_day": "08:00", "timezone": "Asia/Tokyo"},
            "UTC",
            Calendar(ScheduleType.WEEKLY, 23, (0,)),
        ),
        (
            {"frequency": "monthly", "day_of_month": 28, "time_of_day": "23:00"},
            "UTC",
            Calendar(ScheduleType.MONTHLY, 23, (28,)),
        ),
        (
            {"frequency": "monthly", "day_of_month": 2, "timezone": "Asia/Tokyo"},
            "UTC",
            Calendar(ScheduleType.MONTHLY, 15, (1,)),
        ),
    ],
)
def test_a_calendar_has_the_same_instants(
    keys: dict[str, Any], zone: str, expected: Calendar
) -> None:
    """Hours and days are those of the account's zone."""
    assert calendar_of(spec(**keys), ZoneInfo(zone), NOW) == expected


@pytest.mark.parametrize(
    ("keys", "zone", "words"),
    [
        ({"frequency": "quarterly"}, "UTC", "frequency='quarterly'"),
        ({"frequency": "cron", "cron": "0 9 * * *"}, "UTC", "frequency='cron'"),
        ({"frequency": "interval", "interval": "1d"}, "UTC", "frequency='interval'"),
        ({"time_of_day": "09:30"}, "UTC", "time_of_day='09:30'"),
        ({"frequency": "monthly", "day_of_month": -1}, "UTC", "day_of_month=-1"),
        ({"frequency": "monthly", "day_of_month": 31}, "UTC", "day_of_month=31"),
        ({"frequency": "monthly", "day_of_month": 29}, "UTC", "day_of_month=29"),
        ({"start": "2027-01-01"}, "UTC", "start='2027-01-01'"),
        ({"end": "2027-01-01"}, "UTC", "end='2027-01-01'"),
        ({"jitter": "5m"}, "UTC", "jitter=300"),
        ({"timezone": "Europe/Berlin", "time_of_day": "09:00"}, "UTC", "timezone='Europe/Berlin'"),
        ({"timezone": "Asia/Kathmandu"}, "UTC", "timezone='Asia/Kathmandu'"),
        (
            {"timezone": "Europe/Berlin", "time_of_day": "02:00"},
            "Europe/Berlin",
            "time_of_day='02:00'",
        ),
        (
            {"frequency": "monthly", "timezone": "Asia/Tokyo", "time_of_day": "05:00"},
            "UTC",
            "timezone='Asia/Tokyo'",
        ),
    ],
)
def test_what_it_cannot_express_is_refused(keys: dict[str, Any], zone: str, words: str) -> None:
    """One line names the key, the value and the reason."""
    with pytest.raises(UserError) as caught:
        check_provider_driven([spec(**keys)], ZoneInfo(zone), NOW)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_content_type_has_one_calendar() -> None:
    """Two calendars of one type would be two series of batches."""
    both = [spec(time_of_day="09:00"), spec(time_of_day="17:00")]
    with pytest.raises(UserError, match="content_type='news'"):
        check_provider_driven(both, UTC_ZONE, NOW)
    check_provider_driven([both[0], spec(content_type="video")], UTC_ZONE, NOW)


def test_our_own_driver_is_not_restricted() -> None:
    """Only what the provider starts has to fit its calendar."""
    own = ScheduleSpec.from_json(
        {"content_type": "news", "frequency": "cron", "cron": "30 9 * * *"}
    )
    check_provider_driven([own, spec()], UTC_ZONE, NOW)


ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


@settings(max_examples=80, deadline=None)
@given(
    frequency=st.sampled_from(("daily", "weekly", "monthly")),
    hour=st.integers(0, 23),
    day=st.integers(1, 28),
    weekdays=st.sets(st.integers(0, 6), min_size=1),
    own=st.sampled_from(ZONES),
    account=st.sampled_from(ZONES),
)
def test_an_accepted_calendar_starts_at_our_instants(
    frequency: str, hour: int, day: int, weekdays: set[int], own: str, account: str
) -> None:
    """The simulated account, which reads the calendar by itself, has the same instants."""
    keys: dict[str, Any] = {
        "frequency": frequency,
        "time_of_day": f"{hour:02d}:00",
        "timezone": own,
    }
    if frequency == "weekly":
        keys["days_of_week"] = sorted(weekdays)
    if frequency == "monthly":
        keys["day_of_month"] = day
    ours = spec(**keys)
    try:
        calendar = calendar_of(ours, ZoneInfo(account), NOW)
    except UserError:
        assert own != account or own in ("America/New_York", "Australia/Lord_Howe")
        return
    until = NOW + timedelta(days=400)
    found = due_between(calendar.fields(), ZoneInfo(account), NOW, until)
    expected = []
    for hit in occurrences(ours, NOW):
        if hit.scheduled_for > until:
            break
        expected.append(hit.scheduled_for)
    assert found == expected
