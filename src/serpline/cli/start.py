"""``serpline run start``: start a run from options and a file, or estimate its cost."""

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from serpline.cli.common import (
    JsonFlag,
    print_json,
    print_message,
    read_document,
    run,
    services,
    split_list,
    warn_without_workers,
)
from serpline.cli.costs import amount
from serpline.cli.prices import providers_of
from serpline.cli.runs import exit_code, find_run, print_report
from serpline.cli.tables import Column, show_table
from serpline.core.escaping import terminal_text
from serpline.core.person import person
from serpline.domain.errors import UserError
from serpline.domain.names import PipelineMode

if TYPE_CHECKING:
    from serpline.app.services import Services
    from serpline.config.run import PipelineConfig
    from serpline.pipeline.estimate import Estimate


@dataclass(frozen=True, slots=True)
class _StartRequest:
    """A run to start. ``inputs_from`` is an id, its first characters or ``latest``."""

    config: "PipelineConfig"
    mode: PipelineMode
    inputs_from: str | None
    again: bool = False

    async def resolved(self, opened: "Services") -> "PipelineConfig":
        """The configuration, with ``inputs_from`` resolved to a run id."""
        if self.inputs_from is None:
            return self.config
        found = await find_run(opened, self.inputs_from)
        return self.config.model_copy(update={"inputs_from": found})


def register(app: typer.Typer) -> None:
    """Add the command to ``serpline run``."""
    app.command("start")(start)


def start(
    ctx: typer.Context,
    mode: Annotated[
        PipelineMode,
        typer.Option(
            metavar="MODE",
            help="manual. testing: five keywords, nothing reused. scheduled: failed steps are"
            " retried.",
        ),
    ] = (PipelineMode.MANUAL),
    content_types: Annotated[
        list[str] | None,
        typer.Option(help="organic, news, video: comma-separated or repeated. Default: all."),
    ] = None,
    devices: Annotated[
        list[str] | None, typer.Option(help="desktop, mobile, tablet. Default: desktop.")
    ] = None,
    landscape: Annotated[
        str | None, typer.Option(help="Only the keywords of this landscape. Default: all.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Only the first so many keyword × market pairs. Default: all."),
    ] = None,
    phases: Annotated[
        list[str] | None, typer.Option(help="Only these phases, in mode manual. Default: all.")
    ] = None,
    inputs_from: Annotated[
        str | None, typer.Option(help="Run whose results the other phases are read from.")
    ] = None,
    force_refresh: Annotated[
        bool | None,
        typer.Option(
            "--force-refresh",
            help="Buy volumes, companies, channels and analyses again, even if they are fresh.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="JSON or YAML file of run settings, or - for stdin ('serpline schema run');"
            " options override it."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until the run ends.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the cost; start nothing.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Start it even if the same was started minutes ago."),
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Start a run over the project's keywords, or estimate its cost (--dry-run)."""
    from serpline.config.run import PipelineConfig

    options = {
        "content_types": split_list(content_types),
        "devices": split_list(devices),
        "landscape": landscape,
        "keyword_limit": limit,
        "phases": split_list(phases),
        "force_refresh": force_refresh,
    }
    given = {name: value for name, value in options.items() if value is not None}
    parsed = PipelineConfig.from_json({**(read_config(config) if config else {}), **given})
    if parsed.curve != PipelineConfig().curve:
        # Only the last phase needs the curve. An unknown one must fail before anything is paid.
        from serpline.analysis.ctr import get_curve

        get_curve(parsed.curve)
    request = _StartRequest(parsed, mode, inputs_from, again)
    if dry_run:
        return _dry_run(ctx, request, as_json)
    return _start(ctx, request, wait=wait, as_json=as_json)


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object of settings. Raises ``UserError`` with the file and the position."""
    given = read_document(path)
    if not isinstance(given, dict):
        raise UserError(f"{path}: must be a JSON object of settings, not {type(given).__name__}")
    return given


def _start(ctx: typer.Context, request: _StartRequest, *, wait: bool, as_json: bool) -> int:
    async def begin() -> int:
        from serpline.cli.progress import follow

        async with services(ctx) as opened:
            config = await request.resolved(opened)
            run_id = await _start_once(opened, config, request)
            if not as_json:
                print_message(f"run {run_id} started")
            if not wait or as_json:
                await warn_without_workers(opened)
            if wait:
                await follow(opened, run_id, quiet=as_json, ctx=ctx)
            elif not as_json:
                typer.echo(run_id)
                return 0
            report = await print_report(opened, run_id, as_json=as_json)
            return exit_code(report["status"], report["error"]) if wait else 0

    return run(begin())


async def _start_once(opened: "Services", config: "PipelineConfig", request: _StartRequest) -> UUID:
    """Start the run. Ask before the same is started again within minutes, or refuse it."""
    from serpline.pipeline.repeats import RunRepeatedError

    start = partial(opened.pipeline.start, config, request.mode, by=person())
    try:
        return await start(unless_repeated=not request.again)
    except RunRepeatedError as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UserError(f"{error}: --again starts another") from None
        if not typer.confirm(f"{terminal_text(str(error))}. Start another?", err=True):
            raise typer.Abort from None
        return await start()


def _dry_run(ctx: typer.Context, request: _StartRequest, as_json: bool) -> int:
    async def count() -> "Estimate":
        from serpline.pipeline.estimate import estimate
        from serpline.pipeline.limits import limit_warnings, pace_seconds
        from serpline.pipeline.source_runs import resolve
        from serpline.robustness import budget
        from serpline.robustness.policies import policies
        from serpline.store import projects

        async with services(ctx) as opened:
            config = (await request.resolved(opened)).for_mode(request.mode)
            providers, now = providers_of(opened.settings), opened.clock.now()
            limits = policies(opened.settings)
            async with opened.database.transaction() as conn:
                await projects.check_landscape(conn, config.landscape)
                inherited = (await resolve(conn, config)).config
                found = await estimate(conn, inherited, providers, now)
                usage = await budget.usage(conn, limits, now)
            return replace(
                found,
                seconds_min=round(pace_seconds(found.lines, limits), 1),
                warnings=limit_warnings(found.credits, inherited, usage),
            )

    found = run(count())
    if as_json:
        print_json(found.to_json())
    else:
        show_estimate(found)
    return 0


def show_estimate(found: "Estimate") -> None:
    """Print an estimate as a table, one line per phase and provider, with its total."""
    from serpline.domain.phase_inputs import PHASE_INPUTS
    from serpline.domain.text import length_of_time

    rows = [
        [
            line.phase,
            line.provider,
            line.calls if line.is_called else None,
            amount(line.provider, line.credits),
            found.prices.usd(line.provider, line.credits) if line.is_called else None,
            line.words,
        ]
        for line in found.lines
    ]
    title = f"{found.pairs} keyword × market pairs, {found.searches} searches; nothing was spent"
    columns: list[str | Column] = [
        Column("phase", wraps=False),
        "provider",
        "calls",
        "cost",
        Column("US$", digits=2),
        Column("basis", drop=1),
    ]
    show_table(columns, rows, title=title)
    total = f"US${found.usd:,.2f} in all"
    if found.unpriced:
        total += f", without {', '.join(found.unpriced)}: no price is known (serpline prices)"
    typer.echo(total)
    for phase, why in found.skipped.items():
        outcome = "blocked, and the run would fail" if PHASE_INPUTS[phase].is_needed else "skipped"
        typer.echo(f"{phase} would be {outcome}: {why}")
    if found.seconds_min is not None:
        time = f"{length_of_time(found.seconds_min)} or more at the providers' pace"
        if found.seconds is not None:
            time += f"; in proportion to the run before, {length_of_time(found.seconds)}"
        typer.echo(time)
    for warning in found.warnings:
        print_message(f"warning: {warning}")
