"""The simulator: two loopback servers, for APIs and for web pages, in the caller's process.

    async with Simulator(SimulatorConfig(seed=7)) as sim:
        os.environ.update(sim.environment())

Answers follow from (seed, day, request). Accounts, batches and the log are kept in memory.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Generator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.control import Control
from serpline.simulator.dataforseo import LOGIN, DataForSeo
from serpline.simulator.faults import FaultPlan
from serpline.simulator.gateway import Gateway
from serpline.simulator.googleads import GoogleAds
from serpline.simulator.journal import CallLog, Ledger
from serpline.simulator.llm import Llm
from serpline.simulator.pages import Pages
from serpline.simulator.pdl import PeopleDataLabs
from serpline.simulator.routes import OPERATIONS
from serpline.simulator.scaleserp.api import ScaleSerp
from serpline.simulator.scaleserp.webhooks import Delivery
from serpline.simulator.tls import Authority
from serpline.simulator.wikidata import Wikidata
from serpline.simulator.wire import Provider
from serpline.simulator.world import World
from serpline.simulator.youtube import YouTube

CONTACT = "https://example.org/contact"
_BACKLOG = 2_048
_GRACE_SECONDS = 1


class Simulator:
    """All providers as local HTTP servers. ``log`` and ``ledger`` record calls and charges."""

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        self.config = config or SimulatorConfig()
        clock = self.config.clock
        self.world = World(self.config.seed, clock, self.config.day)
        self.log = CallLog(
            clock, entries_max=self.config.log_entries_max, file=self.config.log_file
        )
        starting = {name: self.config.starting_credits(name) for name in OPERATIONS}
        self.ledger = Ledger(clock, starting)
        self.faults = FaultPlan(self.config.seed, clock, self.config.faults)
        self.scaleserp = ScaleSerp(self.config, self.world, self.ledger, self.log, self.faults)
        self.llm = Llm(self.config, self.world, self.ledger)
        self.pages = Pages(self.world, self.scaleserp.download)
        self.gateway = self._create_gateway()
        self._servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []
        self._closing = contextlib.AsyncExitStack()
        self._ca = Path()
        self._port = self._pages_port = 0

    @property
    def url(self) -> str:
        """The base URL of all providers and of ``/_sim``."""
        return f"http://{self.config.host}:{self._port}"

    @property
    def webhooks(self) -> list[Delivery]:
        """Every attempted webhook POST, in order."""
        return self.scaleserp.webhooks.deliveries

    def set_day(self, day: date | None) -> None:
        """Set the simulated day; None follows the clock."""
        self.world.day = day

    def set_faults(self, plan: Any) -> None:
        """Replace the fault plan. Raises ``UserError``."""
        self.faults.set(plan)

    async def settled(self) -> None:
        """Wait until no batch is queued or running and no webhook is being sent."""
        await self.scaleserp.account.idle()
        await self.scaleserp.webhooks.idle()

    def environment(self) -> dict[str, str]:
        """The ``SERPLINE_*`` variables that point serpline at this simulator."""
        key = self.config.key
        return {
            "SERPLINE_SCALESERP_BASE_URL": f"{self.url}/scaleserp",
            "SERPLINE_SCALESERP_API_KEY": key("scaleserp"),
            "SERPLINE_YOUTUBE_BASE_URL": f"{self.url}/youtube/v3",
            "SERPLINE_YOUTUBE_API_KEY": key("youtube"),
            "SERPLINE_DATAFORSEO_BASE_URL": f"{self.url}/dataforseo",
            "SERPLINE_DATAFORSEO_LOGIN": LOGIN,
            "SERPLINE_DATAFORSEO_PASSWORD": key("dataforseo"),
            "SERPLINE_PDL_BASE_URL": f"{self.url}/pdl",
            "SERPLINE_PDL_API_KEY": key("pdl"),
            "SERPLINE_WIKIDATA_BASE_URL": f"{self.url}/wikidata",
            "SERPLINE_WIKIDATA_CONTACT": CONTACT,
            "SERPLINE_LLM_BASE_URL": f"{self.url}/llm{self.llm.dialect.base_path}",
            "SERPLINE_LLM_API_KEY": key("llm"),
            "SERPLINE_LLM_MODEL": "gpt-4o-mini",
            "SERPLINE_NET_HOST_MAP": json.dumps(
                {"*.example": f"{self.config.host}:{self._pages_port}"}
            ),
            "SERPLINE_NET_TEST_CA": str(self._ca),
        }

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    def _create_gateway(self) -> Gateway:
        config, world, ledger = self.config, self.world, self.ledger
        providers: list[Provider] = [
            self.scaleserp,
            YouTube(config, world, ledger),
            DataForSeo(config, world, ledger),
            GoogleAds(config, world),
            PeopleDataLabs(config, world, ledger),
            Wikidata(config, world),
            self.llm,
        ]
        control = Control(world, self.log, ledger, self.faults, self.scaleserp, self.environment)
        mounted = {provider.name: provider for provider in providers}
        return Gateway(config, mounted, self.pages, self.log, self.faults, control)

    async def _open(self) -> None:
        self._closing.callback(self.log.close)
        directory = self.config.directory
        if directory is None:
            made = self._closing.enter_context(TemporaryDirectory(prefix="serpline-simulator-"))
            directory = Path(made)
        authority = Authority()
        self._ca = directory / "simulator-ca.pem"
        authority.write(self._ca)
        self._closing.push_async_callback(self.scaleserp.close)
        apis, pages = self._bind(self.config.port), self._bind(self.config.pages_port)
        self._port, self._pages_port = apis.getsockname()[1], pages.getsockname()[1]
        context = authority.server_context()
        self._closing.push_async_callback(self._stop)
        self.scaleserp.scheduler.begin()
        self._listen(self.gateway.api, apis)
        self._listen(self.gateway.web, pages, ssl_context_factory=lambda *_: context)
        self._closing.callback(self.gateway.close)

    def _bind(self, port: int) -> socket.socket:
        # Name the protocol: otherwise asyncio leaves Nagle's delay on.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._closing.callback(listener.close)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.config.host, port))
        # Clients may connect from here on; they are served once the server runs.
        listener.listen(_BACKLOG)
        return listener

    def _listen(self, app: Any, listener: socket.socket, **tls: Any) -> None:
        settings = uvicorn.Config(
            app,
            http=_Protocol,
            interface="asgi3",
            proxy_headers=False,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=_BACKLOG,
            **tls,
        )
        server = _Server(settings)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        self._servers.append((server, task))

    async def _stop(self) -> None:
        for server, _ in self._servers:
            server.should_exit = True
        await asyncio.gather(*(task for _, task in self._servers))


class _Protocol(H11Protocol):
    """HTTP/1.1 that gives the application the transport, to break it."""

    def connection_made(
        self,
        transport: asyncio.Transport,  # type: ignore[override]  # narrowed as in the base class
    ) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """A server that leaves signal handling to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
