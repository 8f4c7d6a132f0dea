"""The command tree and the global options."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from serpline.cli import (
    breakers,
    budgets,
    companies,
    compare,
    demo,
    doctor,
    dsi,
    export,
    failures,
    figures,
    jobs,
    keyword_sets,
    keywords,
    landscapes,
    markets,
    notifications,
    operations,
    prices,
    processes,
    psql,
    rankings,
    readers,
    runs,
    schedule,
    schema,
    server,
    simulate,
    start,
    trends,
)
from serpline.cli.tables import WIDE

app = typer.Typer(
    name="serpline",
    help="Collect competitive search intelligence on a schedule, despite outages and crashes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"serpline {version('serpline')}")
        raise typer.Exit


@app.callback()
def global_options(
    ctx: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", help="Directory of the embedded database and logs (SERPLINE_DATA_DIR)."
        ),
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="Show all columns of tables, each row in one line.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the release.")
    ] = False,
) -> None:
    """Options of every command."""
    ctx.obj = data_dir
    WIDE.set(wide)


PANELS = _START, _COLLECT, _RESULTS, _OPERATE = "Start", "Collect", "Results", "Operate"


def _command(panel: str, name: str, run: Callable[..., Any], summary: str) -> None:
    app.command(name, rich_help_panel=panel, short_help=summary)(run)


def _group(panel: str, name: str, group: typer.Typer) -> None:
    app.add_typer(group, name=name, rich_help_panel=panel)


_command(_START, "demo", demo.demo, "Try everything against simulated providers, for free.")
_command(_START, "doctor", doctor.doctor, "Check this machine, the database and the providers.")
_command(_START, "up", processes.up, "Run everything that collects, until stopped.")
start.register(runs.app)
failures.register(runs.app)
keyword_sets.register(keywords.app)
_group(_COLLECT, "keywords", keywords.app)
_group(_COLLECT, "landscapes", landscapes.app)
_group(_COLLECT, "markets", markets.app)
_group(_COLLECT, "run", runs.app)
_group(_COLLECT, "schedule", schedule.schedule_app)
_command(_RESULTS, "rankings", rankings.rankings, "Who ranks, by keyword and market.")
_group(_RESULTS, "dsi", dsi.app)
_command(_RESULTS, "compare", compare.compare, "What changed between two runs, and why.")
_command(_RESULTS, "sov", figures.sov, "Share of voice of each company.")
_command(_RESULTS, "trends", trends.trends, "Changes since the previous tracked run.")
_command(_RESULTS, "export", export.export, "Write a table of results to a file.")
_group(_RESULTS, "companies", companies.app)
_command(_RESULTS, "psql", psql.psql, "A SQL prompt on the results.")
_command(_OPERATE, "failures", failures.failures, "What failed in a run, and why.")
_group(_OPERATE, "breakers", breakers.app)
_group(_OPERATE, "budgets", budgets.app)
_command(_OPERATE, "prices", prices.prices, "What providers charge, in a file to edit.")
_group(_OPERATE, "jobs", jobs.app)
_group(_OPERATE, "notifications", notifications.app)
_group(_OPERATE, "server", server.app)
_group(_OPERATE, "reader", readers.app)
_command(_OPERATE, "worker", processes.worker, "Run one worker process.")
_command(_OPERATE, "scheduler", processes.scheduler, "Start the runs of schedules, and do no more.")
_command(_OPERATE, "web", processes.web, "Receive webhooks, and answer health checks.")
_command(_OPERATE, "backup", operations.backup, "Write the database to one file.")
_command(_OPERATE, "restore", operations.restore, "Load a backup into an empty database.")
_command(_OPERATE, "prune", operations.prune, "Delete expired operational data now.")
_command(_OPERATE, "schema", schema.schema, "Print the keys of a configuration file.")
_group(_OPERATE, "simulator", simulate.app)
