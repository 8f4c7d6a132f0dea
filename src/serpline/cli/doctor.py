"""``serpline doctor``: whether this machine, its settings and its providers are fit to work."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from serpline.cli.common import (
    JsonFlag,
    configure_logging,
    emit,
    run,
    say,
    settings_of,
    show_table,
)

if TYPE_CHECKING:
    from serpline.cli.checks import Check

UNFIT = 2


def doctor(ctx: typer.Context, as_json: JsonFlag = False) -> int:
    """Check Python, settings, data, database and providers; exit code 2 if anything is broken."""
    settings = settings_of(ctx)
    configure_logging(settings)

    async def examine() -> "list[Check]":
        from serpline.cli.checks import examine

        return await examine(settings)

    checks = run(examine())
    broken = [check for check in checks if check.status == "broken"]
    if as_json:
        emit({"ok": not broken, "checks": [asdict(check) for check in checks]})
    else:
        show_table(["check", "status", "words"], [[c.name, c.status, c.words] for c in checks])
        for check in broken:
            say(f"{check.name}: {check.words}")
    return UNFIT if broken else 0
