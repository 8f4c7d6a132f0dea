"""Facts about backups: one snapshot, complete or absent, and restored row for row."""

import asyncio
import io
import json
import random
import resource
import shutil
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from harness.commands import run_command
from harness.databases import copied_database
from harness.every_table import WHEN, contents, fill
from harness.inline import METRICS, make_harness, open_harness
from harness.scripted import make_tables, open_gate, script
from harness.waiting import until

from serpline.cli import root
from serpline.core.clock import SystemClock
from serpline.core.ids import new_id
from serpline.domain.errors import UserError
from serpline.domain.states import RunStatus, StateStatus
from serpline.pipeline.state_tracker import StateTracker
from serpline.store import migrate as migrations
from serpline.store import projects
from serpline.store.database import Database
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.maintenance import restore as restoring
from serpline.store.maintenance.archive import ArchiveReader
from serpline.store.maintenance.backup import UNSAVED, BackupResult, backup, saved_tables
from serpline.store.maintenance.restore import restore
from serpline.store.migrate import HEAD, migrate
from serpline.store.tables import metadata


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await Database.connect(url)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def other(postgres: EmbeddedServer, template_database: str) -> AsyncIterator[Database]:
    """A second fresh, migrated database."""
    with copied_database(postgres, template_database) as url:
        async with opened(url) as database:
            yield database


async def rows(database: Database, statement: str, **values: Any) -> list[dict[str, Any]]:
    async with database.transaction() as conn:
        found = await conn.execute(sa.text(statement), values)
        return [dict(row) for row in found.mappings()] if found.returns_rows else []


async def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    async with database.transaction() as conn:
        return await contents(conn)


async def is_fresh(database: Database) -> bool:
    found = await everything(database)
    return not any(found[table.name] for table in saved_tables())


async def filled(database: Database, path: Path) -> BackupResult:
    """A backup of a database with rows in every table."""
    async with database.transaction() as conn:
        await fill(conn, {table.name for table in saved_tables()})
    return await backup(database, path, now=WHEN)


async def load(path: Path, database: Database) -> dict[str, int]:
    with ArchiveReader(path) as archive:
        return await restore(database, archive)


async def test_row_for_row(db: Database, other: Database, tmp_path: Path) -> None:
    """Every table is restored row for row, except for the ownership of work."""
    done = await filled(db, tmp_path / "one.backup")
    before = await everything(db)
    assert await load(done.path, other) == done.rows
    after = await everything(other)
    assert set(done.rows) == set(metadata.tables) - UNSAVED
    assert all(count >= 1 for count in done.rows.values())
    for name in done.rows:
        if name not in ("chunks", "workers", "queued_jobs"):
            assert after[name] == before[name], name
    owned, ready = before["chunks"]
    released = {**owned, "status": "ready", "owner": None, "epoch": owned["epoch"] + 1}
    assert {**after["chunks"][0], "next_check_at": None} == {**released, "next_check_at": None}
    assert after["chunks"][0]["next_check_at"] is not None
    assert after["chunks"][1] == ready
    left, living = before["workers"]
    assert after["workers"] == [left, {**living, "ended_at": living["heartbeat_at"]}]
    running, waiting = before["queued_jobs"]
    assert after["queued_jobs"][0]["status"] == "waiting"
    assert after["queued_jobs"][0]["epoch"] == running["epoch"] + 1
    assert after["queued_jobs"][0]["deaths"] == running["deaths"]
    assert after["queued_jobs"][1] == waiting


async def test_a_copy_of_a_copy(db: Database, other: Database, tmp_path: Path) -> None:
    """Without running work, a backup of a restored database has the same text in every table."""
    await filled(db, tmp_path / "first")
    await load(tmp_path / "first", other)
    one = await backup(other, tmp_path / "one", now=WHEN)
    for table in reversed(metadata.sorted_tables):
        if table.name not in UNSAVED:
            await rows(other, f"DELETE FROM {table.name}")
    await load(tmp_path / "one", other)
    two = await backup(other, tmp_path / "two", now=WHEN)
    sums = [{e.name: (e.rows, e.size_bytes) for e in b.manifest.tables} for b in (one, two)]
    assert sums[0] == sums[1]
    assert all(count for count, _ in sums[0].values())


async def test_identity_values_are_not_reused(
    db: Database, other: Database, tmp_path: Path
) -> None:
    """After a restore an identity continues after its last value, even that of a deleted row."""
    event = "INSERT INTO pipeline_events (event_type) VALUES ('x') RETURNING id"
    last = max([(await rows(db, event))[0]["id"] for _ in range(3)])
    await rows(db, "DELETE FROM pipeline_events WHERE id > 1")
    # By hand, and ahead of its sequence.
    await rows(db, "INSERT INTO workers (id, host, pid) VALUES (500, 'h', 1)")
    await rows(db, "INSERT INTO workers (host, pid) VALUES ('h', 2)")
    await backup(db, tmp_path / "b", now=WHEN)
    await load(tmp_path / "b", other)
    assert (await rows(other, event))[0]["id"] == last + 1
    worker = "INSERT INTO workers (host, pid) VALUES ('h', 3) RETURNING id"
    assert (await rows(other, worker))[0]["id"] == 501


async def test_one_instant(db: Database, other: Database, tmp_path: Path) -> None:
    """A backup taken while items are settled has each completed item with its result."""
    tracker = StateTracker(db, SystemClock())
    names = [f"item-{n}" for n in range(400)]
    run_id = new_id()
    await tracker.initialize_pipeline(
        pipeline_execution_id=run_id, phases=["keyword_metrics"], items=names, chunk_size=10
    )
    finished = asyncio.Event()

    async def settle(part: list[str]) -> None:
        for name in part:
            if finished.is_set():
                return
            await tracker.update_item_status(
                run_id, "keyword_metrics", name, StateStatus.COMPLETED, {"of": name}
            )

    async def settled() -> int:
        return int((await rows(db, "SELECT sum(completed) AS n FROM chunks"))[0]["n"])

    async def begun() -> bool:
        return await settled() >= 20

    settlers = [asyncio.create_task(settle(names[start::3])) for start in range(3)]
    await until(begun, "the first settlements")
    at_start = await settled()
    await backup(db, tmp_path / "b", now=WHEN)
    at_end = await settled()
    finished.set()
    await asyncio.gather(*settlers)
    await load(tmp_path / "b", other)
    completed = await rows(other, "SELECT item FROM items WHERE status = 'completed' ORDER BY item")
    results = await rows(other, "SELECT item, result FROM item_results ORDER BY item")
    assert [row["item"] for row in completed] == [row["item"] for row in results]
    assert all(row["result"] == {"of": row["item"]} for row in results)
    assert at_start <= len(results) <= at_end
    assert at_start < at_end
    counted = await rows(
        other,
        "SELECT c.no FROM chunks c JOIN items i ON i.lane_id = c.lane_id AND i.chunk_no = c.no"
        " GROUP BY c.id HAVING count(*) FILTER (WHERE i.status = 'completed') <> c.completed",
    )
    assert counted == []


async def test_a_running_run_goes_on(db: Database, other: Database, tmp_path: Path) -> None:
    """A run that was running at the backup ends in the restored database, and is paid once."""
    items = {METRICS: ["DONE-1", "DONE-2", "GATE-3", "DONE-4", "RETRY1-5"]}
    async with open_harness(db, chunk_size=2) as harness:
        run_id = await harness.start(items, lanes=[METRICS])
        first, second, *_ = await harness.plan(run_id)
        await harness.worker.work(first)
        at_work = asyncio.create_task(harness.worker.work(second))
        await harness.wait_until_attempted("GATE-3")
        await backup(db, tmp_path / "b", now=WHEN)
        await open_gate(db)
        await at_work
    await make_tables(other)
    await script(other, run_id, items)
    await open_gate(other)
    await load(tmp_path / "b", other)
    harness = make_harness(other, chunk_size=2)
    async with harness.lifeline.running():
        assert (await harness.chunk(second))["status"] == "ready"
        there = await harness.items(run_id)
        left = sorted(item for item, row in there.items() if row["status"] != "completed")
        assert {"GATE-3", "RETRY1-5"} <= set(left) <= {"DONE-4", "GATE-3", "RETRY1-5"}
        assert await harness.drive(run_id) is RunStatus.COMPLETED
        assert {row["status"] for row in (await harness.items(run_id)).values()} == {"completed"}
        # Items completed before the backup are not repeated.
        assert await harness.results(run_id) == left
        assert (await harness.lanes(run_id))[METRICS].completed == 5
        assert (await harness.chunk(second))["deaths"] == 0


async def test_an_empty_database(db: Database, empty_database_url: str, tmp_path: Path) -> None:
    """A database without our schema is migrated first; built-in markets may exist."""
    await filled(db, tmp_path / "b")
    before = await everything(db)
    async with opened(empty_database_url) as target:
        await migrate(target)
        async with target.transaction() as conn:
            await projects.ensure_builtin_markets(conn)
        await load(tmp_path / "b", target)
        assert (await everything(target))["markets"] == before["markets"]


async def test_only_a_fresh_database(db: Database, other: Database, tmp_path: Path) -> None:
    """A database with rows in our tables is refused in one line that names the table."""
    await filled(db, tmp_path / "b")
    await rows(other, "INSERT INTO landscapes (name) VALUES ('mine')")
    with pytest.raises(UserError, match="table landscapes has rows already") as refused:
        await load(tmp_path / "b", other)
    assert "\n" not in str(refused.value)
    found = await everything(other)
    assert [row["name"] for row in found["landscapes"]] == ["mine"]
    assert not any(found[t.name] for t in saved_tables() if t.name != "landscapes")


async def schema(database: Database) -> list[dict[str, Any]]:
    """Every table with its columns, including the job queue's and foreign ones."""
    columns = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = current_schema() ORDER BY 1, 2"
    )
    return await rows(database, columns)


async def test_a_foreign_database(db: Database, empty_database_url: str, tmp_path: Path) -> None:
    """A database with only foreign tables is refused, and gets none of ours."""
    await filled(db, tmp_path / "b")
    async with opened(empty_database_url) as target:
        await rows(target, "CREATE TABLE invoices (id int)")
        before = await schema(target)
        with pytest.raises(
            UserError, match="is not serpline's, it has a table invoices"
        ) as refused:
            await load(tmp_path / "b", target)
        assert "\n" not in str(refused.value)
        assert await schema(target) == before


async def test_an_older_project_named_by_mistake(
    db: Database, other: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project of an older release with rows is refused, and keeps its schema."""
    await filled(db, tmp_path / "b")
    await rows(other, "INSERT INTO landscapes (name) VALUES ('mine')")
    before = await schema(other)
    next_release(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="table landscapes has rows already"):
        await load(tmp_path / "b", other)
    assert await schema(other) == before


async def test_a_database_in_use(
    db: Database, other: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore waits for other writers for a limited time, and then raises."""
    await filled(db, tmp_path / "b")
    monkeypatch.setattr(restoring, "LOCK_WAIT_SECONDS", 1)
    async with other.transaction() as conn:
        await conn.execute(sa.text("LOCK TABLE items IN ROW EXCLUSIVE MODE"))
        with pytest.raises(UserError, match="is in use"):
            await load(tmp_path / "b", other)
    assert await is_fresh(other)


def error_of(path: Path, done: BackupResult) -> str | None:
    """The error about a file; None if it verifies with its original content."""
    try:
        with ArchiveReader(path) as archive:
            found = archive.manifest
    except UserError as error:
        return str(error)
    assert (found.tables, found.sequences) == (done.manifest.tables, done.manifest.sequences)
    return None


async def test_damage_is_found(db: Database, other: Database, tmp_path: Path) -> None:
    """A file truncated or changed anywhere is refused in one line, or has the same content."""
    done = await filled(db, tmp_path / "whole")
    whole = done.path.read_bytes()
    chance = random.Random(3)
    damaged = [whole[: chance.randrange(len(whole))] for _ in range(40)]
    for _ in range(400):
        place = chance.randrange(len(whole))
        changed = whole[place] ^ (1 << chance.randrange(8))
        damaged.append(whole[:place] + bytes([changed]) + whole[place + 1 :])
    refused = 0
    for number, data in enumerate(damaged):
        path = tmp_path / "damaged"
        path.write_bytes(data)
        said = error_of(path, done)
        assert said is not None or number >= 40, "a truncated file was accepted"
        if said is not None:
            assert said.startswith(f"{path}: not a")
            assert "\n" not in said
            refused += 1
    assert refused >= 350
    assert await is_fresh(other)


def changed(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of a backup with other parts."""
    target = path.with_name("changed")
    with zipfile.ZipFile(path) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    change(parts)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(name, data)
    return target


def manifest(**values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        found = json.loads(parts["manifest.json"])
        parts["manifest.json"] = json.dumps({**found, **values}).encode()

    return change


def longer(parts: dict[str, bytes]) -> None:
    parts["tables/landscapes.txt"] += b"more\t2026-01-01\n"


def bigger_manifest(parts: dict[str, bytes]) -> None:
    parts["manifest.json"] += b" " * (2 << 20)


FOREIGN: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "a part is missing": (lambda parts: parts.pop("tables/items.txt"), "its parts are not"),
    "a part too many": (lambda parts: parts.update({"more": b""}), "its parts are not"),
    "no manifest": (lambda parts: parts.pop("manifest.json"), "not a whole"),
    "another manifest": (lambda parts: parts.update({"manifest.json": b"{}"}), "not a backup"),
    "endless manifest": (bigger_manifest, "too long"),
    "a longer table": (longer, "landscapes is longer"),
    "another format": (manifest(format_version=2), "format_version"),
    "a table that is code": (
        manifest(tables=[{"name": 'x"; --', "columns": [], "rows": 0, "size_bytes": 0}]),
        "not a backup",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_foreign_files(name: str, db: Database, tmp_path: Path) -> None:
    """A zip that is not one of our backups is refused before any database access."""
    await filled(db, tmp_path / "b")
    change, reason = FOREIGN[name]
    path = changed(tmp_path / "b", change)
    with pytest.raises(UserError, match=reason) as refused:
        ArchiveReader(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"PK", b"id,keyword\n1,shoes\n", b"\0" * 100_000])
def test_files_that_are_no_zip(data: bytes, tmp_path: Path) -> None:
    """A file of another kind is refused in one line, and so is a missing file."""
    path = tmp_path / "file"
    with pytest.raises(UserError, match="No such file"):
        ArchiveReader(path)
    path.write_bytes(data)
    with pytest.raises(UserError, match="not a whole serpline backup"):
        ArchiveReader(path)


async def test_tables_of_another_schema(db: Database, other: Database, tmp_path: Path) -> None:
    """Tables or columns that differ from the manifest's schema are refused."""
    await filled(db, tmp_path / "b")
    with ArchiveReader(tmp_path / "b") as archive:
        tables = [entry.model_dump() for entry in archive.manifest.tables]
    index = [entry["name"] for entry in tables].index("landscapes")
    tables[index]["columns"] = ["name", "hidden"]
    path = changed(tmp_path / "b", manifest(tables=tables))
    with pytest.raises(UserError, match="table landscapes is not that of schema"):
        await load(path, other)
    assert await is_fresh(other)


async def test_a_file_that_changes_after_it_was_verified(
    db: Database, other: Database, tmp_path: Path
) -> None:
    """Loaded bytes are verified again; if they changed, the whole restore is rolled back."""
    done = await filled(db, tmp_path / "b")
    last = done.manifest.tables[-1].name
    with zipfile.ZipFile(done.path) as read:
        place = read.getinfo(f"tables/{last}.txt").header_offset + 80
    with ArchiveReader(done.path) as archive:
        with done.path.open("r+b") as file:
            file.seek(place)
            file.write(b"\xff\xff\xff\xff")
        with pytest.raises(UserError, match="not a whole serpline backup"):
            await restore(other, archive)
    assert await is_fresh(other)


async def test_a_newer_schema(db: Database, other: Database, tmp_path: Path) -> None:
    """A backup with an unknown schema is refused in a line that names its release."""
    await filled(db, tmp_path / "b")
    path = changed(tmp_path / "b", manifest(revision="9999", serpline_version="99.1"))
    with pytest.raises(UserError, match=r"newer serpline \(99\.1, schema 9999"):
        await load(path, other)
    assert await is_fresh(other)


_NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "next_release"
down_revision = "{head}"


def upgrade():
    op.add_column("landscapes", sa.Column("owner", sa.Text(), server_default="us"))
    op.execute("UPDATE landscapes SET owner = 'them'")
"""


def next_release(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate the next release, which has one more migration."""
    scripts = directory / "migrations"
    shutil.copytree(migrations.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "next_release.py").write_text(_NEXT.format(head=HEAD))
    monkeypatch.setattr(migrations, "SCRIPTS", scripts)
    monkeypatch.setattr(migrations, "HEAD", "next_release")


async def test_an_older_schema(
    db: Database,
    other: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backup of an older schema is loaded into tables of that schema and migrated with its rows.

    The next release's migration applies to the restored rows too.
    """
    await filled(db, tmp_path / "b")
    before = await everything(db)
    next_release(tmp_path, monkeypatch)
    queue = await rows(other, "SELECT * FROM queue_schema_versions")
    await rows(other, "CREATE TABLE somebody_elses (id int)")
    await load(tmp_path / "b", other)
    found = await rows(other, "SELECT name, owner FROM landscapes ORDER BY name")
    assert [row["name"] for row in found] == sorted(row["name"] for row in before["landscapes"])
    assert {row["owner"] for row in found} == {"them"}
    after = await everything(other)
    assert after["serp_results"] == before["serp_results"]
    assert await rows(other, "SELECT * FROM queue_schema_versions") == queue
    assert await rows(other, "SELECT version_num FROM alembic_version") == [
        {"version_num": "next_release"}
    ]
    assert await migrate(other) is False


async def test_a_schema_that_is_not_ours(db: Database, tmp_path: Path) -> None:
    """A database with another schema than this release's is not backed up."""
    await rows(db, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match=f"its schema is 9999, this release's is {HEAD}"):
        await backup(db, tmp_path / "b", now=WHEN)
    assert list(tmp_path.iterdir()) == []


async def test_an_existing_file(db: Database, tmp_path: Path) -> None:
    """A file is replaced only on request, and never by an incomplete backup."""
    path = tmp_path / "b"
    path.write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        await backup(db, path, now=WHEN)
    assert path.read_text() == "precious"
    await backup(db, path, now=WHEN, overwrite=True)
    with ArchiveReader(path) as archive:
        assert archive.manifest.created_at == WHEN
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    for wrong in (tmp_path, tmp_path / "no" / "b"):
        with pytest.raises(UserError, match=r"is a directory|cannot be written: No such file"):
            await backup(db, wrong, now=WHEN)


@contextmanager
def file_size_max(size_bytes: int) -> Iterator[None]:
    """Limit file sizes in this process like a full disk, within the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_no_room_for_the_file(db: Database, tmp_path: Path) -> None:
    """A full disk leaves no new file, and the existing file unchanged."""
    async with db.transaction() as conn:
        await fill(conn, {"provider_calls", "raw_replies"})
        noise = random.Random(5).randbytes(3_000_000)
        await conn.execute(sa.text("UPDATE raw_replies SET body = :noise"), {"noise": noise})
    path = tmp_path / "b"
    path.write_text("precious")
    with file_size_max(1_000_000), pytest.raises(UserError, match="cannot be written: File too"):
        await backup(db, path, now=WHEN, overwrite=True)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


async def test_a_cancelled_backup(db: Database, tmp_path: Path) -> None:
    """A cancelled backup leaves no file."""
    task: asyncio.Task[BackupResult]

    def stop(table: str, count: int) -> None:
        if table == "pipeline_executions":
            task.cancel()

    task = asyncio.create_task(backup(db, tmp_path / "b", now=WHEN, progress=stop))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []
    await backup(db, tmp_path / "b", now=WHEN)


def test_the_commands(
    database_url: str,
    postgres: EmbeddedServer,
    template_database: str,
    empty_database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """``backup`` and ``restore --into`` copy a project; documents go to stdout, messages to stderr.

    The target's URL may come on stdin, where no list of processes shows it.
    """
    monkeypatch.setenv("SERPLINE_DATABASE_URL", database_url)
    run_id = UUID(int=7)

    async def make(url: str) -> None:
        async with opened(url) as database:
            await rows(
                database,
                "INSERT INTO pipeline_executions (id, mode, config) VALUES (:id, 'manual', '{}')",
                id=run_id,
            )

    async def runs(url: str) -> list[UUID]:
        async with opened(url) as database:
            found = await rows(database, "SELECT id FROM pipeline_executions")
            return [row["id"] for row in found]

    asyncio.run(make(database_url))
    app, path = root.app, str(tmp_path / "b")
    app(["backup", path, "--json"], standalone_mode=False)
    out, err = capfd.readouterr()
    assert json.loads(out)["tables"]["pipeline_executions"] == 1
    assert "pipeline_executions: 1 rows" in err
    with copied_database(postgres, template_database) as url:
        app(["restore", path, "--into", url, "--json"], standalone_mode=False)
        out, err = capfd.readouterr()
        assert json.loads(out)["tables"]["pipeline_executions"] == 1
        assert "restored 1 rows from 20" in err
        assert asyncio.run(runs(url)) == [run_id]
        with pytest.raises(UserError, match="has rows already"):
            app(["restore", path, "--into", url], standalone_mode=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{empty_database_url}\n"))
    app(["restore", path, "--into", "-"], standalone_mode=False)
    assert asyncio.run(runs(empty_database_url)) == [run_id]
    with pytest.raises(UserError, match="--into -: no URL on stdin"):
        app(["restore", path, "--into", "-"], standalone_mode=False)


def test_the_command_migrates_nothing_that_it_refuses(
    empty_database_url: str, database_url: str, tmp_path: Path
) -> None:
    """``restore`` leaves a foreign database unchanged, even as the configured one."""
    path = str(tmp_path / "b")
    assert run_command("backup", path, SERPLINE_DATABASE_URL=database_url).returncode == 0

    async def foreign(statement: str) -> list[dict[str, Any]]:
        async with opened(empty_database_url) as database:
            if statement:
                await rows(database, statement)
            return await schema(database)

    before = asyncio.run(foreign("CREATE TABLE invoices (id int)"))
    done = run_command("restore", path, SERPLINE_DATABASE_URL=empty_database_url)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"is not serpline's" in done.stderr
    assert asyncio.run(foreign("")) == before
