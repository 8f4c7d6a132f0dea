"""A manual clock, a fixed world, and simulators to call."""

import asyncio
import contextlib
import heapq
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx2
import pytest

from serpline.simulator import BatchTiming, Simulator, SimulatorConfig
from serpline.simulator.world import World

DAY = date(2026, 11, 23)


class ManualClock:
    """A clock that moves only by ``advance``, which wakes the sleepers that are due."""

    def __init__(self) -> None:
        self._start = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._passed + seconds, self._count, waiting))
        await waiting

    async def advance(self, seconds: float) -> None:
        """Advance by ``seconds``, waking each sleeper at its own time."""
        until = self._passed + seconds
        # Let tasks that were started before this call fall asleep first.
        for _ in range(20):
            await asyncio.sleep(0)
        while self._sleepers and self._sleepers[0][0] <= until:
            self._passed, _, waiting = heapq.heappop(self._sleepers)
            if not waiting.done():
                waiting.set_result(None)
            for _ in range(20):
                await asyncio.sleep(0)
        self._passed = until


class EagerClock(ManualClock):
    """A clock whose sleeps return at once and are recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> ManualClock:
    """A clock at 2026-11-23 12:00 UTC."""
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> World:
    """The market of seed 1 on 2026-11-23."""
    return World(1, clock, DAY)


FAST = BatchTiming(
    queued_seconds=0.0,
    running_seconds=0.0,
    running_seconds_per_search=0.0,
    adding_seconds_per_search=0.0,
    webhook_backoff_seconds=0.0,
)


class Caller:
    """A client of a running simulator's ScaleSERP."""

    def __init__(self, simulator: Simulator, http: httpx2.AsyncClient) -> None:
        self.simulator = simulator
        self.http = http

    async def call(self, method: str, path: str, json: Any = None, **query: str) -> httpx2.Response:
        key = {"api_key": self.simulator.config.key("scaleserp")}
        url = f"{self.simulator.url}/scaleserp{path}"
        return await self.http.request(method, url, params={**key, **query}, json=json)

    async def batch(self, name: str = "b", count: int = 3, kind: str = "web", **more: Any) -> str:
        """Create a batch with searches; return its id."""
        fields = {"name": name, "searches_type": kind, **more}
        batch_id: str = (await self.call("POST", "/batches", fields)).json()["batch"]["id"]
        searches = [
            {"q": f"tickets {n}", "search_type": kind, "custom_id": f"{name}-{n}"}
            for n in range(count)
        ]
        added = await self.call("PUT", f"/batches/{batch_id}", {"searches": searches})
        assert added.status_code == 200, added.text
        return batch_id

    async def run(self, batch_id: str) -> dict[str, Any]:
        """Start a batch, wait until it and its webhooks end; return the newest result set."""
        started = await self.call("GET", f"/batches/{batch_id}/start")
        assert started.status_code == 200, started.text
        await self.simulator.settled()
        newest = (await self.call("GET", f"/batches/{batch_id}/results")).json()["results"][0]["id"]
        path = f"/batches/{batch_id}/results/{newest}"
        return dict((await self.call("GET", path)).json()["result"])

    async def run_while(self, clock: ManualClock, batch_id: str) -> dict[str, Any]:
        """Start a batch, advance a manual clock by a minute; return its first result set."""
        started = await self.call("GET", f"/batches/{batch_id}/start")
        assert started.status_code == 200, started.text
        await clock.advance(60)
        return dict((await self.call("GET", f"/batches/{batch_id}/results/1")).json()["result"])

    async def download(self, url: str) -> httpx2.Response:
        """Fetch a file or page through the TLS port, with the right SNI."""
        variables = self.simulator.environment()
        host = url.split("/")[2]
        target = json.loads(variables["SERPLINE_NET_HOST_MAP"])["*.example"]
        context = ssl.create_default_context(cafile=variables["SERPLINE_NET_TEST_CA"])
        async with httpx2.AsyncClient(verify=context, trust_env=False) as client:
            return await client.get(
                url.replace(host, target, 1),
                headers={"host": host},
                extensions={"sni_hostname": host},
            )

    async def records(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        """Every record of a result set's JSON pages."""
        pages = [await self.download(url) for url in result["download_links"]["pages"]]
        return [record for page in pages for record in page.json()]


Opener = Callable[..., Awaitable[Caller]]


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    """Opens simulators for a test and closes them after it."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, timeout=20))

        async def opener(**settings: Any) -> Caller:
            config = SimulatorConfig(**{"seed": 1, "day": DAY, "timing": FAST, **settings})
            return Caller(await stack.enter_async_context(Simulator(config)), http)

        yield opener


class Listener:
    """A webhook receiver: stores the bodies, answers from a list of statuses, then 202.

    None breaks the connection, 0 keeps it open without an answer.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[int | None] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        self.bodies.append(json.loads(await reader.readexactly(length)))
        status = self.answers.pop(0) if self.answers else 202
        if status == 0:
            await reader.read()
        elif status is not None:
            text = f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            writer.write(text.encode())
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """A running webhook receiver."""
    listener = Listener()
    server = await asyncio.start_server(listener.handle, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield listener
