"""Item states: planned and settled in sets; results and states in one commit."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from harness.inline import METRICS, Harness, open_harness
from harness.waiting import until
from sqlalchemy import text

from serpline.core.ids import new_id
from serpline.domain.errors import ErrorCategory, LeaseLost, UserError
from serpline.domain.outcomes import Done, Outcome, Reject, Retry, Skip, Snooze
from serpline.domain.retry import RetryStrategy
from serpline.domain.states import StateStatus
from serpline.pipeline.state_tracker import Settled
from serpline.robustness.retry import RetryManager
from serpline.store.database import Database, TransactionConflict
from serpline.store.runs import workers
from serpline.store.runs.chunks import OwnedChunk

TWICE = RetryStrategy(max_attempts=2, base_delay=10, max_delay=100)


@pytest.fixture
async def harness(db: Database) -> AsyncIterator[Harness]:
    # These tests claim chunks by hand, so no heartbeat may give them back as orphaned.
    async with open_harness(db, heartbeat_seconds=300.0, dead_after_seconds=900.0) as made:
        yield made


async def owned(harness: Harness, items: list[str]) -> OwnedChunk:
    """A chunk of these items, owned by this worker."""
    run_id = await harness.start({METRICS: items}, lanes=[METRICS])
    (chunk_id,) = await harness.plan(run_id)
    chunk = await harness.claim(chunk_id, harness.lifeline.worker_id)
    assert chunk is not None
    return chunk


async def settle(
    harness: Harness, chunk: OwnedChunk, *outcomes: Outcome, **attempts: int
) -> Settled:
    return await harness.tracker.settle(
        chunk,
        outcomes,
        attempts=attempts,
        retries=RetryManager(TWICE, chance=lambda: 0.5, clock=harness.clock),
        write=harness.phases[chunk.lane.phase].write,
    )


def counters(row: dict[str, int]) -> tuple[int, int, int]:
    return row["completed"], row["failed"], row["skipped"]


async def test_results_states_and_counters_come_together(harness: Harness) -> None:
    """One settlement writes the results, the items' states and the chunk's counters."""
    chunk = await owned(harness, ["a", "b", "c", "d"])
    settled = await settle(
        harness,
        chunk,
        Done("a"),
        Skip("b", "empty"),
        Reject("c", ErrorCategory.AUTH, "wrong key"),
        Retry("d", ErrorCategory.SERVER, "500"),
    )
    assert settled == Settled(completed=1, failed=1, skipped=1, retried=1)
    items = await harness.items(chunk.run_id)
    assert {k: v["status"] for k, v in items.items()} == {
        "a": "completed",
        "b": "skipped",
        "c": "failed",
        "d": "retry_wait",
    }
    assert (items["c"]["error_category"], items["c"]["error"]) == ("auth", "wrong key")
    assert items["b"]["error"] == "empty"
    assert await harness.results(chunk.run_id) == ["a"]
    assert counters(await harness.chunk(chunk.id)) == (1, 1, 1)


async def test_settling_twice_changes_nothing(harness: Harness) -> None:
    """The same outcomes settled again change, write and count nothing."""
    chunk = await owned(harness, ["a", "b"])
    outcomes = (Done("a"), Reject("b", ErrorCategory.AUTH, "wrong key"))
    assert await settle(harness, chunk, *outcomes) == Settled(completed=1, failed=1)
    before = await harness.items(chunk.run_id)
    assert await settle(harness, chunk, *outcomes) == Settled()
    assert await settle(harness, chunk, Skip("a", "late"), Done("b")) == Settled()
    assert await harness.items(chunk.run_id) == before
    assert await harness.results(chunk.run_id) == ["a"]
    assert counters(await harness.chunk(chunk.id)) == (1, 1, 0)


async def test_counters_count_changed_rows(harness: Harness) -> None:
    """Outcomes of unknown or repeated items count only for rows that changed."""
    chunk = await owned(harness, ["a", "b"])
    assert await settle(harness, chunk, Done("a"), Done("a"), Done("stranger")) == Settled(1)
    assert await harness.results(chunk.run_id) == ["a"]
    assert counters(await harness.chunk(chunk.id)) == (1, 0, 0)


async def test_a_wrong_epoch_settles_nothing(harness: Harness) -> None:
    """After a change of owner, the old owner's settlement rolls back with ``LeaseLost``."""
    chunk = await owned(harness, ["a", "b"])
    await harness.query("UPDATE chunks SET epoch = epoch + 1 WHERE id = :id", id=chunk.id)
    with pytest.raises(LeaseLost):
        await settle(harness, chunk, Done("a"), Retry("b", ErrorCategory.SERVER, "500"))
    items = await harness.items(chunk.run_id)
    assert {i["status"] for i in items.values()} == {"pending"}
    assert {i["attempts"] for i in items.values()} == {0}
    assert await harness.results(chunk.run_id) == []
    assert counters(await harness.chunk(chunk.id)) == (0, 0, 0)


async def test_a_settlement_without_changes_checks_the_epoch(harness: Harness) -> None:
    """A settlement that changes no row still raises ``LeaseLost`` for the old owner."""
    chunk = await owned(harness, ["a"])
    await settle(harness, chunk, Done("a"))
    await harness.query(
        "UPDATE chunks SET status = 'ready', owner = NULL WHERE id = :id", id=chunk.id
    )
    with pytest.raises(LeaseLost):
        await settle(harness, chunk, Done("a"))


async def test_a_result_that_cannot_be_written_undoes_its_states(harness: Harness) -> None:
    """No item is completed without its stored result."""
    chunk = await owned(harness, ["UNWRITABLE-1", "a"])
    with pytest.raises(RuntimeError, match="cannot be written"):
        await settle(harness, chunk, Done("a"), Done("UNWRITABLE-1"))
    assert {i["status"] for i in (await harness.items(chunk.run_id)).values()} == {"pending"}
    assert counters(await harness.chunk(chunk.id)) == (0, 0, 0)


async def test_a_failed_attempt_waits_and_the_last_one_fails(harness: Harness) -> None:
    """Attempts are counted, each waits by the strategy, and the last allowed one fails the item."""
    chunk = await owned(harness, ["a"])
    before = harness.clock.now()
    await settle(harness, chunk, Retry("a", ErrorCategory.SERVER, "500"), a=0)
    item = (await harness.items(chunk.run_id))["a"]
    assert (item["status"], item["attempts"]) == ("retry_wait", 1)
    assert item["error_category"] == "server"
    # Half of the first ceiling of ten seconds, since the chance is 0.5.
    wait = item["next_attempt_at"] - before
    assert timedelta(seconds=5) <= wait < timedelta(seconds=6)
    await settle(harness, chunk, Retry("a", ErrorCategory.SERVER, "again"), a=1)
    item = (await harness.items(chunk.run_id))["a"]
    assert (item["status"], item["attempts"], item["error"]) == ("failed", 2, "again")
    assert item["next_attempt_at"] is None


async def test_every_failed_attempt_is_recorded(harness: Harness) -> None:
    """Once each: reason, number and wait. The last one has no wait."""
    chunk = await owned(harness, ["a", "b", "c"])
    error = "x" * 1000
    for _ in range(2):
        await settle(harness, chunk, Retry("a", ErrorCategory.SERVER, error), Done("b"), a=0)
        await settle(harness, chunk, Retry("a", ErrorCategory.TIMEOUT, "slow"), Skip("c", "-"), a=1)
    first, last = await harness.query("SELECT * FROM item_retries ORDER BY id")
    shared = ("run_id", "phase_name", "content_type", "item")
    assert [first[key] for key in shared] == [chunk.run_id, "keyword_metrics", "all", "a"]
    assert [last[key] for key in shared] == [first[key] for key in shared]
    assert (first["attempt"], first["error_category"], first["delay_seconds"]) == (1, "server", 5)
    assert first["error"] == error[:200]
    assert (last["attempt"], last["error_category"], last["delay_seconds"]) == (2, "timeout", None)


async def test_a_lost_chunk_records_no_attempt(harness: Harness) -> None:
    """The attempts are part of the settlement and roll back with it."""
    chunk = await owned(harness, ["a"])
    await harness.query("UPDATE chunks SET epoch = epoch + 1 WHERE id = :id", id=chunk.id)
    with pytest.raises(LeaseLost):
        await settle(harness, chunk, Reject("a", ErrorCategory.SERVER, "500"))
    assert await harness.query("SELECT * FROM item_retries") == []


async def test_retry_after_is_waited_out(harness: Harness) -> None:
    """An item waits at least as long as the provider asked."""
    chunk = await owned(harness, ["a"])
    before = harness.clock.now()
    await settle(harness, chunk, Retry("a", ErrorCategory.RATE_LIMIT, "429", 100.0))
    item = (await harness.items(chunk.run_id))["a"]
    assert item["next_attempt_at"] >= before + timedelta(seconds=100)


async def test_a_snooze_uses_no_attempt(harness: Harness) -> None:
    """A refused call leaves its item unchanged: no attempt, no state, no wait of its own."""
    chunk = await owned(harness, ["a"])
    before = await harness.items(chunk.run_id)
    assert await settle(harness, chunk, Snooze("a", "breaker open")) == Settled()
    assert await harness.items(chunk.run_id) == before


async def test_initialize_pipeline_plans_phases_by_items(harness: Harness) -> None:
    """In the specified form of the call, every phase × item is planned once, in the lane "all"."""
    run_id = new_id()
    phases = ["serp_collection", "keyword_metrics"]
    items = ["keyword-1", "keyword-2", "keyword-2", "吕梁市 三川河"]
    made = await harness.tracker.initialize_pipeline(
        pipeline_execution_id=run_id, phases=phases, items=items
    )
    assert made == 6
    again = await harness.tracker.initialize_pipeline(
        pipeline_execution_id=run_id, phases=phases, items=[*items, "keyword-3"]
    )
    assert again == 2
    assert {n: p["planned"] for n, p in (await harness.tracker.progress(run_id)).items()} == {
        "keyword_metrics/all": 4,
        "serp_collection/all": 4,
    }


async def test_items_are_planned_in_chunks_of_five_hundred(harness: Harness) -> None:
    """This is the most that one worker owns at a time, and loses."""
    await harness.tracker.initialize_pipeline(
        pipeline_execution_id=new_id(),
        phases=["keyword_metrics"],
        items=[f"item-{n}" for n in range(1_100)],
    )
    sizes = await harness.column("SELECT planned FROM chunks ORDER BY planned")
    assert sizes == [100, 500, 500]


async def test_concurrent_planners_plan_once(harness: Harness) -> None:
    """Planners of the same phases and items, in opposite orders, plan each item once and return."""
    run_id = new_id()
    phases = ["keyword_metrics", "serp_collection", "content_analysis"]
    items = [f"item-{n}" for n in range(50)]

    async def plan(number: int) -> int:
        return await harness.tracker.initialize_pipeline(
            pipeline_execution_id=run_id,
            phases=phases if number % 2 else phases[::-1],
            items=items,
            chunk_size=7,
        )

    assert sum(await asyncio.gather(*[plan(n) for n in range(8)])) == 150
    progress = await harness.tracker.progress(run_id)
    assert [lane["planned"] for lane in progress.values()] == [50, 50, 50]


async def test_no_worker_touches_a_run_planned_by_hand(harness: Harness) -> None:
    """No timer finds a run that was only initialized."""
    run_id = new_id()
    await harness.tracker.initialize_pipeline(
        pipeline_execution_id=run_id, phases=["keyword_metrics"], items=["x"]
    )
    async with harness.database.transaction() as conn:
        assert await workers.due_runs(conn, 30, 100) == []
        assert await workers.due_chunks(conn, 30, 100) == []
        assert await workers.seconds_to_next_check(conn) is None


@pytest.mark.parametrize("item", ["", "x" * 2049, "a\0b"])
async def test_an_invalid_key_is_refused(harness: Harness, item: str) -> None:
    """An empty, overlong or unstorable item key gives one line, and nothing is planned."""
    run_id = new_id()
    with pytest.raises(UserError, match=r"^item .{2,82}: must be 1 to 2048 characters"):
        await harness.tracker.initialize_pipeline(
            pipeline_execution_id=run_id, phases=["keyword_metrics"], items=["good", item]
        )
    assert await harness.tracker.progress(run_id) == {}


async def test_update_item_status_settles_one(harness: Harness) -> None:
    """In the specified form of the call, result and state commit together, counted once."""
    run_id = new_id()
    await harness.tracker.initialize_pipeline(
        pipeline_execution_id=run_id, phases=["keyword_metrics"], items=["Wisła rzeka", "b"]
    )

    async def update(item: str, status: StateStatus) -> bool:
        return await harness.tracker.update_item_status(
            run_id, "keyword_metrics", item, status, {"rank": 1, "title": "a\0b"}
        )

    assert await update("Wisła rzeka", StateStatus.PROCESSING)
    assert await update("Wisła rzeka", StateStatus.COMPLETED)
    assert not await update("Wisła rzeka", StateStatus.COMPLETED)
    assert not await update("Wisła rzeka", StateStatus.FAILED)
    assert not await update("stranger", StateStatus.COMPLETED)
    assert (await harness.tracker.progress(run_id))["keyword_metrics/all"] == {
        "planned": 2,
        "completed": 1,
        "failed": 0,
        "skipped": 0,
    }
    (result,) = await harness.column("SELECT result FROM item_results WHERE item = 'Wisła rzeka'")
    assert result["rank"] == 1


async def test_by_hand_an_item_can_only_be_settled(harness: Harness) -> None:
    """A state that no settlement sets, and an unknown phase, are refused by name."""
    run_id = new_id()
    for status in (StateStatus.PENDING, StateStatus.WAITING, StateStatus.RETRY_WAIT):
        with pytest.raises(UserError, match=f"'{status}' is not one of"):
            await harness.tracker.update_item_status(run_id, "keyword_metrics", "a", status)
    with pytest.raises(UserError, match="'no_phase' is not one of"):
        await harness.tracker.update_item_status(run_id, "no_phase", "a", StateStatus.COMPLETED)


async def test_update_item_status_is_refused_while_owned(harness: Harness) -> None:
    """While a worker owns the chunk, only that worker settles its items."""
    chunk = await owned(harness, ["a"])
    with pytest.raises(UserError, match="a worker owns it now"):
        await harness.tracker.update_item_status(
            chunk.run_id, "keyword_metrics", "a", StateStatus.COMPLETED
        )
    assert (await harness.items(chunk.run_id))["a"]["status"] == "pending"


async def test_the_last_item_by_hand_ends_the_lane(harness: Harness) -> None:
    """Settling a running run's last item by hand wakes the run."""
    run_id = await harness.start({METRICS: ["a"]}, lanes=[METRICS])
    await harness.plan(run_id)
    await harness.delete_wakeups()
    await harness.tracker.update_item_status(run_id, "keyword_metrics", "a", StateStatus.COMPLETED)
    assert await harness.waiting() == [f"run:{run_id}"]
    assert await harness.drive(run_id) == "completed"


async def test_progress_reads_no_item(harness: Harness) -> None:
    """Progress answers while every item row is locked against readers."""
    chunk = await owned(harness, ["a", "b"])
    await settle(harness, chunk, Done("a"))
    async with harness.database.transaction() as conn:
        await conn.execute(text("LOCK TABLE items IN ACCESS EXCLUSIVE MODE"))
        async with asyncio.timeout(10):
            progress = await harness.tracker.progress(chunk.run_id)
    assert progress == {
        "keyword_metrics/all": {"planned": 2, "completed": 1, "failed": 0, "skipped": 0}
    }


async def test_two_runs_never_mix(harness: Harness) -> None:
    """The same items of two concurrent runs are settled, counted and written separately."""
    first, second = await owned(harness, ["a", "b"]), await owned(harness, ["a", "b"])
    await asyncio.gather(
        settle(harness, first, Done("a"), Reject("b", ErrorCategory.AUTH, "no")),
        settle(harness, second, Done("b")),
    )
    states = [
        {k: v["status"] for k, v in (await harness.items(c.run_id)).items()}
        for c in (first, second)
    ]
    assert states == [{"a": "completed", "b": "failed"}, {"a": "pending", "b": "completed"}]
    assert [await harness.results(c.run_id) for c in (first, second)] == [["a"], ["b"]]


async def test_a_settler_and_a_manual_update_do_not_deadlock(harness: Harness) -> None:
    """A fenced-off settler and a manual update of the same chunk both end."""
    chunk = await owned(harness, ["a", "b"])
    await harness.query(
        "UPDATE chunks SET status = 'ready', owner = NULL, epoch = epoch + 1 WHERE id = :id",
        id=chunk.id,
    )

    async def by_hand(item: str) -> object:
        return await harness.tracker.update_item_status(
            chunk.run_id, "keyword_metrics", item, StateStatus.COMPLETED, {"by": "hand"}
        )

    ended = await asyncio.gather(
        *[settle(harness, chunk, Done("a"), Done("b")) for _ in range(5)],
        by_hand("a"),
        by_hand("b"),
        return_exceptions=True,
    )
    assert all(isinstance(e, LeaseLost | TransactionConflict) for e in ended[:5])
    assert all(e is True or isinstance(e, TransactionConflict) for e in ended[5:])

    async def is_done() -> bool:
        for item in ("a", "b"):
            await by_hand(item)
        return bool((await harness.chunk(chunk.id))["status"] == "done")

    await until(is_done, "the chunk to be done")
    assert counters(await harness.chunk(chunk.id)) == (2, 0, 0)
    assert await harness.results(chunk.run_id) == []
