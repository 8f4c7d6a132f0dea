"""Row 4: the worker is replaced in mid-run, by one of another release, and back again.

Each run is handed on at seeded instants, by SIGKILL and by SIGTERM in turn, between the code as it
is and the code of ``chaos.releases``; the first instant comes so early that the changed code plans
what it cuts otherwise. In the queue there are also a job with a field that nobody knows, and one
of a kind that nobody serves any more.
"""

import itertools
import signal
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from uuid import UUID

from harness import worker_process
from harness.figures import Figure, at_least, equal, zero
from harness.ready_process import ReadyProcess, ready_process
from harness.waiting import until
from harness.world import QUICK_TAKEOVER, World

from chaos.releases import SIZE, make_release
from chaos.scorecard import Context, Row
from chaos.standard_run import (
    RUN_SECONDS_MAX,
    Losses,
    RunTotals,
    Undisturbed,
    has_ended,
    standard_world,
    start,
    two_at_a_time,
    undisturbed,
)
from serpline.queueing import Job

PAIRS = 24
OBSOLETE = "landscape_report"
# Wake-ups of these kinds were meant for the other release: hints that are lost, and not missed.
_EXPECTED_LETTERS = ["chunk", "piece", OBSOLETE]
_numbers = itertools.count(1)


class RestartCounts:
    """What the database tells of the restarts."""

    restarts = 0
    changed_workers = 0
    small_chunks = 0
    obsolete = 0
    other_letters = 0


def on_release(world: World, release: str) -> AbstractAsyncContextManager[ReadyProcess]:
    """A loaded worker process on a release of its own, which no fork of this one's code can be."""
    log = world.directory / f"worker-{next(_numbers)}.log"
    return ready_process(
        [worker_process.__file__], {**world.environment, "PYTHONPATH": release}, log
    )


async def campaign(context: Context) -> list[Figure]:
    """Runs that are handed to and fro between the two releases."""
    pairs, runs, times = context.sized((4, 1, 2), (PAIRS, 6, 4))
    folder = context.folder("releases")
    releases = [str(make_release(folder / name, changed=name == "2")) for name in ("1", "2")]
    reference = await undisturbed(context, pairs)
    totals, counts = RunTotals(), RestartCounts()
    await two_at_a_time(
        _restarted_run(context, reference, number, times, releases, totals, counts)
        for number in range(runs)
    )
    return [
        equal("restarts", counts.restarts, runs * times),
        # With the first instant the changed code takes over, with the second the old one again.
        equal("workers on changed code", counts.changed_workers, runs * (times // 2)),
        at_least("chunks as the changed code cuts them", counts.small_chunks, runs),
        equal("dead letters of a kind nobody serves", counts.obsolete, runs),
        zero("other dead letters", counts.other_letters),
        *totals.figures(),
    ]


async def _restarted_run(
    context: Context,
    reference: Undisturbed,
    number: int,
    times: int,
    on: Sequence[str],
    totals: RunTotals,
    counts: RestartCounts,
) -> None:
    """One run, from a worker on the first of two releases to one on the second, and back."""
    rng = context.random("restarts", number)
    slice_calls = reference.calls * 0.9 / times
    instants = [rng.uniform(1, 10)] + [(n + rng.random()) * slice_calls for n in range(1, times)]
    losses = Losses()
    async with (
        standard_world(
            context, f"handed-on-{number}", reference.pairs, None, **QUICK_TAKEOVER
        ) as world,
        AsyncExitStack() as workers,
    ):
        run_id = await start(world)
        ended = partial(has_ended, world, run_id)
        await _enqueue(world, run_id)
        worker = await workers.enter_async_context(on_release(world, on[0]))
        for index, calls in enumerate(instants):
            # Loaded beforehand, so that it begins at once.
            following = await workers.enter_async_context(on_release(world, on[(index + 1) % 2]))
            worker.begin()

            async def is_time(calls: float = calls) -> bool:
                return len(world.sim.log) >= calls or await ended()

            await until(is_time, f"call {calls:.0f}", seconds=RUN_SECONDS_MAX)
            counts.restarts += worker.is_running
            await worker.end((signal.SIGKILL, signal.SIGTERM)[(index + number) % 2])
            await losses.count(world)
            worker = following
        worker.begin()
        await totals.add(world, run_id, reference, losses)
        await _count_traces(world, counts)


async def _enqueue(world: World, run_id: UUID) -> None:
    queue = world.services.queue
    payload = {"run_id": str(run_id), "since": "release 3"}
    await queue.enqueue_job(Job("serp_batch_processing", payload))
    await queue.enqueue_job(Job(OBSOLETE, {"landscape": 1}))


async def _count_traces(world: World, counts: RestartCounts) -> None:
    """Add up what the restarts left in the database, once the queue is empty."""

    async def is_empty() -> bool:
        return not await world.query("SELECT 1 FROM queued_jobs")

    await until(is_empty, "the queue to be empty", seconds=RUN_SECONDS_MAX)
    changed = await world.query("SELECT 1 FROM workers WHERE host LIKE '% release 2'")
    small = await world.query(
        "SELECT 1 FROM chunks c JOIN pipeline_phase_status l ON l.id = c.lane_id"
        " WHERE l.phase_name = 'company_enrichment_serp' AND c.planned = :size",
        size=SIZE,
    )
    # Other runs add theirs meanwhile, so nothing is awaited within a sum.
    counts.changed_workers += len(changed)
    counts.small_chunks += len(small)
    for letter in await world.query("SELECT job_type FROM dead_letters"):
        counts.obsolete += letter["job_type"] == OBSOLETE
        counts.other_letters += letter["job_type"] not in _EXPECTED_LETTERS


ROW = Row(
    number=4,
    test=(
        f"restart on changed code in mid-run, and back: 6 runs of {PAIRS} pairs × 4, SIGKILL and"
        " SIGTERM in turn"
    ),
    passes="run completes, as if it had not been disturbed",
    campaign=campaign,
    switched_off=(
        "The timer woke once what was due, and never again: wake-ups of the other release's kind"
        " were gone for good, and a run stood still until the campaign gave it up."
    ),
)
