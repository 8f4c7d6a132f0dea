"""Webhooks in every number, order and condition: the final state is that of polling.

The simulator sends none (``webhook_0``). The test posts them to the real server, when and as often
as it chooses. Polls are so rare that without a webhook no run would end in time.
"""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from harness.databases import copied_database
from harness.ports import LOOPBACK, reserved_port
from harness.tables import Tables, differences, final_tables
from harness.waiting import until
from harness.world import World, open_world, simulated

from serpline.api.app import BODY_BYTES_MAX, create_app
from serpline.cli.webserver import serving
from serpline.domain.states import RunStatus
from serpline.store.embedded.server import EmbeddedServer

# One process makes the run that these look at.
pytestmark = pytest.mark.xdist_group("webhooks")

KEYWORDS = b"keyword,market\nkettle,PL\nteapot,US\n"
TYPES = ("organic", "news", "video")
ORDERS = tuple(itertools.permutations(TYPES))
NEVER = {"provider": "scaleserp", "operation": "webhook", "fault": "webhook_0"}
PHASES = ("keyword_metrics", "serp_collection")
POLL_SECONDS = "600"
RUNNING_SECONDS = 600.0
FORGED = 10_000


class Batches:
    """The batches of one run, and a client of the webhook endpoint."""

    def __init__(self, world: World, client: httpx2.AsyncClient, run_id: UUID) -> None:
        self._world = world
        self._client = client
        self._run_id = run_id
        self.by_type: dict[str, dict[str, Any]] = {}

    async def wait(self, status: str) -> None:
        """Wait until a batch of every type has this state and no worker holds its chunk."""

        async def found() -> bool:
            rows = await self._world.query(
                "SELECT l.content_type, b.provider_batch_id, b.secret_path, b.status FROM chunks c"
                " JOIN provider_batches b ON b.chunk_id = c.id"
                " JOIN pipeline_phase_status l ON l.id = c.lane_id"
                " WHERE c.run_id = :run AND c.status = 'ready' AND b.status = :status",
                run=self._run_id,
                status=status,
            )
            self.by_type = {row["content_type"]: row for row in rows}
            return len(rows) == len(TYPES)

        await until(found, f"three batches to be {status}")

    async def post(self, content_type: str, **changes: Any) -> int:
        """Post the webhook of a batch; returns the status."""
        batch = {**self.by_type[content_type], **changes}
        return await post(self._client, batch["secret_path"], batch["provider_batch_id"])


async def post(client: httpx2.AsyncClient, secret: str, batch_id: str, number: int = 1) -> int:
    return (
        await client.post(f"/webhooks/scaleserp/{secret}", json=_told(batch_id, number))
    ).status_code


def _told(batch_id: str, number: int = 1, link: str = "http://169.254.169.254/") -> dict[str, Any]:
    return {
        "request_info": {"success": True, "type": "batch_resultset_completed"},
        "batch": {"id": batch_id, "name": "x"},
        "result_set": {"id": number, "download_links": {"json": {"pages": [link]}}},
    }


@asynccontextmanager
async def _world(
    url: str, path: Path, **changes: Any
) -> AsyncIterator[tuple[World, httpx2.AsyncClient]]:
    with reserved_port() as port:
        base = f"http://{LOOPBACK}:{port}"
        settings = {
            "SERPLINE_PUBLIC_URL": base,
            "SERPLINE_BATCH_POLL_SECONDS": POLL_SECONDS,
            "SERPLINE_WEBHOOK_WAIT_SECONDS": POLL_SECONDS,
        }
        config = simulated(faults=[NEVER, *changes.pop("faults", [])], **changes)
        async with (
            open_world(url, path, KEYWORDS, config=config, **settings) as world,
            serving(create_app(world.services.pipeline), LOOPBACK, port),
            httpx2.AsyncClient(base_url=base, trust_env=False, timeout=30) as client,
        ):
            await world.start_worker()
            yield world, client


@pytest.fixture(scope="module")
def polled(
    postgres: EmbeddedServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tables]:
    """The results of the same run without webhooks: the case of none at all."""
    with copied_database(postgres, template_database) as url:

        async def walk() -> Tables:
            config = simulated(faults=[NEVER])
            path = tmp_path_factory.mktemp("walk")
            async with open_world(url, path, KEYWORDS, config=config) as world:
                await world.start_worker()
                run_id = await world.run(phases=PHASES)
                return await final_tables(world.services.database, run_id)

        yield asyncio.run(walk())


async def test_every_number_and_order_has_the_same_result(
    polled: Tables, database_url: str, tmp_path: Path
) -> None:
    """Six runs get their webhooks in the six orders, each once, twice or five times, and again.

    All six have the results of polling. Each result set is read once and paid for once.
    """
    async with _world(database_url, tmp_path, timing={"running_seconds": 0.5}) as (world, client):
        runs = [Batches(world, client, await world.start(phases=PHASES)) for _ in ORDERS]
        for batches in runs:
            await batches.wait("running")
        await world.sim.settled()

        async def tell(batches: Batches, order: Sequence[str], first: int) -> None:
            for place, content_type in enumerate(order):
                for _ in range((1, 2, 5)[(first + place) % 3]):
                    assert await batches.post(content_type) == 202
            for content_type in reversed(order):
                assert await batches.post(content_type) == 202

        await asyncio.gather(
            *(tell(b, o, n) for n, (b, o) in enumerate(zip(runs, ORDERS, strict=True)))
        )
        for batches in runs:
            run = await world.wait_for_end(batches._run_id)
            assert run.status is RunStatus.COMPLETED
            found = await final_tables(world.services.database, run.id)
            assert differences(polled, found) == []
        assert len(world.sim.log.of("scaleserp", "download")) == len(ORDERS) * len(TYPES)
        assert len(world.sim.log.of("scaleserp", "start_batch")) == len(ORDERS) * len(TYPES)
        inbox = await world.query("SELECT count(*) FROM webhook_inbox")
        assert inbox[0]["count"] == len(ORDERS) * len(TYPES)


async def test_a_webhook_before_the_create_has_returned_has_no_effect(
    polled: Tables, database_url: str, tmp_path: Path
) -> None:
    """The batch's id is not known yet, so it is answered 404; the sender repeats it later."""
    slow = {"provider": "scaleserp", "operation": "create_batch", "fault": "slow", "seconds": 3.0}
    timing = {"running_seconds": 0.5}
    async with _world(database_url, tmp_path, faults=[slow], timing=timing) as (world, client):
        batches = Batches(world, client, await world.start(phases=PHASES))

        async def created() -> bool:
            return len(world.sim.scaleserp.account.batches) == len(TYPES)

        await until(created, "the provider to have made the batches")
        ids = list(world.sim.scaleserp.account.batches)
        rows = await world.query("SELECT secret_path, provider_batch_id FROM provider_batches")
        assert {row["provider_batch_id"] for row in rows} == {None}
        early = [await post(client, row["secret_path"], id_) for row in rows for id_ in ids]
        assert early == [404] * 9
        assert await world.query("SELECT FROM webhook_inbox") == []
        await batches.wait("running")
        await world.sim.settled()
        assert [await batches.post(content_type) for content_type in TYPES] == [202] * 3
        run = await world.wait_for_end(batches._run_id)
        assert differences(polled, await final_tables(world.services.database, run.id)) == []


async def _cancel(world: World, run_id: UUID) -> None:
    await world.services.pipeline.cancel(run_id)


async def _let_time_out(world: World, run_id: UUID) -> None:
    await world.query(
        "UPDATE pipeline_phase_status SET deadline_at = now() WHERE status = 'running'"
    )


@pytest.mark.parametrize(
    ("end", "status"),
    [(_cancel, RunStatus.CANCELLED), (_let_time_out, RunStatus.FAILED)],
)
async def test_a_webhook_after_the_end_changes_nothing(
    database_url: str,
    tmp_path: Path,
    end: Callable[[World, UUID], Any],
    status: RunStatus,
) -> None:
    """A cancelled run and one that timed out take the webhook and keep their state."""
    timing = {"running_seconds": RUNNING_SECONDS}
    async with _world(database_url, tmp_path, timing=timing) as (world, client):
        run_id = await world.start(phases=PHASES, phase_retries=0)
        batches = Batches(world, client, run_id)
        await batches.wait("running")
        await end(world, run_id)
        assert (await world.wait_for_end(run_id)).status is status
        before, calls = await _state(world), len(world.sim.log.entries)
        for content_type in TYPES:
            assert await batches.post(content_type) == 202

        async def handled() -> bool:
            jobs = await world.query("SELECT status FROM procrastinate_jobs")
            return {str(job["status"]) for job in jobs} <= {"succeeded"}

        await until(handled, "the webhooks' jobs to be done")
        assert await _state(world) == before
        assert len(world.sim.log.entries) == calls
        assert (await world.get(run_id)).status is status


async def test_forged_webhooks_change_nothing_and_connect_to_nobody(
    database_url: str, tmp_path: Path
) -> None:
    """10,000 forged ones, replayed ones of other batches, and 10 MB, all with a link to a trap.

    Every one is answered 404. The trap is never connected to, no provider is called, and the
    database has no more connections than before.
    """
    timing = {"running_seconds": RUNNING_SECONDS}
    async with _world(database_url, tmp_path, timing=timing) as (world, client):
        batches = Batches(world, client, await world.start(phases=PHASES))
        await batches.wait("running")
        secret = batches.by_type["news"]["secret_path"]
        almost = secret[:-1] + ("0" if secret[-1] != "0" else "1")
        own, other = (batches.by_type[kind]["provider_batch_id"] for kind in ("news", "video"))
        with socket.create_server((LOOPBACK, 0)) as trap:
            trap.setblocking(False)
            link = f"http://{LOOPBACK}:{trap.getsockname()[1]}/results.json"
            before, calls = await _state(world), len(world.sim.log.entries)

            async def forge(numbers: range) -> None:
                # Without a client library, which costs as much as the server.
                reader, writer = await asyncio.open_connection(LOOPBACK, client.base_url.port)
                for n in numbers:
                    path, batch_id = ((almost, own), (secret, other), (f"{n}", own))[n % 3]
                    body = json.dumps(_told(batch_id, 1, link)).encode()
                    head = f"POST /webhooks/scaleserp/{path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n"
                    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                    answer = await reader.readuntil(b"\r\n\r\n")
                    assert answer.startswith(b"HTTP/1.1 404 "), answer
                    assert b"content-length: 0\r\n" in answer.lower()
                writer.close()
                await writer.wait_closed()

            lanes = 20
            await asyncio.gather(*(forge(range(n, FORGED, lanes)) for n in range(lanes)))
            large = {**_told(own, 1, link), "more": "x" * 10_000_000}
            assert len(json.dumps(large)) > 30 * BODY_BYTES_MAX
            try:
                reply = await client.post(f"/webhooks/scaleserp/{secret}", json=large)
                assert reply.status_code == 404
            except httpx2.TransportError:
                pass  # the server has answered and closed before all of it was sent
            assert await _state(world) == before
            assert len(world.sim.log.entries) == calls
            with pytest.raises(BlockingIOError):
                trap.accept()


async def test_no_webhook_is_acknowledged_and_lost(database_url: str, tmp_path: Path) -> None:
    """50 a second for 6 s, of which the inbox is locked for 3 s: each one with a 202 is stored."""
    rate, seconds = 50, 6
    timing = {"running_seconds": RUNNING_SECONDS}
    async with _world(database_url, tmp_path, timing=timing) as (world, client):
        batches = Batches(world, client, await world.start(phases=PHASES))
        await batches.wait("running")
        chosen = [batches.by_type[kind] for kind in TYPES]
        answers: dict[tuple[str, int], int] = {}

        async def send(number: int) -> None:
            await asyncio.sleep(number / rate)
            batch = chosen[number % len(chosen)]
            key = (batch["provider_batch_id"], number + 1)
            answers[key] = await post(client, batch["secret_path"], *key)

        async def lock() -> None:
            await asyncio.sleep(1)
            async with world.services.database.session() as session:
                await session.exec_driver_sql("BEGIN")
                await session.exec_driver_sql("LOCK TABLE webhook_inbox, chunks IN EXCLUSIVE MODE")
                await asyncio.sleep(3)
                await session.exec_driver_sql("ROLLBACK")

        await asyncio.gather(lock(), *(send(n) for n in range(rate * seconds)))
        rows = await world.query("SELECT provider_batch_id, result_set_id FROM webhook_inbox")
        stored = {(row["provider_batch_id"], row["result_set_id"]) for row in rows}
        assert set(answers.values()) <= {202, 503}
        assert {key for key, status in answers.items() if status == 202} == stored
        assert len(stored) >= rate * (seconds - 4)


async def _state(world: World) -> list[list[dict[str, Any]]]:
    """Everything that a webhook without effect leaves as it is."""
    return [
        await world.query("SELECT id, status, epoch FROM chunks ORDER BY id"),
        await world.query(
            "SELECT id, status, started_at, result_set_id, ended_at FROM provider_batches"
            " ORDER BY id"
        ),
        await world.query("SELECT id, status FROM pipeline_phase_status ORDER BY id"),
        await world.query("SELECT count(*) FROM provider_calls"),
        await world.query("SELECT count(*) FROM serps"),
        await world.query(
            "SELECT count(*) <= 12 AS few FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'serpline%'"
        ),
    ]
