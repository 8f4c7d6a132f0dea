"""The entry point of all requests: describe, apply faults and limits, log, answer."""

import asyncio
from collections.abc import Mapping
from math import ceil
from typing import Any
from urllib.parse import parse_qsl

from serpline.core.clock import Clock
from serpline.simulator.charsets import odd_charset
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.control import Control
from serpline.simulator.delivery import Connection, Receive, Send, deliver
from serpline.simulator.echo import echo_request
from serpline.simulator.faults import FaultPlan, Rule
from serpline.simulator.hostile import hostile
from serpline.simulator.journal import CallEntry, CallLog
from serpline.simulator.limits import Limits
from serpline.simulator.routes import DOWNLOAD
from serpline.simulator.scaleserp.api import storage_error
from serpline.simulator.walls import wall_of
from serpline.simulator.wire import Operation, Provider, Reply, Request
from serpline.simulator.wrapping import wrapped

BODY_BYTES_MAX = 64_000_000
_NOT_FOUND = Reply(404, b'{"error": "no such provider"}', {"content-type": "application/json"})
_TOO_LARGE = Reply(413, b'{"error": "body too large"}', {"content-type": "application/json"})
_CRASHED = b'{"error": "the simulator itself failed"}'
# Faults that end the connection before any status is sent.
_NO_STATUS = frozenset({"hung", "cut", "endless_headers"})


class Gateway:
    """The ASGI applications: all providers on one port, ``pages`` on the TLS port."""

    def __init__(
        self,
        config: SimulatorConfig,
        providers: Mapping[str, Provider],
        pages: Provider,
        log: CallLog,
        faults: FaultPlan,
        control: Control,
    ) -> None:
        self._config = config
        self._clock: Clock = config.clock
        self._providers = providers
        self._pages = pages
        self._log = log
        self._faults = faults
        self._control = control
        self._limits = Limits(config, config.clock)
        self._active: set[asyncio.Task[Any]] = set()
        self.closing = asyncio.Event()
        self.crashes: list[str] = []

    async def api(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve the providers' port: the first path segment names the provider."""
        await self._guarded(scope, receive, send, mounted=True)

    async def web(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve the TLS port: every host of the market."""
        await self._guarded(scope, receive, send, mounted=False)

    def close(self) -> None:
        """Abort every active request and its connection."""
        self.closing.set()
        for task in self._active:
            task.cancel()

    async def _guarded(self, scope: Any, receive: Receive, send: Send, *, mounted: bool) -> None:
        transport = scope["state"]["transport"]
        connection = Connection(receive, send, transport, self.closing, scope["method"] == "HEAD")
        task = asyncio.current_task()
        assert task is not None
        self._active.add(task)
        try:
            await self._route(await _read(scope, receive, mounted=mounted), connection, mounted)
        except asyncio.CancelledError:
            if not self.closing.is_set():
                raise
            transport.abort()
        finally:
            self._active.discard(task)

    async def _route(
        self, read: tuple[str, Request] | None, connection: Connection, mounted: bool
    ) -> None:
        if read is None:
            return await deliver(connection, _TOO_LARGE, None, self._clock, 0, "")
        mount, request = read
        if mount == "_sim":
            reply = await self._control.handle(request)
            return await deliver(connection, reply, None, self._clock, 0, "")
        provider = self._providers.get(mount) if mounted else self._pages
        if provider is None:
            return await deliver(connection, _NOT_FOUND, None, self._clock, 0, "")
        return await self._serve(provider, request, connection)

    async def _serve(self, provider: Provider, request: Request, connection: Connection) -> None:
        operation = provider.describe(request)
        # Result files belong to ScaleSERP, on either port.
        name = "scaleserp" if operation.name == DOWNLOAD else provider.name
        at, attempt = self._log.record_arrival(name, operation.identity)
        context = {**operation.params, **operation.match}
        rule = self._faults.call(name, operation.name, context, operation.identity, attempt)
        reply = await self._answer(provider, name, request, operation, rule)
        broken = rule is not None and rule.fault in _NO_STATUS
        status = 0 if broken else 200 if rule and rule.fault == "malformed" else reply.status
        self._log.append(
            CallEntry(
                seq=len(self._log) + 1,
                at=at,
                provider=name,
                operation=operation.name,
                params=operation.params,
                identity=operation.identity,
                attempt=attempt,
                status=status,
                credits=reply.credits,
                fault=rule.fault if rule else None,
            )
        )
        latency = self._config.latency_seconds.get(name, 0.0)
        if latency:
            await self._clock.sleep(latency)
        await deliver(connection, reply, rule, self._clock, self._config.seed, operation.identity)

    async def _answer(
        self,
        provider: Provider,
        name: str,
        request: Request,
        operation: Operation,
        rule: Rule | None,
    ) -> Reply:
        """The provider's answer, or that of a fault or a limit."""
        if rule is not None and not rule.works:
            if rule.fault == "expired_links":
                return storage_error(403, "AccessDenied")
            if not rule.fault.isdigit():
                return Reply(200, b"{}", {"content-type": "application/json"})
            return _failure(provider, request, rule)
        wait_seconds = self._limits.take(name, operation.name)
        if wait_seconds is not None:
            return provider.failure(429, retry_after=max(1, ceil(wait_seconds)))
        if rule is not None and rule.late_seconds:
            # A queued request: carried out late, even if the client has given up.
            await self._clock.sleep(rule.late_seconds)
        try:
            reply = await provider.handle(request, operation)
        except Exception as error:  # noqa: BLE001  a bug here must not look like a fault
            self.crashes.append(f"{name}/{operation.name}: {error!r}")
            return Reply(599, _CRASHED, {"content-type": "application/json"})
        if rule is not None and rule.fault.isdigit():
            # Done and charged, but answered with an error: the worst case for the payer.
            failed = _failure(provider, request, rule)
            failed.credits = reply.credits
            return failed
        if rule is not None and rule.fault == "hostile_text":
            return hostile(reply, name, self._config.seed, operation.identity)
        if rule is not None and rule.fault == "wrapped_links":
            return wrapped(reply, self._config.seed)
        if rule is not None and rule.fault == "wall":
            return wall_of(rule.which, self._config.seed, operation.identity)
        if rule is not None and rule.fault == "odd_charset":
            return odd_charset(reply, rule.which, self._config.seed, operation.identity)
        return reply


def _failure(provider: Provider, request: Request, rule: Rule) -> Reply:
    failed = provider.failure(int(rule.fault), retry_after=rule.retry_after)
    return echo_request(failed, request) if rule.echo else failed


async def _read(scope: Any, receive: Receive, *, mounted: bool) -> tuple[str, Request] | None:
    """Read the mount and the request below it; None if the body exceeds 64 MB."""
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= BODY_BYTES_MAX:
            parts.append(part)
        if not message.get("more_body", False):
            break
    if size > BODY_BYTES_MAX:
        return None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    mount = ""
    if mounted:
        mount, _, path = path.lstrip("/").partition("/")
        path = f"/{path}"
    return mount, Request(
        method=scope["method"],
        host=headers.get("host", "").split(":", 1)[0].lower(),
        path=path,
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers=headers,
        body=b"".join(parts),
    )
