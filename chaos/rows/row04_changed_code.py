"""Row 4: in mid-run, workers of another release replace the current one, and back again.

Each run passes between the current code and the changed code of ``chaos.releases`` at seeded
instants, by SIGKILL and SIGTERM in turn. The first instant comes so early that the changed code
plans the chunks whose size it changes. The queue also holds a job with an unknown field, and a job
of a kind that has no handler.
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
from harness.waiting import POLL_SECONDS, until
from harness.world import QUICK_TAKEOVER, World

from chaos.purchases import Losses
from chaos.releases import SIZE, make_release
from chaos.scorecard import Context, Row
from chaos.standard_run import (
    RUN_SECONDS_MAX,
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
# Wake-ups of these kinds were for the other release. They are hints, so losing them is harmless.
_EXPECTED_LETTERS = ["chunk", "piece", OBSOLETE]
_numbers = itertools.count(1)


class RestartCounts:
    """Counts of restarts and of their traces in the database."""

    restarts = 0
    changed_workers = 0
    small_chunks = 0
    obsolete = 0
    other_letters = 0


def on_release(world: World, release: str) -> AbstractAsyncContextManager[ReadyProcess]:
    """A loaded worker process on another release, which a fork of this process cannot run."""
    log = world.directory / f"worker-{next(_numbers)}.log"
    return ready_process(
        [worker_process.__file__], {**world.environment, "PYTHONPATH": release}, log
    )


async def campaign(context: Context) -> list[Figure]:
    """Runs that pass between the two releases."""
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
        # At the first instant the changed code takes over, at the second the current code again.
        equal("workers on changed code", counts.changed_workers, runs * (times // 2)),
        at_least("chunks of the changed size", counts.small_chunks, runs),
        equal("dead letters of a kind without a handler", counts.obsolete, runs),
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
            # Loaded in advance, so that it begins at once.
            successor = await workers.enter_async_context(on_release(world, on[(index + 1) % 2]))
            worker.begin()

            # The last worker may have gone past this instant: its successor still has its turn.
            async def is_time(calls: float = calls, before: int = index) -> bool:
                has_turn = len(await world.query("SELECT 1 FROM workers")) > before
                return (has_turn and len(world.sim.log) >= calls) or await ended()

            await until(
                is_time, f"call {calls:.0f}", seconds=RUN_SECONDS_MAX, poll_seconds=POLL_SECONDS
            )
            counts.restarts += worker.is_running
            await worker.end((signal.SIGKILL, signal.SIGTERM)[(index + number) % 2])
            await losses.count(world)
            worker = successor
        worker.begin()
        await totals.add(world, run_id, reference, losses)
        await _count_traces(world, counts)


async def _enqueue(world: World, run_id: UUID) -> None:
    queue = world.services.queue
    payload = {"run_id": str(run_id), "since": "release 3"}
    await queue.enqueue_job(Job("serp_batch_processing", payload))
    await queue.enqueue_job(Job(OBSOLETE, {"landscape": 1}))


async def _count_traces(world: World, counts: RestartCounts) -> None:
    """Count the traces of the restarts in the database, once the queue is empty."""

    async def is_empty() -> bool:
        return not await world.query("SELECT 1 FROM queued_jobs")

    await until(is_empty, "the queue to be empty", seconds=RUN_SECONDS_MAX)
    changed = await world.query("SELECT 1 FROM workers WHERE host LIKE '% release 2'")
    small = await world.query(
        "SELECT 1 FROM chunks c JOIN pipeline_phase_status l ON l.id = c.lane_id"
        " WHERE l.phase_name = 'company_enrichment_serp' AND c.planned = :size",
        size=SIZE,
    )
    # Other runs add to the same counts, so no sum contains an await.
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
    passes="the run completes like an undisturbed one",
    campaign=campaign,
    switched_off=(
        "The timer issued each wake-up once: wake-ups of the other release's kind were lost for"
        " good, and a run made no progress until the campaign timed out."
    ),
)
