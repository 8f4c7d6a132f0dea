"""Small parts: ledger, log, slots and limits."""

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from serpline.simulator.config import RateLimit, SimulatorConfig
from serpline.simulator.journal import CallEntry, CallLog, Ledger
from serpline.simulator.limits import Limits
from serpline.simulator.scaleserp.account import Slots
from serpline.simulator.scaleserp.search import BadSearch, check, respond
from serpline.simulator.world import World

from .conftest import ManualClock

ENTRY = CallEntry(1, "t", "pdl", "enrich", {}, "x", 1, 200, 1.0)


def test_a_charge_above_the_balance_is_refused(clock: ManualClock) -> None:
    """A charge above 1,000 credits is refused; a refund makes it possible again."""
    ledger = Ledger(clock, {"scaleserp": 1_000})
    assert ledger.charge("scaleserp", 1_000, "batch", "b")
    assert not ledger.charge("scaleserp", 1, "search", "q")
    assert ledger.charge("scaleserp", -1, "refund", "b")
    assert ledger.charge("scaleserp", 1, "search", "q")
    assert (ledger.spent("scaleserp"), ledger.remaining("scaleserp")) == (1_000, 0)


def test_the_log_counts_dropped_entries(clock: ManualClock) -> None:
    """Above its limit, the log counts dropped entries."""
    log = CallLog(clock, entries_max=2)
    for seq in range(3):
        log.append(replace(ENTRY, seq=seq))
    assert (len(log), log.dropped) == (2, 1)


def test_the_log_is_appended_to_a_file(clock: ManualClock, tmp_path: Path) -> None:
    """Every entry is one JSON line, written at once."""
    file = tmp_path / "calls.jsonl"
    log = CallLog(clock, entries_max=10, file=file)
    log.append(ENTRY)
    assert '"operation": "enrich"' in file.read_text()
    log.close()


async def test_waiting_batches_enter_by_priority() -> None:
    """One slot, three waiters: the highest priority goes first, then by arrival."""
    slots, order = Slots(1), []

    async def work(name: str, priority: int) -> None:
        await slots.enter(priority)
        order.append(name)
        slots.leave()

    await slots.enter(0)
    tasks = [asyncio.create_task(work(*each)) for each in (("a", 2), ("b", 0), ("c", 2))]
    await asyncio.sleep(0)
    slots.leave()
    await asyncio.gather(*tasks)
    assert order == ["b", "a", "c"]


async def test_a_cancelled_waiter_returns_its_slot() -> None:
    """A slot given to a waiter that is being cancelled is not lost."""
    slots = Slots(1)
    await slots.enter(0)
    waiter = asyncio.create_task(slots.enter(0))
    await asyncio.sleep(0)
    slots.leave()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    await asyncio.wait_for(slots.enter(0), 1)


async def test_a_limit_slides(clock: ManualClock) -> None:
    """Two calls in ten seconds pass; the third gets its waiting time, and passes after it."""
    config = SimulatorConfig(limits={"pdl": RateLimit(2, 10.0)})
    limits = Limits(config, clock)
    assert limits.take("pdl", "enrich") is None
    await clock.advance(4)
    assert limits.take("pdl", "enrich") is None
    assert limits.take("pdl", "enrich") == pytest.approx(6)
    await clock.advance(6)
    assert limits.take("pdl", "enrich") is None


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"q": " "},
        {"q": "a", "search_type": "maps"},
        {"q": "a", "page": "0"},
        {"q": "a", "max_page": "x"},
        {"q": "a", "time_period": "last_minute"},
        {"q": "a", "time_period": "custom", "time_period_min": "2026-01-01"},
    ],
)
def test_bad_search_parameters_are_refused(params: dict[str, str]) -> None:
    """Documented requirements are checked."""
    with pytest.raises(BadSearch):
        check(params)


def test_news_stay_within_the_time_period(world: World) -> None:
    """Every article's date is within a custom period."""
    period = {"time_period_min": "11/01/2026", "time_period_max": "11/07/2026"}
    params = {"q": "tickets", "search_type": "news", "time_period": "custom", **period}
    rows = respond(world, date(2026, 11, 23), params, {})["news_results"]
    assert {row["date_utc"][:8] for row in rows} == {"2026-11-"}
    assert all("01" <= row["date_utc"][8:10] <= "07" for row in rows)


def test_pages_of_one_search_continue_one_another(world: World) -> None:
    """max_page=3 gives thirty distinct results with overall positions."""
    day = date(2026, 11, 23)
    rows = respond(world, day, {"q": "tickets", "max_page": "3"}, {})["organic_results"]
    assert [row["position_overall"] for row in rows] == list(range(1, 31))
    assert len({row["link"] for row in rows}) == 30
    second = respond(world, day, {"q": "tickets", "page": "2"}, {})["organic_results"]
    assert [row["link"] for row in second] == [row["link"] for row in rows[10:20]]
