"""Proposals over a real database: observed slots, looks, decisions, and what followed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harness.schedules import Schedules, spec

from serpline.domain.errors import UserError
from serpline.domain.names import PhaseName
from serpline.domain.states import RunStatus
from serpline.scheduling.adjuster import TASK, Adjuster
from serpline.store.database import Database

START = datetime(2026, 3, 2, tzinfo=UTC)
PROVIDER = "scale_serp_api"


@pytest.fixture
async def schedules(db: Database) -> Schedules:
    """The scheduling service and a tick, over a project of three keywords."""
    made = Schedules(db)
    await made.import_keywords()
    made.clock.at = START
    return made


@pytest.fixture
async def adjuster(schedules: Schedules) -> Adjuster:
    """The task, due."""
    made = Adjuster(schedules.database, schedules.clock)
    await made.register()
    return made


SIX_HOURLY = [spec(time_of_day=f"{hour:02}:00") for hour in (0, 6, 12, 18)]


async def _live(schedules: Schedules, slots: int, *, failed_hour: int | None = 6) -> None:
    """Let the schedule live through slots six hours apart; those at ``failed_hour`` fail."""
    for _ in range(slots):
        await schedules.after(hours=6)
        is_bad = schedules.clock.at.hour == failed_hour
        await schedules.end_runs(RunStatus.FAILED if is_bad else RunStatus.COMPLETED)
        await schedules.after(seconds=10)
        schedules.clock.at -= timedelta(seconds=10)


async def _proposals(schedules: Schedules, **given: Any) -> list[dict[str, Any]]:
    return await schedules.service.proposals("s", **given)


async def test_failures_at_six_are_proposed_accepted_and_taken_back(
    schedules: Schedules, adjuster: Adjuster
) -> None:
    """Within 30 slots: the proposal, its evidence and event; then two new versions."""
    await schedules.service.add("s", SIX_HOURLY)
    for _ in range(30):
        await _live(schedules, 1)
        await adjuster.run()
        if found := await _proposals(schedules):
            break
    (made,) = found
    assert (made["kind"], made["content_type"], made["status"]) == ("later_hour", "news", "open")
    assert made["change"] == {"hour": 6, "to_hour": 7}
    evidence = made["evidence"]
    assert (evidence["factor"], evidence["level"], evidence["version"]) == ("hour", 6, 1)
    assert evidence["ours"]["bad"] == evidence["ours"]["total"] >= 3
    assert evidence["p_value"] <= evidence["threshold"]
    (event,) = await schedules.events("proposal.%")
    assert event["event_type"] == "proposal.made"
    assert event["detail"]["schedule"] == "s"
    assert "failed" in event["detail"]["summary"]

    accepted = await schedules.service.accept(made["id"])
    assert (accepted["status"], accepted["version_after"]) == ("accepted", 2)
    stored = await schedules.service.get("s")
    times = [one["time_of_day"] for one in stored["versions"][-1]["specs"]]
    assert times == ["00:00", "07:00", "12:00", "18:00"]
    with pytest.raises(UserError, match="is accepted: it is not open"):
        await schedules.service.accept(made["id"])

    back = await schedules.service.take_back(made["id"], reason="the office opens at seven")
    assert (back["status"], back["reason"]) == ("taken_back", "the office opens at seven")
    stored = await schedules.service.get("s")
    assert stored["version"] == 3
    assert stored["versions"][-1]["specs"] == stored["versions"][0]["specs"]
    kinds = [event["event_type"] for event in await schedules.events("proposal.%")]
    assert kinds == ["proposal.made", "proposal.accepted", "proposal.taken_back"]


async def test_following_slots_stand_beside_the_promise(
    schedules: Schedules, adjuster: Adjuster
) -> None:
    """After the move, slots at seven are counted: promised none in trouble, one of four failed."""
    await schedules.service.add("s", SIX_HOURLY)
    await _live(schedules, 12)
    await adjuster.run()
    (made,) = await _proposals(schedules)
    await schedules.service.accept(made["id"])
    for day in range(4):
        for hours in (7, 5, 6, 6):  # 07:00, 12:00, 18:00, 00:00
            await schedules.after(hours=hours)
            is_bad = day == 0 and schedules.clock.at.hour == 7
            await schedules.end_runs(RunStatus.FAILED if is_bad else RunStatus.COMPLETED)
    await schedules.after(minutes=1)
    await adjuster.run()
    (after,) = await _proposals(schedules)
    assert after["promised"] == 0
    assert after["since"] == {"bad": 1, "total": 4, "share": 0.25}


async def test_nothing_is_proposed_twice(schedules: Schedules, adjuster: Adjuster) -> None:
    """An open proposal keeps others away; a refused one is not made again about its version."""
    await schedules.service.add("s", SIX_HOURLY)
    await _live(schedules, 30)
    await adjuster.run()
    await _live(schedules, 20)
    await adjuster.run()
    (made,) = await _proposals(schedules)
    await schedules.service.refuse(made["id"], reason="the report is due at six")
    await _live(schedules, 40)
    await adjuster.run()
    assert [row["status"] for row in await _proposals(schedules)] == ["refused"]
    assert await _proposals(schedules, only_open=True) == []


async def test_an_edit_that_leaves_nothing_to_change_expires_a_proposal(
    schedules: Schedules, adjuster: Adjuster
) -> None:
    """At the task's next run; or when someone accepts it before."""
    await schedules.service.add("s", SIX_HOURLY)
    await _live(schedules, 30)
    await adjuster.run()
    (made,) = await _proposals(schedules)
    await schedules.service.edit("s", [spec(time_of_day="12:00")])
    with pytest.raises(UserError, match="leaves nothing to change"):
        await schedules.service.accept(made["id"])
    assert (await _proposals(schedules))[0]["status"] == "expired"

    await schedules.service.add("t", SIX_HOURLY)
    await schedules.query("UPDATE schedule_proposals SET status = 'open', schedule_id = 't'")
    await schedules.service.delete("t")
    await adjuster.run()
    (gone,) = await schedules.service.proposals("t")
    assert gone["status"] == "expired"
    assert (await schedules.events("proposal.expired"))[-1]["detail"]["schedule"] == "t"


async def test_a_later_edit_is_not_undone(schedules: Schedules, adjuster: Adjuster) -> None:
    """Taking back is refused after another change of the schedule."""
    await schedules.service.add("s", SIX_HOURLY)
    await _live(schedules, 30)
    await adjuster.run()
    (made,) = await _proposals(schedules)
    await schedules.service.accept(made["id"])
    await schedules.service.edit("s", [spec(time_of_day="03:00")])
    with pytest.raises(UserError, match=r"made version 2 of schedule 's', which is at version 3"):
        await schedules.service.take_back(made["id"])
    assert (await schedules.service.get("s"))["version"] == 3


async def _add_batch(schedules: Schedules, searches: int, *, lost: bool) -> None:
    """Give the latest run a batch of so many searches."""
    await schedules.query(
        "WITH lane AS (SELECT l.id, l.pipeline_execution_id AS run FROM pipeline_phase_status l"
        " JOIN pipeline_executions e ON e.id = l.pipeline_execution_id WHERE l.phase_name = :phase"
        " AND l.content_type = 'news' ORDER BY e.scheduled_for DESC LIMIT 1),"
        " chunk AS (INSERT INTO chunks (lane_id, no, run_id, status, planned)"
        " SELECT id, (SELECT count(*) FROM chunks c WHERE c.lane_id = lane.id) + 1, run, 'done',"
        " :searches FROM lane RETURNING id)"
        " INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path, status,"
        " stage, priority, items, received) SELECT id, 1, :provider, 'batch ' || id, 'path ' || id,"
        " CASE WHEN :lost THEN 'lost' ELSE 'ingested' END, 'first', 'normal',"
        " array_fill('item'::text, ARRAY[:searches]), CASE WHEN :lost THEN 0 ELSE :searches END"
        " FROM chunk",
        phase=str(PhaseName.SERP_COLLECTION),
        searches=searches,
        provider=PROVIDER,
        lost=lost,
    )


async def test_a_provider_that_fails_large_batches_is_proposed(
    schedules: Schedules, adjuster: Adjuster
) -> None:
    """Within 30 daily slots whose two batches have other sizes each day."""
    await schedules.service.add("s", spec(time_of_day="00:00"))
    for day in range(30):
        await schedules.after(days=1)
        for searches in (5_001 + day * 100, 4_000 - day * 50):
            await _add_batch(schedules, searches, lost=searches > 5_000)
        await schedules.end_runs(RunStatus.COMPLETED_WITH_ERRORS)
        await schedules.after(seconds=1)
        schedules.clock.at -= timedelta(seconds=1)
        await adjuster.run()
        if found := await _proposals(schedules):
            break
    (made,) = found
    assert (made["kind"], made["change"]) == ("smaller_batches", {"batch_size": 5_000})
    assert made["evidence"]["provider"] == PROVIDER
    await schedules.service.accept(made["id"])
    assert (await schedules.service.get("s"))["versions"][-1]["specs"][0]["batch_size"] == 5_000


async def test_only_the_schedules_own_slots_that_ran_or_should_have_are_observations(
    schedules: Schedules, adjuster: Adjuster
) -> None:
    """Paused, cancelled and triggered ones are marked, and not counted; missed ones are late."""
    await schedules.service.add("s", SIX_HOURLY)
    await schedules.service.trigger("s")
    await schedules.end_runs()
    await schedules.after(hours=6)
    await schedules.end_runs(RunStatus.CANCELLED)
    await schedules.service.pause("s")
    await schedules.after(hours=12)
    await schedules.service.resume("s")
    await schedules.after(days=3, minutes=-1)
    await adjuster.run()
    rows = await schedules.query("SELECT outcome, observed FROM schedule_slots ORDER BY 1")
    counted = [row for row in rows if row["observed"]]
    assert {row["outcome"] for row in rows} >= {"skipped", "missed"}
    assert {row["outcome"] for row in counted} == {"missed"}
    assert all(row["observed"]["late"] for row in counted)
    (lane,) = await schedules.query("SELECT observed_slots FROM schedule_lanes")
    assert lane["observed_slots"] == len(counted)


async def test_an_error_in_one_look_stops_no_other(
    schedules: Schedules, adjuster: Adjuster
) -> None:
    """Of two schedules, one has an observation that cannot be read, and one specification can't."""
    await schedules.service.add("s", SIX_HOURLY)
    await schedules.service.add("a", spec(time_of_day="00:00"))
    await schedules.service.add("b", spec(time_of_day="00:00"))
    await _live(schedules, 12)
    await schedules.query(
        'UPDATE schedule_slots SET observed = \'{"late": true, "batches": 7}\''
        " WHERE schedule_id = 'a'"
    )
    await schedules.query(
        'UPDATE schedule_versions SET specs = \'[{"frequency": "never"}]\''
        " WHERE schedule_id = 'b'"
    )
    await adjuster.run()
    assert [row["schedule"] for row in await schedules.service.proposals()] == ["s"]
    lanes = await schedules.query("SELECT next_look_slots FROM schedule_lanes ORDER BY 1")
    assert all(lane["next_look_slots"] >= 12 for lane in lanes)


async def test_a_thousand_ended_slots_are_observed_in_one_run(
    schedules: Schedules, adjuster: Adjuster
) -> None:
    """The task works portion by portion, and is due again after its pause."""
    await schedules.service.add("s", SIX_HOURLY)
    await schedules.query(
        "INSERT INTO schedule_slots (schedule_id, scheduled_for, content_type, version, outcome,"
        " reason_code, reason, run_group, overlap, start_at, decided_at)"
        " SELECT 's', at, 'news', 1, 'missed', 'too_old', 'down', '', 'skip', at, at"
        " FROM generate_series(CAST(:first AS timestamptz), CAST(:last AS timestamptz),"
        " interval '1 hour') AS at",
        first=START - timedelta(hours=999),
        last=START,
    )
    await adjuster.run()
    (row,) = await schedules.query(
        "SELECT count(*) AS slots, count(observed) AS observed FROM schedule_slots"
    )
    assert row == {"slots": 1000, "observed": 1000}
    (task,) = await schedules.query("SELECT * FROM housekeeping WHERE task = :task", task=TASK)
    assert task["delay_seconds"] == 300


async def test_unknown_proposals_are_errors_of_one_line(schedules: Schedules) -> None:
    """A number that does not exist, a schedule that does not exist, a limit out of bounds."""
    for act in (
        schedules.service.accept(7),
        schedules.service.refuse(7),
        schedules.service.take_back(7),
    ):
        with pytest.raises(UserError, match="proposal 7: there is no such proposal"):
            await act
    with pytest.raises(UserError, match="there is no such schedule"):
        await schedules.service.proposals("s")
    with pytest.raises(UserError, match="limit=0: must be 1 to 1000"):
        await schedules.service.proposals(limit=0)
