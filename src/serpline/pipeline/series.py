"""A figure or a position over the snapshots that trends compare, oldest first."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import UUID

from serpline.analysis.movements import TOPS
from serpline.analysis.trends import METHOD
from serpline.domain.names import ContentType
from serpline.domain.results import Figure, Ranking, Serp, ShareOfVoice
from serpline.store import companies
from serpline.store.database import Connection
from serpline.store.results import snapshots
from serpline.store.results.reading import stream
from serpline.store.results.selection import Selection
from serpline.store.results.snapshots import Snapshot

FIGURES = ("dsi", "coverage", "traffic_share", "relevance")
SHARES = ("share_of_results", "share_of_first", "share_of_volume")
METRICS = (*FIGURES, *SHARES)


async def of_figures(
    conn: Connection, selection: Selection, kind: ContentType, metric: str, count: int, best: int
) -> list[dict[str, Any]]:
    """One row per company: its ``values`` on ``dates``, null where unknown or where it lacks one.

    ``selection``: within the last run; the ``best`` companies of each market and device there, or
    those that it names. ``differs``: what of the method and of the company's merges changed.
    """
    row = ShareOfVoice if metric in SHARES else Figure
    shots = await _snapshots(conn, selection, kind, count)
    chosen = replace(selection, content_types=(str(kind),))
    order = [each for each in row.ORDER if each not in ("-collected_on", "run_id")]
    last: list[Any] = []
    per_place = None if selection.companies else best
    async with aclosing(stream(conn, row, chosen, order=order, per_place=per_place)) as found:
        last = [each async for each in found]
    named = tuple({each.company for each in last})
    by_run: dict[UUID, dict[tuple[str, ...], Any]] = {}
    for shot in shots:
        of_run = replace(chosen.of_run(shot.run_id), companies=named)
        async with aclosing(stream(conn, row, of_run)) as found:
            by_run[shot.run_id] = {_place(each): each async for each in found}
    methods = [await snapshots.methods(conn, shot.run_id, kind) for shot in shots]
    merges = [await companies.aliases(conn, shot.run_id, kind) for shot in shots]
    return [
        _series(each, shots, by_run, metric, methods, _merges_that_differ(each.company, merges))
        for each in last
    ]


def _merges_that_differ(company: str, merges: Sequence[Mapping[str, str]]) -> list[str]:
    """The domains that count as the company, or it as another, in some of the snapshots only."""
    own = [
        {domain for domain, into in used.items() if company in (domain, into)} for used in merges
    ]
    return sorted(own[0].union(*own) - own[0].intersection(*own)) if own else []


def _place(row: Any) -> tuple[str, ...]:
    return row.market, row.device, row.company


def _series(
    last: Any,
    shots: Sequence[Snapshot],
    by_run: dict[UUID, dict[tuple[str, ...], Any]],
    metric: str,
    methods: Sequence[Mapping[tuple[str, str], Mapping[str, Any]]],
    merged: Sequence[str],
) -> dict[str, Any]:
    found = [by_run[shot.run_id].get(_place(last)) for shot in shots]
    used = [
        each[last.market, last.device] for each in methods if (last.market, last.device) in each
    ]
    changed = [name for name in METHOD if len({each[name] for each in used}) > 1]
    if merged:
        changed.append(f"merged domains ({', '.join(merged)})")
    return {
        "content_type": last.content_type,
        "market": last.market,
        "device": last.device,
        "company": last.company,
        "company_name": last.company_name,
        "relation": last.relation,
        "metric": metric,
        "dates": [shot.collected_on for shot in shots],
        "runs": [shot.run_id for shot in shots],
        "values": [each and getattr(each, metric) for each in found],
        "differs": f"changed: {', '.join(changed)}" if changed else "",
    }


async def of_positions(
    conn: Connection, selection: Selection, kind: ContentType, count: int
) -> list[dict[str, Any]]:
    """One row per keyword, market, device and company: its best ``positions`` on ``dates``.

    ``selection``: within the last run, of a keyword or of companies. ``states`` has *ranked*, *not
    ranked* or *not collected* for each date. ``won`` and ``lost`` name the tops that the last date
    has and the first one had not, and the other way round; unknown where one was not collected, and
    for companies whose merges differ.
    """
    shots = await _snapshots(conn, selection, kind, count)
    chosen = replace(selection, content_types=(str(kind),))
    best: list[dict[tuple[Any, ...], int]] = []
    names: dict[tuple[Any, ...], Ranking] = {}
    collected: list[Collection[tuple[Any, ...]]] = []
    for shot in shots:
        of_run = chosen.of_run(shot.run_id)
        positions: dict[tuple[Any, ...], int] = {}
        async with aclosing(stream(conn, Ranking, of_run)) as found:
            async for row in found:
                if row.position is not None and row.company is not None:
                    key = (row.keyword, row.market, row.device, row.company)
                    positions[key] = min(row.position, positions.get(key, row.position))
                    names[key] = row
        searches = replace(of_run, companies=(), relations=())
        async with aclosing(stream(conn, Serp, searches)) as pages:
            collected.append(
                {(p.keyword, p.market, p.device) async for p in pages if p.state == "collected"}
            )
        best.append(positions)
    merges = [await companies.aliases(conn, shot.run_id, kind) for shot in shots]
    moved = {each for each in {key[3] for key in names} if _merges_that_differ(each, merges)}
    rows = []
    for key in sorted(names):
        states = [
            "ranked" if key in positions else "not ranked" if key[:3] in seen else "not collected"
            for positions, seen in zip(best, collected, strict=True)
        ]
        positions_ = [positions.get(key) for positions in best]
        ends = key[3] not in moved and "not collected" not in (states[0], states[-1])
        won, lost = _tops(positions_[0], positions_[-1]) if ends else (None, None)
        rows.append(
            {
                "content_type": str(kind),
                **dict(zip(("keyword", "market", "device", "company"), key, strict=True)),
                "company_name": names[key].company_name,
                "relation": names[key].relation,
                "dates": [shot.collected_on for shot in shots],
                "runs": [shot.run_id for shot in shots],
                "positions": positions_,
                "states": states,
                "won": won,
                "lost": lost,
            }
        )
    return rows


def _tops(first: int | None, last: int | None) -> tuple[list[int], list[int]]:
    """The tops won and lost between two dates on which the page was collected."""
    had = {top for top in TOPS if first is not None and first <= top}
    has = {top for top in TOPS if last is not None and last <= top}
    return sorted(has - had), sorted(had - has)


async def _snapshots(
    conn: Connection, selection: Selection, kind: ContentType, count: int
) -> list[Snapshot]:
    assert selection.run_id is not None
    found = await snapshots.history(conn, selection.run_id, kind, count)
    return list(reversed(found))
