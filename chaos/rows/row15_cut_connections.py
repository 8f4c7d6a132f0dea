"""Row 15: the workers' connections to the database are cut repeatedly, at the worst instants.

Each cut is one of five, chosen at random: the answer to a successful COMMIT is lost; a COMMIT is
lost on its way; the answer to any statement is lost (a heartbeat, the fetch of a job); the server
ends some sessions; or all connections of one worker are cut and refused for a third of the time
after which it is declared dead. No worker dies, so no call may be paid twice or stay without an
outcome, and no worker may be taken over.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID

from harness.figures import Figure, at_least, zero
from harness.waiting import until
from harness.world import World, open_world
from sqlalchemy.engine import make_url

from chaos.proxy import CutPoint, Proxy, open_proxy
from chaos.scorecard import Context, Row
from chaos.standard_run import (
    RunTotals,
    Undisturbed,
    has_ended,
    keywords,
    paged_simulator,
    start,
    undisturbed,
)
from serpline.store.embedded.files import SOCKET_NAME

WORKERS = 2
# A silent worker is declared dead soon. A worker that is cut off for a third of that time is silent
# for more than half of it: its last heartbeat may be an interval old, and its next as much later.
DEAD_AFTER_SECONDS = 3.0
SHUT_SECONDS = DEAD_AFTER_SECONDS / 3
SHORT_SILENCE = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "0.3",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": str(DEAD_AFTER_SECONDS),
}
PAIRS = 60
PAUSE_SECONDS_MAX = 0.3
SKIP_MAX = 8
AT_ONCE_MAX = 4
_NAME = "cuts_made"
_SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND starts_with(application_name, :name) AND backend_type = 'client backend'"
    " ORDER BY backend_start, pid"
)
_TERMINATE = "SELECT pg_terminate_backend(pid) AS is_cut FROM unnest(CAST(:pids AS int[])) v(pid)"
_RUNNING_WORKERS = "SELECT 1 FROM workers WHERE ended_at IS NULL"
_UNENDED = "SELECT 1 FROM provider_calls WHERE status IN ('intent', 'unknown')"
_TAKEN_OVER = (
    "SELECT (SELECT count(*) FROM workers WHERE died) AS workers,"
    " (SELECT coalesce(sum(deaths), 0) FROM chunks) AS chunks"
)


_ENDED, _SHUT = "ended by the server", "all of a worker's"
KINDS = (*CutPoint, _ENDED, _SHUT)


class Cuts:
    """The cuts so far, over all runs."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.made: Counter[CutPoint | str] = Counter()
        self.unended = 0
        self.ended = 0
        self.dead_workers = 0
        self.dead_chunks = 0

    @property
    def total(self) -> int:
        """The number of cuts."""
        return self.made.total()

    async def make(
        self, world: World, run_id: UUID, proxies: Sequence[Proxy], rng: random.Random
    ) -> None:
        """Cut until there are enough cuts or the run has ended."""
        deck: list[CutPoint | str] = []
        while self.total < self.wanted and not await has_ended(world, run_id):
            await asyncio.sleep(rng.uniform(0, PAUSE_SECONDS_MAX))
            # Each kind equally often, in random order.
            deck = deck or rng.sample(KINDS, len(KINDS))
            kind, proxy = deck.pop(), rng.choice(proxies)
            if isinstance(kind, CutPoint):
                made = await _cut_at(world, run_id, proxy, kind, rng.randrange(SKIP_MAX))
            elif kind is _SHUT:
                made = bool(await proxy.shut(SHUT_SECONDS))
            else:
                made = await _end_sessions(world, rng)
            # Other runs add to the same counts, so no sum contains an await.
            self.made[kind] += made


async def _cut_at(world: World, run_id: UUID, proxy: Proxy, point: CutPoint, skip: int) -> int:
    """Arm the proxy; wait for the cut or the run's end."""
    before = proxy.cuts_made.total()
    proxy.arm(point, skip)

    async def is_cut() -> bool:
        return proxy.cuts_made.total() > before or await has_ended(world, run_id)

    await until(is_cut, f"a cut at {point.name}")
    return proxy.cuts_made.total() - before


async def _end_sessions(world: World, rng: random.Random) -> int:
    """Make the server end some sessions; returns how many."""
    sessions = [row["pid"] for row in await world.query(_SESSIONS, name=_NAME)]
    victims = rng.sample(sessions, min(len(sessions), rng.randint(1, AT_ONCE_MAX)))
    ended = await world.query(_TERMINATE, pids=victims)
    return sum(row["is_cut"] for row in ended)


async def campaign(context: Context) -> Sequence[Figure]:
    """Run after run until there are enough cuts; two at a time in the full form."""
    reference = await undisturbed(context, context.sized(4, PAIRS))
    totals, cuts = RunTotals(), Cuts(context.sized(12, 500))
    few, lanes = context.sized((1, 1), (40, 2))

    async def one_after_another(lane: int) -> None:
        for number in itertools.count(lane, lanes):
            if cuts.total >= cuts.wanted:
                return
            await _run(context, reference, number, totals, cuts)

    await asyncio.gather(*map(one_after_another, range(lanes)))
    return [
        at_least("cuts", cuts.total, cuts.wanted),
        at_least("lost answers to a COMMIT", cuts.made[CutPoint.ACKNOWLEDGEMENT], few),
        at_least("workers cut off entirely", cuts.made[_SHUT], few),
        *totals.figures(),
        zero("calls without an outcome", cuts.unended),
        zero("workers that exited", cuts.ended),
        zero("workers taken over", cuts.dead_workers),
        zero("deaths counted for chunks", cuts.dead_chunks),
    ]


async def _run(
    context: Context, reference: Undisturbed, number: int, totals: RunTotals, cuts: Cuts
) -> None:
    rng = context.random("cuts", number)
    socket = context.server.socket_dir / SOCKET_NAME
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(context.database())
        # One proxy per worker, so that one worker can be cut off alone.
        proxies = [await stack.enter_async_context(open_proxy(socket)) for _ in range(WORKERS)]
        folder, words = context.folder(f"run-{number}"), keywords(reference.pairs)
        config = paged_simulator(reference.pairs)
        async with open_world(url, folder, words, config=config, **SHORT_SILENCE) as world:
            for proxy in proxies:
                await world.start_worker(SERPLINE_DATABASE_URL=_url_through(proxy, url))

            async def all_run() -> bool:
                return len(await world.query(_RUNNING_WORKERS)) == WORKERS

            # A worker that is cut off during its start exits, and no supervisor runs here.
            await until(all_run, "every worker's first heartbeat")
            run_id = await start(world)
            await cuts.make(world, run_id, proxies, rng)
            await totals.add(world, run_id, reference)
            unended = await world.query(_UNENDED)
            cuts.unended += len(unended)
            cuts.ended += sum(not worker.is_running for worker in world.pool.processes)
            (dead,) = await world.query(_TAKEN_OVER)
            cuts.dead_workers += dead["workers"]
            cuts.dead_chunks += dead["chunks"]


def _url_through(proxy: Proxy, url: str) -> str:
    """The database's URL through the proxy, with named sessions."""
    query = {"application_name": _NAME, "sslmode": "disable", "gssencmode": "disable"}
    way = make_url(url).set(host="127.0.0.1", port=proxy.port, query=query)
    return way.render_as_string(hide_password=False)


ROW = Row(
    15,
    "database connections cut 500 times, including lost commit acknowledgements"
    f" (runs of {PAIRS} pairs, death declared after 3 s of silence, workers cut off for 1 s)",
    "0 duplicates, 0 losses, nothing paid again, no take-over of a running worker",
    campaign,
    "Death declared after one second of silence instead of three: a running worker was taken over"
    " and exited (short form).",
)
