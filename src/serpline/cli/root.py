"""The command tree and the global options."""

from pathlib import Path
from typing import Annotated

import typer

from serpline.cli import (
    breakers,
    budgets,
    companies,
    compare,
    demo,
    doctor,
    dsi,
    figures,
    jobs,
    keywords,
    markets,
    notifications,
    operations,
    prices,
    processes,
    rankings,
    runs,
    schedule,
    schema,
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


app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("up")(processes.up)
app.command("worker")(processes.worker)
app.command("scheduler")(processes.scheduler)
app.command("web")(processes.web)
start.register(runs.app)
app.add_typer(runs.app, name="run")
app.add_typer(keywords.app, name="keywords")
app.add_typer(markets.app, name="markets")
app.add_typer(companies.app, name="companies")
app.command("rankings")(rankings.rankings)
app.add_typer(dsi.app, name="dsi")
app.command("compare")(compare.compare)
app.command("sov")(figures.sov)
app.command("trends")(trends.trends)
app.add_typer(jobs.app, name="jobs")
app.add_typer(breakers.app, name="breakers")
app.add_typer(budgets.app, name="budgets")
app.command("prices")(prices.prices)
app.add_typer(schedule.schedule_app, name="schedule")
app.add_typer(notifications.app, name="notifications")
app.command("schema")(schema.schema)
app.add_typer(simulate.app, name="simulator")
operations.register(app)
