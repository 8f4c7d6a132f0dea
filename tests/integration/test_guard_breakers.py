"""Circuit breakers shared through PostgreSQL: several processes act as one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from harness.guarded import (
    ManualClock,
    Provider,
    call,
    down,
    ok,
    policy,
    rows,
    status,
)

from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.robustness.breakers import BreakerOpen, CircuitBreakerManager, Permit
from serpline.robustness.guard import CallScope, Guard
from serpline.store.database import Database

MakeManagers = Callable[[int], Sequence[CircuitBreakerManager]]
NAME = "example_api"


@pytest.fixture
async def managers(db: Database, clock: ManualClock) -> AsyncIterator[MakeManagers]:
    """Makes managers, each like a process of its own."""
    made: list[CircuitBreakerManager] = []

    def make(count: int) -> Sequence[CircuitBreakerManager]:
        new = [CircuitBreakerManager(db, clock, chance=lambda: 0.5) for _ in range(count)]
        made.extend(new)
        return new

    yield make
    for manager in made:
        await manager.close()


async def events(db: Database) -> list[tuple[str, str, int]]:
    found = await rows(
        db, "SELECT event_type, state, failure_count FROM circuit_breaker_events ORDER BY id"
    )
    return [tuple(row) for row in found]


async def test_failures_of_all_processes_count_together(
    db: Database, clock: ManualClock, managers: MakeManagers
) -> None:
    """Three failures in three processes open it for a fourth, with one event."""
    four = [manager.get_breaker(NAME, failure_threshold=3) for manager in managers(4)]
    for breaker in four[:3]:
        await (await breaker.permit()).failed()
    with pytest.raises(BreakerOpen, match=r"^breaker example_api is open$") as refused:
        await four[3].permit()
    assert refused.value.until is not None
    assert await events(db) == [("opened", "open", 3)]


async def test_a_success_while_closed_costs_no_database_call(
    db: Database, managers: MakeManagers
) -> None:
    """A thousand successes write nothing: the row stays as it was made."""
    (manager,) = managers(1)
    breaker = manager.get_breaker(NAME)
    await breaker.permit()
    before = await rows(db, "SELECT xmin::text, * FROM circuit_breakers")
    for _ in range(1000):
        await (await breaker.permit()).succeeded()
    await manager.close()
    assert await rows(db, "SELECT xmin::text, * FROM circuit_breakers") == before


async def test_a_success_elsewhere_ends_the_row_of_failures(
    clock: ManualClock, managers: MakeManagers
) -> None:
    """Alternating failures here and successes there are not consecutive failures."""
    both = managers(2)
    here, there = (
        manager.get_breaker(NAME, failure_threshold=3, success_threshold=1) for manager in both
    )
    for _ in range(5):
        await (await here.permit()).failed()
        clock.elapsed_seconds += 2
        await (await there.permit()).succeeded()
        await both[1].close()
        clock.elapsed_seconds += 2
    assert (await here.state()).breaker.state == "closed"


async def test_half_open_probes_never_exceed_the_permits(
    db: Database, clock: ManualClock, managers: MakeManagers
) -> None:
    """Four processes with a hundred callers each make two probes, and two successes close it."""
    four = [
        manager.get_breaker(NAME, failure_threshold=1, success_threshold=2, timeout_seconds=60)
        for manager in managers(4)
    ]
    await (await four[0].permit()).failed()
    clock.elapsed_seconds += 60

    async def attempt(number: int) -> Permit | CallRefused:
        try:
            return await four[number % 4].permit()
        except CallRefused as refused:
            return refused

    results = await asyncio.gather(*(attempt(number) for number in range(400)))
    permits = [result for result in results if isinstance(result, Permit)]
    assert len(permits) == 2
    await permits[0].succeeded()
    assert (await four[0].state()).breaker.state == "half_open"
    await permits[1].succeeded()
    assert [kind for kind, _, _ in await events(db)] == ["opened", "half_opened", "closed"]


async def test_a_crashed_probe_is_given_again(
    db: Database, clock: ManualClock, managers: MakeManagers
) -> None:
    """The permit of a process that died expires by the database's clock."""
    dead, alive = managers(2)
    settings = BreakerSettings(failure_threshold=1, success_threshold=1, permit_seconds=1000)
    first = dead.get_breaker(NAME, settings=settings)
    await (await first.permit()).failed()
    clock.elapsed_seconds += 66
    await first.permit()
    other = alive.get_breaker(NAME)
    with pytest.raises(BreakerOpen):
        await other.permit()
    await rows(
        db,
        "UPDATE circuit_breakers SET machine = jsonb_set(machine, '{permits,0,expires_at}',"
        " to_jsonb(now() - interval '1 s'))"
        " RETURNING name",
    )
    clock.elapsed_seconds += 1
    await (await other.permit()).succeeded()
    assert (await other.state()).breaker.state == "closed"


@pytest.mark.parametrize("timeout_seconds", [120.0, 300.0])
async def test_a_probes_permits_outlive_its_call(
    db: Database, clock: ManualClock, timeout_seconds: float
) -> None:
    """The shared and the schedule's permit cover the wait for a slot and the whole deadline."""
    provider = Provider(answer=down)
    policy_ = policy(breaker_settings=BreakerSettings(failure_threshold=1))
    guard = Guard(db, provider.send, [policy_], clock=clock)
    strict = guard.breakers.get_breaker("example_api@nightly/news", failure_threshold=1)
    scope = CallScope("x", breakers=(strict,))
    with pytest.raises(ProviderError):
        await guard.execute(call(), scope)
    clock.elapsed_seconds += 70
    provider.gate = asyncio.Event()
    request = replace(call("slow").request, timeout_seconds=timeout_seconds)
    probing = asyncio.create_task(guard.execute(replace(call("slow"), request=request), scope))
    while provider.in_flight == 0:
        await asyncio.sleep(0)
    found = await rows(
        db,
        "SELECT (machine #>> '{permits,0,expires_at}')::timestamptz - clock_timestamp() AS lent"
        " FROM circuit_breakers",
    )
    assert [timedelta(seconds=timeout_seconds + 30) < row.lent for row in found] == [True, True]
    provider.gate.set()
    with pytest.raises(ProviderError):
        await probing
    assert [kind for kind, _, _ in await events(db)].count("reopened") == 2
    await guard.close()


async def test_a_failed_probe_reopens_after_its_lease(
    db: Database, clock: ManualClock, managers: MakeManagers
) -> None:
    """Another probe has its permit by then, but the provider's hanging still counts."""
    hung, other = managers(2)
    settings = BreakerSettings(failure_threshold=1, success_threshold=1, permit_seconds=0.001)
    first = hung.get_breaker(NAME, settings=settings)
    await (await first.permit()).failed()
    clock.elapsed_seconds += 66
    late = await first.permit()
    given_again = None
    while given_again is None:
        clock.elapsed_seconds += 1
        with suppress(BreakerOpen):
            given_again = await other.get_breaker(NAME).permit()
    await late.failed()
    row = await first.state()
    assert (row.breaker.state, row.breaker.relapses) == ("open", 1)
    assert row.breaker.open_until == clock.now() + timedelta(seconds=120)


async def test_a_caller_cancelled_while_asking_leaves_no_permit(
    db: Database, clock: ManualClock, managers: MakeManagers
) -> None:
    """The permit of a commit whose caller is gone comes back."""
    (manager,) = managers(1)
    breaker = manager.get_breaker(NAME, failure_threshold=1, success_threshold=1, timeout_seconds=5)
    await (await breaker.permit()).failed()
    clock.elapsed_seconds += 10
    for _ in range(20):
        asking = asyncio.create_task(breaker.permit())
        while not breaker.pending_decisions:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await manager.close()
        assert (await breaker.state()).breaker.permits == ()
    await (await breaker.permit()).succeeded()
    assert (await breaker.state()).breaker.state == "closed"


async def test_a_caller_cancelled_while_it_reports_loses_no_report(
    db: Database, managers: MakeManagers
) -> None:
    """Its failure reaches both breakers, although it waited for one at most."""
    (manager,) = managers(1)
    both = [manager.get_breaker(name, failure_threshold=1) for name in (NAME, f"{NAME}@nightly")]
    permit = await Permit.of(both, call_seconds=20)
    reporting = asyncio.create_task(permit.failed())
    await asyncio.sleep(0)
    reporting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reporting
    await manager.close()
    assert [(await breaker.state()).breaker.state for breaker in both] == ["open", "open"]


async def test_isolated_by_hand_until_reset(
    db: Database, clock: ManualClock, managers: MakeManagers
) -> None:
    """A person's isolation holds in every process within the cache time, despite successes."""
    operator, worker = managers(2)
    breaker = worker.get_breaker(NAME)
    await breaker.permit()
    await operator.isolate(NAME)
    clock.elapsed_seconds += 1.5
    with pytest.raises(BreakerOpen) as refused:
        await breaker.permit()
    assert refused.value.until is None
    await operator.reset(NAME)
    clock.elapsed_seconds += 1.5
    await breaker.permit()
    assert [kind for kind, _, _ in await events(db)] == ["isolated", "reset"]
    with pytest.raises(LookupError):
        await operator.isolate("nobody's")


async def test_call_runs_a_function_under_the_breaker(managers: MakeManagers) -> None:
    """``breaker.call`` counts provider errors by category, and other exceptions as failures."""
    (manager,) = managers(1)
    breaker = manager.get_breaker(NAME, failure_threshold=2, success_threshold=1, timeout_seconds=5)

    async def work(error: Exception | None = None) -> str:
        if error is not None:
            raise error
        return "done"

    assert await breaker.call(work) == "done"
    for category in (ErrorCategory.RATE_LIMIT, ErrorCategory.AUTH, ErrorCategory.QUOTA):
        with pytest.raises(ProviderError):
            await breaker.call(work, ProviderError("x", provider="e", category=category))
    with pytest.raises(ZeroDivisionError):
        await breaker.call(work, ZeroDivisionError())
    with pytest.raises(ProviderError):
        await breaker.call(work, ProviderError("x", provider="e", category=ErrorCategory.TIMEOUT))
    with pytest.raises(BreakerOpen):
        await breaker.call(work)


async def test_a_schedules_stricter_breaker_is_passed_as_well(
    db: Database, clock: ManualClock
) -> None:
    """Three failures stop the schedule's calls, while others still reach the provider."""
    provider = Provider(answer=down)
    guard = Guard(db, provider.send, [policy()], clock=clock)
    strict = guard.breakers.get_breaker("example_api@nightly/news", failure_threshold=3)
    nightly = CallScope("x", breakers=(strict,))
    for number in range(3):
        with pytest.raises(ProviderError):
            await guard.execute(call(number), nightly)
    with pytest.raises(BreakerOpen, match="nightly"):
        await guard.execute(call(3), nightly)
    provider.answer = lambda _: ok({"answer": 1})
    assert await guard.execute(call(4), CallScope("x")) == 1
    await guard.close()


async def test_a_provider_down_for_ten_minutes_costs_a_handful_of_calls(
    db: Database, clock: ManualClock
) -> None:
    """Down 600 s, threshold 10, timeout 300 s: ten calls and one probe, then all calls pass."""
    provider = Provider(answer=down)
    guard = Guard(
        db,
        provider.send,
        [policy()],
        clock=clock,
        breakers=CircuitBreakerManager(db, clock, chance=lambda: 0.5),
    )
    failed, refused = list[int](), 0
    seconds = range(0, 600, 5)
    for second in seconds:
        try:
            await guard.execute(call(second), CallScope("x"))
        except ProviderError:
            failed.append(second)
        except BreakerOpen:
            refused += 1
        clock.elapsed_seconds += 5
    assert (len(provider.log), refused) == (11, len(seconds) - 11)
    # The tenth failure opens it, 300 s later comes the probe, and the next time-out is longer.
    assert failed == [*range(0, 50, 5), 345]
    provider.answer = lambda _: ok({"answer": 1})
    clock.elapsed_seconds += 400
    for number in range(100):
        assert await guard.execute(call(["after", number]), CallScope("x")) == 1
    await guard.close()


async def test_three_failures_to_one_success_open_by_call_twenty(
    db: Database, clock: ManualClock
) -> None:
    """The rate threshold works through the whole guard, with successes kept locally."""
    provider = Provider()
    provider.answer = lambda _: status(500) if len(provider.log) % 4 else ok({"answer": 1})
    guard = Guard(db, provider.send, [policy()], clock=clock)
    refused = 0
    for number in range(40):
        try:
            await guard.execute(call(number), CallScope("x"))
        except ProviderError:
            clock.elapsed_seconds += 0.1
        except BreakerOpen:
            refused += 1
    assert (len(provider.log), refused) in ((20, 20), (21, 19))
    await guard.close()
