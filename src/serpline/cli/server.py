"""``serpline server status|stop``: the embedded PostgreSQL server."""

import asyncio
from pathlib import Path
from typing import Any

import typer

from serpline.cli.common import (
    JsonFlag,
    configure_logging,
    load_settings,
    print_json,
    print_message,
    run,
)
from serpline.core.settings import Settings
from serpline.domain.errors import UserError

app = typer.Typer(help="The embedded PostgreSQL server.", no_args_is_help=True)


@app.command()
def status(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Show whether the embedded server is running, and where. It starts nothing."""
    directory = _directory(load_settings(ctx))
    found = run(_status(directory))
    if as_json:
        print_json(found)
    elif found["running"]:
        typer.echo(
            f"running: pid {found['pid']}, {found['workers']} workers, {found['directory']}"
            f" ({found['size_bytes'] / 1e6:,.0f} MB), log {found['log_file']}"
        )
    else:
        typer.echo(f"not running: {directory}; commands start it when they need it")


@app.command()
def stop(ctx: typer.Context) -> None:
    """Stop the embedded server; everything committed is kept. The next command starts it again."""
    settings = load_settings(ctx)
    configure_logging(settings)
    directory = _directory(settings)
    found = run(_status(directory))
    if found["workers"]:
        raise UserError(
            f"{found['workers']} workers are running and would start the server again:"
            " stop them first"
        )
    stopped = run(asyncio.to_thread(stop_server, directory))
    print_message("stopped" if stopped else f"not running: {directory}")


def stop_server(directory: Path) -> bool:
    """Stop the server of a directory, also one that does not answer; False if none is running."""
    from serpline.store.embedded.server import EmbeddedServer

    return EmbeddedServer(directory, directory).stop()


def _directory(settings: Settings) -> Path:
    if settings.database_url is not None:
        raise UserError(
            "SERPLINE_DATABASE_URL is set, so the embedded server is not used: your database is"
            " yours to stop"
        )
    return settings.data_dir / "postgres"


async def _status(directory: Path) -> dict[str, Any]:
    from serpline.store.embedded.files import Layout
    from serpline.store.embedded.postmaster import Postmaster
    from serpline.store.embedded.server import find_server

    layout = Layout.of(directory)
    process = await asyncio.to_thread(Postmaster.find, layout)
    server = await asyncio.to_thread(find_server, directory) if process else None
    size = await asyncio.to_thread(_size_bytes, directory)
    return {
        "running": process is not None,
        "pid": process.pid if process else None,
        "answers": server is not None,
        "workers": await _workers(server.url()) if server else 0,
        "directory": directory,
        "size_bytes": size,
        "log_file": layout.log,
    }


async def _workers(url: str) -> int:
    """Count the running workers; 0 if the server does not answer."""
    from serpline.store.database import Database, DatabaseUnavailable
    from serpline.store.results import reports

    try:
        database = await Database.connect(url, pool_size=1)
    except (UserError, DatabaseUnavailable):
        return 0
    try:
        async with database.transaction() as conn:
            return await reports.workers_alive(conn) if await reports.has_schema(conn) else 0
    except DatabaseUnavailable:
        return 0
    finally:
        await database.close()


def _size_bytes(directory: Path) -> int:
    size = 0
    for path in directory.rglob("*"):
        try:
            size += path.lstat().st_size
        except OSError:
            continue
    return size
