"""A create, add or start: its time is stored before it is sent, while it may take effect."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest
from harness.guarded import owned_chunk, rows
from harness.inline import TravelClock
from harness.phase_work import owned, work_on

from serpline.app.tools import open_tools
from serpline.core.settings import load
from serpline.domain.errors import CallRefused, LeaseLost, ProviderError
from serpline.domain.names import BatchPriority, ContentType, Device, PhaseName
from serpline.domain.phases import LaneKey
from serpline.domain.repair import RepairStage
from serpline.phases.base import Work
from serpline.phases.serp.batch import SerpBatch, intend
from serpline.phases.serp.batch_session import BatchSession
from serpline.phases.tools import Tools
from serpline.providers.scaleserp.spec import SEARCHES_TYPE, SearchSpec
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator
from serpline.simulator.wire import Operation, Reply, Request
from serpline.store.database import Database
from serpline.store.runs import batches
from serpline.store.runs.chunks import OwnedChunk

ITEM = "1:PL:desktop"
SPEC = SearchSpec(
    q="kettle",
    content_type=ContentType.ORGANIC,
    device=Device.DESKTOP,
    location="Poland",
    google_domain="google.pl",
    gl="pl",
    hl="pl",
    include_ai_overview=False,
)
CREATE = {"provider": "scaleserp", "operation": "create_batch", "attempts": 1}
NO_ANSWER = CREATE | {"fault": "cut", "work": True}


@dataclass
class Place:
    """A claimed chunk and the simulated provider."""

    db: Database
    clock: TravelClock
    sim: Simulator
    tools: Tools
    chunk: OwnedChunk
    has_lease: bool = True

    def work(self) -> Work:
        """The work of one claim of the chunk."""
        work = work_on(self.chunk, self.db, self.clock)
        work.lease = lambda: self.has_lease
        return work

    async def intended(self) -> BatchSession:
        """A session with a batch that is to be created."""
        return await intend(
            self.tools,
            self.work(),
            [ITEM],
            stage=RepairStage.FIRST,
            priority=BatchPriority.NORMAL,
            generation=0,
        )

    async def resumed(self) -> BatchSession:
        """A new session with the same batch."""
        async with self.db.transaction() as conn:
            row = await batches.current(conn, self.chunk)
        assert row is not None
        return BatchSession(self.tools, self.work(), row, resumed=True)

    async def create(self, session: BatchSession) -> None:
        """Send the create."""
        kind = SEARCHES_TYPE[ContentType.ORGANIC]
        await session.change(
            self.tools.scaleserp.create_batch(
                session.row.name, kind, notification_webhook=None, priority=BatchPriority.NORMAL
            )
        )

    async def is_sent(self) -> bool:
        """Whether a call without an answer is stored."""
        (row,) = await rows(self.db, "SELECT sent_at FROM provider_batches")
        return row.sent_at is not None


@pytest.fixture
async def place(db: Database) -> AsyncIterator[Place]:
    clock = TravelClock()
    async with Simulator(SimulatorConfig(seed=3)) as sim:
        settings = load(
            scaleserp_base_url=sim.environment()["SERPLINE_SCALESERP_BASE_URL"],
            scaleserp_api_key=sim.config.key("scaleserp"),
        )
        async with open_tools(settings, db, clock) as tools:
            run_id, chunk_id, epoch = await owned_chunk(db)
            lane = LaneKey(PhaseName.SERP_COLLECTION, ContentType.ORGANIC)
            chunk = owned(run_id, lane, id=chunk_id, epoch=epoch)
            yield Place(db, clock, sim, tools, chunk)


async def test_its_time_is_stored_before_it_is_sent(place: Place) -> None:
    """When the provider receives it, its time is committed; in the next state it is removed."""
    seen: list[bool] = []
    handle = place.sim.scaleserp.handle

    async def watched(request: Request, operation: Operation) -> Reply:
        seen.append(await place.is_sent())
        return await handle(request, operation)

    place.sim.scaleserp.handle = watched  # type: ignore[method-assign]
    session = await place.intended()
    assert not await place.is_sent()
    await place.create(session)
    assert seen == [True]
    await session.advance("create", provider_batch_id="B")
    assert not await place.is_sent()


async def test_an_answer_ends_the_doubt(place: Place) -> None:
    """A call that the provider answered with an error takes no effect later."""
    place.sim.set_faults([CREATE | {"fault": "500"}])
    session = await place.intended()
    with pytest.raises(ProviderError):
        await place.create(session)
    assert not await place.is_sent()
    assert not session.is_in_doubt()


async def test_a_refused_or_cancelled_call_was_not_sent(place: Place) -> None:
    """After a refusal by the guard, or an ended lease, nothing is in doubt."""
    session = await place.intended()
    place.has_lease = False
    with pytest.raises(LeaseLost):
        await place.create(session)
    assert not await place.is_sent()
    place.has_lease = True
    await place.tools.guard.breakers.isolate("scale_serp_api")
    with pytest.raises(CallRefused):
        await place.create(session)
    assert not await place.is_sent()
    assert place.sim.log.of("scaleserp", "create_batch") == []


async def test_a_call_without_an_answer_is_checked_after_its_deadline(place: Place) -> None:
    """For 73 s no call is made; then the batch is found by its name and created once."""
    place.sim.set_faults([NO_ANSWER])
    with pytest.raises(ProviderError):
        await place.create(await place.intended())
    assert await place.is_sent()
    calls = len(place.sim.log.entries)
    for seconds, is_made in ((72.0, False), (74.0, True)):
        place.clock.ahead_seconds = seconds
        session = await place.resumed()
        driver = SerpBatch(session, {ITEM: SPEC}, [])
        async with aclosing(driver.outcomes()) as outcomes:
            assert [step async for step in outcomes] == []
        assert (session.row.provider_batch_id is not None) is is_made
        assert (len(place.sim.log.entries) > calls) is is_made
    assert place.sim.scaleserp.account.created == 1
    assert len(place.sim.log.of("scaleserp", "create_batch")) == 1
