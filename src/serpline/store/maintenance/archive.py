"""The file of a backup: one zip with a text file per table and a manifest that vouches for them.

The promise: a file under its final name is whole, for it is written beside it, flushed to disk and
renamed. ``ArchiveReader`` is given out only after every byte that will be loaded has been read and
compared with the manifest: names, sizes, row counts, SHA-256. A truncated, damaged or foreign file
is one ``UserError``. Nothing is held in memory but a block.

The limits: this finds damage, not forgery, for whoever can rewrite the file can rewrite the sums.
The file holds everything the project knows (no provider's key is ever stored), so it is readable by
its owner only; it is not encrypted. A process killed half-way leaves ``.NAME.….partial`` behind.

A table's text is PostgreSQL's COPY text format: one line a row, so lines are rows.
"""

import contextlib
import errno
import hashlib
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serpline.domain.errors import UserError

BLOCK_BYTES: Final = 1 << 20
MANIFEST_BYTES_MAX: Final = 1 << 20
_MANIFEST: Final = "manifest.json"
_COMPRESSION_LEVEL: Final = 3
_IDENTIFIER: Final = r"^[a-z][a-z0-9_]{0,62}$"
# What reading a zip of damaged bytes raises; each was seen.
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableEntry(_Model):
    """One table's text: its columns in order, and what proves that it is whole."""

    name: str = Field(pattern=_IDENTIFIER)
    columns: list[str]
    rows: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class SequenceEntry(_Model):
    """The last number that an identity column has given out."""

    table: str = Field(pattern=_IDENTIFIER)
    column: str = Field(pattern=_IDENTIFIER)
    value: int = Field(ge=1)


class Manifest(_Model):
    """What the file says of itself. ``tables`` stand in an order that respects foreign keys.

    ``revision`` is the schema's (Alembic). ``server_version`` is PostgreSQL's number (180004).
    """

    format: Literal["serpline backup"] = "serpline backup"
    format_version: Literal[1] = 1
    serpline_version: str
    revision: str
    server_version: int
    created_at: datetime
    tables: list[TableEntry]
    sequences: list[SequenceEntry]


class ArchiveWriter:
    """Writes tables one after the other, then the manifest, then gives the file its name."""

    def __init__(self, target: Path, *, overwrite: bool = False) -> None:
        """Begin beside ``target``. Raises ``UserError`` if it cannot be written, or is there."""
        self._target = target
        self._overwrite = overwrite
        self._check_free()
        with _writable(target):
            number, name = tempfile.mkstemp(
                prefix=f".{target.name}.", suffix=".partial", dir=target.parent
            )
        self._partial = Path(name)
        self._file: IO[bytes] = os.fdopen(number, "w+b")
        self._zip = zipfile.ZipFile(
            self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL
        )
        self._member: IO[bytes] | None = None
        self._sum = hashlib.sha256()
        self._rows = self._size_bytes = 0

    def begin(self, table: str) -> None:
        """What is written from now on is ``table``'s."""
        self._sum = hashlib.sha256()
        self._rows = self._size_bytes = 0
        with _writable(self._target):
            self._member = self._zip.open(_member(table), "w", force_zip64=True)

    def write(self, block: bytes) -> None:
        """The next bytes of the table."""
        assert self._member is not None
        self._sum.update(block)
        self._rows += block.count(b"\n")
        self._size_bytes += len(block)
        with _writable(self._target):
            self._member.write(block)

    def end(self, table: str, columns: list[str]) -> TableEntry:
        """The table is complete; returns its entry for the manifest."""
        assert self._member is not None
        with _writable(self._target):
            self._member.close()
        return TableEntry(
            name=table,
            columns=columns,
            rows=self._rows,
            size_bytes=self._size_bytes,
            sha256=self._sum.hexdigest(),
        )

    def commit(self, manifest: Manifest) -> int:
        """Write the manifest and give the file its name; returns its size in bytes."""
        with _writable(self._target):
            self._zip.writestr(_MANIFEST, manifest.model_dump_json(indent=1))
            self._zip.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            size_bytes = self._file.tell()
            self._file.close()
        self._check_free()
        with _writable(self._target):
            self._partial.replace(self._target)
            _flush_directory(self._target.parent)
        return size_bytes

    def abort(self) -> None:
        """Leave nothing behind. After ``commit`` it does nothing."""
        # A member that is still open would refuse the zip's end, and the end is not wanted.
        with contextlib.suppress(OSError, ValueError):
            self._file.close()
        with contextlib.suppress(OSError, ValueError):
            if self._member is not None:
                self._member.close()
        with contextlib.suppress(OSError, ValueError):
            self._zip.close()
        self._partial.unlink(missing_ok=True)

    def _check_free(self) -> None:
        if self._target.is_dir():
            raise UserError(f"{self._target}: is a directory; name a file")
        if not self._overwrite and self._target.exists():
            raise UserError(f"{self._target}: is there already; --overwrite replaces it")


class ArchiveReader:
    """A backup that was found whole. Use it in a ``with`` block."""

    def __init__(self, path: Path) -> None:
        """Open and verify ``path``, which reads all of it. Raises ``UserError``."""
        self.path = path
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from None
        try:
            with _readable(path):
                self._zip = zipfile.ZipFile(self._file)
                self.manifest = self._read_manifest()
                self._check_names()
                for entry in self.manifest.tables:
                    for _ in self.blocks(entry):
                        pass
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "ArchiveReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def blocks(self, entry: TableEntry) -> Iterator[bytes]:
        """A table's text, in blocks; ``UserError`` at its end if it is not what was promised."""
        found = hashlib.sha256()
        rows = size_bytes = 0
        with _readable(self.path), self._zip.open(_member(entry.name)) as member:
            while block := member.read(BLOCK_BYTES):
                found.update(block)
                rows += block.count(b"\n")
                size_bytes += len(block)
                if size_bytes > entry.size_bytes:
                    raise ValueError(f"{entry.name} is longer than it was")
                yield block
            whole = (rows, size_bytes, found.hexdigest())
            if whole != (entry.rows, entry.size_bytes, entry.sha256):
                raise ValueError(f"{entry.name} is not what was written")

    def _read_manifest(self) -> Manifest:
        if any(part.compress_type != zipfile.ZIP_DEFLATED for part in self._zip.infolist()):
            raise ValueError("a part is not compressed as ours are")
        with self._zip.open(_MANIFEST) as member:
            text = member.read(MANIFEST_BYTES_MAX + 1)
        if len(text) > MANIFEST_BYTES_MAX:
            raise ValueError("its manifest is too long")
        return Manifest.model_validate_json(text)

    def _check_names(self) -> None:
        promised = sorted([_MANIFEST, *(_member(entry.name) for entry in self.manifest.tables)])
        if sorted(self._zip.namelist()) != promised:
            raise ValueError("its parts are not those of its manifest")


def _member(table: str) -> str:
    return f"tables/{table}.txt"


@contextmanager
def _writable(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path}: not a backup this serpline can read: {where}: {first['msg']}"
        ) from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a whole serpline backup: {reason}") from None
    except OSError as error:
        # A damaged table of contents may send the reader to a place before the file's beginning.
        what = "not a whole serpline backup" if error.errno == errno.EINVAL else "cannot be read"
        raise UserError(f"{path}: {what}: {error.strerror or error}") from None


def _flush_directory(directory: Path) -> None:
    """Make the rename durable, where directories can be flushed."""
    number = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(number)
    finally:
        os.close(number)
