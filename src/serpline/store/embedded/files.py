"""The embedded server's files, and the checks of them before it starts.

Promise: existing files keep their owner and mode. Nothing outside the data directory is written,
except a short private directory for the socket if the data directory's path is too long or unusable
for one. Every obstacle raises an ``EmbeddedError`` of one line that names the path.

Limits: POSIX only. Root's server has another account, which cannot enter most of root's
directories; on Linux it gets open directories instead of paths (``Account.needs_open_dirs``).
"""

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from serpline.store.embedded.account import Account, EmbeddedError, user_name

# The wheel's major version, and the oldest that a named folder may have. Before 16 a program
# changes its current directory, through which root's server gets its files.
MAJOR = 18
MAJOR_MIN = 16
SOCKET_NAME = ".s.PGSQL.5432"
# sizeof(sun_path) without the final zero byte.
SOCKET_BYTES_MAX = 107 if sys.platform == "linux" else 103
# PostgreSQL has path buffers of 1,024 bytes and appends its own file names.
PATH_BYTES_MAX = 900
_SHORT_ROOT = Path("/tmp")  # noqa: S108  short, on every system; our directory in it is 0700


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one embedded server, all below the data directory."""

    data_dir: Path

    @classmethod
    def of(cls, data_dir: Path) -> "Layout":
        """Return the layout below ``data_dir``, with links and relative parts resolved."""
        try:
            path = Path(os.path.realpath(data_dir.expanduser()))
        except RuntimeError:
            raise EmbeddedError(f"data directory {shown(data_dir)}: no such user's home") from None
        except OSError as error:
            raise EmbeddedError(f"data directory {shown(data_dir)}: {error.strerror}") from error
        if any(ord(character) < 32 for character in str(path)):
            raise EmbeddedError(f"data directory {shown(path)}: control character in the path")
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            raise EmbeddedError(f"data directory {shown(path)}: the path is too long")
        return cls(path)

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data directory, complete as soon as it exists."""
        return self.data_dir / "postgres"

    @property
    def unfinished(self) -> Path:
        """The directory that initdb fills, before it is renamed to ``cluster``."""
        return self.data_dir / "postgres.new"

    @property
    def lock(self) -> Path:
        """The start lock: held to start or stop the server, and by an initdb without its parent."""
        return self.data_dir / "postgres.lock"

    @property
    def alive(self) -> Path:
        """Locked by the server, which inherits the descriptor, while any part of it is alive."""
        return self.data_dir / "postgres.alive"

    @property
    def log(self) -> Path:
        """The server's log; the older half is ``postgres.log.1``."""
        return self.data_dir / "postgres.log"

    @property
    def postmaster_pid(self) -> Path:
        """PostgreSQL's lock file: pid, directory, start time and more, one per line."""
        return self.cluster / "postmaster.pid"

    def socket_dirs(self) -> tuple[Path, ...]:
        """Return the possible directories of the socket, best first; the cluster must exist.

        Beside the cluster if the path is suitable (libpq splits hosts at commas). Otherwise a short
        directory named after the cluster's inode, so that every process finds the same one.
        """
        status = self.cluster.stat()
        identity = hashlib.sha256(f"{status.st_dev}:{status.st_ino}".encode()).hexdigest()[:16]
        short = _SHORT_ROOT / f"serpline-{os.geteuid()}" / identity
        beside = self.data_dir / "run"
        return (beside, short) if _fits_a_socket(beside) else (short,)


def _fits_a_socket(directory: Path) -> bool:
    try:
        encoded = str(directory / SOCKET_NAME).encode()
    except UnicodeEncodeError:
        return False
    return len(encoded) <= SOCKET_BYTES_MAX and b"," not in encoded


def shown(path: Path) -> str:
    """Return the path as one printable line, whatever bytes it has."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else "?" for character in text)


_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission to use it",
    errno.EPERM: "no permission to use it",
    errno.ENOTDIR: "not a directory",
    errno.EEXIST: "not a directory",
    errno.ENAMETOOLONG: "the path is too long",
    errno.ELOOP: "too many symbolic links",
}


@contextmanager
def one_line_errors(path: Path, what: str = "data directory") -> Iterator[None]:
    """Turn an ``OSError`` into a one-line error about ``path``, described by ``what``."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise EmbeddedError(f"{what} {shown(path)}: {reason}") from error


def prepare_data_dir(layout: Layout, account: Account) -> None:
    """Make the data directory if missing; refuse one whose cluster we may not run."""
    with one_line_errors(layout.data_dir):
        layout.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_cluster(layout, account)


def check_cluster(layout: Layout, account: Account) -> bool:
    """Whether a cluster exists; raises if it is another user's, or not PostgreSQL's."""
    with one_line_errors(layout.cluster):
        try:
            status = layout.cluster.lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(status.st_mode):
            raise EmbeddedError(f"data directory {shown(layout.cluster)}: not a directory")
        if status.st_uid not in (account.uid, account.named().uid):
            raise EmbeddedError(
                f"data directory {shown(layout.cluster)}: belongs to user "
                f"{user_name(status.st_uid)}, the server would run as {account.name}"
            )
        if not (layout.cluster / "PG_VERSION").exists():
            raise EmbeddedError(
                f"data directory {shown(layout.cluster)}: not a PostgreSQL data directory "
                "(no PG_VERSION)"
            )
    return True


def check_major(layout: Layout, major: int) -> None:
    """Raise if the existing cluster has another major version than ``major``."""
    with one_line_errors(layout.cluster):
        version = (layout.cluster / "PG_VERSION").read_text("ascii", "replace").strip()
    if version != str(major):
        raise EmbeddedError(
            f"data directory {shown(layout.cluster)}: made by PostgreSQL {version}, "
            f"the programs here are PostgreSQL {major}: dump it there and restore it into a new one"
        )


def is_private(directory: Path, uid: int) -> bool:
    """Whether this is a real directory of ``uid`` that no one else can enter."""
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and status.st_mode & 0o077 == 0


def make_private(directory: Path, account: Account) -> None:
    """Make a private directory of the account; an existing one must be private already."""
    with one_line_errors(directory, "directory"):
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        # New, or left by a process that was killed before the next line.
        if account.other and is_private(directory, os.geteuid()) and not any(directory.iterdir()):
            _chown(directory, account)
    if not is_private(directory, account.uid):
        raise EmbeddedError(
            f"directory {shown(directory)}: must be a directory of user {account.name} "
            "that only they can enter (mode 0700); remove it"
        )


def _chown(directory: Path, account: Account) -> None:
    try:
        os.chown(directory, account.uid, account.gid)
    except OSError as error:
        raise EmbeddedError(
            f"cannot give {shown(directory)} to user {account.name} ({error.strerror}): "
            "PostgreSQL does not run as root, start serpline as an ordinary user"
        ) from error


def belongs_to(layout: Layout, account: Account) -> bool:
    """Whether the existing cluster belongs to the account."""
    with one_line_errors(layout.cluster):
        return layout.cluster.stat().st_uid == account.uid


def hand_over(layout: Layout, account: Account) -> None:
    """Give the account the files that initdb or an older release's server made as ``nobody``.

    No server may run. The cluster itself comes last, so the next start repeats this after a kill.
    """
    if belongs_to(layout, account):
        return
    former = account.named()
    for top in (*layout.socket_dirs(), layout.cluster):
        if not is_trusted(layout, top, former):
            continue
        with one_line_errors(top):
            for _, directories, names, inside in os.fwalk(top, topdown=False, onerror=_fail):
                for name in (*directories, *names):
                    if os.lstat(name, dir_fd=inside).st_uid == former.uid:
                        os.chown(
                            name, account.uid, account.gid, dir_fd=inside, follow_symlinks=False
                        )
            _chown(top, account)


def _fail(error: OSError) -> None:
    raise error


def is_trusted(layout: Layout, directory: Path, account: Account) -> bool:
    """Whether only our own server can listen in this socket directory."""
    inside = directory.parent == layout.data_dir
    return (inside or is_private(directory.parent, os.geteuid())) and is_private(
        directory, account.uid
    )


def make_socket_dir(layout: Layout, account: Account) -> Path:
    """Return the directory for the socket; make it if missing."""
    directory = layout.socket_dirs()[0]
    if directory.parent != layout.data_dir:
        make_private(directory.parent, Account(user_name(os.geteuid()), os.geteuid(), 0, False))
    make_private(directory, account)
    return directory


def remove_leftovers(layout: Layout, socket_dir: Path) -> None:
    """Remove a dead server's files; the caller's alive lock proves that it is dead.

    PostgreSQL refuses to start if one of these files names a recycled pid.
    """
    with one_line_errors(layout.cluster):
        layout.postmaster_pid.unlink(missing_ok=True)
        (socket_dir / SOCKET_NAME).unlink(missing_ok=True)
        (socket_dir / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)


def remove_socket_dir(layout: Layout) -> None:
    """Remove a stopped server's socket directory outside the data directory."""
    directory = layout.socket_dirs()[-1]
    with suppress(OSError):  # never made, or not empty: then it stays
        directory.rmdir()
