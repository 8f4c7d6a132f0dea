"""``serpline demo``: the whole pipeline on this machine, against simulated providers.

Only the providers are simulated. An embedded PostgreSQL, the web process for webhooks and two
workers run seven phases over the keywords of a file. Nothing leaves the machine, and no real key is
used, whatever the environment contains. All children are stopped at the end, also on Ctrl-C.
"""

import asyncio
import json
import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    ENVIRONMENT_DATA_DIR,
    DialectOption,
    JsonFlag,
    configure_logging,
    file_error,
    load_settings,
    print_json,
    print_message,
    run,
)
from serpline.cli.demo_clean import CALL_LOG, PREFIX, remove_demos
from serpline.cli.prices import charged, prices_of
from serpline.cli.runs import exit_code
from serpline.core.ids import new_id
from serpline.core.settings import Settings
from serpline.domain.errors import UserError
from serpline.robustness.policies import equal_rates

if TYPE_CHECKING:
    from serpline.domain.results import Ranking
    from serpline.simulator import Simulator

WORKERS = 2
WORKER_CRASHES_MAX = 5
# Simulated accounts have no call limits, and their batches are ready at once.
_FAST_SETTINGS = {
    "SERPLINE_PROVIDER_RATES": json.dumps(equal_rates(1_000.0)),
    "SERPLINE_BATCH_POLL_SECONDS": "2",
}


@dataclass(frozen=True, slots=True)
class DemoSetup:
    """A demo's directory, and the settings of its processes."""

    directory: Path
    settings: Settings

    @property
    def embedded(self) -> bool:
        """Whether the database is the demo's embedded one."""
        return self.settings.database_url is None


def demo(
    ctx: typer.Context,
    keywords: Annotated[
        Path | None,
        typer.Option(help="Keyword file, as for 'keywords import'. Default: a built-in list."),
    ] = None,
    market: Annotated[
        list[str] | None, typer.Option(help="Market of lines that name none. Repeatable.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first so many keyword × market pairs. Default: all."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 1,
    dialect: DialectOption = "openai",
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove the directories of earlier demos; run none.")
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Run all seven phases against simulated providers and show the results. It is free."""
    if clean:
        remove_demos(load_settings(ctx).data_dir, only=ctx.obj is not None, as_json=as_json)
        return 0
    with ExitStack() as stack:
        file = keywords or stack.enter_context(
            resources.as_file(resources.files("serpline") / "data" / "demo_keywords.csv")
        )
        settings = load_settings(ctx)
        # An existing database may have added markets; a new one has only the built-in ones.
        is_new = ctx.obj is None and settings.database_url is None
        markets = tuple(market or ())
        check_file(file, markets, lines=is_new)
        setup = prepare(settings, is_new=ctx.obj is None)
        configure_logging(setup.settings)
        report, rankings = run(_demo(setup, (file, markets), limit, (seed, dialect), quiet=as_json))
    if as_json:
        print_json({**report, "data_dir": setup.directory, "call_log": setup.directory / CALL_LOG})
    else:
        from serpline.cli.demo_report import show

        show(report, rankings, setup.directory, embedded=setup.embedded)
    return exit_code(report["status"], report["error"])


def check_file(file: Path, markets: tuple[str, ...], *, lines: bool) -> None:
    """Check the file before anything starts. Raises ``UserError``; ``lines``: for bad lines too."""
    from serpline.cli.keyword_files import opened_file
    from serpline.imports.reading import KeywordReport, Options, open_keywords

    with opened_file(file) as stream:
        if lines:
            report = KeywordReport()
            with open_keywords(stream, Options(markets=markets)) as keywords:
                deque(keywords.rows(report), maxlen=0)
            if report.problem_count:
                raise UserError(report.summary())


def prepare(settings: Settings, *, is_new: bool) -> DemoSetup:
    """Create the demo's directory: a new one below the data directory, or the given one."""
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = (
            Path(tempfile.mkdtemp(prefix=PREFIX, dir=settings.data_dir))
            if is_new
            else settings.data_dir
        )
        (directory / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise file_error(settings.data_dir, error) from None
    return DemoSetup(directory, settings.model_copy(update={"data_dir": directory}))


async def _demo(
    setup: DemoSetup,
    given: tuple[Path, tuple[str, ...]],
    limit: int | None,
    world: tuple[int, str],
    *,
    quiet: bool,
) -> "tuple[dict[str, Any], list[Ranking]]":
    from serpline.api.app import create_app
    from serpline.app.services import open_services
    from serpline.cli.demo_audit import audit
    from serpline.cli.demo_recompute import recompute_figures
    from serpline.cli.demo_report import best_rankings
    from serpline.cli.demo_schedule import add_schedule
    from serpline.cli.keywords import import_file
    from serpline.cli.progress import follow
    from serpline.cli.supervise import Supervisor
    from serpline.cli.webserver import serving
    from serpline.config.run import PipelineConfig
    from serpline.imports.reading import Options
    from serpline.pipeline.report import dsi_rows, run_report

    def report_step(message: str) -> None:
        if not quiet:
            print_message(message)

    run_id = new_id()
    async with AsyncExitStack() as stack:
        report_step(f"demo in {setup.directory}")
        await stack.enter_async_context(_embedded_server(setup))
        opened = await stack.enter_async_context(open_services(setup.settings))
        await _require_empty_database(setup, opened)
        # A landscape of its own keeps the database's other keywords out of the run.
        landscape = f"demo {run_id}"
        file, markets = given
        await import_file(opened, file, landscape, Options(markets=markets))
        simulator = await stack.enter_async_context(_simulator(setup, *world))
        web = serving(create_app(opened.pipeline), "127.0.0.1", 0)
        port, _ = await stack.enter_async_context(web)
        environment = _environment(setup, simulator.environment(), port)
        supervisor = Supervisor(
            _workers(setup, environment), opened.clock, crashes_max=WORKER_CRASHES_MAX
        )
        async with supervisor.running():
            config = PipelineConfig.from_json({"landscape": landscape, "keyword_limit": limit})
            await opened.pipeline.start(config, run_id=run_id)
            report_step(f"run {run_id} over {file}")
            await follow(opened, run_id, quiet=quiet, check=supervisor.check)
        # Read the sums after the workers stop: they write their last outcomes then.
        report = await run_report(opened.database, run_id, opened.clock.now())
        report["usd"] = charged(report, prices_of(setup.settings))
        async with opened.database.transaction() as conn:
            report["dsi"] = [row async for row in dsi_rows(conn, run_id)]
        rankings = await best_rankings(opened.database, run_id)
        again = await recompute_figures(opened.database, run_id, report["dsi"], setup.directory)
        schedule = await add_schedule(opened, landscape)
    report |= {
        "audit": audit(simulator.log, report),
        "recomputed": again,
        "demo_schedule": schedule,
    }
    return report, rankings


@asynccontextmanager
async def _embedded_server(setup: DemoSetup) -> AsyncIterator[None]:
    """Run the embedded server. Stop it at the end, unless it ran before: others may use it."""
    if not setup.embedded:
        yield
        return
    from serpline.store.embedded.server import ensure_server, find_server

    where = setup.directory / "postgres"
    ran_before = await asyncio.to_thread(find_server, where) is not None
    server = await asyncio.to_thread(ensure_server, where, setup.settings.postgres_bin)
    try:
        yield
    finally:
        if not ran_before:
            await asyncio.to_thread(server.stop)


async def _require_empty_database(setup: DemoSetup, opened: Any) -> None:
    """Raise ``UserError`` for a database with a project: never mix simulated and real results."""
    if setup.embedded:
        return
    from serpline.store.results import reports

    async with opened.database.transaction() as conn:
        used = await reports.has_project(conn)
    if used:
        raise UserError(
            f"SERPLINE_DATABASE_URL={opened.database.shown_url}: already has keywords or runs;"
            " give the demo an empty database, or unset the variable to use an embedded one"
        )


@asynccontextmanager
async def _simulator(setup: DemoSetup, seed: int, dialect: str) -> AsyncIterator["Simulator"]:
    from serpline.simulator import Simulator, SimulatorConfig
    from serpline.simulator.config import DOCUMENTED_LIMITS

    config = SimulatorConfig(
        seed=seed,
        limits=dict.fromkeys(DOCUMENTED_LIMITS),
        log_file=setup.directory / CALL_LOG,
        llm_dialect=dialect,
    )
    async with Simulator(config) as simulator:
        yield simulator


def _environment(setup: DemoSetup, variables: Mapping[str, str], port: int) -> dict[str, str]:
    """The workers' environment: every provider is the simulator, and no real key is used."""
    return {
        **os.environ,
        **_FAST_SETTINGS,
        **variables,
        ENVIRONMENT_DATA_DIR: str(setup.directory),
        "SERPLINE_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }


def _workers(setup: DemoSetup, environment: Mapping[str, str]) -> list[Any]:
    from serpline.cli.supervise import Child

    return [
        Child(f"worker {n}", ["worker"], environment, setup.directory / "logs" / f"worker-{n}.log")
        for n in range(1, WORKERS + 1)
    ]
