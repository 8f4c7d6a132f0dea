"""serpline's side of calls to the simulator: settings, HTTP client and connectors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from serpline.core import settings
from serpline.core.clock import SystemClock
from serpline.domain.http import ProviderCall
from serpline.net.client import HttpClient
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.llm.client import LlmClient
from serpline.providers.pdl.client import PdlClient
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.wikidata.client import WikidataClient
from serpline.providers.youtube.client import YouTubeClient
from serpline.simulator import BatchTiming, Simulator, SimulatorConfig

T = TypeVar("T")
DAY = date(2026, 11, 23)


def now() -> datetime:
    """Noon (UTC) of the simulated day."""
    return datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Side:
    """serpline's side: settings from the simulator's environment, and the real HTTP client."""

    simulator: Simulator
    settings: settings.Settings
    http: HttpClient

    async def do(self, call: ProviderCall[T], *, web: bool = False) -> T:
        send = self.http.fetch if web else self.http.send
        return call.parse(await send(call.request))

    @property
    def scaleserp(self) -> ScaleSerpClient:
        key = self.settings.scaleserp_api_key.get_secret_value()
        return ScaleSerpClient(self.settings.scaleserp_base_url, key, SystemClock())

    @property
    def youtube(self) -> YouTubeClient:
        key = self.settings.youtube_api_key.get_secret_value()
        return YouTubeClient(base_url=self.settings.youtube_base_url, api_key=key, now=now)

    @property
    def dataforseo(self) -> DataForSeoClient:
        given = self.settings
        password = given.dataforseo_password.get_secret_value()
        return DataForSeoClient(
            given.dataforseo_base_url, given.dataforseo_login, password, SystemClock()
        )

    @property
    def pdl(self) -> PdlClient:
        key = self.settings.pdl_api_key.get_secret_value()
        return PdlClient(base_url=self.settings.pdl_base_url, api_key=key, now=now)

    @property
    def wikidata(self) -> WikidataClient:
        given = self.settings
        return WikidataClient(
            base_url=given.wikidata_base_url, contact=given.wikidata_contact, now=now
        )

    @property
    def llm(self) -> LlmClient:
        given = self.settings
        key = given.llm_api_key.get_secret_value()
        return LlmClient(given.llm_base_url, key, given.llm_model, SystemClock())


@asynccontextmanager
async def opened(monkeypatch: Any, given: dict[str, Any]) -> AsyncIterator[Side]:
    """A simulator with these settings, and serpline configured for it by its environment."""
    config = SimulatorConfig(**{"seed": 3, "day": DAY, "timing": BatchTiming(0, 0, 0, 0), **given})
    async with Simulator(config) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        loaded = settings.load()
        bases = [value for name, value in loaded.model_dump().items() if name.endswith("_base_url")]
        async with HttpClient(
            host_map=loaded.net_host_map, test_ca=loaded.net_test_ca, trusted_bases=bases
        ) as http:
            yield Side(simulator, loaded, http)
