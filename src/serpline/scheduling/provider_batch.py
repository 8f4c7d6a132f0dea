"""Bring one scheduled batch at the provider to the state that its schedule wants.

Level-triggered: the wanted state is in the row, the other one is read from the provider, and each
step can be repeated. A batch is looked up by its name before it is made. It is disabled while its
searches are replaced, so it never runs half filled. An unanswered create or add may still take
effect, so nothing follows it before it no longer can.

The vendor deletes a batch that has not run for two months (docs.trajectdata.com/scaleserp, "Batches
API"). One that comes near is replaced, which costs nothing; a start would be charged.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from serpline.core.clock import Clock
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import ProviderCall
from serpline.domain.names import BatchPriority
from serpline.providers.scaleserp.batches import Batch, ResultSet
from serpline.providers.scaleserp.calendar import Calendar, calendar
from serpline.providers.scaleserp.client import SEARCHES_PER_ADD_MAX, ScaleSerpClient
from serpline.providers.scaleserp.errors import PROVIDER, is_gone
from serpline.scheduling.provider_wanted import Part
from serpline.store.schedules.provider import ProviderRow

T = TypeVar("T")

# The vendor keeps a batch for two months without a run.
RENEWED_AFTER = timedelta(days=50)
# Searches are not replaced so shortly before a start, which the batch would miss.
QUIET = timedelta(minutes=5)
IN_USE_SECONDS = 60.0


class Session(Protocol):
    """An owned row: its guarded calls and fenced writes."""

    row: ProviderRow
    clock: Clock
    client: ScaleSerpClient
    webhook_base: str | None
    call_seconds: float
    poll_seconds: float

    async def call(self, call: ProviderCall[T]) -> T:
        """Make a guarded call."""

    async def note(
        self, event: str | None = None, detail: Mapping[str, Any] | None = None, **values: Any
    ) -> None:
        """Set columns, and append an event in the same transaction."""

    async def charge(self, batch: Batch, found: ResultSet) -> None:
        """Write a start of the batch to the ledger, unless it is there."""

    async def forget(self) -> bool:
        """Delete the row, with an event; False if the batch is wanted again."""

    async def searches(self) -> Part | None:
        """The searches of the batch now; None if it has none any more."""

    async def is_in_use(self) -> bool:
        """Whether a run in progress needs the batch."""


class WaitFor(Exception):  # noqa: N818  a wait, not an error
    """Nothing can be done before ``seconds`` have passed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class BatchReconciler:
    """One pass over one batch. ``next_start``: when its calendar starts it next."""

    def __init__(self, session: Session, next_start: datetime | None) -> None:
        self._session = session
        self._next_start = next_start

    async def reconcile(self) -> None:
        """Do what is missing. Raises ``WaitFor`` if it has to be continued later."""
        self._wait_for_unanswered()
        wanted = self._session.row.wanted
        batch = await self._find()
        if wanted is None:
            await self._remove(batch)
            return
        if batch is None:
            batch = await self._create(wanted)
        self._wait_while_busy(batch)
        if self._is_near_expiry(batch):
            batch = await self._renew(batch, wanted)
        if self._session.row.filled != wanted["searches"] or (
            batch.searches_total_count != wanted["count"]
        ):
            batch = await self._fill(batch)
        await self._set(batch, wanted)
        await self._charge_starts(batch)

    def _wait_for_unanswered(self) -> None:
        session = self._session
        if session.row.sent_at is None:
            return
        now = session.clock.now()
        over_at = min(session.row.sent_at, now) + timedelta(seconds=1.2 * session.call_seconds + 1)
        if now < over_at:
            raise WaitFor((over_at - now).total_seconds())

    def _wait_while_busy(self, batch: Batch) -> None:
        if not batch.is_idle:
            raise WaitFor(self._session.poll_seconds)

    async def _find(self) -> Batch | None:
        """The batch by its id, else by its name; None if the provider has none."""
        session = self._session
        known = session.row.provider_batch_id
        if known is not None:
            try:
                return await session.call(session.client.get_batch(known))
            except ProviderError as error:
                if not is_gone(error):
                    raise
        found = await session.call(session.client.find_batch_by_name(session.row.name))
        if found is not None:
            await session.note(provider_batch_id=found.id, filled=None, sent_at=None)
        elif known is not None:
            await session.note("batch.gone", provider_batch_id=None, filled=None, sent_at=None)
        return found

    async def _charge_starts(self, batch: Batch) -> None:
        """Write new starts to the ledger, with a run or without: last, to delay no pause."""
        session, seen = self._session, self._session.row.seen or {}
        newest = [batch.next_result_set_id, batch.last_run]
        if not batch.is_idle or not batch.results_count or seen.get("charged") == newest:
            return
        for found in await session.call(session.client.results(batch.id)):
            await session.charge(batch, found)
        await session.note(seen={**seen, "charged": newest})

    async def _create(self, wanted: Mapping[str, Any]) -> Batch:
        session = self._session
        made = await self._send(
            session.client.create_scheduled_batch(
                session.row.name,
                wanted["searches_type"],
                _calendar(wanted),
                notification_webhook=self._webhook(),
                priority=BatchPriority(wanted["priority"]),
            )
        )
        await session.note("batch.scheduled", provider_batch_id=made.id, filled=None, sent_at=None)
        return made

    async def _fill(self, batch: Batch) -> Batch:
        """Replace all searches of the batch."""
        session = self._session
        if self._is_quiet(batch):
            raise WaitFor(QUIET.total_seconds())
        part = await session.searches()
        if part is None:
            raise WaitFor(0.0)
        if batch.enabled:
            await self._schedule(batch, enabled=False)
        await session.note(filled=None)
        if batch.searches_total_count:
            await session.call(session.client.clear_searches(batch.id))
        for start in range(0, len(part.searches), SEARCHES_PER_ADD_MAX):
            page = part.searches[start : start + SEARCHES_PER_ADD_MAX]
            await self._send(session.client.add_searches(batch.id, page))
        held = await session.call(session.client.get_batch(batch.id))
        if held.searches_total_count != len(part.searches):
            raise ProviderError(
                f"scaleserp: the batch holds {held.searches_total_count} searches, not"
                f" {len(part.searches)}",
                provider=PROVIDER,
                category=ErrorCategory.MALFORMED,
            )
        await session.note(filled=part.digest, sent_at=None)
        return held

    async def _set(self, batch: Batch, wanted: Mapping[str, Any]) -> None:
        """Enable the batch by its calendar, or disable it, if it differs."""
        session = self._session
        expected = (wanted["enabled"], _calendar(wanted), wanted["priority"])
        seen = session.row.seen or {}
        webhook = self._webhook()
        if (batch.enabled, batch.calendar, batch.priority) != expected or (
            webhook is not None and seen.get("webhook_base") != session.webhook_base
        ):
            batch = await session.call(
                session.client.set_schedule(
                    batch.id,
                    _calendar(wanted),
                    enabled=wanted["enabled"],
                    notification_webhook=webhook,
                    priority=BatchPriority(wanted["priority"]),
                )
            )
            await session.note("batch.rescheduled", seen=self._seen(batch))
        held_by = wanted.get("held_by")
        is_new = held_by is not None and seen.get("held_by") != held_by
        await session.note(
            "batch.held_back" if is_new else None,
            {"budget": held_by, "credits": wanted["credits"]} if is_new else None,
            seen={**self._seen(batch), "held_by": held_by},
            seen_at=session.clock.now(),
            errors=0,
            error_message=None,
        )

    async def _remove(self, batch: Batch | None) -> None:
        """Disable the batch at once; delete it when no run needs its results."""
        session = self._session
        if batch is not None:
            if batch.enabled and batch.calendar is not None:
                self._wait_while_busy(batch)
                await self._schedule(batch, enabled=False)
            if await session.is_in_use():
                raise WaitFor(IN_USE_SECONDS)
            self._wait_while_busy(batch)
            await self._charge_starts(batch)
            await self._delete(batch)
        if not await session.forget():
            raise WaitFor(0.0)

    async def _renew(self, batch: Batch, wanted: Mapping[str, Any]) -> Batch:
        session = self._session
        await self._delete(batch)
        await session.note("batch.renewed", provider_batch_id=None, filled=None)
        return await self._create(wanted)

    async def _delete(self, batch: Batch) -> None:
        try:
            await self._session.call(self._session.client.delete_batch(batch.id))
        except ProviderError as error:
            if not is_gone(error):
                raise

    async def _schedule(self, batch: Batch, *, enabled: bool) -> None:
        session = self._session
        assert batch.calendar is not None or session.row.wanted is not None
        own = batch.calendar or _calendar(session.row.wanted or {})
        await session.call(session.client.set_schedule(batch.id, own, enabled=enabled))

    async def _send(self, call: ProviderCall[Batch]) -> Batch:
        """Send a create or an add, which must not take effect twice; its time is stored first."""
        await self._session.note(sent_at=self._session.clock.now())
        try:
            return await self._session.call(call)
        except ProviderError as error:
            if error.http_status is not None:
                await self._session.note(sent_at=None)
            raise

    def _webhook(self) -> str | None:
        base = self._session.webhook_base
        return f"{base}/webhooks/scaleserp/{self._session.row.secret_path}" if base else None

    def _seen(self, batch: Batch) -> dict[str, Any]:
        return {
            "enabled": batch.enabled,
            "calendar": batch.calendar.fields() if batch.calendar else None,
            "searches": batch.searches_total_count,
            "priority": batch.priority,
            "last_run": batch.last_run,
            "webhook_base": self._session.webhook_base,
            "charged": (self._session.row.seen or {}).get("charged"),
        }

    def _is_near_expiry(self, batch: Batch) -> bool:
        try:
            active_at = datetime.fromisoformat(batch.last_run or batch.created_at or "")
        except ValueError:
            return False
        return (
            active_at.tzinfo is not None and self._session.clock.now() > active_at + RENEWED_AFTER
        )

    def _is_quiet(self, batch: Batch) -> bool:
        """Whether a start is so near that the batch keeps the searches that it has."""
        if not batch.enabled or not batch.searches_total_count or self._next_start is None:
            return False
        return self._session.clock.now() > self._next_start - QUIET


def _calendar(wanted: Mapping[str, Any]) -> Calendar:
    found = calendar(wanted["calendar"])
    assert found is not None
    return found


def bounded(call: ProviderCall[T], seconds: float) -> ProviderCall[T]:
    """The call with a deadline of at most ``seconds``."""
    seconds = min(call.request.timeout_seconds, seconds)
    return replace(call, request=replace(call.request, timeout_seconds=seconds))
