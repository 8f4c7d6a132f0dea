"""The guard's waits, leases, caches and sizes."""

import asyncio
import threading
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from harness.guarded import (
    START,
    MakeGuard,
    ManualClock,
    Provider,
    call,
    down,
    ok,
    owned_chunk,
    policy,
    rows,
    status,
)

from serpline.core.spool import Spool
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, HttpRequest
from serpline.robustness.breakers import BreakerOpen, CircuitBreakerManager
from serpline.robustness.budget import BudgetReserved
from serpline.robustness.guard import CallScope, Guard, ReadingFailed
from serpline.robustness.ledger import reconcile
from serpline.robustness.refusals import CallInFlight, RetryBudgetSpent
from serpline.store.calls import breakers as breaker_rows
from serpline.store.calls import budgets
from serpline.store.database import Database

NAME = "example_api"


async def under_way(guard: Guard, provider: Provider, scope: CallScope, **how: Any) -> Any:
    """A call that is sent but not answered."""
    task = asyncio.create_task(guard.execute(call("under way", **how), scope))
    await provider.entered.acquire()
    return task


async def test_a_call_in_flight_is_checked_again_in_two_seconds(
    db: Database, guards: MakeGuard, clock: ManualClock
) -> None:
    """Both refusals that end with calls in flight: the same call, and a call whose credits they
    hold."""
    run_id, chunk_id, epoch = await owned_chunk(db)
    _, other_chunk, other_epoch = await owned_chunk(db)
    async with db.transaction() as conn:
        await budgets.set_limit(conn, budgets.run_scope(run_id), "example", Decimal(10))
    provider = Provider(gate=asyncio.Event())
    scope = CallScope("x", run_id, chunk_id, epoch)
    task = await under_way(guards(provider), provider, scope, price=10.0)
    guard = guards(Provider())
    same_purchase = CallScope("x", run_id, other_chunk, other_epoch)
    for kind, identity in ((CallInFlight, "under way"), (BudgetReserved, "another")):
        with pytest.raises(kind) as refused:
            await guard.execute(call(identity, price=10.0), same_purchase)
        assert refused.value.until == clock.now() + timedelta(seconds=2)
    assert provider.gate is not None
    provider.gate.set()
    await task


async def lent_seconds(db: Database) -> float:
    """The lease of the breaker's one permit."""
    (row,) = await rows(
        db,
        "SELECT extract(epoch FROM (machine #>> '{permits,0,expires_at}')::timestamptz"
        " - clock_timestamp())::float AS seconds FROM circuit_breakers",
    )
    return float(row.seconds)


async def test_a_permit_is_lent_for_as_long_as_its_call_may_take(
    db: Database, guards: MakeGuard, clock: ManualClock
) -> None:
    """The call's own timeout plus a minute of waits; five minutes for a function."""
    provider = Provider(answer=down)
    guard = guards(provider, breaker_settings=BreakerSettings(failure_threshold=1))
    with pytest.raises(ProviderError):
        await guard.execute(call(), CallScope("x"))
    clock.elapsed_seconds += 70
    provider.gate = asyncio.Event()
    provider.entered = asyncio.Semaphore(0)
    task = await under_way(guard, provider, CallScope("x"))
    assert 85 < await lent_seconds(db) <= 30 + 60
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await guard.breakers.close()
    permit = await guard.breakers.get_breaker(NAME).permit()
    assert 290 < await lent_seconds(db) <= 300
    permit.cancelled()


async def test_a_refused_probe_is_refused_from_memory_for_a_fifth_of_a_second(
    db: Database, clock: ManualClock
) -> None:
    """A thousand callers of an open breaker cause at most five database calls a second."""
    first, second = (CircuitBreakerManager(db, clock) for _ in range(2))
    settings = BreakerSettings(failure_threshold=1, success_threshold=1)
    here, there = first.get_breaker(NAME, settings=settings), second.get_breaker(NAME)
    await (await here.permit()).failed()
    clock.elapsed_seconds += 70
    probe = await there.permit()
    with pytest.raises(BreakerOpen):
        await here.permit()
    probe.cancelled()
    await second.close()
    clock.elapsed_seconds += 0.15
    with pytest.raises(BreakerOpen):
        await here.permit()
    clock.elapsed_seconds += 0.1
    await (await here.permit()).succeeded()


async def test_another_process_sees_a_breaker_open_within_a_second(
    db: Database, clock: ManualClock
) -> None:
    """Until then it uses its cache without a database call."""
    first, second = (CircuitBreakerManager(db, clock) for _ in range(2))
    here = first.get_breaker(NAME, failure_threshold=1)
    there = second.get_breaker(NAME)
    await (await there.permit()).succeeded()
    await (await here.permit()).failed()
    clock.elapsed_seconds += 0.9
    await (await there.permit()).succeeded()
    clock.elapsed_seconds += 0.2
    with pytest.raises(BreakerOpen):
        await there.permit()


async def blocked(db: Database) -> None:
    """Return when a transaction waits for a lock."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    async with asyncio.timeout(30):
        while not await rows(db, waiting):
            pass


@pytest.mark.parametrize(("seconds", "state"), [(4.0, "open"), (6.0, "closed")])
async def test_a_failure_counts_if_reported_within_five_seconds(
    db: Database, clock: ManualClock, seconds: float, state: str
) -> None:
    """A later one may come from the network fault that delayed it."""
    manager = CircuitBreakerManager(db, clock)
    breaker = manager.get_breaker(NAME, failure_threshold=1)
    permit = await breaker.permit()
    async with db.transaction() as conn:
        await breaker_rows.lock(conn, NAME)
        telling = asyncio.create_task(permit.failed())
        await blocked(db)
        clock.elapsed_seconds += seconds
    await telling
    assert (await breaker.state()).breaker.state == state


@pytest.mark.parametrize(("asked", "is_made"), [("25", True), ("40", False), (None, True)])
async def test_a_slot_is_waited_for_up_to_thirty_seconds(
    guards: MakeGuard, clock: ManualClock, asked: str | None, is_made: bool
) -> None:
    """A later slot refuses the call, so its item is settled and its worker free. A 429 without
    Retry-After pauses for a second."""
    named = {} if asked is None else {"retry_after": asked}
    provider = Provider(answer=lambda _: status(429, **named))
    guard = guards(provider)
    with pytest.raises(ProviderError):
        await guard.execute(call(1), CallScope("x"))
    provider.answer = lambda _: ok({"answer": 1})
    if is_made:
        assert await guard.execute(call(2), CallScope("x")) == 1
        assert clock.elapsed_seconds == pytest.approx(float(asked or 1), abs=0.1)
        return
    with pytest.raises(CallRefused) as refused:
        await guard.execute(call(2), CallScope("x"))
    assert refused.value.until == START + timedelta(seconds=40)
    assert clock.elapsed_seconds == 0


async def test_slots_are_given_a_second_ahead(db: Database, guards: MakeGuard) -> None:
    """Calls further back have none, so a 429 or a worker's death costs a second of the rate."""

    class FrozenClock(ManualClock):
        """A clock under which no slot comes."""

        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    guard = Guard(db, Provider().send, [policy(rate_per_second=10.0)], clock=FrozenClock())
    tasks = [asyncio.create_task(guard.execute(call(n), CallScope("x"))) for n in range(50)]
    await guard.ledger._requests.flush()
    while not (given := await rows(db, "SELECT next_slot_at FROM provider_rates")):
        await asyncio.sleep(0)
    await guard.ledger._requests.flush()
    given = await rows(db, "SELECT next_slot_at FROM provider_rates")
    assert 1.0 <= (given[0].next_slot_at - START).total_seconds() <= 1.2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await guard.close()


@pytest.mark.parametrize(("floor", "seconds"), [(1.0, 60), (30.0, 4), (10_000.0, 1)])
async def test_a_retry_without_a_token_waits_until_there_is_one(
    db: Database, guards: MakeGuard, clock: ManualClock, floor: float, seconds: float
) -> None:
    """Half of ``retry_floor`` are earned in a minute. No wait is longer than that, or shorter than
    a second."""
    guard = guards(Provider(answer=lambda _: status(500)), retry_floor=floor)
    with pytest.raises(ProviderError):
        await guard.execute(call(), CallScope("x"))
    await guard.flush()
    spent = "UPDATE provider_retries SET tokens = 0, tokens_at = :now RETURNING provider"
    await rows(db, spent, now=clock.now())
    with pytest.raises(RetryBudgetSpent) as refused:
        await guard.execute(call(), CallScope("x"))
    assert refused.value.until == clock.now() + timedelta(seconds=seconds)


async def test_a_dead_process_keeps_its_concurrency_for_fifteen_seconds(
    db: Database, guards: MakeGuard
) -> None:
    """Its calls may still be in flight at the provider. After that others get its part."""
    provider = Provider(gate=asyncio.Event())
    task = await under_way(guards(provider, concurrency=2), provider, CallScope("x"))
    (row,) = await rows(
        db,
        "SELECT extract(epoch FROM expires_at - clock_timestamp())::float AS seconds"
        " FROM provider_leases",
    )
    assert 10 < row.seconds <= 15
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_call_of_no_chunk_is_given_up_after_a_quarter_of_an_hour(
    db: Database, guards: MakeGuard, clock: ManualClock
) -> None:
    """It has no owner to check. By then its caller is gone."""
    provider = Provider(gate=asyncio.Event())
    task = await under_way(guards(provider), provider, CallScope("x"))
    clock.elapsed_seconds = 895
    assert await reconcile(db, clock) == 0
    clock.elapsed_seconds = 905
    assert await reconcile(db, clock) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("named", "spent"), [(1_000_000, 1_000_000), (1_000_001, 5)])
async def test_a_bill_of_more_than_a_million_is_none(
    db: Database, guards: MakeGuard, named: float, spent: int
) -> None:
    """No call costs that much, so the reserved price counts."""
    guard = guards(Provider())
    await guard.execute(call(price=5.0, billed=lambda _: named), CallScope("x"))
    await guard.flush()
    (row,) = await rows(db, "SELECT credits FROM provider_calls")
    assert row.credits == spent


async def test_of_an_error_five_hundred_characters_are_kept(
    db: Database, guards: MakeGuard
) -> None:
    """An outcome keeps the first 500 characters of its error, whatever becomes of the item."""

    def long(_: HttpReply) -> Any:
        raise ValueError("x" * 5_000)

    def failed(_: HttpReply) -> Any:
        raise ProviderError("y" * 5_000, provider="example", category=ErrorCategory.SERVER)

    guard = guards(Provider())
    with pytest.raises(ReadingFailed) as bug:
        await guard.execute(call("a", read=long), CallScope("x"))
    assert 250 < len(str(bug.value)) < 300
    with pytest.raises(ProviderError):
        await guard.execute(call("b", read=failed), CallScope("x"))
    await guard.flush()
    found = await rows(db, "SELECT error FROM provider_calls WHERE error LIKE 'y%'")
    assert [row.error for row in found] == ["y" * 500]


async def test_two_large_replies_are_read_at_once(guards: MakeGuard) -> None:
    """Each takes memory while it is read. The others stay on disk."""
    reading = most = 0
    entered, go_on = threading.Semaphore(0), threading.Semaphore(0)
    counting = threading.Lock()

    def read(_: HttpReply) -> Any:
        nonlocal reading, most
        with counting:
            reading += 1
            most = max(most, reading)
        entered.release()
        go_on.acquire(timeout=30)
        with counting:
            reading -= 1

    def answer(_: HttpRequest) -> HttpReply:
        spool = Spool()
        spool.write(b"{}")
        return HttpReply(200, {}, b"", large=spool)

    provider = Provider(answer=answer)
    guard = guards(provider)
    tasks: list[Awaitable[Any]] = []
    for number in range(6):
        asked = call(number, read=read)
        asked = replace(asked, request=replace(asked.request, large=True))
        tasks.append(asyncio.create_task(guard.execute(asked, CallScope("x"))))
    for _ in tasks:
        await provider.entered.acquire()
    for _ in range(2):
        await asyncio.to_thread(entered.acquire, timeout=30)
    for _ in tasks:
        go_on.release()
    await asyncio.gather(*tasks)
    assert most == 2


async def test_replies_are_stored_compressed(db: Database, guards: MakeGuard) -> None:
    """A page of text takes a fraction of its size."""
    guard = guards(Provider(answer=lambda _: ok({"answer": "a page of words " * 1_000})))
    await guard.execute(call(), CallScope("x"))
    await guard.flush()
    async with db.transaction() as conn:
        sizes = sa.text("SELECT octet_length(body) * 20.0 / size_bytes FROM raw_replies")
        assert (await conn.execute(sizes)).scalar_one() < 1
