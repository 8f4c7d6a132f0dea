"""The checks of ``serpline doctor``. They are free.

A check is *ok*, *note* (works, with limits) or *broken* (needs action). A provider without a key is
a note: it is not called, and the phases that have no other are skipped.
"""

import asyncio
import platform
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from serpline.core.clock import SystemClock
from serpline.core.settings import Settings
from serpline.domain.errors import ProviderError, UserError
from serpline.domain.http import HttpRequest
from serpline.domain.phase_inputs import PHASE_INPUTS, lack_of
from serpline.domain.providers import SET_UP, names_of

if TYPE_CHECKING:
    from serpline.net.client import HttpClient
    from serpline.store.notifications.destinations import DestinationRow

Status = Literal["ok", "note", "broken"]

DISK_BYTES_MIN = 200_000_000
DISK_BYTES_ENOUGH = 5_000_000_000
REACH_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. ``words`` explain the status."""

    name: str
    status: Status
    words: str


async def run_checks(settings: Settings) -> list[Check]:
    """Run every check, in the order in which problems should be solved."""
    return [
        python(),
        data_directory(settings.data_dir),
        disk(settings.data_dir),
        *(await database(settings)),
        webhooks(settings),
        *(await providers(settings)),
    ]


def python() -> Check:
    """Check the Python version."""
    supported = sys.version_info >= (3, 11)
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not supported:
        return Check("python", "broken", f"{words}; 3.11 or newer is required")
    return Check("python", "ok", words)


def data_directory(path: Path) -> Check:
    """Check that the data directory exists, or can be created, and is writable."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".doctor"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Check("data directory", "broken", f"{path}: {error.strerror or error}")
    return Check("data directory", "ok", str(path))


def disk(path: Path) -> Check:
    """Check the free disk space of the data directory."""
    existing = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    words = f"{free / 1e9:,.1f} GB free"
    if free < DISK_BYTES_MIN:
        return Check("disk space", "broken", f"{words}; 0.2 GB is required")
    return Check("disk space", "ok" if free >= DISK_BYTES_ENOUGH else "note", words)


async def database(settings: Settings) -> list[Check]:
    """Check connection, version and schema; for the embedded server also its log and programs."""
    from serpline.app.server import database_url
    from serpline.store.database import Database
    from serpline.store.embedded.server import find_server
    from serpline.store.migrate import HEAD, migrate
    from serpline.store.notifications import destinations
    from serpline.store.results import reports

    try:
        opened = await Database.connect(await database_url(settings), pool_size=1)
    except UserError as error:
        return [Check("database", "broken", str(error))]
    try:
        async with opened.transaction() as conn:
            version = await reports.server_version(conn)
        changed = await migrate(opened)
        async with opened.transaction() as conn:
            alive = await reports.workers_alive(conn)
            told = await destinations.list_all(conn)
            missing = await destinations.missing(conn)
    except UserError as error:
        return [Check("database", "broken", str(error))]
    finally:
        await opened.close()
    kind = "embedded" if settings.database_url is None else opened.shown_url
    found = [Check("database", "ok", f"PostgreSQL {version}, {kind}")]
    if settings.database_url is None:
        server = await asyncio.to_thread(find_server, settings.data_dir / "postgres")
        if server is not None:
            found.append(Check("database log", "ok", str(server.log_file)))
        found.append(await asyncio.to_thread(database_programs, settings))
    state = "migrated just now" if changed else "up to date"
    found.append(Check("schema", "ok", f"{HEAD}, {state}"))
    idle = "none running: start them with 'serpline up'"
    found.append(Check("workers", "ok" if alive else "note", f"{alive} running" if alive else idle))
    found.append(notifications(told, missing))
    return found


def notifications(told: "Sequence[DestinationRow]", missing: Sequence[tuple[str, str]]) -> Check:
    """Check whether messages to people arrive. ``missing``: named by schedules, and not there."""
    if missing:
        words = "; ".join(f"schedule {schedule!r} names {name!r}" for name, schedule in missing)
        return Check("notifications", "broken", f"no such destination: {words}")
    if not told:
        return Check("notifications", "note", "no destination: see 'serpline notifications add'")
    failing = [row for row in told if row.failing_since is not None]
    if not failing:
        return Check("notifications", "ok", ", ".join(row.name for row in told))
    words = "; ".join(
        f"{row.name} fails since {row.failing_since:%Y-%m-%d %H:%M} UTC, {row.pending} wait"
        for row in failing
    )
    return Check("notifications", "broken", f"{words}: see 'serpline notifications list'")


def database_programs(settings: Settings) -> Check:
    """Check the PostgreSQL programs that start the embedded server."""
    from serpline.store.embedded.account import Account
    from serpline.store.embedded.programs import programs

    try:
        found = programs(Account.current(), settings.postgres_bin)
    except UserError as error:
        return Check("database programs", "broken", str(error))
    return Check("database programs", "ok", f"PostgreSQL {found.major} in {found.folder}")


def webhooks(settings: Settings) -> Check:
    """Check whether providers can report a finished batch, or serpline has to poll."""
    if settings.public_url is None:
        words = f"no SERPLINE_PUBLIC_URL: polling every {settings.batch_poll_seconds:g} s"
        return Check("webhooks", "note", words)
    return Check("webhooks", "ok", f"{settings.public_url}/webhooks/…")


async def providers(settings: Settings) -> list[Check]:
    """Check each provider's key and connection. Providers without a key are not called."""
    from serpline.app.tools import http_client

    try:
        http = http_client(settings)
    except UserError as error:
        return [Check("providers", "broken", str(error))]
    async with http:
        return list(
            await asyncio.gather(
                _scaleserp(settings, http),
                *(_reachable(http, name, settings) for name in SET_UP if name != "scaleserp"),
            )
        )


def _without(provider: str, settings: Settings) -> str:
    """Why a provider is not called, and what is missing without it."""
    phases = {phase: row for phase, row in PHASE_INPUTS.items() if provider in row.providers}
    lacks = [
        f"{phase} is {'blocked' if row.is_needed else 'skipped'}, {row.without}"
        for phase, row in phases.items()
        if lack_of(phase, settings.providers)
    ]
    others = {other for row in phases.values() for other in row.providers} - {provider}
    alone = f"companies come from {names_of(sorted(others))} alone"
    return f"{SET_UP[provider].unset}: {'; '.join(lacks) or alone}"


async def _scaleserp(settings: Settings, http: "HttpClient") -> Check:
    """Check ScaleSERP by its account call, which is free and proves the key."""
    from serpline.providers.scaleserp.client import ScaleSerpClient

    key = settings.scaleserp_api_key.get_secret_value()
    if not key:
        return Check("scaleserp", "note", _without("scaleserp", settings))
    call = ScaleSerpClient(settings.scaleserp_base_url, key, SystemClock()).account()

    async def call_provider() -> str:
        account = call.parse(await http.send(call.request))
        left = account.credits_remaining
        return "key accepted" + ("" if left is None else f"; {left:,.0f} credits left")

    return await _check_call("scaleserp", call_provider)


async def _reachable(http: "HttpClient", name: str, settings: Settings) -> Check:
    """Check that the server answers. No key is sent, so nothing is charged."""
    if name not in settings.providers:
        return Check(name, "note", _without(name, settings))
    if "scaleserp" not in settings.providers and name == "wikidata":
        # It needs no key, so it is called once searches are set up.
        return Check(name, "note", "not checked: no search provider is configured")
    base_url: str = getattr(settings, f"{name}_base_url")

    async def call_provider() -> str:
        await http.send(HttpRequest("GET", base_url, timeout_seconds=REACH_SECONDS_MAX))
        # The query may contain a secret. A self-hosted model server may have no key.
        answers = f"{base_url.partition('?')[0]} answers"
        return answers if name in ("wikidata", "llm") else f"{answers}; key set"

    return await _check_call(name, call_provider)


async def _check_call(name: str, call_provider: Callable[[], Awaitable[str]]) -> Check:
    from serpline.net.errors import NetError

    try:
        return Check(name, "ok", await call_provider())
    except (NetError, ProviderError) as error:
        return Check(name, "broken", str(error))
