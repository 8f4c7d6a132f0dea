"""The filters that every command about results shares, and the run that it shows."""

import inspect
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from serpline.cli.common import require_utf8, split_list
from serpline.cli.tables import ID_CHARACTERS
from serpline.cli.times import minute
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.domain.states import ENDED_RUNS

if TYPE_CHECKING:
    from serpline.domain.results import Row, Run
    from serpline.pipeline.filters import Filters
    from serpline.store.database import Connection
    from serpline.store.results.selection import Selection

_PLACE = ("content_type", "market", "device")
_DAY = "%Y-%m-%d"


def _list(name: str, help_: str) -> Any:
    return typer.Option(name, callback=_require_utf8_all, help=f"{help_} Several: A,B.")


def _require_utf8_all(given: list[str] | None) -> list[str] | None:
    return given and [str(require_utf8(each)) for each in given]


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """The options as given."""

    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            help="Run id, its first characters, or latest (the default: the latest run with"
            " results for what is asked).",
        ),
    ] = None
    market: Annotated[
        list[str] | None, _list("--market", "Only these markets: code, country or en-US.")
    ] = None
    content_type: Annotated[
        list[str] | None, _list("--content-type", "Only organic, news or video; all: combined.")
    ] = None
    device: Annotated[list[str] | None, _list("--device", "Only desktop, mobile or tablet.")] = None
    tag: Annotated[list[str] | None, _list("--tag", "Only keywords with any of these tags.")] = None
    landscape: Annotated[
        str | None, typer.Option(callback=require_utf8, help="Only this landscape.")
    ] = None
    company: Annotated[
        list[str] | None, _list("--company", "Only these companies, by domain or channel.")
    ] = None
    ours: Annotated[bool, typer.Option("--ours", help="Only companies marked as ours.")] = False
    competitors: Annotated[
        bool, typer.Option("--competitors", help="Only companies marked as competitors.")
    ] = False
    since: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="Only searches from this day on (UTC).")
    ] = None
    until: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="Only searches up to this day (UTC).")
    ] = None

    def read(self, *, keyword: str | None = None) -> "Filters":
        """Return the filters. Without ``--run``, the latest run with results is meant."""
        from serpline.pipeline.filters import LATEST, RELATIONS, Filters

        since, until = (each and each.date() for each in (self.since, self.until))
        if since and until and since > until:
            raise UserError(f"--since {since}: is after --until {until}")
        marks = zip(RELATIONS, (self.ours, self.competitors), strict=True)
        return Filters(
            run=self.run or LATEST,
            content_types=tuple(split_list(self.content_type) or ()),
            markets=tuple(split_list(self.market) or ()),
            devices=tuple(split_list(self.device) or ()),
            keyword=keyword,
            tags=tuple(split_list(self.tag) or ()),
            landscape=self.landscape,
            companies=tuple(split_list(self.company) or ()),
            relations=tuple(mark for mark, is_asked in marks if is_asked),
            since=since,
            until=until,
        )


def filtered(command: Callable[..., Any], left_out: Collection[str] = ()) -> Callable[..., Any]:
    """Give a command the options of ``FilterOptions``, which it takes as ``filters``."""
    hints = get_type_hints(FilterOptions, include_extras=True)
    options = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default,
            annotation=hints[each.name],
        )
        for each in fields(FilterOptions)
        if each.name not in left_out
    ]  # fmt: skip
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.name != "filters"]

    def called(**given: Any) -> Any:
        chosen = FilterOptions(**{each.name: given.pop(each.name) for each in options})
        return command(**given, filters=chosen)

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    # The filters follow the command's own options and arguments, before --json.
    last = [each for each in parameters if each.name == "as_json"]
    first = [each for each in parameters if each.name != "as_json"]
    ordered = [*first, *options, *last]
    called.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in ordered}
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called


async def choose_run(
    conn: "Connection", row: "type[Row]", filters: "Filters"
) -> "tuple[Selection, Run]":
    """Return the selection of rows of one run, and the run.

    Raises ``UserError`` if no run has such rows, and for what the run does not have.
    """
    from serpline.pipeline.filters import select
    from serpline.store.results import reading

    selection = await select(conn, row, filters)
    if selection.run_id is None:
        raise UserError("--run all: is for 'serpline export'; name one run")
    only = reading.Selection(run_id=selection.run_id)
    async with aclosing(reading.stream(conn, reading.Run, only)) as found:
        run = await anext(found)
    for name, asked, has in (
        ("market", selection.markets, run.markets),
        ("device", selection.devices, run.devices),
        ("content type", selection.content_types, (*run.content_types, str(ContentType.ALL))),
    ):
        for each in set(asked) - set(has):
            shown = ", ".join(sorted(has))
            raise UserError(f"{name} {each!r}: run {run.run_id} does not have it; it has {shown}")
    return selection, run


def heading(what: str, run: "Run", rows: Sequence[Any]) -> str:
    """A table's title: what it shows, the run, the date, and what all rows share.

    That is the content type, the market and the device, as far as they are equal.
    """
    shared = [
        str(values.pop())
        for name in _PLACE
        if len(values := {getattr(row, name) for row in rows}) == 1
    ]
    dates = {row.collected_on for row in rows} if rows else {run.collected_on}
    span = " to ".join(str(each) for each in sorted({min(dates), max(dates)}))
    title = f"{what}: {', '.join([*shared, ''])}{span}, run {str(run.run_id)[:ID_CHARACTERS]}"
    if run.status not in ENDED_RUNS:
        title += f" ({run.status})"
    return title + (f", late for {minute(run.late_for)} UTC" if run.late_for else "")


def varying(rows: Sequence[Any]) -> list[str]:
    """Return which of content type, market and device differ among rows: they need a column."""
    return [name for name in _PLACE if len({getattr(row, name) for row in rows}) > 1]
