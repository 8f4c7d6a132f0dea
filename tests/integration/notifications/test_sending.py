"""Messages arrive at least once, a storm in few of them, and no destination delays another."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID, uuid4

from harness.receiver import Receiver, status
from harness.waiting import until
from tests.integration.notifications.conftest import Notifying

from serpline.notifications.pace import MESSAGE_ATTEMPTS_MAX
from serpline.store.runs.events import Event

CLOSED_PORT = "json://127.0.0.1:9/"


def named(runs: list[UUID], receiver: Receiver) -> set[UUID]:
    """The runs that the messages name."""
    text = "\n".join(one.title + one.body for one in receiver.messages)
    return {run for run in runs if str(run)[:8] in text}


async def test_a_storm(notifying: Notifying, receiver: Receiver) -> None:
    """1,000 failed runs in a minute make at most 12 messages, which name every one of them."""
    await notifying.add("ops", receiver.url())
    runs = [uuid4() for _ in range(1000)]
    for second in range(60):
        await notifying.fail_runs(runs[second * 1000 // 60 : (second + 1) * 1000 // 60])
        await notifying.turn()
        await notifying.pass_time(1)
    assert 3 <= len(receiver.messages) <= 12
    for _ in range(60):
        await notifying.pass_time(10)
        await notifying.turn()
    assert len(receiver.messages) <= 12
    assert named(runs, receiver) == set(runs)
    assert len({one.message_id for one in receiver.messages}) == len(receiver.messages)
    (row,) = await notifying.service.list_all()
    assert (row.pending, row.failed, row.last_error) == (0, 0, None)
    # Quiet minutes later, one incident is told at once again.
    await notifying.pass_time(3600)
    late = uuid4()
    await notifying.fail_runs([late])
    await notifying.turn()
    assert receiver.messages[-1].title == f"serpline: Run {str(late)[:8]} failed"


async def test_one_message_in_words(notifying: Notifying, receiver: Receiver) -> None:
    """A message says what happened, why, what follows, and the command that shows more."""
    await notifying.add("ops", receiver.url())
    run = uuid4()
    await notifying.happen(Event("run.failed", run, detail={"error": "no\nlane <completed>"}))
    await notifying.turn()
    (message,) = receiver.messages
    assert message.title == f"serpline: Run {str(run)[:8]} failed"
    lines = message.body.splitlines()
    assert lines[0].startswith("It ended at 20")
    assert lines[1:4] == [
        "Reason: no lane <completed>",
        "It has no figures.",
        f"serpline run show {run}",
    ]
    await notifying.happen(Event("run.completed", run, detail={"error": None}))
    await notifying.pass_time(60)
    await notifying.turn()
    assert receiver.messages[1].title == f"serpline: Run {str(run)[:8]} completed after a retry"


async def test_a_dead_destination_delays_no_other(
    notifying: Notifying, receivers: Callable[[], Receiver]
) -> None:
    """While one destination hangs and one refuses, the third hears of everything at once."""
    hangs, refuses, works = receivers(), receivers(), receivers()
    hangs.answer, refuses.answer = hangs.hang, status(500)
    for name, one in (("a hangs", hangs), ("b refuses", refuses), ("c works", works)):
        await notifying.add(name, one.url("?rto=50"))
    runs = [uuid4() for _ in range(3)]
    for run in runs:
        started = time.monotonic()
        await notifying.fail_runs([run])
        await notifying.notifier.work()

        async def has_heard(run: UUID = run) -> bool:
            return named([run], works) == {run}

        async def is_stored() -> bool:
            return len(notifying.notifier._sends) <= 1  # the one that hangs

        await until(has_heard, "the destination that works", seconds=20)
        assert time.monotonic() - started < 5
        # A destination's rest begins when its message is stored as sent.
        await until(is_stored, "the sends that end to be stored")
        await notifying.pass_time(60)
    assert hangs.messages
    hangs.released.set()
    await notifying.sent()


async def test_a_hanging_destination_has_one_thread(
    notifying: Notifying, receiver: Receiver
) -> None:
    """A service that never answers is given up in time, and holds one thread at most."""
    receiver.answer = receiver.hang
    quick = Notifying(notifying.database, send_seconds=0.3)
    await quick.add("ops", receiver.url("?rto=50"))
    await quick.fail_runs([uuid4()])
    for _ in range(3):
        await quick.turn()
        await quick.pass_time(4000)
    assert len(receiver.messages) == 1
    (row,) = await quick.service.list_all()
    assert row.last_error == "the last attempt is still without an answer"
    receiver.answer = status(200)
    receiver.released.set()
    while any(thread.is_alive() for thread in quick.notifier._sender._threads.values()):
        await asyncio.sleep(0.02)
    await quick.turn()
    first, second = receiver.messages
    assert first == second


async def test_a_failure_is_repeated_and_reported(notifying: Notifying, receiver: Receiver) -> None:
    """A refused message is repeated with growing waits under its id, and reported until then."""
    receiver.answer = status(503, b"busy")
    await notifying.add("ops", receiver.url())
    await notifying.fail_runs([uuid4()])
    for wait in (30, 60, 120):
        await notifying.turn()
        (row,) = await notifying.service.list_all()
        assert row.failing_since is not None
        assert "error=503" in row.last_error
        assert "busy" in row.last_error
        tried = len(receiver.messages)
        await notifying.pass_time(wait - 5)
        await notifying.turn()
        assert len(receiver.messages) == tried
        await notifying.pass_time(5)
    later = uuid4()
    await notifying.fail_runs([later])
    receiver.answer = status(200)
    await notifying.turn()
    assert len({one.message_id for one in receiver.messages}) == 1
    await notifying.pass_time(5)
    await notifying.turn()
    assert str(later)[:8] in receiver.messages[-1].title
    (row,) = await notifying.service.list_all()
    assert (row.failing_since, row.last_error, row.pending) == (None, None, 0)


async def test_a_message_is_given_up(notifying: Notifying, receiver: Receiver) -> None:
    """After the last attempt a message counts as failed, and the next one is begun."""
    receiver.answer = status(400)
    await notifying.add("ops", receiver.url())
    await notifying.fail_runs([uuid4()])
    await notifying.turn()
    await notifying.query(
        "UPDATE notification_deliveries SET attempts = :n", n=MESSAGE_ATTEMPTS_MAX - 1
    )
    later = uuid4()
    await notifying.fail_runs([later])
    await notifying.pass_time(4000)
    await notifying.turn()
    (row,) = await notifying.service.list_all()
    assert (row.pending, row.failed) == (1, 1)
    receiver.answer = status(200)
    await notifying.pass_time(4000)
    await notifying.turn()
    assert str(later)[:8] in receiver.messages[-1].title
    states = [row["state"] for row in await notifying.service.log()]
    assert states == ["sent", "failed"]


async def test_a_redirect_is_a_failure(
    notifying: Notifying, receivers: Callable[[], Receiver]
) -> None:
    """A redirect would lose the message: it is not followed, and the message counts as refused."""
    first, second = receivers(), receivers()
    first.answer = status(302, Location=f"http://127.0.0.1:{second.port}/")
    await notifying.add("ops", first.url())
    await notifying.fail_runs([uuid4()])
    await notifying.turn()
    (row,) = await notifying.service.list_all()
    assert "error=302" in row.last_error
    assert second.messages == []


async def test_optional_does_not_hide_a_failure(notifying: Notifying, receiver: Receiver) -> None:
    """A URL that tells Apprise to ignore failures ignores none here."""
    receiver.answer = status(500)
    await notifying.add("ops", receiver.url("?optional=yes"))
    await notifying.fail_runs([uuid4()])
    await notifying.turn()
    (row,) = await notifying.service.list_all()
    assert row.failing_since is not None


async def test_another_sender_took_over(notifying: Notifying, receiver: Receiver) -> None:
    """A sender that was away longer than its lease changes nothing of the next sender's message."""
    receiver.answer = receiver.hang
    await notifying.add("ops", receiver.url("?rto=50"))
    await notifying.fail_runs([uuid4()])
    await notifying.notifier.work()

    async def has_arrived() -> bool:
        return receiver.arrived.is_set()

    await until(has_arrived, "the first message")
    await notifying.pass_time(100)
    receiver.answer = status(200)
    other = Notifying(notifying.database)
    await other.turn()
    (row,) = await notifying.service.list_all()
    sent_at = row.last_sent_at
    assert sent_at is not None
    receiver.released.set()
    await notifying.sent()
    (row,) = await notifying.service.list_all()
    assert row.last_sent_at == sent_at
    first, second = receiver.messages
    assert first == second


async def test_many_senders_send_once(notifying: Notifying, receiver: Receiver) -> None:
    """Of several processes that look at once, one sends."""
    await notifying.add("ops", receiver.url())
    await notifying.fail_runs([uuid4() for _ in range(20)])
    others = [Notifying(notifying.database) for _ in range(5)]
    await asyncio.gather(*(one.turn() for one in others))
    assert len(receiver.messages) == 1


async def test_a_new_url_gets_what_waits(
    notifying: Notifying, receivers: Callable[[], Receiver]
) -> None:
    """What a dead destination did not get is sent to the URL that replaces its own, at once."""
    works = receivers()
    await notifying.add("ops", CLOSED_PORT)
    await notifying.fail_runs([uuid4()])
    await notifying.turn()
    assert works.messages == []
    await notifying.add("ops", works.url(), replace=True)
    await notifying.turn()
    assert len(works.messages) == 1
