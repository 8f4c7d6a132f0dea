"""Batches with a calendar: they start by themselves, cost credits, pause and expire."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from serpline.simulator import BatchTiming
from serpline.simulator.scaleserp.calendar import due_between

from .conftest import Caller, Listener, ManualClock, Opener

SLOW = BatchTiming(10, 10, running_seconds_per_search=0, adding_seconds_per_search=0)
HOUR = 3_600
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday


def hours(fields: dict[str, Any], days: int, zone: str = "UTC") -> list[str]:
    found = due_between(fields, ZoneInfo(zone), NOON, NOON + timedelta(days=days))
    return [f"{instant:%m-%d %H:%M}" for instant in found]


@pytest.mark.parametrize(
    ("fields", "days", "expected"),
    [
        ({"schedule_type": "manual", "schedule_hours": [13]}, 3, []),
        ({"schedule_type": "daily"}, 3, []),
        (
            {"schedule_type": "daily", "schedule_hours": [17, 9]},
            1,
            ["11-23 17:00", "11-24 09:00"],
        ),
        (
            {"schedule_type": "weekly", "schedule_days_of_week": [0, 3], "schedule_hours": [8]},
            7,
            ["11-25 08:00", "11-29 08:00"],
        ),
        (
            {"schedule_type": "monthly", "schedule_days_of_month": [1, 31], "schedule_hours": [0]},
            70,
            ["12-01 00:00", "12-31 00:00", "01-01 00:00", "01-31 00:00", "02-01 00:00"],
        ),
        (
            {
                "schedule_type": "minutes",
                "schedule_minutes": "every_30_minutes",
                "schedule_hours": [13, 14],
                "schedule_days_of_week": [1],
            },
            2,
            ["11-23 13:00", "11-23 13:30", "11-23 14:00", "11-23 14:30"],
        ),
    ],
)
def test_a_calendar_has_its_instants(
    fields: dict[str, Any], days: int, expected: list[str]
) -> None:
    """Each type uses its lists; the order of hours does not matter."""
    assert hours(fields, days) == expected


def test_a_calendar_is_in_the_zone_of_the_account() -> None:
    """8 o'clock in New York is 13:00 UTC in winter; a Sunday there may be a Monday in UTC."""
    fields = {"schedule_type": "daily", "schedule_hours": [8]}
    assert hours(fields, 1, "America/New_York") == ["11-23 13:00"]
    late = {"schedule_type": "weekly", "schedule_days_of_week": [0], "schedule_hours": [22]}
    assert hours(late, 8, "America/New_York") == ["11-30 03:00"]


def test_a_skipped_hour_is_left_out_and_a_repeated_one_counts_once() -> None:
    """02:00 does not exist on 2026-03-29 in Berlin and is twice on 2026-10-25."""
    fields = {"schedule_type": "daily", "schedule_hours": [2]}
    zone = ZoneInfo("Europe/Berlin")
    for after, count in (
        (datetime(2026, 3, 28, 12, tzinfo=UTC), 0),
        (datetime(2026, 10, 24, 12, tzinfo=UTC), 1),
    ):
        assert len(due_between(fields, zone, after, after + timedelta(hours=20))) == count


@pytest.fixture
def daily() -> dict[str, Any]:
    return {"schedule_type": "daily", "schedule_hours": [13]}


async def sets(caller: Caller, batch: str) -> list[tuple[int, str]]:
    """(id, start) of the result sets, newest first."""
    listed = (await caller.call("GET", f"/batches/{batch}/results")).json()["results"]
    return [(each["id"], each["started_at"][5:16]) for each in listed]


async def test_a_scheduled_batch_starts_by_itself(
    opened: Opener, clock: ManualClock, listener: Listener, daily: dict[str, Any]
) -> None:
    """At its hour it is charged, runs, has a result set and sends its webhook."""
    caller = await opened(clock=clock, timing=SLOW)
    batch = await caller.batch(notification_webhook=listener.url, **daily)
    await clock.advance(HOUR - 1)
    assert caller.simulator.ledger.charges == []
    await clock.advance(15)
    shown = (await caller.call("GET", f"/batches/{batch}")).json()["batch"]
    assert shown["status"] == "running"
    await clock.advance(15)
    await caller.simulator.scaleserp.webhooks.idle()
    assert await sets(caller, batch) == [(1, "11-23T13:00")]
    assert len(listener.bodies) == 1
    assert [(c.reason, c.amount) for c in caller.simulator.ledger] == [
        ("scheduled batch queued", 3)
    ]
    assert caller.simulator.scaleserp.account.created == 1


async def test_a_jump_of_the_clock_makes_every_run(
    opened: Opener, clock: ManualClock, daily: dict[str, Any]
) -> None:
    """After three days without a call there are three result sets with their own times."""
    caller = await opened(clock=clock, timing=SLOW)
    batch = await caller.batch(**daily)
    clock._passed += 3 * 24 * HOUR
    assert await sets(caller, batch) == [
        (3, "11-25T13:00"),
        (2, "11-24T13:00"),
        (1, "11-23T13:00"),
    ]
    assert caller.simulator.ledger.spent("scaleserp") == 9


async def test_a_changed_calendar_applies_from_then_on(
    opened: Opener, clock: ManualClock, daily: dict[str, Any]
) -> None:
    """Disabled it does not start; enabled again it makes up for nothing; a new hour counts."""
    caller = await opened(clock=clock, timing=SLOW)
    batch = await caller.batch(**daily)
    await caller.call("PUT", f"/batches/{batch}", {"enabled": False})
    clock._passed += 24 * HOUR
    await caller.call("PUT", f"/batches/{batch}", {"enabled": True, "schedule_hours": "14,16"})
    assert await sets(caller, batch) == []
    clock._passed += 5 * HOUR
    assert await sets(caller, batch) == [(2, "11-24T16:00"), (1, "11-24T14:00")]


async def test_an_instant_without_credits_or_searches_is_missed(
    opened: Opener, clock: ManualClock, daily: dict[str, Any]
) -> None:
    """Neither is charged; the account names the reasons."""
    caller = await opened(clock=clock, credits={"scaleserp": 2})
    await caller.batch("poor", **daily)
    await caller.call("POST", "/batches", {"name": "empty", **daily})
    clock._passed += 2 * HOUR
    await caller.call("GET", "/account")
    reasons = [why for _, _, why in caller.simulator.scaleserp.scheduler.missed]
    assert "credits" in reasons[0]
    assert "no searches" in reasons[1]
    assert caller.simulator.ledger.spent("scaleserp") == 0


async def test_an_inactive_batch_is_deleted_after_two_months(
    opened: Opener, clock: ManualClock
) -> None:
    """One that runs every month stays; one that is disabled or manual is deleted."""
    caller = await opened(clock=clock)
    monthly = {
        "schedule_type": "monthly",
        "schedule_days_of_month": [1],
        "schedule_hours": [0],
    }
    kept = await caller.batch("kept", **monthly)
    await caller.batch("paused", enabled=False, **monthly)
    await caller.batch("manual")
    clock._passed += 59 * 24 * HOUR
    assert (await caller.call("GET", "/batches")).json()["total_count"] == 3
    clock._passed += 2 * 24 * HOUR
    left = (await caller.call("GET", "/batches")).json()["batches"]
    assert [each["id"] for each in left] == [kept]
    assert caller.simulator.scaleserp.account.created == 3
