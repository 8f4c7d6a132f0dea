"""What a failed or refused call means for a ScaleSERP batch: ``domain/repair`` decides, this acts.

A batch that may have been paid for is given up only when it can bring nothing more.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.outcomes import Outcome, Reject
from serpline.domain.repair import FailureAction, after_failure, history, is_started
from serpline.domain.retry import cap_retry_after
from serpline.domain.states import BatchStatus
from serpline.phases.serp.batch_session import ERROR_CHARS_MAX, BatchSession, Step
from serpline.providers.scaleserp.errors import PROVIDER, is_gone
from serpline.robustness.budget import BudgetSpent
from serpline.store.runs.searches import Search

POLL_SECONDS_MAX = 300.0
# Credits come back when a person buys some, or with the next month.
QUOTA_POLLS = 10


class BatchOverError(ProviderError):
    """The batch will never bring anything."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"scaleserp: {why}", provider=PROVIDER, category=ErrorCategory.TIMEOUT, permanent=True
        )


class BatchRepair:
    """Waits, polls again, ends the batch or gives up. ``waiting``: searches that wait behind it."""

    def __init__(self, session: BatchSession, waiting: Sequence[Search]) -> None:
        self._session = session
        self._client = session.tools.scaleserp
        self._waiting = waiting

    async def handle_failure(self, error: ProviderError) -> AsyncGenerator[Step, None]:
        """A call failed. Yields outcomes for searches that this ends."""
        try:
            action = await self._action(error)
        except CallRefused as refused:
            async for step in self.handle_refusal(refused):
                yield step
            return
        except ProviderError as other:
            # What became of the batch has to be found out first.
            error, action = other, FailureAction.POLL_AGAIN
        session, poll = self._session, self._session.tools.batch_poll_seconds
        match action:
            case FailureAction.WAIT:
                polls = QUOTA_POLLS if error.category is ErrorCategory.QUOTA else 1
                wait = max(polls * poll, cap_retry_after(error.retry_after_seconds))
                await session.record_failure(error, wait, counts=False)
            case FailureAction.POLL_AGAIN:
                wait = min(poll * 2.0 ** min(session.row.errors, 10), POLL_SECONDS_MAX)
                wait = max(wait, cap_retry_after(error.retry_after_seconds))
                await session.record_failure(error, wait, counts=True)
            case FailureAction.GIVE_UP:
                await session.note(errors=0, error_message=str(error)[:ERROR_CHARS_MAX])

                def failed(search: Search, error: ProviderError = error) -> Outcome:
                    told = history(search.error, f"{session.label}: {error}")
                    return Reject(search.item, error.category, told)

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
        """The guard refused a call: wait, or give up if the run's own budget is spent."""
        session, retries = self._session, self._session.work.retries
        if not refused.permanent:
            wait = retries.wait("", refused)
            if isinstance(refused, BudgetSpent):
                await session.record_wait(refused.reason)
            session.work.check_again(wait.until or session.work.clock.now(), wait.waits_on)
            return
        await session.note(error_message=refused.reason[:ERROR_CHARS_MAX])
        async for step in self._give_up(lambda search: retries.outcome_for(search.item, refused)):
            yield step

    async def _give_up(self, outcome_of: Callable[[Search], Outcome]) -> AsyncGenerator[Step, None]:
        """Nothing can be done until a person acts: what is left ends now, and what waits behind."""
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
        """Whether the batch is not listed either: one 404 alone would cost what was paid."""
        found = await self._session.call(self._client.find_batch_by_name(self._session.row.name))
        return found is None or found.id != self._session.id

    async def _discard(self) -> bool:
        """See to it that a batch costs nothing more; False if it has something to bring yet."""
        session, status = self._session, self._session.row.status
        if status is BatchStatus.RUNNING:
            batch = await session.fetch()
            if not batch.is_idle:
                await session.call(self._client.stop(session.id))
            if await session.find_result(await session.fetch()):
                return False
            if batch.is_queued:
                await session.void_start(is_refunded=True)  # as one stopped in the queue is
        elif status is BatchStatus.STARTING:
            if session.has_started(await session.fetch()):
                await session.advance("started")
                return False
            await session.call(self._client.delete_batch(session.id))
            await session.void_start()
        elif not is_started(status) and session.row.provider_batch_id is not None:
            # It cannot cost anything; the provider forgets it in two months.
            with suppress(ProviderError, CallRefused):
                await session.call(self._client.delete_batch(session.id))
        return True
