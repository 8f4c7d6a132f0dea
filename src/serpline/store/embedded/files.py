"""Where the embedded server keeps its files, and what must be true of them before it starts.

Promise: nothing that already exists is chmod-ed or chown-ed, and nothing outside the data directory
is written, except one short private directory for the socket when the data directory's own path is
too long or too odd for one. Every obstacle becomes one ``EmbeddedError`` line that names the path.

Limits: POSIX only. A server run by root has another account, which cannot enter most directories of
root's; on Linux it is therefore handed open directories instead of paths (``Account.opaque``).
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

# The wheel's major version, and the oldest that a named folder may have. Before 16 a program leaves
# the directory it is started in, and root's server is handed its files by that directory only.
MAJOR = 18
MAJOR_MIN = 16
SOCKET_NAME = ".s.PGSQL.5432"
# sizeof(sun_path) without its closing zero byte.
SOCKET_BYTES_MAX = 107 if sys.platform == "linux" else 103
# PostgreSQL keeps paths in buffers of 1,024 bytes and appends file names of its own.
PATH_BYTES_MAX = 900
_SHORT_ROOT = Path("/tmp")  # noqa: S108  the one short path every system has; ours inside is 0700


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one embedded server, all below the user's data directory."""

    data_dir: Path

    @classmethod
    def of(cls, data_dir: Path) -> "Layout":
        """The layout below ``data_dir``, with links and relative parts resolved."""
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
        """PostgreSQL's own data directory, complete as soon as it exists."""
        return self.data_dir / "postgres"

    @property
    def unfinished(self) -> Path:
        """What initdb writes to, before it is renamed to ``cluster``."""
        return self.data_dir / "postgres.new"

    @property
    def lock(self) -> Path:
        """Locked by whoever starts or stops the server, and by an initdb that outlived it."""
        return self.data_dir / "postgres.lock"

    @property
    def alive(self) -> Path:
        """Locked by the server itself (it inherits the descriptor) as long as any part lives."""
        return self.data_dir / "postgres.alive"

    @property
    def log(self) -> Path:
        """What the server says; the older half is ``postgres.log.1``."""
        return self.data_dir / "postgres.log"

    @property
    def postmaster_pid(self) -> Path:
        """PostgreSQL's own lock file: pid, directory, start time and more, a line each."""
        return self.cluster / "postmaster.pid"

    def socket_dirs(self) -> tuple[Path, ...]:
        """Where the socket may be, best first; the cluster must exist.

        Beside the cluster if the path fits (libpq splits hosts at commas); otherwise a short
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
    """The path as one printable line, whatever bytes it is made of."""
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
    """Turn an ``OSError`` into one line about ``path``, which is ``what``."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise EmbeddedError(f"{what} {shown(path)}: {reason}") from error


def prepare_data_dir(layout: Layout, account: Account) -> None:
    """Make the data directory if missing, and refuse one whose cluster is not ours to run."""
    with one_line_errors(layout.data_dir):
        layout.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_cluster(layout, account)


def check_cluster(layout: Layout, account: Account) -> bool:
    """Whether a cluster exists; raises if it is another user's, or none of PostgreSQL's."""
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
    """Raise if the cluster, which exists, was made by another major version than ``major``."""
    with one_line_errors(layout.cluster):
        version = (layout.cluster / "PG_VERSION").read_text("ascii", "replace").strip()
    if version != str(major):
        raise EmbeddedError(
            f"data directory {shown(layout.cluster)}: made by PostgreSQL {version}, "
            f"the programs here are PostgreSQL {major}: dump it there and restore it into a new one"
        )


def is_private(directory: Path, uid: int) -> bool:
    """Whether this is a real directory of ``uid`` that nobody else can enter."""
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and status.st_mode & 0o077 == 0


def make_private(directory: Path, account: Account) -> None:
    """Make ``directory`` as a private one of the account; one that exists must already be so."""
    with one_line_errors(directory, "directory"):
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        # Made just now, or by a starter that was killed before it came to the next line.
        if account.other and is_private(directory, os.geteuid()) and not any(directory.iterdir()):
            _give(directory, account)
    if not is_private(directory, account.uid):
        raise EmbeddedError(
            f"directory {shown(directory)}: must be a directory of user {account.name} "
            "that only they can enter (mode 0700); remove it"
        )


def _give(directory: Path, account: Account) -> None:
    try:
        os.chown(directory, account.uid, account.gid)
    except OSError as error:
        raise EmbeddedError(
            f"cannot give {shown(directory)} to user {account.name} ({error.strerror}): "
            "PostgreSQL does not run as root, start serpline as an ordinary user"
        ) from error


def belongs_to(layout: Layout, account: Account) -> bool:
    """Whether the cluster, which exists, is the account's own."""
    with one_line_errors(layout.cluster):
        return layout.cluster.stat().st_uid == account.uid


def hand_over(layout: Layout, account: Account) -> None:
    """Give the account what initdb, or a server of a former release, left to ``nobody``.

    No server may run. The cluster itself is the last, so after a kill the next start repeats it.
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
            _give(top, account)


def _fail(error: OSError) -> None:
    raise error


def is_trusted(layout: Layout, directory: Path, account: Account) -> bool:
    """Whether whoever listens in this socket directory must be our own server."""
    inside = directory.parent == layout.data_dir
    return (inside or is_private(directory.parent, os.geteuid())) and is_private(
        directory, account.uid
    )


def make_socket_dir(layout: Layout, account: Account) -> Path:
    """The directory for the socket, made if missing."""
    directory = layout.socket_dirs()[0]
    if directory.parent != layout.data_dir:
        make_private(directory.parent, Account(user_name(os.geteuid()), os.geteuid(), 0, False))
    make_private(directory, account)
    return directory


def remove_leftovers(layout: Layout, socket_dir: Path) -> None:
    """Remove what a dead server left; the caller holds the alive lock, so it is dead.

    PostgreSQL itself would refuse to start if a recycled pid stood in one of these files.
    """
    with one_line_errors(layout.cluster):
        layout.postmaster_pid.unlink(missing_ok=True)
        (socket_dir / SOCKET_NAME).unlink(missing_ok=True)
        (socket_dir / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)


def remove_socket_dir(layout: Layout) -> None:
    """Leave nothing of a stopped server outside the data directory."""
    directory = layout.socket_dirs()[-1]
    with suppress(OSError):  # never made, or not empty: then it stays
        directory.rmdir()
