"""``schedule doctor``: both sides are compared, and nothing is changed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.provider_schedules import (
    SPEC,
    Account,
    open_account,
    store_keywords,
    store_schedule,
)

from serpline.robustness.guard import CallScope
from serpline.scheduling.provider_doctor import diagnose
from serpline.store.database import Database


@pytest.fixture
async def account(db: Database) -> AsyncIterator[Account]:
    await store_keywords(db, "kettle,PL\nteapot,PL\n")
    async with open_account(db) as opened:
        yield opened


async def findings(account: Account, name: str | None = None) -> dict[str, str]:
    """The findings by the batch's id, or by its schedule."""
    driver = account.driver

    async def call(one: Any) -> Any:
        return await driver.guard.execute(one, CallScope(freshness="doctor", ttl_seconds=0.0))

    now = account.clock.now()
    found = await diagnose(account.db, call, driver.client, driver.zone, driver.policy, now, name)
    return {one["provider_batch_id"] or one["schedule"]: one["finding"] for one in found}


async def test_every_difference_is_named_and_none_is_touched(account: Account) -> None:
    """One that is missing, one changed by hand, a second one, one of nobody, and good ones."""
    for name in ("good", "gone", "changed"):
        await store_schedule(account.db, name, [SPEC])
    await account.drive()
    own = {row["schedule_id"]: row for row in await account.rows()}
    at_provider = account.sim.scaleserp.account
    good, gone, changed = (own[name]["provider_batch_id"] for name in ("good", "gone", "changed"))
    assert await findings(account) == {good: "ok", gone: "ok", changed: "ok"}
    at_provider.delete(at_provider.batches[gone])
    at_provider.batches[changed].fields["enabled"] = False
    twin = at_provider.create({"name": own["good"]["name"]}, [])
    orphan = at_provider.create({"name": "serpline schedule 0000 news 0"}, [])
    at_provider.create({"name": "serpline run of another kind"}, [])
    await store_schedule(
        account.db, "unfit", [{**SPEC, "timezone": "Europe/Berlin", "content_type": "video"}]
    )
    before = {batch_id: dict(b.fields) for batch_id, b in at_provider.batches.items()}
    assert await findings(account) == {
        good: "ok",
        "gone": "missing",
        changed: "different",
        twin.id: "duplicate",
        orphan.id: "orphan",
        "unfit": "refused",
    }
    assert await findings(account, "changed") == {changed: "different"}
    assert {batch_id: b.fields for batch_id, b in at_provider.batches.items()} == before


async def test_a_deleted_schedule_leaves_a_batch_until_the_driver_has_run(
    account: Account,
) -> None:
    """It is named as not deleted, and then it is gone."""
    await store_schedule(account.db, "s", [SPEC])
    await account.drive()
    (row,) = await account.rows()
    await store_schedule(account.db, "s", [SPEC], status="deleted")
    assert await findings(account) == {row["provider_batch_id"]: "not_deleted"}
    await account.drive()
    assert await findings(account) == {}
