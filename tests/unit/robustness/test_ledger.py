"""The ledger while its database is unavailable, and how it stores replies."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from harness.virtual import in_virtual_time

from serpline.core.clock import SystemClock
from serpline.core.ids import new_id
from serpline.domain.http import HttpReply
from serpline.robustness import ledger as ledger_module
from serpline.robustness.guard import Guard
from serpline.robustness.ledger import Ledger
from serpline.robustness.replies import pack
from serpline.store.calls import ledger as store
from serpline.store.calls.ledger import End
from serpline.store.database import DatabaseUnavailable
from serpline.store.tables.guards import CallStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class UnavailableUntil:
    """A database that is unavailable until a second of the loop's time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[None]:
        if asyncio.get_running_loop().time() < self.seconds:
            raise DatabaseUnavailable("away")
        yield


def paid() -> End:
    return End(new_id(), CallStatus.OK, NOW, Decimal(1))


@pytest.fixture(autouse=True)
def ended(monkeypatch: pytest.MonkeyPatch) -> list[End]:
    """The ends that reached the database."""
    came: list[End] = []

    async def end_calls(_: Any, ends: Sequence[End], *__: Any) -> list[Any]:
        came.extend(ends)
        return [end.id for end in ends]

    monkeypatch.setattr(store, "end_calls", end_calls)
    return came


@pytest.mark.parametrize(("minutes", "is_kept"), [(9.5, True), (10.5, False)])
def test_ends_wait_ten_minutes_for_the_database(
    minutes: float, is_kept: bool, ended: list[End]
) -> None:
    """An end survives a restart of the server, also that of a call that was never sent."""

    async def record() -> list[object]:
        ledger = Ledger(UnavailableUntil(60 * minutes), SystemClock())  # type: ignore[arg-type]  # what it uses of one
        return await asyncio.gather(
            ledger.end(paid()), ledger.end(End(new_id())), return_exceptions=True
        )

    lost = [isinstance(end, DatabaseUnavailable) for end in in_virtual_time(record())]
    assert lost == [not is_kept] * 2
    assert len(ended) == (2 if is_kept else 0)


def test_flush_fails_after_ten_seconds() -> None:
    """``flush`` and ``close`` end although the database does not come back."""

    async def flush() -> tuple[float, float]:
        guard = Guard(UnavailableUntil(1e9), None, [])  # type: ignore[arg-type]  # nothing is sent
        loop, recorded = asyncio.get_running_loop(), guard.ledger.end(paid())
        with pytest.raises(DatabaseUnavailable):
            await guard.flush()
        flushed_at = loop.time()
        await guard.close()
        closed_at = loop.time()
        recorded.cancel()
        return flushed_at, closed_at

    assert in_virtual_time(flush()) == pytest.approx((10, 20))


@pytest.mark.parametrize(("size_bytes", "is_off"), [(60_000, False), (70_000, True)])
async def test_a_large_reply_is_packed_off_the_loop(
    size_bytes: int, is_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packing 64 kB takes a millisecond. More would block every other task."""
    packed_by: list[threading.Thread] = []

    def watched(*given: Any, **named: Any) -> Any:
        packed_by.append(threading.current_thread())
        return pack(*given, **named)

    monkeypatch.setattr(ledger_module, "pack", watched)
    ledger = Ledger(UnavailableUntil(0), SystemClock())  # type: ignore[arg-type]  # what it uses of one
    recorded = ledger.end(paid(), HttpReply(200, {}, b"x" * size_bytes))
    await ledger.flush()
    assert await recorded
    assert [thread is not threading.main_thread() for thread in packed_by] == [is_off]
