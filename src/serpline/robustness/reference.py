"""Reference data bought in groups: what is known, what is mine to buy, what others are buying.

Promise: of all lanes, runs and workers that want a key, one buys it. The claim is the chunk's: it
ends with the answer, by ``release``, or with the chunk's ownership, whichever is first.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from serpline.core.clock import Clock, SystemClock
from serpline.domain.errors import LeaseLost
from serpline.robustness.guard import CallScope
from serpline.store import reference as store
from serpline.store.database import Database
from serpline.store.reference import Obtained

KEYS_MAX = 20_000


class ReferenceStore:
    """``store.reference`` in transactions of its own; use that directly to join another one."""

    def __init__(self, db: Database, clock: Clock | None = None) -> None:
        self._db = db
        self._clock = clock or SystemClock()

    async def obtain(
        self, kind: str, keys: Sequence[str], ttl_seconds: float, scope: CallScope
    ) -> Obtained:
        """Answers younger than ``ttl_seconds``; the rest is claimed for the scope's chunk, or is
        being bought elsewhere. Raises ``LeaseLost`` before it would claim for a lost chunk.
        """
        if len(keys) > KEYS_MAX:
            raise ValueError(f"{len(keys)} keys at once; at most {KEYS_MAX}")
        chunk_id, epoch = _owner(scope)
        fresh_since = self._clock.now() - timedelta(seconds=ttl_seconds)
        async with self._db.transaction() as conn:
            return await store.obtain(conn, kind, keys, fresh_since, chunk_id, epoch)

    async def store(self, kind: str, payloads: Mapping[str, Any]) -> None:
        """Keep answers (None: no match), paid for now; a lost lease does not make them wrong."""
        async with self._db.transaction() as conn:
            await store.store(conn, kind, payloads, self._clock.now())

    async def release(self, kind: str, keys: Sequence[str], scope: CallScope) -> None:
        """Give claims back unbought, so that others need not wait for the chunk to end."""
        if scope.chunk_id is None or scope.epoch is None:
            return
        async with self._db.transaction() as conn:
            await store.release(conn, kind, keys, scope.chunk_id, scope.epoch)


def _owner(scope: CallScope) -> tuple[int, int]:
    if scope.chunk_id is None or scope.epoch is None:
        raise ValueError("a claim needs the chunk that holds it")
    if not scope.lease():
        raise LeaseLost(f"chunk {scope.chunk_id} is no longer ours")
    return scope.chunk_id, scope.epoch
