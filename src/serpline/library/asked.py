"""Filters as keywords of a call."""

from collections.abc import Iterable
from datetime import date
from typing import TypedDict
from uuid import UUID

from serpline.domain.errors import UserError
from serpline.pipeline.filters import Filters

Texts = str | Iterable[str]
"""One text, or several."""


class Asked(TypedDict, total=False):
    """Filters. A row has to pass all that are given.

    ``run``: an id, its first characters, ``"latest"`` or ``"all"``. Without it: the latest run with
    results for what is asked; with ``since`` or ``until``, all runs of those days. Days are in UTC,
    both included; texts are ISO 8601. ``tag``, ``company`` and the like: any of several.
    """

    run: str | UUID | None
    content_type: Texts | None
    market: Texts | None
    device: Texts | None
    keyword: str | None
    tag: Texts | None
    landscape: str | None
    company: Texts | None
    ours: bool
    competitors: bool
    since: date | str | None
    until: date | str | None


def read_filters(asked: Asked) -> Filters:
    """Return the filters of a call. Raises ``UserError`` for a date that cannot be read."""
    run = asked.get("run")
    relations = {"ours": asked.get("ours"), "competitor": asked.get("competitors")}
    return Filters(
        run=None if run is None else str(run),
        content_types=texts(asked.get("content_type")),
        markets=texts(asked.get("market")),
        devices=texts(asked.get("device")),
        keyword=asked.get("keyword"),
        tags=texts(asked.get("tag")),
        landscape=asked.get("landscape"),
        companies=texts(asked.get("company")),
        relations=tuple(name for name, is_asked in relations.items() if is_asked),
        since=_day("since", asked.get("since")),
        until=_day("until", asked.get("until")),
    )


def texts(given: Texts | None) -> tuple[str, ...]:
    """Return one text or several as a tuple; None is empty."""
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _day(name: str, given: date | str | None) -> date | None:
    if not isinstance(given, str):
        return given
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise UserError(f"{name}={given!r}: must be a date such as 2026-11-30") from None
