"""Limiter, retry budget and reference data, shared through PostgreSQL."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from harness.guarded import (
    START,
    ManualClock,
    Provider,
    call,
    ok,
    owned_chunk,
    policy,
    rows,
    status,
    take_over,
)

from serpline.core.settings import load
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, HttpRequest
from serpline.providers.youtube.client import YouTubeClient
from serpline.robustness.guard import CallScope, Guard
from serpline.robustness.policies import policies
from serpline.robustness.refusals import RetryBudgetSpent
from serpline.store.calls import reference as store
from serpline.store.calls.reference import ClaimResult
from serpline.store.database import Database


async def test_all_processes_together_keep_the_rate(db: Database) -> None:
    """Three guards at 50 calls a second start no more than 50 in any second."""
    clock, starts = ManualClock(), list[float]()
    provider = Provider()

    def answer(_: object) -> object:
        starts.append(clock.elapsed_seconds)
        return ok({"answer": 1})

    provider.answer = answer  # type: ignore[assignment]  # the request is not looked at
    guards = [
        Guard(db, provider.send, [policy(rate_per_second=50.0)], clock=clock) for _ in range(3)
    ]
    scope = CallScope("x")
    for round_ in range(10):
        await asyncio.gather(
            *(
                guard.execute(call([round_, index, number]), scope)
                for index, guard in enumerate(guards)
                for number in range(10)
            )
        )
    for guard in guards:
        await guard.close()
    seconds = max(starts) - min(starts)
    assert len(starts) == 300
    assert len(starts) / max(seconds, 0.01) <= 50 * 1.05


async def test_all_processes_together_keep_the_concurrency(db: Database) -> None:
    """Four guards with forty callers each have at most seven calls in flight, and all finish."""
    provider = Provider(gate=asyncio.Event())
    guards = [Guard(db, provider.send, [policy(concurrency=7)]) for _ in range(4)]
    tasks = [
        asyncio.create_task(guard.execute(call([index, number]), CallScope("x")))
        for index, guard in enumerate(guards)
        for number in range(40)
    ]
    for _ in range(7):
        await provider.entered.acquire()
    while len(await rows(db, "SELECT 1 FROM provider_leases WHERE wanted = 7")) < 4:
        assert provider.in_flight == 7
    assert provider.gate is not None
    provider.gate.set()
    assert await asyncio.gather(*tasks) == [1] * 160
    assert provider.in_flight_max == 7
    for guard in guards:
        await guard.close()
    assert await rows(db, "SELECT * FROM provider_leases") == []


async def test_no_process_calls_before_retry_after(db: Database) -> None:
    """After a 429 with 60 s in one process, another one's call is refused until then."""
    clock = ManualClock()
    provider = Provider(answer=lambda _: status(429, retry_after="60"))
    first, second = (Guard(db, provider.send, [policy()], clock=clock) for _ in range(2))
    with pytest.raises(ProviderError):
        await first.execute(call(1), CallScope("x"))
    provider.answer = lambda _: ok({"answer": 1})
    for guard in (first, second):
        with pytest.raises(CallRefused) as refused:
            await guard.execute(call(2), CallScope("x"))
        assert refused.value.until is not None
        assert (refused.value.until - START).total_seconds() >= 60
    assert len(provider.log) == 1
    clock.elapsed_seconds = 61
    assert await second.execute(call(2), CallScope("x")) == 1
    row = await first.breakers.get_breaker("example_api").state()
    assert row.breaker.failure_count == 0
    for guard in (first, second):
        await guard.close()


async def test_a_pause_recorded_after_the_slot_was_given_still_holds(db: Database) -> None:
    """The ledger's transaction checks again: no call starts between a 429 and its Retry-After."""
    clock = ManualClock()
    provider = Provider()
    guard = Guard(db, provider.send, [policy()], clock=clock)

    class PausesWhileSleeping(ManualClock):
        """A clock whose sleep lets another process record a 429."""

        async def sleep(self, seconds: float) -> None:
            await guard.limiter.penalise(policy(), clock.now(), 300)
            await super().sleep(seconds)

    waiting = Guard(db, provider.send, [policy(rate_per_second=2.0)], clock=PausesWhileSleeping())
    await waiting.execute(call(1), CallScope("x"))
    with pytest.raises(CallRefused):
        await waiting.execute(call(2), CallScope("x"))
    with pytest.raises(CallRefused):
        await guard.execute(call("other"), CallScope("x"))
    assert len(provider.log) == 1
    for one in (guard, waiting):
        await one.close()


async def test_retries_are_bounded_by_the_budget(db: Database) -> None:
    """All calls fail for 60 s: retries stay within 10 % of first attempts plus the floor."""
    clock = ManualClock()
    provider = Provider(answer=lambda _: status(500))
    guard = Guard(
        db,
        provider.send,
        [policy(breaker=None, retry_floor=20.0, rate_per_second=50.0)],
        clock=clock,
    )
    refused = 0
    for second in range(60):
        ends = await asyncio.gather(
            *(
                guard.execute(call([number, item]), CallScope("x"))
                for number in range(max(0, second - 3), second + 1)
                for item in range(2)
            ),
            return_exceptions=True,
        )
        refused += sum(isinstance(end, RetryBudgetSpent) for end in ends)
        clock.elapsed_seconds = max(clock.elapsed_seconds, second + 1.0)
    firsts = 60 * 2
    assert refused > 0
    assert len(provider.log) - firsts <= 0.1 * firsts + 20
    await guard.close()


async def test_a_poll_is_no_retry(db: Database) -> None:
    """Repeating a successful call, such as a batch poll, costs no retry token."""
    provider = Provider()
    guard = Guard(db, provider.send, [policy(retry_floor=1.0, retry_share=0.0)])
    for _ in range(20):
        assert await guard.execute(call(), CallScope("x", ttl_seconds=0)) == 1
    assert len(provider.log) == 20
    await guard.close()


async def test_calls_of_a_dead_worker_are_no_retries(db: Database) -> None:
    """Calls repeated because their caller died need no token. Failed ones do."""
    run_id, chunk_id, epoch = await owned_chunk(db)
    dying = Provider(gate=asyncio.Event())
    few = policy(breaker=None, retry_floor=1.0, retry_share=0.0)
    first = Guard(db, dying.send, [few])
    scope = CallScope("x", run_id=run_id, chunk_id=chunk_id, epoch=epoch)
    under_way = [asyncio.create_task(first.execute(call(n), scope)) for n in range(20)]
    for _ in under_way:
        await dying.entered.acquire()
    later = CallScope("x", run_id=run_id, chunk_id=chunk_id, epoch=await take_over(db, chunk_id))
    provider = Provider(answer=lambda _: status(500))
    second = Guard(db, provider.send, [few])
    for error, calls in ((ProviderError, 20), (RetryBudgetSpent, 20)):
        ends = await asyncio.gather(
            *(second.execute(call(n), later) for n in range(20)), return_exceptions=True
        )
        assert [type(end) for end in ends] == [error] * 20
        assert len(provider.log) == calls
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)
    for guard in (first, second):
        await guard.close()


async def test_one_of_two_chunks_buys_a_key(db: Database) -> None:
    """Of 40 concurrent claims by two chunks each key has exactly one buyer; then both read it."""
    owners = []
    for _ in range(2):
        _, chunk_id, epoch = await owned_chunk(db)
        owners.append((chunk_id, epoch))
    keys = [f"key {number}" for number in range(50)]

    async def claim_as(owner: tuple[int, int], requested: Sequence[str]) -> ClaimResult:
        async with db.transaction() as conn:
            return await store.claim_missing(conn, "volume", requested, START, *owner)

    got = await asyncio.gather(
        *(claim_as(owners[n % 2], keys if n % 2 else keys[::-1]) for n in range(10))
    )
    buyers = [set(result.to_fetch) for result in got]
    first, second = set().union(*buyers[::2]), set().union(*buyers[1::2])
    assert (first & second, first | second) == (set(), set(keys))
    async with db.transaction() as conn:
        answers = {key: {"v": 1} for key in keys if key != "key 0"} | {"key 0": None}
        await store.store(conn, store.Purchase("volume", answers, START))
    for owner in owners:
        result = await claim_as(owner, [*keys, keys[0]])
        assert (result.to_fetch, result.in_flight_elsewhere) == ([], [])
        assert (result.fresh["key 1"], result.fresh["key 0"]) == ({"v": 1}, None)
    async with db.transaction() as conn:
        later = START + timedelta(seconds=1)
        stale = await store.claim_missing(conn, "volume", ["key 0"], later, *owners[0])
    assert stale.to_fetch == ["key 0"]


async def test_a_claim_ends_with_its_chunk(db: Database) -> None:
    """The claim holds while the chunk is owned. A new epoch or a release frees it."""
    run_id, chunk_id, epoch = await owned_chunk(db)
    _, other_chunk, other_epoch = await owned_chunk(db)
    since = START
    async with db.transaction() as conn:
        claimed = await store.claim_missing(
            conn, "company", ["a.example", "b.example"], since, chunk_id, epoch
        )
        again = await store.claim_missing(conn, "company", ["a.example"], since, chunk_id, epoch)
        other = await store.claim_missing(
            conn, "company", ["a.example"], since, other_chunk, other_epoch
        )
    assert (claimed.to_fetch, again.to_fetch, other.in_flight_elsewhere) == (
        ["a.example", "b.example"],
        ["a.example"],
        ["a.example"],
    )
    async with db.transaction() as conn:
        await store.release(conn, "company", ["a.example"], other_chunk, other_epoch)
        await store.release(conn, "company", ["b.example"], chunk_id, epoch)
        other = await store.claim_missing(
            conn, "company", ["a.example", "b.example"], since, other_chunk, other_epoch
        )
    assert (other.to_fetch, other.in_flight_elsewhere) == (["b.example"], ["a.example"])
    assert (claimed.buyer, other.buyer) == (None, run_id)
    await take_over(db, chunk_id)
    async with db.transaction() as conn:
        other = await store.claim_missing(
            conn, "company", ["a.example"], since, other_chunk, other_epoch
        )
    assert other.to_fetch == ["a.example"]


async def test_an_older_answer_never_replaces_a_newer_one(db: Database) -> None:
    """A late reply of a fenced-off worker is stored only if there is nothing newer."""
    async with db.transaction() as conn:
        await store.store(conn, store.Purchase("company", {"a.example": {"v": 2}}, START))
        await store.store(
            conn, store.Purchase("company", {"a.example": {"v": 1}}, START - timedelta(hours=1))
        )
        known = await store.claim_missing(
            conn, "company", ["a.example"], START - timedelta(days=1), 1, 1
        )
    assert known.fresh == {"a.example": {"v": 2}}


SPENT = {
    "error": {
        "code": 429,
        "message": "Quota exceeded for quota metric 'Search Queries' and limit 'Search Queries per"
        " day' of service 'youtube.googleapis.com'.",
        "errors": [{"domain": "global", "reason": "rateLimitExceeded"}],
    }
}


async def test_spent_searches_stop_searches_alone(db: Database) -> None:
    """YouTube counts them separately: channel lookups go on while no search is left until midnight.

    developers.google.com/youtube/v3/determine_quota_cost: 100 searches a day beside the units.
    """
    clock, none = ManualClock(), {"kind": "youtube#channelListResponse", "items": []}

    def answer(request: HttpRequest) -> HttpReply:
        spent = request.url.endswith("/search")
        return HttpReply(429, {}, json.dumps(SPENT).encode()) if spent else ok(none)

    guard = Guard(db, Provider(answer).send, policies(load()), clock=clock)
    youtube = YouTubeClient(base_url="http://yt.test", api_key="k", now=clock.now)
    scope = CallScope("x")
    with pytest.raises(ProviderError) as spent:
        await guard.execute(youtube.search("a"), scope)
    assert spent.value.category is ErrorCategory.QUOTA
    assert await guard.execute(youtube.channel_by_handle("@acme"), scope) is None
    with pytest.raises(CallRefused) as refused:
        await guard.execute(youtube.search("b"), scope)
    assert refused.value.until == datetime(2026, 3, 2, 8, tzinfo=UTC)
    await guard.close()
