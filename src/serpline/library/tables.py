"""A table of results that is read when its rows are asked for."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from serpline.domain.errors import UserError
from serpline.domain.results import Row, columns_of
from serpline.exports.layout import format_named, format_of
from serpline.exports.writing import write_file
from serpline.pipeline.filters import Filters, select
from serpline.store.database import Database
from serpline.store.results import reading

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from serpline.library.blocking import Project

R = TypeVar("R", bound=Row)


class AsyncTable(Generic[R]):
    """Rows of one table. Every call and every iteration reads the database again.

    The rows are read at once, so an iteration holds no transaction open.
    """

    def __init__(self, database: Database, row: type[R], filters: Filters) -> None:
        self._database = database
        self._row = row
        self._filters = filters

    async def __aiter__(self) -> AsyncIterator[R]:
        """Yield typed rows in the usual order of the table."""
        for row in _rows(self._row, await self.to_polars()):
            yield row

    async def to_list(self) -> list[R]:
        """Return typed rows."""
        return list(_rows(self._row, await self.to_polars()))

    async def to_polars(self) -> "pl.DataFrame":
        """Return a polars frame: ids are texts, times are in UTC, unknown values are null.

        Raises ``UserError`` for a filter that cannot be, and if no run has results.
        """
        async with self._database.transaction() as conn:
            selection = await select(conn, self._row, self._filters)
            return await reading.frame(conn, self._row, selection, order=self._row.ORDER)

    async def to_arrow(self) -> "pa.Table":
        """Return an Arrow table. Needs the extra ``arrow``."""
        _need("pyarrow", extra="arrow")
        return (await self.to_polars()).to_arrow()

    async def to_pandas(self) -> "pd.DataFrame":
        """Return a pandas frame. Needs the extra ``pandas``."""
        _need("pandas", "pyarrow", extra="pandas")
        return (await self.to_polars()).to_pandas()

    async def export(
        self,
        path: str | Path,
        *,
        format: str | None = None,  # noqa: A002  as the option of the command line
        overwrite: bool = False,
    ) -> int:
        """Write a file, completely or not at all; returns the number of rows.

        ``format``: csv, xlsx, json or parquet; else what the name ends with. A million rows take
        less than 300 MB of memory. Raises ``UserError`` if the file exists, unless ``overwrite``.
        """
        target = Path(path)
        form = format_of(target) if format is None else format_named(format)
        async with self._database.transaction() as conn:
            selection = await select(conn, self._row, self._filters)
            return await write_file(conn, self._row, selection, target, form, overwrite=overwrite)


class Table(Generic[R]):
    """Rows of one table. Every call and every iteration reads the database again."""

    def __init__(self, project: "Project", table: AsyncTable[R]) -> None:
        self._project = project
        self._table = table

    def __iter__(self) -> Iterator[R]:
        """Yield typed rows in the usual order of the table."""
        return _rows(self._table._row, self.to_polars())

    def to_list(self) -> list[R]:
        """Return typed rows."""
        return list(self)

    def to_polars(self) -> "pl.DataFrame":
        """Return a polars frame: ids are texts, times are in UTC, unknown values are null.

        Raises ``UserError`` for a filter that cannot be, and if no run has results.
        """
        return self._project._call(self._table.to_polars)

    def to_arrow(self) -> "pa.Table":
        """Return an Arrow table. Needs the extra ``arrow``."""
        return self._project._call(self._table.to_arrow)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a pandas frame. Needs the extra ``pandas``."""
        return self._project._call(self._table.to_pandas)

    def export(
        self,
        path: str | Path,
        *,
        format: str | None = None,  # noqa: A002  as the option of the command line
        overwrite: bool = False,
    ) -> int:
        """Write a file, completely or not at all; returns the number of rows.

        ``format``: csv, xlsx, json or parquet; else what the name ends with. A million rows take
        less than 300 MB of memory. Raises ``UserError`` if the file exists, unless ``overwrite``.
        """
        return self._project._call(self._table.export, path, format=format, overwrite=overwrite)


def _rows(row: type[R], frame: "pl.DataFrame") -> Iterator[R]:
    """Make typed rows of a frame."""
    readers = [
        (n, _READ[each.type]) for n, each in enumerate(columns_of(row)) if each.type in _READ
    ]
    for found in frame.iter_rows():
        values = list(found)
        for n, read in readers:
            if values[n] is not None:
                values[n] = read(values[n])
        yield row(*values)


_READ: dict[type, Callable[[Any], Any]] = {UUID: UUID, list: json.loads, tuple: tuple}


def _need(*modules: str, extra: str) -> None:
    """Raise ``UserError`` with what to install unless the modules are installed."""
    from importlib.util import find_spec

    for module in modules:
        if find_spec(module) is None:
            raise UserError(
                f"{module} is not installed: install serpline with its extra {extra!r}, or run:"
                f" pip install {' '.join(modules)}"
            )
