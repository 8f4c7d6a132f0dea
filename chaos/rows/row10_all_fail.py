"""Row 10: every call fails for a minute. Retries stay within the retry budget and attempts.

A breaker would stop the calls at once, so this provider has none: only the retry budget bounds
them. Items go through the real chunk worker in virtual time.
"""

from collections import Counter
from collections.abc import Sequence

from harness.figures import Figure, at_least, at_most
from harness.inline import TravelClock

from chaos.scorecard import Context, Row
from chaos.search_client import OPERATION, PROVIDER, policy
from chaos.search_worker import search_worker
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator

FLOOR_PER_MINUTE = 30.0
ATTEMPTS_MAX = 3
SECONDS, STEP_SECONDS = 60.0, 5.0
FAULT = {"provider": PROVIDER, "fault": "500"}


async def campaign(context: Context) -> Sequence[Figure]:
    """Add items every five seconds; all of them fail and are due for a retry."""
    per_step = context.sized(25, 300)
    clock = TravelClock()
    how = policy(breaker=None, retry_floor=FLOOR_PER_MINUTE)
    async with context.database() as url, Simulator(SimulatorConfig(faults=[FAULT])) as sim:
        size = {"chunk_size": per_step, "at_once": 16}
        async with search_worker(url, sim.environment(), how, clock, **size) as worker:
            began, step = clock.now(), 0
            while (clock.now() - began).total_seconds() < SECONDS:
                step_began = clock.now()
                await worker.start([f"{step} {n}" for n in range(per_step)], ATTEMPTS_MAX)
                await worker.work_due_chunks(4)
                took = (clock.now() - step_began).total_seconds()
                worker.skip_time(max(0.0, STEP_SECONDS - took))
                step += 1
            # On a slow machine the minute is longer, and the floor grows with it.
            minutes = (clock.now() - began).total_seconds() / 60
        tries = Counter(entry.identity for entry in sim.log.of(PROVIDER, OPERATION))
    retries = tries.total() - len(tries)
    return [
        at_least("first attempts", len(tries), step * per_step),
        at_least("retries, at least one", retries, 1),
        at_most("retries", retries, 0.1 * len(tries) + FLOOR_PER_MINUTE * minutes),
        at_most("attempts of one item", max(tries.values()), ATTEMPTS_MAX),
    ]


ROW = Row(
    10,
    "100 % failure for 60 s",
    "retries ≤ 10 % of first attempts + the floor; ≤ max_attempts per item",
    campaign,
    "No retry budget: 513 retries, 60 are allowed.",
    covered_by=(
        "tests/integration/test_guard_limits.py::test_retries_are_bounded_by_the_budget",
        "tests/integration/pipeline/test_worker.py::test_attempts_end_at_the_runs_own_number",
        "tests/integration/pipeline/test_state_tracker.py::test_a_failed_attempt_waits_and_the_last_one_fails",
    ),
)
