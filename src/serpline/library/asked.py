"""Filters as keywords of a call."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
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
    """Return the filters of a call.

    Raises ``UserError`` for a name that is no filter, an empty list, and days that cannot be.
    """
    known = Asked.__optional_keys__
    if unknown := sorted(asked.keys() - known):
        raise UserError(f"{unknown[0]}: is no filter; must be one of {', '.join(sorted(known))}")
    since, until = _day("since", asked.get("since")), _day("until", asked.get("until"))
    if since is not None and until is not None and since > until:
        raise UserError(f"since={str(since)!r}: is after until={str(until)!r}")
    run = asked.get("run")
    relations = {"ours": asked.get("ours"), "competitor": asked.get("competitors")}
    return Filters(
        run=None if run is None else str(run),
        content_types=texts("content_type", asked.get("content_type")),
        markets=texts("market", asked.get("market")),
        devices=texts("device", asked.get("device")),
        keyword=asked.get("keyword"),
        tags=texts("tag", asked.get("tag")),
        landscape=asked.get("landscape"),
        companies=texts("company", asked.get("company")),
        relations=tuple(name for name, is_asked in relations.items() if is_asked),
        since=since,
        until=until,
    )


def texts(name: str, given: Texts | None) -> tuple[str, ...]:
    """Return one text or several as a tuple; None is empty.

    Raises ``UserError`` for an empty list, which would select everything.
    """
    if given is None:
        return ()
    found = (given,) if isinstance(given, str) else tuple(given)
    if not found:
        raise UserError(f"{name}: is an empty list: name one or several, or leave it out")
    return found


def _day(name: str, given: date | str | None) -> date | None:
    if isinstance(given, datetime):
        # A time without a zone is of the zone that days are in.
        return (given if given.tzinfo is None else given.astimezone(UTC)).date()
    if not isinstance(given, str):
        return given
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise UserError(f"{name}={given!r}: must be a date such as 2026-11-30") from None
