"""Changes of stored schedules: what is refused, what a change keeps, and what a run is made of."""

import asyncio
from datetime import timedelta

import pytest
from harness.schedules import MORNING, Schedules, spec

from serpline.domain.errors import UserError
from serpline.domain.states import RunStatus
from serpline.scheduling.policy import INSTANTS_MAX
from serpline.scheduling.slot_runs import run_id_of
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.database import Database

NINE = MORNING.replace(hour=9)
HOUR = timedelta(hours=1)
EVERY_MINUTE = {"frequency": "interval", "interval": "1m", "catch_up": "none"}


async def decided_in_portions(
    schedules: Schedules, days: int = 3, at_once: int = INSTANTS_MAX
) -> None:
    """The minutes of these days are decided by the first version, in full transactions."""
    portions = await schedules.query(
        "SELECT count(*), max(version) AS version FROM schedule_slots"
        " WHERE reason_code <> 'triggered' GROUP BY xmin::text"
    )
    assert sum(each["count"] for each in portions) == days * 24 * 60
    assert max(each["count"] for each in portions) == at_once
    assert {each["version"] for each in portions} == {1}


async def test_a_run_has_the_specifications_of_its_types(schedules: Schedules) -> None:
    """Each lane follows the specification that decided its slot, of the slot's version."""
    specs = [
        spec(retry_attempts=5),
        spec(content_type="organic", phase_retries=2, priority="high"),
        spec(content_types=["news", "organic"], retry_attempts=9, frequency="weekly"),
    ]
    await schedules.service.add("s", specs)
    await schedules.at(NINE)
    (run,) = await schedules.runs()
    lanes = run["config"]["lanes"]
    assert (lanes["news"]["retry_attempts"], lanes["news"]["phase_retries"]) == (5, 1)
    assert (lanes["organic"]["retry_attempts"], lanes["organic"]["phase_retries"]) == (3, 2)
    priorities = await schedules.query(
        "SELECT DISTINCT content_type, priority FROM pipeline_phase_status ORDER BY 1"
    )
    assert [tuple(row.values()) for row in priorities] == [
        ("all", 10),
        ("news", 0),
        ("organic", 10),
    ]


async def test_types_that_differ_in_devices_have_runs_of_their_own(schedules: Schedules) -> None:
    """One instant starts a run per group, once, with the devices and the limits of its types."""
    mobile = spec(content_type="video", devices=["mobile"], credit_limits={"scaleserp": 7})
    await schedules.service.add("s", [spec(), mobile, spec(content_type="organic")])
    for _ in range(2):
        await schedules.at(NINE)
    found = [
        (run["config"]["content_types"], run["config"]["devices"], run["config"]["credit_limits"])
        for run in await schedules.runs()
    ]
    assert sorted(found) == [
        (["organic", "news"], ["desktop"], {}),
        (["video"], ["mobile"], {"scaleserp": 7.0}),
    ]
    limited = "SELECT scope FROM provider_budgets WHERE limit_credits = 7"
    assert len(await schedules.query(limited)) == 1
    assert len(await schedules.service.trigger("s")) == 2
    assert run_id_of("s", NINE) not in {run["id"] for run in await schedules.runs()}


async def test_a_triggered_run_has_no_scheduled_time(schedules: Schedules) -> None:
    """Triggers at once start a run each, for the content types that are named."""
    await schedules.service.add("s", [spec(), spec(content_type="organic")])
    each = await asyncio.gather(*(schedules.service.trigger("s", ["news"]) for _ in range(5)))
    assert len({run_id for [run_id] in each}) == 5
    found = [
        (r["mode"], r["scheduled_for"], r["config"]["content_types"])
        for r in await schedules.runs()
    ]
    assert found == [("scheduled", None, ["news"])] * 5
    assert len(await schedules.slots()) == 5
    with pytest.raises(UserError, match=r"^content_type='video': schedule 's' has news, organic$"):
        await schedules.service.trigger("s", ["video"])


async def test_a_trigger_that_cannot_start_leaves_nothing(db: Database) -> None:
    """Without keywords it is refused: no run, no slot."""
    schedules = Schedules(db)
    await schedules.service.add("s", spec())
    with pytest.raises(UserError, match=r"^no keywords"):
        await schedules.service.trigger("s")
    assert (await schedules.runs(), await schedules.slots()) == ([], [])


async def test_a_trigger_starts_all_of_its_runs_or_none(schedules: Schedules) -> None:
    """The second run cannot be created: the first one is not paid for, and leaves no trace."""
    video = spec(content_type="video", landscape="gone")
    await schedules.service.add("s", [spec(content_type="organic"), video])
    before = await schedules.query("SELECT max(id) FROM pipeline_events")
    with pytest.raises(UserError, match=r"^landscape='gone': there is no such landscape$"):
        await schedules.service.trigger("s")
    assert (await schedules.runs(), await schedules.slots()) == ([], [])
    assert await schedules.query("SELECT max(id) FROM pipeline_events") == before


async def test_a_dry_run_refuses_what_would_be_refused(schedules: Schedules) -> None:
    """It stores nothing, and nothing is refused later that it accepts."""
    add, edit = schedules.service.add, schedules.service.edit
    at_half_past = spec(driver="provider", time_of_day="09:30")
    seen = await add("s", spec(), dry_run=True)
    assert len(seen["next_times"]) == 3
    assert await schedules.service.listed(deleted=True) == []
    await add("s", spec())
    for dry_run in (True, False):
        with pytest.raises(UserError, match=r"^schedule='a.nb': must be"):
            await add("a\nb", spec(), dry_run=dry_run)
        with pytest.raises(UserError, match=r"^schedule 's' exists already"):
            await add("s", spec(), dry_run=dry_run)
        with pytest.raises(UserError, match=r"^time_of_day='09:30': ScaleSERP's calendar"):
            await add("t", at_half_past, dry_run=dry_run)
        with pytest.raises(UserError, match=r"^time_of_day='09:30': ScaleSERP's calendar"):
            await edit("s", at_half_past, dry_run=dry_run)
        with pytest.raises(UserError, match=r"^version=7: schedule 's' is at version 1"):
            await edit("s", spec(jitter=5), version=7, dry_run=dry_run)
        with pytest.raises(UserError, match=r"^schedule 'gone': there is no such schedule"):
            await edit("gone", spec(), dry_run=dry_run)
    await edit("s", spec(jitter=5), dry_run=True)
    assert (await schedules.service.get("s"))["version"] == 1


async def test_a_preview_starts_now_by_default(schedules: Schedules) -> None:
    """The service's clock gives the time; the rows are those of the command."""
    rows = schedules.service.preview(spec(), 1)
    assert rows[0]["scheduled_for"] == NINE.isoformat()
    both = schedules.service.preview([spec(), spec(content_type="organic")], 1, NINE - HOUR)
    assert both[0]["content_types"] == ["organic", "news"]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("", {}, "^schedule='': must be"),
        ("s" * 201, {}, "^schedule='sss.*must be"),
        ("s", {"end": "2026-03-01"}, "^end='2026-03-01': the schedule would never be due after"),
        (
            "s",
            {"jitter": "2h", "deadline": "1h"},
            "^jitter=7200: must be less than deadline=3600, or slots wait past it$",
        ),
        ("taken", {}, r"^schedule 'taken' exists already \(version 1\); edit changes it$"),
    ],
)
async def test_an_impossible_schedule(
    schedules: Schedules, name: str, given: dict[str, str], message: str
) -> None:
    """It is refused in one line, and nothing is stored."""
    await schedules.service.add("taken", spec())
    with pytest.raises(UserError, match=message):
        await schedules.service.add(name, spec(**given))
    assert [each["id"] for each in await schedules.service.listed()] == ["taken"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"start": "2027-01-01"},
            r"^start='2027-01-01': the schedule has slots since 2026-03-02T09:00:00\+00:00; to stop"
            " it until then, pause it$",
        ),
        ({"end": "2026-03-02"}, r"^end='2026-03-02': the schedule would never be due after"),
    ],
)
async def test_an_edit_that_the_past_contradicts(
    schedules: Schedules, given: dict[str, str], message: str
) -> None:
    """It is refused, and the old version stays as it is."""
    await schedules.service.add("s", spec())
    await schedules.at(NINE)
    await schedules.after(days=1)
    before = await schedules.service.get("s")
    with pytest.raises(UserError, match=message):
        await schedules.service.edit("s", spec(**given))
    assert await schedules.service.get("s") == before


async def test_an_end_among_decided_slots(schedules: Schedules) -> None:
    """One specification cannot end before its slots, even if another goes on."""
    both = [spec(), spec(content_type="organic")]
    await schedules.service.add("s", both)
    await schedules.at(NINE + timedelta(days=2))
    with pytest.raises(UserError, match=r"^end='2026-03-03': the schedule was decided until"):
        await schedules.service.edit("s", [spec(end="2026-03-03"), both[1]])
    edited = await schedules.service.edit("s", [spec(end="2026-04-01"), both[1]])
    assert edited["version"] == 2


async def test_two_people_edit(schedules: Schedules) -> None:
    """An edit of an older version than the newest is refused."""
    await schedules.service.add("s", spec())
    await schedules.service.edit("s", spec(time_of_day="10:00"), version=1)
    with pytest.raises(
        UserError, match=r"^version=1: schedule 's' is at version 2 since 2026-03-02"
    ):
        await schedules.service.edit("s", spec(time_of_day="11:00"), version=1)


@pytest.mark.parametrize(
    ("before", "change", "message"),
    [
        ([], "resume", "^schedule 's' is active: 'resume' is not possible$"),
        (["pause"], "pause", "^schedule 's' is paused: 'pause' is not possible$"),
        (["delete"], "pause", "^schedule 's' is deleted; add makes"),
        (["delete"], "trigger", "^schedule 's' is deleted; add makes"),
        (["delete"], "delete", "^schedule 's' is deleted; add makes"),
    ],
)
async def test_an_impossible_change(
    schedules: Schedules, before: list[str], change: str, message: str
) -> None:
    """It names the schedule and its status, and changes nothing."""
    await schedules.service.add("s", spec())
    for each in before:
        await getattr(schedules.service, each)("s")
    found = await schedules.service.get("s")
    with pytest.raises(UserError, match=message):
        await getattr(schedules.service, change)("s")
    assert await schedules.service.get("s") == found


@pytest.mark.parametrize("method", ["get", "pause", "resume", "delete", "trigger", "slots"])
async def test_an_unknown_schedule(schedules: Schedules, method: str) -> None:
    """Every method says that there is none of this name."""
    with pytest.raises(
        UserError,
        match=r"^schedule 'gone': there is no such schedule; see 'serpline schedule list'$",
    ):
        await getattr(schedules.service, method)("gone")


async def test_specifications_are_stored_as_given(schedules: Schedules) -> None:
    """Only the keys that were given are stored, and they read back as the same specification."""
    given = {"content_type": "news", "frequency": "cron", "cron": "0 9 * * 1", "jitter": "5m"}
    made = ScheduleSpec.from_json(given)
    found = await schedules.service.add("s", made)
    assert found["specs"] == [
        {"content_types": ["news"], "frequency": "cron", "cron": "0 9 * * 1", "jitter": 300}
    ]
    assert ScheduleSpec.from_json(found["specs"][0]) == made


@pytest.mark.parametrize("reason", ["", "x" * 501, "nul \0", "half \ud800"])
async def test_a_reason_that_cannot_be_stored(schedules: Schedules, reason: str) -> None:
    """It is refused with the change that it was given for."""
    await schedules.service.add("s", spec())
    with pytest.raises(UserError, match=r"^reason="):
        await schedules.service.pause("s", reason=reason)
    with pytest.raises(UserError, match=r"^reason="):
        await schedules.service.edit("s", spec(time_of_day="10:00"), reason=reason)
    found = await schedules.service.get("s")
    assert (found["status"], found["version"]) == ("active", 1)


@pytest.mark.parametrize("change", ["edit", "pause", "resume", "delete"])
async def test_a_change_after_a_long_downtime(schedules: Schedules, change: str) -> None:
    """A change after three days without a tick decides their instants in portions before it."""
    await schedules.service.add("s", spec(**EVERY_MINUTE))
    if change == "resume":
        await schedules.service.pause("s")
    schedules.clock.at += timedelta(days=3)
    arguments = [spec()] if change == "edit" else []
    await getattr(schedules.service, change)("s", *arguments)
    await decided_in_portions(schedules)


async def test_an_accepted_proposal_after_a_long_downtime(schedules: Schedules) -> None:
    """So does the version of an accepted proposal, and the one that takes it back."""
    await schedules.service.add("s", spec(**EVERY_MINUTE))
    await schedules.query(
        "INSERT INTO schedule_proposals (schedule_id, content_type, kind, change, evidence,"
        " made_at) VALUES ('s', 'news', 'priority', jsonb_build_object('priority', 'high'),"
        " jsonb_build_object('summary', 'late', 'promised', 0.1, 'trouble', 'late', 'factor',"
        " 'provider', 'level', 'scaleserp'), now())"
    )
    schedules.clock.at += timedelta(days=3)
    (made,) = await schedules.query("SELECT id FROM schedule_proposals")
    await schedules.service.accept(made["id"])
    await decided_in_portions(schedules)


async def test_a_pause_after_failures_after_a_long_downtime(schedules: Schedules) -> None:
    """A run that failed before the downtime pauses its content type after the instants of it."""
    await schedules.service.add("s", spec(**EVERY_MINUTE, pause_after_failures=1))
    await schedules.service.trigger("s")
    await schedules.end_runs(RunStatus.FAILED)
    await schedules.after(days=4)
    assert (await schedules.service.get("s"))["status"] == "paused"
    await decided_in_portions(schedules, days=4, at_once=5 * INSTANTS_MAX)
