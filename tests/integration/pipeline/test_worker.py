"""The chunk worker: what it does with each outcome, and what happens when work raises."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from harness.guarded import policy
from harness.inline import METRICS, Harness, open_harness
from harness.scripted import open_gate
from harness.waiting import until

from serpline.domain.errors import LeaseLost
from serpline.domain.names import PipelineMode
from serpline.domain.outcomes import Done, Outcome, Skip
from serpline.pipeline import settler as settler_module
from serpline.pipeline.settler import SETTLE_ITEMS_MAX, Settler
from serpline.pipeline.silence import WorkHung
from serpline.pipeline.state_tracker import Settled, StateTracker, WriteResults
from serpline.queueing import JobEvent, JobOutcome, JobQueueManager
from serpline.robustness.budget import apply_limits, scopes
from serpline.robustness.retry import RetryManager
from serpline.store.database import Connection, Database, DatabaseUnavailable
from serpline.store.runs import releases
from serpline.store.runs.chunks import OwnedChunk
from serpline.store.runs.due import make_due


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    async with open_harness(db) as made:
        yield made


async def planned(
    harness: Harness, *items: str, mode: PipelineMode = PipelineMode.MANUAL, **config: Any
) -> tuple[UUID, int]:
    """A run of one lane, with one chunk of these items."""
    run_id = await harness.start({METRICS: items}, mode, lanes=[METRICS], **config)
    (chunk_id,) = await harness.plan(run_id)
    return run_id, chunk_id


async def states(harness: Harness, run_id: UUID) -> dict[str, str]:
    return {name: row["status"] for name, row in (await harness.items(run_id)).items()}


async def test_a_chunk_is_worked_settled_and_done(harness: Harness) -> None:
    """Each outcome becomes a state, the chunk is done, and the run is woken."""
    run_id, chunk_id = await planned(harness, "DONE-1", "REJECT-1", "SKIP-1")
    await harness.delete_wakeups()
    assert await harness.worker.work(chunk_id)
    assert await states(harness, run_id) == {
        "DONE-1": "completed",
        "REJECT-1": "failed",
        "SKIP-1": "skipped",
    }
    chunk = await harness.chunk(chunk_id)
    assert (chunk["status"], chunk["owner"], chunk["next_check_at"]) == ("done", None, None)
    assert await harness.waiting() == [f"run:{run_id}"]


async def test_a_done_chunk_is_not_worked_again(harness: Harness) -> None:
    """A late or duplicate wake-up of a chunk claims nothing."""
    run_id, chunk_id = await planned(harness, "DONE-1")
    assert await harness.worker.work(chunk_id)
    assert not await harness.worker.work(chunk_id)
    assert await harness.attempts("DONE-1") == 1
    assert await harness.results(run_id) == ["DONE-1"]


async def test_of_many_claims_one_wins(harness: Harness) -> None:
    """One of many concurrent claims of a chunk succeeds."""
    run_id, chunk_id = await planned(harness, "DONE-1", "DONE-2")
    took = await asyncio.gather(*[harness.worker.work(chunk_id) for _ in range(8)])
    assert sorted(took) == [False] * 7 + [True]
    assert await harness.results(run_id) == ["DONE-1", "DONE-2"]


async def test_a_retried_item_waits_and_sets_the_next_check(harness: Harness) -> None:
    """The chunk is released until the earliest next attempt, and the item rests until then."""
    run_id, chunk_id = await planned(harness, "RETRY1-a", "DONE-1")
    await harness.worker.work(chunk_id)
    item, chunk = (await harness.items(run_id))["RETRY1-a"], await harness.chunk(chunk_id)
    assert (item["status"], item["attempts"]) == ("retry_wait", 1)
    assert chunk["status"] == "ready"
    assert abs(chunk["next_check_at"] - item["next_attempt_at"]) < timedelta(seconds=1)
    harness.clock.ahead_seconds -= 5  # however long this took: it is not due
    await harness.worker.work(chunk_id)
    assert await harness.attempts("RETRY1-a") == 1
    harness.clock.ahead_seconds += 400
    await harness.worker.work(chunk_id)
    assert await states(harness, run_id) == {"RETRY1-a": "completed", "DONE-1": "completed"}
    assert await harness.attempts("DONE-1") == 1


async def test_attempts_end_at_the_runs_own_number(harness: Harness) -> None:
    """An item is tried as often as its run allows, then fails with its last error."""
    run_id, _ = await planned(harness, "RETRY9-a", "RETRY1-b", retry_attempts=2)
    assert await harness.drive(run_id) == "completed"
    item = (await harness.items(run_id))["RETRY9-a"]
    assert (item["status"], item["attempts"], item["error"]) == ("failed", 2, "failed 2 times")
    assert await harness.attempts("RETRY9-a") == await harness.attempts("RETRY1-b") == 2


async def test_a_snooze_sets_the_next_check_and_uses_no_attempt(harness: Harness) -> None:
    """A refused item keeps its state and attempts; its chunk is due when the snooze ends."""
    run_id, chunk_id = await planned(harness, "SNOOZE-a", "DONE-1")
    await harness.worker.work(chunk_id)
    item, chunk = (await harness.items(run_id))["SNOOZE-a"], await harness.chunk(chunk_id)
    assert (item["status"], item["attempts"]) == ("pending", 0)
    assert chunk["status"] == "ready"
    assert 3500 < chunk["seconds_to_check"] <= 3600


@pytest.mark.parametrize("item", ["SNOOZEBLIND-a", "NOTHING-a"])
async def test_work_without_progress_is_not_repeated_at_once(harness: Harness, item: str) -> None:
    """Work that settles nothing and names no time pauses for seconds: no hot loop."""
    _, chunk_id = await planned(harness, item)
    await harness.worker.work(chunk_id)
    assert 2 < (await harness.chunk(chunk_id))["seconds_to_check"] <= 5


async def test_checks_without_progress_back_off(harness: Harness) -> None:
    """The pause doubles however soon the work asks to be checked; an event overrides it."""
    _, chunk_id = await planned(harness, "a")
    waits: list[float] = []

    async def release_once(*, waits_on: Collection[str] = (), at_once: bool = False) -> None:
        with harness.lifeline.at_work(chunk_id):
            chunk = await owned(harness, chunk_id)
            now = harness.clock.now()
            async with harness.database.transaction() as conn:
                await releases.release(
                    conn,
                    chunk,
                    due_in_seconds=0,
                    now=now,
                    loaded_at=now,
                    at_once=at_once,
                    waits_on=waits_on,
                )
        waits.append((await harness.chunk(chunk_id))["seconds_to_check"])

    for _ in range(6):
        await release_once()
    for _ in range(5):
        await release_once(waits_on=["example_api"])
    pauses = [0.25, 0.5, 1, 2, 4, 5, 16, 32, 60, 60, 60]
    assert all(pause - 0.2 < wait <= pause for pause, wait in zip(pauses, waits, strict=True))
    await release_once(at_once=True)
    await release_once()
    assert 0 < waits[-1] <= 0.25
    for _ in range(4):
        await release_once()
    async with harness.database.transaction() as conn:
        await make_due(conn, chunk_id)
    assert (await harness.chunk(chunk_id))["seconds_to_check"] <= 0
    await release_once()
    assert 0 < waits[-1] <= 0.25


async def owned(harness: Harness, chunk_id: int) -> OwnedChunk:
    chunk = await harness.claim(chunk_id, harness.lifeline.worker_id)
    assert chunk is not None
    return chunk


async def test_the_earliest_due_time_counts(harness: Harness) -> None:
    """The next check is the earlier of the work's own time and the items' next attempts."""
    _, chunk_id = await planned(harness, "a", "b")
    now = harness.clock.now()
    for asked_wait, attempt, wait in ((900, 300, 300), (100, 300, 100)):
        with harness.lifeline.at_work(chunk_id):
            chunk = await owned(harness, chunk_id)
            await harness.query(
                "UPDATE items SET status = 'retry_wait', next_attempt_at = :at WHERE item = 'a'",
                at=now + timedelta(seconds=attempt),
            )
            async with harness.database.transaction() as conn:
                await releases.release(
                    conn,
                    chunk,
                    due_in_seconds=asked_wait,
                    now=now,
                    loaded_at=now,
                    at_once=False,
                )
        assert wait - 60 < (await harness.chunk(chunk_id))["seconds_to_check"] <= wait


async def test_a_budget_that_rises_during_the_work_is_seen(harness: Harness) -> None:
    """An item that the budget just refused is tried again at once, not after its wait."""
    _, chunk_id = await planned(harness, "a")
    now = harness.clock.now()
    limits = [policy(provider="example", credits_per_day=limit) for limit in (1.0, 2.0)]
    await harness.query(
        "INSERT INTO provider_budgets (provider, scope, limit_credits)"
        " VALUES ('example', :scope, 1)",
        scope=scopes(limits[0], None, now)[0][0],
    )
    with harness.lifeline.at_work(chunk_id):
        chunk = await owned(harness, chunk_id)
        async with harness.database.transaction() as conn:
            await apply_limits(conn, limits[1:], now)
        async with harness.database.transaction() as conn:
            await releases.release(
                conn,
                chunk,
                due_in_seconds=900,
                now=now,
                loaded_at=now,
                at_once=False,
                waits_on=["budget:example"],
            )
    assert (await harness.chunk(chunk_id))["seconds_to_check"] <= 0


async def test_an_item_that_becomes_due_during_the_work_is_not_delayed(harness: Harness) -> None:
    """If a next attempt becomes due during the work, the chunk is due at once."""
    _, chunk_id = await planned(harness, "a", "b")
    with harness.lifeline.at_work(chunk_id):
        chunk = await owned(harness, chunk_id)
        loaded_at = harness.clock.now() - timedelta(seconds=10)
        await harness.query(
            "UPDATE items SET status = 'retry_wait', next_attempt_at = :at WHERE item = 'a'",
            at=loaded_at + timedelta(seconds=5),
        )
        async with harness.database.transaction() as conn:
            await releases.release(
                conn,
                chunk,
                due_in_seconds=3600,
                now=harness.clock.now(),
                loaded_at=loaded_at,
                at_once=True,
            )
    assert (await harness.chunk(chunk_id))["seconds_to_check"] <= 0


async def test_a_snoozed_retry_does_not_spin(harness: Harness) -> None:
    """An item with an overdue next attempt that is refused again waits for its snooze."""
    _, chunk_id = await planned(harness, "SNOOZE-a")
    await harness.query(
        "UPDATE items SET status = 'retry_wait', attempts = 1, next_attempt_at = now() - '1 h'"
        "::interval"
    )
    await harness.worker.work(chunk_id)
    assert (await harness.chunk(chunk_id))["seconds_to_check"] > 3500


async def test_an_event_for_an_owned_chunk_is_not_lost(harness: Harness) -> None:
    """An event while a worker owns the chunk makes it due at once on release."""
    _, chunk_id = await planned(harness, "GATE-1", "SNOOZE-2")
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-1")
    async with harness.database.transaction() as conn:
        await make_due(conn, chunk_id)
    await open_gate(harness.database)
    assert await working
    assert (await harness.chunk(chunk_id))["seconds_to_check"] < 1


def indivisible(harness: Harness) -> None:
    """Make the work of a chunk one unit for all its items, as with a provider's batch."""
    for phase in harness.phases.values():
        phase.divisible = False


async def test_a_crash_is_a_dead_letter_and_backs_off(harness: Harness) -> None:
    """The chunk keeps its results and waits longer after each crash."""
    indivisible(harness)
    run_id, chunk_id = await planned(harness, "DONE-1", "RAISE-2", "DONE-3")
    events: asyncio.Queue[JobEvent] = asyncio.Queue()
    queue = JobQueueManager(harness.database, observer=events.put_nowait)

    async def work(payload: dict[str, Any]) -> None:
        await harness.worker.work(int(payload["target"]))

    async def ignore(payload: dict[str, Any]) -> None:
        """Ignore the run's own wake-up."""

    queue.register("chunk", work)
    queue.register("run", ignore)
    stop = asyncio.Event()
    serving = asyncio.create_task(queue.run(stop, 1))
    try:
        async with asyncio.timeout(30):
            while (event := await events.get()).outcome is JobOutcome.DONE:
                pass
    finally:
        stop.set()
        await serving
    assert (event.job_type, event.outcome) == ("chunk", JobOutcome.DEAD)
    assert event.error == "RuntimeError: a bug of the phase"
    assert await harness.column("SELECT target FROM dead_letters") == [str(chunk_id)]
    assert (await states(harness, run_id))["DONE-1"] == "completed"
    waits = [(await harness.chunk(chunk_id))["seconds_to_check"]]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a bug of the phase"):
            await harness.worker.work(chunk_id)
        waits.append((await harness.chunk(chunk_id))["seconds_to_check"])
    assert [round(wait, -1) for wait in waits] == [10, 20, 40]
    attempts = await harness.query("SELECT * FROM item_retries ORDER BY id")
    assert [(row["item"], row["attempt"], row["delay_seconds"]) for row in attempts] == [
        ("chunk 0", 1, 10), ("chunk 0", 2, 20), ("chunk 0", 3, 40)
    ]  # fmt: skip


async def test_after_three_crashes_the_items_fail(harness: Harness) -> None:
    """Undivided work that crashed three times fails its items unattempted, and the run ends."""
    indivisible(harness)
    run_id, chunk_id = await planned(harness, "DONE-1", "RAISE-2", "SNOOZE-3")
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await harness.worker.work(chunk_id)
    assert await harness.drive(run_id) == "failed"
    assert await harness.attempts("RAISE-2") == 3
    items = await harness.items(run_id)
    assert items["DONE-1"]["status"] == "completed"
    assert {(items[n]["status"], items[n]["error_category"]) for n in ("RAISE-2", "SNOOZE-3")} == {
        ("failed", "internal")
    }


async def test_an_item_that_raises_fails_alone(harness: Harness) -> None:
    """After a first crash, each raising item loses its own attempts; its neighbours finish."""
    names = [f"{'RAISE' if n in (3, 40, 41) else 'DONE'}-{n}" for n in range(60)]
    run_id, chunk_id = await planned(harness, *names, retry_attempts=2)
    with pytest.raises(RuntimeError, match="a bug of the phase"):
        await harness.worker.work(chunk_id)
    assert await harness.worker.work(chunk_id)
    items = await harness.items(run_id)
    assert {n: items[n]["status"] for n in names} == {
        n: "retry_wait" if n.startswith("RAISE") else "completed" for n in names
    }
    for _ in range(2):
        harness.clock.ahead_seconds += 400
        with suppress(RuntimeError):
            await harness.worker.work(chunk_id)
    items = await harness.items(run_id)
    bad = [items[n] for n in names if n.startswith("RAISE")]
    assert {(i["status"], i["error_category"], i["attempts"]) for i in bad} == {
        ("failed", "internal", 2)
    }
    assert {i["error"] for i in bad} == {"RuntimeError: a bug of the phase"}
    assert sorted(await harness.results(run_id)) == sorted(n for n in names if n.startswith("DONE"))


async def test_a_result_that_cannot_be_written_fails_alone(harness: Harness) -> None:
    """After a first crash, a settlement that raises is split: one item fails, none is lost."""
    names = [*(f"DONE-{n}" for n in range(20)), "UNWRITABLE-1", "REJECT-1"]
    run_id, chunk_id = await planned(harness, *names, retry_attempts=1)
    with pytest.raises(RuntimeError, match="cannot be written"):
        await harness.worker.work(chunk_id)
    assert await harness.worker.work(chunk_id)
    items = await harness.items(run_id)
    assert Counter(i["status"] for i in items.values()) == {"completed": 20, "failed": 2}
    assert items["UNWRITABLE-1"]["error"] == "RuntimeError: this cannot be written"
    assert len(await harness.results(run_id)) == 20


async def test_work_that_hangs_ends_at_its_deadline(harness: Harness) -> None:
    """Work without an outcome for too long is a crash: released, delayed, with its reason."""
    worker = harness.worker_with(silence_seconds=0.2)
    run_id, chunk_id = await planned(harness, "DONE-1", "STUCK-2")
    for crashes in (1, 2, 3):
        with pytest.raises(WorkHung, match="no outcome within"):
            await worker.work(chunk_id)
        chunk = await harness.chunk(chunk_id)
        assert (chunk["status"], chunk["crashes"], chunk["completed"]) == ("ready", crashes, 1)
    assert chunk["seconds_to_check"] > 30
    assert await worker.work(chunk_id)
    items = await harness.items(run_id)
    assert items["DONE-1"]["status"] == "completed"
    assert (items["STUCK-2"]["status"], items["STUCK-2"]["error_category"]) == (
        "failed",
        "internal",
    )
    assert "3 times; last error: WorkHung: no outcome within 0.2 s" in items["STUCK-2"]["error"]


async def test_progress_resets_the_crash_count(harness: Harness) -> None:
    """Crashes count in a row. Work that settles something resets the count; other work does not."""
    worker = harness.worker_with(silence_seconds=0.2)
    _, chunk_id = await planned(harness, "HANG-1", "SNOOZEBLIND-2")
    with pytest.raises(WorkHung):
        await worker.work(chunk_id)
    assert (await harness.chunk(chunk_id))["crashes"] == 1
    assert await worker.work(chunk_id)
    chunk = await harness.chunk(chunk_id)
    assert (chunk["status"], chunk["completed"], chunk["crashes"]) == ("ready", 1, 0)
    await harness.query("UPDATE chunks SET crashes = 2 WHERE id = :id", id=chunk_id)
    assert await worker.work(chunk_id)
    assert (await harness.chunk(chunk_id))["crashes"] == 2


async def test_slow_work_does_not_time_out(harness: Harness) -> None:
    """The deadline is for the next outcome; work that yields outcomes may take any time."""
    worker = harness.worker_with(silence_seconds=2.0)
    run_id, chunk_id = await planned(harness, *[f"SLOW-{n:03}" for n in range(50)])
    assert await worker.work(chunk_id)
    assert len(await harness.results(run_id)) == 50


async def test_a_result_that_cannot_be_written_is_a_crash(harness: Harness) -> None:
    """A store function that raises is a bug too. No item completes without its result."""
    run_id, chunk_id = await planned(harness, "UNWRITABLE-1")
    with pytest.raises(RuntimeError, match="cannot be written"):
        await harness.worker.work(chunk_id)
    assert (await states(harness, run_id)) == {"UNWRITABLE-1": "pending"}
    assert (await harness.chunk(chunk_id))["crashes"] == 1


async def test_an_outage_of_the_database_is_no_crash(harness: Harness) -> None:
    """Work interrupted by the database is released, counts no crash, and finishes later."""
    run_id, chunk_id = await planned(harness, "DONE-1", "OUTAGE-2", "SKIP-3")
    assert await harness.worker.work(chunk_id)
    chunk = await harness.chunk(chunk_id)
    assert (chunk["status"], chunk["crashes"], chunk["completed"]) == ("ready", 0, 1)
    # "At once" would be in the past by now; five seconds is what an idle chunk waits.
    assert 0 < chunk["seconds_to_check"] <= 5
    assert await harness.worker.work(chunk_id)
    assert await harness.results(run_id) == ["DONE-1", "OUTAGE-2"]


async def test_cancel_stops_work_before_the_next_item(harness: Harness) -> None:
    """Finished items are settled, no item is started, and the run stays cancelled."""
    run_id, chunk_id = await planned(harness, "GATE-1", "NEVER-2")
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-1")
    await harness.service.cancel(run_id)
    await harness.wait_for_beats()
    await open_gate(harness.database)
    assert await working
    assert await states(harness, run_id) == {"GATE-1": "completed", "NEVER-2": "pending"}
    assert await harness.attempts("NEVER-2") == 0
    assert (await harness.chunk(chunk_id))["status"] == "ready"
    assert not await harness.worker.work(chunk_id)
    assert await harness.orchestrator.advance_and_plan(run_id) == "cancelled"


async def test_cancel_wins_over_completion(harness: Harness) -> None:
    """A run whose last item finishes after the cancel ends cancelled, with that item's result."""
    run_id, chunk_id = await planned(harness, "GATE-1")
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-1")
    await harness.service.cancel(run_id)
    await open_gate(harness.database)
    assert await working
    assert await harness.results(run_id) == ["GATE-1"]
    assert (await harness.chunk(chunk_id))["status"] == "done"
    assert (
        await harness.orchestrator.advance_and_plan(run_id)
        == await harness.status(run_id)
        == "cancelled"
    )


async def test_a_paused_run_resumes_with_its_own_settings(harness: Harness) -> None:
    """A pause releases the chunk; a resume finishes it with that run's configuration."""
    run_id, chunk_id = await planned(harness, "GATE-1", "RETRY9-2", retry_attempts=2)
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-1")
    await harness.service.pause(run_id)
    await harness.wait_for_beats()
    await open_gate(harness.database)
    assert await working
    assert (await harness.chunk(chunk_id))["status"] == "ready"
    assert not await harness.worker.work(chunk_id)
    assert await harness.orchestrator.advance_and_plan(run_id) == "paused"
    await harness.query("UPDATE chunks SET next_check_at = now() + '1 h'::interval")
    await harness.service.resume(run_id)
    assert (await harness.chunk(chunk_id))["seconds_to_check"] <= 0
    await harness.drive(run_id)
    items = await harness.items(run_id)
    assert (items["RETRY9-2"]["status"], items["RETRY9-2"]["attempts"]) == ("failed", 2)
    assert await harness.attempts("GATE-1") == 1


async def test_cancelled_work_is_given_back(harness: Harness) -> None:
    """A worker that must stop keeps finished items and releases the rest at once."""
    run_id, chunk_id = await planned(harness, "DONE-1", "HANG-2")
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("HANG-2")
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    chunk = await harness.chunk(chunk_id)
    assert (chunk["status"], chunk["deaths"], chunk["crashes"]) == ("ready", 0, 0)
    assert chunk["seconds_to_check"] <= 0
    assert await harness.results(run_id) == ["DONE-1"]
    assert await harness.worker.work(chunk_id)
    assert await harness.results(run_id) == ["DONE-1", "HANG-2"]


async def test_a_lost_chunk_is_not_settled(harness: Harness) -> None:
    """After a take-over the old owner's outcomes leave no trace and do not disturb the new one."""
    run_id, chunk_id = await planned(harness, "GATE-1", "DONE-2")
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-1")
    await harness.query("UPDATE chunks SET epoch = epoch + 1 WHERE id = :id", id=chunk_id)
    before = await harness.chunk(chunk_id)
    await open_gate(harness.database)
    assert await working
    assert await states(harness, run_id) == {"GATE-1": "pending", "DONE-2": "pending"}
    assert await harness.results(run_id) == []
    after = await harness.chunk(chunk_id)
    assert (after["epoch"], after["completed"]) == (before["epoch"], 0)


async def test_an_owned_chunk_without_work_is_given_back(harness: Harness) -> None:
    """The heartbeat finds a claim whose reply was lost, or a release that failed."""
    _, chunk_id = await planned(harness, "DONE-1")
    await harness.delete_wakeups()
    chunk = await owned(harness, chunk_id)

    async def is_ready() -> bool:
        return bool((await harness.chunk(chunk_id))["status"] == "ready")

    await until(is_ready, "the chunk to be given back")
    after = await harness.chunk(chunk_id)
    assert (after["epoch"], after["deaths"]) == (chunk.epoch + 1, 0)
    assert await harness.waiting() == [f"chunk:{chunk_id}"]


async def test_an_orphaned_chunk_is_kept_until_its_replies_are_durable(
    harness: Harness,
) -> None:
    """The chunk is given back only after the replies its next owner needs are written."""
    written = asyncio.Event()

    async def write_out() -> None:
        await written.wait()

    harness.lifeline._before_giving_back = write_out
    _, chunk_id = await planned(harness, "DONE-1")
    await owned(harness, chunk_id)
    await harness.wait_for_beats(3)
    assert (await harness.chunk(chunk_id))["status"] == "owned"
    written.set()

    async def is_ready() -> bool:
        return bool((await harness.chunk(chunk_id))["status"] == "ready")

    await until(is_ready, "the chunk to be given back")


async def test_a_chunk_at_work_is_not_given_back(harness: Harness) -> None:
    """Heartbeats leave a chunk alone while its work continues."""
    run_id, chunk_id = await planned(harness, "GATE-1")
    working = asyncio.create_task(harness.worker.work(chunk_id))
    await harness.wait_until_attempted("GATE-1")
    # A second wake-up of the chunk, which comes and goes, must not hide the work.
    assert not await harness.worker.work(chunk_id)
    await harness.wait_for_beats(3)
    chunk = await harness.chunk(chunk_id)
    assert (chunk["status"], chunk["epoch"]) == ("owned", 1)
    await open_gate(harness.database)
    assert await working
    assert await harness.results(run_id) == ["GATE-1"]


async def test_without_a_lease_nothing_is_claimed(harness: Harness) -> None:
    """A worker with an overdue heartbeat leaves chunks to others."""
    _, chunk_id = await planned(harness, "DONE-1")
    harness.lifeline.end_leases()
    assert not await harness.worker.work(chunk_id)
    assert (await harness.chunk(chunk_id))["epoch"] == 0


class WatchedTracker(StateTracker):
    """A real tracker that remembers how much it settled at a time."""

    def watch(self) -> list[int]:
        self.sizes: list[int] = []
        return self.sizes

    async def settle(self, chunk: OwnedChunk, outcomes: Sequence[Outcome], **how: Any) -> Settled:
        self.sizes.append(len(outcomes))
        return await super().settle(chunk, outcomes, **how)


async def test_settlements_are_bounded(db: Database) -> None:
    """A chunk of any size is settled completely, at most 500 items at a time."""
    async with open_harness(db, chunk_size=2000) as harness:
        _, chunk_id = await planned(harness, *[f"SKIP-{n:04}" for n in range(1201)])
        tracker = WatchedTracker(harness.database, harness.clock)
        sizes = tracker.watch()
        worker = harness.worker_with(tracker=tracker)
        assert await worker.work(chunk_id)
        assert sum(sizes) == 1201
        assert max(sizes) <= 500
        assert (await harness.chunk(chunk_id))["skipped"] == 1201


async def test_nothing_is_settled_before_its_replies_are_durable(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items end, and the chunk is released, only after their calls' replies are durable."""
    monkeypatch.setattr(settler_module, "RETRY_SECONDS_MAX", 0.2)
    run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    durable = asyncio.Event()
    seen: list[str] = []

    async def before_settle() -> None:
        seen.extend(await harness.column("SELECT status FROM items"))
        if not durable.is_set():
            raise DatabaseUnavailable("no room for outcomes")

    worker = harness.worker_with(before_settle=before_settle)
    with harness.lifeline.at_work(chunk_id), pytest.raises(DatabaseUnavailable):
        await worker.work(chunk_id)
    assert (await harness.items(run_id))["DONE-1"]["status"] == "pending"
    assert (await harness.chunk(chunk_id))["status"] == "owned"
    durable.set()

    async def is_worked() -> bool:
        return await worker.work(chunk_id)

    await until(is_worked, "the heartbeat to give it back, and the work to be done")
    assert (await harness.items(run_id))["DONE-1"]["status"] == "completed"
    # The last status was read by the release.
    assert set(seen[:-1]) == {"pending"}


async def test_a_trickle_is_settled_while_the_work_goes_on(harness: Harness) -> None:
    """Outcomes are committed within a moment, not at the end of the chunk."""
    run_id, chunk_id = await planned(harness, "DONE-1", "GATE-2")
    working = asyncio.create_task(harness.worker.work(chunk_id))

    async def is_there() -> bool:
        return await harness.results(run_id) == ["DONE-1"]

    await until(is_there, "the first result while the second is in hand")
    assert not working.done()
    await open_gate(harness.database)
    assert await working


async def test_a_lost_lease_raises_at_the_next_outcome(harness: Harness) -> None:
    """Once a settlement is refused, the next outcome raises, long before a batch is full."""
    _, chunk_id = await planned(harness, "a", "b")
    added = 0
    with harness.lifeline.at_work(chunk_id):
        chunk = await owned(harness, chunk_id)
        await harness.query("UPDATE chunks SET epoch = epoch + 1 WHERE id = :id", id=chunk_id)
        write: WriteResults = harness.phases[chunk.lane.phase].write
        settler = Settler(harness.tracker, chunk, attempts={}, retries=RetryManager(), write=write)

        async def is_told() -> bool:
            nonlocal added
            added += 1
            try:
                await settler.add(Skip("a", "empty"))
            except LeaseLost:
                return True
            return False

        await until(is_told, "the refusal")
        await settler.flush_after_error()
    assert added < SETTLE_ITEMS_MAX
    assert (await harness.chunk(chunk_id))["skipped"] == 0


async def test_a_commit_outlives_the_cancelled_work(harness: Harness) -> None:
    """Cancelling the work during a commit does not undo the commit."""
    run_id, chunk_id = await planned(harness, "DONE-1")
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def write(conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        writing.set()
        await go_on.wait()
        await harness.phases[chunk.lane.phase].write(conn, chunk, done)

    with harness.lifeline.at_work(chunk_id):
        chunk = await owned(harness, chunk_id)
        settler = Settler(harness.tracker, chunk, attempts={}, retries=RetryManager(), write=write)
        await settler.add(Done("DONE-1"))
        flushing = asyncio.create_task(settler.flush())
        await writing.wait()
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        go_on.set()
        await settler.flush_after_error()
    assert settler.total == Settled(completed=1)
    assert await harness.results(run_id) == ["DONE-1"]


async def test_a_settlement_that_was_cut_off_is_repeated(harness: Harness) -> None:
    """The work continues after a cut connection, whether the commit took effect or not."""
    run_id, chunk_id = await planned(harness, "DONE-1", "DONE-2")
    cuts = [True, True]

    async def write(conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        await harness.phases[chunk.lane.phase].write(conn, chunk, done)
        if cuts.pop() if cuts else False:
            raise DatabaseUnavailable("the server ended the connection")

    with harness.lifeline.at_work(chunk_id):
        chunk = await owned(harness, chunk_id)
        settler = Settler(harness.tracker, chunk, attempts={}, retries=RetryManager(), write=write)
        await settler.add(Done("DONE-1"))
        await settler.flush()
        await settler.add(Done("DONE-2"))
        await settler.flush()
    assert cuts == []
    assert settler.total == Settled(completed=2)
    assert await harness.results(run_id) == ["DONE-1", "DONE-2"]


async def test_chunks_of_one_run_are_worked_concurrently(db: Database) -> None:
    """Chunks worked concurrently, and twice over, bring each result once."""
    async with open_harness(db, chunk_size=10) as harness:
        names = [f"DONE-{n:03}" for n in range(60)]
        run_id = await harness.start({METRICS: names}, lanes=[METRICS])
        ready = await harness.plan(run_id)
        assert len(ready) == 6
        await asyncio.gather(*[harness.worker.work(c) for c in ready for _ in range(2)])
        assert await harness.results(run_id) == names
        assert await harness.drive(run_id) == "completed"
