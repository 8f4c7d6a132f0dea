"""Processes that notify are killed at any instant: nothing is lost, and what comes twice is known.

Messages arrive at least once. One that comes again has the same id and the same text.
"""

import asyncio
import random
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from harness.notify_process import start_notifying
from harness.receiver import Receiver, open_receiver, status
from harness.waiting import until
from tests.integration.notifications.conftest import Notifying

from serpline.notifications.notifier import LEASE_SLACK_SECONDS
from serpline.notifications.pace import REST_SECONDS_MAX
from serpline.notifications.sender import SEND_SECONDS_MAX
from serpline.store.database import Database

RUNS = 120
KILLS = 4
LEASE_SECONDS = SEND_SECONDS_MAX + LEASE_SLACK_SECONDS
SENDING = "SELECT 1 FROM notification_destinations WHERE message_id IS NOT NULL"


def named(runs: list[UUID], receiver: Receiver) -> set[UUID]:
    text = "\n".join(one.title + one.body for one in receiver.messages)
    return {run for run in runs if str(run)[:8] in text}


def check_repetitions(receiver: Receiver) -> None:
    """Messages with one id are one message."""
    assert len({one.message_id for one in receiver.messages}) == len(
        {(one.message_id, one.title, one.body) for one in receiver.messages}
    )


async def wait_for_all(notifying: Notifying, runs: list[UUID], receiver: Receiver) -> None:
    await notifying.pass_time(LEASE_SECONDS)

    async def has_all() -> bool:
        if not await notifying.query(SENDING):
            await notifying.pass_time(REST_SECONDS_MAX)
        return named(runs, receiver) == set(runs)

    await until(has_all, "a message about every run")


async def test_killed_with_the_message_on_its_way(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    """A sender that dies before it heard the answer: the message comes again under its id."""
    notifying, runs = Notifying(db), [uuid4()]
    with open_receiver() as receiver:
        await notifying.add("ops", receiver.url())
        process = start_notifying(database_url, tmp_path / "first.log")

        def kill(request: BaseHTTPRequestHandler) -> None:
            receiver.answer = status(200)
            process.kill()

        receiver.answer = kill
        await notifying.fail_runs(runs)
        await process.wait()
        assert len(receiver.messages) == 1
        (row,) = await notifying.service.list_all()
        assert row.pending == 1
        second = start_notifying(database_url, tmp_path / "second.log")
        try:
            await notifying.pass_time(LEASE_SECONDS)

            async def is_settled() -> bool:
                return (await notifying.service.list_all())[0].pending == 0

            await until(is_settled, "the second sender")
        finally:
            second.close()
        first, again = receiver.messages
        assert first == again


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_any_instant(
    db: Database, database_url: str, tmp_path: Path, seed: int
) -> None:
    """Two processes are killed again and again in a storm, and every run is told."""
    chance = random.Random(seed)
    notifying, runs = Notifying(db), [uuid4() for _ in range(RUNS)]
    with open_receiver() as receiver:
        await notifying.add("ops", receiver.url())
        processes = [start_notifying(database_url, tmp_path / f"{n}.log") for n in range(2)]
        try:
            for number in range(KILLS):
                part = runs[number * RUNS // KILLS : (number + 1) * RUNS // KILLS]
                for run in part:
                    await notifying.fail_runs([run])
                await notifying.pass_time(20)
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                processes[number % 2].close()
                processes[number % 2] = start_notifying(database_url, tmp_path / f"{number}b.log")
            await wait_for_all(notifying, runs, receiver)
        finally:
            for process in processes:
                process.close()
        check_repetitions(receiver)
        deliveries = await notifying.query("SELECT count(*) AS n FROM notification_deliveries")
        assert deliveries[0].n == RUNS
