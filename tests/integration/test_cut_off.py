"""A worker that is cut off, or frozen, with a statement of a paid call on its way."""

import asyncio

import pytest
from tests.integration.guard_helpers import Provider, call, down, policy, status

from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ProviderError
from serpline.robustness import breakers
from serpline.robustness.guard import CallScope, Guard
from serpline.store.database import Database


async def test_a_failure_of_a_call_from_before_the_lease_ended_reaches_no_breaker(
    db: Database,
) -> None:
    """Its own lease ended while the call was under way: it was cut off, not the provider."""
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


async def test_a_failure_that_the_database_hears_late_is_the_workers_own(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off from the database too, for longer than a report takes: it counts for no breaker."""
    monkeypatch.setattr(breakers, "REPORT_SECONDS", -1.0)
    how = policy(breaker_settings=BreakerSettings(failure_threshold=1))
    guard = Guard(db, Provider(answer=lambda _: status(500)).send, [how])
    with pytest.raises(ProviderError):
        await guard.execute(call(), CallScope("x"))
    state = await guard.breakers.get_breaker("example_api").state()
    assert (state.breaker.state, state.breaker.failure_count) == ("closed", 0)
    await guard.close()
