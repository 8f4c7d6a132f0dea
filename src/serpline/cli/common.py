"""Shared by all commands: settings, services, documents on stdout, messages on stderr.

Slow imports (database, providers, configurations) are inside functions: ``--help`` and usage errors
answer at once.
"""

import asyncio
import logging
import shutil
import signal
import sys
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer
from rich.text import Text

from serpline.cli.tables import stderr
from serpline.core.escaping import json_text, terminal_text
from serpline.core.logging import configure
from serpline.core.settings import Settings, load
from serpline.core.spool import Spool
from serpline.domain.errors import UserError
from serpline.domain.text import composed, is_storable

if TYPE_CHECKING:
    from serpline.app.services import Services

T = TypeVar("T")

TERMINATED = 143
ENVIRONMENT_DATA_DIR = "SERPLINE_DATA_DIR"
STDIN = Path("-")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DialectOption = Annotated[
    str,
    typer.Option(
        help="Vendor whose API the simulated language model imitates.",
        callback=lambda name: _known_dialect(name),
    ),
]
RunOption = Annotated[
    str | None, typer.Option("--run", help="Run id or its first characters; default: the latest.")
]


def _known_dialect(name: str) -> str:
    from serpline.simulator.llm_dialects import dialect_named

    return dialect_named(name).name


def load_settings(ctx: typer.Context, **overrides: Any) -> Settings:
    """Load the settings; ``--data-dir`` overrides SERPLINE_DATA_DIR. Raises ``SettingsError``."""
    data_dir: Path | None = ctx.obj
    settings = load(data_dir=data_dir and data_dir.absolute(), **overrides)
    if not isinstance(logging.getLevelName(settings.log_level.upper()), int):
        raise UserError(
            f"SERPLINE_LOG_LEVEL={settings.log_level!r}: must be DEBUG, INFO, WARNING or ERROR"
        )
    return settings


def configure_logging(settings: Settings, default: str = "WARNING") -> None:
    """Log to stderr, at ``default`` unless SERPLINE_LOG_LEVEL is set."""
    chosen = "log_level" in settings.model_fields_set
    configure(settings.log_level if chosen else default, secrets=settings.secrets)


@asynccontextmanager
async def services(ctx: typer.Context) -> AsyncIterator["Services"]:
    """Open the services of one command on the configured database."""
    settings = load_settings(ctx)
    configure_logging(settings)
    from serpline.app.services import open_services

    async with open_services(settings, pool_size=2) as opened:
        yield opened


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine. SIGTERM cancels it, lets it clean up and exits with 143."""
    terminated = False

    async def cancel_on_sigterm() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        loop.add_signal_handler(signal.SIGTERM, terminate)
        try:
            return await work
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    try:
        return asyncio.run(cancel_on_sigterm())
    except asyncio.CancelledError:
        if not terminated:
            raise
        raise typer.Exit(TERMINATED) from None


def print_message(message: str) -> None:
    """Print one line to stderr."""
    stderr().print(Text(terminal_text(message)), soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document to stdout, in UTF-8 under any locale."""
    sys.stdout.flush()
    sys.stdout.buffer.write(json_text(document, indent=2, default=_json_default).encode() + b"\n")
    sys.stdout.buffer.flush()


async def spool_list(
    rows: AsyncIterable[Mapping[str, Any]],
    spool: Spool,
    *,
    last_of: tuple[Mapping[str, Any], str] | None = None,
) -> int:
    """Write rows as the list ``print_json`` would print; return their number.

    ``last_of``: a document, and the name under which it gets the list as its last member.
    """
    head, inner, foot = "[", "  ", "\n]\n"
    if last_of is not None:
        document, name = last_of
        members = json_text(document, indent=2, default=_json_default).removesuffix("\n}")
        head, inner, foot = f'{members},\n  "{name}": [', "    ", "\n  ]\n}\n"
    spool.write(head.encode())
    count = 0
    async for row in rows:
        text = json_text(row, indent=2, default=_json_default).replace("\n", f"\n{inner}")
        spool.write(f"{',' if count else ''}\n{inner}{text}".encode())
        count += 1
    spool.write(foot.encode())
    return count


def print_spool(spool: Spool) -> None:
    """Print a complete spool to stdout."""
    sys.stdout.flush()
    shutil.copyfileobj(spool.open(), sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _json_default(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID | Path):
        return str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")


def split_list(values: Sequence[str] | None) -> list[str] | None:
    """Read ``--x a,b --x c`` as ``[a, b, c]``; None if not given.

    Raises ``UserError`` for commas alone: an empty list would select everything, and cost credits.
    """
    if not values:
        return None
    found = [part.strip() for value in values for part in value.split(",") if part.strip()]
    if not found:
        raise UserError(f"{','.join(values)!r} is an empty list: omit the option to select all")
    return found


def require_utf8(given: str | None) -> str | None:
    """Callback of arguments that are stored: raise ``BadParameter`` unless the text is UTF-8."""
    if given is not None and not is_storable(given):
        raise typer.BadParameter(f"{given!r} is not UTF-8")
    return given


def read_name(given: str | None) -> str | None:
    """Callback of names: as ``require_utf8``, in the one spelling in which names are stored."""
    require_utf8(given)
    return None if given is None else composed(given)


def file_error(path: Path, error: OSError) -> UserError:
    """The one-line error for a file that cannot be read or written."""
    return UserError(f"{path}: {error.strerror or error}")


def read_document(path: Path) -> Any:
    """Read a JSON file, a YAML one (.yaml, .yml), or either from stdin (-).

    Raises ``UserError`` with the file and the position.
    """
    from serpline.config.documents import SIZE_BYTES_MAX, read_json, read_yaml

    try:
        if path == STDIN:
            given = sys.stdin.buffer.read(SIZE_BYTES_MAX + 1)
            # A JSON object or list begins with a bracket. YAML does not read JSON with tabs.
            is_yaml = given.lstrip()[:1] not in (b"{", b"[")
        else:
            with path.open("rb") as file:
                given = file.read(SIZE_BYTES_MAX + 1)
            is_yaml = path.suffix.lower() in (".yaml", ".yml")
        return read_yaml(given) if is_yaml else read_json(given)
    except OSError as error:
        raise file_error(path, error) from None
    except UserError as error:
        raise UserError(f"{shown_path(path)}: {error}") from None


def shown_path(path: Path) -> str:
    """The name of a file in messages."""
    return "stdin" if path == STDIN else str(path)


async def warn_without_workers(opened: "Services") -> None:
    """Say on stderr that nothing works on runs."""
    from serpline.store.results import reports

    async with opened.database.transaction() as conn:
        alive = await reports.workers_alive(conn)
    if not alive:
        print_message("no worker is running: start workers with 'serpline up' or 'serpline worker'")
