"""Workers killed with SIGKILL at critical moments: the run continues exactly where it was.

One kill in the middle of each phase, and one at each moment between an effect of a batch call and
our record of it. The simulator's log and the chunks' counters decide when to kill: the simulator
withholds one reply, so the worker is certainly at that point. The auditor is the simulator: each
double charge must be a call whose reply the killed worker had not committed.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from harness.databases import copied_database
from harness.tables import Tables, differences, final_tables
from harness.waiting import until
from harness.world import QUICK_TAKEOVER, World, across_runs, open_world, paid

from serpline.domain.states import RunStatus
from serpline.simulator.dataforseo import COST
from serpline.store.embedded.server import EmbeddedServer

# One process makes the run that these look at.
pytestmark = pytest.mark.xdist_group("kill each phase")

KEYWORDS = b"""keyword,market
best espresso machine,PL
best espresso machine,US
coffee grinder,PL
coffee grinder,US
decaf beans,PL
decaf beans,US
moka pot,PL
moka pot,US
"""
PAIRS = 8
# Few pages: these facts do not depend on their number.
DEPTH = 2
TYPES = ("organic", "news", "video")
PROVIDERS = ("dataforseo", "llm", "pdl", "scaleserp", "youtube")
# Longer than any test, so this reply never comes.
NEVER_SECONDS = 300.0

Middle = Callable[[World, UUID], Awaitable[bool]]


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: its tables and what it cost."""

    tables: Tables
    spent: Mapping[str, float]
    purchases: Counter[tuple[str, str]]
    domain: str
    channel_domain: str


@pytest.fixture(scope="module")
def reference(
    postgres: EmbeddedServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reference]:
    """The result that every disturbed run has to have."""
    with copied_database(postgres, template_database) as url:

        async def walk() -> Reference:
            async with open_world(url, tmp_path_factory.mktemp("walk"), KEYWORDS) as world:
                await world.start_worker()
                run_id = await world.run(analysis_depth=DEPTH)
                assert (await world.get(run_id)).status is RunStatus.COMPLETED
                return Reference(
                    tables=await final_tables(world.services.database, run_id),
                    spent={name: world.sim.ledger.spent(name) for name in PROVIDERS},
                    purchases=paid(world.sim.log.entries),
                    domain=await _a_domain(world, "IN", "organic"),
                    channel_domain=await _a_domain(world, "NOT IN", "video"),
                )

        yield asyncio.run(walk())


async def _a_domain(world: World, ranks: str, content_type: str) -> str:
    """A domain that PDL was asked for and that ranks itself, or that only a channel links to."""
    asked = {e.params["website"] for e in world.sim.log.of("pdl", "enrich") if e.status == 200}
    rows = await world.query(
        f"SELECT domain FROM company_profiles WHERE domain {ranks} (SELECT domain FROM serp_results"
        f" WHERE content_type = '{content_type}' OR '{ranks}' = 'NOT IN') ORDER BY domain"
    )
    return next(str(row["domain"]) for row in rows if row["domain"] in asked)


def _slow(provider: str, operation: str, **more: Any) -> dict[str, Any]:
    """Let the provider act and charge, but withhold its reply."""
    return {
        "provider": provider,
        "operation": operation,
        "fault": "slow",
        "seconds": NEVER_SECONDS,
        "attempts": 1,
        **more,
    }


async def _part_is_done(world: World, run_id: UUID, lane: str) -> bool:
    """Whether some items of the lane are settled and some are not."""
    view = await world.lane(run_id, lane)
    return 0 < view.completed < view.planned


async def _volumes_of_one_market(world: World, run_id: UUID) -> bool:
    done = await world.query(
        "SELECT 1 FROM reference_data WHERE kind = 'keyword_metrics' AND fetched_at IS NOT NULL"
    )
    return bool(world.withheld("dataforseo", "search_volume")) and bool(done)


async def _organic_collected_news_ready(world: World, run_id: UUID) -> bool:
    organic = await world.lane(run_id, "serp_collection/organic")
    return bool(world.withheld("scaleserp", "get_results")) and organic.completed == PAIRS


async def _companies(world: World, run_id: UUID) -> bool:
    return bool(world.withheld("pdl", "enrich")) and await _part_is_done(
        world, run_id, "company_enrichment_serp/organic"
    )


async def _fifty_videos(world: World, run_id: UUID) -> bool:
    return bool(world.withheld("youtube", "videos")) and await _part_is_done(
        world, run_id, "youtube_enrichment/video"
    )


async def _owners(world: World, run_id: UUID) -> bool:
    lane = await world.lane(run_id, "company_enrichment_youtube/video")
    held = world.withheld("pdl", "enrich")
    asked = world.sim.log.of("pdl", "enrich")
    return bool(held) and lane.planned > 0 and asked[-1].seq > held[0].seq


async def _pages(world: World, run_id: UUID) -> bool:
    lanes = [f"content_analysis/{kind}" for kind in TYPES]
    parts = [await _part_is_done(world, run_id, lane) for lane in lanes]
    return bool(world.withheld("llm", "chat")) and any(parts)


KEYWORD_METRICS = (
    lambda _: _slow("dataforseo", "search_volume", match={"location_code": 2840}),
    _volumes_of_one_market,
)
SERP_COLLECTION = (
    lambda _: _slow("scaleserp", "get_results", match={"searches_type": "news"}),
    _organic_collected_news_ready,
)
COMPANIES = (
    lambda known: _slow("pdl", "enrich", match={"website": known.domain}),
    _companies,
)
YOUTUBE = (lambda _: _slow("youtube", "videos", pattern="SF", times=1), _fifty_videos)
OWNERS = (
    lambda known: _slow("pdl", "enrich", match={"website": known.channel_domain}),
    _owners,
)
CONTENT = (lambda _: _slow("llm", "chat", pattern="S" * 20 + "F", times=1), _pages)


# Of two phases in one run, the second begins with what the first has finished.
@pytest.mark.parametrize(
    "phases",
    [
        pytest.param((KEYWORD_METRICS, SERP_COLLECTION), id="keyword_metrics, serp_collection"),
        pytest.param((COMPANIES,), id="company_enrichment_serp"),
        pytest.param((YOUTUBE, OWNERS), id="youtube_enrichment, company_enrichment_youtube"),
        pytest.param((CONTENT,), id="content_analysis"),
    ],
)
async def test_a_kill_in_the_middle_of_a_phase_changes_nothing(
    reference: Reference,
    database_url: str,
    tmp_path: Path,
    phases: Sequence[tuple[Callable[[Reference], dict[str, Any]], Middle]],
) -> None:
    """After a kill in mid-phase the next worker ends with the same tables."""
    async with open_world(
        database_url, tmp_path, KEYWORDS, **{**QUICK_TAKEOVER, "SERPLINE_BATCH_CALL_SECONDS": "20"}
    ) as world:
        world.sim.set_faults([rule(reference) for rule, _ in phases])
        run_id = await world.start(analysis_depth=DEPTH)
        for number, (_, middle) in enumerate(phases, 1):
            worker = await world.start_worker()
            await until(partial(middle, world, run_id), "the middle of the phase")
            worker.kill()
            await worker.wait()
            assert sum(entry.fault == "slow" for entry in world.sim.log) == number
        await world.start_worker()
        await _ends_undisturbed(world, run_id, reference)
        assert sum(entry.fault == "slow" for entry in world.sim.log) == len(phases)


async def test_kills_at_the_start_and_the_end_of_a_run_change_nothing(
    reference: Reference, database_url: str, tmp_path: Path
) -> None:
    """Batches are not made twice, and scores are written once.

    The first kill comes between a batch call's effect and our record: one batch had been created,
    one filled and one started, each without a reply. The second kill comes inside the transaction
    that writes DSI scores.
    """
    held = {"create_batch": "news", "update_batch": "videos", "start_batch": "web"}
    async with open_world(database_url, tmp_path, KEYWORDS, **QUICK_TAKEOVER) as world:
        world.sim.set_faults(
            [_slow("scaleserp", name, match={"searches_type": kind}) for name, kind in held.items()]
        )
        conninfo = database_url.replace("+psycopg", "")
        async with await psycopg.AsyncConnection.connect(conninfo) as blocker:
            # Every writer of a score waits here, with its transaction open.
            await blocker.execute("SET idle_in_transaction_session_timeout = 0")
            await blocker.execute("LOCK TABLE dsi_scores IN SHARE MODE")
            worker = await world.start_worker()
            run_id = await world.start(analysis_depth=DEPTH)

            async def done_unheard() -> bool:
                return all(world.withheld("scaleserp", name) for name in held)

            await until(done_unheard, "three calls that were carried out and not answered")
            states = await world.query("SELECT status FROM provider_batches ORDER BY status")
            assert [row["status"] for row in states] == ["filling", "intended", "starting"]
            worker.kill()
            await worker.wait()
            worker = await world.start_worker()

            async def settling() -> list[dict[str, Any]]:
                return await world.query(
                    "SELECT 1 FROM chunks c JOIN pipeline_phase_status l ON l.id = c.lane_id,"
                    " pg_locks k WHERE l.phase_name = 'dsi_calculation' AND c.status = 'owned'"
                    " AND k.relation = 'dsi_scores'::regclass AND NOT k.granted"
                )

            await until(settling, "a worker that writes scores")
            worker.kill()
            await worker.wait()
        await world.start_worker()
        await _ends_undisturbed(world, run_id, reference)


async def _ends_undisturbed(world: World, run_id: UUID, reference: Reference) -> None:
    """The run completes with the reference's tables, and every credit is accounted for."""
    run = await world.wait_for_end(run_id)
    assert run.status is RunStatus.COMPLETED, run.error_message
    tables = await final_tables(world.services.database, run_id)
    assert differences(reference.tables, tables) == []
    for lane in await world.lanes(run_id):
        assert lane.completed + lane.failed + lane.skipped == lane.planned, lane
    assert "Traceback" not in world.pool.logs()
    await _every_credit_is_explained(world, run_id, reference)
    _each_batch_once(world)


async def _every_credit_is_explained(world: World, run_id: UUID, reference: Reference) -> None:
    """Credits above the reference are calls that the killed worker's ledger had not recorded."""
    rows = await world.query(
        "SELECT provider, sum(credits) AS credits,"
        " count(*) FILTER (WHERE status IN ('intent', 'unknown')) AS open"
        " FROM provider_calls WHERE run_id = :run GROUP BY provider",
        run=run_id,
    )
    our_credits = {row["provider"]: float(row["credits"]) for row in rows}
    unrecorded = {row["provider"]: row["open"] for row in rows}
    purchases = paid(world.sim.log.entries)
    for provider in PROVIDERS:
        unit = COST if provider == "dataforseo" else 1.0
        assert world.sim.ledger.spent(provider) <= our_credits[provider] * unit + 1e-6, provider
        again = sum(times - 1 for (name, _), times in purchases.items() if name == provider)
        assert again <= unrecorded[provider], provider
    assert world.sim.ledger.spent("scaleserp") == reference.spent["scaleserp"]
    if not any(unrecorded.values()):
        assert across_runs(purchases) == across_runs(reference.purchases)


def _each_batch_once(world: World) -> None:
    """One batch per content type, each search in it once, started once."""
    batches = list(world.sim.scaleserp.account.batches.values())
    kinds = sorted(batch.fields["searches_type"] for batch in batches)
    assert kinds == ["news", "videos", "web"]
    for batch in batches:
        ids = [search["custom_id"] for search in batch.searches.values()]
        assert len(ids) == len(set(ids)) == PAIRS
        assert len(batch.result_sets) == 1
    assert [charge.reason for charge in world.sim.ledger if charge.provider == "scaleserp"] == [
        "batch queued"
    ] * 3


async def test_a_lost_reply_of_a_batch_call_repeats_nothing(
    reference: Reference, database_url: str, tmp_path: Path
) -> None:
    """A reply that is cut, withheld or wrong causes no second batch, search or start.

    Each content type's batch loses the replies of all three calls, each in another way. Each call
    loses its reply in all three ways.
    """
    faults = [("cut", True), ("hung", False), ("500", True)]
    rules = []
    for number, name in enumerate(("create_batch", "update_batch", "start_batch")):
        for shift, kind in enumerate(("news", "videos", "web")):
            fault, works = faults[(number + shift) % 3]
            rule = _slow("scaleserp", name, match={"searches_type": kind}, fault=fault)
            rules.append({**rule, "work": works})
    async with open_world(
        database_url, tmp_path, KEYWORDS, SERPLINE_BATCH_CALL_SECONDS="4"
    ) as world:
        world.sim.set_faults(rules)
        await world.start_worker()
        run_id = await world.start(phases=("keyword_metrics", "serp_collection"))
        run = await world.wait_for_end(run_id)
        assert run.status is RunStatus.COMPLETED, run.error_message
        tables = await final_tables(world.services.database, run_id)
        for name in ("serps", "serp_results"):
            assert differences({name: reference.tables[name]}, {name: tables[name]}) == []
        _each_batch_once(world)
        assert [rule.used for rule in world.sim.faults.rules] == [1] * 9


async def test_a_batch_call_that_takes_effect_after_its_timeout_is_not_repeated(
    reference: Reference, database_url: str, tmp_path: Path
) -> None:
    """A create, add or start may take effect after its time-out: we check before repeating."""
    call_seconds = 2.5
    late = {"create_batch": "news", "update_batch": "videos", "start_batch": "web"}
    rules = [
        _slow("scaleserp", operation, match={"searches_type": kind}, fault="cut")
        | {"late_seconds": call_seconds + 0.9}
        for operation, kind in late.items()
    ]
    async with open_world(
        database_url, tmp_path, KEYWORDS, SERPLINE_BATCH_CALL_SECONDS=str(call_seconds)
    ) as world:
        world.sim.set_faults(rules)
        await world.start_worker()
        run_id = await world.start(phases=("keyword_metrics", "serp_collection"))
        assert (await world.wait_for_end(run_id)).status is RunStatus.COMPLETED
        _each_batch_once(world)
        assert [rule.used for rule in world.sim.faults.rules] == [1, 1, 1]
        # The lost start was no additional start, and is not charged twice.
        spent = await world.query(
            "SELECT reserved, spent FROM provider_budgets WHERE provider = 'scaleserp'"
            " AND starts_with(scope, 'run:')"
        )
        charged = world.sim.ledger.spent("scaleserp")
        assert [(row["reserved"], row["spent"]) for row in spent] == [(0, charged)]
