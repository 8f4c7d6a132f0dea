"""What real schedules do is told in words: the events are those that the tick and people write."""

from datetime import timedelta

import pytest
from harness.receiver import Receiver
from harness.schedules import MORNING, Schedules, spec
from tests.integration.notifications.conftest import Notifying

from serpline.domain.schedules import BackfillKind
from serpline.pipeline.estimate import Providers
from serpline.scheduling.backfill import BackfillRequest, BackfillService

NINE = MORNING.replace(hour=9)


@pytest.fixture
async def schedules(notifying: Notifying) -> Schedules:
    made = Schedules(notifying.database)
    await made.import_keywords()
    return made


async def titles(notifying: Notifying, receiver: Receiver) -> list[str]:
    """What the messages tell, one after the other."""
    for _ in range(3):
        await notifying.turn()
        await notifying.pass_time(1000)
    found = [one.title.removeprefix("serpline: ") for one in receiver.messages]
    receiver.messages.clear()
    return found


async def test_a_pause(notifying: Notifying, receiver: Receiver, schedules: Schedules) -> None:
    """A pause and its end are told to a destination of that schedule, and to no other."""
    await notifying.add("ops", receiver.url(), schedules=["daily"])
    for name in ("daily", "other"):
        await schedules.service.add(name, spec())
        await schedules.service.pause(name, reason="the budget is spent")
    assert await titles(notifying, receiver) == ["Schedule 'daily' is paused"]
    await notifying.query(
        "INSERT INTO schedule_lanes (schedule_id, content_type, paused_at, pause_reason)"
        " VALUES ('daily', 'news', now(), 'x') ON CONFLICT (schedule_id, content_type)"
        " DO UPDATE SET paused_at = now(), pause_reason = 'x'"
    )
    await schedules.service.resume("daily")
    assert await titles(notifying, receiver) == ["Schedule 'daily' goes on"]
    await schedules.service.pause("daily")
    await schedules.service.delete("daily")
    assert await titles(notifying, receiver) == ["Schedule 'daily' is paused"]


async def test_a_downtime(notifying: Notifying, receiver: Receiver, schedules: Schedules) -> None:
    """The times that passed while nothing ran are told together, with the reason."""
    await notifying.add("ops", receiver.url())
    await schedules.service.add("daily", spec(catch_up="none"))
    await schedules.at(NINE + timedelta(days=3, hours=2))
    await notifying.turn()
    (message,) = receiver.messages
    assert message.title == (
        "serpline: Schedule 'daily' missed 4 times from 2026-03-02 09:00 UTC to 2026-03-05 09:00"
        " UTC (news)"
    )
    assert message.body.splitlines()[0].startswith("Reason: ")
    assert "serpline schedule slots daily" in message.body


async def test_a_run_that_cannot_start(
    notifying: Notifying, receiver: Receiver, schedules: Schedules
) -> None:
    """A schedule whose runs are refused is one incident, which ends with the first run."""
    await notifying.add("ops", receiver.url())
    await schedules.service.add("daily", spec(landscape="shoes"))
    await schedules.at(NINE)
    await schedules.at(NINE + timedelta(days=1))
    assert await titles(notifying, receiver) == [
        "Schedule 'daily' could not start its run of 2026-03-02 09:00 UTC (news)"
    ]
    await notifying.query("INSERT INTO landscapes (name) VALUES ('shoes')")
    await notifying.query(
        "INSERT INTO landscape_keywords (landscape, keyword_id) SELECT 'shoes', id FROM keywords"
    )
    await schedules.at(NINE + timedelta(days=2))
    assert await titles(notifying, receiver) == ["Schedule 'daily' starts runs again"]


async def test_a_backfill(notifying: Notifying, receiver: Receiver, schedules: Schedules) -> None:
    """A backfill whose credits are spent is told with the reason, and then how it ended."""
    await notifying.add("ops", receiver.url(), events=["backfill.paused", "backfill.completed"])
    await schedules.service.add("daily", spec(catch_up="none"))
    await schedules.at(NINE + timedelta(days=2, hours=1))
    backfills = BackfillService(schedules.database, schedules.clock, Providers(False, False))
    asked = BackfillRequest(
        "daily",
        MORNING,
        MORNING + timedelta(days=7),
        BackfillKind.LATE,
        credit_limits={"scaleserp": 1.0},
    )
    made = await backfills.start(asked)
    await schedules.after(seconds=5)
    await notifying.query("UPDATE provider_budgets SET spent = 1 WHERE scope LIKE 'backfill:%'")
    await schedules.end_runs()
    await schedules.after(seconds=5)
    named = f"Backfill {made['id']} of schedule 'daily'"
    await notifying.turn()
    (message,) = receiver.messages
    assert message.title == f"serpline: {named} is paused"
    assert "Reason: its credit limit of 1 for scaleserp is spent" in message.body
    receiver.messages.clear()
    await notifying.pass_time(1000)
    await notifying.query("UPDATE schedule_backfills SET credit_limits = '{}'")
    await backfills.change("daily", "resume")
    assert await titles(notifying, receiver) == [f"{named} goes on"]
    for _ in range(4):
        await schedules.after(seconds=5)
        await schedules.end_runs()
    assert await titles(notifying, receiver) == [f"{named} has ended"]


async def test_data_that_is_too_old(
    notifying: Notifying, receiver: Receiver, schedules: Schedules
) -> None:
    """Data older than its target is told once."""
    await notifying.add("ops", receiver.url())
    await schedules.service.add("daily", spec(freshness_target="26h"))
    for hours in (1, 30, 40):
        await schedules.after(hours=hours)
    found = await titles(notifying, receiver)
    assert found.count("The news data of schedule 'daily' is too old") == 1
