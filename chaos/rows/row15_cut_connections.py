"""Row 15: the workers' connections to the database are cut, again and again, at the worst instants.

Each cut is one of five, by chance: the answer to a COMMIT that took effect is lost, a COMMIT is
lost on its way, the answer to any statement is lost (a heartbeat, the fetching of a job), the
server ends some sessions in whatever they are doing, or all connections of one worker are cut and
it gets no other for a third of the time after which its silence is taken for death. Nobody dies of
it, so no call may be paid twice, none may stay without its outcome, and no worker be taken over.
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

from chaos.proxy import Proxy, Strike, proxy
from chaos.scorecard import Context, Row
from chaos.standard_run import Judged, Undisturbed, is_over, keywords, paged, start, undisturbed
from serpline.store.embedded.files import SOCKET_NAME

WORKERS = 2
# Silence is soon taken for death. Who is cut off for a third of that has not been heard of for more
# than half of it until it is back: it has been silent up to a heartbeat before, and its next try
# may be as much later.
DEAD_AFTER_SECONDS = 3.0
SHUT_SECONDS = DEAD_AFTER_SECONDS / 3
THREATENED = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "0.3",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": str(DEAD_AFTER_SECONDS),
}
PAIRS = 60
PAUSE_SECONDS_MAX = 0.3
SKIP_MAX = 8
AT_ONCE_MAX = 4
_NAME = "struck"
_SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND starts_with(application_name, :name) AND backend_type = 'client backend'"
    " ORDER BY backend_start, pid"
)
_TERMINATE = "SELECT pg_terminate_backend(pid) AS is_cut FROM unnest(CAST(:pids AS int[])) v(pid)"
_LIVING = "SELECT 1 FROM workers WHERE ended_at IS NULL"
_UNHEARD = "SELECT 1 FROM provider_calls WHERE status IN ('intent', 'unknown')"
_TAKEN_OVER = (
    "SELECT (SELECT count(*) FROM workers WHERE died) AS workers,"
    " (SELECT coalesce(sum(deaths), 0) FROM chunks) AS chunks"
)


_ENDED, _SHUT = "ended by the server", "all of a worker's"
KINDS = (*Strike, _ENDED, _SHUT)


class Cuts:
    """What was cut so far, over all runs."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.made: Counter[Strike | str] = Counter()
        self.unheard = 0
        self.ended = 0
        self.dead_workers = 0
        self.dead_chunks = 0

    @property
    def total(self) -> int:
        """Cuts of every kind."""
        return self.made.total()

    async def make(
        self, world: World, run_id: UUID, doors: Sequence[Proxy], chance: random.Random
    ) -> None:
        """Cut until there were enough or the run has ended."""
        deck: list[Strike | str] = []
        while self.total < self.wanted and not await is_over(world, run_id):
            await asyncio.sleep(chance.uniform(0, PAUSE_SECONDS_MAX))
            # Each as often as the others, in any order.
            deck = deck or chance.sample(KINDS, len(KINDS))
            kind, door = deck.pop(), chance.choice(doors)
            if isinstance(kind, Strike):
                made = await _strike(world, run_id, door, kind, chance.randrange(SKIP_MAX))
            elif kind is _SHUT:
                made = bool(await door.shut(SHUT_SECONDS))
            else:
                made = await _end_sessions(world, chance)
            # Other runs add theirs meanwhile, so nothing is awaited within a sum.
            self.made[kind] += made


async def _strike(world: World, run_id: UUID, door: Proxy, strike: Strike, skip: int) -> int:
    """Arm, and wait for the strike or the run's end."""
    before = door.struck.total()
    door.arm(strike, skip)

    async def is_struck() -> bool:
        return door.struck.total() > before or await is_over(world, run_id)

    await until(is_struck, f"a chance for {strike.name}")
    return door.struck.total() - before


async def _end_sessions(world: World, chance: random.Random) -> int:
    """Have the server end some sessions; how many."""
    sessions = [row["pid"] for row in await world.query(_SESSIONS, name=_NAME)]
    victims = chance.sample(sessions, min(len(sessions), chance.randint(1, AT_ONCE_MAX)))
    ended = await world.query(_TERMINATE, pids=victims)
    return sum(row["is_cut"] for row in ended)


async def campaign(context: Context) -> Sequence[Figure]:
    """Run after run until there were enough cuts; in full, two at a time."""
    reference = await undisturbed(context, context.sized(4, PAIRS))
    judged, cuts = Judged(), Cuts(context.sized(12, 500))
    few, lanes = context.sized((1, 1), (40, 2))

    async def one_after_another(lane: int) -> None:
        for number in itertools.count(lane, lanes):
            if cuts.total >= cuts.wanted:
                return
            await _run(context, reference, number, judged, cuts)

    await asyncio.gather(*map(one_after_another, range(lanes)))
    return [
        at_least("cuts", cuts.total, cuts.wanted),
        at_least("of these lost answers to a COMMIT", cuts.made[Strike.ACKNOWLEDGEMENT], few),
        at_least("of these a worker cut off altogether", cuts.made[_SHUT], few),
        *judged.figures(),
        zero("calls without an outcome", cuts.unheard),
        zero("workers that ended", cuts.ended),
        zero("workers taken over", cuts.dead_workers),
        zero("deaths of chunks", cuts.dead_chunks),
    ]


async def _run(
    context: Context, reference: Undisturbed, number: int, judged: Judged, cuts: Cuts
) -> None:
    chance = context.random("cuts", number)
    socket = context.server.socket_dir / SOCKET_NAME
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(context.database())
        # A door for each, so that one can be cut off while the other goes on.
        doors = [await stack.enter_async_context(proxy(socket)) for _ in range(WORKERS)]
        folder, words = context.folder(f"run-{number}"), keywords(reference.pairs)
        config = paged(reference.pairs)
        async with open_world(url, folder, words, config=config, **THREATENED) as world:
            for door in doors:
                await world.start_worker(SERPLINE_DATABASE_URL=_through(door, url))

            async def all_live() -> bool:
                return len(await world.query(_LIVING)) == WORKERS

            # One that is cut off while it starts ends, and its supervisor would start the next.
            await until(all_live, "every worker's first heartbeat")
            run_id = await start(world)
            await cuts.make(world, run_id, doors, chance)
            await judged.add(world, run_id, reference)
            unheard = await world.query(_UNHEARD)
            cuts.unheard += len(unheard)
            cuts.ended += sum(not worker.is_running for worker in world.pool.processes)
            (dead,) = await world.query(_TAKEN_OVER)
            cuts.dead_workers += dead["workers"]
            cuts.dead_chunks += dead["chunks"]


def _through(door: Proxy, url: str) -> str:
    """The same database by way of the proxy, its sessions named."""
    query = {"application_name": _NAME, "sslmode": "disable", "gssencmode": "disable"}
    way = make_url(url).set(host="127.0.0.1", port=door.port, query=query)
    return way.render_as_string(hide_password=False)


ROW = Row(
    15,
    "database connections cut 500 times, lost commit acknowledgements among them"
    f" (runs of {PAIRS} pairs, 3 s of silence taken for death, workers cut off for 1 s)",
    "0 duplicates, 0 losses, nothing paid again, no take-over of a living worker",
    campaign,
    "With one second of silence taken for death, not three, a living worker was taken over, and"
    " ended (short form).",
)
