"""Row 8: a thousand cancelled calls leak no permit, socket, slot or reservation.

Most are cancelled with the breaker closed, at a seeded instant from their start until long after
the request was sent. Then the breaker is opened, and its probes are cancelled one by one.
"""

import asyncio
from collections.abc import Sequence

import psutil
from harness.figures import Figure, equal, zero
from harness.guarded import rows
from harness.inline import TravelClock

from chaos.scorecard import Context, Row
from chaos.search_client import BREAKER, SearchClient, policy, search_client
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ProviderError
from serpline.robustness.breakers import BreakerOpen
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator

AT_ONCE = 50
CONCURRENCY = 100
SETTINGS = BreakerSettings(failure_threshold=5, success_threshold=2, timeout_seconds=60)
SLOW = {"provider": "scaleserp", "fault": "slow", "seconds": 600}


async def cancel(client: SearchClient, name: str, count: int, instants: Sequence[float]) -> None:
    """Start ``count`` calls at once and cancel each at its instant, in seconds."""
    tasks = [asyncio.create_task(client.buy(f"{name} {number}")) for number in range(count)]
    loop = asyncio.get_running_loop()
    for task, instant in zip(tasks, instants, strict=True):
        loop.call_later(instant, task.cancel)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def cancel_probe(client: SearchClient, name: str, instant: float) -> None:
    """Cancel a call that holds a half-open permit; retry until it gets one."""
    while True:
        task = asyncio.create_task(client.buy(name))
        await asyncio.wait({task}, timeout=instant)
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(end, asyncio.CancelledError):
            return
        assert isinstance(end, BreakerOpen), end


async def buy_once_permitted(client: SearchClient, name: str) -> None:
    """Retry until the call gets a permit."""
    while True:
        try:
            await client.buy(name)
        except BreakerOpen:
            await asyncio.sleep(0.05)
        else:
            return


def sockets(port: int) -> int:
    """Open connections of this process to the simulator."""
    found = psutil.Process().net_connections("tcp")
    return sum(1 for c in found if c.raddr and c.raddr.port == port and c.status == "ESTABLISHED")


async def campaign(context: Context) -> Sequence[Figure]:
    """Cancel, check, open, cancel probes, check again, then use all slots at once."""
    rng, clock = context.random("instants"), TravelClock()
    total, probes = context.sized(200, 900), context.sized(20, 100)
    how = policy(concurrency=CONCURRENCY, breaker_settings=SETTINGS)
    async with context.database() as url, Simulator(SimulatorConfig(seed=context.seed)) as sim:
        port = int(sim.url.rpartition(":")[2])
        async with search_client(url, sim.environment(), how, clock) as client:
            sim.set_faults([SLOW])
            for group in range(total // AT_ONCE):
                instants = [rng.uniform(0, 0.4) for _ in range(AT_ONCE)]
                await cancel(client, f"group {group}", AT_ONCE, instants)
            await client.guard.flush()
            leaked = sockets(port)
            breaker = client.guard.breakers.get_breaker(BREAKER)
            closed = (await breaker.state()).breaker.state == "closed"
            sim.set_faults([{"provider": "scaleserp", "fault": "500"}])
            for number in range(SETTINGS.failure_threshold):
                try:
                    await client.buy(f"open {number}")
                except ProviderError:
                    continue
            idle = sockets(port)
            clock.ahead_seconds += 100
            clock.frozen_seconds += 100
            sim.set_faults([SLOW])
            for number in range(probes):
                await cancel_probe(client, f"probe {number}", rng.uniform(0.02, 0.1))
            await client.guard.breakers.close()
            probing = (await breaker.state()).breaker
            await client.guard.flush()
            left = await _left(client)
            leaked += max(0, sockets(port) - idle)
            sim.set_faults([])
            for number in range(SETTINGS.success_threshold):
                await buy_once_permitted(client, f"well {number}")
            after = await asyncio.gather(*(client.buy(f"all {n}") for n in range(CONCURRENCY)))
            is_well = (await breaker.state()).breaker.state == "closed"
    return [
        equal("breaker closed after the cancellations", closed, 1),
        zero("permits leaked in half-open", len(probing.permits)),
        zero("sockets leaked", leaked),
        zero("reserved credits leaked", left["reserved"]),
        zero("intents leaked", left["intents"]),
        equal("concurrent calls at the end", len(after), CONCURRENCY),
        equal("breaker closed by good probes at the end", is_well, 1),
    ]


async def _left(client: SearchClient) -> dict[str, float]:
    reserved = await rows(
        client.database, "SELECT coalesce(sum(reserved), 0) FROM provider_budgets"
    )
    intents = await rows(
        client.database, "SELECT count(*) FROM provider_calls WHERE status = 'intent'"
    )
    return {"reserved": float(reserved[0][0]), "intents": intents[0][0]}


ROW = Row(
    8,
    "1,000 cancellations",
    "breaker closed, 0 leaked permits, sockets, reservations",
    campaign,
    "A caller cancelled while it asks for a permit does not give it back: 1 permit leaked (2 before"
    " the fix), and the next probe waited two minutes for the end of its lease.",
    covered_by=(
        "tests/integration/test_guard.py::test_cancellations_leave_nothing_behind",
        "tests/integration/test_guard_breakers.py::test_a_caller_cancelled_while_asking_leaves_no_permit",
        "tests/faults/test_net_faults.py::test_cancelled_calls_leave_no_socket_behind",
        "tests/faults/test_net_faults.py::test_many_calls_cancelled_at_once_free_the_pool",
    ),
)
