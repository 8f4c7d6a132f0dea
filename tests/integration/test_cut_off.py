"""A worker that is disconnected or frozen during a statement of a paid call."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from harness.guarded import Provider, call, down, owned_chunk, policy, rows, status

from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ProviderError
from serpline.robustness import breakers
from serpline.robustness.guard import CallScope, Guard
from serpline.store.calls import breakers as breaker_rows
from serpline.store.calls import budgets, reference
from serpline.store.calls.reference import Purchase
from serpline.store.database import Connection, Database, DatabaseUnavailable
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import chunks, due, events, planning, runs, workers
from serpline.store.runs.events import Event

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# The server's timeout is 2 s. An ordinary transaction may be idle for 20 s.
LET_GO_SECONDS = 10.0


async def test_a_failure_of_a_call_from_before_the_lease_ended_reaches_no_breaker(
    db: Database,
) -> None:
    """Its own lease ended during the call: the worker was disconnected, not the provider."""
    lapses = 0
    provider = Provider(answer=down, gate=asyncio.Event())
    how = policy(breaker_settings=BreakerSettings(failure_threshold=1))
    guard = Guard(db, provider.send, [how])
    scope = CallScope("x", lapses=lambda: lapses)
    calling = asyncio.create_task(guard.execute(call(), scope))
    await provider.entered.acquire()
    lapses += 1
    assert provider.gate is not None
    provider.gate.set()
    with pytest.raises(ProviderError):
        await calling
    state = await guard.breakers.get_breaker("example_api").state()
    assert (state.breaker.state, state.breaker.failure_count) == ("closed", 0)
    with pytest.raises(ProviderError):
        await guard.execute(call("later"), scope)
    assert (await guard.breakers.get_breaker("example_api").state()).breaker.state == "open"
    await guard.close()


async def test_a_failure_reported_late_counts_for_no_breaker(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that reaches the database too late counts for no breaker."""
    monkeypatch.setattr(breakers, "REPORT_SECONDS", -1.0)
    how = policy(breaker_settings=BreakerSettings(failure_threshold=1))
    guard = Guard(db, Provider(answer=lambda _: status(500)).send, [how])
    with pytest.raises(ProviderError):
        await guard.execute(call(), CallScope("x"))
    state = await guard.breakers.get_breaker("example_api").state()
    assert (state.breaker.state, state.breaker.failure_count) == ("closed", 0)
    await guard.close()


def shared_locks(
    run_id: UUID, lane_id: int, chunk_id: int
) -> dict[str, Callable[[Connection], Awaitable[object]]]:
    """Every lock that others wait for and that lasts until the transaction's end."""

    async def release(conn: Connection) -> None:
        await reference.release(conn, "company", ["b.com"], chunk_id, 1)

    return {
        "a breaker": lambda conn: breaker_rows.lock(conn, "example_api"),
        "a run": lambda conn: runs.lock(conn, run_id),
        "the order of events": lambda conn: events.append(conn, [Event("tried")]),
        "a lane to be planned": lambda conn: planning.lock_unplanned(conn, lane_id),
        "claims": lambda conn: reference.claim_missing(
            conn, "company", ["a.com"], NOW, chunk_id, 1
        ),
        "claims given back": release,
        "answers": lambda conn: reference.store(conn, Purchase("company", {"c.com": {}}, NOW)),
        "wake-ups": lambda conn: wake(conn, [WakeUp("run", str(run_id))]),
        "budgets": lambda conn: budgets.set_limits(conn, {("example", "day:x"): None}),
    }


async def test_a_silent_workers_locks_end_soon(db: Database, database_url: str) -> None:
    """A silent worker's locks end soon, and another worker gets them."""
    run_id, chunk_id, _ = await owned_chunk(db)
    (lane,) = await rows(db, "UPDATE pipeline_phase_status SET status = 'running' RETURNING id")
    shared = shared_locks(run_id, lane.id, chunk_id)
    async with db.transaction() as conn:
        await breaker_rows.make(conn, "example_api", None, NOW)
        await reference.claim_missing(conn, "company", ["b.com"], NOW, chunk_id, 1)
        await shared["answers"](conn)
    await rows(
        db, "INSERT INTO provider_budgets (provider, scope) VALUES ('example', 'day:x') RETURNING 1"
    )
    silent = await Database.connect(database_url, pool_size=len(shared))
    others = await Database.connect(database_url, pool_size=len(shared))
    locked = {name: asyncio.Event() for name in shared}
    over = asyncio.Event()

    async def keep(name: str) -> None:
        with suppress(DatabaseUnavailable):  # the server has ended its transaction
            async with silent.transaction() as conn:
                await shared[name](conn)
                locked[name].set()
                await over.wait()

    async def want(name: str) -> str | None:
        await locked[name].wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_SECONDS), others.transaction() as conn:
                await shared[name](conn)
                return name
        return None

    keepers = [asyncio.create_task(keep(name)) for name in shared]
    try:
        got = await asyncio.gather(*(want(name) for name in shared))
    finally:
        over.set()
        await asyncio.gather(*keepers)
        await silent.close()
        await others.close()
    assert got == list(shared)


async def test_a_silent_workers_rows_are_soon_free(db: Database, database_url: str) -> None:
    """Others soon take due runs and chunks, a chunk being claimed, and a dead worker's."""
    run_id, chunk_id, _ = await owned_chunk(db)
    _, other_id, _ = await owned_chunk(db)
    (dead,) = await rows(db, "SELECT owner AS id FROM chunks WHERE id = :id", id=other_id)
    await rows(
        db,
        "WITH run AS (UPDATE pipeline_executions SET status = 'running', next_check_at = now()"
        " WHERE id = :run), lane AS (UPDATE pipeline_phase_status SET status = 'running'),"
        " dead AS (UPDATE workers SET heartbeat_at = now() - interval '1 hour' WHERE id = :dead)"
        " UPDATE chunks SET status = 'ready', owner = NULL, next_check_at = now() WHERE id = :id"
        " RETURNING id",
        run=run_id,
        id=chunk_id,
        dead=dead.id,
    )
    async with db.transaction() as conn:
        worker_id = await workers.register(conn, "here", 2)

    async def claims(conn: Connection) -> bool:
        claimed = chunks.claim(conn, chunk_id, worker_id, divisible=(), suspect=False)
        return await claimed is not None

    async def is_due_now(conn: Connection) -> bool:
        await due.make_due(conn, chunk_id)
        return True

    async def takes_over(conn: Connection) -> bool:
        return bool(await workers.take_over_dead(conn, 600))

    async def soon(wants: Callable[[Connection], Awaitable[object]]) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_SECONDS):
                while True:
                    async with db.transaction() as conn:
                        if await wants(conn):
                            return True
                    await asyncio.sleep(0.1)
        return False

    pairs: list[tuple[Callable[[Connection], Awaitable[object]], ...]] = [
        (lambda conn: workers.due_runs(conn, 30, 9), lambda conn: runs.lock(conn, run_id)),
        (lambda conn: workers.due_chunks(conn, 30, 9), is_due_now),
        (claims, is_due_now),
        (takes_over, takes_over),
    ]
    got = []
    for does, wants in pairs:
        silent = await Database.connect(database_url, pool_size=1)
        with suppress(DatabaseUnavailable):  # the server has ended its transaction
            async with silent.transaction() as held:
                assert await does(held)
                got.append(await soon(wants))
        await silent.close()
    assert got == [True] * len(pairs)
