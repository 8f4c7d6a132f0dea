"""Webhooks over real sockets: they only make a worker check sooner.

The web application runs in the test's process. The worker beside it polls so rarely that without a
webhook no run would end in time.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from harness.databases import copied_database
from harness.tables import Tables, differences, final_tables
from harness.waiting import until
from harness.world import World, open_world, simulated

from serpline.api.app import create_app
from serpline.domain.states import RunStatus
from serpline.store.embedded.server import EmbeddedServer

# One process makes the run that these look at.
pytestmark = pytest.mark.xdist_group("webhooks")

KEYWORDS = """keyword,market
best espresso machine,PL
best espresso machine,US
Wisła rzeka,PL
吕梁市 三川河,US
""".encode()
DEPTH = 2
# Longer than a test may take, so any progress comes from a wake-up.
POLL_SECONDS = "600"


class _Server(uvicorn.Server):
    """In the test's process: the signals stay the test's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket on a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken


def _base(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def _web(world: World, listener: socket.socket) -> AsyncIterator[httpx2.AsyncClient]:
    """The web application over the world's services, and a client of it."""
    app = create_app(world.services.pipeline)
    server = _Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with httpx2.AsyncClient(base_url=_base(listener), trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        await task


@pytest.fixture(scope="module")
def polled(
    postgres: EmbeddedServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tables]:
    """The results of the same run without webhooks."""
    with copied_database(postgres, template_database) as url:

        async def walk() -> Tables:
            async with open_world(url, tmp_path_factory.mktemp("walk"), KEYWORDS) as world:
                await world.start_worker()
                run_id = await world.run(analysis_depth=DEPTH)
                assert world.sim.webhooks == []
                return await final_tables(world.services.database, run_id)

        yield asyncio.run(walk())


async def test_webhooks_bring_what_polling_brings(
    polled: Tables, database_url: str, tmp_path: Path, listener: socket.socket
) -> None:
    """A run woken by webhooks alone ends with the same tables as one that polls.

    The news webhook follows a forged one and comes before the answer to the start. The one for
    videos comes five times. The one for organic results follows one to an unknown path, and comes
    while the worker still waits to see the batch running. All of them come once more after the end.
    """
    forged = {"provider": "scaleserp", "operation": "webhook", "fault": "webhook_forged"}
    often = {"provider": "scaleserp", "operation": "webhook", "fault": "webhook_5"}
    slow_start = {"provider": "scaleserp", "operation": "start_batch", "fault": "slow"}
    slow_look = {"provider": "scaleserp", "operation": "get_batch", "fault": "slow"}
    config = simulated(
        # Long enough that every batch is seen running once, and is not polled again.
        timing={"running_seconds": 0.6},
        faults=[
            {**forged, "match": {"searches_type": "news"}},
            {**forged, "fault": "webhook_forged_path", "match": {"searches_type": "web"}},
            {**slow_start, "match": {"searches_type": "news"}, "seconds": 1.2},
            {**often, "match": {"searches_type": "videos"}},
            # The status check before the start is quick, the one after it is answered too late.
            {**slow_look, "match": {"searches_type": "web"}, "pattern": "SF", "times": 1}
            | {"seconds": 1.2},
        ],
    )
    settings = {
        "SERPLINE_PUBLIC_URL": _base(listener),
        "SERPLINE_BATCH_POLL_SECONDS": POLL_SECONDS,
    }
    async with (
        open_world(database_url, tmp_path, KEYWORDS, config=config, **settings) as world,
        _web(world, listener) as client,
    ):
        await world.start_worker()
        run_id = await world.run(analysis_depth=DEPTH)
        assert (await world.get(run_id)).status is RunStatus.COMPLETED
        tables = await final_tables(world.services.database, run_id)
        assert differences(polled, tables) == []

        assert [rule.used for rule in world.sim.faults.rules] == [1, 1, 1, 1, 1]
        await world.sim.settled()
        answers = [(each.honest, each.status) for each in world.sim.webhooks]
        assert answers.count((True, 202)) == 1 + 1 + 5
        assert answers.count((False, 404)) == len(answers) - 7 == 2
        inbox = await world.query("SELECT provider_batch_id, result_set_id FROM webhook_inbox")
        batches = world.sim.scaleserp.account.batches
        assert {row["provider_batch_id"] for row in inbox} == set(batches)
        assert [row["result_set_id"] for row in inbox] == [1, 1, 1]
        # Five webhooks, one ingest: nothing is fetched or paid twice.
        assert len(world.sim.log.of("scaleserp", "download")) == 3
        assert [c.reason for c in world.sim.ledger if c.provider == "scaleserp"] == [
            "batch queued"
        ] * 3

        # Late webhooks are accepted and change nothing.
        calls = len(world.sim.log.entries)
        for row in await world.query("SELECT provider_batch_id, secret_path FROM provider_batches"):
            told = _told(row["provider_batch_id"])
            reply = await client.post(f"/webhooks/scaleserp/{row['secret_path']}", json=told)
            assert reply.status_code == 202

        async def handled() -> bool:
            jobs = await world.query("SELECT status FROM procrastinate_jobs")
            return {str(job["status"]) for job in jobs} <= {"succeeded"}

        await until(handled, "the late webhooks' jobs to be done")
        assert differences(tables, await final_tables(world.services.database, run_id)) == []
        assert len(world.sim.log.entries) == calls


async def test_a_forged_or_unknown_webhook_is_answered_404_and_has_no_effect(
    database_url: str, tmp_path: Path, listener: socket.socket
) -> None:
    """Without the secret of that very batch, nothing is stored and no chunk is woken."""
    config = simulated(timing={"running_seconds": 600})
    settings = {
        "SERPLINE_PUBLIC_URL": _base(listener),
        "SERPLINE_BATCH_POLL_SECONDS": POLL_SECONDS,
    }
    async with (
        open_world(database_url, tmp_path, KEYWORDS, config=config, **settings) as world,
        _web(world, listener) as client,
    ):
        await world.start_worker()
        await world.start(phases=("keyword_metrics", "serp_collection"))

        async def waiting() -> bool:
            rows = await world.query(
                "SELECT b.provider_batch_id FROM provider_batches b JOIN chunks c"
                " ON c.id = b.chunk_id WHERE b.status = 'running' AND c.status = 'ready'"
                " AND c.next_check_at > now() + interval '1 minute'"
            )
            return len(rows) == 3

        await until(waiting, "three batches to be waited for")
        batches = await world.query("SELECT provider_batch_id, secret_path FROM provider_batches")
        ids = [row["provider_batch_id"] for row in batches]
        secrets = [row["secret_path"] for row in batches]
        assert len({*secrets}) == 3
        assert min(map(len, secrets)) >= 32
        before = await _state(world)

        attempts: list[tuple[str, Any]] = [
            ("guessed", _told(ids[0])),
            (ids[0], _told(ids[0])),
            (secrets[0], _told(ids[1])),
            (secrets[0], _told("F0F0F0F0")),
            (secrets[0], _told("' OR 1=1 --")),
            (secrets[0], {"batch": {"id": ids[0]}}),
            (secrets[0], []),
            (secrets[0] + "x", _told(ids[0])),
        ]
        for secret, body in attempts:
            reply = await client.post(f"/webhooks/scaleserp/{secret}", json=body)
            assert (reply.status_code, reply.content) == (404, b""), (secret, body)
        for raw in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b" " * 262_145):
            reply = await client.post(f"/webhooks/scaleserp/{secrets[0]}", content=raw)
            assert reply.status_code == 404
        assert await _state(world) == before

        # The right secret wakes the batch; its results come from the API.
        looks = len(world.sim.log.of("scaleserp", "get_batch"))
        reply = await client.post(f"/webhooks/scaleserp/{secrets[0]}", json=_told(ids[0]))
        assert reply.status_code == 202

        async def looked() -> bool:
            return len(world.sim.log.of("scaleserp", "get_batch")) > looks

        await until(looked, "somebody to look at the batch")
        await until(waiting, "the batch to be waited for again")
        assert world.sim.log.of("scaleserp", "get_results") == []


def _told(batch_id: str) -> dict[str, Any]:
    links = {"json": {"pages": ["http://169.254.169.254/latest"], "all_pages": ""}}
    return {
        "request_info": {"success": True, "type": "batch_resultset_completed"},
        "batch": {"id": batch_id, "name": "x"},
        "result_set": {"id": 1, "download_links": links},
    }


async def _state(world: World) -> list[list[dict[str, Any]]]:
    """Everything that a webhook could have changed."""
    return [
        await world.query("SELECT * FROM webhook_inbox"),
        await world.query("SELECT id, status, next_check_at, epoch FROM chunks ORDER BY id"),
        await world.query(
            "SELECT id, status, started_at, result_set_id FROM provider_batches ORDER BY id"
        ),
        await world.query("SELECT count(*) FROM provider_calls"),
    ]
