"""A content type's success counts when it has figures, with the age of their data."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from harness.schedules import MORNING, Schedules, spec

from serpline.domain.schedules import BackfillKind
from serpline.domain.states import RunStatus
from serpline.pipeline.estimate import Providers
from serpline.pipeline.service import PipelineService
from serpline.scheduling.backfill import BackfillRequest, BackfillService
from serpline.scheduling.slot_runs import run_id_of

NINE = MORNING.replace(hour=9)
RUN = run_id_of("s", NINE)


async def lanes(schedules: Schedules) -> dict[str, dict[str, Any]]:
    """What is known of the content types of the schedule, by name."""
    found = (await schedules.service.get("s"))["lanes"]
    return {lane["content_type"]: lane for lane in found}


async def retry(schedules: Schedules, run_id: UUID = RUN) -> None:
    """A person retries a run, usually that of the first slot."""
    await PipelineService(schedules.database, schedules.clock).retry(run_id)


async def test_a_fast_type_is_fresh_before_its_run_ends(schedules: Schedules) -> None:
    """News have figures at ten. The video of the run take two days, and news raise no alarm."""
    target = {"freshness_target": "30h"}
    await schedules.service.add("s", [spec(**target), spec(content_type="video", **target)])
    await schedules.at(NINE)
    await schedules.collect(RUN, "news", NINE + timedelta(minutes=20))
    await schedules.at(NINE + timedelta(hours=1))
    assert (await lanes(schedules))["news"]["last_success_at"] is None
    await schedules.end_lanes(RUN, "news")
    await schedules.after(seconds=5)
    noted = await lanes(schedules)
    assert noted["news"]["last_success_at"] == NINE + timedelta(minutes=20)
    assert noted["news"]["fresh_until"] == NINE + timedelta(hours=30, minutes=20)
    assert noted["video"]["last_success_at"] is None
    video, news = await schedules.slots()
    assert (news["succeeded"], news["run_status"], news["run_ended_at"]) == (True, "pending", None)
    assert video["succeeded"] is None
    written = "SELECT s.xmin::text, l.xmin::text AS lane FROM schedule_slots s, schedule_lanes l"
    before = await schedules.query(written)
    await schedules.after(seconds=5)
    assert await schedules.query(written) == before
    await schedules.at(NINE + timedelta(hours=30, minutes=19))
    assert [each["content_type"] for each in await schedules.events("schedule.stale")] == ["video"]
    await schedules.end_runs(run_id=RUN)
    await schedules.after(seconds=5)
    assert (await lanes(schedules))["news"]["last_success_at"] == NINE + timedelta(minutes=20)
    first = [row for row in await schedules.slots() if row["run_id"] == RUN]
    assert [(row["run_status"], row["succeeded"]) for row in first] == [("completed", True)] * 2


async def test_a_success_stays_when_its_run_is_cancelled(schedules: Schedules) -> None:
    """The figures are there, whether the tick noted them before the cancellation or after it."""
    await schedules.service.add("s", [spec(), spec(content_type="video")])
    for day in range(2):
        await schedules.at(NINE + timedelta(days=day))
        await schedules.end_lanes(run_id_of("s", NINE + timedelta(days=day)), "news")
        if day == 0:
            await schedules.after(seconds=5)
        await schedules.end_runs(RunStatus.CANCELLED)
        await schedules.after(seconds=5)
    found = {(row["content_type"], row["succeeded"]) for row in await schedules.slots()}
    assert found == {("news", True), ("video", None)}


async def test_late_results_are_as_old_as_they_are(schedules: Schedules) -> None:
    """Results that come a day after they were made end no alarm that their age still deserves."""
    await schedules.service.add("s", spec(freshness_target="26h"))
    await schedules.at(NINE)
    await schedules.at(NINE + timedelta(hours=29))
    assert len(await schedules.events("schedule.stale")) == 1
    await schedules.collect(RUN, "news", NINE + timedelta(hours=1))
    await schedules.end_runs(run_id=RUN)
    await schedules.after(seconds=5)
    news = (await lanes(schedules))["news"]
    assert news["last_success_at"] == NINE + timedelta(hours=1)
    assert news["fresh_until"] == NINE + timedelta(hours=27)
    assert news["stale_since"] == NINE + timedelta(hours=29)
    assert await schedules.events("schedule.fresh") == []
    assert len(await schedules.events("schedule.stale")) == 1


async def test_a_retried_run_is_followed_to_its_new_end(schedules: Schedules) -> None:
    """A retry makes data fresh when it succeeds. A run that fails twice counts as one failure."""
    await schedules.service.add("s", spec(freshness_target="26h", pause_after_failures=2))
    await schedules.at(NINE)
    for hour in (1, 2):
        await schedules.end_runs(RunStatus.FAILED)
        await schedules.after(seconds=5)
        assert (await lanes(schedules))["news"]["failures_in_row"] == 1
        await retry(schedules)
        (slot,) = await schedules.slots()
        assert (slot["run_status"], slot["run_ended_at"]) == ("running", None)
        await schedules.at(NINE + timedelta(hours=hour))
    await schedules.collect(RUN, "news", NINE + timedelta(hours=3))
    await schedules.end_runs()
    await schedules.at(NINE + timedelta(hours=4))
    (slot,) = await schedules.slots()
    assert (slot["run_status"], slot["succeeded"]) == ("completed", True)
    news = (await lanes(schedules))["news"]
    assert (news["failures_in_row"], news["paused_at"]) == (0, None)
    assert news["last_success_at"] == NINE + timedelta(hours=3)


@pytest.mark.parametrize(
    ("rule", "while_retried", "afterwards"),
    [
        ("skip", ("skipped", "overlap"), ("skipped", "overlap")),
        ("buffer_one", ("due", "previous_run"), ("started", "previous_run")),
        ("allow", ("started", "on_time"), ("started", "on_time")),
    ],
)
async def test_a_retried_run_overlaps(
    schedules: Schedules, rule: str, while_retried: tuple[str, str], afterwards: tuple[str, str]
) -> None:
    """A run that a person retries after its end is a run in progress for the overlap rule."""
    await schedules.service.add("s", spec(overlap=rule))
    await schedules.at(NINE)
    await schedules.end_runs(RunStatus.FAILED)
    await schedules.after(hours=1)
    await retry(schedules)
    await schedules.at(NINE + timedelta(days=1))
    assert (await schedules.outcomes())[1][1:] == while_retried
    await schedules.end_runs()
    await schedules.after(seconds=5)
    assert (await schedules.outcomes())[1][1:] == afterwards


async def test_a_backfill_refreshes_by_the_age_of_its_data(schedules: Schedules) -> None:
    """A late snapshot of today is today's data. It ends the alarm, and no streak of failures."""
    await schedules.service.add("s", spec(catch_up="none", freshness_target="26h"))
    await schedules.at(NINE + timedelta(hours=23))
    await schedules.query("UPDATE schedule_lanes SET failures_in_row = 1")
    await schedules.after(hours=4)
    assert len(await schedules.events("schedule.stale")) == 1
    backfills = BackfillService(schedules.database, schedules.clock, Providers(False, False))
    await backfills.start(BackfillRequest("s", NINE, NINE, BackfillKind.LATE))
    await schedules.after(seconds=5)
    (run_id,) = [row["id"] for row in await schedules.runs() if row["config"]["backfill"]]
    made_at: datetime = schedules.clock.at + timedelta(hours=1)
    await schedules.collect(run_id, "news", made_at)
    await schedules.after(hours=2)
    await schedules.end_runs(run_id=run_id)
    for _ in range(2):
        await schedules.after(seconds=5)
    slot = (await schedules.slots())[0]
    assert (slot["outcome"], slot["run_status"], slot["succeeded"]) == (
        "backfilled",
        "completed",
        True,
    )
    news = (await lanes(schedules))["news"]
    assert (news["last_success_at"], news["failures_in_row"]) == (made_at, 1)
    assert len(await schedules.events("schedule.fresh")) == 1


async def test_a_retried_run_of_a_backfill_fills_its_slot(schedules: Schedules) -> None:
    """Its backfill has ended already. The runs of a cancelled backfill fill nothing more."""
    await schedules.service.add("s", spec(catch_up="none"))
    await schedules.at(NINE + timedelta(days=1, hours=23))
    backfills = BackfillService(schedules.database, schedules.clock, Providers(False, False))
    made = [
        await backfills.start(BackfillRequest("s", day, day, BackfillKind.LATE))
        for day in (NINE, NINE + timedelta(days=1))
    ]
    await schedules.after(seconds=5)
    await schedules.end_runs(RunStatus.FAILED)
    await schedules.query(
        "UPDATE schedule_backfills SET status = 'cancelled' WHERE id = :id", id=made[1]["id"]
    )
    await schedules.after(seconds=5)
    for run in await schedules.runs():
        await retry(schedules, run["id"])
        await schedules.collect(run["id"], "news", schedules.clock.at)
    await schedules.end_runs()
    await schedules.after(seconds=5)
    views = [await backfills.get("s", each["id"]) for each in made]
    assert [(view["status"], view["slots"]) for view in views] == [
        ("completed", {"total": 1, "completed": 1}),
        ("cancelled", {"total": 1, "failed": 1}),
    ]
    assert [row["outcome"] for row in await schedules.slots()] == ["backfilled", "missed"]


async def test_following_costs_the_same_for_many(
    schedules: Schedules, statements: list[str]
) -> None:
    """Twenty schedules whose news have figures need as many statements as one."""
    counts = []
    for day, names in enumerate((["s"], [f"s{number}" for number in range(20)])):
        instant = NINE + timedelta(days=day)
        for name in names:
            await schedules.service.add(name, [spec(), spec(content_type="video")])
        await schedules.at(instant)
        for name in names:
            await schedules.end_lanes(run_id_of(name, instant), "news")
        statements.clear()
        await schedules.after(seconds=5)
        counts.append(len(statements))
        found = await schedules.query(
            "SELECT FROM schedule_lanes WHERE last_success_at IS NOT NULL"
        )
        assert len(found) == (1 if day == 0 else 21)
    assert counts[0] == counts[1]
