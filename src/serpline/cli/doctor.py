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
from serpline.cli.phase_table import phase_rows, show_phases
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
    phases = phase_rows(settings.providers)
    broken = [check for check in checks if check.status == "broken"]
    if as_json:
        found = [asdict(check) for check in checks]
        print_json({"ok": not broken, "checks": found, "phases": phases})
    else:
        show_table(["check", "status", "details"], [[c.name, c.status, c.words] for c in checks])
        show_phases(phases)
        for check in broken:
            print_message(f"{check.name}: {check.words}")
    return BROKEN if broken else 0
