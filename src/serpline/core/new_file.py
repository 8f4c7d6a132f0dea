"""A file that appears under its name when it is complete, and replaces nothing by accident.

The promise: the file is written beside its name, flushed to disk and renamed. Without
``overwrite``, a file that somebody creates meanwhile stays.

The limits: a process killed half-way leaves ``.NAME.….partial`` behind. On a file system without
hard links, a file created in the instant of the rename would be replaced.
"""

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import IO

EXISTS = "exists already; --overwrite replaces it"
IS_DIRECTORY = "is a directory; name a file"


class NewFile:
    """A file in progress. Call ``commit``, and ``abort`` in any case."""

    def __init__(self, target: Path, *, overwrite: bool = False, is_private: bool = False) -> None:
        """Open a file beside ``target``; ``is_private``: only its owner may read it.

        Raises ``OSError``, whose ``strerror`` is for a person, if the target exists or the
        directory cannot be written.
        """
        # A rename would replace a symbolic link, not the file that it names.
        self._target = target.resolve()
        self._overwrite = overwrite
        self._check_free()
        number, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".partial", dir=self._target.parent
        )
        self._partial = Path(name)
        if not is_private:
            os.chmod(number, self._mode())
        self.file: IO[bytes] = os.fdopen(number, "w+b")

    def commit(self) -> int:
        """Flush and rename the file; returns its size in bytes. Raises ``OSError``."""
        self.file.flush()
        os.fsync(self.file.fileno())
        size_bytes = os.fstat(self.file.fileno()).st_size
        self.file.close()
        self._check_free()
        if self._overwrite or not self._link():
            self._partial.replace(self._target)
        _flush_directory(self._target.parent)
        return size_bytes

    def abort(self) -> None:
        """Remove the unfinished file. After ``commit`` it does nothing."""
        with contextlib.suppress(OSError, ValueError):
            self.file.close()
        self._partial.unlink(missing_ok=True)

    def _link(self) -> bool:
        """Give the file its name unless the name is taken. False: this file system has no links."""
        try:
            os.link(self._partial, self._target)
        except FileExistsError as error:
            raise FileExistsError(error.errno, EXISTS) from None
        except OSError:
            return False
        self._partial.unlink()
        return True

    def _mode(self) -> int:
        """The rights of the file that is replaced, as a shell keeps them, or of a new one."""
        try:
            return stat.S_IMODE(self._target.stat().st_mode) & 0o777
        except OSError:
            return 0o666 & ~_umask()

    def _check_free(self) -> None:
        if self._target.is_dir():
            raise IsADirectoryError(0, IS_DIRECTORY)
        if not self._overwrite and self._target.exists():
            raise FileExistsError(0, EXISTS)


def _umask() -> int:
    """The process's mask for new files. It can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _flush_directory(directory: Path) -> None:
    """Make the rename durable, if directories can be flushed."""
    number = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(number)
    finally:
        os.close(number)
