"""The pool of connections of the job queue's library, which asks no more than it has to."""

from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from serpline.store.database import has_ended


def queue_pool(**given: Any) -> AsyncConnectionPool:
    """A pool as the library wants it, but for its check of every connection that it hands out.

    The library's own sends an empty statement before each of the others.
    """
    return AsyncConnectionPool(**given | {"check": _refuse_ended})


async def _refuse_ended(connection: psycopg.AsyncConnection[Any]) -> None:
    if has_ended(connection):
        await connection.close()  # only what is closed is replaced
        raise psycopg.OperationalError("the server ended it")
