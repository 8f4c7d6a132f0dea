"""``make bench``: take every measure, print it with its bound, and write ``docs/benchmarks.md``.

make bench                                          every measure, in full
make bench ARGS="--only scale,restart --scale 0.1"   these, with a tenth of the items

Exit code 1 if a bound was missed. The bounds hold for the full size on an idle machine.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from harness.databases import make_template

from bench.measures import (
    dsi,
    exports,
    fleet,
    growth,
    idle,
    items,
    peers,
    rate,
    restart,
    scale,
    schedules,
    subjects,
    workers,
)
from bench.place import ROOT, Place
from bench.report import Outcome, document, lines
from serpline.core.logging import configure
from serpline.store.embedded.server import ensure_server

MEASURES: dict[str, ModuleType] = {
    "items": items,
    "peers": peers,
    "scale": scale,
    "restart": restart,
    "workers": workers,
    "idle": idle,
    "fleet": fleet,
    "rate": rate,
    "subjects": subjects,
    "dsi": dsi,
    "exports": exports,
    "growth": growth,
    "schedules": schedules,
}
PAGE = ROOT / "docs" / "benchmarks.md"


async def take(names: Sequence[str], place: Place) -> list[Outcome]:
    """Take measures one after another; print each as it ends."""
    outcomes = []
    for name in names:
        module, started = MEASURES[name], time.perf_counter()
        place.notes = []
        figures, error = [], None
        try:
            figures = await module.measure(place)
        except Exception as broken:  # noqa: BLE001  the other measures still run
            traceback.print_exc()
            error = f"{type(broken).__name__}: {broken}".splitlines()[0][:200]
        seconds = time.perf_counter() - started
        outcomes.append(Outcome(name, module.TITLE, figures, place.notes, seconds, error))
        sys.stdout.write(lines(outcomes[-1]))
        sys.stdout.flush()
    return outcomes


def main() -> int:
    """Measure on a temporary server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"of {', '.join(MEASURES)}; separated by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name] or list(MEASURES)
    if unknown := set(names) - set(MEASURES):
        parser.error(f"--only: {min(unknown)!r} is not one of {', '.join(MEASURES)}")
    configure("WARNING")
    with tempfile.TemporaryDirectory(prefix="serpline-bench-") as folder:
        server = ensure_server(Path(folder) / "data")
        try:
            template = asyncio.run(make_template(server))
            place = Place(server, template, Path(folder), options.scale)
            outcomes = asyncio.run(take(names, place))
        finally:
            server.stop()
    if names == list(MEASURES) and options.scale == 1:
        PAGE.write_text(document(outcomes), encoding="utf-8")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
