"""A breaker's settings: whose hold, what a change makes of a running machine, known names."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from harness.guarded import ManualClock, Provider, call, policy, rows

from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import UserError
from serpline.robustness.breakers import BreakerOpen, CircuitBreakerManager
from serpline.robustness.guard import CallScope, Guard
from serpline.store.database import Database

NAME = "example_api"
NIGHTLY = "example_api@nightly/news"
BEFORE, AFTER = BreakerSettings(failure_threshold=3), BreakerSettings(failure_threshold=5)


class Processes:
    """Makes managers, each like a process of its own."""

    def __init__(self, db: Database, clock: ManualClock, stack: AsyncExitStack) -> None:
        self._db, self._clock, self._stack = db, clock, stack

    def start(self) -> CircuitBreakerManager:
        manager = CircuitBreakerManager(self._db, self._clock, chance=lambda: 0.5)
        self._stack.push_async_callback(manager.close)
        return manager


@pytest.fixture
async def processes(db: Database, clock: ManualClock) -> AsyncIterator[Processes]:
    async with AsyncExitStack() as stack:
        yield Processes(db, clock, stack)


async def events(db: Database) -> list[str]:
    found = await rows(db, "SELECT event_type FROM circuit_breaker_events ORDER BY id")
    return [row.event_type for row in found]


@asynccontextmanager
async def unwritten(db: Database) -> AsyncIterator[None]:
    """Nothing is written to any breaker meanwhile."""
    before = await rows(db, "SELECT xmin::text, * FROM circuit_breakers ORDER BY name")
    yield
    assert await rows(db, "SELECT xmin::text, * FROM circuit_breakers ORDER BY name") == before


async def test_settings_are_versioned(
    db: Database, clock: ManualClock, processes: Processes
) -> None:
    """A change is an event and holds for every process; the same again is none."""
    first, second = processes.start(), processes.start()
    await first.get_breaker(NAME, failure_threshold=5).permit()
    await second.get_breaker(NAME, failure_threshold=5).permit()
    clock.elapsed_seconds += 1
    await second.get_breaker(NAME, failure_threshold=2).permit()
    row = await first.get_breaker(NAME).state()
    assert (row.settings.failure_threshold, row.settings_version) == (2, 2)
    assert await events(db) == ["settings_changed"]


async def test_two_runs_of_an_edited_schedule_do_not_take_turns(
    db: Database, clock: ManualClock, processes: Processes
) -> None:
    """The newer run's settings hold, in every process; the retried old run's are passed over, and
    neither asks the database for each call."""
    old, new = clock.now(), ManualClock()
    new.elapsed_seconds = 86_400
    here, there = processes.start(), processes.start()
    for _ in range(3):
        for manager in (here, there):
            for settings, at in ((BEFORE, old), (AFTER, new.now())):
                await manager.get_breaker(NIGHTLY, settings=settings, settings_at=at).permit()
    assert (await here.get_breaker(NIGHTLY).state()).settings == AFTER
    assert await events(db) == ["settings_changed"]
    async with unwritten(db):
        for _ in range(3):
            clock.elapsed_seconds += 0.1
            for settings, at in ((BEFORE, old), (AFTER, new.now())):
                breaker = here.get_breaker(NIGHTLY, settings=settings, settings_at=at)
                assert breaker._from_cache() is not None
            late = processes.start().get_breaker(NIGHTLY, settings=BEFORE, settings_at=old)
            await late.permit()


async def test_a_schedule_edited_back_goes_by_its_newest_run(
    clock: ManualClock, processes: Processes
) -> None:
    """Three, five, three again: the second run, retried, brings its five back no more."""
    times = []
    for _ in range(3):
        times.append(clock.now())
        clock.elapsed_seconds += 86_400
    first, second, third = times
    for settings, at in ((BEFORE, first), (BEFORE, third), (AFTER, second)):
        breaker = processes.start().get_breaker(NIGHTLY, settings=settings, settings_at=at)
        await breaker.permit()
    row = await breaker.state()
    assert (row.settings, row.settings_version, row.settings_at) == (BEFORE, 1, third)


async def test_two_programs_with_settings_of_their_own_do_not_take_turns(
    db: Database, clock: ManualClock, processes: Processes
) -> None:
    """Each says its settings once, however often it repeats them: the later word holds."""
    here, there = processes.start(), processes.start()
    for _ in range(5):
        await here.get_breaker(NAME, failure_threshold=3).permit()
        clock.elapsed_seconds += 2
        await there.get_breaker(NAME, failure_threshold=5).permit()
        clock.elapsed_seconds += 2
    for _ in range(5):
        for threshold in (7, 9):
            clock.elapsed_seconds += 2
            await here.get_breaker(NAME, failure_threshold=threshold).permit()
    assert (await there.get_breaker(NAME).state()).settings.failure_threshold == 9
    assert await events(db) == ["settings_changed"] * 3


async def test_a_workers_start_leaves_an_operators_settings(
    db: Database, clock: ManualClock, processes: Processes
) -> None:
    """The policy's settings make the row, and never replace what an operator has changed."""
    for threshold in (10, 4, 4):
        guard = Guard(db, Provider().send, [policy()], clock=clock, breakers=processes.start())
        await guard.execute(call(threshold), CallScope("x"))
        row = await guard.breakers.get_breaker(NAME).state()
        assert (row.settings.failure_threshold, row.settings.timeout_seconds) == (threshold, 300)
        await guard.close()
        clock.elapsed_seconds += 1
        await processes.start().configure(NAME, failure_threshold=4)
        clock.elapsed_seconds += 1
    assert await events(db) == ["settings_changed"]


async def test_the_codes_settings_hold_where_nobody_set_others(
    db: Database, clock: ManualClock, processes: Processes
) -> None:
    """Another release brings other ones: they hold at once, unless an operator set them."""
    older, newer = processes.start(), processes.start()
    older.register_defaults([policy()])
    newer.register_defaults([policy(breaker_settings=BreakerSettings(timeout_seconds=600))])

    async def in_force(manager: CircuitBreakerManager) -> tuple[int, float]:
        row = await manager.get_breaker(NAME).state()
        (listed,) = await manager.list_all()
        assert listed.settings == row.settings
        return row.settings.failure_threshold, row.settings.timeout_seconds

    assert [await in_force(manager) for manager in (older, newer)] == [(10, 300), (5, 600)]
    assert await events(db) == []
    await older.configure(NAME, failure_threshold=7)
    assert [await in_force(manager) for manager in (older, newer)] == [(7, 300), (7, 600)]
    await newer.configure(NAME, timeout_seconds=60)
    assert [await in_force(manager) for manager in (older, newer)] == [(7, 60), (7, 60)]
    assert await events(db) == ["settings_changed"] * 2


async def test_impossible_settings_change_nothing(processes: Processes, db: Database) -> None:
    """They are named, and an unknown breaker is unknown."""
    manager = processes.start()
    await manager.get_breaker(NAME).permit()
    async with unwritten(db):
        with pytest.raises(UserError, match=r"^failure_threshold=0: "):
            await manager.configure(NAME, failure_threshold=0)
        with pytest.raises(LookupError):
            await manager.configure("nobody's", failure_threshold=1)


async def test_fewer_successes_asked_for_close_it_in_every_process(
    db: Database, clock: ManualClock, processes: Processes
) -> None:
    """Half-open with one good probe of two: one is enough now, and nobody gets stuck."""
    here, there = processes.start(), processes.start()
    breaker = here.get_breaker(NAME, 1, 2, 60)
    await (await breaker.permit()).failed()
    clock.elapsed_seconds += 66
    await (await breaker.permit()).succeeded()
    await there.configure(NAME, success_threshold=1)
    clock.elapsed_seconds += 2
    await breaker.permit()
    assert (await breaker.state()).breaker.state == "closed"
    assert await events(db) == ["opened", "half_opened", "settings_changed", "closed"]


async def test_a_known_breaker_is_isolated_before_its_first_call(
    db: Database, clock: ManualClock, processes: Processes
) -> None:
    """Its row is made with its policy's settings; the first call is refused."""
    operator = processes.start()
    assert operator.register_defaults([policy(), policy(breaker=None)]) == [NAME]
    row = await operator.isolate(NAME)
    assert (row.breaker.state, row.settings) == ("isolated", policy().breaker_settings)
    guard = Guard(db, Provider().send, [policy()], clock=clock)
    with pytest.raises(BreakerOpen):
        await guard.execute(call(), CallScope("x"))
    await guard.close()
    await operator.reset(NAME)
    assert await events(db) == ["isolated", "reset"]
