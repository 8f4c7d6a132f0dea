"""Row 18: canary keys, logs at DEBUG, and whole runs with errors that repeat the keys.

Real processes (``serpline up``: supervisor, web, worker) log at DEBUG, including libraries that are
otherwise quiet. Every provider answers some calls with errors that quote the key, and result files
carry it in every record. The queue's tables are polled, because a finished job is deleted. Then
jobs fail for good with such errors. Afterwards every column of every table (raw replies inflated)
and every byte of the logs is searched for the canaries in many spellings, and the logs, jobs and
messages for the secret paths of webhooks.
"""

import asyncio
import base64
import json
import os
import sys
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, quote_plus

import psycopg
from harness.figures import Figure, at_least, equal, zero
from harness.ports import LOOPBACK, reserved_port
from harness.waiting import until
from harness.world import World, open_world, simulated
from psycopg import sql

from chaos.scorecard import Context, Row
from serpline.app.services import open_services
from serpline.app.tools import open_tools
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.domain.http import ProviderCall
from serpline.domain.names import PipelineMode
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.queueing import Job
from serpline.robustness.guard import CallScope
from serpline.simulator.dataforseo import LOGIN

KEYWORDS = ("best espresso machine", "Wisła rzeka", "coffee grinder", "decaf beans", "moka pot")
KEYED = ("scaleserp", "youtube", "dataforseo", "pdl", "llm")
EVERY_PROVIDER_FAILS: Sequence[Mapping[str, Any]] = (
    {"fault": "429", "provider": "youtube", "retry_after": 0.05, "attempts": 1, "echo": True},
    # First, failures to repeat at once; then permanent ones: the items of a few calls fail.
    {"fault": "429", "retry_after": 0.05, "attempts": 1, "probability": 0.3, "echo": True},
    {"fault": "500", "attempts": 1, "probability": 0.1, "echo": True},
    {"fault": "401", "provider": "pdl", "times": 1, "echo": True},
    {"fault": "401", "provider": "llm", "times": 1, "echo": True},
    {"fault": "malformed", "provider": "pdl", "times": 1},
    {"fault": "cut", "provider": "llm", "times": 1, "where": "body"},
)
REFUSED: Sequence[Mapping[str, Any]] = ({"fault": "401", "echo": True, "provider": "[!p]*"},)
_COLUMNS = (
    "SELECT c.table_schema, c.table_name, c.column_name FROM information_schema.columns c"
    " JOIN information_schema.tables t USING (table_schema, table_name)"
    " WHERE t.table_type = 'BASE TABLE'"
    " AND c.table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3"
)
# Finished jobs are deleted, so jobs are read while they wait or run.
_JOBS = (
    "SELECT to_jsonb(j)::text FROM procrastinate_jobs j"
    " UNION ALL SELECT to_jsonb(q)::text FROM queued_jobs q"
)
_POLL_SECONDS = 0.05
_LETTERS = "SELECT error FROM dead_letters WHERE starts_with(job_type, 'letter ')"
# A process with this on its path also logs the libraries that print URLs and arguments.
_UNCAPPED = "import serpline.core.logging as logging\nlogging._QUIET = ()\n"
# Tables that have to hold a secret path: it identifies a webhook, and a raw reply repeats it.
_PATH_TABLES = frozenset({"provider_batches", "raw_replies"})


@dataclass
class Found:
    """The result of the search."""

    columns: int = 0
    values: int = 0
    masked: int = 0
    hits: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def canary(context: Context, provider: str) -> str:
    """A key that no text contains by chance, with characters that have several spellings."""
    return f"sim-canary/{provider}+{context.random('canary', provider).randrange(10**12):012}=="


def spellings(secret: str) -> list[bytes]:
    """Spellings of a secret in a text, independent of the code that should remove it."""
    raw = secret.encode()
    texts = {
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), quote(secret).lower(),
        quote(secret, safe="").lower(), json.dumps(secret)[1:-1], secret.replace("/", "\\/"),
        raw.hex(), raw.hex().upper(), secret[::-1],
    }  # fmt: skip
    # Base64 depends on the bytes before; the middle is common to each of the three shifts.
    shifted = {base64.b64encode(b" " * n + raw)[4:-4] for n in range(3)}
    return [text.encode() for text in texts] + sorted(shifted)


@asynccontextmanager
async def serpline_up(world: World, port: int) -> AsyncIterator[Path]:
    """Run ``serpline up`` with one worker at DEBUG; yields its log."""
    log, path = world.directory / "up.log", world.directory / "uncapped"
    path.mkdir()
    (path / "sitecustomize.py").write_text(_UNCAPPED)
    paths = os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH"))))
    variables = {**world.environment, "SERPLINE_LOG_LEVEL": "DEBUG", "PYTHONPATH": paths}
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "serpline.cli", "up", "--workers", "1", "--port", str(port),
            env=variables, stdout=file, stderr=file, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield log
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(60):
            await process.wait()


async def search(url: str, canaries: Sequence[bytes], paths: Sequence[bytes]) -> Found:
    """Search every column of every table."""
    found = Found()
    async with await psycopg.AsyncConnection.connect(url) as conn:
        for schema, table, column in await (await conn.execute(_COLUMNS)).fetchall():
            found.columns += 1
            statement = sql.SQL("SELECT {} FROM {}").format(
                sql.Identifier(column), sql.Identifier(schema, table)
            )
            async for (value,) in await conn.execute(statement):
                text = as_bytes(value)
                found.values += 1
                found.masked += b"REDACTED" in text
                if any(secret in text for secret in canaries):
                    found.hits.append(f"{table}.{column}")
                if table not in _PATH_TABLES and any(path in text for path in paths):
                    found.paths.append(f"{table}.{column}")
    return found


@asynccontextmanager
async def watch_jobs(url: str) -> AsyncIterator[set[bytes]]:
    """Poll the queue; yields every state of every job that was seen."""
    seen: set[bytes] = set()

    async def watch() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
            while True:
                async for (row,) in await conn.execute(_JOBS):
                    seen.add(row.encode())
                await asyncio.sleep(_POLL_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def fail_jobs(world: World) -> list[str]:
    """Run one job per key, whose call fails with an echo of it; returns the letters' errors."""
    world.sim.set_faults([{"fault": "500", "echo": True}])
    with patch.dict(os.environ, world.environment):
        settings = load()
    clock, scope = SystemClock(), CallScope("letters", ttl_seconds=0)
    async with (
        open_services(settings) as services,
        open_tools(settings, services.database, clock) as tools,
    ):
        assert tools.pdl is not None
        calls: dict[str, ProviderCall[Any]] = {
            "scaleserp": tools.scaleserp.search(SearchSpec("letter")),
            "youtube": tools.youtube.videos(["aaaaaaaaaa1"]),
            "dataforseo": tools.dataforseo.search_volume(["letter"], 2616, "pl"),
            "pdl": tools.pdl.enrich("letter.example"),
            "llm": tools.llm.analyse_page("https://letter.example/", "t", "x", ["k"], "en"),
        }
        assert calls.keys() == {*KEYED}
        for provider, call in calls.items():

            async def ask(_: Any, call: ProviderCall[Any] = call) -> None:
                await tools.guard.execute(call, scope)

            services.queue.register(f"letter {provider}", ask)
            await services.queue.enqueue_job(Job(f"letter {provider}", {}))

        async def are_dead() -> bool:
            return len(await world.query(_LETTERS)) == len(calls)

        stop = asyncio.Event()
        working = asyncio.create_task(services.queue.run(stop, 1))
        try:
            await until(are_dead, "a dead letter of each provider")
        finally:
            stop.set()
            await working
    return [letter["error"] for letter in await world.query(_LETTERS)]


def as_bytes(value: Any) -> bytes:
    """A column's value as bytes, inflated if it is compressed."""
    if isinstance(value, bytes):
        with suppress(zlib.error):
            return zlib.decompress(value)
        return value
    return (value if isinstance(value, str) else json.dumps(value, default=str)).encode()


async def run_with_faults(world: World, rounds: int) -> None:
    """Runs in which every provider fails, and one in which most refuse the key."""
    for plan in [EVERY_PROVIDER_FAILS] * rounds + [REFUSED]:
        world.sim.set_faults(plan)
        run = await world.start(
            PipelineMode.TESTING, force_refresh=True, analysis_depth=2, min_success_ratio=0.1
        )
        await world.wait_for_end(run, seconds=150)


async def campaign(context: Context) -> list[Figure]:
    """Run over a few keywords, then search for the keys."""
    keys = {provider: canary(context, provider) for provider in KEYED}
    login = f"{LOGIN}:{keys['dataforseo']}"
    canaries = [spelled for key in (*keys.values(), login) for spelled in spellings(key)]
    csv = "\n".join(
        ["keyword,market", *(f"{word},PL" for word in KEYWORDS[: context.sized(2, 5)])]
    ).encode()
    async with AsyncExitStack() as stack:
        port = stack.enter_context(reserved_port())
        url = await stack.enter_async_context(context.database())
        settings = {"SERPLINE_PUBLIC_URL": f"http://{LOOPBACK}:{port}"}
        world = await stack.enter_async_context(
            open_world(url, context.folder("world"), csv, config=simulated(keys=keys), **settings)
        )
        plain_url = url.replace("+psycopg", "")
        async with watch_jobs(plain_url) as jobs:
            async with serpline_up(world, port) as log:
                await run_with_faults(world, context.sized(1, 3))
            letters = await fail_jobs(world)
        rows = await world.query("SELECT secret_path FROM provider_batches")
        paths = [row["secret_path"].encode() for row in rows]
        found = await search(plain_url, canaries, paths)
        logged = log.read_bytes()
        entries = [e for e in world.sim.log if e.fault in ("401", "429", "500")]
        echoing = len({entry.provider for entry in entries} & set(KEYED))
        taken = sum(delivery.status == 202 for delivery in world.sim.webhooks)
    return [
        at_least("errors that repeated the key", len(entries), 10),
        at_least("providers that sent such errors", echoing, len(KEYED)),
        at_least("webhooks accepted", taken, 1),
        at_least("jobs seen waiting or running", len(jobs), 10),
        equal("dead letters of such errors", len(letters), len(KEYED)),
        at_least("dead letters that quote it", sum("You sent" in error for error in letters), 3),
        at_least("lines logged at DEBUG", logged.count(b"DEBUG") + logged.count(b"debug"), 100),
        at_least("columns searched", found.columns, 200),
        at_least("values in which a key was replaced", found.masked, 10),
        zero("canaries in columns", len(found.hits)),
        zero("canaries in jobs", sum(secret in job for job in jobs for secret in canaries)),
        zero("canaries in logs", sum(logged.count(secret) for secret in canaries)),
        zero("secret webhook paths in logs, jobs and messages",
             len(found.paths) + sum(text.count(p) for p in paths for text in (logged, *jobs))),
    ]  # fmt: skip


ROW = Row(
    number=18,
    test="canary secrets for every key, logs at DEBUG (libraries too), errors that repeat them",
    passes="0 hits in logs, events, error columns, job arguments, raw replies",
    campaign=campaign,
    switched_off=(
        "No removal of known secrets from texts and replies (net, ledger, log, providers): canaries"
        " in 64 columns, and 4 times in the log (short form)."
    ),
)
