"""Backfills by real workers, which are killed: one run a slot, each search paid once."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from harness.tables import final_tables
from harness.waiting import until
from harness.world import QUICK_TAKEOVER, World, open_world, simulated

from serpline.domain.schedules import BackfillKind
from serpline.pipeline.estimate import Providers
from serpline.scheduling.backfill import BackfillRequest, BackfillService
from serpline.scheduling.spec import ScheduleSpec

KEYWORDS = b"keyword,market\nbest espresso machine,PL\ncoffee grinder,US\n"


def service(world: World) -> BackfillService:
    """The backfills of a world."""
    return BackfillService(world.services.database, world.services.clock, Providers(True, True))


async def add_past(world: World, days: int, catch_up: str) -> tuple[datetime, datetime]:
    """Store a daily schedule that nobody has watched for ``days``; returns that time."""
    now = world.services.clock.now()
    time = f"{now - timedelta(hours=2):%H:%M}"
    spec = ScheduleSpec.from_json(
        {
            "content_type": "news",
            "frequency": "daily",
            "time_of_day": time,
            "catch_up": catch_up,
        }
    )
    await world.services.schedules.add("s", spec)
    first = now - timedelta(days=days)
    await world.query(
        "UPDATE schedules SET decided_until = CAST(:first AS timestamptz), next_at = now()",
        first=first,
    )
    return first, now


async def outcomes(world: World) -> list[dict[str, Any]]:
    """The slots of the schedule, oldest first."""
    return (await world.services.schedules.slots("s"))[::-1]


async def completed(world: World, backfill_id: int) -> dict[str, Any]:
    """Wait for the end of a backfill; returns it."""

    async def over() -> dict[str, Any] | None:
        view = await service(world).get("s", backfill_id)
        return view if view["ended_at"] else None

    return await until(over, "the end of the backfill")


async def test_workers_that_die_make_one_run_a_slot(database_url: str, tmp_path: Path) -> None:
    """Three missed days are filled although workers are killed; no search is paid twice."""
    async with open_world(database_url, tmp_path, KEYWORDS, **QUICK_TAKEOVER) as world:
        first, last = await add_past(world, 3, "none")
        await world.services.tick.run()
        assert [row["outcome"] for row in await outcomes(world)] == ["missed"] * 3
        made = await service(world).start(
            BackfillRequest("s", first, last, BackfillKind.LATE, runs_at_once=2)
        )
        for known in range(3):
            worker = await world.start_worker()

            async def has_started(known: int = known) -> bool:
                view = await service(world).get("s", made["id"])
                return view["slots"].get("waiting", 0) <= 2 - known or bool(view["ended_at"])

            await until(has_started, "another run")
            worker.kill()
            await worker.wait()
        await world.start_worker()
        view = await completed(world, made["id"])
        assert (view["status"], view["slots"]) == ("completed", {"total": 3, "completed": 3})
        runs = await world.query(
            "SELECT scheduled_for, count(*) FROM pipeline_executions GROUP BY 1 HAVING count(*) > 1"
        )
        assert runs == []
        slots = await outcomes(world)
        assert [row["outcome"] for row in slots] == ["backfilled"] * 3
        assert len({row["run_id"] for row in slots}) == 3
        assert world.sim.ledger.spent("scaleserp") == 3 * 2
        assert view["credits"]["scaleserp"] == 3 * 2


async def test_a_slot_is_recomputed_by_workers(database_url: str, tmp_path: Path) -> None:
    """The slot names its new run, whose figures are equal; the simulator saw no call."""
    async with open_world(database_url, tmp_path, KEYWORDS, **QUICK_TAKEOVER) as world:
        first, last = await add_past(world, 1, "latest")
        await world.start_worker()

        async def has_ended() -> list[dict[str, Any]]:
            return [row for row in await outcomes(world) if row["run_status"] == "completed"]

        (slot,) = await until(has_ended, "the end of the slot's run")
        calls = len(world.sim.log)
        made = await service(world).start(BackfillRequest("s", first, last, BackfillKind.RECOMPUTE))
        view = await completed(world, made["id"])
        assert view["slots"] == {"total": 1, "completed": 1}
        assert len(world.sim.log) == calls
        (filled,) = await outcomes(world)
        assert (filled["outcome"], filled["run_status"]) == ("backfilled", "completed")
        assert f"before: started (run {slot['run_id']})" in filled["reason"]
        expected = await final_tables(world.services.database, slot["run_id"])
        assert await final_tables(world.services.database, filled["run_id"]) == expected


async def test_a_cancelled_runs_slot_is_refetched(database_url: str, tmp_path: Path) -> None:
    """Its batch ended at the provider. The slot gets its results, and no search is paid again."""
    timing = {"running_seconds": 1.0}
    async with open_world(
        database_url, tmp_path, KEYWORDS, config=simulated(timing=timing), **QUICK_TAKEOVER
    ) as world:
        first, last = await add_past(world, 1, "latest")
        await world.start_worker()

        async def has_started() -> bool:
            return bool(world.sim.log.of("scaleserp", "start_batch"))

        await until(has_started, "the start of the batch")
        (slot,) = await outcomes(world)
        await world.services.pipeline.cancel(slot["run_id"])

        async def is_followed() -> bool:
            return (await outcomes(world))[0]["run_status"] == "cancelled"

        await until(is_followed, "the end of the slot's run")
        spent = world.sim.ledger.spent("scaleserp")
        made = await service(world).start(BackfillRequest("s", first, last))
        view = await completed(world, made["id"])
        assert (view["kind"], view["slots"]) == ("refetch", {"total": 1, "completed": 1})
        assert world.sim.ledger.spent("scaleserp") == spent == 2
        (filled,) = await outcomes(world)
        assert (filled["outcome"], filled["run_status"]) == ("backfilled", "completed")
