"""Calls to the language model, in the dialect that its server accepts.

A server's dialect is reference data. The first chunk negotiates it with its first call; chunks of
all workers wait and reuse it. It expires after ``RECHECK_HOURS``, because servers are updated.
Promise: a call that fails because of the dialect is repeated in another one and uses no attempt of
the item; an answer that fits the schema is paid for once. Limit: the negotiating chunk makes one
call at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeVar

from serpline.core.logging import get
from serpline.domain.errors import CallRefused
from serpline.domain.http import ProviderCall
from serpline.phases.base import Work
from serpline.phases.freshness import run_scope
from serpline.phases.tools import (
    CLAIM_CHECK_SECONDS,
    Tools,
    claim_missing,
    store_payloads,
)
from serpline.providers.llm.client import LlmClient
from serpline.providers.llm.dialect import FIRST, Dialect, DialectError

T = TypeVar("T")

KIND = "llm_dialect"
RECHECK_HOURS = 24
_KEY_CHARACTERS_MAX = 2_000

log = get(__name__)


class ModelCalls:
    """The model's calls of one chunk."""

    def __init__(self, tools: Tools, work: Work, client: LlmClient) -> None:
        self._tools = tools
        self._work = work
        self._client = client
        self._key = f"{client.server} {client.model}"[:_KEY_CHARACTERS_MAX]
        self._has_dialect = False
        self._negotiating = asyncio.Lock()

    async def buy(
        self,
        kind: str,
        payloads: Callable[[T], Mapping[str, Any]],
        build: Callable[[LlmClient], ProviderCall[T]],
    ) -> Mapping[str, Any]:
        """Make the call that ``build`` returns for a client; see ``Tools.buy``."""

        async def ask(client: LlmClient) -> Mapping[str, Any]:
            return await self._tools.buy(
                self._work, build(client), kind, payloads, freshness=run_scope(self._work)
            )

        return await self._call(ask)

    async def _call(self, ask: Callable[[LlmClient], Awaitable[T]]) -> T:
        """Call in the server's dialect; negotiate it first if it is unknown."""
        if not self._has_dialect:
            async with self._negotiating:
                if not self._has_dialect:
                    await self._load_dialect()
                if not self._has_dialect:
                    return await self._negotiate(ask, FIRST)
        used = self._client.dialect
        try:
            return await ask(self._client.with_dialect(used))
        except DialectError as error:
            if not error.certain:
                raise
            instead = error.instead
        # The server accepts another dialect now.
        async with self._negotiating:
            if self._client.dialect != used:
                instead = self._client.dialect
            return await self._negotiate(ask, instead)

    async def _load_dialect(self) -> None:
        """Load the stored dialect or claim its negotiation. Raises ``CallRefused`` if claimed."""
        now = self._work.clock.now()
        since = now - timedelta(hours=RECHECK_HOURS)
        claims = await claim_missing(self._work, KIND, [self._key], since=since)
        if claims.in_flight_elsewhere:
            again = now + timedelta(seconds=CLAIM_CHECK_SECONDS)
            raise CallRefused("another chunk is negotiating with the model's server", until=again)
        if self._key in claims.fresh:
            self._use(_dialect(claims.fresh[self._key] or {}))

    async def _negotiate(self, ask: Callable[[LlmClient], Awaitable[T]], dialect: Dialect) -> T:
        """Try one dialect after another; store the first that works."""
        tried: set[Dialect] = set()
        while True:
            tried.add(dialect)
            try:
                answer = await ask(self._client.with_dialect(dialect))
            except DialectError as error:
                if error.instead in tried:
                    raise
                log.info("other dialect", action="llm.dialect", reason=str(error))
                dialect = error.instead
                continue
            if not self._has_dialect or dialect != self._client.dialect:
                await store_payloads(self._work, KIND, {self._key: asdict(dialect)})
                self._use(dialect)
            return answer

    def _use(self, dialect: Dialect) -> None:
        self._client = self._client.with_dialect(dialect)
        self._has_dialect = True


def _dialect(stored: Mapping[str, Any]) -> Dialect:
    """The stored dialect; ``FIRST`` if another release stored a different form."""
    try:
        return Dialect(**stored)
    except TypeError:
        return FIRST
