"""Row 14: items that kill their worker are isolated; outside kills isolate no item.

Scripted phases: a poison item sends SIGKILL to its own process in the middle of its chunk. Workers
of innocent items are killed at seeded instants: at first they own several chunks of many items, and
once the chunks are suspect, smaller and smaller groups down to one item.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from harness.figures import Figure, at_least, at_most, equal, zero
from harness.inline import METRICS
from harness.scripted_workers import QUICK
from harness.waiting import until

from chaos.respawning_pool import RespawningPool, respawning_pool
from chaos.scorecard import Context, Row
from serpline.domain.states import ENDED_RUNS
from serpline.pipeline.quarantine import ALONE_DEATHS_MAX
from serpline.store.runs.chunks import SUSPECT_DEATHS

WORKERS = 3
WAIT_SECONDS = 150.0
INNOCENT_SECONDS_MAX = 600.0
PAUSE_SECONDS_MAX = 1.0
_OWNERS = (
    "SELECT DISTINCT w.pid FROM chunks c JOIN workers w ON w.id = c.owner"
    " WHERE c.status = 'owned' ORDER BY 1"
)
_RUNNING = "SELECT count(*) FROM pipeline_executions WHERE status IN ('pending', 'running')"
_MOST_ITEM_DEATHS = "SELECT coalesce(max(deaths), 0) FROM items"


@asynccontextmanager
async def open_pool(context: Context, name: str, chunk_size: int) -> AsyncIterator[RespawningPool]:
    """Workers that detect a death quickly, over a database of their own."""
    async with (
        context.database() as url,
        respawning_pool(
            url, context.folder(name), workers=WORKERS, chunk_size=chunk_size, environment=QUICK
        ) as workers,
    ):
        yield workers


async def poisoned(context: Context) -> list[Figure]:
    """Poison in the middle of a chunk, by the order of keys; two items in the full form."""
    chunk_size = context.sized(5, 50)
    poison = [f"POISON-{n}" for n in range(context.sized(1, 2))]
    innocent = [f"DONE-{n:03}" for n in range(chunk_size * 3 // 2)]
    innocent += [f"RETRY0-{n:03}" for n in range(chunk_size)]
    async with open_pool(context, "poisoned", chunk_size) as workers:
        harness = workers.harness
        run_id = await harness.start({METRICS: [*innocent, *poison]}, lanes=[METRICS])

        async def is_over() -> bool:
            return await harness.status(run_id) in ENDED_RUNS

        await until(is_over, "the poisoned run's end", seconds=WAIT_SECONDS)
        items, results = await harness.items(run_id), await harness.results(run_id)
        killed = workers.exit_codes[-signal.SIGKILL]
    failed = {name: row["error_category"] for name, row in items.items()}
    isolated = [name for name, category in failed.items() if category == "poison"]
    # One death with the whole chunk in flight. Then each item in a tenth of it, since two poison
    # items need not be in the same tenth of the rest. Then each alone.
    narrowed = 1 + len(poison) * (context.sized(0, 1) + ALONE_DEATHS_MAX)
    return [
        equal("poison items isolated", len({*isolated} & {*poison}), len(poison)),
        zero("other items isolated", len({*isolated} - {*poison})),
        equal("neighbours with a result", len({*results} & {*innocent}), len(innocent)),
        zero("results of poison, or duplicates", len(results) - len({*results} & {*innocent})),
        at_most("workers killed by poison", killed, SUSPECT_DEATHS + narrowed),
    ]


async def innocent(context: Context) -> list[Figure]:
    """Kill workers at random until enough victims owned a chunk."""
    kills, size = context.sized(6, 200), context.sized(120, 600)
    rng = context.random("kills")
    names = [f"SLOW-{n:04}" for n in range(size)]
    hit = most_item_deaths = 0
    started: list[UUID] = []
    async with (
        open_pool(context, "innocent", context.sized(20, 25)) as workers,
        asyncio.timeout(INNOCENT_SECONDS_MAX),
    ):
        harness = workers.harness
        while hit < kills or await harness.one(_RUNNING):
            if hit < kills and await harness.one(_RUNNING) < 2:
                started.append(await harness.start({METRICS: names}, lanes=[METRICS]))
            await asyncio.sleep(rng.uniform(0, PAUSE_SECONDS_MAX))
            if hit < kills and (running := workers.running()):
                victim = rng.choice(running)
                owners = await harness.column(_OWNERS)
                hit += workers.kill(victim) and victim in owners
            most_item_deaths = max(most_item_deaths, await harness.one(_MOST_ITEM_DEATHS))
        deaths = await harness.one("SELECT max(deaths) FROM chunks")
        results = [await harness.results(run_id) for run_id in started]
        isolated = await harness.one("SELECT count(*) FROM items WHERE status = 'failed'")
    return [
        at_least("kills of workers that owned a chunk", hit, kills),
        zero("innocent items isolated", isolated),
        zero("innocent items without a result", sum(size - len({*found}) for found in results)),
        zero("results written twice", sum(len(found) - len({*found}) for found in results)),
        at_least("most deaths of one chunk", deaths, context.sized(1, 4)),
        at_least("most deaths counted for one item", most_item_deaths, context.sized(0, 2)),
    ]


async def campaign(context: Context) -> Sequence[Figure]:
    """Both parts side by side: a death takes time, not work."""
    parts = await asyncio.gather(poisoned(context), innocent(context))
    return [*parts[0], *parts[1]]


ROW = Row(
    14,
    "items that kill their worker; 200 kills from outside",
    "exactly the poison items are isolated, all others finish; kills isolate no item",
    campaign,
    "No chunk ever suspect: the run with poison had not ended after a minute. Each death counted"
    " for every item of the dead worker's chunks, not for the marked ones alone: 23 neighbours were"
    " isolated with the poison, and the 200 kills isolated 2,931 innocent items.",
    covered_by=(
        "tests/faults/test_worker_deaths.py::test_an_item_that_kills_its_workers_is_isolated",
        "tests/faults/test_worker_deaths.py::test_a_storm_of_kills_loses_and_doubles_nothing",
        "tests/integration/pipeline/test_quarantine.py",
        "tests/unit/pipeline/test_quarantine.py::test_poison_is_isolated_within_so_many_deaths",
    ),
)
