"""``serpline doctor``: check this machine, the settings and the providers."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from serpline.cli.common import (
    JsonFlag,
    configure_logging,
    load_settings,
    print_json,
    print_message,
    run,
)
from serpline.cli.tables import show_table

if TYPE_CHECKING:
    from serpline.cli.checks import Check

BROKEN = 2


def doctor(ctx: typer.Context, as_json: JsonFlag = False) -> int:
    """Check Python, data directory, disk, database and providers. Exit code 2 if one is broken."""
    settings = load_settings(ctx)
    configure_logging(settings)

    async def run_checks() -> "list[Check]":
        from serpline.cli.checks import run_checks

        return await run_checks(settings)

    checks = run(run_checks())
    broken = [check for check in checks if check.status == "broken"]
    if as_json:
        print_json({"ok": not broken, "checks": [asdict(check) for check in checks]})
    else:
        show_table(["check", "status", "details"], [[c.name, c.status, c.words] for c in checks])
        for check in broken:
            print_message(f"{check.name}: {check.words}")
    return BROKEN if broken else 0
