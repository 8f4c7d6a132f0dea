"""``serpline simulator serve``: all providers as local HTTP servers."""

import shlex
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Annotated, TextIO

import typer

from serpline.cli.common import DialectOption, JsonFlag, print_json, print_message
from serpline.domain.errors import UserError

app = typer.Typer(help="Simulated providers for trials and tests.", no_args_is_help=True)


@app.command()
def serve(
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 1,
    day: Annotated[
        str | None, typer.Option(help="Simulated day, YYYY-MM-DD; default: today (UTC).")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0: any free one.")] = 0,
    faults: Annotated[
        Path | None, typer.Option(help="Fault plan, .yaml or .json (docs/faults.md).")
    ] = None,
    dialect: DialectOption = "openai",
    log: Annotated[
        Path | None, typer.Option(help="File to which every call is appended as a JSON line.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Serve simulated providers until interrupted. Prints the SERPLINE_* variables to use them."""
    from serpline.simulator import SimulatorConfig, read_plan, serve

    config = SimulatorConfig(
        seed=seed,
        day=_day(day),
        port=port,
        faults=read_plan(faults) if faults else (),
        log_file=log,
        llm_dialect=dialect,
    )

    def started(variables: dict[str, str]) -> None:
        if as_json:
            print_json(variables)
        else:
            for name, value in variables.items():
                typer.echo(f"export {name}={shlex.quote(value)}")
        print_message("simulator running; stop it with Ctrl-C")

    with nullcontext() if log is None else _opened(log):
        serve(config, started=started)


def _opened(path: Path) -> TextIO:
    """Open the log file here, where an error can name the option; a pipe's reader needs it open."""
    try:
        return path.open("a")
    except OSError as error:
        raise UserError(f"--log {str(path)!r}: {error.strerror}") from None


def _day(given: str | None) -> date | None:
    try:
        return date.fromisoformat(given) if given else None
    except ValueError:
        raise UserError(f"--day {given!r}: must be a date such as 2026-03-01") from None
