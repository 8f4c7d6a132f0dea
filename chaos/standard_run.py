"""The standard run, with and without faults, and the comparison of the two.

Seven phases over ``pairs`` keyword × market pairs for organic, news and video. With 340 pairs and
one analysed result per search that is 340 volumes, 1,020 searches, some 700 companies, 3,000
videos and channels, 300 channel owners, 1,000 analyses and 2,000 scores: on average well above
1,000 items a phase.

The result tables are compared row for row with those of an undisturbed run, and so are the
purchases (``chaos.purchases``).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from harness.figures import Figure, at_most, zero
from harness.tables import Tables, differences, final_tables
from harness.world import World, open_world, simulated

from chaos.purchases import (
    STARTED,
    Losses,
    Purchase,
    count_purchases,
    paid_again,
    unrecorded_calls,
)
from chaos.scorecard import Context
from serpline.domain.states import ENDED_RUNS, RunStatus
from serpline.simulator.config import SimulatorConfig

PAIRS = 340
SEARCHES_PER_PAGE = 50
MARKETS = ("US", "PL")
ANALYSIS_DEPTH = 1
# The defaults, for runs without kills: the one worker of a busy machine must not be declared dead.
DEFAULT_TAKEOVER = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "5",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": "20",
}
RUN_SECONDS_MAX = 900.0
LOST_AGE_SECONDS_MAX = 1.0
_THINGS = ("espresso machine", "coffee grinder", "moka pot", "milk frother", "kettle", "scale")
_QUALITIES = ("best", "cheap", "used", "small", "吕梁市", "Wisła", "silent", "repair")

T = TypeVar("T")
Item = tuple[str, str, str]


def keywords(pairs: int) -> bytes:
    """A CSV of ``pairs`` keyword × market pairs."""
    lines = ["keyword,market"]
    for number in range((pairs + 1) // 2):
        quality = _QUALITIES[number % len(_QUALITIES)]
        thing = _THINGS[number // len(_QUALITIES) % len(_THINGS)]
        lines += [f"{quality} {thing} {number},{market}" for market in MARKETS]
    return "\n".join(lines[: pairs + 1]).encode()


def paged_simulator(pairs: int, **changes: Any) -> SimulatorConfig:
    """The simulator of these runs: every batch of ``pairs`` searches has several page files."""
    return simulated(results_per_page=max(2, min(SEARCHES_PER_PAGE, pairs // 2)), **changes)


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """An undisturbed run: tables, calls, paid purchases, and failed attempts of each item."""

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
    """A world with the standard run's keywords, in its own database."""
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
    """The reference for disturbed runs. Rows of one seed and size share it."""
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
    """Run two at a time: half of each run is the wait until a death is detected."""
    slots = asyncio.Semaphore(2)

    async def entered(run: Coroutine[Any, Any, T]) -> T:
        async with slots:
            return await run

    return await asyncio.gather(*map(entered, runs))


async def attempts(world: World, run_id: UUID) -> dict[Item, int]:
    """Failed attempts of each item of a run."""
    rows = await world.query(
        "SELECT l.phase_name, l.content_type, i.item, i.attempts FROM items i"
        " JOIN pipeline_phase_status l ON l.id = i.lane_id WHERE l.pipeline_execution_id = :run",
        run=run_id,
    )
    return {(r["phase_name"], r["content_type"], r["item"]): r["attempts"] for r in rows}


async def has_ended(world: World, run_id: UUID) -> bool:
    """Whether the run has ended."""
    return (await world.get(run_id)).status in ENDED_RUNS


async def owners(world: World) -> set[int]:
    """The pids of the workers that own a chunk, including undetected dead ones."""
    rows = await world.query(
        "SELECT DISTINCT w.pid FROM chunks c JOIN workers w ON w.id = c.owner"
        " WHERE c.status = 'owned' AND w.ended_at IS NULL"
    )
    return {row["pid"] for row in rows}


@dataclass(slots=True)
class RunTotals:
    """The sums over disturbed runs."""

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
        """Wait for the run's end and add it. Each run is compared on its own."""
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
        """The sums, each with its bound."""
        return [
            zero("runs not completed", self.incomplete),
            zero("items lost", self.lost),
            zero("rows differing", self.differing),
            zero("surplus rows", self.surplus_rows),
            zero("surplus batches", self.surplus_batches),
            zero("batches started twice", self.started_again),
            zero("purchases of one run only", self.purchases_differing),
            at_most("calls paid again", self.paid_again, self.paid_again_max),
            at_most(
                "mean age of a lost reply, seconds",
                sum(self.ages_seconds) / max(1, len(self.ages_seconds)),
                LOST_AGE_SECONDS_MAX,
            ),
            zero("calls paid again without a lost reply in their run", self.unexplained),
            zero("paid replies lost by running workers", self.lost_by_survivors),
        ]
