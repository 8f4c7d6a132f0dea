"""``serpline schedule doctor``: compare provider-driven schedules with the provider's batches."""

from typing import Annotated, Any

import typer

from serpline.cli.common import JsonFlag, print_json, print_message, read_name, run, services
from serpline.cli.doctor import BROKEN
from serpline.cli.tables import Column, show_table
from serpline.domain.errors import CallRefused, ProviderError, UserError

_COLUMNS = ("schedule", "content_type", "provider_batch_id", "finding", "detail", "batch")
_DROPS = {"batch": 1, "content_type": 2}


def register(app: typer.Typer) -> None:
    """Add the command to the group ``schedule``."""
    app.command("doctor")(doctor)


def doctor(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Name of a schedule.", callback=read_name),
    ] = None,
    check_all: Annotated[
        bool, typer.Option("--all", help="All schedules, and batches of none of them.")
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Compare schedules with driver=provider with the provider's batches. Exit code 2: they differ.

    It changes nothing. Workers bring differences in order by themselves.
    """
    if (name is None) is not check_all:
        raise UserError("give the name of a schedule, or --all")
    findings = run(_diagnose(ctx, name))
    different = [one for one in findings if one["finding"] != "ok"]
    if as_json:
        print_json(findings)
    elif findings:
        named = [Column(key, drop=_DROPS.get(key, 0)) for key in _COLUMNS]
        show_table(named, [[one[key] or "" for key in _COLUMNS] for one in findings])
    elif name is None:
        print_message("no schedule has driver=provider, and the provider has no such batch")
    else:
        print_message(f"schedule {name!r} does not have driver=provider, nor batches left of it")
    if different:
        print_message(f"{len(different)} of {len(findings)} findings are differences")
    return BROKEN if different else 0


async def _diagnose(ctx: typer.Context, name: str | None) -> list[dict[str, Any]]:
    from serpline.app.tools import open_tools
    from serpline.providers.scaleserp.errors import PROVIDER
    from serpline.robustness.guard import CallScope
    from serpline.scheduling.provider_doctor import diagnose

    async with services(ctx) as opened:
        if name is not None:
            await opened.schedules.get(name)
        async with open_tools(opened.settings, opened.database, opened.clock) as tools:

            async def call(one: Any) -> Any:
                scope = CallScope(freshness="schedule doctor", ttl_seconds=0.0)
                try:
                    return await tools.guard.execute(one, scope)
                except (CallRefused, ProviderError) as error:
                    raise UserError(f"cannot list the provider's batches: {error}") from None

            zone = opened.settings.scaleserp_timezone
            policy, now = tools.guard.policy(PROVIDER), opened.clock.now()
            return await diagnose(opened.database, call, tools.scaleserp, zone, policy, now, name)
