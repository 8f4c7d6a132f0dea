"""Row 15: the workers' connections to the database are cut, again and again, at the worst instants.

Each cut is one of four, by chance: the answer to a COMMIT that took effect is lost, a COMMIT is
lost on its way, the answer to any statement is lost (a heartbeat, the fetching of a job), or the
server ends some sessions in whatever they are doing. Nobody dies of it, so no call may be paid
twice and no worker may be taken over.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.engine import make_url
from tests.support.world import World, open_world, until

from chaos.proxy import Proxy, Strike, proxy
from chaos.scorecard import Arena, Figure, Row, at_least, none
from chaos.standard_run import PATIENT, Judged, Undisturbed, keywords, start, undisturbed
from serpline.domain.states import ENDED_RUNS
from serpline.store.embedded_files import SOCKET_NAME

WORKERS = 2
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
_TAKEN_OVER = (
    "SELECT (SELECT count(*) FROM workers WHERE died) AS workers,"
    " (SELECT coalesce(sum(deaths), 0) FROM chunks) AS chunks"
)


class Cuts:
    """What was cut so far, over all runs."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.made: Counter[Strike | None] = Counter()
        self.dead_workers = 0
        self.dead_chunks = 0

    @property
    def total(self) -> int:
        """Cuts of every kind."""
        return self.made.total()

    async def make(self, world: World, run_id: UUID, door: Proxy, chance: random.Random) -> None:
        """Cut until there were enough or the run has ended."""

        async def is_over() -> bool:
            return (await world.get(run_id)).status in ENDED_RUNS

        deck: list[Strike | None] = []
        while self.total < self.wanted and not await is_over():
            await asyncio.sleep(chance.uniform(0, PAUSE_SECONDS_MAX))
            # Each as often as the others, in any order.
            deck = deck or chance.sample([*Strike, None], len(Strike) + 1)
            strike = deck.pop()
            if strike is None:
                sessions = [row["pid"] for row in await world.query(_SESSIONS, name=_NAME)]
                victims = chance.sample(
                    sessions, min(len(sessions), chance.randint(1, AT_ONCE_MAX))
                )
                ended = await world.query(_TERMINATE, pids=victims)
                self.made[None] += sum(row["is_cut"] for row in ended)
                continue
            before = door.struck.total()
            door.arm(strike, chance.randrange(SKIP_MAX))

            async def is_struck(before: int = before) -> bool:
                return door.struck.total() > before or await is_over()

            await until(is_struck, f"a chance for {strike.name}")
            self.made[strike] += door.struck.total() - before


async def campaign(arena: Arena) -> Sequence[Figure]:
    """Run after run until there were enough cuts."""
    reference = await undisturbed(arena, arena.sized(4, 60))
    judged, cuts = Judged(), Cuts(arena.sized(12, 500))
    while cuts.total < cuts.wanted:
        await _run(arena, reference, judged, cuts)
    return [
        at_least("cuts", cuts.total, cuts.wanted),
        at_least(
            "of these lost answers to a COMMIT", cuts.made[Strike.ACKNOWLEDGEMENT], cuts.wanted / 10
        ),
        *judged.figures(),
        none("workers taken over", cuts.dead_workers),
        none("deaths of chunks", cuts.dead_chunks),
    ]


async def _run(arena: Arena, reference: Undisturbed, judged: Judged, cuts: Cuts) -> None:
    chance = arena.random("cuts", judged.runs)
    socket = arena.server.socket_dir / SOCKET_NAME
    async with arena.database() as url, proxy(socket) as door:
        way = _through(door, url)
        folder = arena.folder(f"run-{judged.runs}")
        words = keywords(reference.pairs)
        settings = {**PATIENT, "SERPLINE_DATABASE_URL": way}
        async with open_world(url, folder, words, config=None, **settings) as world:
            run_id = await start(world)
            for _ in range(WORKERS):
                await world.start_worker()
            await cuts.make(world, run_id, door, chance)
            await judged.add(world, run_id, reference, set())
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
    "database connections cut 500 times, lost commit acknowledgements among them",
    "0 duplicates, 0 losses, no take-over of a living worker",
    campaign,
    "With two seconds of silence taken for death, not twenty, a living worker was taken over (short"
    " form).",
)
