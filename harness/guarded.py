"""Parts for tests of guarded calls: a scripted provider, a manual clock, owned chunks."""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from serpline.core.ids import new_id
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.net.errors import NetError
from serpline.robustness.guard import Guard
from serpline.robustness.policies import ProviderPolicy
from serpline.store.database import Database

MakeGuard = Callable[..., Guard]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class ManualClock:
    """A clock that a test sets. A sleep advances it at once."""

    def __init__(self) -> None:
        self.elapsed_seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed_seconds)

    def monotonic(self) -> float:
        return self.elapsed_seconds

    async def sleep(self, seconds: float) -> None:
        self.elapsed_seconds += max(0.0, seconds)
        await asyncio.sleep(0)


@dataclass
class Provider:
    """A provider that answers by script. Its log is the independent auditor."""

    answer: Callable[[HttpRequest], HttpReply | Exception] = lambda _: ok({"answer": 1})
    log: list[HttpRequest] = field(default_factory=list)
    gate: asyncio.Event | None = None
    entered: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    in_flight: int = 0
    in_flight_max: int = 0

    async def send(self, request: HttpRequest) -> HttpReply:
        self.log.append(request)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        self.entered.release()
        try:
            if self.gate is not None:
                await self.gate.wait()
            answer = self.answer(request)
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.in_flight -= 1


def ok(value: Any, **headers: str) -> HttpReply:
    return HttpReply(
        200, {"content-type": "application/json", **headers}, json.dumps(value).encode()
    )


def status(code: int, **headers: str) -> HttpReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(code, named, b"{}")


def down(_: HttpRequest) -> Exception:
    return NetError(ErrorCategory.NETWORK, "example: connection refused")


_CATEGORIES = {
    401: ErrorCategory.AUTH,
    403: ErrorCategory.QUOTA,
    429: ErrorCategory.RATE_LIMIT,
    500: ErrorCategory.SERVER,
}


def parse(reply: HttpReply) -> Any:
    if reply.status in _CATEGORIES:
        category = _CATEGORIES[reply.status]
        raise ProviderError(
            f"HTTP {reply.status}",
            provider="example",
            category=category,
            permanent=category is ErrorCategory.AUTH,
            http_status=reply.status,
        )
    try:
        return json.loads(reply.body)["answer"]
    except (ValueError, KeyError):
        raise ProviderError(
            "no answer", provider="example", category=ErrorCategory.MALFORMED
        ) from None


def call(
    identity: Any = "a",
    *,
    price: float = 1.0,
    billed: Callable[[HttpReply], float] | None = None,
    read: Callable[[HttpReply], Any] = parse,
    secret: str = "",
) -> ProviderCall[Any]:
    params = {"q": str(identity)} | ({"api_key": secret} if secret else {})
    request = HttpRequest(
        "GET", "http://example.test/", params, secrets=(secret,) if secret else ()
    )
    return ProviderCall("example", "look_up", request, identity, read, price, billed)


def policy(**changes: Any) -> ProviderPolicy:
    defaults: dict[str, Any] = {
        "provider": "example",
        "breaker": "example_api",
        "breaker_settings": BreakerSettings(failure_threshold=10, timeout_seconds=300),
        "rate_per_second": 5000.0,
        "concurrency": 64,
        "retry_floor": 10_000.0,
    }
    return ProviderPolicy(**(defaults | changes))


async def owned_chunk(db: Database, no: int = 1) -> tuple[uuid.UUID, int, int]:
    """(run, chunk, epoch) of a new chunk that a running worker owns."""
    run_id = new_id()
    async with db.transaction() as conn:
        await conn.execute(
            sa.text(
                "INSERT INTO pipeline_executions (id, mode, config) VALUES (:run, 'manual', '{}')"
            ),
            {"run": run_id},
        )
        found = await conn.execute(
            sa.text(
                "WITH lane AS (INSERT INTO pipeline_phase_status"
                "   (pipeline_execution_id, phase_name, content_type, source_run_id)"
                "   VALUES (:run, 'keyword_metrics', 'all', :run) RETURNING id),"
                " worker AS (INSERT INTO workers (host, pid) VALUES ('here', 1) RETURNING id)"
                " INSERT INTO chunks (lane_id, no, run_id, status, owner, epoch, planned)"
                " SELECT lane.id, :no, :run, 'owned', worker.id, 1, 10 FROM lane, worker"
                " RETURNING id"
            ),
            {"run": run_id, "no": no},
        )
        return run_id, int(found.scalar_one()), 1


async def take_over(db: Database, chunk_id: int) -> int:
    """Raise the chunk's epoch, as a new owner does; the old owner's writes are fenced off."""
    async with db.transaction() as conn:
        found = await conn.execute(
            sa.text("UPDATE chunks SET epoch = epoch + 1 WHERE id = :id RETURNING epoch"),
            {"id": chunk_id},
        )
        return int(found.scalar_one())


async def rows(db: Database, statement: str, **values: Any) -> list[Any]:
    async with db.transaction() as conn:
        return list(await conn.execute(sa.text(statement), values))
