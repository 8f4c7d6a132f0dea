"""Facts about the chunk worker: what it does with each outcome, and when work breaks off."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from harness.heart import METRICS, SILENCE_SECONDS, Heart, beating
from harness.scripted import open_gate
from harness.waiting import until

from serpline.domain.errors import LeaseLost
from serpline.domain.names import PipelineMode
from serpline.domain.outcomes import Done, Outcome, Skip
from serpline.pipeline import settler as settler_module
from serpline.pipeline.settler import SETTLE_ITEMS_MAX, Settler
from serpline.pipeline.silence import WorkHung
from serpline.pipeline.state_tracker import Settled, StateTracker, WriteResults
from serpline.pipeline.worker import ChunkWorker
from serpline.queueing import JobEvent, JobOutcome, JobQueueManager
from serpline.robustness.retry import RetryManager
from serpline.store.database import Connection, Database, DatabaseUnavailable
from serpline.store.runs import releases
from serpline.store.runs.chunks import OwnedChunk
from serpline.store.runs.looks import look_now


@pytest.fixture
async def heart(db: Database) -> AsyncIterator[Heart]:
    async with beating(db) as made:
        yield made


async def planned(
    heart: Heart, *items: str, mode: PipelineMode = PipelineMode.MANUAL, **config: Any
) -> tuple[UUID, int]:
    """A run of one lane with one chunk of these items."""
    run_id = await heart.start({METRICS: items}, mode, lanes=[METRICS], **config)
    (chunk_id,) = await heart.planned(run_id)
    return run_id, chunk_id


async def states(heart: Heart, run_id: UUID) -> dict[str, str]:
    return {name: row["status"] for name, row in (await heart.items(run_id)).items()}


async def test_a_chunk_is_worked_settled_and_done(heart: Heart) -> None:
    """Each outcome becomes its state, the chunk is done and the run is woken to see it."""
    run_id, chunk_id = await planned(heart, "DONE-1", "REJECT-1", "SKIP-1")
    await heart.forget_wakeups()
    assert await heart.worker.work(chunk_id)
    assert await states(heart, run_id) == {
        "DONE-1": "completed",
        "REJECT-1": "failed",
        "SKIP-1": "skipped",
    }
    chunk = await heart.chunk(chunk_id)
    assert (chunk["status"], chunk["owner"], chunk["next_look_at"]) == ("done", None, None)
    assert await heart.waiting() == [f"run:{run_id}"]


async def test_a_done_chunk_is_not_worked_again(heart: Heart) -> None:
    """A late or double wake-up of a chunk finds nothing to be had."""
    run_id, chunk_id = await planned(heart, "DONE-1")
    assert await heart.worker.work(chunk_id)
    assert not await heart.worker.work(chunk_id)
    assert await heart.attempts("DONE-1") == 1
    assert await heart.results(run_id) == ["DONE-1"]


async def test_of_many_claims_one_wins(heart: Heart) -> None:
    """A chunk that many want at once is worked by one of them."""
    run_id, chunk_id = await planned(heart, "DONE-1", "DONE-2")
    took = await asyncio.gather(*[heart.worker.work(chunk_id) for _ in range(8)])
    assert sorted(took) == [False] * 7 + [True]
    assert await heart.results(run_id) == ["DONE-1", "DONE-2"]


async def test_a_retried_item_waits_and_sets_the_next_look(heart: Heart) -> None:
    """The chunk is given back until the earliest next attempt; before that the item is left."""
    run_id, chunk_id = await planned(heart, "RETRY1-a", "DONE-1")
    await heart.worker.work(chunk_id)
    item, chunk = (await heart.items(run_id))["RETRY1-a"], await heart.chunk(chunk_id)
    assert (item["status"], item["attempts"]) == ("retry_wait", 1)
    assert chunk["status"] == "ready"
    assert abs(chunk["next_look_at"] - item["next_attempt_at"]) < timedelta(seconds=1)
    heart.clock.ahead_seconds -= 5  # however long this took: it is not due
    await heart.worker.work(chunk_id)
    assert await heart.attempts("RETRY1-a") == 1
    heart.clock.ahead_seconds += 400
    await heart.worker.work(chunk_id)
    assert await states(heart, run_id) == {"RETRY1-a": "completed", "DONE-1": "completed"}
    assert await heart.attempts("DONE-1") == 1


async def test_attempts_end_at_the_runs_own_number(heart: Heart) -> None:
    """An item is tried as often as its run says, and then failed with its last error."""
    run_id, _ = await planned(heart, "RETRY9-a", "RETRY1-b", retry_attempts=2)
    assert await heart.drive(run_id) == "completed"
    item = (await heart.items(run_id))["RETRY9-a"]
    assert (item["status"], item["attempts"], item["error"]) == ("failed", 2, "failed 2 times")
    assert await heart.attempts("RETRY9-a") == await heart.attempts("RETRY1-b") == 2


async def test_a_snooze_sets_the_next_look_and_burns_nothing(heart: Heart) -> None:
    """A refused item keeps its state and attempts; the chunk is looked at when it said."""
    run_id, chunk_id = await planned(heart, "SNOOZE-a", "DONE-1")
    await heart.worker.work(chunk_id)
    item, chunk = (await heart.items(run_id))["SNOOZE-a"], await heart.chunk(chunk_id)
    assert (item["status"], item["attempts"]) == ("pending", 0)
    assert chunk["status"] == "ready"
    assert 3500 < chunk["look_seconds"] <= 3600


@pytest.mark.parametrize("item", ["SNOOZEBLIND-a", "NOTHING-a"])
async def test_work_without_progress_is_not_repeated_at_once(heart: Heart, item: str) -> None:
    """Work that settles nothing and names no time is left alone for seconds: no hot loop."""
    _, chunk_id = await planned(heart, item)
    await heart.worker.work(chunk_id)
    assert 2 < (await heart.chunk(chunk_id))["look_seconds"] <= 5


async def test_looks_that_bring_nothing_come_ever_later(heart: Heart) -> None:
    """However soon it asks to be looked at again, the pause doubles; an event passes it by."""
    _, chunk_id = await planned(heart, "a")
    looks: list[float] = []

    async def look(*, waits_on: Collection[str] = (), at_once: bool = False) -> None:
        with heart.lifeline.at_work(chunk_id):
            chunk = await owned(heart, chunk_id)
            now = heart.clock.now()
            async with heart.database.transaction() as conn:
                await releases.release(
                    conn,
                    chunk,
                    look_again_seconds=0,
                    now=now,
                    loaded_at=now,
                    at_once=at_once,
                    waits_on=waits_on,
                )
        looks.append((await heart.chunk(chunk_id))["look_seconds"])

    for _ in range(6):
        await look()
    for _ in range(5):
        await look(waits_on=["example_api"])
    pauses = [0.25, 0.5, 1, 2, 4, 5, 16, 32, 60, 60, 60]
    assert all(at - 0.2 < look <= at for at, look in zip(pauses, looks, strict=True))
    await look(at_once=True)
    await look()
    assert 0 < looks[-1] <= 0.25
    for _ in range(4):
        await look()
    async with heart.database.transaction() as conn:
        await look_now(conn, chunk_id)
    assert (await heart.chunk(chunk_id))["look_seconds"] <= 0
    await look()
    assert 0 < looks[-1] <= 0.25


async def owned(heart: Heart, chunk_id: int) -> OwnedChunk:
    chunk = await heart.claim(chunk_id, heart.lifeline.worker_id)
    assert chunk is not None
    return chunk


async def test_the_earliest_reason_to_look_counts(heart: Heart) -> None:
    """Of what the work asks for and the items' next attempts the earlier is the next look."""
    _, chunk_id = await planned(heart, "a", "b")
    now = heart.clock.now()
    for again, attempt, look in ((900, 300, 300), (100, 300, 100)):
        with heart.lifeline.at_work(chunk_id):
            chunk = await owned(heart, chunk_id)
            await heart.query(
                "UPDATE items SET status = 'retry_wait', next_attempt_at = :at WHERE item = 'a'",
                at=now + timedelta(seconds=attempt),
            )
            async with heart.database.transaction() as conn:
                await releases.release(
                    conn,
                    chunk,
                    look_again_seconds=again,
                    now=now,
                    loaded_at=now,
                    at_once=False,
                )
        assert look - 60 < (await heart.chunk(chunk_id))["look_seconds"] <= look


async def test_what_came_due_during_the_work_is_looked_at_at_once(heart: Heart) -> None:
    """A next attempt that was not due when the chunk was loaded, and is now, is not slept over."""
    _, chunk_id = await planned(heart, "a", "b")
    with heart.lifeline.at_work(chunk_id):
        chunk = await owned(heart, chunk_id)
        loaded_at = heart.clock.now() - timedelta(seconds=10)
        await heart.query(
            "UPDATE items SET status = 'retry_wait', next_attempt_at = :at WHERE item = 'a'",
            at=loaded_at + timedelta(seconds=5),
        )
        async with heart.database.transaction() as conn:
            await releases.release(
                conn,
                chunk,
                look_again_seconds=3600,
                now=heart.clock.now(),
                loaded_at=loaded_at,
                at_once=True,
            )
    assert (await heart.chunk(chunk_id))["look_seconds"] <= 0


async def test_a_snoozed_retry_does_not_spin(heart: Heart) -> None:
    """An item whose next attempt has long been due, and is refused again, waits for its time."""
    _, chunk_id = await planned(heart, "SNOOZE-a")
    await heart.query(
        "UPDATE items SET status = 'retry_wait', attempts = 1, next_attempt_at = now() - '1 h'"
        "::interval"
    )
    await heart.worker.work(chunk_id)
    assert (await heart.chunk(chunk_id))["look_seconds"] > 3500


async def test_news_for_an_owned_chunk_is_not_lost(heart: Heart) -> None:
    """What happens while a worker has the chunk makes it looked at again at once afterwards."""
    _, chunk_id = await planned(heart, "GATE-1", "SNOOZE-2")
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("GATE-1")
    async with heart.database.transaction() as conn:
        await look_now(conn, chunk_id)
    await open_gate(heart.database)
    assert await working
    assert (await heart.chunk(chunk_id))["look_seconds"] < 1


def indivisible(heart: Heart) -> None:
    """The work of a chunk is one for all its items, as that of a provider's batch."""
    for phase in heart.phases.values():
        phase.divisible = False


async def test_a_crash_is_a_dead_letter_and_backs_off(heart: Heart) -> None:
    """Work that raises is a dead letter; each time the chunk waits longer, and keeps what came."""
    indivisible(heart)
    run_id, chunk_id = await planned(heart, "DONE-1", "RAISE-2", "DONE-3")
    told: asyncio.Queue[JobEvent] = asyncio.Queue()
    queue = JobQueueManager(heart.database, observer=told.put_nowait)

    async def work(payload: dict[str, Any]) -> None:
        await heart.worker.work(int(payload["target"]))

    async def ignore(payload: dict[str, Any]) -> None:
        """The run's own wake-up is of no interest here."""

    queue.register("chunk", work)
    queue.register("run", ignore)
    stop = asyncio.Event()
    serving = asyncio.create_task(queue.run(stop, 1))
    try:
        async with asyncio.timeout(30):
            while (event := await told.get()).outcome is JobOutcome.DONE:
                pass
    finally:
        stop.set()
        await serving
    assert (event.job_type, event.outcome) == ("chunk", JobOutcome.DEAD)
    assert event.error == "RuntimeError: a bug of the phase"
    assert await heart.column("SELECT target FROM dead_letters") == [str(chunk_id)]
    assert (await states(heart, run_id))["DONE-1"] == "completed"
    looks = [(await heart.chunk(chunk_id))["look_seconds"]]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a bug of the phase"):
            await heart.worker.work(chunk_id)
        looks.append((await heart.chunk(chunk_id))["look_seconds"])
    assert [round(look, -1) for look in looks] == [10, 20, 40]
    told_of = await heart.query("SELECT * FROM item_retries ORDER BY id")
    assert [(row["item"], row["attempt"], row["delay_seconds"]) for row in told_of] == [
        ("chunk 0", 1, 10), ("chunk 0", 2, 20), ("chunk 0", 3, 40)
    ]  # fmt: skip


async def test_after_three_crashes_the_items_fail(heart: Heart) -> None:
    """Undivided work that crashed three times fails its items, unattempted, and the run ends."""
    indivisible(heart)
    run_id, chunk_id = await planned(heart, "DONE-1", "RAISE-2", "SNOOZE-3")
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await heart.worker.work(chunk_id)
    assert await heart.drive(run_id) == "failed"
    assert await heart.attempts("RAISE-2") == 3
    items = await heart.items(run_id)
    assert items["DONE-1"]["status"] == "completed"
    assert {(items[n]["status"], items[n]["error_category"]) for n in ("RAISE-2", "SNOOZE-3")} == {
        ("failed", "internal")
    }


async def test_an_item_that_raises_fails_alone(heart: Heart) -> None:
    """After a first crash each item that raises costs its own attempts; its neighbours finish."""
    names = [f"{'RAISE' if n in (3, 40, 41) else 'DONE'}-{n}" for n in range(60)]
    run_id, chunk_id = await planned(heart, *names, retry_attempts=2)
    with pytest.raises(RuntimeError, match="a bug of the phase"):
        await heart.worker.work(chunk_id)
    assert await heart.worker.work(chunk_id)
    items = await heart.items(run_id)
    assert {n: items[n]["status"] for n in names} == {
        n: "retry_wait" if n.startswith("RAISE") else "completed" for n in names
    }
    for _ in range(2):
        heart.clock.ahead_seconds += 400
        with suppress(RuntimeError):
            await heart.worker.work(chunk_id)
    items = await heart.items(run_id)
    bad = [items[n] for n in names if n.startswith("RAISE")]
    assert {(i["status"], i["error_category"], i["attempts"]) for i in bad} == {
        ("failed", "internal", 2)
    }
    assert {i["error"] for i in bad} == {"RuntimeError: a bug of the phase"}
    assert sorted(await heart.results(run_id)) == sorted(n for n in names if n.startswith("DONE"))


async def test_a_result_that_cannot_be_written_fails_alone(heart: Heart) -> None:
    """After a first crash a settlement that raises is divided: one item fails, none is lost."""
    names = [*(f"DONE-{n}" for n in range(20)), "UNWRITABLE-1", "REJECT-1"]
    run_id, chunk_id = await planned(heart, *names, retry_attempts=1)
    with pytest.raises(RuntimeError, match="cannot be written"):
        await heart.worker.work(chunk_id)
    assert await heart.worker.work(chunk_id)
    items = await heart.items(run_id)
    assert Counter(i["status"] for i in items.values()) == {"completed": 20, "failed": 2}
    assert items["UNWRITABLE-1"]["error"] == "RuntimeError: this cannot be written"
    assert len(await heart.results(run_id)) == 20


def worker_cut_after(heart: Heart, silence_seconds: float) -> ChunkWorker:
    """The heart's worker with another deadline for the next outcome."""
    return ChunkWorker(
        heart.database,
        heart.clock,
        heart.phases,
        heart.tracker,
        heart.lifeline,
        silence_seconds=silence_seconds,
    )


async def test_work_that_never_comes_back_is_cut_at_its_deadline(heart: Heart) -> None:
    """What brings nothing for too long is a crash: given back, later, and with its reason."""
    worker = worker_cut_after(heart, 0.2)
    run_id, chunk_id = await planned(heart, "DONE-1", "STUCK-2")
    for crashes in (1, 2, 3):
        with pytest.raises(WorkHung, match="no outcome within"):
            await worker.work(chunk_id)
        chunk = await heart.chunk(chunk_id)
        assert (chunk["status"], chunk["crashes"], chunk["completed"]) == ("ready", crashes, 1)
    assert chunk["look_seconds"] > 30
    assert await worker.work(chunk_id)
    items = await heart.items(run_id)
    assert items["DONE-1"]["status"] == "completed"
    assert (items["STUCK-2"]["status"], items["STUCK-2"]["error_category"]) == (
        "failed",
        "internal",
    )
    assert "3 times, at last with WorkHung: no outcome within 0.2 s" in items["STUCK-2"]["error"]


async def test_progress_makes_up_for_a_crash(heart: Heart) -> None:
    """Crashes count in a row: work that settled something begins anew, other work does not."""
    worker = worker_cut_after(heart, 0.2)
    _, chunk_id = await planned(heart, "HANG-1", "SNOOZEBLIND-2")
    with pytest.raises(WorkHung):
        await worker.work(chunk_id)
    assert (await heart.chunk(chunk_id))["crashes"] == 1
    assert await worker.work(chunk_id)
    chunk = await heart.chunk(chunk_id)
    assert (chunk["status"], chunk["completed"], chunk["crashes"]) == ("ready", 1, 0)
    await heart.query("UPDATE chunks SET crashes = 2 WHERE id = :id", id=chunk_id)
    assert await worker.work(chunk_id)
    assert (await heart.chunk(chunk_id))["crashes"] == 2


async def test_slow_work_is_not_cut(heart: Heart) -> None:
    """The deadline is for the next outcome; work of any length may go on that brings some."""
    worker = worker_cut_after(heart, 5.0)
    run_id, chunk_id = await planned(heart, *[f"SLOW-{n:03}" for n in range(110)])
    assert await worker.work(chunk_id)
    assert len(await heart.results(run_id)) == 110


async def test_a_result_that_cannot_be_written_is_a_crash(heart: Heart) -> None:
    """A store function that raises is a bug too: nothing is completed without its result."""
    run_id, chunk_id = await planned(heart, "UNWRITABLE-1")
    with pytest.raises(RuntimeError, match="cannot be written"):
        await heart.worker.work(chunk_id)
    assert (await states(heart, run_id)) == {"UNWRITABLE-1": "pending"}
    assert (await heart.chunk(chunk_id))["crashes"] == 1


async def test_an_outage_of_the_database_is_no_crash(heart: Heart) -> None:
    """Work cut off by the database is given back without blame, not at once, and finished later."""
    run_id, chunk_id = await planned(heart, "DONE-1", "OUTAGE-2", "SKIP-3")
    assert await heart.worker.work(chunk_id)
    chunk = await heart.chunk(chunk_id)
    assert (chunk["status"], chunk["crashes"], chunk["completed"]) == ("ready", 0, 1)
    # "At once" would be in the past by now; five seconds is what an idle chunk waits.
    assert 0 < chunk["look_seconds"] <= 5
    assert await heart.worker.work(chunk_id)
    assert await heart.results(run_id) == ["DONE-1", "OUTAGE-2"]


async def test_cancel_stops_work_before_the_next_item(heart: Heart) -> None:
    """What was in hand is settled, nothing more is begun, and the run stays cancelled."""
    run_id, chunk_id = await planned(heart, "GATE-1", "NEVER-2")
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("GATE-1")
    await heart.service.cancel(run_id)
    await heart.beats()
    await open_gate(heart.database)
    assert await working
    assert await states(heart, run_id) == {"GATE-1": "completed", "NEVER-2": "pending"}
    assert await heart.attempts("NEVER-2") == 0
    assert (await heart.chunk(chunk_id))["status"] == "ready"
    assert not await heart.worker.work(chunk_id)
    assert await heart.orchestrator.look_at(run_id) == "cancelled"


async def test_cancel_wins_over_completion(heart: Heart) -> None:
    """A run whose last item is done after the cancel ends cancelled, with the item's result."""
    run_id, chunk_id = await planned(heart, "GATE-1")
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("GATE-1")
    await heart.service.cancel(run_id)
    await open_gate(heart.database)
    assert await working
    assert await heart.results(run_id) == ["GATE-1"]
    assert (await heart.chunk(chunk_id))["status"] == "done"
    assert await heart.orchestrator.look_at(run_id) == await heart.status(run_id) == "cancelled"


async def test_a_paused_run_resumes_with_its_own_settings(heart: Heart) -> None:
    """Pause gives the chunk back, resume finishes it as its run, and no other, was configured."""
    run_id, chunk_id = await planned(heart, "GATE-1", "RETRY9-2", retry_attempts=2)
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("GATE-1")
    await heart.service.pause(run_id)
    await heart.beats()
    await open_gate(heart.database)
    assert await working
    assert (await heart.chunk(chunk_id))["status"] == "ready"
    assert not await heart.worker.work(chunk_id)
    assert await heart.orchestrator.look_at(run_id) == "paused"
    await heart.query("UPDATE chunks SET next_look_at = now() + '1 h'::interval")
    await heart.service.resume(run_id)
    assert (await heart.chunk(chunk_id))["look_seconds"] <= 0
    await heart.drive(run_id)
    items = await heart.items(run_id)
    assert (items["RETRY9-2"]["status"], items["RETRY9-2"]["attempts"]) == ("failed", 2)
    assert await heart.attempts("GATE-1") == 1


async def test_cancelled_work_is_given_back(heart: Heart) -> None:
    """A worker that must stop keeps what was finished and gives the rest back at once."""
    run_id, chunk_id = await planned(heart, "DONE-1", "HANG-2")
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("HANG-2")
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    chunk = await heart.chunk(chunk_id)
    assert (chunk["status"], chunk["deaths"], chunk["crashes"]) == ("ready", 0, 0)
    assert chunk["look_seconds"] <= 0
    assert await heart.results(run_id) == ["DONE-1"]
    assert await heart.worker.work(chunk_id)
    assert await heart.results(run_id) == ["DONE-1", "HANG-2"]


async def test_whoever_lost_the_chunk_settles_nothing(heart: Heart) -> None:
    """After a take-over the old owner's outcomes leave no trace; the new owner is undisturbed."""
    run_id, chunk_id = await planned(heart, "GATE-1", "DONE-2")
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("GATE-1")
    await heart.query("UPDATE chunks SET epoch = epoch + 1 WHERE id = :id", id=chunk_id)
    before = await heart.chunk(chunk_id)
    await open_gate(heart.database)
    assert await working
    assert await states(heart, run_id) == {"GATE-1": "pending", "DONE-2": "pending"}
    assert await heart.results(run_id) == []
    after = await heart.chunk(chunk_id)
    assert (after["epoch"], after["completed"]) == (before["epoch"], 0)


async def test_an_owned_chunk_that_nobody_works_on_is_given_back(heart: Heart) -> None:
    """A claim that was committed unheard, or a release that failed, is noticed by the heartbeat."""
    _, chunk_id = await planned(heart, "DONE-1")
    await heart.forget_wakeups()
    chunk = await owned(heart, chunk_id)

    async def is_ready() -> bool:
        return bool((await heart.chunk(chunk_id))["status"] == "ready")

    await until(is_ready, "the chunk to be given back")
    after = await heart.chunk(chunk_id)
    assert (after["epoch"], after["deaths"]) == (chunk.epoch + 1, 0)
    assert await heart.waiting() == [f"chunk:{chunk_id}"]


async def test_a_chunk_astray_is_kept_until_what_it_paid_for_is_durable(heart: Heart) -> None:
    """Its next owner must find the replies that came: they are written first, then it goes."""
    written = asyncio.Event()

    async def write_out() -> None:
        await written.wait()

    heart.lifeline._before_giving_back = write_out
    _, chunk_id = await planned(heart, "DONE-1")
    await owned(heart, chunk_id)
    await heart.beats(3)
    assert (await heart.chunk(chunk_id))["status"] == "owned"
    written.set()

    async def is_ready() -> bool:
        return bool((await heart.chunk(chunk_id))["status"] == "ready")

    await until(is_ready, "the chunk to be given back")


async def test_a_chunk_at_work_is_not_given_back(heart: Heart) -> None:
    """Heartbeats leave a chunk alone as long as its work goes on."""
    run_id, chunk_id = await planned(heart, "GATE-1")
    working = asyncio.create_task(heart.worker.work(chunk_id))
    await heart.attempted("GATE-1")
    # A second wake-up of the chunk, which comes and goes, must not hide the work.
    assert not await heart.worker.work(chunk_id)
    await heart.beats(3)
    chunk = await heart.chunk(chunk_id)
    assert (chunk["status"], chunk["epoch"]) == ("owned", 1)
    await open_gate(heart.database)
    assert await working
    assert await heart.results(run_id) == ["GATE-1"]


async def test_without_a_lease_nothing_is_claimed(heart: Heart) -> None:
    """A worker whose heartbeat is overdue leaves chunks to others."""
    _, chunk_id = await planned(heart, "DONE-1")
    heart.lifeline.end_leases()
    assert not await heart.worker.work(chunk_id)
    assert (await heart.chunk(chunk_id))["epoch"] == 0


class WatchedTracker(StateTracker):
    """A real tracker that remembers how much it settled at a time."""

    def watch(self) -> list[int]:
        self.sizes: list[int] = []
        return self.sizes

    async def settle(self, chunk: OwnedChunk, outcomes: Sequence[Outcome], **how: Any) -> Settled:
        self.sizes.append(len(outcomes))
        return await super().settle(chunk, outcomes, **how)


async def test_settlements_are_bounded(db: Database) -> None:
    """A chunk of any size is settled by at most 500 items at a time, and completely."""
    async with beating(db, chunk_size=2000) as heart:
        _, chunk_id = await planned(heart, *[f"SKIP-{n:04}" for n in range(1201)])
        tracker = WatchedTracker(heart.database, heart.clock)
        sizes = tracker.watch()
        worker = ChunkWorker(
            heart.database,
            heart.clock,
            heart.phases,
            tracker,
            heart.lifeline,
            silence_seconds=SILENCE_SECONDS,
        )
        assert await worker.work(chunk_id)
        assert sum(sizes) == 1201
        assert max(sizes) <= 500
        assert (await heart.chunk(chunk_id))["skipped"] == 1201


async def test_nothing_is_settled_before_what_it_rests_on(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items end only after their calls' outcomes are durable; nor does the chunk change hands."""
    monkeypatch.setattr(settler_module, "PATIENCE_SECONDS", 0.2)
    run_id = await heart.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
    (chunk_id,) = await heart.planned(run_id)
    durable = asyncio.Event()
    seen: list[str] = []

    async def before_settle() -> None:
        seen.extend(await heart.column("SELECT status FROM items"))
        if not durable.is_set():
            raise DatabaseUnavailable("no room for outcomes")

    worker = ChunkWorker(
        heart.database,
        heart.clock,
        heart.phases,
        heart.tracker,
        heart.lifeline,
        silence_seconds=SILENCE_SECONDS,
        before_settle=before_settle,
    )
    with heart.lifeline.at_work(chunk_id), pytest.raises(DatabaseUnavailable):
        await worker.work(chunk_id)
    assert (await heart.items(run_id))["DONE-1"]["status"] == "pending"
    assert (await heart.chunk(chunk_id))["status"] == "owned"
    durable.set()

    async def is_worked() -> bool:
        return await worker.work(chunk_id)

    await until(is_worked, "the heartbeat to give it back, and the work to be done")
    assert (await heart.items(run_id))["DONE-1"]["status"] == "completed"
    # The last look is that of the release.
    assert set(seen[:-1]) == {"pending"}


async def test_a_trickle_is_settled_while_the_work_goes_on(heart: Heart) -> None:
    """Outcomes do not wait for the end of the chunk: they are committed within a moment."""
    run_id, chunk_id = await planned(heart, "DONE-1", "GATE-2")
    working = asyncio.create_task(heart.worker.work(chunk_id))

    async def is_there() -> bool:
        return await heart.results(run_id) == ["DONE-1"]

    await until(is_there, "the first result while the second is in hand")
    assert not working.done()
    await open_gate(heart.database)
    assert await working


async def test_a_lost_lease_is_told_to_the_next_outcome(heart: Heart) -> None:
    """Once a settlement was refused the next outcome raises, long before a batch is full."""
    _, chunk_id = await planned(heart, "a", "b")
    added = 0
    with heart.lifeline.at_work(chunk_id):
        chunk = await owned(heart, chunk_id)
        await heart.query("UPDATE chunks SET epoch = epoch + 1 WHERE id = :id", id=chunk_id)
        write: WriteResults = heart.phases[chunk.lane.phase].write
        settler = Settler(heart.tracker, chunk, attempts={}, retries=RetryManager(), write=write)

        async def is_told() -> bool:
            nonlocal added
            added += 1
            try:
                await settler.add(Skip("a", "empty"))
            except LeaseLost:
                return True
            return False

        await until(is_told, "the refusal")
        await settler.salvage()
    assert added < SETTLE_ITEMS_MAX
    assert (await heart.chunk(chunk_id))["skipped"] == 0


async def test_a_commit_outlives_the_cancelled_work(heart: Heart) -> None:
    """Who is cancelled while a settlement is being committed does not undo it."""
    run_id, chunk_id = await planned(heart, "DONE-1")
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def write(conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        writing.set()
        await go_on.wait()
        await heart.phases[chunk.lane.phase].write(conn, chunk, done)

    with heart.lifeline.at_work(chunk_id):
        chunk = await owned(heart, chunk_id)
        settler = Settler(heart.tracker, chunk, attempts={}, retries=RetryManager(), write=write)
        await settler.add(Done("DONE-1"))
        flushing = asyncio.create_task(settler.flush())
        await writing.wait()
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        go_on.set()
        await settler.salvage()
    assert settler.total == Settled(completed=1)
    assert await heart.results(run_id) == ["DONE-1"]


async def test_a_settlement_that_was_cut_off_is_repeated(heart: Heart) -> None:
    """The work goes on over a cut connection, whether the commit took effect or not."""
    run_id, chunk_id = await planned(heart, "DONE-1", "DONE-2")
    cuts = [True, True]

    async def write(conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        await heart.phases[chunk.lane.phase].write(conn, chunk, done)
        if cuts.pop() if cuts else False:
            raise DatabaseUnavailable("the server ended the connection")

    with heart.lifeline.at_work(chunk_id):
        chunk = await owned(heart, chunk_id)
        settler = Settler(heart.tracker, chunk, attempts={}, retries=RetryManager(), write=write)
        await settler.add(Done("DONE-1"))
        await settler.flush()
        await settler.add(Done("DONE-2"))
        await settler.flush()
    assert cuts == []
    assert settler.total == Settled(completed=2)
    assert await heart.results(run_id) == ["DONE-1", "DONE-2"]


async def test_chunks_of_one_run_are_worked_at_once(db: Database) -> None:
    """Chunks of one run worked at once, and twice over, bring each result once."""
    async with beating(db, chunk_size=10) as heart:
        names = [f"DONE-{n:03}" for n in range(60)]
        run_id = await heart.start({METRICS: names}, lanes=[METRICS])
        ready = await heart.planned(run_id)
        assert len(ready) == 6
        await asyncio.gather(*[heart.worker.work(c) for c in ready for _ in range(2)])
        assert await heart.results(run_id) == names
        assert await heart.drive(run_id) == "completed"
