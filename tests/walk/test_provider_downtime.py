"""Slots that the provider starts while no worker runs, and slots that it must not start."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from harness.provider_schedules import SPEC
from harness.provider_slots import (
    KEYWORDS,
    enabled_batch,
    last_hour,
    run_in_the_past,
    scaleserp_credits,
)
from harness.waiting import until
from harness.world import World, open_world

from serpline.domain.states import ENDED_RUNS
from serpline.scheduling.spec import ScheduleSpec


async def _add(world: World, **keys: Any) -> datetime:
    """Add a schedule that is due every day at the last full hour; returns that hour."""
    slot = last_hour(world)
    written = {**SPEC, "time_of_day": f"{slot:%H}:00", **keys}
    await world.services.schedules.add("s", ScheduleSpec.from_json(written))
    return slot


async def _is_undecided_since(world: World, slot: datetime) -> None:
    await world.query(
        "UPDATE schedules SET next_at = :slot,"
        " decided_until = CAST(:slot AS timestamptz) - interval '1 minute'",
        slot=slot,
    )


async def _ended(world: World, count: int) -> list[dict[str, Any]]:
    """The slots, oldest first, when the runs of ``count`` have ended."""

    async def found() -> list[dict[str, Any]] | None:
        rows = await world.services.schedules.slots("s")
        ended = [row for row in rows if row["run_status"] in ENDED_RUNS]
        return rows[::-1] if len(ended) == count else None

    return await until(found, f"the end of {count} runs")


async def test_every_missed_day_has_the_results_of_its_day(
    database_url: str, tmp_path: Path
) -> None:
    """With ``catch_up: all``, three days without a worker cost what they cost anyway."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        worker = await world.start_worker()
        slot = await _add(world, catch_up="all", overlap="allow")
        batch = await enabled_batch(world)
        worker.kill()
        await worker.wait()
        run_in_the_past(world, batch, slot - timedelta(days=2))
        await _is_undecided_since(world, slot - timedelta(days=2))
        await world.start_worker()
        slots = await _ended(world, 3)
        assert [row["scheduled_for"] for row in slots] == [
            slot - timedelta(days=days) for days in (2, 1, 0)
        ]
        assert {row["run_status"] for row in slots} == {"completed"}
        taken = await world.query(
            "SELECT c.run_id, b.result_set_id FROM provider_batches b"
            " JOIN chunks c ON c.id = b.chunk_id ORDER BY b.result_set_id"
        )
        assert taken == [
            {"run_id": row["run_id"], "result_set_id": number}
            for number, row in enumerate(slots, start=1)
        ]
        assert {await scaleserp_credits(world, row["run_id"]) for row in slots} == {3}
        assert world.sim.ledger.spent("scaleserp") == 9
        assert world.sim.scaleserp.account.created == 1


async def test_a_slot_whose_start_is_held_back_waits_for_the_budget(
    database_url: str, tmp_path: Path
) -> None:
    """Its run has a batch of its own, which is started when the limit is raised."""
    settings = {"SERPLINE_BATCH_POLL_SECONDS": "0.05"}
    async with open_world(database_url, tmp_path, KEYWORDS, **settings) as world:
        worker = await world.start_worker(SERPLINE_CREDITS_PER_DAY='{"scaleserp": 2}')
        slot = await _add(world)

        async def held() -> list[dict[str, Any]]:
            return await world.query(
                "SELECT id FROM pipeline_events WHERE event_type = 'batch.held_back'"
            )

        await until(held, "the start to be held back")
        await _is_undecided_since(world, slot)

        async def waiting() -> list[dict[str, Any]]:
            return await world.query(
                "SELECT id FROM chunks WHERE 'budget:scaleserp' = ANY(waits_on)"
            )

        await until(waiting, "the run to wait for the budget")
        assert world.sim.ledger.spent("scaleserp") == 0
        worker.kill()
        await worker.wait()
        await world.start_worker(SERPLINE_CREDITS_PER_DAY='{"scaleserp": 10}')
        (row,) = await _ended(world, 1)
        assert row["run_status"] == "completed"
        assert await scaleserp_credits(world, row["run_id"]) == 3
        assert world.sim.ledger.spent("scaleserp") == 3
        assert world.sim.scaleserp.account.created == 2
