"""Completion webhooks: unsigned POSTs with a timeout of 5 s and at most five retries.

Faults can repeat, drop, delay, reorder or forge them.
"""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx2

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.faults import FaultPlan, Rule
from serpline.simulator.journal import iso
from serpline.simulator.routes import WEBHOOK
from serpline.simulator.scaleserp.batches import Batch, ResultSet
from serpline.simulator.scaleserp.files import Files
from serpline.simulator.seeds import hex_id

_LATE_SECONDS = 5.0
LOG_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempted POST. ``status`` 0: no answer. ``honest``: not forged by a fault."""

    at: str
    batch_id: str
    result_set_id: int
    url: str
    attempt: int
    status: int
    honest: bool


class Webhooks:
    """Sends the webhooks of batches, each in its own task."""

    def __init__(self, config: SimulatorConfig, faults: FaultPlan, files: Files) -> None:
        self._config = config
        self._faults = faults
        self._files = files
        self._client: httpx2.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: asyncio.Event | None = None
        self._decided: dict[str, Rule | None] = {}
        self.deliveries: list[Delivery] = []

    def running(self, batch: Batch) -> None:
        """Handle a batch's start: send an early webhook, if a fault asks for one."""
        if not batch.fields.get("notification_webhook"):
            return
        # Decide once per run: every query counts against a rule's limits.
        rule = self._decided[batch.id] = self._rule(batch, batch.next_result_set_id)
        if rule is not None and rule.fault == "webhook_early":
            now = self._config.clock.now()
            early = ResultSet(batch.next_result_set_id, now.date(), now, now, [])
            early.searches.extend(({**s, "id": i}, "ok") for i, s in batch.searches.items())
            self._spawn(self._deliver(batch, early, self._payload(batch, early)))

    def finished(self, batch: Batch, result_set: ResultSet) -> None:
        """Handle a new result set: send its webhook, subject to the rule."""
        if not batch.fields.get("notification_webhook"):
            result_set.webhook_status = "none"
            return
        self._spawn(self._send(batch, result_set, self._decided.pop(batch.id)))

    def resend(self, batch: Batch, result_set: ResultSet) -> None:
        """Send again, on the API's request. No fault applies."""
        self._spawn(self._deliver(batch, result_set, self._payload(batch, result_set)))

    async def idle(self) -> None:
        """Wait until no webhook is being sent."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Stop sending."""
        for task in self._tasks:
            task.cancel()
        await self.idle()
        if self._client is not None:
            await self._client.aclose()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _rule(self, batch: Batch, result_set_id: int) -> Rule | None:
        context = {
            "batch_id": batch.id,
            "batch_name": batch.name,
            "searches_type": batch.fields.get("searches_type", "mixed"),
        }
        identity = f"{batch.id} {result_set_id}"
        return self._faults.call("scaleserp", WEBHOOK, context, identity, 1)

    async def _send(self, batch: Batch, result_set: ResultSet, rule: Rule | None) -> None:
        fault = rule.fault if rule else "webhook_1"
        payload = self._payload(batch, result_set)
        seconds = _LATE_SECONDS if rule is None or rule.seconds is None else rule.seconds
        if fault in ("webhook_0", "webhook_early"):
            return
        if fault == "webhook_late":
            await self._config.clock.sleep(seconds)
        elif fault == "webhook_out_of_order":
            await self._wait_for_next(seconds)
        elif fault == "webhook_forged":
            await self._try(batch, result_set, _url(batch), _forged(payload), honest=False)
        elif fault == "webhook_forged_path":
            # Only the address is wrong: its path is known to the vendor and the receiver alone.
            guessed = hex_id(32, self._config.seed, "forged path", batch.id)
            stray = urljoin(_url(batch), guessed)
            await self._try(batch, result_set, stray, payload, honest=False)
        times = int(fault[-1]) if fault[-1].isdigit() else 1
        for _ in range(times):
            await self._deliver(batch, result_set, payload)
        if self._held is not None and fault != "webhook_out_of_order":
            self._held.set()

    async def _wait_for_next(self, seconds: float) -> None:
        """Wait until the next webhook was sent, or ``seconds`` passed without one."""
        self._held = self._held if self._held and not self._held.is_set() else asyncio.Event()
        waiting = asyncio.ensure_future(self._held.wait())
        timer = asyncio.ensure_future(self._config.clock.sleep(seconds))
        try:
            await asyncio.wait((waiting, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            timer.cancel()

    async def _deliver(self, batch: Batch, result_set: ResultSet, payload: Any) -> None:
        timing, url = self._config.timing, _url(batch)
        if not url:
            return
        for attempt in range(1, timing.webhook_retries_max + 2):
            status = await self._try(batch, result_set, url, payload, attempt)
            text = f"Webhook attempt {attempt}: {status or 'no answer'}"
            at = iso(self._config.clock.now())
            result_set.webhook_log.append({"date_time": at, "text": text})
            if 200 <= status < 300:
                result_set.webhook_status = "sent"
                return
            if attempt <= timing.webhook_retries_max:
                backoff = timing.webhook_backoff_seconds * 2 ** (attempt - 1)
                await self._config.clock.sleep(backoff)
        result_set.webhook_status = "failed"

    async def _try(
        self,
        batch: Batch,
        result_set: ResultSet,
        url: str,
        payload: Any,
        attempt: int = 1,
        *,
        honest: bool = True,
    ) -> int:
        """POST once and record the delivery. Returns the status."""
        status = await self._post(url, payload)
        at = iso(self._config.clock.now())
        if len(self.deliveries) < LOG_MAX:
            self.deliveries.append(
                Delivery(at, batch.id, result_set.id, url, attempt, status, honest)
            )
        return status

    async def _post(self, url: str, payload: Any) -> int:
        seconds = self._config.timing.webhook_timeout_seconds
        if self._client is None:
            self._client = httpx2.AsyncClient(trust_env=False, follow_redirects=False)
        try:
            async with asyncio.timeout(seconds):
                reply = await self._client.post(url, json=payload, timeout=seconds)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError):
            return 0
        return reply.status_code

    def _payload(self, batch: Batch, result_set: ResultSet) -> dict[str, Any]:
        links = self._files.links
        return {
            "request_info": {"success": True, "type": "batch_resultset_completed"},
            "batch": {"id": batch.id, "name": batch.name},
            "result_set": {
                "id": result_set.id,
                "started_at": iso(result_set.started_at),
                "ended_at": iso(result_set.ended_at),
                "searches_completed": len(result_set.searches) - result_set.count("failed"),
                "searches_failed": result_set.count("failed"),
                "download_links": {
                    "json": links(batch, result_set, "json"),
                    "jsonlines": links(batch, result_set, "jsonl"),
                    "csv": links(batch, result_set, "csv"),
                },
            },
        }


def _url(batch: Batch) -> str:
    return str(batch.fields.get("notification_webhook", ""))


def _forged(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with another batch's id and a link to an internal address."""
    result_set = payload["result_set"]
    links = {"json": {"pages": ["http://169.254.169.254/latest"], "all_pages": ""}}
    return {
        **payload,
        "batch": {**payload["batch"], "id": "F0F0F0F0"},
        "result_set": {**result_set, "id": result_set["id"] + 7, "download_links": links},
    }
