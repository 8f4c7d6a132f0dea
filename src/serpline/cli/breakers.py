"""``serpline breakers list|reset|isolate|set``."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from serpline.cli.common import JsonFlag, print_json, print_message, require_utf8, run, services
from serpline.cli.tables import show_table
from serpline.core.person import person
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.robustness.breakers import CircuitBreakerManager
    from serpline.store.calls.breakers import BreakerRow

app = typer.Typer(help="Circuit breakers of the providers.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(callback=require_utf8, help="Breaker name, as in 'breakers list'.")
]


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List all breakers used so far, with state, failures and settings."""

    async def read() -> "Sequence[BreakerRow]":
        async with _open_manager(ctx) as (manager, _):
            return await manager.list_all()

    found = [
        {
            "name": row.name,
            "state": row.breaker.state,
            "failure_count": row.breaker.failure_count,
            "open_until": row.breaker.open_until,
            "failure_threshold": row.settings.failure_threshold,
            "success_threshold": row.settings.success_threshold,
            "timeout_seconds": row.settings.timeout_seconds,
            "settings_version": row.settings_version,
            "settings_at": row.settings_at,
        }
        for row in run(read())
    ]
    if as_json:
        print_json(found)
    else:
        columns = ["name", "state", "failure_count", "open_until", "timeout_seconds"]
        show_table(columns, [[row[name] for name in columns] for row in found])


@app.command()
def reset(ctx: typer.Context, name: Name) -> None:
    """Close a breaker and clear its failure count."""
    row = run(_change(ctx, name, lambda manager: manager.reset(name, by=person())))
    print_message(f"{name}: {row.breaker.state}")


@app.command()
def isolate(ctx: typer.Context, name: Name) -> None:
    """Isolate a breaker: every call is refused until 'breakers reset'."""
    row = run(_change(ctx, name, lambda manager: manager.isolate(name, by=person())))
    print_message(f"{name}: {row.breaker.state}")


@app.command("set")
def set_(
    ctx: typer.Context,
    name: Name,
    failure_threshold: Annotated[
        int | None, typer.Option(help="Consecutive failures that open it.")
    ] = None,
    success_threshold: Annotated[
        int | None, typer.Option(help="Successful probes that close it.")
    ] = None,
    timeout_seconds: Annotated[
        float | None, typer.Option(help="Seconds it stays open the first time.")
    ] = None,
) -> None:
    """Change a breaker's settings for all processes. Settings not given stay.

    The newest settings win: a schedule's next run sets its own breaker's settings again.
    """
    chosen = (failure_threshold, success_threshold, timeout_seconds)
    if chosen == (None, None, None):
        raise UserError(
            f"breaker {name!r}: give --failure-threshold, --success-threshold or --timeout-seconds"
        )
    row = run(_change(ctx, name, lambda manager: manager.configure(name, *chosen)))
    print_message(f"{name}: {row.breaker.state}, settings version {row.settings_version}")


async def _change(
    ctx: typer.Context,
    name: str,
    act: "Callable[[CircuitBreakerManager], Awaitable[BreakerRow]]",
) -> "BreakerRow":
    async with _open_manager(ctx) as (manager, known):
        try:
            return await act(manager)
        except LookupError:
            raise UserError(
                f"breaker {name!r}: there is no such breaker; known: {', '.join(known)}"
                " and those in 'serpline breakers list'"
            ) from None


@asynccontextmanager
async def _open_manager(
    ctx: typer.Context,
) -> "AsyncIterator[tuple[CircuitBreakerManager, Sequence[str]]]":
    """Open the breaker manager. Gives it and the names of the providers' own breakers."""
    from serpline.robustness.breakers import CircuitBreakerManager
    from serpline.robustness.policies import policies

    async with services(ctx) as opened:
        manager = CircuitBreakerManager(opened.database, opened.clock)
        yield manager, manager.register_defaults(policies(opened.settings))
