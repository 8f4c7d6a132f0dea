"""A fresh, migrated database for a whole module; ``tests/conftest.py`` gives them test by test."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from serpline.store.embedded.server import EmbeddedServer

_numbers = itertools.count(1)


@contextmanager
def module_database(server: EmbeddedServer, template: str) -> Iterator[str]:
    """The URL of a clone of ``template``, dropped at the end of the block."""
    name = f"module_{next(_numbers)}"
    made = sql.Identifier(name)
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                made, sql.Identifier(template)
            )
        )
        try:
            yield server.url(name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(made))
