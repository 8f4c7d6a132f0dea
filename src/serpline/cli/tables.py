"""Tables in the terminal.

They fit its width, or that of ``COLUMNS``. Text is wrapped first. Then columns are left out, the
least important first, and a line below the table names them. One that tells rows apart is never
left out. ``--wide`` shows all columns, each row in one line. So does output to a file or a pipe.

Colours follow ``NO_COLOR`` and ``FORCE_COLOR``. No colour says what the text does not say.
"""

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from serpline.core.escaping import terminal_text

WIDE: ContextVar[bool] = ContextVar("wide", default=False)
"""Whether the command was called with ``--wide``."""

# Texts up to this width, such as times, stay in one line.
_WHOLE_WIDTH_MAX = 16
# Longer ones wrap down to this width before a column is left out.
_WRAPPED_WIDTH_MIN = 12
_GAP = 2
_UNBOUNDED = 100_000
ID_CHARACTERS = 8
"""So many characters of a run's id name it in a table; commands take them."""
_BARS = "▁▂▃▄▅▆▇█"
_NO_BAR = "·"


def relation_style(relation: str | None) -> str:
    """The style of a row of a marked company."""
    return {"ours": "green", "competitor": "yellow"}.get(relation or "", "")


class Sign(StrEnum):
    """What a cell shows in the place of a value.

    Unknown: there is a value and nobody knows it, such as the volume of a keyword. Not applicable:
    there can be none, such as the share of voice of a combined figure. None: it is known that there
    is none, such as the next time of a paused schedule.
    """

    UNKNOWN = "?"
    NOT_APPLICABLE = "n/a"
    NONE = "–"


_LEGEND = {Sign.UNKNOWN: "unknown", Sign.NOT_APPLICABLE: "not applicable"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``drop``: 0 stays, 1 is left out first, 2 next; equal ones from the right.

    ``is_key``: it tells rows apart, so it stays where they differ in it. ``wraps``: whether its
    text may be divided, as that of identifiers should not. ``missing``: the sign of None.
    ``digits``: decimals of each number; ``signed``: with its sign.
    """

    label: str
    drop: int = 0
    is_key: bool = False
    wraps: bool = True
    missing: Sign = Sign.NONE
    digits: int | None = None
    signed: bool = False


def stdout(width: int | None = None) -> Console:
    """The console for documents; its width is by default the terminal's or ``COLUMNS``."""
    return Console(file=sys.stdout, highlight=False, width=width)


def stderr() -> Console:
    """The console for messages."""
    return Console(file=sys.stderr, highlight=False)


def show_table(
    columns: Sequence[str | Column],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    styles: Sequence[str] = (),
) -> None:
    """Print a table to stdout, with numbers right-aligned.

    ``styles``: the style of each row, such as ``green``; none by default.
    """
    named = [Column(each) if isinstance(each, str) else each for each in columns]
    given = [list(row) for row in rows]
    room = None if WIDE.get() else _room()
    cells = [
        [_cell(c, value, short=room is not None) for c, value in zip(named, row, strict=True)]
        for row in given
    ]
    widths = [_widths(c, [row[no] for row in cells]) for no, c in enumerate(named)]
    told_apart = {no for no, c in enumerate(named) if c.is_key and len({r[no] for r in cells}) > 1}
    kept = list(range(len(named))) if room is None else _kept(named, widths, room, told_apart)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for no, width in zip(kept, _shared([widths[no] for no in kept], room), strict=True):
        is_number = _is_numeric(named[no], [row[no] for row in given])
        table.add_column(
            terminal_text(named[no].label),
            justify="right" if is_number else "left",
            overflow="fold",
            width=width,
        )
    for line, row in enumerate(cells):
        table.add_row(*(Text(row[no]) for no in kept), style=styles[line] if styles else None)
    console = stdout(room or _UNBOUNDED)
    if title:
        console.print(Text(terminal_text(title), style="bold"))
    console.print(table)
    for note in _notes(cells, kept, named):
        console.print(Text(note, style="dim"))


def format_cell(value: Any) -> str:
    """Format a table cell; control characters in text from the web are replaced."""
    if value is None:
        return str(Sign.NONE)
    if isinstance(value, float | Decimal):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list | tuple):
        return ", ".join(format_cell(part) for part in value)
    return terminal_text(str(value))


def sparkline(values: Sequence[float | None], *, lowest_is_best: bool = False) -> str:
    """A bar for each value, the best one the highest; ``·`` where it is unknown."""
    known = [value for value in values if value is not None]
    if not known:
        return _NO_BAR * len(values)
    least, most = min(known), max(known)

    def bar(value: float | None) -> str:
        if value is None:
            return _NO_BAR
        part = (value - least) / (most - least) if most > least else 0.5
        return _BARS[round((1 - part if lowest_is_best else part) * (len(_BARS) - 1))]

    return "".join(map(bar, values))


def _cell(column: Column, value: Any, *, short: bool) -> str:
    if value is None:
        return str(column.missing)
    if short and isinstance(value, UUID):
        return str(value)[:ID_CHARACTERS]
    if column.digits is None or not _is_number(value):
        return f"{value:+,}" if column.signed and isinstance(value, int) else format_cell(value)
    shown = f"{value:{'+' if column.signed else ''},.{column.digits}f}"
    least = 10.0**-column.digits
    if value and not shown.strip("+-0.,"):
        # Not 0, although no digit shows it.
        return f"{'>-' if value < 0 else '<'}{least:.{column.digits}f}"
    return shown


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_numeric(column: Column, values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None and not isinstance(value, Sign)]
    return column.digits is not None or (bool(known) and all(map(_is_number, known)))


def _room() -> int | None:
    """The width that a table may have; None: any, in a file or a pipe."""
    console = stdout()
    return console.width if console.is_terminal or "COLUMNS" in os.environ else None


def _widths(column: Column, cells: Sequence[str]) -> tuple[int, int]:
    """The least width at which a column is readable, and the width of its longest text."""
    longest = max(map(cell_len, cells), default=0)
    wraps = column.wraps and longest > _WHOLE_WIDTH_MAX
    least = _WRAPPED_WIDTH_MIN if wraps else longest
    words = column.label.split() or [""]
    return max(least, *map(cell_len, words)), max(longest, cell_len(column.label))


def _shared(widths: Sequence[tuple[int, int]], room: int | None) -> list[int]:
    """The widths of columns that share ``room``; what is left goes to the longest texts."""
    if room is None:
        return [most for _, most in widths]
    left = max(0, room - sum(least for least, _ in widths) - _GAP * (len(widths) - 1))
    wanted = sum(most - least for least, most in widths)
    if left >= wanted:
        return [most for _, most in widths]
    return [least + (most - least) * left // wanted for least, most in widths]


def _kept(
    columns: Sequence[Column], widths: Sequence[tuple[int, int]], room: int, stay: Collection[int]
) -> list[int]:
    """The columns that fit the room; those of ``stay`` in any case."""
    kept = list(range(len(columns)))

    def width() -> int:
        return sum(widths[no][0] for no in kept) + _GAP * (len(kept) - 1)

    candidates = [no for no in reversed(kept) if columns[no].drop and no not in stay]
    for no in sorted(candidates, key=lambda no: columns[no].drop):
        if width() <= room:
            break
        kept.remove(no)
    return kept


def _notes(
    cells: Sequence[Sequence[str]], kept: Sequence[int], columns: Sequence[Column]
) -> Iterable[str]:
    seen = {row[no] for row in cells for no in kept}
    if signs := [f"{sign} {name}" for sign, name in _LEGEND.items() if str(sign) in seen]:
        yield "; ".join(signs)
    left_out = [each.label for no, each in enumerate(columns) if no not in kept]
    if left_out:
        yield f"not shown: {', '.join(left_out)} (--wide shows all)"
