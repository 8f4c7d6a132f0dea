"""Row 5: a provider is down for ten minutes of virtual time.

Items go through the real chunk worker, all chunks at once. While nothing is due, time skips ahead.
The simulator uses the same clock, so its log has the time of each call. No call may come between
the burst that opens the breaker and the end of the time-out. The bound on probes follows from the
settings alone.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from harness.figures import Figure, at_least, at_most, equal, zero
from harness.guarded import rows
from harness.inline import TravelClock

from chaos.scorecard import Context, Row
from chaos.search_client import OPERATION, PROVIDER, policy
from chaos.search_worker import SearchWorker, search_worker
from serpline.domain.breaker_settings import JITTER, BreakerSettings
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator

OUTAGE_SECONDS = 600.0
SETTINGS = BreakerSettings(failure_threshold=10, success_threshold=2, timeout_seconds=300)
AT_ONCE, CHUNKS = 4, 6
IN_FLIGHT = AT_ONCE * CHUNKS
RATE_PER_SECOND = 60.0
CALLS_OF_FULL_RATE = 20
# Calls in flight when the breaker opened end long before this.
BURST_SECONDS = 10.0
CLOSED_SECONDS_MIN = SETTINGS.timeout_seconds * (1 - JITTER)
# The time-outs are at least nine tenths of 300 and 600 s: the second ends after the outage.
HALF_OPENINGS = 1
assert CLOSED_SECONDS_MIN < OUTAGE_SECONDS < 3 * CLOSED_SECONDS_MIN
PROBES_MAX = HALF_OPENINGS * SETTINGS.success_threshold
DOWN = {"provider": PROVIDER, "fault": "503", "for_seconds": OUTAGE_SECONDS}


async def until_done(worker: SearchWorker) -> None:
    """Work until every item has ended."""
    while True:
        if await worker.work_due_chunks(CHUNKS):
            continue
        seconds = await worker.seconds_to_next_check()
        if seconds is None:
            return
        worker.skip_time(max(0.05, seconds))


async def campaign(context: Context) -> Sequence[Figure]:
    """Work with a healthy provider, through its outage, and until all items are done."""
    chunk = context.sized(50, 500)
    clock = TravelClock()
    how = policy(breaker_settings=SETTINGS, rate_per_second=RATE_PER_SECOND)
    config = SimulatorConfig(seed=context.seed, clock=clock, latency_seconds={PROVIDER: 0.05})
    async with (
        context.database() as url,
        Simulator(config) as sim,
    ):
        size = {"chunk_size": chunk, "at_once": AT_ONCE}
        async with search_worker(url, sim.environment(), how, clock, **size) as worker:
            await worker.start([f"well {n}" for n in range(chunk)])
            await worker.work_due_chunks(CHUNKS)
            sim.set_faults([DOWN])
            await worker.start([f"item {n}" for n in range(chunk * CHUNKS)])
            await until_done(worker)
            database = worker.client.database
            ((attempts,),) = await rows(database, "SELECT sum(attempts) FROM items")
            states = await rows(database, "SELECT status, count(*) FROM items GROUP BY 1")
    log = sorted(
        (datetime.fromisoformat(entry.at), entry.fault) for entry in sim.log.of(PROVIDER, OPERATION)
    )
    failed = [at for at, fault in log if fault]
    # The breaker opens no earlier than at the failure that reaches the threshold.
    opened_at = failed[SETTINGS.failure_threshold - 1]
    after = [(at - opened_at).total_seconds() for at, _ in log]
    quiet_seconds = min(seconds for seconds in after if seconds > BURST_SECONDS)
    probes = sum(1 for at in failed if (at - opened_at).total_seconds() > BURST_SECONDS)
    done = dict(map(tuple, states)).get("completed", 0)
    # From the good probe that closes the breaker.
    good = [at for at, _ in log if at > failed[-1]][SETTINGS.success_threshold - 1 :]
    return [
        at_most(
            "calls in the outage", len(failed), SETTINGS.failure_threshold + IN_FLIGHT + PROBES_MAX
        ),
        at_least("seconds from opening to the first probe", quiet_seconds, CLOSED_SECONDS_MIN),
        at_most("probes in the outage", probes, PROBES_MAX),
        zero("attempts used by refused calls", attempts - len(failed)),
        equal("items completed", done, chunk * (CHUNKS + 1)),
        at_most("seconds from closing to full rate", full_rate_after(good), 5),
    ]


def full_rate_after(calls: Sequence[datetime]) -> float:
    """Seconds from the first call until the rate reaches nine tenths of its limit."""
    span = timedelta(seconds=CALLS_OF_FULL_RATE / RATE_PER_SECOND / 0.9)
    for first, last in zip(calls, calls[CALLS_OF_FULL_RATE:], strict=False):
        if last - first <= span:
            return (last - calls[0]).total_seconds()
    return float("inf")


ROW = Row(
    5,
    "provider down 10 minutes (virtual time), threshold 10, timeout 300 s",
    "calls in the outage ≤ 10 + in flight + 2 probes; the first probe ≥ 270 s after opening; no"
    " attempt used; full rate within 5 s of closing",
    campaign,
    "A breaker that never opens (no `must_open`): 300 calls reached the dead provider, 36 are"
    " allowed. Three tenths of the time-out, never doubled: 12 probes, 2 are allowed, the first"
    " after 95 s. No bound on half-open permits: 5 probes (short forms).",
    (
        "tests/integration/test_guard_breakers.py"
        "::test_a_provider_down_for_ten_minutes_costs_a_handful_of_calls",
        "tests/integration/test_guard_breakers.py::test_half_open_probes_never_exceed_the_permits",
        "tests/integration/test_breaker_waits.py::test_closing_wakes_what_waits_and_nothing_else",
        "tests/integration/pipeline/test_worker.py"
        "::test_a_snooze_sets_the_next_check_and_uses_no_attempt",
    ),
)
