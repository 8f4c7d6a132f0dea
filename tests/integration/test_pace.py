"""The rate and concurrency of one provider, as the database's functions keep them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.guarded import Provider, call, policy, rows

from serpline.core.clock import SystemClock
from serpline.core.ids import new_id
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.names import ContentType
from serpline.robustness.breakers import BreakerOpen, CircuitBreakerManager
from serpline.robustness.guard import CallScope, Guard
from serpline.store.calls import ledger, limits
from serpline.store.calls.ledger import AdmissionRequest, Answer, Decision, End, Intent, Limits
from serpline.store.calls.limits import LeaseRequest
from serpline.store.clock import DatabaseClock
from serpline.store.database import Connection, Database
from serpline.store.tables.guards import CallStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def request(number: int, limits: Limits) -> AdmissionRequest:
    key = number.to_bytes(32, "big")
    intent = Intent(
        id=new_id(),
        key=key,
        provider="example",
        operation="look_up",
        identity=key,
        freshness="x",
        shared=False,
        run_id=None,
        chunk_id=None,
        epoch=None,
        started_at=NOW,
        credits=0,  # type: ignore[arg-type]  # a free call
        scopes=(),
    )
    return AdmissionRequest(intent, limits)


async def ask(
    conn: Connection, at: datetime, count: int = 1, rate: float = 10.0
) -> Sequence[Decision]:
    limits = Limits(rate, retry_share=0.1, retry_floor=30, tokens_max=20)
    requests = [request(number, limits) for number in range(count)]
    return await ledger.admit(conn, requests, horizon_seconds=1.0, at=at)


def slots(decisions: Sequence[Decision]) -> list[float]:
    """Seconds until each reserved slot."""
    given = (Answer.ADMITTED, Answer.SLOT)
    return [one.wait_seconds for one in decisions if one.answer in given]


async def rate_at(conn: Connection, at: datetime, rate_max: float) -> float:
    (row,) = await query(
        conn,
        "SELECT provider_rate_now(r, :rate, :at) AS rate FROM provider_rates r",
        rate=rate_max,
        at=at,
    )
    return float(row.rate)


async def query(conn: Connection, sql: str, **values: Any) -> list[Any]:
    import sqlalchemy as sa

    return list(await conn.execute(sa.text(sql), values))


async def penalise(
    conn: Connection,
    at: datetime,
    *,
    rate: float = 100,
    started: datetime | None = None,
    seconds: float = 1.0,
) -> None:
    await limits.penalise(conn, "example", rate, started or at, seconds, at)


async def test_slots_are_evenly_spaced_within_the_horizon(db: Database) -> None:
    """Ten calls a second: a slot every 100 ms, none beyond a second. Idle time is not saved."""
    async with db.statement() as conn:
        await ask(conn, later(-3600))
        decisions = await ask(conn, NOW, 100)
    given = slots(decisions)
    assert len(given) == 12
    assert given[:2] == [0, 0]  # a tenth of a second may be made up for
    assert {round(b - a, 6) for a, b in pairwise(given[1:])} == {0.1}
    # The others ask again half a second before their slots, which would be the next ones.
    asked_again = [one.wait_seconds for one in decisions if one.answer is Answer.LIMITED]
    assert asked_again == pytest.approx([0.6 + 0.1 * number for number in range(88)])


async def test_a_429_halves_the_rate_once_per_burst(db: Database) -> None:
    """Fifty 429s to calls that were in flight together halve it once."""
    async with db.statement() as conn:
        await penalise(conn, NOW, started=later(-1), seconds=2)
        for _ in range(49):
            await penalise(conn, later(0.5), started=later(-1), seconds=2)
        assert await rate_at(conn, later(2.5), 100) == pytest.approx(50)
        (row,) = await query(conn, "SELECT paused_until FROM provider_rates")
    assert row.paused_until == later(2.5)


async def test_no_slot_before_the_pause_is_over(db: Database) -> None:
    """Retry-After is obeyed exactly, and a shorter pause never ends a longer one."""
    async with db.statement() as conn:
        await penalise(conn, NOW, seconds=0.5)
        assert min(slots(await ask(conn, NOW, 10, 100))) == 0.5
        await limits.pause(conn, "example", 86_400, "quota", NOW)
        await penalise(conn, NOW, seconds=2)
        (decision,) = await ask(conn, NOW)
    assert (decision.answer, decision.wait_seconds, decision.detail) == (
        Answer.LIMITED,
        86_400,
        "quota",
    )


async def test_throughput_settles_within_a_tenth_of_the_providers_limit(db: Database) -> None:
    """With a provider that allows 50/s and a rate of 100/s, the second minute brings 45/s."""
    limit, now, served = 50, NOW, list[datetime]()
    async with db.transaction() as conn:
        while now < later(120):
            (decision,) = await ask(conn, now, rate=100)
            now += timedelta(seconds=decision.wait_seconds)
            if decision.answer is Answer.LIMITED:
                continue
            if len(served) >= limit and served[-limit] > now - timedelta(seconds=1):
                await penalise(conn, now)
            else:
                served.append(now)
    second_minute = [at for at in served if at >= later(60)]
    assert len(second_minute) / 60 >= 0.9 * limit


async def test_a_storm_is_forgotten_within_two_minutes(db: Database) -> None:
    """Twenty 429s in a row lower the rate to its minimum. Without another it recovers fully."""
    async with db.statement() as conn:
        for number in range(20):
            await penalise(conn, later(2 * number), rate=64)
            assert 1 <= await rate_at(conn, later(2 * number + 1), 64) <= 64
        at = later(40)
        assert await rate_at(conn, at, 64) < 2
        assert await rate_at(conn, at + timedelta(seconds=30), 64) < 2
        assert await rate_at(conn, at + timedelta(seconds=120), 64) == 64
        assert await rate_at(conn, at + timedelta(days=400), 64) == 64


async def test_a_clock_set_back_an_hour_freezes_nothing(db: Database) -> None:
    """Slots reserved an hour ahead are dropped. Slots within the horizon stay."""
    async with db.statement() as conn:
        await ask(conn, later(3600), 20)
        (first,) = await ask(conn, NOW)
        given = await ask(conn, NOW, 11)
        assert first.answer is Answer.ADMITTED
        assert max(slots(given)) == pytest.approx(1.0)
        await ask(conn, later(7200), rate=0.2)
        # For a provider called every five seconds, ten minutes are dropped, too.
        (first,) = await ask(conn, later(6600), rate=0.2)
    assert first.answer is Answer.ADMITTED


async def test_a_clock_set_back_an_hour_lengthens_no_pause(db: Database) -> None:
    """A pause lasts as long as intended, the rate recovers, and retry tokens are earned."""
    async with db.statement() as conn:
        await penalise(conn, later(3600), seconds=5)
        await ask(conn, later(3600.5))
        (paused,) = await ask(conn, NOW)
        assert (paused.answer, paused.wait_seconds) == (Answer.LIMITED, 5)
        (first,) = await ask(conn, later(5))
        assert first.answer is Answer.ADMITTED
        assert await rate_at(conn, later(10), 100) == pytest.approx(0.95 * 100)
        (row,) = await query(conn, "SELECT * FROM provider_rates NATURAL JOIN provider_retries")
    assert row.penalised_at == row.paused_until == later(5)
    assert row.tokens_at == later(5)


async def test_retries_are_earned_after_the_clock_was_set_back(db: Database) -> None:
    """After the clock is set back, a new retry token takes its usual time."""
    key = bytes(32)
    async with db.statement() as conn:
        await query_none(
            conn,
            "INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,"
            " status, attempt, started_at, finished_at, error_category) VALUES (gen_random_uuid(),"
            " :key, 'example', 'look_up', :key, 'x', false, 'failed', 1, :at, :at, 'server')",
            key=key,
            at=NOW,
        )
        await query_none(
            conn,
            "INSERT INTO provider_retries VALUES ('example', 'all', 0, :at)",
            at=later(3600),
        )
        (refused,) = await ask(conn, NOW)
        assert refused.answer is Answer.RETRIES
        (given,) = await ask(conn, later(5))
    assert given.answer is Answer.ADMITTED


async def query_none(conn: Connection, sql: str, **values: Any) -> None:
    import sqlalchemy as sa

    await conn.execute(sa.text(sql), values)


@pytest.mark.parametrize(
    ("had", "ago", "tokens"),
    [
        (0.0, 60, 15),  # half the floor in a minute
        (4.0, 0, 4),
        (4.0, -60, 4),  # a clock set back takes nothing away
        (19.0, 3600, 20),
    ],
)
async def test_retry_tokens_are_earned_by_time(
    db: Database, had: float, ago: float, tokens: float
) -> None:
    """Half the floor a minute, up to the most that is saved."""
    async with db.statement() as conn:
        (row,) = await query(
            conn,
            "SELECT provider_retry_tokens(:had, :at, CAST(:how AS jsonb), :now) AS tokens",
            had=had,
            at=later(-ago),
            how='{"retry_share": 0.1, "retry_floor": 30, "tokens_max": 20}',
            now=NOW,
        )
    assert row.tokens == pytest.approx(tokens)


async def test_each_content_type_has_retries_of_its_own(db: Database) -> None:
    """News use up theirs; organic's first attempts earn for organic, whose retry is admitted."""
    allowed = Limits(1e6, retry_share=0.1, retry_floor=2, tokens_max=20)

    def of(kind: ContentType, *numbers: int) -> list[AdmissionRequest]:
        made = [request(number, allowed) for number in numbers]
        return [replace(one, intent=replace(one.intent, content_type=kind)) for one in made]

    async def admitted(*requests: AdmissionRequest) -> list[str]:
        async with db.statement() as conn:
            given = await ledger.admit(conn, requests, horizon_seconds=1.0, at=NOW)
            ends = [
                End(each.intent.id, CallStatus.FAILED, NOW, error_category="server")
                for each in requests
            ]
            await ledger.end_calls(conn, ends, {})
        return [str(one.answer) for one in given]

    async def tokens() -> dict[str, float]:
        found = await rows(db, "SELECT content_type, tokens FROM provider_retries")
        return {row.content_type: round(row.tokens, 6) for row in found}

    news, organic = of(ContentType.NEWS, 1, 2), of(ContentType.ORGANIC, *range(10, 30))
    assert set(await admitted(*news, *organic)) == {"admitted"}
    # Half the floor, and a tenth of each type's own first attempts.
    assert await tokens() == {"news": 1.2, "organic": 3.0}
    assert await admitted(*of(ContentType.NEWS, 1, 2)) == ["admitted", "retries"]
    assert await admitted(*of(ContentType.NEWS, 2)) == ["retries"]
    again = of(ContentType.ORGANIC, 10, 11, 12, 13)
    assert await admitted(*again) == ["admitted"] * 3 + ["retries"]
    assert await tokens() == {"news": 0.2, "organic": 0.0}
    # A type that has made no call yet has half the floor.
    assert await admitted(*of(ContentType.VIDEO, 10)) == ["admitted"]


class Skewed(SystemClock):
    """A machine whose wall clock is wrong."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._seconds)


async def test_a_machines_clock_decides_no_slot(db: Database) -> None:
    """Workers whose clocks are 20 s fast and slow keep one rate without extra waits."""
    loop, starts = asyncio.get_running_loop(), list[float]()

    def answer(_: object) -> Any:
        starts.append(loop.time())
        return Provider().answer(None)  # type: ignore[arg-type]  # it is not looked at

    provider = Provider(answer=answer)
    guards = []
    for seconds in (20.0, -20.0, 0.0):
        clock = DatabaseClock(Skewed(seconds))
        async with clock.following(db):
            assert abs((clock.now() - SystemClock().now()).total_seconds()) < 1
            guards.append(Guard(db, provider.send, [policy(rate_per_second=20.0)], clock=clock))
    async with asyncio.timeout(10):
        await asyncio.gather(
            *(
                guard.execute(call([index, number]), CallScope("x"))
                for index, guard in enumerate(guards)
                for number in range(10)
            )
        )
    for guard in guards:
        await guard.close()
    assert (len(starts) - 3) / (max(starts) - min(starts)) <= 20 * 1.05
    assert max(b - a for a, b in pairwise(sorted(starts))) < 5
    times = await rows(
        db, "SELECT abs(extract(epoch FROM now() - started_at)) AS s FROM provider_calls"
    )
    assert max(row.s for row in times) < 10


@pytest.mark.parametrize("seconds", [20.0, -20.0])
async def test_a_machines_clock_holds_no_breaker_open(db: Database, seconds: float) -> None:
    """A breaker opened by a worker with a wrong clock allows another's probe after its time."""
    settings = BreakerSettings(failure_threshold=1, timeout_seconds=0.5)
    clock = DatabaseClock(Skewed(seconds))
    right = CircuitBreakerManager(db).get_breaker("example_api", settings=settings)
    async with clock.following(db):
        wrong = CircuitBreakerManager(db, clock).get_breaker("example_api")
        await (await right.permit()).succeeded()
        await (await wrong.permit()).failed()
        await right.state()
        with pytest.raises(BreakerOpen):
            await right.permit()
        async with asyncio.timeout(5):
            while True:
                try:
                    await (await right.permit()).succeeded()
                    break
                except BreakerOpen:
                    await asyncio.sleep(0.05)


async def test_concurrency_is_shared_evenly_without_a_rest(db: Database) -> None:
    """Seven slots among three that want all: 3, 2 and 2. One that wants one leaves the rest."""
    first, second, third = (UUID(int=n) for n in range(1, 4))

    async def lease(holder: UUID, want: int, in_use: int = 0) -> int:
        async with db.statement() as conn:
            return await limits.lease(conn, LeaseRequest("example", holder, want, in_use, 7), 60)

    assert await lease(first, 7) == 7
    assert await lease(second, 7) == 0
    assert await lease(third, 7) == 0
    # The first one keeps the slots in use and starts no more calls until it is below its part.
    assert await lease(first, 7, in_use=7) < 7
    allowed = await lease(first, 7, in_use=2)
    shares = [allowed, await lease(second, 7), await lease(third, 7)]
    assert (sum(shares), max(shares)) == (7, 3)
    assert await lease(first, 1) == 1
    again = [await lease(second, 7), await lease(third, 7), await lease(second, 7)]
    assert again[1] + again[2] == 6
    for holder in (first, second, third, uuid4()):
        await lease(holder, 0)
    assert await rows(db, "SELECT * FROM provider_leases") == []


async def test_few_concurrency_slots_rotate(db: Database) -> None:
    """One slot that two always want: neither keeps it longer than a lease."""
    had: set[UUID] = set()
    async with asyncio.timeout(10), db.statement() as conn:
        while len(had) < 2:
            for holder in (UUID(int=1), UUID(int=2)):
                if await limits.lease(conn, LeaseRequest("example", holder, 1, 0, 1), 0.3):
                    had.add(holder)


async def test_waiting_for_a_concurrency_slot_costs_no_statement(db: Database) -> None:
    """Fifty callers at a provider's limit: one lease, however long they wait."""
    provider = Provider(gate=asyncio.Event())
    guard = Guard(db, provider.send, [policy(concurrency=2)])
    leases = 0
    statement = db.statement

    def counted() -> Any:
        nonlocal leases
        leases += 1
        return statement()

    counted_db = type("Counted", (), {"statement": staticmethod(counted)})()
    tasks = [asyncio.create_task(guard.execute(call(n), CallScope("x"))) for n in range(50)]
    for _ in range(2):
        await provider.entered.acquire()
    (lease,) = guard.limiter._leases.values()
    lease._db = counted_db
    async with asyncio.timeout(30):
        while leases < 2:  # two renewals, and no statement in between
            before = asyncio.get_running_loop().time()
            seen = leases
            while leases == seen:
                await asyncio.sleep(0.01)
            assert seen == 0 or asyncio.get_running_loop().time() - before > 1.5
    assert provider.gate is not None
    provider.gate.set()
    assert await asyncio.gather(*tasks) == [1] * 50
    assert provider.in_flight_max == 2
    await guard.close()
