"""The server's cost of each statement per keyword × market pair, in a large run and a small one.

Both are whole runs of all phases and content types, by two worker processes against the simulated
providers. A statement's cost is the server's processor time (``bench.statements``). Statements
below a hundredth of the large run's time are counted together: alone, an extra millisecond would
show as growth.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from uuid import UUID

from harness.figures import Figure, at_most

from bench.place import Place
from bench.statements import LOGGED, Cost, costs
from serpline.config.run import PipelineConfig
from serpline.core.clock import SystemClock
from serpline.domain.states import ENDED_RUNS, RunStatus
from serpline.imports.reading import parse_keywords
from serpline.pipeline.service import PipelineService
from serpline.robustness.policies import equal_rates
from serpline.store import projects
from serpline.store.database import Database
from serpline.store.runs import runs

TITLE = "a run of 20,000 pairs beside one of 550"
FEW, MANY, ANALYSIS_DEPTH, WORKERS = 550, 20_000, 1, 2
EXPENSIVE_SHARE = 0.01
POLL_SECONDS, SECONDS_MAX = 0.5, 7200.0


async def measure(place: Place) -> Sequence[Figure]:
    """The growth of the worst statement, and of all statements together."""
    few, many = place.sized(FEW), place.sized(MANY)
    small, large = await _costs(place, few), await _costs(place, many)
    expensive, rest = _divided(large)
    rows = [(name, small.get(name, Cost()), cost) for name, cost in expensive.items()]
    rows.append(("the others", _sum(small, rest), _sum(large, rest)))
    ratios = {}
    for name, of_few, of_many in sorted(rows, key=lambda row: -row[2].seconds):
        ratio = _ratio(of_few, few, of_many, many)
        ratios[name] = ratio
        place.notes.append(
            f"{ratio:.2f} ×: {of_few.seconds / few * 1e6:,.0f} µs in"
            f" {of_few.calls / few:.3f} calls a pair among {few:,},"
            f" {of_many.seconds / many * 1e6:,.0f} µs in {of_many.calls / many:.3f} among"
            f" {many:,}: {name[:160]}"
        )
    worst = max(ratios, key=lambda name: ratios[name])
    everything = _ratio(_sum(small, set(small)), few, _sum(large, set(large)), many)
    return [
        at_most(
            f"cost per pair of the statement that grows most ({worst[:60]})", ratios[worst], 1.25
        ),
        at_most("cost per pair of all statements", everything, 1.25),
    ]


def _ratio(small: Cost, few: int, large: Cost, many: int) -> float:
    return (large.seconds / many) / max(small.seconds / few, 1e-9)


def _divided(large: Mapping[str, Cost]) -> tuple[dict[str, Cost], set[str]]:
    total = sum(cost.seconds for cost in large.values())
    expensive = {n: c for n, c in large.items() if c.seconds >= EXPENSIVE_SHARE * total}
    return expensive, set(large) - set(expensive)


def _sum(found: Mapping[str, Cost], names: set[str]) -> Cost:
    chosen = [cost for name, cost in found.items() if name in names]
    return Cost(sum(cost.calls for cost in chosen), sum(cost.seconds for cost in chosen))


async def _costs(place: Place, pairs: int) -> dict[str, Cost]:
    """The statements of one whole run in a database of its own."""
    log = place.server.log_file
    with place.fresh_database() as name:
        database = await Database.connect(place.server.url(name))
        try:
            await _import(database, pairs)
            for setting in LOGGED:
                place.admin(f"ALTER DATABASE {name} SET {setting}")
            offset = log.stat().st_size
            async with place.process("bench.simulated") as simulator:
                assert simulator.stdout is not None
                variables = json.loads(await simulator.stdout.readline())
                environment = variables | place.worker_environment(
                    name, provider_rates=equal_rates(1e4), batch_poll_seconds=1
                )
                async with place.processes("bench.worker", WORKERS, environment):
                    config = PipelineConfig(analysis_depth=ANALYSIS_DEPTH)
                    service = PipelineService(database, SystemClock())
                    async with asyncio.timeout(SECONDS_MAX):
                        await _wait_for_end(database, await service.start(config))
        finally:
            await database.close()
        return costs(log, offset)


async def _import(database: Database, pairs: int) -> None:
    lines = "".join(f"how to choose a thing of kind {n},US\n" for n in range(pairs))
    rows = parse_keywords(f"keyword,market\n{lines}".encode()).require_clean().rows
    async with database.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await projects.import_keywords(conn, rows)


async def _wait_for_end(database: Database, run_id: UUID) -> None:
    while True:
        async with database.transaction() as conn:
            run = await runs.get(conn, run_id)
        if run is not None and run.status in ENDED_RUNS:
            break
        await asyncio.sleep(POLL_SECONDS)
    if run.status not in (RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_ERRORS):
        raise RuntimeError(f"the run is {run.status}: {run.error_message}")
