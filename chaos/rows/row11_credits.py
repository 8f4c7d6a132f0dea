"""Row 11: eight workers share one budget and are killed. Every credit is within it and explained.

Every worker buys one search after another until the budget refuses. Workers are killed one by one
with calls in flight, each chunk is taken over, and a successor starts. Then the simulator's charges
are compared with our ledger, search by search.
"""

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256

from harness.figures import Figure, at_least, at_most, equal, zero
from harness.guarded import owned_chunk, rows, take_over
from harness.waiting import until

from chaos.scorecard import Context, Row
from chaos.search_client import (
    OPERATION,
    PROVIDER,
    load_process,
    outcome_counts,
    policy,
    search_client,
)
from serpline.core.clock import SystemClock
from serpline.core.ids import digest
from serpline.robustness.ledger import reconcile
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator
from serpline.store.database import Database

CALLERS = 8


async def campaign(context: Context) -> Sequence[Figure]:
    """Buy, kill, continue, and compare."""
    workers, budget, kills = context.sized((3, 300, 2), (8, 1000, 8))
    rng, folder = context.random("kills"), context.folder("logs")
    config = SimulatorConfig(seed=context.seed, latency_seconds={PROVIDER: 0.1})
    async with (
        context.database() as url,
        Simulator(config) as sim,
        search_client(url, sim.environment(), policy()) as client,
    ):
        database = client.database
        chunks: list[int] = []
        open_calls = 0
        processes = []
        for number in range(workers + kills):
            run, chunk, epoch = await owned_chunk(database, number)
            log = folder / f"{number}.log"
            arguments = ["spend", f"worker {number}", str(CALLERS)]
            options = ["--budget", str(budget), "--owner", f"{run}:{chunk}:{epoch}"]
            chunks.append(chunk)
            processes.append(
                await load_process(url, sim.environment(), log, [*arguments, *options])
            )
        for process in processes[:workers]:
            process.begin()
        for number in range(kills):
            target = budget * (number + 1) / (kills + 1) * rng.uniform(0.7, 1.0)

            async def has_spent(target: float = target) -> bool:
                return sim.ledger.spent(PROVIDER) >= target

            await until(has_spent, f"{target:.0f} credits")
            await processes[number].kill()
            open_calls += await _unrecorded(database, chunks[number])
            await take_over(database, chunks[number])
            # As the timer does: the dead worker's reserved credits become possibly paid.
            await reconcile(database, SystemClock())
            processes[workers + number].begin()
        for process in processes[kills:]:
            await outcome_counts(process, 120)
        await reconcile(database, SystemClock())
        calls = await rows(database, "SELECT identity, status, credits FROM provider_calls")
        scopes = await rows(
            database, "SELECT reserved, spent FROM provider_budgets WHERE scope LIKE 'month:%'"
        )
        ours = Counter(bytes(call.identity) for call in calls if call.credits)
        theirs: Counter[bytes] = Counter()
        for entry in sim.log.of(PROVIDER, OPERATION):
            if entry.credits:
                identity = client.search(entry.params["q"]).identity
                theirs[sha256(digest(identity).encode()).digest()] += 1
    unknown = sum(1 for call in calls if call.status == "unknown")
    charged = sim.ledger.spent(PROVIDER)
    ((reserved, spent),) = scopes
    return [
        at_most("credits charged by the simulator", charged, budget),
        equal("credits that our budget explains", float(spent), budget),
        zero("credits still reserved", float(reserved)),
        zero("charges missing from our ledger", (theirs - ours).total()),
        at_least("calls left unknown by kills, at least one", unknown, 1),
        at_most("credits that only we count", float(spent) - charged, unknown),
        at_most("calls left unknown", unknown, open_calls),
    ]


async def _unrecorded(database: Database, chunk: int) -> int:
    """Calls of a chunk in flight, or answered and not recorded: a kill leaves these unknown."""
    (found,) = await rows(
        database,
        f"SELECT count(*) AS n FROM provider_calls WHERE status = 'intent' AND chunk_id = {chunk}",
    )
    return int(found.n)


ROW = Row(
    11,
    "credits: 8 workers, budget of 1,000",
    "the simulator never charges 1,001; after kills, our ledger explains every charge",
    campaign,
    "Reservations not counted against the budget: the simulator charged 311 of 300, our ledger"
    " 314.",
    (
        "tests/integration/test_guard.py::test_a_budget_is_never_overdrawn",
        "tests/integration/test_guard.py::test_the_budgets_equal_the_ledger",
        "tests/integration/test_guard.py::test_the_purchase_of_a_dead_owner_is_taken_over",
        "tests/integration/test_guard.py::test_reconcile_gives_up_orphaned_intents",
        "tests/faults/test_kill_each_phase.py",
    ),
)
