"""``make chaos``: run the scorecard, print it, and write ``docs/reliability.md``.

make chaos                               every row, with a random seed
make chaos ARGS="--seed 7 --rows 3,14"   repeat these rows exactly
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from harness.databases import make_template
from harness.figures import Figure

from chaos.report import Outcome, document, line
from chaos.scorecard import Context, Row, all_rows
from serpline.core.logging import configure
from serpline.store.embedded.server import ensure_server

REPORT = Path(__file__).parent.parent / "docs" / "reliability.md"


def run_row(row: Row, context: Context) -> Outcome:
    """Run one campaign. A campaign that raises has failed, and its row shows the error."""
    started = time.perf_counter()
    try:
        figures, error = asyncio.run(_campaign(row, context)), None
    except Exception as broken:  # noqa: BLE001  the other rows still run
        traceback.print_exc()
        figures, error = (), f"{type(broken).__name__}: {broken}".splitlines()[0][:200]
    return Outcome(row, tuple(figures), time.perf_counter() - started, error)


async def _campaign(row: Row, context: Context) -> Sequence[Figure]:
    return await row.campaign(context)


def run_rows(rows: Sequence[Row], seed: int, *, full: bool) -> list[Outcome]:
    """Run the rows one after another on a temporary server; print each as it ends."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="serpline-chaos-") as folder:
        server = ensure_server(Path(folder) / "data")
        try:
            template = asyncio.run(make_template(server))
            for row in rows:
                directory = Path(folder) / f"row-{row.number:02}"
                directory.mkdir()
                context = Context(seed, full, directory, server, template)
                outcomes.append(run_row(row, context))
                sys.stdout.write(line(outcomes[-1]) + "\n")
                sys.stdout.flush()
        finally:
            server.stop()
    return outcomes


def main() -> int:
    """Exit code 0 if every row passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**6))
    parser.add_argument("--rows", default="", help="numbers, separated by commas; default: all")
    parser.add_argument("--short", action="store_true", help="the short form that the tests run")
    options = parser.parse_args()
    configure("CRITICAL")
    known = {str(row.number): row for row in all_rows()}
    chosen = [number for number in options.rows.split(",") if number]
    for number in chosen:
        if number not in known:
            parser.error(f"--rows: {number!r} is not one of {', '.join(known)}")
    rows = [row for number, row in known.items() if not chosen or number in chosen]
    sys.stdout.write(f"seed {options.seed}\n")
    outcomes = run_rows(rows, options.seed, full=not options.short)
    if not chosen and not options.short:
        REPORT.write_text(document(outcomes, options.seed), encoding="utf-8")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
