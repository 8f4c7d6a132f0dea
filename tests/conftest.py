"""Fixtures shared by all tests: a real PostgreSQL, and a fresh migrated database per test.

One embedded server per session, in a temporary directory that only this user can enter. The
schema is migrated once, into a template; each test that asks gets a clone of it (some 50 ms).
"""

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from harness.databases import admin_connection, copied_database, make_template
from harness.environment import clean_environment
from hypothesis import settings

from serpline.store.database import Database
from serpline.store.embedded.server import EmbeddedServer, ensure_server

# What this machine sets reaches no test.
for name in os.environ.keys() - clean_environment().keys():
    del os.environ[name]

# The same examples each time.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")

# Modules and tests stay. To look for garbage among them takes a quarter of the collection's time.
gc.disable()

ID_LENGTH_MAX = 80
MEMORY = Path("/dev/shm")
MEMORY_FREE_BYTES_MIN = 4_000_000_000


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A long text is named by its length: whole, it would travel with every word about its test."""
    if isinstance(val, str | bytes) and len(val) > ID_LENGTH_MAX:
        return f"{argname} of {len(val)}"
    return None


def pytest_collection_finish() -> None:
    """From here on garbage is collected, but not among modules and tests."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def server_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where there is room: databases are cloned there several times as fast."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_FREE_BYTES_MIN:
        yield tmp_path_factory.mktemp("postgres")
        return
    for left in MEMORY.glob("serpline-tests-*-*"):
        # Of a session that was killed.
        pid = left.name.split("-")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"serpline-tests-{os.getpid()}-", dir=MEMORY))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_directory: Path) -> Iterator[EmbeddedServer]:
    """The session's server. Do not stop it: a test about restarts starts one of its own."""
    server = ensure_server(server_directory)
    try:
        with admin_connection(server) as admin:
            # A power cut is not among the faults these tests make; a killed process loses nothing.
            admin.execute("ALTER SYSTEM SET fsync = off")
            admin.execute("ALTER SYSTEM SET full_page_writes = off")
            admin.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that the test may stop, restart and change (2 s)."""
    server = ensure_server(tmp_path)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def template_database(postgres: EmbeddedServer) -> str:
    """The name of a database at the head of the migrations, to be cloned and not connected to."""
    return asyncio.run(make_template(postgres))


@pytest.fixture
def empty_database_url(postgres: EmbeddedServer) -> Iterator[str]:
    """The URL of a fresh database with nothing in it, not even our schema."""
    with copied_database(postgres, "template1") as url:
        yield url


@pytest.fixture
def database_url(postgres: EmbeddedServer, template_database: str) -> Iterator[str]:
    """The URL of a fresh, migrated database; it is dropped after the test."""
    with copied_database(postgres, template_database) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database, open."""
    database = await Database.connect(database_url)
    try:
        yield database
    finally:
        await database.close()
