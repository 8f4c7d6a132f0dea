"""Webhooks: sent once, retried on errors, and broken by every fault."""

import re

import pytest

from serpline.simulator import BatchTiming

from .conftest import EagerClock, Listener, ManualClock, Opener

SLOW = BatchTiming(10, 10, running_seconds_per_search=0, adding_seconds_per_search=0)


async def test_a_result_set_has_one_webhook(opened: Opener, listener: Listener) -> None:
    """Batch, result set and links are sent once, and the result set records it."""
    caller = await opened()
    batch = await caller.batch("b", notification_webhook=listener.url)
    result = await caller.run(batch)
    (body,) = listener.bodies
    assert body["request_info"]["type"] == "batch_resultset_completed"
    assert body["batch"] == {"id": batch, "name": "b"}
    assert body["result_set"]["id"] == 1
    assert body["result_set"]["download_links"]["json"] == result["download_links"]
    assert result["webhook_status"]["status"] == "sent"


async def test_a_webhook_is_retried_until_accepted(opened: Opener, listener: Listener) -> None:
    """After a 503, a broken connection and a 202, three POSTs were made."""
    caller = await opened()
    listener.answers = [503, None]
    await caller.run(await caller.batch(notification_webhook=listener.url))
    assert [delivery.status for delivery in caller.simulator.webhooks] == [503, 0, 202]


async def test_a_webhook_is_given_up_after_five_retries(opened: Opener, listener: Listener) -> None:
    """After six POSTs the status is failed; a requested resend works."""
    caller = await opened()
    listener.answers = [500] * 6
    batch = await caller.batch(notification_webhook=listener.url)
    result = await caller.run(batch)
    assert (len(listener.bodies), result["webhook_status"]["status"]) == (6, "failed")
    await caller.call("GET", f"/batches/{batch}/results/1/resendwebhook")
    await caller.simulator.settled()
    assert len(listener.bodies) == 7


@pytest.mark.parametrize(("fault", "posts"), [("0", 0), ("1", 1), ("2", 2), ("5", 5)])
async def test_a_webhook_may_come_any_number_of_times(
    opened: Opener, listener: Listener, fault: str, posts: int
) -> None:
    """The webhook comes never, once, twice or five times, always the same."""
    caller = await opened(faults=[{"fault": f"webhook_{fault}"}])
    await caller.run(await caller.batch(notification_webhook=listener.url))
    assert len(listener.bodies) == posts
    assert all(body == listener.bodies[0] for body in listener.bodies)


@pytest.mark.parametrize("fault", ["webhook_2", "webhook_early"])
async def test_a_rule_for_one_webhook_affects_one(
    opened: Opener, listener: Listener, fault: str
) -> None:
    """times=1 affects all of the first run's webhook and none of the second's."""
    caller = await opened(faults=[{"fault": fault, "times": 1}])
    for name in ("one", "two"):
        await caller.run(await caller.batch(name, notification_webhook=listener.url))
    told = [body["batch"]["name"] for body in listener.bodies]
    assert told == (["one", "one", "two"] if fault == "webhook_2" else ["one", "two"])


async def test_an_early_webhook_precedes_its_result_set(
    opened: Opener, listener: Listener, clock: ManualClock
) -> None:
    """The webhook arrives while the batch runs, and not again."""
    caller = await opened(clock=clock, faults=[{"fault": "webhook_early"}], timing=SLOW)
    batch = await caller.batch(notification_webhook=listener.url)
    await caller.call("GET", f"/batches/{batch}/start")
    await clock.advance(15)
    await caller.simulator.scaleserp.webhooks.idle()
    shown = (await caller.call("GET", f"/batches/{batch}")).json()["batch"]
    assert (shown["status"], shown["results_count"]) == ("running", 0)
    assert [body["result_set"]["id"] for body in listener.bodies] == [1]
    await clock.advance(15)
    await caller.simulator.settled()
    assert len(listener.bodies) == 1


async def test_a_late_webhook_waits(opened: Opener, listener: Listener, clock: ManualClock) -> None:
    """The webhook comes after the given seconds."""
    rule = {"fault": "webhook_late", "seconds": 90}
    caller = await opened(clock=clock, faults=[rule])
    batch = await caller.batch(notification_webhook=listener.url)
    await caller.call("GET", f"/batches/{batch}/start")
    await clock.advance(89)
    assert listener.bodies == []
    await clock.advance(1)
    await caller.simulator.settled()
    assert len(listener.bodies) == 1


async def test_a_forged_webhook_precedes_the_true_one(opened: Opener, listener: Listener) -> None:
    """The forgery has another batch's id and an internal link, and is marked in the log.

    Refused, it is not sent again: the true one does not wait for it.
    """
    clock = EagerClock()
    rule = {"fault": "webhook_forged"}
    caller = await opened(clock=clock, faults=[rule], timing=BatchTiming(0, 0, 0, 0))
    listener.answers = [404]
    batch = await caller.batch(notification_webhook=listener.url)
    clock.slept.clear()
    result = await caller.run(batch)
    assert not any(clock.slept)
    assert result["webhook_status"]["status"] == "sent"
    forged, true = listener.bodies
    assert forged["batch"]["id"] != batch
    assert "169.254" in str(forged)
    assert true["batch"]["id"] == batch
    assert [delivery.honest for delivery in caller.simulator.webhooks] == [False, True]


async def test_a_webhook_may_come_to_an_unknown_path(opened: Opener, listener: Listener) -> None:
    """The same payload is also sent once to a path of no batch."""
    caller = await opened(faults=[{"fault": "webhook_forged_path"}])
    listener.answers = [404]
    await caller.run(await caller.batch(notification_webhook=listener.url))
    forged, true = listener.bodies
    assert forged == true
    stray, sent = caller.simulator.webhooks
    assert [stray.honest, sent.honest] == [False, True]
    assert sent.url == listener.url
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[0-9A-F]{32}", stray.url)


async def test_webhooks_may_overtake_one_another(opened: Opener, listener: Listener) -> None:
    """The first batch's webhook arrives after the second's."""
    rule = {"fault": "webhook_out_of_order", "match": {"batch_name": "first"}, "seconds": 60}
    caller = await opened(faults=[rule])
    for name in ("first", "second"):
        batch = await caller.batch(name, notification_webhook=listener.url)
        await caller.call("GET", f"/batches/{batch}/start")
        await caller.simulator.scaleserp.account.idle()
    await caller.simulator.settled()
    assert [body["batch"]["name"] for body in listener.bodies] == ["second", "first"]


async def test_retries_back_off_exponentially(opened: Opener, listener: Listener) -> None:
    """The pauses are 1, 2, 4, 8 and 16 seconds, with none after the last POST."""
    clock = EagerClock()
    caller = await opened(clock=clock, timing=BatchTiming(0, 0, 0, 0))
    listener.answers = [500] * 6
    batch = await caller.batch(notification_webhook=listener.url)
    clock.slept.clear()
    await caller.run(batch)
    assert [seconds for seconds in clock.slept if seconds] == [1, 2, 4, 8, 16]


async def test_a_receiver_that_does_not_answer_times_out(
    opened: Opener, listener: Listener
) -> None:
    """After the timeout, the POST counts as failed and is repeated."""
    caller = await opened(
        timing=BatchTiming(0, 0, 0, 0, webhook_timeout_seconds=0.2, webhook_backoff_seconds=0)
    )
    listener.answers = [0]
    await caller.run(await caller.batch(notification_webhook=listener.url))
    assert [delivery.status for delivery in caller.simulator.webhooks] == [0, 202]
