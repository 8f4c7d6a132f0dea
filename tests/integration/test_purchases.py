"""Reference data is stored in the statement that ends its call.

Otherwise a crash or an outage could lose it. Another worker would then group the keys differently,
which is another call, and pay again.
"""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from harness.guarded import MakeGuard, ManualClock, Provider, call, owned_chunk, rows
from harness.phase_work import owned, work_on
from sqlalchemy import text

from serpline.app.tools import open_tools
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.domain.states import StateStatus
from serpline.phases import companies
from serpline.phases.youtube_enrichment import YouTubeEnrichmentPhase
from serpline.robustness.guard import CallScope
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator
from serpline.simulator.world.companies import Kind
from serpline.store.calls import reference
from serpline.store.database import Database
from serpline.store.runs.chunks import ItemRow

VIDEOS = [f"v:video{number:06}" for number in range(50)]
ENDED = "SELECT status FROM provider_calls"
STORED = "SELECT key, payload, fetched_at, claimed_chunk FROM reference_data ORDER BY key"


async def test_work_that_breaks_off_is_not_paid_for_twice(db: Database) -> None:
    """The next owner calls for other videos and buys none of these again."""
    async with Simulator(SimulatorConfig(seed=3)) as sim:
        named = sim.environment()
        settings = load(
            youtube_base_url=named["SERPLINE_YOUTUBE_BASE_URL"],
            youtube_api_key=sim.config.key("youtube"),
        )
        async with open_tools(settings, db, SystemClock()) as tools:
            phase = YouTubeEnrichmentPhase(tools)
            run_id, _, _ = await owned_chunk(db)

            async def work(chunk_id: int, items: list[str]) -> None:
                lane = LaneKey(PhaseName.YOUTUBE_ENRICHMENT, ContentType.VIDEO)
                chunk = owned(run_id, lane, id=chunk_id, epoch=1, created_at=SystemClock().now())
                given = [ItemRow(item, StateStatus.PENDING, 0) for item in items]
                async with aclosing(
                    phase.work(work_on(chunk, db, SystemClock()), given)
                ) as outcomes:
                    async for _ in outcomes:
                        pass

            # Nothing of the first chunk is settled, so its outcomes are lost.
            _, first, _ = await owned_chunk(db)
            await work(first, VIDEOS)
            calls = len(sim.log.of("youtube", "videos"))
            _, second, _ = await owned_chunk(db)
            await work(second, VIDEOS[5:])
            assert (calls, len(sim.log.of("youtube", "videos"))) == (1, 1)


async def test_what_one_source_does_not_know_is_asked_of_a_later_one(db: Database) -> None:
    """Set up later, People Data Labs is asked about what Wikidata alone did not know."""
    async with Simulator(SimulatorConfig(seed=3)) as sim:
        named = sim.environment()
        domains = [each.domain for each in sim.world.directory.of(Kind.MID)[:12]]

        async def find(pdl_key: str) -> dict[str, Any]:
            settings = load(
                wikidata_base_url=named["SERPLINE_WIKIDATA_BASE_URL"],
                wikidata_contact=named["SERPLINE_WIKIDATA_CONTACT"],
                pdl_base_url=named["SERPLINE_PDL_BASE_URL"],
                pdl_api_key=pdl_key,
            )
            run_id, chunk_id, _ = await owned_chunk(db)
            lane = LaneKey(PhaseName.COMPANY_ENRICHMENT_SERP, ContentType.NEWS)
            chunk = owned(run_id, lane, id=chunk_id, epoch=1, created_at=SystemClock().now())
            async with open_tools(settings, db, SystemClock()) as tools:
                work = work_on(chunk, db, SystemClock())
                return {
                    domain: answer.profile
                    async for domain, answer in companies.profiles(tools, work, domains)
                    if isinstance(answer, companies.DatedProfile)
                }

        alone, together = await find(""), await find(sim.config.key("pdl"))
        unknown = {domain for domain in domains if alone[domain] == {}}
        assert 0 < len(unknown) < len(domains)
        assert {call.params["website"] for call in sim.log.of("pdl")} == unknown
        assert any(together[domain] for domain in unknown)
        assert all(together[each] == alone[each] for each in set(domains) - unknown)
        # Both have been asked now, so the answers are final.
        calls = len(sim.log.of("pdl"))
        assert await find(sim.config.key("pdl")) == together
        assert len(sim.log.of("pdl")) == calls


async def test_payloads_and_the_calls_end_are_one_statement(
    db: Database, guards: MakeGuard, clock: ManualClock
) -> None:
    """The call does not end before its payload is stored."""
    guard = guards(Provider())
    run_id, chunk_id, epoch = await owned_chunk(db)
    scope = CallScope("run", run_id, chunk_id, epoch, reference_kind="thing")
    async with db.transaction() as conn:
        await reference.claim_missing(conn, "thing", ["a"], clock.now(), chunk_id, epoch)
    async with db.transaction() as conn:
        await conn.execute(text("SELECT FROM reference_data FOR UPDATE"))
        bought = await guard.execute(call("a").map_value(lambda v: {"a": {"v": v}}), scope)
        assert bought == {"a": {"v": 1}}
        flushed = asyncio.create_task(guard.flush())
        await _waits_for_a_lock(db)
        assert [row.status for row in await rows(db, ENDED)] == ["intent"]
    await flushed
    assert [row.status for row in await rows(db, ENDED)] == ["ok"]
    (stored,) = await rows(db, STORED)
    assert (stored.key, stored.payload, stored.claimed_chunk) == ("a", {"v": 1}, None)


async def test_a_stored_reply_stores_its_payloads(
    db: Database, guards: MakeGuard, clock: ManualClock
) -> None:
    """A reply parsed later stores its payloads with the time of the reply."""
    provider = Provider()
    guard = guards(provider)
    run_id, chunk_id, epoch = await owned_chunk(db)
    await guard.execute(call("a"), CallScope("run", run_id, chunk_id, epoch))
    await guard.flush()
    came_at = clock.now()
    clock.elapsed_seconds += 60
    scope = CallScope("run", run_id, chunk_id, epoch, reference_kind="thing")
    await guard.execute(call("a").map_value(lambda v: {"a": {"v": v}}), scope)
    (stored,) = await rows(db, STORED)
    assert (stored.payload, len(provider.log)) == ({"v": 1}, 1)
    assert came_at <= stored.fetched_at < came_at + timedelta(seconds=60)


async def test_two_calls_of_one_group_may_have_the_same_key(
    db: Database, guards: MakeGuard, clock: ManualClock
) -> None:
    """They end in one statement; the newer payload stays."""
    guard = guards(Provider())
    run_id, chunk_id, epoch = await owned_chunk(db)
    scope = CallScope("run", run_id, chunk_id, epoch, reference_kind="thing")
    for identity in ("a", "b"):
        await guard.execute(call(identity).map_value(lambda _, of=identity: {"k": of}), scope)
        clock.elapsed_seconds += 1
    await guard.flush()
    (stored,) = await rows(db, STORED)
    assert (stored.key, stored.payload) == ("k", "b")
    assert {row.status for row in await rows(db, ENDED)} == {"ok"}


async def _waits_for_a_lock(db: Database) -> None:
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while not await rows(db, waiting):
        await asyncio.sleep(0.01)
