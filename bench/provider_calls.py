"""Worker processes that call a provider through phase, guard, ledger and HTTP client.

The items are domains. Their companies are bought from ``bench.provider``, which replaces PDL.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.request import urlopen
from uuid import UUID

from sqlalchemy import text

from bench.lane_runs import count_completed, start_planned_run
from bench.place import Place
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.store.database import Database

LANE = LaneKey(PhaseName.COMPANY_ENRICHMENT_SERP, ContentType.ORGANIC)
CHUNK_SIZE = 200
POLL_SECONDS = 0.05
SECONDS_MAX = 600.0


@dataclass(frozen=True, slots=True)
class CallLog:
    """The starts of the calls in the provider's log, sorted, and the workers' statements."""

    began: Sequence[float]
    statements: int

    @property
    def per_second(self) -> float:
        """Calls per second, without the first and the last tenth of the calls."""
        tenth = len(self.began) // 10
        inner = self.began[tenth : len(self.began) - tenth]
        return (len(inner) - 1) / (inner[-1] - inner[0])

    @property
    def statements_per_call(self) -> float:
        """SQL statements per call, including those of waiting."""
        return self.statements / len(self.began)


async def make_calls(
    place: Place,
    *,
    workers: int,
    calls: int,
    latency_seconds: float,
    rate_per_second: float,
    chunks_at_once: int,
    calls_at_once: int,
    chunk_size: int = CHUNK_SIZE,
) -> CallLog:
    """Let workers make calls; each worker is a process.

    A worker has up to ``chunks_at_once`` × ``calls_at_once`` calls in flight.
    """
    async with AsyncExitStack() as stack:
        name = stack.enter_context(place.fresh_database())
        database = await Database.connect(place.server.url(name))
        stack.push_async_callback(database.close)
        provider = await stack.enter_async_context(place.process("bench.provider", latency_seconds))
        assert provider.stdout is not None
        base = f"http://127.0.0.1:{int(await provider.stdout.readline())}"
        environment = place.worker_environment(
            name,
            pdl_base_url=base,
            pdl_api_key="bench",
            provider_rates={"pdl": rate_per_second},
            worker_concurrency=chunks_at_once,
            call_concurrency=calls_at_once,
        )
        processes = await stack.enter_async_context(
            place.processes("bench.worker", workers, environment)
        )
        async with asyncio.timeout(SECONDS_MAX):
            await _wait_until_registered(database, workers)
            domains = [f"company-{n:06}.example" for n in range(calls)]
            run_id = await start_planned_run(database, LANE, domains, chunk_size)
            await _wait_until_settled(database, run_id, calls)
        found: list[float] = json.loads(await asyncio.to_thread(_read, f"{base}/calls"))
        ended = [await place.end_worker(process) for process in processes]
    if len(found) != calls:
        raise RuntimeError(f"the provider got {len(found)} calls for {calls} items")
    return CallLog(sorted(found), sum(round(worker["statements"]) for worker in ended))


async def _wait_until_registered(database: Database, workers: int) -> None:
    alive = text("SELECT count(*) FROM workers WHERE ended_at IS NULL")
    while True:
        async with database.transaction() as conn:
            if (await conn.execute(alive)).scalar_one() == workers:
                return
        await asyncio.sleep(POLL_SECONDS)


async def _wait_until_settled(database: Database, run_id: UUID, count: int) -> None:
    while await count_completed(database, run_id) < count:
        await asyncio.sleep(POLL_SECONDS)


def _read(url: str) -> bytes:
    with urlopen(url, timeout=10) as reply:  # loopback, our own provider
        body: bytes = reply.read()
    return body
