"""Webhooks that do not come: wait for them a little, then ask for them once more.

A poll may find a result set before its webhook arrives. It then waits ``webhook_wait_seconds``; the
webhook ends the wait. After that the webhook is late: it is requested once more, and the batch goes
on. Both are events, so that a person sees a broken address. The vendor sends a webhook at once and
repeats a failed one up to five times (docs.trajectdata.com/scaleserp, "Webhook").
"""

from datetime import timedelta
from typing import Any

from serpline.domain.errors import CallRefused, ProviderError
from serpline.phases.serp.batch_session import BatchSession
from serpline.phases.tools import run_transaction
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.store.runs import webhooks

# Event type and detail.
RunEvent = tuple[str, dict[str, Any]]


async def wait_for_webhook(session: BatchSession, result_set_id: int) -> list[RunEvent] | None:
    """Wait for the webhook of a finished batch; None while it may still come.

    Returns the events to write with the batch's next state: none if the webhook has come, or if the
    provider cannot reach us, or tells the maker of the batch.
    """
    work, tools = session.work, session.tools
    is_ours = session.row.scheduled_for is not None or not session.is_given
    if tools.webhook_base is None or not is_ours:
        return []
    if await run_transaction(
        work, lambda conn: webhooks.is_announced(conn, PROVIDER, session.id, result_set_id)
    ):
        return []
    now = work.clock.now()
    if session.row.unannounced_at is None:
        await session.note(unannounced_at=now)
    since = session.row.unannounced_at or now
    late_at = since + timedelta(seconds=tools.webhook_wait_seconds)
    if now < late_at:
        work.check_again(late_at)
        return None
    about = {"result_set_id": result_set_id}
    late: RunEvent = ("batch.webhook_late", about | {"waited_seconds": tools.webhook_wait_seconds})
    try:
        await session.call_once(tools.scaleserp.resend_webhook(session.id, result_set_id))
    except (CallRefused, ProviderError):
        # The results are there. Only the announcement is missing.
        return [late]
    return [late, ("batch.resend_requested", about)]
