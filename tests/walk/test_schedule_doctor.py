"""``schedule doctor`` as people and scripts run it: its document, its words and its exit code."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.commands import fork_command
from harness.provider_schedules import (
    SPEC,
    Account,
    open_account,
    store_keywords,
    store_schedule,
)

from serpline.store.database import Database


@pytest.fixture
async def account(db: Database) -> AsyncIterator[Account]:
    await store_keywords(db, "kettle,PL\nteapot,PL\n")
    async with open_account(db) as opened:
        yield opened


@pytest.fixture
def doctor(account: Account, database_url: str) -> Any:
    """Run the command; returns its exit code, stdout and stderr."""
    settings = {
        "SERPLINE_DATABASE_URL": database_url,
        "SERPLINE_SCALESERP_BASE_URL": account.sim.environment()["SERPLINE_SCALESERP_BASE_URL"],
        "SERPLINE_SCALESERP_API_KEY": account.sim.config.key("scaleserp"),
        "COLUMNS": "300",
    }

    async def command(*arguments: str) -> tuple[int, str, str]:
        done = await fork_command("schedule", "doctor", *arguments, **settings)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return command


async def test_both_sides_agree(account: Account, doctor: Any) -> None:
    """Exit code 0: with nothing to compare, and with a batch as it is wanted."""
    code, out, err = await doctor("--all")
    assert (code, out) == (0, "")
    assert "no schedule has driver=provider" in err
    await store_schedule(account.db, "毎日 news", [SPEC])
    await account.drive()
    (batch,) = account.batches().values()
    code, out, err = await doctor("毎日 news", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == [
        {
            "schedule": "毎日 news",
            "content_type": "news",
            "batch": batch.name,
            "provider_batch_id": batch.id,
            "finding": "ok",
            "detail": "",
        }
    ]


async def test_an_orphan_on_either_side_is_exit_code_2(account: Account, doctor: Any) -> None:
    """A batch that is gone and one of no schedule, in words and as a document. Both stay so."""
    await store_schedule(account.db, "s", [SPEC])
    await account.drive()
    at_provider = account.sim.scaleserp.account
    (batch,) = account.batches().values()
    at_provider.delete(batch)
    orphan = at_provider.create({"name": "serpline schedule 0000 news 0"}, [])
    code, out, _ = await doctor("--all", "--json")
    found = {one["finding"]: one for one in json.loads(out)}
    assert (code, set(found)) == (2, {"missing", "orphan"})
    assert found["missing"]["batch"] == batch.name
    assert found["orphan"]["provider_batch_id"] == orphan.id
    code, out, err = await doctor("--all")
    assert code == 2
    assert "the provider has no such batch" in out
    assert "2 of 2 findings are differences" in err
    assert list(at_provider.batches) == [orphan.id]


async def test_a_comparison_that_cannot_be_made_is_one_line(account: Account, doctor: Any) -> None:
    """Exit code 2 without a document: no such schedule, or a provider that does not answer."""
    code, out, err = await doctor("t", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("serpline: schedule 't': there is no such schedule")
    account.sim.set_faults([{"provider": "scaleserp", "operation": "list_batches", "fault": "401"}])
    code, out, err = await doctor("--all", "--json")
    assert (code, out) == (2, "")
    assert err.startswith("serpline: cannot list the provider's batches: ")
    assert err.count("\n") == 1
