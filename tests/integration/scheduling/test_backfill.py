"""Backfills in virtual time: newest first, one run a slot, visible from plan to end."""

import asyncio
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness.forks import Fork
from harness.points import BACKFILL_POINTS
from harness.schedules import MORNING, Schedules, spec
from harness.tick_process import tick_until_death

from serpline.domain.errors import UserError
from serpline.domain.schedules import BackfillKind
from serpline.domain.states import RunStatus
from serpline.pipeline.estimate import Providers
from serpline.scheduling.backfill import BackfillRequest, BackfillService
from serpline.store.database import DatabaseUnavailable

LATE = BackfillKind.LATE
WEEK = (MORNING, MORNING + timedelta(days=7))


def service(schedules: Schedules) -> BackfillService:
    """The backfills of these schedules."""
    return BackfillService(schedules.database, schedules.clock, Providers(False, False))


def request(**given: Any) -> BackfillRequest:
    """A late backfill of the first week."""
    return BackfillRequest(
        **{"schedule": "s", "first": WEEK[0], "last": WEEK[1], "kind": LATE, **given}
    )


async def missed(schedules: Schedules, days: int = 3, **given: Any) -> None:
    """A schedule that missed its first days."""
    await schedules.service.add("s", spec(catch_up="none", **given))
    await schedules.at(MORNING + timedelta(days=days))
    assert {row["outcome"] for row in await schedules.slots()} == {"missed"}


async def succeed(schedules: Schedules, kinds: tuple[str, ...] = ("news",)) -> None:
    """End the runs in progress; these content types collected a search."""
    await schedules.query(
        "INSERT INTO serps (run_id, content_type, keyword_id, market, device, collected_at,"
        " results, source) SELECT e.id, kind, 1, 'US', 'desktop', now(), 0, 'batch'"
        " FROM pipeline_executions e, unnest(CAST(:kinds AS text[])) kind"
        " WHERE e.status IN ('pending', 'running')",
        kinds=list(kinds),
    )
    await schedules.end_runs()


async def test_slots_are_filled_newest_first(schedules: Schedules) -> None:
    """One run at a time, each marked late for its slot; the slots keep why they were missed."""
    await missed(schedules)
    backfills = service(schedules)
    plan = await backfills.plan(request())
    assert [f"{slot['scheduled_for']:%m-%d}" for slot in plan["slots"]] == [
        "03-04",
        "03-03",
        "03-02",
    ]
    assert plan["estimate"]["runs"] == 3
    assert plan["estimate"]["providers"]["scaleserp"]["credits"] == 9.0
    assert await schedules.query("SELECT 1 FROM schedule_backfills") == []
    made = await backfills.start(request())
    assert (made["status"], made["slots"]) == ("planned", {"total": 3, "waiting": 3})
    filled = []
    for done in range(3):
        await schedules.after(seconds=5)
        (running,) = [run for run in await schedules.runs() if run["status"] == "pending"]
        filled.append(f"{running['scheduled_for']:%m-%d}")
        assert running["config"]["backfill"] == {
            **running["config"]["backfill"],
            "kind": "late",
            "id": str(made["id"]),
        }
        view = await backfills.get("s", made["id"])
        expected = {"total": 3, "running": 1, "waiting": 2 - done, "completed": done}
        assert view["slots"] == {name: count for name, count in expected.items() if count}
        await succeed(schedules)
    assert filled == ["03-04", "03-03", "03-02"]
    await schedules.after(seconds=5)
    view = await backfills.get("s", made["id"])
    assert (view["status"], view["slots"]) == ("completed", {"total": 3, "completed": 3})
    for row in await schedules.slots():
        assert (row["outcome"], row["reason_code"]) == ("backfilled", "catch_up_none")
        assert row["reason"].startswith("backfilled (late); before: missed, no process looked")
    kinds = [each["event_type"] for each in await schedules.events("backfill.%")]
    assert kinds == ["backfill.started", *["backfill.progress"] * 3, "backfill.completed"]
    with pytest.raises(UserError, match="has nothing to backfill"):
        await backfills.plan(request())


async def test_concurrent_ticks_make_one_run_a_slot(schedules: Schedules) -> None:
    """Ten ticks at once, again and again, start as many runs at once as allowed."""
    await missed(schedules, days=6)
    made = await service(schedules).start(request(runs_at_once=2))
    others = [Schedules(schedules.database, schedules.clock) for _ in range(9)]
    for _ in range(4):
        schedules.clock.at += timedelta(seconds=5)
        await asyncio.gather(*(each.tick.run() for each in [schedules, *others]))
        assert len([run for run in await schedules.runs() if run["status"] == "pending"]) <= 2
        await succeed(schedules)
    await schedules.after(seconds=5)
    assert len(await schedules.runs()) == 6
    assert (await service(schedules).get("s", made["id"]))["status"] == "completed"


async def test_pause_resume_cancel(schedules: Schedules) -> None:
    """A paused backfill starts nothing. A cancelled one cancels its runs; filled slots stay."""
    await missed(schedules)
    backfills = service(schedules)
    await backfills.start(request())
    await schedules.after(seconds=5)
    await backfills.change("s", "pause")
    await succeed(schedules)
    await schedules.after(seconds=5)
    assert len(await schedules.runs()) == 1
    (view,) = await backfills.listed("s")
    assert (view["status"], view["slots"]) == ("paused", {"total": 3, "completed": 1, "waiting": 2})
    await backfills.change("s", "resume", view["id"])
    await schedules.after(seconds=5)
    assert len(await schedules.runs()) == 2
    await backfills.change("s", "cancel")
    await schedules.after(seconds=5)
    await schedules.after(seconds=5)
    view = await backfills.get("s", view["id"])
    assert view["status"] == "cancelled"
    assert view["slots"] == {"total": 3, "completed": 1, "failed": 1, "skipped": 1}
    assert [run["status"] for run in await schedules.runs()].count("cancelled") == 1
    assert [row["outcome"] for row in await schedules.slots()] == ["missed", "missed", "backfilled"]
    with pytest.raises(UserError, match=r"backfill \d+ is cancelled: 'resume' is not possible"):
        await backfills.change("s", "resume", view["id"])
    with pytest.raises(UserError, match="has no backfill that has not ended"):
        await backfills.change("s", "pause")


async def test_a_broken_start_is_repeated(
    schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that ends before its commit leaves a waiting slot, and no run."""
    await missed(schedules, days=1)
    await service(schedules).start(request())
    pipeline = schedules.tick._backfiller._pipeline
    create = pipeline.create

    async def broken(*given: Any, **more: Any) -> None:
        await create(*given, **more)
        raise DatabaseUnavailable("the connection was cut")

    monkeypatch.setattr(pipeline, "create", broken)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await schedules.after(seconds=5)
    assert await schedules.runs() == []
    monkeypatch.undo()
    await schedules.after(seconds=5)
    assert len(await schedules.runs()) == 1


async def test_a_process_may_die_at_any_point(
    schedules: Schedules, database_url: str, tmp_path: Path
) -> None:
    """Whatever a killed tick had done, the next one of any process makes one run a slot."""
    await missed(schedules, days=len(BACKFILL_POINTS))
    made = await service(schedules).start(request())
    for point in BACKFILL_POINTS:
        schedules.clock.at += timedelta(seconds=5)
        process = Fork(
            tick_until_death,
            {},
            tmp_path / f"{point}.log",
            database_url,
            schedules.clock.at,
            point,
        )
        try:
            assert await process.wait() == -signal.SIGKILL, point
        finally:
            process.close()
        await schedules.tick.run()
        runs = [run for run in await schedules.runs() if run["status"] == "pending"]
        assert len(runs) == 1, point
        await succeed(schedules)
    await schedules.after(seconds=5)
    runs = await schedules.runs()
    assert len({run["scheduled_for"] for run in runs}) == len(runs) == len(BACKFILL_POINTS)
    view = await service(schedules).get("s", made["id"])
    assert view["slots"] == {"total": len(BACKFILL_POINTS), "completed": len(BACKFILL_POINTS)}


async def test_a_slot_without_a_possible_run_fails(schedules: Schedules) -> None:
    """Its reason is the person's mistake; the other slots are filled."""
    await missed(schedules)
    backfills = service(schedules)
    made = await backfills.start(request(runs_at_once=3))
    await schedules.query("DELETE FROM keyword_markets")
    await schedules.after(seconds=5)
    view = await backfills.get("s", made["id"])
    assert (view["status"], view["slots"]) == ("completed", {"total": 3, "failed": 3})
    assert {slot["reason"] for slot in view["slots_by_time"]} == {
        "no keywords: import some first (serpline keywords import FILE.csv)"
    }


async def test_a_spent_limit_pauses(schedules: Schedules) -> None:
    """The limit counts all runs of the backfill; a person resumes or cancels it."""
    await missed(schedules)
    backfills = service(schedules)
    made = await backfills.start(request(credit_limits={"scaleserp": 5.0}))
    await schedules.after(seconds=5)
    spend = "UPDATE provider_budgets SET spent = 5 WHERE scope = :scope"
    await schedules.query(spend, scope=f"backfill:{made['id']}")
    await succeed(schedules)
    await schedules.after(seconds=5)
    view = await backfills.get("s", made["id"])
    assert (view["status"], view["credits"]) == ("paused", {"scaleserp": 5.0})
    assert view["reason"] == "its credit limit of 5 for scaleserp is spent"
    assert len(await schedules.runs()) == 1
    spent = "its credit limit of 5 for scaleserp is spent; resume it with more"
    with pytest.raises(UserError, match=spent):
        await backfills.change("s", "resume")
    with pytest.raises(UserError, match="unknown provider 'bing'"):
        await backfills.change("s", "resume", credit_limits={"bing": 9.0})
    with pytest.raises(UserError, match=r"limit of 4\.5 for scaleserp is spent"):
        await backfills.change("s", "resume", credit_limits={"scaleserp": 4.5})
    view = await backfills.get("s", made["id"])
    assert (view["status"], view["credit_limits"]) == ("paused", {"scaleserp": 5.0})
    more = {"scaleserp": 8.0, "pdl": 1.0}
    view = await backfills.change("s", "resume", credit_limits=more)
    assert (view["status"], view["credit_limits"]) == ("running", more)
    limits = await schedules.query(
        "SELECT provider, limit_credits FROM provider_budgets WHERE scope = :scope ORDER BY 1",
        scope=f"backfill:{made['id']}",
    )
    assert [tuple(row.values()) for row in limits] == [("pdl", 1), ("scaleserp", 8)]
    await schedules.after(seconds=5)
    assert len(await schedules.runs()) == 2


async def test_a_failed_run_fills_nothing(schedules: Schedules) -> None:
    """A run without a collected search leaves its slot as it was, with the reason beside it."""
    await missed(schedules, days=1)
    backfills = service(schedules)
    made = await backfills.start(request())
    await schedules.after(seconds=5)
    await schedules.end_runs(RunStatus.FAILED)
    await schedules.after(seconds=5)
    view = await backfills.get("s", made["id"])
    assert (view["status"], view["slots"]) == ("completed", {"total": 1, "failed": 1})
    assert view["slots_by_time"][0]["reason"] == "the run is failed"
    (slot,) = await schedules.slots()
    assert slot["outcome"] == "missed"


async def test_each_kind_takes_its_own_slots(schedules: Schedules) -> None:
    """Late: without a run. Recompute: with an ended run. Refetch: with an unread batch besides."""
    await schedules.service.add("s", spec(content_types=["news", "organic"], catch_up="none"))
    await schedules.at(MORNING + timedelta(hours=1))
    await succeed(schedules, ("news", "organic"))
    await schedules.after(seconds=5)
    backfills = service(schedules)
    with pytest.raises(UserError, match="no slot there was missed, skipped or refused"):
        await backfills.plan(request())
    with pytest.raises(UserError, match="kind late takes new searches"):
        await backfills.plan(request(kind=BackfillKind.REFETCH))
    plan = await backfills.plan(request(kind=BackfillKind.RECOMPUTE))
    assert plan["estimate"] == {
        "runs": 1,
        "slots": 2,
        "basis": "stored replies; no call is made",
        "providers": {},
    }
    (run,) = await schedules.runs()
    await schedules.query(
        "WITH made AS (INSERT INTO chunks (lane_id, no, run_id, planned) SELECT id, 0, :run, 1"
        " FROM pipeline_phase_status WHERE pipeline_execution_id = :run"
        " AND phase_name = 'serp_collection' AND content_type = 'news' RETURNING id)"
        " INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path, status,"
        " provider_batch_id, stage, priority, items, started_at)"
        " SELECT id, 0, 'scaleserp', 'b', 's', 'lost', 'B1', 'first', 'normal', '{}', :at"
        " FROM made",
        run=run["id"],
        at=schedules.clock.at,
    )
    plan = await backfills.plan(request(kind=BackfillKind.REFETCH))
    assert [slot["content_type"] for slot in plan["slots"]] == ["news"]
    assert plan["estimate"]["providers"]["scaleserp"]["credits"] == 0.0
    schedules.clock.at += timedelta(days=14)
    with pytest.raises(UserError, match="nothing to backfill"):
        await backfills.plan(request(kind=BackfillKind.REFETCH))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"schedule": "t"}, "schedule 't': there is no such schedule"),
        ({"first": WEEK[1], "last": WEEK[0]}, "from=2026-03-09T08:00:00+00:00: must not be after"),
        ({"runs_at_once": 0}, "at_once=0: must be 1 to 100"),
        ({"credit_limits": {"bing": 3.0}}, "credits: unknown provider 'bing'"),
    ],
)
async def test_a_mistake_is_one_line(
    schedules: Schedules, given: dict[str, Any], line: str
) -> None:
    """It names the key, the value and what is allowed; nothing is stored."""
    await missed(schedules)
    with pytest.raises(UserError) as refused:
        await service(schedules).start(request(**given))
    assert str(refused.value).startswith(line)
    assert await schedules.query("SELECT 1 FROM schedule_backfills") == []


async def test_two_backfills_share_no_slot(schedules: Schedules) -> None:
    """A slot of a backfill that has not ended belongs to no other one."""
    await missed(schedules)
    backfills = service(schedules)
    await backfills.start(request(first=datetime(2026, 3, 4, tzinfo=MORNING.tzinfo)))
    plan = await backfills.plan(request())
    assert [f"{slot['scheduled_for']:%m-%d}" for slot in plan["slots"]] == ["03-03", "03-02"]
