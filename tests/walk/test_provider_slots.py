"""Runs of slots whose searches the provider starts by its own calendar.

The workers are real processes. The simulator makes the run of the slot's hour, which has passed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from harness.ports import LOOPBACK, reserved_port
from harness.provider_schedules import SPEC, store_schedule
from harness.provider_slots import (
    KEYWORDS,
    enabled_batch,
    last_hour,
    run_in_the_past,
    scaleserp_credits,
)
from harness.tables import differences, final_tables
from harness.waiting import until
from harness.world import World, open_world, simulated

from serpline.api.app import create_app
from serpline.cli.webserver import serving
from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType, PipelineMode
from serpline.domain.states import ENDED_RUNS, RunStatus
from serpline.scheduling.merging import run_config
from serpline.scheduling.spec import ScheduleSpec

NEWS = ContentType.NEWS


@asynccontextmanager
async def _world(
    url: str, path: Path, faults: tuple[dict[str, Any], ...] = (), **settings: str
) -> AsyncIterator[World]:
    with reserved_port() as port:
        settings = {"SERPLINE_PUBLIC_URL": f"http://{LOOPBACK}:{port}", **settings}
        async with (
            open_world(url, path, KEYWORDS, config=simulated(faults=faults), **settings) as world,
            serving(create_app(world.services.pipeline), LOOPBACK, port),
        ):
            yield world


async def _schedule(world: World, slot: datetime, **keys: Any) -> PipelineConfig:
    """Store a schedule of that hour; returns the configuration of the run of its slot."""
    written = {**SPEC, "time_of_day": f"{slot:%H}:00", **keys}
    await store_schedule(world.services.database, "s", [written])
    next_slot = {str(NEWS): slot + timedelta(days=1)}
    config = run_config({NEWS: ScheduleSpec.from_json(written)}, slot, "s", next_slot)
    assert config.provider_schedule
    return config


async def _start(world: World, config: PipelineConfig) -> UUID:
    return await world.services.pipeline.start(config, PipelineMode.SCHEDULED)


async def _waits(world: World) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        rows = await world.query(
            "SELECT b.* FROM provider_batches b JOIN chunks c ON c.id = b.chunk_id"
            " WHERE b.status = 'running' AND c.status = 'ready'"
        )
        return rows[0] if rows else None

    return await until(found, "the run to wait for the provider's batch")


async def test_the_run_of_a_slot_takes_the_providers_results(
    database_url: str, tmp_path: Path
) -> None:
    """Its webhook continues the run. There is one batch, and one charge, made by the provider.

    The results are those of a run with a batch of its own.
    """
    async with _world(database_url, tmp_path, SERPLINE_BATCH_POLL_SECONDS="600") as world:
        await world.start_worker()
        slot = last_hour(world)
        config = await _schedule(world, slot)
        batch = await enabled_batch(world)
        run_id = await _start(world, config)
        await _waits(world)
        run_in_the_past(world, batch, slot)
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        await world.sim.settled()
        assert [(each.honest, each.status) for each in world.sim.webhooks] == [(True, 202)]
        assert world.sim.scaleserp.account.created == 1
        assert [(c.reason, c.amount) for c in world.sim.ledger if c.provider == "scaleserp"] == [
            ("scheduled batch queued", 3)
        ]
        assert world.sim.log.of("scaleserp", "start_batch") == []
        (row,) = await world.query("SELECT status, received, scheduled_for FROM provider_batches")
        assert row == {"status": "ingested", "received": 3, "scheduled_for": slot}
        assert await scaleserp_credits(world, run_id) == 3
        own = {"provider_schedule": False, "scheduled_for": None}
        other = await _start(world, config.model_copy(update=own))
        await world.wait_for_end(other)
        database = world.services.database
        found = [await final_tables(database, run) for run in (run_id, other)]
        assert differences(*found) == []
        assert world.sim.scaleserp.account.created == 2
        assert await scaleserp_credits(world, other) == 3


async def test_a_schedule_is_added_and_its_slot_completed_by_the_providers_webhook(
    database_url: str, tmp_path: Path
) -> None:
    """Added by the service, started by the tick, continued at the real webhook endpoint."""
    async with _world(database_url, tmp_path, SERPLINE_BATCH_POLL_SECONDS="600") as world:
        await world.start_worker()
        slot, schedules = last_hour(world), world.services.schedules
        written = ScheduleSpec.from_json({**SPEC, "time_of_day": f"{slot:%H}:00"})
        await schedules.add("täglich 毎日", written)
        batch = await enabled_batch(world)
        # As if it had been added before the slot.
        await world.query(
            "UPDATE schedules SET decided_until = CAST(:slot AS timestamptz) - interval '1 minute',"
            " next_at = :slot",
            slot=slot,
        )
        await world.services.tick.run()
        await _waits(world)
        run_in_the_past(world, batch, slot)

        async def has_ended() -> list[dict[str, Any]]:
            rows = await schedules.slots("täglich 毎日")
            return [row for row in rows if row["run_status"] in ENDED_RUNS]

        (ended,) = await until(has_ended, "the end of the slot's run")
        assert (ended["scheduled_for"], ended["content_type"]) == (slot, NEWS)
        assert (ended["outcome"], ended["run_status"]) == ("started", "completed")
        await world.sim.settled()
        assert [(each.honest, each.status) for each in world.sim.webhooks] == [(True, 202)]
        (row,) = await world.query(
            "SELECT c.run_id, b.provider_batch_id, b.result_set_id FROM provider_batches b"
            " JOIN chunks c ON c.id = b.chunk_id"
        )
        assert row == {
            "run_id": ended["run_id"],
            "provider_batch_id": batch.id,
            "result_set_id": 1,
        }
        assert world.sim.scaleserp.account.created == 1
        assert await scaleserp_credits(world, ended["run_id"]) == 3
        assert world.sim.ledger.spent("scaleserp") == 3


async def test_a_webhook_before_the_run_is_not_lost(database_url: str, tmp_path: Path) -> None:
    """The provider was earlier than we: the run finds the stored webhook and the result set."""
    async with _world(database_url, tmp_path, SERPLINE_BATCH_POLL_SECONDS="600") as world:
        await world.start_worker()
        slot = last_hour(world)
        config = await _schedule(world, slot)
        batch = await enabled_batch(world)
        run_in_the_past(world, batch, slot)
        await world.sim.settled()
        assert len(await world.query("SELECT FROM webhook_inbox")) == 1
        run_id = await _start(world, config)
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        assert world.sim.scaleserp.account.created == 1


async def test_without_a_webhook_the_poll_finds_the_results(
    database_url: str, tmp_path: Path
) -> None:
    """The webhook is late, and is requested once more."""
    never = {"provider": "scaleserp", "operation": "webhook", "fault": "webhook_0"}
    async with _world(
        database_url, tmp_path, (never,), SERPLINE_WEBHOOK_WAIT_SECONDS="0.5"
    ) as world:
        await world.start_worker()
        slot = last_hour(world)
        config = await _schedule(world, slot)
        batch = await enabled_batch(world)
        run_id = await _start(world, config)
        run_in_the_past(world, batch, slot)
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        kinds = await world.query("SELECT event_type FROM pipeline_events ORDER BY id")
        types = [row["event_type"] for row in kinds]
        assert types.count("batch.webhook_late") == types.count("batch.resend_requested") == 1


async def test_a_slot_takes_its_own_results_only(database_url: str, tmp_path: Path) -> None:
    """Yesterday's result set and one started by hand later are left alone."""
    async with _world(database_url, tmp_path) as world:
        await world.start_worker()
        slot = last_hour(world)
        config = await _schedule(world, slot)
        batch = await enabled_batch(world)
        run_in_the_past(world, batch, slot - timedelta(days=1))
        assert [r.id for r in batch.result_sets] == [1, 2]
        world.sim.scaleserp.account.start(batch)
        await world.sim.settled()
        run_id = await _start(world, config)
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        (row,) = await world.query("SELECT result_set_id FROM provider_batches")
        assert row["result_set_id"] == 2


async def test_what_the_provider_does_not_start_is_collected_by_a_batch_of_our_own(
    database_url: str, tmp_path: Path
) -> None:
    """Its batch stays idle: the searches have used no attempt, and go to a batch of ours."""
    async with _world(database_url, tmp_path, SERPLINE_BATCH_POLL_SECONDS="0.05") as world:
        await world.start_worker()
        config = await _schedule(world, last_hour(world))
        scheduled = await enabled_batch(world)
        run_id = await _start(world, config)
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        rows = await world.query(
            "SELECT generation, stage, status, error_message FROM provider_batches"
            " ORDER BY generation"
        )
        assert [(row["stage"], row["status"]) for row in rows] == [
            ("given", "lost"),
            ("first", "ingested"),
        ]
        assert "did not start its scheduled batch" in rows[0]["error_message"]
        assert scheduled.result_sets == []
        assert scheduled.id in world.sim.scaleserp.account.batches


@pytest.mark.parametrize("mode", [PipelineMode.TESTING, PipelineMode.MANUAL])
async def test_a_run_for_a_person_never_uses_or_makes_a_scheduled_batch(
    database_url: str, tmp_path: Path, mode: PipelineMode
) -> None:
    """Its batches are manual, whatever its configuration says."""
    async with _world(database_url, tmp_path) as world:
        await world.start_worker()
        run_id = await world.start(
            mode, content_types=("news",), provider_schedule=True, schedule="s"
        )
        await world.wait_for_end(run_id)
        batches = world.sim.scaleserp.account.batches.values()
        assert {batch.fields["schedule_type"] for batch in batches} == {"manual"}


async def test_a_replayed_or_forged_webhook_of_a_scheduled_batch_has_no_effect(
    database_url: str, tmp_path: Path
) -> None:
    """The secret path belongs to that one batch; replays are stored once."""
    async with _world(database_url, tmp_path) as world:
        await world.start_worker()
        slot = last_hour(world)
        config = await _schedule(world, slot)
        batch = await enabled_batch(world)
        run_id = await _start(world, config)
        run_in_the_past(world, batch, slot)
        await world.wait_for_end(run_id)
        await world.sim.settled()
        url = str(batch.fields["notification_webhook"])
        body = {"batch": {"id": batch.id}, "result_set": {"id": 1}}
        async with httpx2.AsyncClient(trust_env=False) as client:
            replayed = [(await client.post(url, json=body)).status_code for _ in range(3)]
            other = await client.post(url, json={**body, "batch": {"id": "F0F0F0F0"}})
        assert (replayed, other.status_code) == ([202] * 3, 404)
        assert len(await world.query("SELECT FROM webhook_inbox")) == 1
        assert len(await world.query("SELECT FROM serps")) == 3
