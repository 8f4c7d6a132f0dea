"""The call ledger of this process: looks up and records calls in groups (``admission`` intends).

Promise: when the future of ``record`` is done, the outcome, the credits and the raw reply
(compressed, secrets replaced) are durable.

Limits: outcomes wait up to ``OUTCOME_SECONDS`` for company; ``flush`` hurries them. A process
killed in between leaves its intents behind, which become ``unknown``.
"""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from uuid import UUID

from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.core.masking import StreamMask
from serpline.core.spool import READ_BYTES, Spool
from serpline.domain.errors import ERROR_CHARS_MAX
from serpline.domain.http import HttpReply
from serpline.domain.text import storable
from serpline.net.redaction import redact, redact_url
from serpline.robustness.groups import GroupCommitter
from serpline.store.calls import ledger
from serpline.store.calls.ledger import CallOutcome, StoredReply
from serpline.store.database import Database
from serpline.store.tables.guards import CallStatus

OUTCOME_SECONDS = 0.25
# So much is packed in about a millisecond; more would keep the other tasks waiting.
PACKED_AT_ONCE_BYTES = 64 * 1024
# A chunkless intent has no owner whose death would show: after this time its caller is gone.
ORPHAN_SECONDS = 900.0
# So much is kept of a reply that is an error: for people, since it is not read again.
FAILED_BYTES_KEPT = 5_000_000
_OUTCOME_PATIENCE_SECONDS = 600.0
_COMPRESSION = 3
_HEADERS_KEPT = ("content-type", "date", "etag", "retry-after", "x-ratelimit-", "x-call-credits-")

_log = get("robustness")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended, as the guard knows it; ``reply`` is raw, with the request's secrets."""

    outcome: CallOutcome
    reply: HttpReply | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)


class Ledger:
    """Group committers over ``store.calls.ledger``."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._look_ups: GroupCommitter[bytes, tuple[datetime, StoredReply] | None] = GroupCommitter(
            self._find
        )
        self._withdrawals: GroupCommitter[UUID, None] = GroupCommitter(
            self._withdraw, patience_seconds=_OUTCOME_PATIENCE_SECONDS, keep=True
        )
        self._endings: GroupCommitter[Ending, bool] = GroupCommitter(
            self._record,
            delay_seconds=OUTCOME_SECONDS,
            patience_seconds=_OUTCOME_PATIENCE_SECONDS,
            keep=True,
        )

    async def find(self, key: bytes, *, large: bool = False) -> tuple[datetime, HttpReply] | None:
        """The latest usable reply under ``key`` and when it came, or None.

        With ``large`` its body is on disk, unless it is quite small.
        """
        found = await self._look_ups.put(key)
        if found is None:
            return None
        came_at, stored = found
        if stored.size_bytes <= PACKED_AT_ONCE_BYTES:
            return came_at, unpack(stored)
        return came_at, await asyncio.to_thread(unpack, stored, large=large)

    def withdraw(self, call_id: UUID) -> asyncio.Future[None]:
        """The intended call was never sent: forget it, and free its credits."""
        return self._withdrawals.put(call_id)

    def record(self, ending: Ending) -> asyncio.Future[bool]:
        """Make a call's end durable; True unless the call had its outcome already."""
        recorded = self._endings.put(ending)
        recorded.add_done_callback(partial(_tell_loss, ending.outcome.id))
        return recorded

    async def flush(self) -> None:
        """Wait until every outcome and withdrawal handed over so far is durable or given up.

        Given up is what the database did not take for ten minutes, or takes never; that is logged,
        and becomes ``unknown``.
        """
        await self._withdrawals.flush()
        await self._endings.flush()

    async def _find(self, keys: Sequence[bytes]) -> list[tuple[datetime, StoredReply] | None]:
        async with self._db.statement() as conn:
            found = await ledger.find_replies(conn, keys)
        return [found.get(key) for key in keys]

    async def _withdraw(self, ids: Sequence[UUID]) -> list[None]:
        async with self._db.statement() as conn:
            await ledger.withdraw(conn, ids)
        return [None] * len(ids)

    async def _record(self, endings: Sequence[Ending]) -> list[bool]:
        size = sum(ending.reply.size_bytes for ending in endings if ending.reply)
        if size > PACKED_AT_ONCE_BYTES:
            outcomes = await asyncio.to_thread(lambda: [_packed(ending) for ending in endings])
        else:
            outcomes = [_packed(ending) for ending in endings]
        async with self._db.statement() as conn:
            settled = await ledger.settle_calls(conn, outcomes)
        return [outcome.id in settled for outcome in outcomes]


async def reconcile(db: Database, clock: Clock) -> int:
    """Give up the intents whose owner is gone (as ``unknown``); how many.

    That of a chunk shows by the chunk; one of no chunk is given up after ``ORPHAN_SECONDS``.
    """
    now = clock.now()
    async with db.statement() as conn:
        before = now - timedelta(seconds=ORPHAN_SECONDS)
        return await ledger.reconcile(conn, now=now, before=before)


def pack(
    reply: HttpReply, secrets: tuple[str, ...], *, size_bytes_max: int | None = None
) -> StoredReply:
    """A reply for keeping: compressed, its secrets replaced however they are spelled.

    Of its body ``size_bytes_max`` bytes are kept, more or less.
    """
    masking, packing = StreamMask(secrets), zlib.compressobj(_COMPRESSION)
    packed, size_bytes = bytearray(), 0
    pieces = iter(partial(reply.open().read, READ_BYTES), b"")
    for piece in chain(map(masking.feed, pieces), iter(masking.finish, b"")):
        size_bytes += len(piece)
        packed += packing.compress(piece)
        if size_bytes_max is not None and size_bytes >= size_bytes_max:
            break
    packed += packing.flush()
    headers = {
        name: _text(redact(value, secrets))
        for name, value in reply.headers.items()
        if name.startswith(_HEADERS_KEPT)
    }
    return StoredReply(
        http_status=reply.status,
        headers=headers,
        url=_text(redact(redact_url(reply.url), secrets)),
        body=bytes(packed),
        size_bytes=size_bytes,
    )


def unpack(stored: StoredReply, *, large: bool = False) -> HttpReply:
    """A kept reply as it came, save its secrets; ``large``: its body on disk."""
    reply = HttpReply(stored.http_status, dict(stored.headers), b"", stored.url)
    if not large:
        return replace(reply, body=zlib.decompress(stored.body))
    inflater = zlib.decompressobj()
    try:
        spool = Spool()
        for at in range(0, len(stored.body), READ_BYTES):
            data = stored.body[at : at + READ_BYTES]
            while data:
                spool.write(inflater.decompress(data, READ_BYTES))
                data = inflater.unconsumed_tail
        spool.write(inflater.flush())
        if not inflater.eof:
            raise zlib.error("a kept reply is cut")
    except OSError:  # a full disk: it has to fit into memory then, for it is paid
        return unpack(stored)
    return replace(reply, large=spool)


def _tell_loss(call_id: UUID, recorded: asyncio.Future[bool]) -> None:
    error = None if recorded.cancelled() else recorded.exception()
    if error is not None:
        _log.error(
            "outcome lost", action="outcome_lost", call=str(call_id), reason=described(error)
        )


def _packed(ending: Ending) -> CallOutcome:
    outcome = ending.outcome
    if outcome.error is not None:
        outcome = replace(outcome, error=_text(redact(outcome.error, ending.secrets)))
    if ending.reply is None:
        return outcome
    kept = FAILED_BYTES_KEPT if outcome.status is CallStatus.FAILED else None
    return replace(outcome, reply=pack(ending.reply, ending.secrets, size_bytes_max=kept))


def _text(value: str) -> str:
    """Text that PostgreSQL can store, of bounded length."""
    kept: str = storable(value)
    return kept[:ERROR_CHARS_MAX]
