"""``serpline breakers`` and ``serpline jobs`` as an operator uses them: on what really broke."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from harness.commands import run_command
from harness.guarded import Provider, call, ok, policy, status

from serpline.core.clock import SystemClock
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.retry import RetryStrategy
from serpline.queueing.jobs import Job, JobOutcome
from serpline.queueing.manager import JobQueueManager
from serpline.robustness.budget import apply_limits
from serpline.robustness.guard import CallScope, Guard
from serpline.store.database import Database

FAILURES = 10


@pytest.fixture
def command(database_url: str) -> Any:
    """Run one command over the test's database: its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        done = run_command(*arguments, SERPLINE_DATABASE_URL=database_url)
        return done.returncode, (done.stdout or done.stderr).decode()

    return run


async def _call(database_url: str, provider: Provider, times: int) -> list[str]:
    """What came of so many guarded calls, made by a process of its own."""
    database = await Database.connect(database_url)
    try:
        guard = Guard(database, provider.send, [policy()])
        ends = []
        for number in range(times):
            try:
                await guard.execute(call(f"{number} of {len(provider.log)}"), CallScope("test"))
                ends.append("answered")
            except CallRefused:
                ends.append("refused")
            except ProviderError:
                ends.append("failed")
        await guard.close()
        return ends
    finally:
        await database.close()


def test_a_breaker_that_failures_opened_is_shown_reset_and_isolated(
    command: Any, database_url: str
) -> None:
    """Open after ten failures; a reset lets calls through again, an isolation lets none."""
    provider = Provider(answer=lambda _: status(500))

    def shown() -> dict[str, Any]:
        code, text = command("breakers", "list", "--json")
        assert code == 0
        (found,) = json.loads(text)
        return dict(found)

    assert asyncio.run(_call(database_url, provider, FAILURES + 1)) == [
        *["failed"] * FAILURES,
        "refused",
    ]
    assert (shown()["name"], shown()["state"]) == ("example_api", "open")
    assert shown()["open_until"]
    provider.answer = lambda _: ok({"answer": 1})
    assert asyncio.run(_call(database_url, provider, 1)) == ["refused"]
    assert command("breakers", "reset", "example_api") == (0, "example_api: closed\n")
    assert asyncio.run(_call(database_url, provider, 2)) == ["answered", "answered"]
    assert command("breakers", "isolate", "example_api") == (0, "example_api: isolated\n")
    assert asyncio.run(_call(database_url, provider, 1)) == ["refused"]
    assert shown()["state"] == "isolated"
    code, stderr = command("breakers", "reset", "exampel_api")
    assert (code, "exampel_api" in stderr, stderr.count("\n")) == (2, True, 1)


def test_a_breaker_is_known_before_its_first_call(command: Any) -> None:
    """A provider's own may be isolated and set at once; another name is told which there are."""
    assert command("breakers", "isolate", "llm_api") == (0, "llm_api: isolated\n")
    code, stderr = command("breakers", "isolate", "llm")
    assert (code, "llm_api" in stderr, stderr.count("\n")) == (2, True, 1)
    assert command("breakers", "set", "pdl_api", "--failure-threshold", "2") == (
        0,
        "pdl_api: closed, settings version 2\n",
    )
    code, text = command("breakers", "list", "--json")
    found = {row["name"]: row for row in json.loads(text)}
    assert (found["llm_api"]["state"], found["llm_api"]["settings_version"]) == ("isolated", 1)
    assert (found["pdl_api"]["failure_threshold"], found["pdl_api"]["timeout_seconds"]) == (2, 60)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["llm_api"], "--failure-threshold"),
        (["llm_api", "--failure-threshold", "0"], "failure_threshold=0"),
        (["llm_api", "--timeout-seconds", "nan"], "timeout_seconds=nan"),
        (["llm_api", "--success-threshold", "many"], "--success-threshold"),
        (["lmm_api", "--success-threshold", "1"], "lmm_api"),
        (["lmm\udcff", "--success-threshold", "1"], r"'lmm\udcff' is not UTF-8"),
    ],
)
def test_wrong_settings_of_a_breaker_are_one_line(
    command: Any, arguments: list[str], named: str
) -> None:
    """The line names what is wrong, and nothing is changed."""
    code, stderr = command("breakers", "set", *arguments)
    assert (code, named in stderr, stderr.count("\n")) == (2, True, 1), stderr
    assert command("breakers", "list", "--json") == (0, "[]\n")


async def _serve(database_url: str, broken: bool) -> JobOutcome:
    """The outcome of the next job, in a process whose handler is ``broken`` or not."""
    database = await Database.connect(database_url)
    ended: asyncio.Queue[Any] = asyncio.Queue()
    queue = JobQueueManager(
        database,
        observer=ended.put_nowait,
        retry=RetryStrategy(max_attempts=1, base_delay=0, max_delay=0),
    )

    async def handler(_payload: dict[str, Any]) -> None:
        if broken:
            raise ValueError("the report has no page 7")

    queue.register("report", handler)
    stop = asyncio.Event()
    serving = asyncio.create_task(queue.run(stop, 1))
    try:
        async with asyncio.timeout(60):
            while True:
                outcome = (await ended.get()).outcome
                if outcome is not JobOutcome.FAILED:
                    return JobOutcome(outcome)
    finally:
        stop.set()
        await serving
        await database.close()


async def _enqueue(database_url: str) -> None:
    database = await Database.connect(database_url)
    try:
        await JobQueueManager(database).enqueue_job(Job("report", {"page": 7}, max_retries=1))
    finally:
        await database.close()


def test_a_job_that_failed_for_good_is_listed_retried_and_discarded(
    command: Any, database_url: str
) -> None:
    """A dead letter says why; retried with the cause mended it runs; discarded it is off."""

    def letters(*options: str) -> list[dict[str, Any]]:
        code, text = command("jobs", "list", "--json", *options)
        assert code == 0
        return list(json.loads(text))

    asyncio.run(_enqueue(database_url))
    assert asyncio.run(_serve(database_url, broken=True)) is JobOutcome.DEAD
    (letter,) = letters()
    assert (letter["job_type"], letter["payload"]) == ("report", {"page": 7})
    assert "the report has no page 7" in letter["error"]
    number = str(letter["id"])
    assert command("jobs", "retry", number)[0] == 0
    assert letters() == []
    assert asyncio.run(_serve(database_url, broken=False)) is JobOutcome.DONE
    code, stderr = command("jobs", "retry", number)
    assert (code, stderr) == (2, f"serpline: job {number}: already retried\n")

    asyncio.run(_enqueue(database_url))
    assert asyncio.run(_serve(database_url, broken=True)) is JobOutcome.DEAD
    (letter,) = letters()
    assert command("jobs", "discard", str(letter["id"]))[0] == 0
    assert letters() == []
    assert [row["status"] for row in letters("--all")] == ["discarded", "retried"]


def test_budgets_show_what_is_left(command: Any, database_url: str) -> None:
    """The limit that a worker put in force, what was spent of it, and what waits for more."""

    async def spend() -> None:
        database = await Database.connect(database_url)
        try:
            limited = policy(provider="scaleserp", breaker=None, credits_per_day=50.0)
            async with database.transaction() as conn:
                await apply_limits(conn, [limited], SystemClock().now())
            guard = Guard(database, Provider().send, [limited])
            await guard.execute(replace(call(price=2.0), provider="scaleserp"), CallScope("test"))
            await guard.close()
        finally:
            await database.close()

    asyncio.run(spend())
    code, text = command("budgets", "list", "--json")
    assert code == 0
    day = next(row for row in json.loads(text) if row["provider"] == "scaleserp")
    assert day["scope"].startswith("day:")
    assert {name: day[name] for name in ("limit_credits", "reserved", "spent", "left")} == {
        "limit_credits": 50, "reserved": 0, "spent": 2, "left": 48
    }  # fmt: skip
    assert day["waiting_chunks"] == 0
    # Before its first call a provider has the limit that the call will be held to.
    unused = next(row for row in json.loads(text) if row["provider"] == "youtube")
    assert (unused["limit_credits"], unused["left"]) == (10_000, 10_000)
