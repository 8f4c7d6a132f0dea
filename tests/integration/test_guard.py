"""Guarded calls on a real PostgreSQL: paid once, always recorded, refused for free."""

import asyncio
import json
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from harness.guarded import (
    MakeGuard,
    ManualClock,
    Provider,
    call,
    down,
    ok,
    owned_chunk,
    parse,
    policy,
    rows,
    status,
    take_over,
)

from serpline.core.masking import MASK
from serpline.core.spool import Spool
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import (
    CallRefused,
    ErrorCategory,
    LeaseLost,
    ProviderError,
    UserError,
)
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.domain.waits import WaitCause, WaitReason
from serpline.net.client import HttpClient
from serpline.net.errors import CalledOff
from serpline.robustness import guard as guard_module
from serpline.robustness.breakers import BreakerOpen
from serpline.robustness.budget import BudgetReserved, BudgetSpent
from serpline.robustness.calls import call_key, end_of, intent_of
from serpline.robustness.guard import CallScope, Guard
from serpline.robustness.ledger import limits_of, reconcile
from serpline.robustness.refusals import CallInFlight
from serpline.store.calls import budgets
from serpline.store.calls import ledger as store_ledger
from serpline.store.calls.budgets import Budget
from serpline.store.calls.ledger import AdmissionRequest
from serpline.store.calls.replies import Lookup
from serpline.store.database import Connection, Database, DatabaseUnavailable


async def test_a_paid_reply_is_not_paid_again(db: Database, guards: MakeGuard) -> None:
    """The second caller, in another process, reads the stored reply of the first."""
    provider, scope = Provider(), CallScope("day 1")
    first = guards(provider)
    assert await first.execute(call(), scope) == 1
    await first.flush()
    assert await guards(provider).execute(call(), scope) == 1
    assert len(provider.log) == 1
    (row,) = await rows(db, "SELECT status, attempt, credits, http_status FROM provider_calls")
    assert (row.status, row.attempt, row.credits, row.http_status) == ("ok", 1, 1, 200)


async def test_an_outcome_is_durable_soon_without_a_flush(db: Database, guards: MakeGuard) -> None:
    """A death loses at most a quarter of a second of outcomes: the time they wait for a group."""
    await guards(Provider()).execute(call(), CallScope("x"))
    async with asyncio.timeout(2):
        while [row.status for row in await rows(db, "SELECT status FROM provider_calls")] != ["ok"]:
            await asyncio.sleep(0.02)


async def test_a_paid_reply_is_read_whatever_the_provider_does(guards: MakeGuard) -> None:
    """A stored reply is returned despite an isolated breaker or a pause."""
    guard = guards(Provider(), concurrency=1)
    assert await guard.execute(call(), CallScope("x")) == 1
    await guard.flush()
    isolated, paused = guards(Provider()), guards(Provider())
    await isolated.breakers.isolate("example_api")
    with pytest.raises(BreakerOpen):
        await isolated.execute(call("other"), CallScope("x"))
    assert await isolated.execute(call(), CallScope("x")) == 1
    await isolated.breakers.reset("example_api")
    await paused.limiter.pause(policy(), 3600, "used up")
    assert await paused.execute(call(), CallScope("x")) == 1


async def test_a_reply_that_came_while_the_call_waited_is_not_paid_again(
    db: Database, guards: MakeGuard
) -> None:
    """A call that waits for its slot finds the reply that another process bought in that time."""
    provider = Provider()
    first = guards(provider)

    class BuysWhileSleeping(ManualClock):
        """A clock whose sleep lets another process buy the same reply."""

        async def sleep(self, seconds: float) -> None:
            await first.execute(call(), CallScope("x"))
            await first.flush()
            await super().sleep(seconds)

    waiting = Guard(db, provider.send, [policy(rate_per_second=2.0)], clock=BuysWhileSleeping())
    await waiting.execute(call("before it"), CallScope("x"))
    assert await waiting.execute(call(), CallScope("x")) == 1
    assert [request.params["q"] for request in provider.log] == ["before it", "a"]
    await waiting.close()


async def test_another_freshness_is_another_purchase(guards: MakeGuard) -> None:
    """The same request in a new freshness scope, or after its time to live, is made again."""
    provider = Provider()
    guard = guards(provider)
    await guard.execute(call(), CallScope("day 1"))
    await guard.execute(call(), CallScope("day 2"))
    assert len(provider.log) == 2
    await guard.flush()
    await guard.execute(call(), CallScope("day 2", ttl_seconds=60))
    assert len(provider.log) == 2
    await guard._clock.sleep(61)
    await guard.execute(call(), CallScope("day 2", ttl_seconds=60))
    await guard.execute(call(), CallScope("day 2", ttl_seconds=0))
    assert len(provider.log) == 4


async def test_equal_calls_in_one_process_buy_once(guards: MakeGuard) -> None:
    """A hundred concurrent callers of one purchase make one call."""
    provider = Provider()
    guard = guards(provider)
    answers = await asyncio.gather(*(guard.execute(call(), CallScope("x")) for _ in range(100)))
    assert (answers, len(provider.log)) == ([1] * 100, 1)


async def test_equal_calls_in_two_processes_buy_once(db: Database, guards: MakeGuard) -> None:
    """While one worker buys, the other is refused without paying, and then reads the reply."""
    _, chunk_id, epoch = await owned_chunk(db)
    _, other_chunk, other_epoch = await owned_chunk(db)
    slow = Provider(gate=asyncio.Event())
    first, second = guards(slow), guards(Provider())
    scope = CallScope("x", chunk_id=chunk_id, epoch=epoch)
    buying = asyncio.create_task(first.execute(call(), scope))
    await slow.entered.acquire()
    other = CallScope("x", chunk_id=other_chunk, epoch=other_epoch)
    with pytest.raises(CallInFlight) as refused:
        await second.execute(call(), other)
    assert refused.value.until is not None
    assert slow.gate is not None
    slow.gate.set()
    assert await buying == 1
    await first.flush()
    assert await second.execute(call(), other) == 1
    assert len(slow.log) == 1


async def test_the_purchase_of_a_dead_owner_is_taken_over(db: Database, guards: MakeGuard) -> None:
    """An intent whose chunk has a new owner becomes unknown and is charged in full. Its late reply
    still enters the ledger."""
    run_id, chunk_id, epoch = await owned_chunk(db)
    frozen = Provider(gate=asyncio.Event())
    first, second = guards(frozen), guards(Provider())
    lost = asyncio.create_task(
        first.execute(call(), CallScope("x", run_id=run_id, chunk_id=chunk_id, epoch=epoch))
    )
    await frozen.entered.acquire()
    new_epoch = await take_over(db, chunk_id)
    scope = CallScope("x", run_id=run_id, chunk_id=chunk_id, epoch=new_epoch)
    assert await second.execute(call(), scope) == 1
    await second.flush()
    totals = await second.budgets.run_totals(run_id)
    assert (totals["example"].calls, int(totals["example"].credits)) == (2, 2)
    assert totals["example"].unknown == 1
    assert frozen.gate is not None
    frozen.gate.set()
    assert await lost == 1
    await first.flush()
    totals = await second.budgets.run_totals(run_id)
    assert (totals["example"].calls, totals["example"].unknown) == (2, 0)
    budget = await second.budgets.read("example", f"run:{run_id}")
    assert (float(budget.reserved), float(budget.spent)) == (0, 2)


async def test_reconcile_gives_up_orphaned_intents(
    db: Database, guards: MakeGuard, clock: ManualClock
) -> None:
    """Intents of dead owners become unknown. Those of running owners stay."""
    _, dead_chunk, dead_epoch = await owned_chunk(db)
    _, chunk_id, epoch = await owned_chunk(db)
    provider = Provider(gate=asyncio.Event())
    guard = guards(provider)
    tasks = [
        asyncio.create_task(guard.execute(call(key), CallScope("x", chunk_id=chunk, epoch=number)))
        for key, chunk, number in (("a", dead_chunk, dead_epoch), ("b", chunk_id, epoch))
    ]
    for _ in tasks:
        await provider.entered.acquire()
    await take_over(db, dead_chunk)
    assert await reconcile(db, clock) == 1
    found = await rows(db, "SELECT chunk_id, status FROM provider_calls ORDER BY chunk_id")
    assert [tuple(row) for row in found] == [(dead_chunk, "unknown"), (chunk_id, "intent")]
    assert provider.gate is not None
    provider.gate.set()
    await asyncio.gather(*tasks)


async def test_a_lost_lease_sends_nothing(db: Database, guards: MakeGuard) -> None:
    """The lease is checked between the intent and the call. The intent is removed."""
    provider, guard_asks = Provider(), []
    guard = guards(provider, credits_per_day=10.0)

    def lease() -> bool:
        guard_asks.append(True)
        return False

    with pytest.raises(LeaseLost):
        await guard.execute(call(), CallScope("x", chunk_id=1, epoch=1, lease=lease))
    await guard.flush()
    assert (provider.log, guard_asks) == ([], [True])
    assert await rows(db, "SELECT * FROM provider_calls") == []
    budget = await guard.budgets.read("example", "day:2026-03-01")
    assert (float(budget.reserved), float(budget.spent)) == (0, 0)


async def test_a_lease_that_ends_at_the_last_instant_costs_nothing(
    db: Database, clock: ManualClock, guards: MakeGuard
) -> None:
    """The intent and its credits are removed, although others had made it unknown."""
    run_id, chunk_id, epoch = await owned_chunk(db)
    provider, held = Provider(gate=asyncio.Event()), True

    def answer(request: HttpRequest) -> HttpReply | Exception:
        return ok({"answer": 1}) if request.may_send() else CalledOff()

    provider.answer = answer
    guard = guards(provider, credits_per_day=10.0)
    scope = CallScope("x", run_id, chunk_id, epoch, lease=lambda: held)
    paying = asyncio.create_task(guard.execute(call(), scope))
    await provider.entered.acquire()
    await take_over(db, chunk_id)
    assert await reconcile(db, clock) == 1
    held = False
    assert provider.gate is not None
    provider.gate.set()
    with pytest.raises(LeaseLost):
        await paying
    await guard.flush()
    assert await rows(db, "SELECT * FROM provider_calls") == []
    assert await rows(db, "SELECT * FROM provider_budgets WHERE reserved <> 0 OR spent <> 0") == []


async def test_the_order_of_refusals(db: Database, guards: MakeGuard) -> None:
    """A call refused by an open breaker takes no slot, reserves no credit and writes no intent."""
    provider = Provider(answer=lambda _: status(500))
    guard = guards(provider, credits_per_day=100.0)
    for number in range(10):
        with pytest.raises(ProviderError):
            await guard.execute(call(number), CallScope("x"))
    with pytest.raises(BreakerOpen) as refused:
        await guard.execute(call("next"), CallScope("x"))
    assert refused.value.until is not None
    await guard.flush()
    assert len(provider.log) == 10
    (count,) = (await rows(db, "SELECT count(*) FROM provider_calls"))[0]
    assert count == 10
    slots = await rows(db, "SELECT next_slot_at FROM provider_rates")
    with pytest.raises(BreakerOpen):
        await guard.execute(call("another"), CallScope("x"))
    assert await rows(db, "SELECT next_slot_at FROM provider_rates") == slots


async def test_reuse_passes_an_open_breaker(guards: MakeGuard) -> None:
    """A stored reply needs no provider, so it is returned while the provider is down."""
    provider = Provider()
    guard = guards(provider)
    await guard.execute(call("kept"), CallScope("x"))
    await guard.flush()
    provider.answer = down
    for number in range(10):
        with pytest.raises(ProviderError):
            await guard.execute(call(number), CallScope("x"))
    with pytest.raises(BreakerOpen):
        await guard.execute(call("new"), CallScope("x"))
    assert await guard.execute(call("kept"), CallScope("x")) == 1


async def test_a_budget_is_never_overdrawn(db: Database, guards: MakeGuard) -> None:
    """Eight workers that ask for 200 credits of a run's 100 make exactly 100 calls."""
    run_id, _, _ = await owned_chunk(db)
    provider = Provider()
    workers = [guards(provider) for _ in range(8)]
    async with db.transaction() as conn:
        await budgets.set_limit(conn, budgets.run_scope(run_id), "example", Decimal(100))
    scope = CallScope("x", run_id=run_id)
    results = await asyncio.gather(
        *(
            worker.execute(call([number, index]), scope)
            for number, worker in enumerate(workers)
            for index in range(25)
        ),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, BudgetSpent | BudgetReserved)]
    assert (len(provider.log), len(refused), results.count(1)) == (100, 100, 100)
    # A credit is spent when its call's end is written.
    await asyncio.gather(*(worker.flush() for worker in workers))
    for worker in workers:
        with pytest.raises(BudgetSpent) as spent:
            await worker.execute(call("one more"), scope)
        assert spent.value.permanent
    budget = await workers[0].budgets.read("example", f"run:{run_id}")
    assert budget == Budget(Decimal(100), Decimal(0), Decimal(100))
    totals = await workers[0].budgets.run_totals(run_id)
    assert (totals["example"].calls, int(totals["example"].credits)) == (100, 100)


async def test_reserved_credits_are_not_spent(guards: MakeGuard, db: Database) -> None:
    """A call without credits beside calls in flight is refused for a moment, not permanently."""
    run_id, _, _ = await owned_chunk(db)
    async with db.transaction() as conn:
        await budgets.set_limit(conn, budgets.run_scope(run_id), "example", Decimal(10))
    provider = Provider(gate=asyncio.Event())
    guard = guards(provider)
    scope = CallScope("x", run_id=run_id)
    free = {"price": 10.0, "billed": lambda _: 0.0}
    holding = asyncio.create_task(guard.execute(call("no match", **free), scope))
    await provider.entered.acquire()
    with pytest.raises(BudgetReserved) as refused:
        await guard.execute(call("beside it", **free), scope)
    assert (refused.value.permanent, refused.value.until is None) == (False, False)
    with pytest.raises(BudgetSpent):
        await guard.execute(call("never fits", price=11.0), scope)
    assert provider.gate is not None
    provider.gate.set()
    assert await holding == 1
    await guard.flush()
    assert await guard.execute(call("beside it", **free), scope) == 1


async def test_a_day_ends_at_the_providers_midnight(guards: MakeGuard, clock: ManualClock) -> None:
    """A quota of a Pacific day refuses until 08:00 UTC (winter) and is full again then."""
    provider = Provider()
    guard = guards(provider, credits_per_day=1.0, zone="America/Los_Angeles")
    await guard.execute(call(1), CallScope("x"))
    await guard.flush()
    with pytest.raises(BudgetSpent) as refused:
        await guard.execute(call(2), CallScope("x"))
    assert refused.value.until is not None
    assert refused.value.until.isoformat() == "2026-03-02T08:00:00+00:00"
    assert refused.value.wait == WaitReason(WaitCause.BUDGET, "example day:2026-03-01")
    with pytest.raises(BudgetSpent) as refused:
        await guard.execute(call(3, price=2.0), CallScope("x"))
    assert refused.value.wait == WaitReason(WaitCause.BUDGET_TOO_SMALL, "example day:2026-03-01")
    clock.elapsed_seconds += (refused.value.until - clock.now()).total_seconds()
    assert await guard.execute(call(2), CallScope("x")) == 1


async def test_a_bill_beyond_reason_is_the_most_the_call_can_cost(
    guards: MakeGuard, db: Database
) -> None:
    """A price too large for its column loses neither the call's outcome nor its reply."""
    guard = guards(Provider(), credits_per_day=100.0)
    paid = call(1, price=5.0, billed=lambda _: 1e13)
    assert await guard.execute(paid, CallScope("x")) == 1
    await guard.flush()
    assert await rows(db, "SELECT status, credits FROM provider_calls") == [("ok", 5)]
    assert await guard.ledger.find(Lookup(call_key(paid, "x"))) is not None


async def test_the_largest_budget_can_be_stored(guards: MakeGuard) -> None:
    """Just below a budget's limit a call passes. A limit of that size is refused."""
    guard = guards(Provider(), credits_per_day=999_999_999_999.0)
    assert await guard.execute(call(1), CallScope("x")) == 1
    with pytest.raises(UserError, match="credits_per_day"):
        guards(Provider(), credits_per_day=1e12)


async def test_the_bill_is_what_the_reply_says(guards: MakeGuard) -> None:
    """The maximum is reserved and the actual cost is spent. An error reply is free."""
    provider = Provider(answer=lambda _: ok({"answer": 1, "credits": 2}))
    guard = guards(provider, credits_per_day=100.0)

    def billed(reply: HttpReply) -> float:
        return 2.0 if reply.status == 200 else 0.0

    await guard.execute(call(1, price=5.0, billed=billed), CallScope("x"))
    provider.answer = lambda _: status(500)
    with pytest.raises(ProviderError):
        await guard.execute(call(2, price=5.0), CallScope("x"))
    await guard.flush()
    budget = await guard.budgets.read("example", "day:2026-03-01")
    assert (float(budget.reserved), float(budget.spent)) == (0, 2)


async def test_no_secret_is_stored(db: Database, guards: MakeGuard) -> None:
    """A key echoed in body, header, URL or error is masked in every column."""
    secret = "s3cr&t/K+y"
    echo = HttpReply(
        200,
        {"content-type": f"text/{secret}", "set-cookie": "session=1"},
        f'{{"answer": 1, "html_url": "https://x.test/?api_key={secret}"}}'.encode(),
        url=f"https://x.test/?api_key={secret}",
    )
    provider = Provider(answer=lambda _: echo)
    guard = guards(provider)
    await guard.execute(call(secret=secret), CallScope("x"))
    provider.answer = lambda _: SenderBugError(secret)
    with pytest.raises(SenderBugError):
        await guard.execute(call("b", secret=secret), CallScope("x"))
    await guard.flush()
    everything = await rows(
        db,
        "SELECT c::text || coalesce(r::text, '') FROM provider_calls c"
        " LEFT JOIN raw_replies r ON r.call_id = c.id",
    )
    (stored,) = await rows(db, "SELECT body, headers FROM raw_replies")
    body = zlib.decompress(stored.body).decode()
    assert not any(secret in str(row) for row in everything)
    assert (secret in body, MASK in body, "set-cookie" in stored.headers) == (
        False,
        True,
        False,
    )


class SenderBugError(Exception):
    """A sender's own bug, with a secret in its text."""


async def test_an_unreadable_good_reply_is_kept_as_paid(db: Database, guards: MakeGuard) -> None:
    """A bug in ``parse`` rejects the item. A fixed release reads the reply without paying."""
    provider = Provider()
    guard = guards(provider)

    def buggy(_: HttpReply) -> Any:
        raise KeyError("the answer of a-very-secret-key")

    with pytest.raises(ProviderError) as failure:
        await guard.execute(call(read=buggy, secret="a-very-secret-key"), CallScope("x"))
    assert (failure.value.category, failure.value.permanent) == (ErrorCategory.INTERNAL, True)
    assert MASK in str(failure.value)
    assert "a-very-secret-key" not in str(failure.value)
    await guard.flush()
    with pytest.raises(ProviderError) as again:
        await guard.execute(call(read=buggy), CallScope("x"))
    assert again.value.category is ErrorCategory.INTERNAL
    assert await guard.execute(call(), CallScope("x")) == 1
    assert len(provider.log) == 1


def large_answer(_: HttpRequest) -> HttpReply:
    """A reply on disk, with a key in it."""
    spool = Spool()
    spool.write(json.dumps({"filler": "x" * 300_000, "key": "secret", "answer": 7}).encode())
    return HttpReply(200, {}, b"", large=spool)


def read_large(reply: HttpReply) -> Any:
    """Reads of a large reply: its answer, its key, and the thread."""
    assert (reply.large is None, reply.body) == (False, b"")
    value = json.load(reply.open())
    return value["answer"], value["key"], threading.current_thread() is threading.main_thread()


def large_call(read: Callable[[HttpReply], Any] = read_large) -> ProviderCall[Any]:
    asked = call(read=read, secret="secret")
    return replace(asked, request=replace(asked.request, large=True))


async def test_a_large_reply_is_read_off_the_loop_and_kept(guards: MakeGuard) -> None:
    """It is on disk, is stored without the key, and the ledger returns it unchanged."""
    provider = Provider(answer=large_answer)
    guard = guards(provider)
    assert await guard.execute(large_call(), CallScope("x")) == (7, "secret", False)
    await guard.flush()
    assert await guard.execute(large_call(), CallScope("x")) == (7, MASK, False)
    assert len(provider.log) == 1


async def test_a_large_reply_paid_for_is_kept_when_its_reader_goes(guards: MakeGuard) -> None:
    """A reader cancelled during parsing leaves the reply stored, and no call pays again."""
    provider = Provider(answer=large_answer)
    guard = guards(provider)
    entered, release = threading.Event(), threading.Event()

    def slow(reply: HttpReply) -> Any:
        entered.set()
        release.wait(30)
        return read_large(reply)

    reading = asyncio.create_task(guard.execute(large_call(slow), CallScope("x")))
    await asyncio.to_thread(entered.wait, 30)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    release.set()
    await guard.flush()
    assert await guard.execute(large_call(), CallScope("x")) == (7, MASK, False)
    assert len(provider.log) == 1


async def test_a_reader_that_stops_its_iteration_is_a_bug_like_any(guards: MakeGuard) -> None:
    """``StopIteration``, which no task may raise, comes out of a thread as a bug."""

    def stops(_: HttpReply) -> Any:
        raise StopIteration

    guard = guards(Provider(answer=large_answer))
    with pytest.raises(ProviderError, match="StopIteration") as failure:
        await guard.execute(large_call(stops), CallScope("x"))
    assert failure.value.category is ErrorCategory.INTERNAL


async def test_of_a_large_failure_the_beginning_is_kept(db: Database, guards: MakeGuard) -> None:
    """A failed reply is not parsed again, so only the part that people read is stored."""

    def answer(_: HttpRequest) -> HttpReply:
        spool = Spool()
        spool.write(b"x" * 60_000_000)
        return HttpReply(500, {}, b"", large=spool)

    guard = guards(Provider(answer=answer))
    with pytest.raises(ProviderError, match="HTTP 500"):
        await guard.execute(large_call(parse), CallScope("x"))
    await guard.flush()
    async with db.transaction() as conn:
        found = await conn.execute(sa.text("SELECT size_bytes FROM raw_replies"))
        (size_bytes,) = found.scalars().all()
        assert 5_000_000 <= size_bytes < 5_200_000


async def test_one_sites_429_does_not_pause_others(guards: MakeGuard) -> None:
    """A 429 from one web site neither pauses others nor counts for a breaker."""
    provider = Provider(answer=lambda _: status(429, retry_after="3600"))
    guard = guards(provider, breaker_settings=BreakerSettings(failure_threshold=1))
    for number in range(3):
        with pytest.raises(ProviderError):
            await guard.execute(replace(call(number), third_party=True), CallScope("x"))
    provider.answer = down
    with pytest.raises(ProviderError):
        await guard.execute(replace(call(4), third_party=True), CallScope("x"))
    provider.answer = lambda _: ok({"answer": 1})
    assert await guard.execute(call(5), CallScope("x")) == 1


async def test_attempts_are_rows_under_the_key(db: Database, guards: MakeGuard) -> None:
    """Failed, failed, ok: three numbered rows with their categories, the last with the reply."""
    provider = Provider(answer=lambda _: status(500))
    guard = guards(provider)
    for _ in range(2):
        with pytest.raises(ProviderError):
            await guard.execute(call(), CallScope("x"))
    provider.answer = lambda _: ok({"answer": 7})
    assert await guard.execute(call(), CallScope("x")) == 7
    await guard.flush()
    found = await rows(
        db, "SELECT attempt, status, error_category FROM provider_calls ORDER BY attempt"
    )
    assert [tuple(row) for row in found] == [
        (1, "failed", "server"),
        (2, "failed", "server"),
        (3, "ok", None),
    ]


async def test_cancellations_leave_nothing_behind(db: Database, guards: MakeGuard) -> None:
    """No permit, lease, socket or reservation is left. Sent calls are recorded."""
    provider = Provider(gate=asyncio.Event())
    guard = guards(provider, credits_per_day=10_000.0, concurrency=40)
    tasks = [
        asyncio.create_task(guard.execute(call(number), CallScope("x"))) for number in range(200)
    ]
    for _ in range(40):
        await provider.entered.acquire()
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    await guard.flush()
    assert (provider.in_flight, len(provider.log)) == (0, 40)
    row = await guard.breakers.get_breaker("example_api").state()
    assert (row.breaker.state, row.breaker.permits, row.breaker.failure_count) == ("closed", (), 0)
    found = await rows(db, "SELECT status, count(*) FROM provider_calls GROUP BY status")
    assert [tuple(row) for row in found] == [("unknown", 40)]
    budget = await guard.budgets.read("example", "day:2026-03-01")
    assert (float(budget.reserved), float(budget.spent)) == (0, 40)
    provider.gate = None
    assert await guard.execute(call("after"), CallScope("x")) == 1
    await guard.close()
    assert await rows(db, "SELECT * FROM provider_leases") == []


async def test_a_cancellation_during_the_intents_commit_takes_it_back(
    db: Database, guards: MakeGuard
) -> None:
    """A caller cancelled while its intent is being committed leaves no intent and no credits."""
    provider = Provider()
    guard = guards(provider, credits_per_day=100.0)
    await guard.execute(call("first"), CallScope("x"))
    await guard.flush()
    async with db.transaction() as conn:
        await conn.execute(sa.text("SELECT * FROM provider_budgets FOR UPDATE"))
        task = asyncio.create_task(guard.execute(call("second"), CallScope("x")))
        while not await rows(db, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The end waits for the admission that it undoes.
        flushing = asyncio.create_task(guard.flush())
        for _ in range(20):
            await rows(db, "SELECT 1 AS one")
        assert not flushing.done()
    await flushing
    assert len(provider.log) == 1
    found = await rows(db, "SELECT status FROM provider_calls")
    assert [row.status for row in found] == ["ok"]
    budget = await guard.budgets.read("example", "day:2026-03-01")
    assert (float(budget.reserved), float(budget.spent)) == (0, 1)


async def test_a_cancellation_in_the_instant_of_the_answer_takes_it_back(
    db: Database, guards: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is cancelled in the same instant in which its durable intent is answered."""
    guard = guards(Provider())
    put = guard.ledger._requests.put

    def answered_and_cancelled(request: AdmissionRequest) -> asyncio.Future[Any]:
        answering = put(request)
        answering.add_done_callback(lambda _: asking.cancel())
        return answering

    monkeypatch.setattr(guard.ledger._requests, "put", answered_and_cancelled)
    asking = asyncio.create_task(guard.execute(call(), CallScope("x")))
    with pytest.raises(asyncio.CancelledError):
        await asking
    await guard.flush()
    assert await rows(db, "SELECT * FROM provider_calls") == []
    assert [row.reserved for row in await rows(db, "SELECT reserved FROM provider_budgets")] == [
        0,
        0,
    ]


async def test_a_refusal_is_not_an_attempt(db: Database, guards: MakeGuard) -> None:
    """Callers refused by pause, budget or breaker leave no row that counts as an attempt."""
    provider = Provider(answer=lambda _: status(403))
    guard = guards(provider)
    with pytest.raises(ProviderError):
        await guard.execute(call(1), CallScope("x"))
    with pytest.raises(CallRefused) as refused:
        await guard.execute(call(2), CallScope("x"))
    assert refused.value.until is not None
    assert refused.value.until.isoformat() == "2026-03-02T00:00:00+00:00"
    await guard.flush()
    found = await rows(db, "SELECT error_category FROM provider_calls")
    assert [tuple(row) for row in found] == [("quota",)]


async def test_a_lost_commit_acknowledgement_counts_nothing_twice(
    db: Database, guards: MakeGuard, clock: ManualClock
) -> None:
    """The same intents and the same outcomes written again change neither rows nor credits."""
    how = policy(credits_per_day=10.0)
    guard = guards(Provider(), credits_per_day=10.0)
    made = call()
    intent = intent_of(made, CallScope("x", chunk_id=1, epoch=1), how, clock.now())
    request = AdmissionRequest(intent, limits_of(how))
    for answer in (store_ledger.Answer.ADMITTED, store_ledger.Answer.WRITTEN):
        (decision,) = await guard.ledger._admit([request])
        assert decision.answer is answer
    budget = await guard.budgets.read("example", "day:2026-03-01")
    assert (float(budget.reserved), float(budget.spent)) == (1, 0)
    reply = ok({"answer": 1})
    end = end_of(made, intent, clock.now(), reply, None)
    for is_first in (True, False):
        ended = guard.ledger.end(end, reply)
        await guard.flush()
        assert await ended is is_first
    budget = await guard.budgets.read("example", "day:2026-03-01")
    assert (float(budget.reserved), float(budget.spent)) == (0, 1)
    (counted,) = await rows(
        db, "SELECT (SELECT count(*) FROM provider_calls), (SELECT count(*) FROM raw_replies)"
    )
    assert tuple(counted) == (1, 1)


async def test_an_unacknowledged_admission_is_undone(
    db: Database, guards: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intents were committed without an answer, and then the database was away too long."""
    provider = Provider()
    guard = guards(provider, credits_per_day=10.0)
    tries = 0

    @asynccontextmanager
    async def unacknowledged() -> AsyncIterator[Connection]:
        nonlocal tries
        tries += 1
        if tries > 1:
            raise DatabaseUnavailable("away")
        async with db.statement() as conn:
            yield conn
        raise DatabaseUnavailable("cut before the answer")

    monkeypatch.setattr(guard.ledger._requests, "_retry_seconds_max", 0.1)
    monkeypatch.setattr(guard.ledger, "_db", SimpleNamespace(statement=unacknowledged))
    with pytest.raises(DatabaseUnavailable):
        await guard.execute(call(), CallScope("x"))
    monkeypatch.undo()
    await guard.flush()
    assert provider.log == []
    assert await rows(db, "SELECT * FROM provider_calls") == []
    budget = await guard.budgets.read("example", "day:2026-03-01")
    assert (float(budget.reserved), float(budget.spent)) == (0, 0)


async def test_the_budgets_equal_the_ledger(db: Database, guards: MakeGuard) -> None:
    """For every kind of end, spent credits are the ledger's sum, and none stay reserved."""
    ends: list[HttpReply | Exception] = [
        ok({"answer": 1}),
        status(500),
        down(call().request),
        ok({"nothing": 1}),
    ]
    provider = Provider()
    provider.answer = lambda request: ends[int(request.params["q"]) % 4]
    guard = guards(provider, credits_per_day=1000.0, breaker=None)
    await asyncio.gather(
        *(guard.execute(call(number, price=0.1), CallScope("x")) for number in range(40)),
        return_exceptions=True,
    )
    await guard.flush()
    (spent,) = (await rows(db, "SELECT sum(credits) FROM provider_calls"))[0]
    budget = await guard.budgets.read("example", "day:2026-03-01")
    assert (float(budget.reserved), float(budget.spent)) == (0, float(spent))
    assert spent == 3  # good, unreadable and unanswered ones; an error reply is free


async def test_a_flush_does_not_wait_for_ever(
    db: Database, guards: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While outcomes cannot be written, ``flush`` raises, so that their items are not settled."""
    guard = guards(Provider())
    monkeypatch.setattr(guard_module, "FLUSH_SECONDS", 0.05)
    away = [True]
    end_calls = store_ledger.end_calls

    async def end(*given: Any) -> Any:
        if away[0]:
            raise DatabaseUnavailable("no room")
        return await end_calls(*given)

    monkeypatch.setattr(store_ledger, "end_calls", end)
    assert await guard.execute(call("a"), CallScope("x")) == 1
    with pytest.raises(DatabaseUnavailable):
        await guard.flush()
    away[0] = False
    monkeypatch.setattr(guard_module, "FLUSH_SECONDS", 30.0)
    await guard.flush()
    assert [row.status for row in await rows(db, "SELECT status FROM provider_calls")] == ["ok"]


async def test_over_a_real_wire(db: Database) -> None:
    """With the real client: a reply is stored, a refused connection is a network error."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"cut" in asked:
            writer.close()
            return
        body = b'{"answer": 42}'
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def wire(identity: str) -> ProviderCall[Any]:
        request = HttpRequest("GET", base, params={"q": identity})
        return ProviderCall("example", "look_up", request, identity, parse, credits=2.0)

    async with HttpClient(trusted_bases=[base]) as client:
        guard = Guard(db, client.send, [policy()])
        assert await guard.execute(wire("a"), CallScope("x")) == 42
        with pytest.raises(ProviderError):
            await guard.execute(wire("cut off"), CallScope("x"))
        server.close()
        await server.wait_closed()
        with pytest.raises(ProviderError) as failure:
            await guard.execute(wire("never sent"), CallScope("x"))
        assert failure.value.category is ErrorCategory.NETWORK
        await guard.close()
    found = await rows(db, "SELECT status, credits FROM provider_calls ORDER BY started_at")
    # A call that was never sent is free.
    assert [tuple(row) for row in found] == [("ok", 2), ("unknown", 2), ("failed", 0)]
