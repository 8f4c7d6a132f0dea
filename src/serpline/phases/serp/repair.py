"""Act on a failed or refused call of a ScaleSERP batch, as ``domain/repair`` decides.

A batch that may have been paid for is given up only when it cannot deliver more results.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError, ReplyNotStored
from serpline.domain.outcomes import Outcome, Reject
from serpline.domain.repair import FailureAction, after_failure, history, is_started
from serpline.domain.retry import cap_retry_after
from serpline.domain.states import BatchStatus
from serpline.domain.waits import WaitCause
from serpline.phases.serp.batch_session import ERROR_CHARS_MAX, BatchSession, Step
from serpline.providers.scaleserp.errors import PROVIDER, is_gone
from serpline.robustness.budget import BudgetSpent
from serpline.store.runs.searches import Search

POLL_SECONDS_MAX = 300.0
# Credits return when a person buys some, or next month.
QUOTA_POLLS = 10


class BatchOverError(ProviderError):
    """The batch will deliver no results."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"scaleserp: {why}", provider=PROVIDER, category=ErrorCategory.TIMEOUT, permanent=True
        )


class BatchRepair:
    """Waits, polls again, ends the batch or gives up. ``waiting``: searches for a later batch."""

    def __init__(self, session: BatchSession, waiting: Sequence[Search]) -> None:
        self._session = session
        self._client = session.tools.scaleserp
        self._waiting = waiting

    async def handle_failure(self, error: ProviderError) -> AsyncGenerator[Step, None]:
        """Handle a failed call; yield outcomes for the searches that it ends."""
        try:
            action = await self._action(error)
        except CallRefused as refused:
            async for step in self.handle_refusal(refused):
                yield step
            return
        except ProviderError as other:
            # The batch's state is unknown: poll it first.
            error, action = other, FailureAction.POLL_AGAIN
        session, poll = self._session, self._session.tools.batch_poll_seconds
        match action:
            case FailureAction.WAIT:
                is_quota = error.category is ErrorCategory.QUOTA
                polls = QUOTA_POLLS if is_quota else 1
                wait = max(polls * poll, cap_retry_after(error.retry_after_seconds))
                cause = WaitCause.QUOTA if is_quota else WaitCause.INCIDENT
                await session.record_failure(error, wait, cause, counts=False)
            case FailureAction.POLL_AGAIN:
                wait = min(poll * 2.0 ** min(session.row.errors, 10), POLL_SECONDS_MAX)
                wait = max(wait, cap_retry_after(error.retry_after_seconds))
                await session.record_failure(error, wait, WaitCause.PROVIDER_QUEUE, counts=True)
            case FailureAction.GIVE_UP:
                await session.note(errors=0, error_message=str(error)[:ERROR_CHARS_MAX])

                def failed(search: Search, error: ProviderError = error) -> Outcome:
                    tried = history(search.error, f"{session.label}: {error}")
                    return Reject(search.item, error.category, tried)

                async for step in self._give_up(failed):
                    yield step
            case FailureAction.NEXT_STAGE:
                event = "ingest" if session.row.pages_ingested else "lose"
                left, why = await session.unfinished(), str(error)
                async for step in session.end(
                    event, left, error.category, why, why[:ERROR_CHARS_MAX]
                ):
                    yield step

    async def handle_refusal(self, refused: CallRefused) -> AsyncGenerator[Step, None]:
        """Handle a call that the guard refused: wait, or give up if the refusal is permanent."""
        session, retries = self._session, self._session.work.retries
        if isinstance(refused, ReplyNotStored):
            why = refused.reason
            async for step in session.end(
                "lose", await session.unfinished(), ErrorCategory.EMPTY, why, why
            ):
                yield step
            return
        if not refused.permanent:
            wait = retries.wait("", refused)
            if isinstance(refused, BudgetSpent):
                await session.record_wait(refused.reason)
            until = wait.until or session.work.clock.now()
            session.work.check_again(until, wait.waits_on, wait.wait)
            return
        await session.note(error_message=refused.reason[:ERROR_CHARS_MAX])
        async for step in self._give_up(lambda search: retries.outcome_for(search.item, refused)):
            yield step

    async def _give_up(self, outcome_of: Callable[[Search], Outcome]) -> AsyncGenerator[Step, None]:
        """End all remaining searches now: only a person can help."""
        for search in [*await self._session.unfinished(), *self._waiting]:
            yield search.item, outcome_of(search)

    async def _action(self, error: ProviderError) -> FailureAction:
        row = self._session.row
        is_over = isinstance(error, BatchOverError)
        gone = is_gone(error) and row.provider_batch_id is not None and await self._is_gone()
        action = after_failure(
            error,
            row.status,
            row.errors + 1,
            gone=gone or is_over,
            overdue=self._session.is_overdue,
        )
        if action is FailureAction.NEXT_STAGE and not gone and not await self._discard():
            return FailureAction.POLL_AGAIN
        return action

    async def _is_gone(self) -> bool:
        """Confirm a 404 by listing: giving up a batch by mistake would lose what it cost."""
        if self._session.is_given:
            return await self._is_given_set_gone()
        found = await self._session.call(self._client.find_batch_by_name(self._session.row.name))
        return found is None or found.id != self._session.id

    async def _is_given_set_gone(self) -> bool:
        session = self._session
        try:
            listed = await session.call(self._client.results(session.id))
        except ProviderError as error:
            if is_gone(error):
                return True
            raise
        wanted = session.row.result_set_id
        return wanted is not None and wanted not in {each.id for each in listed}

    async def _discard(self) -> bool:
        """Stop or delete the batch so that it costs nothing more; False if results may come."""
        if self._session.is_given:
            return True  # its maker may still need it
        session, status = self._session, self._session.row.status
        if status is BatchStatus.RUNNING:
            batch = await session.fetch()
            if not batch.is_idle:
                await session.call(self._client.stop(session.id))
            if (result_set := await session.find_result(await session.fetch())) is not None:
                await session.advance("result", result_set_id=result_set)
                return False
            if batch.is_queued:
                await session.void_start(is_refunded=True)  # a stop in the queue is refunded
        elif status is BatchStatus.STARTING:
            if session.has_started(await session.fetch()):
                await session.advance("started")
                return False
            await session.call(self._client.delete_batch(session.id))
            await session.void_start()
        elif not is_started(status) and session.row.provider_batch_id is not None:
            # It costs nothing; the provider deletes it after two months.
            with suppress(ProviderError, CallRefused):
                await session.call(self._client.delete_batch(session.id))
        return True
