"""The clients of the providers, and all that phases call them with."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from serpline.core.clock import Clock
from serpline.core.settings import Settings
from serpline.domain.errors import ConfigurationError, UserError
from serpline.net.client import HttpClient
from serpline.phases.tools import Tools
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.llm.client import LlmClient
from serpline.providers.pages.client import PageClient
from serpline.providers.pages.extraction import Extractor
from serpline.providers.pdl.client import PdlClient
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.wikidata.client import WikidataClient
from serpline.providers.youtube.client import YouTubeClient
from serpline.robustness.guard import Guard
from serpline.robustness.policies import policies
from serpline.store.database import Database
from serpline.store.maintenance.retention import Retention

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def http_client(settings: Settings) -> HttpClient:
    """Make the HTTP client. Refuse a host map or test CA if a real provider is configured."""
    bases = [getattr(settings, f"{name}_base_url") for name in sorted(settings.providers)]
    if settings.net_host_map or settings.net_test_ca:
        real = [base for base in bases if urlsplit(base).hostname not in _LOOPBACK]
        if real:
            raise UserError(
                "SERPLINE_NET_HOST_MAP and SERPLINE_NET_TEST_CA are for the simulator only, but"
                f" {real[0]} is a real provider"
            )
    return HttpClient(
        host_map=settings.net_host_map,
        test_ca=settings.net_test_ca,
        trusted_bases=bases,
    )


def check_configuration(settings: Settings) -> None:
    """Raise ``ConfigurationError`` for settings with which no worker can start."""
    try:
        policies(settings)
        Retention.of(settings.retention_days)
        http_client(settings)
    except UserError as error:
        raise ConfigurationError(str(error)) from None


@asynccontextmanager
async def open_tools(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[Tools]:
    """Open the provider clients, the guard that admits their calls, and the extractor."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_client(settings))
        guard = Guard(database, http.send, policies(settings), fetcher=http.fetch, clock=clock)
        stack.push_async_callback(guard.close)
        extractor = await stack.enter_async_context(
            Extractor(processes=settings.extractor_processes)
        )
        yield Tools(
            clock=clock,
            guard=guard,
            extractor=extractor,
            call_concurrency=settings.call_concurrency,
            webhook_base=settings.public_url,
            batch_poll_seconds=settings.batch_poll_seconds,
            webhook_wait_seconds=settings.webhook_wait_seconds,
            batch_call_seconds=settings.batch_call_seconds,
            batch_file_seconds=settings.batch_file_seconds,
            batch_running_seconds_max=settings.batch_running_seconds_max,
            **_clients(settings, clock),
        )


def _clients(settings: Settings, clock: Clock) -> dict[str, Any]:
    available = settings.providers
    pdl_key = settings.pdl_api_key.get_secret_value()
    llm = LlmClient(
        settings.llm_base_url, settings.llm_api_key.get_secret_value(), settings.llm_model, clock
    )
    return {
        "dataforseo": DataForSeoClient(
            settings.dataforseo_base_url,
            settings.dataforseo_login,
            settings.dataforseo_password.get_secret_value(),
            clock,
        ),
        "scaleserp": ScaleSerpClient(
            settings.scaleserp_base_url, settings.scaleserp_api_key.get_secret_value(), clock
        ),
        "pdl": PdlClient(base_url=settings.pdl_base_url, api_key=pdl_key, now=clock.now)
        if "pdl" in available
        else None,
        "wikidata": WikidataClient(
            base_url=settings.wikidata_base_url, contact=settings.wikidata_contact, now=clock.now
        )
        if "wikidata" in available
        else None,
        "youtube": YouTubeClient(
            base_url=settings.youtube_base_url,
            api_key=settings.youtube_api_key.get_secret_value(),
            now=clock.now,
        ),
        "pages": PageClient(now=clock.now),
        "llm": llm,
        "owner_llm": llm if "llm" in available else None,
    }
