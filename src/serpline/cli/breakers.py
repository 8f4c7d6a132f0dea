"""``serpline breakers list|reset|isolate``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from serpline.cli.common import JsonFlag, emit, run, say, services, show_table
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.store.breakers import BreakerRow

app = typer.Typer(help="The circuit breakers in front of the providers.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The breaker's name, as in the list.")]


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Every breaker that was ever used."""

    async def read() -> "Sequence[BreakerRow]":
        from serpline.robustness.breakers import CircuitBreakerManager

        async with services(ctx) as opened:
            return await CircuitBreakerManager(opened.database, opened.clock).list_all()

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
        }
        for row in run(read())
    ]
    if as_json:
        emit(found)
    else:
        columns = ["name", "state", "failure_count", "open_until", "timeout_seconds"]
        show_table(columns, [[row[name] for name in columns] for row in found])


@app.command()
def reset(ctx: typer.Context, name: Name) -> None:
    """Close a breaker and forget its failures."""
    say(f"{name}: {run(_by_hand(ctx, name, 'reset'))}")


@app.command()
def isolate(ctx: typer.Context, name: Name) -> None:
    """Refuse every call until it is reset."""
    say(f"{name}: {run(_by_hand(ctx, name, 'isolate'))}")


async def _by_hand(ctx: typer.Context, name: str, verb: str) -> str:
    from serpline.robustness.breakers import CircuitBreakerManager

    async with services(ctx) as opened:
        manager = CircuitBreakerManager(opened.database, opened.clock)
        try:
            row = await (manager.reset(name) if verb == "reset" else manager.isolate(name))
        except LookupError:
            raise UserError(f"breaker {name!r}: there is no such breaker") from None
    return str(row.breaker.state)
