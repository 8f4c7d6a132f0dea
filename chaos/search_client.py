"""Guarded searches at the simulator, without a pipeline.

As a process (``python -m chaos.search_client``) it prints "ready", starts with the first line on
stdin and runs several callers, each of which makes call after call: ``probe`` until one succeeds,
``spend`` until the budget is spent. At the end it prints the counts of their outcomes as JSON. Its
environment names the simulator and the database.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from harness.ready_process import ReadyProcess

from serpline.core.clock import Clock, SystemClock
from serpline.core.logging import configure
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.http import ProviderCall
from serpline.domain.names import ContentType
from serpline.net.client import HttpClient
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.providers.scaleserp.wire import SerpPage
from serpline.robustness.breakers import BreakerOpen
from serpline.robustness.budget import BudgetSpent
from serpline.robustness.guard import CallScope, Guard
from serpline.robustness.policies import ProviderPolicy
from serpline.store.database import Database

PROVIDER, OPERATION, BREAKER = "scaleserp", "search", "scale_serp_api"


@dataclass(frozen=True, slots=True)
class SearchClient:
    """One process's guard, and searches to buy with it."""

    database: Database
    guard: Guard
    client: ScaleSerpClient

    def search(self, words: str) -> ProviderCall[SerpPage]:
        """The call for one search: one credit. Other words are another purchase."""
        return self.client.search(SearchSpec(q=words, content_type=ContentType.ORGANIC))

    async def buy(self, words: str, scope: CallScope | None = None) -> SerpPage:
        """Buy one search."""
        return await self.guard.execute(self.search(words), scope or CallScope("chaos"))


def policy(**changes: object) -> ProviderPolicy:
    """A policy whose limits are too wide to matter, with ``changes``."""
    defaults: dict[str, object] = {
        "provider": PROVIDER,
        "breaker": BREAKER,
        "rate_per_second": 1000.0,
        "concurrency": 400,
        "retry_floor": 10_000.0,
    }
    return ProviderPolicy(**(defaults | changes))  # type: ignore[arg-type]  # by name


@asynccontextmanager
async def search_client(
    url: str, environment: Mapping[str, str], how: ProviderPolicy, clock: Clock | None = None
) -> AsyncIterator[SearchClient]:
    """Open a client for the database and the simulator that ``environment`` names."""
    clock = clock or SystemClock()
    base = environment["SERPLINE_SCALESERP_BASE_URL"]
    database = await Database.connect(url)
    try:
        async with HttpClient(trusted_bases=[base]) as http:
            guard = Guard(database, http.send, [how], clock=clock)
            client = ScaleSerpClient(base, environment["SERPLINE_SCALESERP_API_KEY"], clock)
            try:
                yield SearchClient(database, guard, client)
            finally:
                await guard.close()
    finally:
        await database.close()


async def load_process(
    url: str, environment: Mapping[str, str], log: Path, arguments: list[str]
) -> ReadyProcess:
    """Load a process of callers; it waits for ``begin``."""
    variables = {**os.environ, **environment, "SERPLINE_DATABASE_URL": url}
    return await ReadyProcess.load(["-m", "chaos.search_client", *arguments], variables, log)


async def outcome_counts(process: ReadyProcess, seconds: float) -> dict[str, int]:
    """Wait for the process's end; returns its callers' outcomes, each with its count."""
    counted: dict[str, int] = json.loads(await process.result(seconds))
    return counted


async def _probe(client: SearchClient, name: str) -> str:
    """Retry until a call succeeds: while the breaker is not closed, it refuses most calls."""
    while True:
        try:
            await client.buy(name)
        except BreakerOpen:
            await asyncio.sleep(0.02)
        else:
            return "answered"


async def _spend(client: SearchClient, name: str, scope: CallScope) -> str:
    """Buy one search after another until the budget is spent.

    Each call is committed before the next, as by a settlement: a kill leaves at most one unknown.
    """
    number = 0
    while True:
        number += 1
        try:
            await client.buy(f"{name} {number}", scope)
            await client.guard.flush()
        except BudgetSpent:
            return "refused"
        except CallRefused:
            await asyncio.sleep(0.05)
        except ProviderError:
            continue


async def _main(options: argparse.Namespace) -> None:
    how = policy(
        credits_per_month=options.budget,
        breaker_settings=BreakerSettings(**json.loads(options.breaker)),
    )
    async with search_client(os.environ["SERPLINE_DATABASE_URL"], os.environ, how) as client:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        names = [f"{options.name} {number}" for number in range(options.callers)]
        if options.kind == "probe":
            ends = await asyncio.gather(*(_probe(client, name) for name in names))
        else:
            run, chunk, epoch = options.owner.split(":")
            scope = CallScope("chaos", run_id=UUID(run), chunk_id=int(chunk), epoch=int(epoch))
            ends = await asyncio.gather(*(_spend(client, name, scope) for name in names))
    sys.stdout.write(json.dumps({end: ends.count(end) for end in set(ends)}))


if __name__ == "__main__":
    configure("CRITICAL")
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["probe", "spend"])
    parser.add_argument("name")
    parser.add_argument("callers", type=int)
    parser.add_argument("--budget", type=float)
    parser.add_argument("--breaker", default="{}")
    parser.add_argument("--owner", default="")
    asyncio.run(_main(parser.parse_args()))
