"""``serpline doctor``: whether this machine, its settings and its providers are fit to work."""

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
    show_table,
)

if TYPE_CHECKING:
    from serpline.cli.checks import Check

BROKEN = 2


def doctor(ctx: typer.Context, as_json: JsonFlag = False) -> int:
    """Check Python, settings, data, database and providers; exit code 2 if anything is broken."""
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
        show_table(["check", "status", "words"], [[c.name, c.status, c.words] for c in checks])
        for check in broken:
            print_message(f"{check.name}: {check.words}")
    return BROKEN if broken else 0
