"""The process of row 12: calls to a healthy provider, with and without a hostile one beside it.

    python -m chaos.under_attack '{"database": …, "hostile": …, "other": …, "blocks": …, …}'

It prints "ready" after a warm-up, and one JSON object at the end (``Report``). With ``files`` or
``pages`` it only makes that many such calls at once: the largest replies that are accepted, from a
host that sends more.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serpline.core.clock import SystemClock
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.net.client import HttpClient
from serpline.net.errors import NetError
from serpline.providers.pages.client import PageClient
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.providers.scaleserp.wire import SerpPage
from serpline.robustness.guard import CallScope, Guard, Sender
from serpline.robustness.policies import ProviderPolicy
from serpline.store.database import Database

KINDS = ("slowloris", "endless_headers", "announced", "unannounced", "gzip_bomb")
DEADLINE_SECONDS = 1.5
PAUSE_SECONDS = 0.01
# Five kinds at this pace make ten calls a second, the rate of an ordinary account.
ATTACK_PAUSE_SECONDS = 0.5
FLOOD_SECONDS_MAX = 20.0


@dataclass
class Report:
    """The result: seconds of each call by block, calm and under attack; lateness of hostile calls.

    ``late`` holds the seconds beyond the deadline, ``unexpected`` the ends without a typed error,
    ``flooded`` the refused calls of a flood.
    """

    calm: list[list[float]] = field(default_factory=list)
    under_attack: list[list[float]] = field(default_factory=list)
    late: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    unexpected: list[str] = field(default_factory=list)
    flooded: int = 0


async def attack(guard: Guard, client: ScaleSerpClient, kind: str, report: Report) -> None:
    """Make one hostile call after another through the whole guard, until cancelled."""
    for number in itertools.count():
        call = hostile(client, kind, DEADLINE_SECONDS)
        # Each call is a purchase of its own, so none counts as a retry.
        scope = CallScope(f"{kind} {number} {len(report.late[kind])}", ttl_seconds=0)
        try:
            await guard.execute(call, scope)
            report.unexpected.append(f"{kind}: a reply")
        except ProviderError:
            pass
        except Exception as error:  # noqa: BLE001  the parent counts it
            report.unexpected.append(f"{kind}: {error!r}")
        await asyncio.sleep(ATTACK_PAUSE_SECONDS)


def hostile(client: ScaleSerpClient, kind: str, deadline_seconds: float) -> ProviderCall[SerpPage]:
    """A call that gets a hostile reply of this kind."""
    call = client.search(SearchSpec(kind))
    return replace(call, request=replace(call.request, timeout_seconds=deadline_seconds))


def timed(http: HttpClient, report: Report) -> Sender:
    """The client's ``send``, which records the seconds of hostile calls beyond their deadline."""

    async def send(request: HttpRequest) -> HttpReply:
        started = time.monotonic()
        try:
            return await http.send(request)
        except NetError:
            if request.params.get("q") not in report.late:
                raise
            late = time.monotonic() - started - request.timeout_seconds
            report.late[request.params["q"]].append(late)
            raise

    return send


async def block(http: HttpClient, options: Mapping[str, Any], calls: int) -> list[float]:
    """Seconds of each of ``calls`` calls to the healthy provider, by the chosen clock."""
    clock: Callable[[], float] = getattr(time, options["clock"])
    seconds = []
    for _ in range(calls):
        started = clock()
        await http.send(HttpRequest("GET", options["other"]))
        seconds.append(clock() - started)
        await asyncio.sleep(PAUSE_SECONDS)
    return seconds


async def flood(guard: Guard, calls: Sequence[ProviderCall[Any]], report: Report) -> None:
    """Make these calls at once; each has to end with an error."""

    async def make(number: int, call: ProviderCall[Any]) -> None:
        request = replace(call.request, timeout_seconds=FLOOD_SECONDS_MAX)
        try:
            await guard.execute(replace(call, request=request), CallScope(f"{number}"))
            report.unexpected.append(f"{call.operation}: a reply")
        except ProviderError:
            report.flooded += 1

    await asyncio.gather(*(make(number, call) for number, call in enumerate(calls)))


def largest(options: Mapping[str, Any], client: ScaleSerpClient) -> list[ProviderCall[Any]]:
    """The calls of a flood: page files of the largest size, or web pages."""
    file = "https://downloads.scaleserp.example/Batch_Results_B1_1_Page_1.json"
    result = {"id": 1, "results_page_count": 1, "searches_total": 1_000}
    body = {"result": result | {"download_links": {"pages": [file]}}}
    found = client.result_set("B1", 1).parse(HttpReply(200, {}, json.dumps(body).encode()))
    pages = PageClient(now=SystemClock().now)
    addresses = [f"https://page-{number}.example/" for number in range(options.get("pages", 0))]
    files = [client.page_file(found, 1) for _ in range(options.get("files", 0))]
    return [*files, *map(pages.fetch_page, addresses)]


async def run(options: Mapping[str, Any]) -> Report:
    """Measure blocks of calls, calm and under attack by turns, or a flood."""
    report = Report()
    key = options["key"]
    bases = [options["hostile"], options["other"]]
    policies = [
        ProviderPolicy(name, None, rate_per_second=10_000, concurrency=64)
        for name in ("scaleserp", "page")
    ]
    database = await Database.connect(options["database"])
    hosts = {"host_map": json.loads(options["hosts"]), "test_ca": Path(options["ca"])}
    async with HttpClient(trusted_bases=bases, **hosts) as http:
        guard = Guard(database, timed(http, report), policies, fetcher=http.fetch)
        client = ScaleSerpClient(options["hostile"], key, SystemClock())
        # Making the first bomb takes the simulator seconds, which are not measured.
        with suppress(NetError):
            await http.send(hostile(client, "gzip_bomb", 120.0).request)
        await block(http, options, 50)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await flood(guard, largest(options, client), report)
        for _ in range(options.get("blocks", 0)):
            report.calm.append(await block(http, options, options["calls"]))
            async with asyncio.TaskGroup() as group:
                attacks = [group.create_task(attack(guard, client, k, report)) for k in KINDS]
                # Until a call of every kind has ended, or its deadline is long past.
                ended = {kind: len(late) for kind, late in report.late.items()}
                ends = time.monotonic() + DEADLINE_SECONDS * 10
                seconds: list[float] = []
                while len(seconds) < options["calls"] or (
                    time.monotonic() < ends and any(len(report.late[k]) == ended[k] for k in KINDS)
                ):
                    seconds += await block(http, options, 10)
                report.under_attack.append(seconds)
                for each in attacks:
                    each.cancel()
        await guard.close()
    await database.close()
    return report


if __name__ == "__main__":
    sys.stdout.write(json.dumps(vars(asyncio.run(run(json.loads(sys.argv[1]))))) + "\n")
