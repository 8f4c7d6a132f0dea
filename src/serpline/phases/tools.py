"""What phases work with: the providers' clients, guarded calls, and claims on reference data.

``app`` makes one ``Tools`` per process. It holds no state of a run; each call names its chunk.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from serpline.core.clock import Clock
from serpline.domain.http import ProviderCall
from serpline.domain.outcomes import Snooze
from serpline.domain.text import storable
from serpline.domain.waits import WaitCause, WaitReason
from serpline.phases.base import Work
from serpline.phases.freshness import fresh_since, replay_of, run_scope
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.llm.client import LlmClient
from serpline.providers.pages.client import PageClient
from serpline.providers.pages.extraction import Extractor
from serpline.providers.pdl.client import PdlClient
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.wikidata.client import WikidataClient
from serpline.providers.youtube.client import YouTubeClient
from serpline.robustness.breakers import CircuitBreaker
from serpline.robustness.groups import RETRY_SECONDS_MAX, retry_transient
from serpline.robustness.guard import CallScope, Guard
from serpline.store.calls import reference
from serpline.store.calls.reference import ClaimResult, Purchase
from serpline.store.database import Connection

T = TypeVar("T")
R = TypeVar("R")

CLAIM_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Tools:
    """The clients and the guard.

    ``pdl`` is None without a key, ``wikidata`` if it is off: the other is then the only source of
    companies. ``owner_llm`` is None if no language model is set up: channels without a website then
    have no owner. Other providers are called by phases that have no work without them.

    ``call_concurrency`` bounds a chunk's simultaneous calls. ``webhook_base`` is the base URL at
    which providers reach us, or None. A running batch is polled every ``batch_poll_seconds``. A
    result set that a poll finds waits ``webhook_wait_seconds`` for its webhook.
    ``batch_call_seconds`` is the deadline of a call about a batch, ``batch_file_seconds`` that of a
    page of its results. A batch that runs longer than ``batch_running_seconds_max`` is given up.
    """

    clock: Clock
    guard: Guard
    dataforseo: DataForSeoClient
    scaleserp: ScaleSerpClient
    pdl: PdlClient | None
    wikidata: WikidataClient | None
    youtube: YouTubeClient
    pages: PageClient
    llm: LlmClient
    owner_llm: LlmClient | None
    extractor: Extractor
    call_concurrency: int = 16
    webhook_base: str | None = None
    batch_poll_seconds: float = 30.0
    webhook_wait_seconds: float = 10.0
    batch_call_seconds: float = 60.0
    batch_file_seconds: float = 300.0
    batch_running_seconds_max: float = 86_400.0

    async def call(
        self,
        work: Work,
        call: ProviderCall[T],
        *,
        freshness: str,
        ttl_seconds: float | None = None,
        breakers: tuple[CircuitBreaker, ...] = (),
        reference_kind: str | None = None,
        is_stored: bool = False,
    ) -> T:
        """Make a guarded call for a chunk. Raises as ``Guard.execute`` does.

        ``freshness`` is the scope in which a stored reply is reused; see ``freshness.run_scope``.
        ``reference_kind``: see ``buy``. ``is_stored``: only a stored reply may answer, as it
        answers every call of a recomputation.
        """
        scope = replace(
            call_scope(work, freshness),
            lease=work.lease,
            lapses=work.lapses,
            ttl_seconds=ttl_seconds,
            breakers=breakers,
            reference_kind=reference_kind,
            replay=replay_of(work.config) if is_stored or work.config.is_replay else None,
        )
        return await self.guard.execute(call, scope)

    async def buy(
        self,
        work: Work,
        call: ProviderCall[T],
        kind: str,
        payloads: Callable[[T], Mapping[str, Any]],
        *,
        freshness: str,
        ttl_seconds: float | None = None,
    ) -> Mapping[str, Any]:
        """Make a call for reference data; ``payloads`` maps its value to payloads by key.

        The statement that ends the call stores the payloads. Stored later, they could be lost to a
        crash, and another chunk would group the keys differently and pay again. A caller that
        claims the same keys again awaits ``guard.flush`` first.
        """
        return await self.call(
            work,
            call.map_value(payloads),
            freshness=freshness,
            ttl_seconds=ttl_seconds,
            reference_kind=kind,
        )

    async def collect(
        self,
        work: Work,
        call: ProviderCall[T],
        ttl_seconds: float | None = None,
        *,
        is_stored: bool = False,
    ) -> T:
        """Make a ``call`` for the run's own data, also under its schedule's breaker if it has one.

        That breaker, ``scale_serp_api@schedule/type``, opens for the schedule alone: other runs go
        on. Its settings come from the schedule's newest run.
        """
        kind = work.chunk.lane.content_type
        breakers: tuple[CircuitBreaker, ...] = ()
        if own := work.config.circuit_breaker:
            shared = self.guard.policy(call.provider).breaker
            name = f"{shared}@{work.config.schedule or work.chunk.run_id}/{kind}"
            settings_at = work.chunk.created_at
            breakers = (
                self.guard.breakers.get_breaker(
                    name, settings=own.settings(), settings_at=settings_at
                ),
            )
        return await self.call(
            work,
            call,
            freshness=run_scope(work),
            ttl_seconds=ttl_seconds,
            breakers=breakers,
            is_stored=is_stored,
        )


def call_scope(work: Work, freshness: str) -> CallScope:
    """The run and the chunk that a call is for."""
    return CallScope(
        run_id=work.chunk.run_id,
        chunk_id=work.chunk.id,
        epoch=work.chunk.epoch,
        freshness=freshness,
        content_type=work.chunk.lane.content_type,
        backfill_id=work.config.backfill.id if work.config.backfill else None,
    )


async def claim_missing(
    work: Work, kind: str, keys: Iterable[str], *, since: datetime | None = None
) -> ClaimResult:
    """Single flight: return fresh payloads, claim missing keys, list keys that others are buying.

    Payloads bought after ``since`` are fresh; the default is ``fresh_since``. A recomputation buys
    nothing, so it claims nothing. It reads stored replies again rather than what they became,
    unless ``reads_known``.
    """
    requested, chunk = list(dict.fromkeys(keys)), work.chunk
    after = fresh_since(work) if since is None else since
    if work.config.is_replay:
        if since is None and not work.reads_known:
            return ClaimResult({}, requested, [], {})
        return await run_transaction(
            work, lambda conn: reference.known(conn, kind, requested, after)
        )
    claims = await run_transaction(
        work,
        lambda conn: reference.claim_missing(conn, kind, requested, after, chunk.id, chunk.epoch),
    )
    work.buyer = claims.buyer or work.buyer
    return claims


async def store_payloads(work: Work, kind: str, payloads: Mapping[str, Any]) -> None:
    """Store payloads that are not a call's value; see ``Tools.buy``."""
    if work.config.is_replay:
        return
    purchase = Purchase(kind, payloads, work.clock.now())
    await run_transaction(work, lambda conn: reference.store(conn, purchase))


async def release_claims(work: Work, kind: str, keys: Iterable[str]) -> None:
    """Let other chunks buy these keys now, before this chunk ends."""
    unbought, chunk = list(keys), work.chunk
    if not unbought or work.config.is_replay:
        return
    await run_transaction(
        work, lambda conn: reference.release(conn, kind, unbought, chunk.id, chunk.epoch)
    )


async def run_transaction(work: Work, act: Callable[[Connection], Awaitable[R]]) -> R:
    """Run ``act`` in a transaction; ``retry_transient`` repeats it after a cut connection.

    Raises ``DatabaseUnavailable`` or ``TransactionConflict`` after ``RETRY_SECONDS_MAX``.
    """

    async def once() -> R:
        async with work.database.transaction() as conn:
            return await act(conn)

    return await retry_transient(once, RETRY_SECONDS_MAX)


def to_json(found: Any) -> dict[str, Any]:
    """Convert a dataclass to a storable JSON object: times as ISO 8601, tuples as lists."""
    value: dict[str, Any] = json.loads(json.dumps(storable(asdict(found)), default=str))
    return value


def readable_rows(requested: Iterable[str], found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The payloads of a reply about many keys (``replies.by_key``), without unreadable rows.

    A key that the provider does not know has ``{}``.
    """
    rows = {key: found.get(key, {}) for key in requested}
    return {key: to_json(one) if one else {} for key, one in rows.items() if one is not None}


def snooze_until_bought(work: Work, item: str) -> Snooze:
    """Snooze an item while another chunk buys the same key."""
    again = work.clock.now() + timedelta(seconds=CLAIM_CHECK_SECONDS)
    wait = WaitReason(WaitCause.PURCHASE, str(work.buyer)) if work.buyer else None
    return Snooze(item, "another chunk is buying it", again, wait=wait)


async def as_done(
    work_one: Callable[[T], Awaitable[R]], things: Iterable[T], limit: int
) -> AsyncGenerator[R, None]:
    """Work on things concurrently, at most ``limit`` at once; yield results as they come.

    After an exception (the lease ended, the database is away) no new work starts. Running work is
    already paid for, so it finishes and its results are yielded before the exception is raised.
    Use ``aclosing``: closing waits for running work and cancels it only if the closer is cancelled.
    """
    waiting = iter(things)
    running: set[asyncio.Task[R]] = set()
    broken: BaseException | None = None
    try:
        while True:
            while (
                broken is None
                and len(running) < limit
                and (thing := next(waiting, _NOTHING)) is not _NOTHING
            ):
                running.add(asyncio.create_task(_awaited(work_one, thing)))
            if not running:
                break
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    result = task.result()
                except BaseException as error:  # noqa: BLE001  raised below, when all have ended
                    broken = broken or error
                    continue
                yield result
        if broken is not None:
            raise broken
    finally:
        closer = asyncio.current_task()
        if closer is None or closer.cancelling():
            for task in running:
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _awaited(work_one: Callable[[T], Awaitable[R]], thing: Any) -> R:
    return await work_one(thing)


_NOTHING: Any = object()
