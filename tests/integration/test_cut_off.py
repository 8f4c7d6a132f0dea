"""A worker that is cut off, or frozen, with a statement of a paid call on its way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from chaos.proxy import Proxy, Strike, proxy
from sqlalchemy.engine import make_url
from tests.integration.guard_helpers import Provider, call, down, policy, status

from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, HttpRequest
from serpline.robustness import breakers
from serpline.robustness.guard import CallScope, Guard
from serpline.store.database import Database
from serpline.store.embedded import EmbeddedServer
from serpline.store.embedded_files import SOCKET_NAME

STATEMENTS_MAX = 40
# The server's own time-out is 2 s; the rest is this machine's.
SECONDS_MAX = 4.0


@asynccontextmanager
async def door(postgres: EmbeddedServer, database_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A way to the database that can be cut, and the URL that leads through it."""
    async with proxy(postgres.socket_dir / SOCKET_NAME) as made:
        query = {"sslmode": "disable", "gssencmode": "disable"}
        url = make_url(database_url).set(host="127.0.0.1", port=made.port, query=query)
        yield made, url.render_as_string(hide_password=False)


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "answer", [lambda _: HttpReply(200, {}, b'{"answer": 1}'), down], ids=["good", "failing"]
)
async def test_no_statement_of_a_worker_that_is_cut_off_stops_the_others(
    postgres: EmbeddedServer,
    database_url: str,
    db: Database,
    answer: Callable[[HttpRequest], HttpReply | Exception],
) -> None:
    """Silent after any one of its statements, it stops another worker's call for 2 s at most."""
    how = policy(breaker_settings=BreakerSettings(failure_threshold=1000), credits_per_day=1e6)
    other = Guard(db, Provider(answer=answer).send, [how])
    struck = 0
    async with door(postgres, database_url) as (cut, url):
        for number in range(STATEMENTS_MAX):
            far = await Database.connect(url, pool_size=1)
            frozen = Guard(far, Provider(answer=answer).send, [how])
            cut.arm(Strike.SILENCE, number)

            async def one_call(guard: Guard, name: str) -> None:
                with suppress(ProviderError):
                    await guard.execute(call(name), CallScope("x"))
                await guard.flush()

            doomed = asyncio.create_task(one_call(frozen, f"doomed {number}"))
            while not doomed.done() and cut.struck[Strike.SILENCE] == struck:
                await asyncio.sleep(0)
            if cut.struck[Strike.SILENCE] == struck:
                await doomed
                await frozen.close()
                await far.close()
                break  # there is no further statement
            struck += 1
            async with asyncio.timeout(SECONDS_MAX):
                await one_call(other, f"other {number}")
            await cut.shut(0)
            await asyncio.gather(doomed, return_exceptions=True)
            await frozen.close()
            await far.close()
    assert struck >= 2
    await other.close()


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
