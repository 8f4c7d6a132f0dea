"""The standard run, undisturbed and disturbed, and what two runs over it are judged by.

Seven phases over ``pairs`` keyword × market pairs for organic, news and video. With 340 pairs and
one analysed result per search that is 340 volumes, 1,020 searches, some 700 companies, 3,000
videos and channels, 300 channel owners, 1,000 analyses and 2,000 scores: on average well above
1,000 items a phase.

The judges are the result tables, compared row for row with an undisturbed run's, and the
simulator's call log and account. A call may be paid again only if its first reply died with its
worker: the simulator charged it, and at that death no reply to it had been committed.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from harness.figures import Figure, at_most, zero
from harness.tables import Tables, differences, final_tables
from harness.world import World, open_world, simulated

from chaos.scorecard import Context
from serpline.core.clock import SystemClock
from serpline.domain.states import ENDED_RUNS, RunStatus
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.journal import CallEntry, iso

PAIRS = 340
SEARCHES_PER_PAGE = 50
MARKETS = ("US", "PL")
ANALYSIS_DEPTH = 1
# The defaults, for runs in which nobody is killed: a busy machine must not make its one worker be
# taken for dead.
DEFAULT_TAKEOVER = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "5",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": "20",
}
RUN_SECONDS_MAX = 900.0
ARRIVAL_SECONDS = 0.1
# A reply is committed within a quarter of a second, on a machine that has time.
STALE_SECONDS = 5.0
LOST_AGE_SECONDS_MAX = 1.0
_THINGS = ("espresso machine", "coffee grinder", "moka pot", "milk frother", "kettle", "scale")
_QUALITIES = ("best", "cheap", "used", "small", "吕梁市", "Wisła", "silent", "repair")

T = TypeVar("T")
Purchase = tuple[str, str]
Item = tuple[str, str, str]
STARTED: Purchase = ("scaleserp", "start_batch")


def keywords(pairs: int) -> bytes:
    """A CSV of so many keyword × market pairs."""
    lines = ["keyword,market"]
    for number in range((pairs + 1) // 2):
        quality = _QUALITIES[number % len(_QUALITIES)]
        thing = _THINGS[number // len(_QUALITIES) % len(_THINGS)]
        lines += [f"{quality} {thing} {number},{market}" for market in MARKETS]
    return "\n".join(lines[: pairs + 1]).encode()


def paged_simulator(pairs: int, **changes: Any) -> SimulatorConfig:
    """The world of these runs; every batch of so many searches has several page files."""
    return simulated(results_per_page=max(2, min(SEARCHES_PER_PAGE, pairs // 2)), **changes)


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """An undisturbed run: its tables, the calls it took, how often each thing was paid, and the
    failed attempts of each item."""

    pairs: int
    tables: Tables
    calls: int
    items: int
    batches: int
    purchases: Counter[Purchase]
    attempts: Mapping[Item, int]


@asynccontextmanager
async def standard_world(
    context: Context, name: str, pairs: int, config: SimulatorConfig | None = None, **settings: str
) -> AsyncIterator[World]:
    """A world over the standard run's keywords, in a database of its own."""
    async with (
        context.database() as url,
        open_world(
            url,
            context.folder(name),
            keywords(pairs),
            config=config or paged_simulator(pairs),
            **settings,
        ) as world,
    ):
        yield world


async def start(world: World) -> UUID:
    """Start the standard run."""
    return await world.start(analysis_depth=ANALYSIS_DEPTH)


_undisturbed: dict[tuple[int, int], Undisturbed] = {}


async def undisturbed(context: Context, pairs: int) -> Undisturbed:
    """What every disturbed run has to end as: of one seed and size it is the same for all rows."""
    known = _undisturbed.get((context.seed, pairs))
    if known is None:
        known = _undisturbed[context.seed, pairs] = await _run_undisturbed(context, pairs)
    return known


async def _run_undisturbed(context: Context, pairs: int) -> Undisturbed:
    async with standard_world(
        context, f"undisturbed-{pairs}", pairs, None, **DEFAULT_TAKEOVER
    ) as world:
        await world.start_worker()
        run_id = await start(world)
        run = await world.wait_for_end(run_id, seconds=RUN_SECONDS_MAX)
        assert run.status is RunStatus.COMPLETED, run.error_message
        return Undisturbed(
            pairs=pairs,
            tables=await final_tables(world.services.database, run_id),
            calls=len(world.sim.log),
            items=sum(lane.planned for lane in await world.lanes(run_id)),
            batches=world.sim.scaleserp.account.created,
            purchases=count_purchases(world.sim.log.entries),
            attempts=await attempts(world, run_id),
        )


async def two_at_a_time(runs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Two runs at a time: half of each is waiting for a death to be noticed."""
    door = asyncio.Semaphore(2)

    async def entered(run: Coroutine[Any, Any, T]) -> T:
        async with door:
            return await run

    return await asyncio.gather(*map(entered, runs))


async def attempts(world: World, run_id: UUID) -> dict[Item, int]:
    """How many attempts of each item of a run failed."""
    rows = await world.query(
        "SELECT l.phase_name, l.content_type, i.item, i.attempts FROM items i"
        " JOIN pipeline_phase_status l ON l.id = i.lane_id WHERE l.pipeline_execution_id = :run",
        run=run_id,
    )
    return {(r["phase_name"], r["content_type"], r["item"]): r["attempts"] for r in rows}


def purchases_of(entry: CallEntry) -> list[Purchase]:
    """What one charged call bought: volumes, videos and channels one by one, otherwise the call.

    How these are grouped into calls may differ after a death.
    """
    if entry.credits <= 0:
        return []
    if entry.provider == "youtube":
        return [(f"youtube/{entry.operation}", part) for part in str(entry.params["id"]).split(",")]
    if entry.operation == "search_volume":
        asked = json.loads(entry.identity.partition(" ")[2])
        market = f"volume/{asked['location_code']}/{asked['language_code']}"
        return [(market, keyword) for keyword in asked["keywords"]]
    return [(entry.provider, entry.identity)]


def count_purchases(entries: Sequence[CallEntry]) -> Counter[Purchase]:
    """How often each thing was paid, for comparison with another run's.

    A batch's id derives from its run's, so the starts of batches are one thing here.
    """
    return Counter(
        STARTED if entry.operation == STARTED[1] else thing
        for entry in entries
        for thing in purchases_of(entry)
    )


def paid_again(entries: Sequence[CallEntry]) -> Counter[str]:
    """Charged calls of which anything was bought once more by a later one, by provider."""
    seen: set[Purchase] = set()
    again: Counter[str] = Counter()
    for entry in reversed(entries):
        bought = set(purchases_of(entry))
        again[entry.provider] += bool(bought & seen)
        seen |= bought
    return again


async def unrecorded_calls(world: World) -> Counter[str]:
    """Calls that the simulator charged and whose reply is not in our tables, by provider."""
    rows = await world.query(
        "SELECT c.provider, count(*) AS calls FROM provider_calls c"
        " JOIN raw_replies r ON r.call_id = c.id WHERE c.status = 'ok' AND c.credits > 0 GROUP BY 1"
    )
    charged = Counter(entry.provider for entry in world.sim.log if entry.credits > 0)
    return charged - Counter({row["provider"]: row["calls"] for row in rows})


@dataclass(slots=True)
class Losses:
    """Charged calls of one run whose replies died with their worker, by provider.

    ``stale``: those that had come so long before that death that a living worker had lost them.
    ``ages_seconds``: how long before its death a reply of each had been decided. What is lost may
    be paid again, so this is the bound that does not grow with the losses.
    """

    calls: Counter[str] = field(default_factory=Counter)
    stale: int = 0
    ages_seconds: list[float] = field(default_factory=list)

    async def count(self, world: World) -> None:
        """Add a death, while nobody lives."""
        died_at = SystemClock().now()
        # What the dead one sent is still on its way to the simulator's log.
        await asyncio.sleep(ARRIVAL_SECONDS)
        since = iso(SystemClock().now() - timedelta(seconds=STALE_SECONDS))
        found = await unrecorded_calls(world)
        # A reply that the simulator keeps back, by a fault, was never there to be lost.
        kept = Counter(entry.provider for entry in world.sim.log if entry.fault)
        for provider, lost in (found - self.calls - kept).items():
            charged = [e for e in world.sim.log if e.provider == provider and e.credits > 0]
            self.ages_seconds += [
                (died_at - datetime.fromisoformat(entry.at)).total_seconds()
                for entry in charged[-lost:]
            ]
        # One with a fault is a reply that the simulator keeps.
        fresh = Counter(e.provider for e in world.sim.log if e.at > since or e.fault)
        self.stale += (found - self.calls - fresh).total()
        self.calls = found


async def has_ended(world: World, run_id: UUID) -> bool:
    """Whether the run has ended."""
    return (await world.get(run_id)).status in ENDED_RUNS


async def owners(world: World) -> set[int]:
    """The pids of the workers that own a chunk, those who died unnoticed among them."""
    rows = await world.query(
        "SELECT DISTINCT w.pid FROM chunks c JOIN workers w ON w.id = c.owner"
        " WHERE c.status = 'owned' AND w.ended_at IS NULL"
    )
    return {row["pid"] for row in rows}


@dataclass(slots=True)
class RunTotals:
    """What disturbed runs came to, added up."""

    runs: int = 0
    incomplete: int = 0
    lost: int = 0
    differing: int = 0
    surplus_rows: int = 0
    paid_again: int = 0
    paid_again_max: int = 0
    unexplained: int = 0
    lost_by_survivors: int = 0
    purchases_differing: int = 0
    surplus_batches: int = 0
    started_again: int = 0
    ages_seconds: list[float] = field(default_factory=list)

    async def add(
        self, world: World, run_id: UUID, reference: Undisturbed, losses: Losses | None = None
    ) -> None:
        """Wait for the run's end and add it up; slack in one run excuses nothing in another."""
        losses = losses or Losses()
        run = await world.wait_for_end(run_id, seconds=RUN_SECONDS_MAX)
        self.runs += 1
        self.incomplete += run.status is not RunStatus.COMPLETED
        lanes = await world.lanes(run_id)
        settled = sum(lane.completed + lane.failed + lane.skipped for lane in lanes)
        self.lost += abs(reference.items - settled)
        tables = await final_tables(world.services.database, run_id)
        self.differing += len(differences(reference.tables, tables))
        self.surplus_rows += sum(
            max(0, len(rows) - len(reference.tables[name])) for name, rows in tables.items()
        )
        again = paid_again(world.sim.log.entries)
        self.paid_again += again.total()
        self.paid_again_max += losses.calls.total()
        self.ages_seconds += losses.ages_seconds
        self.unexplained += (again - losses.calls).total()
        at_the_end = await unrecorded_calls(world)
        self.lost_by_survivors += losses.stale + (at_the_end - losses.calls).total()
        bought = count_purchases(world.sim.log.entries)
        self.purchases_differing += len(bought.keys() ^ reference.purchases.keys())
        self.surplus_batches += world.sim.scaleserp.account.created - reference.batches
        starts = Counter(e.identity for e in world.sim.log.of(*STARTED) if e.credits > 0)
        self.started_again += starts.total() - len(starts)

    def figures(self) -> list[Figure]:
        """Each with its bound."""
        return [
            zero("runs not completed", self.incomplete),
            zero("items lost", self.lost),
            zero("rows differing", self.differing),
            zero("rows too many", self.surplus_rows),
            zero("batches too many", self.surplus_batches),
            zero("batches started again", self.started_again),
            zero("things bought in one run only", self.purchases_differing),
            at_most("calls paid again", self.paid_again, self.paid_again_max),
            at_most(
                "mean age of a lost reply, seconds",
                sum(self.ages_seconds) / max(1, len(self.ages_seconds)),
                LOST_AGE_SECONDS_MAX,
            ),
            zero("of these without a cause in their run", self.unexplained),
            zero("paid replies lost by workers that lived", self.lost_by_survivors),
        ]
