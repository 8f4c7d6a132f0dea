"""Webhooks that never come: the poll finds the results, and the webhook is requested once more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from harness.ports import LOOPBACK, reserved_port
from harness.world import World, open_world, simulated

from serpline.api.app import create_app
from serpline.cli.webserver import serving
from serpline.domain.states import RunStatus

KEYWORDS = b"keyword,market\nkettle,PL\nteapot,PL\n"
NEVER = {"provider": "scaleserp", "operation": "webhook", "fault": "webhook_0"}
EVENTS = ("batch.webhook_late", "batch.resend_requested")


@asynccontextmanager
async def _world(
    url: str, path: Path, faults: list[dict[str, Any]], wait_seconds: str
) -> AsyncIterator[World]:
    """A world whose simulator reaches the webhook endpoint."""
    with reserved_port() as port:
        settings = {
            "SERPLINE_PUBLIC_URL": f"http://{LOOPBACK}:{port}",
            "SERPLINE_WEBHOOK_WAIT_SECONDS": wait_seconds,
        }
        async with (
            open_world(url, path, KEYWORDS, config=simulated(faults=faults), **settings) as world,
            serving(create_app(world.services.pipeline), LOOPBACK, port),
        ):
            await world.start_worker()
            yield world


async def _run(world: World) -> UUID:
    return await world.run(
        content_types=("organic",), phases=("keyword_metrics", "serp_collection")
    )


async def _events(world: World) -> list[str]:
    found = await world.query("SELECT event_type FROM pipeline_events ORDER BY id")
    return [row["event_type"] for row in found if row["event_type"] in EVENTS]


async def test_a_missing_webhook_is_requested_once(database_url: str, tmp_path: Path) -> None:
    """The batch goes on without it; both events name the batch; the second webhook is stored."""
    async with _world(database_url, tmp_path, [NEVER], "0.5") as world:
        run_id = await _run(world)
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        await world.sim.settled()
        assert await _events(world) == list(EVENTS)
        assert len(world.sim.log.of("scaleserp", "resend_webhook")) == 1
        assert [(each.attempt, each.status) for each in world.sim.webhooks] == [(1, 202)]
        (batch,) = await world.query("SELECT provider_batch_id, name FROM provider_batches")
        (stored,) = await world.query("SELECT provider_batch_id, result_set_id FROM webhook_inbox")
        assert stored == {
            "provider_batch_id": batch["provider_batch_id"],
            "result_set_id": 1,
        }
        details = await world.query(
            "SELECT detail FROM pipeline_events WHERE event_type = ANY(:types)", types=list(EVENTS)
        )
        assert {row["detail"]["batch"] for row in details} == {batch["name"]}


async def test_a_webhook_in_time_is_not_requested(database_url: str, tmp_path: Path) -> None:
    """A poll that is earlier than the webhook waits for it, and the webhook ends the wait."""
    late = NEVER | {"fault": "webhook_late", "seconds": 1.0}
    async with _world(database_url, tmp_path, [late], "600") as world:
        await _run(world)
        assert await _events(world) == []
        assert world.sim.log.of("scaleserp", "resend_webhook") == []
        (row,) = await world.query("SELECT unannounced_at FROM provider_batches")
        assert row["unannounced_at"] is not None


@pytest.mark.parametrize("fault", ["500", "cut"])
async def test_a_failed_request_holds_up_nothing(
    database_url: str, tmp_path: Path, fault: str
) -> None:
    """The webhook is late, and the results are taken all the same."""
    fails = {"provider": "scaleserp", "operation": "resend_webhook", "fault": fault}
    async with _world(database_url, tmp_path, [NEVER, fails], "0") as world:
        run_id = await _run(world)
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        assert await _events(world) == ["batch.webhook_late"]


async def test_without_a_public_address_no_webhook_is_expected(
    database_url: str, tmp_path: Path
) -> None:
    """Polling is then the usual way, and no event is written."""
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        await asyncio.wait_for(_run(world), 120)
        assert await _events(world) == []
