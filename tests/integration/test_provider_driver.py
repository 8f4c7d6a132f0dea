"""The provider's driver: batches that exist once, follow their schedule, and leave with it.

The auditor is the simulated account: how many batches were created, and what they hold.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from harness.provider_schedules import (
    SPEC,
    Account,
    open_account,
    store_keywords,
    store_schedule,
)

from serpline.scheduling.provider_batch import RENEWED_AFTER
from serpline.simulator.wire import Operation, Reply, Request
from serpline.store.database import Database

DAY = 86_400.0
CREATE = {"provider": "scaleserp", "operation": "create_batch"}


@pytest.fixture
async def account(db: Database) -> AsyncIterator[Account]:
    await store_keywords(db, "kettle,PL\nteapot,PL\ncup,US\n")
    async with open_account(db) as opened:
        yield opened


async def test_a_batch_is_made_once(account: Account) -> None:
    """It is created disabled, filled, and enabled with the schedule's calendar; then only read."""
    await store_schedule(account.db, "täglich 毎日", [SPEC])
    await account.drive()
    batch = account.batches()["news 0"]
    assert batch.fields["enabled"] is True
    assert batch.fields["schedule_type"] == "daily"
    assert batch.fields["schedule_hours"] == [9]
    assert batch.fields["searches_type"] == "news"
    assert {s["custom_id"].split(":", 1)[1] for s in batch.searches.values()} == {
        "PL:desktop",
        "US:desktop",
    }
    assert len(batch.searches) == 3
    assert await account.events() == ["batch.scheduled", "batch.rescheduled"]
    calls = len(account.sim.log)
    for _ in range(3):
        await account.drive()
    assert {e.operation for e in account.sim.log.entries[calls:]} == {"get_batch"}
    assert account.created == 1
    assert account.sim.ledger.charges == []


async def test_it_follows_an_edit_a_pause_and_a_deletion(account: Account) -> None:
    """The same batch is changed, disabled, enabled, and deleted; a stranger's batch stays."""
    key = account.sim.config.key("scaleserp")
    await store_schedule(account.db, "s", [SPEC])
    await account.drive()
    stranger = account.sim.scaleserp.account.create({"name": "serpline schedule x news 0"}, [])
    weekly = {**SPEC, "frequency": "weekly", "days_of_week": ["sunday"], "time_of_day": "23:00"}
    await store_schedule(account.db, "s", [weekly], version=2)
    await account.drive()
    batch = account.batches()["news 0"]
    found = [b for b in account.sim.scaleserp.account.batches.values() if b is not stranger]
    (batch,) = found
    assert batch.fields["schedule_type"] == "weekly"
    assert (batch.fields["schedule_days_of_week"], batch.fields["schedule_hours"]) == ([0], [23])
    for status, enabled in (("paused", False), ("active", True)):
        await store_schedule(account.db, "s", [weekly], version=2, status=status)
        await account.drive()
        assert batch.fields["enabled"] is enabled
    await store_schedule(account.db, "s", [weekly], version=2, status="deleted")
    await account.drive()
    assert list(account.sim.scaleserp.account.batches.values()) == [stranger]
    assert await account.rows() == []
    assert account.created == 2
    assert (await account.events())[-1] == "batch.unscheduled"
    assert key not in str(await account.events())


async def test_a_paused_content_type_is_disabled_alone(account: Account) -> None:
    """The others go on."""
    both = [{**SPEC, "content_type": "news"}, {**SPEC, "content_type": "video"}]
    await store_schedule(account.db, "s", both)
    async with account.db.transaction() as conn:
        await conn.execute(
            sa.text(
                "INSERT INTO schedule_lanes (schedule_id, content_type, paused_at, pause_reason)"
                " VALUES ('s', 'news', now(), 'failed')"
            )
        )
    await account.drive()
    enabled = {name: batch.fields["enabled"] for name, batch in account.batches().items()}
    assert enabled == {"news 0": False, "video 0": True}


async def test_changed_keywords_replace_the_searches(account: Account) -> None:
    """While they are replaced the batch is disabled, so it never runs half filled."""
    await store_schedule(account.db, "s", [SPEC])
    await account.drive()
    await store_keywords(account.db, "saucer,PL\n")
    enabled: list[bool] = []
    handle = account.sim.scaleserp.handle

    async def watched(request: Request, operation: Operation) -> Reply:
        if operation.name in ("clear_batch", "update_batch") and "custom_ids" in operation.params:
            enabled.append(account.batches()["news 0"].fields["enabled"])
        return await handle(request, operation)

    account.sim.scaleserp.handle = watched  # type: ignore[method-assign]
    await account.drive()
    batch = account.batches()["news 0"]
    assert enabled == [False]
    assert (len(batch.searches), batch.fields["enabled"]) == (4, True)
    assert account.created == 1


async def test_large_schedules_have_several_batches(account: Account) -> None:
    """Each has the searches of one chunk; what is no longer needed is deleted."""
    await store_schedule(account.db, "s", [{**SPEC, "batch_size": 2}])
    await account.drive()
    assert {name: len(b.searches) for name, b in account.batches().items()} == {
        "news 0": 2,
        "news 1": 1,
    }
    await store_schedule(account.db, "s", [SPEC], version=2)
    await account.drive()
    assert {name: len(b.searches) for name, b in account.batches().items()} == {"news 0": 3}
    assert account.created == 2


async def test_a_batch_that_vanished_is_made_again(account: Account) -> None:
    """Somebody deleted it at the provider: an event, and one new batch."""
    await store_schedule(account.db, "s", [SPEC])
    await account.drive()
    first = account.batches()["news 0"]
    account.sim.scaleserp.account.delete(first)
    await account.drive()
    assert account.batches()["news 0"] is not first
    assert account.created == 2
    assert "batch.gone" in await account.events()


async def test_a_batch_is_replaced_before_it_expires(account: Account) -> None:
    """After 50 days without a run, also when it is paused. One that runs stays."""
    await store_schedule(account.db, "s", [SPEC], status="paused")
    await store_schedule(account.db, "t", [{**SPEC, "content_type": "video"}])
    await account.drive()
    first = account.batches()
    account.clock.ahead_seconds += RENEWED_AFTER.total_seconds() + 60
    await account.drive()
    assert account.batches()["video 0"] is first["video 0"]
    assert account.batches()["news 0"] is not first["news 0"]
    assert account.batches()["news 0"].fields["enabled"] is False
    assert len(account.batches()["news 0"].searches) == 3
    assert account.created == 3
    assert account.sim.scaleserp.scheduler.expired == []
    account.clock.ahead_seconds += 40 * DAY
    await account.drive()
    assert account.sim.scaleserp.scheduler.expired == []


@pytest.mark.parametrize("fault", ["cut", "500"])
async def test_an_unanswered_create_is_not_repeated(account: Account, fault: str) -> None:
    """It is looked up by its name, and not before it can no longer take effect."""
    account.sim.set_faults([{**CREATE, "attempts": 1, "fault": fault, "work": True}])
    await store_schedule(account.db, "s", [SPEC])
    await account.drive()
    calls = len(account.sim.log)
    if fault == "cut":
        account.clock.ahead_seconds += 60
        await account.drive()
        assert len(account.sim.log) == calls
    account.clock.ahead_seconds += 20 if fault == "cut" else 80
    await account.drive()
    assert account.created == 1
    assert account.batches()["news 0"].fields["enabled"] is True
    (row,) = await account.rows()
    assert (row["errors"], row["error_message"], row["sent_at"]) == (0, None, None)


async def test_an_error_is_an_event_once_and_is_tried_again(account: Account) -> None:
    """Three failures with one reason are one event; the fourth attempt succeeds."""
    account.sim.set_faults([{**CREATE, "times": 3, "fault": "500"}])
    await store_schedule(account.db, "s", [SPEC])
    for _ in range(4):
        await account.drive()
    assert await account.events() == [
        "batch.schedule_failed",
        "batch.scheduled",
        "batch.rescheduled",
    ]
    assert account.created == 1


async def test_searches_stay_when_a_start_is_near(account: Account) -> None:
    """Four minutes before it, changed keywords wait, so that the batch does not miss its start."""
    now = account.clock.now()
    soon = now.replace(minute=56, second=0, microsecond=0)
    account.clock.ahead_seconds += (soon - now).total_seconds()
    hour = (soon.hour + 1) % 24
    await store_schedule(account.db, "s", [{**SPEC, "time_of_day": f"{hour:02d}:00"}])
    await account.drive()
    assert len(account.batches()["news 0"].searches) == 3
    await store_keywords(account.db, "saucer,PL\n")
    await account.drive()
    assert len(account.batches()["news 0"].searches) == 3
    account.clock.ahead_seconds += 600
    await account.drive()
    assert len(account.batches()["news 0"].searches) == 4
    assert account.sim.ledger.spent("scaleserp") == 3


async def test_a_batch_in_use_is_deleted_later(account: Account) -> None:
    """Its schedule was deleted while a run reads its results: disabled now, deleted after it."""
    from harness.guarded import owned_chunk

    await store_schedule(account.db, "s", [SPEC])
    await account.drive()
    batch = account.batches()["news 0"]
    run_id, chunk_id, _ = await owned_chunk(account.db)
    async with account.db.transaction() as conn:
        await conn.execute(
            sa.text(
                "INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path,"
                " status, provider_batch_id, stage, priority, items) VALUES (:chunk, 0,"
                " 'scaleserp', 'b', 'path', 'running', :id, 'first', 'normal', '{a}')"
            ),
            {"chunk": chunk_id, "id": batch.id},
        )
    await store_schedule(account.db, "s", [SPEC], status="deleted")
    await account.drive()
    assert account.batches()["news 0"].fields["enabled"] is False
    async with account.db.transaction() as conn:
        await conn.execute(
            sa.text("UPDATE pipeline_executions SET status = 'cancelled' WHERE id = :run"),
            {"run": run_id},
        )
    await account.drive()
    assert account.batches() == {}


async def test_a_schedule_that_no_longer_fits_is_left_as_it_is(db: Database, caplog: Any) -> None:
    """The account's zone was changed: nothing is created or deleted at the provider."""
    await store_keywords(db, "kettle,PL\n")
    await store_schedule(db, "s", [{**SPEC, "timezone": "Europe/Berlin"}])
    async with open_account(db) as account:
        await account.drive()
        assert account.created == 0
