"""Compare the figures of two runs: each company's change, why, and the positions behind it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast
from uuid import UUID

import polars as pl

from serpline.analysis.decomposition import FACTORS, add_parts, share_with_volumes_of
from serpline.analysis.movements import COUNTS, counted, movements
from serpline.analysis.traffic import LANDSCAPE, Estimated, TrafficConfig, UnknownVolume, estimate
from serpline.analysis.trends import METHOD
from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.domain.results import Figure, Run
from serpline.pipeline import trends
from serpline.pipeline.filters import LATEST, find_run
from serpline.store import projects
from serpline.store.database import Connection
from serpline.store.results import reading, scores, snapshots
from serpline.store.results.selection import Selection
from serpline.store.runs import runs

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PARTS = ("coverage", "traffic_share", "positions", "volume", "relevance")
_SIDES = ("before", "after")
_COMPANY = (*LANDSCAPE, "company")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The companies of both runs, and their keywords.

    ``companies``: as ``trends.between`` has them, with each component of both sides, ``change`` (a
    company that does not rank has 0), its ``part_…``, counts of keywords (``movements.COUNTS``),
    and ``note``: why there is no change or no split. ``moved``: ``movements``, with the keywords.
    """

    companies: list[dict[str, Any]]
    moved: pl.DataFrame


async def find_side(conn: Connection, given: str, kind: ContentType) -> UUID:
    """Find the run that a person means: an id, its first characters, ``latest`` or a day.

    A day means the newest tracked run with figures of the type that was collected by then. Raises
    ``UserError``.
    """
    name = given.strip().lower()
    of_type = Selection(content_types=(str(kind),))
    if name == LATEST:
        found = await reading.latest_run(conn, Figure, of_type)
        if found is None:
            raise UserError(f"no run has figures of {kind} yet")
        return found
    try:
        # 20261130 is a day in ISO 8601 too, and may be the beginning of an id.
        day = date.fromisoformat(name) if _DAY.fullmatch(name) else None
    except ValueError:
        day = None
    if day is None:
        return await find_run(conn, given)
    newest_first = ("-collected_on", "-created_at")
    tracked = [
        row.run_id
        async for row in reading.stream(conn, Run, order=newest_first)
        if row.is_tracked and kind in row.content_types
    ]
    for run_id in tracked:
        by_then = Selection(run_id=run_id, content_types=(str(kind),), until=day)
        has_figures = await reading.latest_run(conn, Figure, by_then) is not None
        # Of a run, some types may be tracked and others not.
        if has_figures and (await _config(conn, run_id)).of(kind).enable_historical_tracking:
            return run_id
    raise UserError(f"{given}: no tracked run has figures of {kind} by that day")


async def compare(
    conn: Connection, before: UUID | None, after: UUID, kind: ContentType
) -> Comparison:
    """Compare two runs' figures of a content type; ``before`` None: the tracked run before.

    Raises ``UserError`` if nothing can be compared.
    """
    if before == after:
        raise UserError(f"both sides are run {after}: name two runs")
    rows = await trends.between(conn, after, before, kind)
    before = cast(UUID, rows[0]["run_before"])
    sides = {"before": before, "after": after}
    figures = {
        side: {
            _key(each): each for each in await snapshots.figures(conn, run_id, kind, company=None)
        }
        for side, run_id in sides.items()
    }
    _mark(rows, figures)
    loaded = [await _load(conn, run_id, kind) for run_id in (before, after)]
    moved = movements(
        (loaded[0].results, loaded[0].collected), (loaded[1].results, loaded[1].collected)
    ).filter(pl.col("company") != scores.UNKNOWN_COMPANY)
    frame = _with_factors(rows, figures)
    for no, positions_of in enumerate(_SIDES):
        share = share_with_volumes_of(loaded[1 - no], loaded[no])
        named = share.rename({"share_with": f"share_with_{positions_of}"})
        frame = frame.join(named.cast(_TEXTS), on=_COMPANY, how="left")
    # A company that does not rank on a side has no traffic there, by any volumes.
    for side, status in (("before", "new"), ("after", "lost")):
        own = f"share_with_{side}"
        absent = pl.col("status") == status
        frame = frame.with_columns(pl.when(absent).then(0.0).otherwise(own).alias(own))
    parts = add_parts(frame).join(counted(moved).cast(_TEXTS), on=_COMPANY, how="left")
    by_company = {_key(each): each for each in parts.iter_rows(named=True)}
    names = await projects.run_keywords(conn, (await runs.source_runs(conn, after))[_SEARCHES])
    return Comparison(
        [_explained(row, by_company[_key(row)]) for row in rows], _named(moved, names)
    )


_TEXTS: pl.Schema = pl.Schema(dict.fromkeys(LANDSCAPE, pl.String))
_SEARCHES = "serp_collection"


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _COMPANY)


def _mark(
    rows: Sequence[dict[str, Any]], figures: Mapping[str, Mapping[tuple[Any, ...], Any]]
) -> None:
    """Mark what is not comparable for all companies of a place, new and lost ones too."""
    methods = [
        {key[:3]: [each[name] for name in METHOD] for key, each in figures[side].items()}
        for side in _SIDES
    ]
    differ = {
        place: ", ".join(
            f"{name} {then} and {now}"
            for name, then, now in zip(METHOD, methods[0][place], methods[1][place], strict=True)
            if then != now or (name == "ai_overviews" and now == "partly")
        )
        for place in methods[0].keys() & methods[1].keys()
    }
    for row in rows:
        why = [row["differs"] or differ.get(_key(row)[:3], "")]
        changed = [f"{row[f'keywords_{how}']} {how}" for how in ("gone", "added")
                   if row[f"keywords_{how}"]]  # fmt: skip
        if changed:
            why.append(f"keywords {', '.join(changed)}")
        row["differs"] = ", ".join(filter(None, why))
        row["comparable"] = not row["differs"] and row["status"] != "not_collected"


def _with_factors(
    rows: Sequence[dict[str, Any]], figures: Mapping[str, Mapping[tuple[Any, ...], Any]]
) -> pl.DataFrame:
    """Add each factor of both sides to the rows, those of a side where a company does not rank."""
    found = []
    for row in rows:
        values: dict[str, Any] = {name: row[name] for name in (*_COMPANY, "status")}
        for side, other in (_SIDES, _SIDES[::-1]):
            own = figures[side].get(_key(row))
            for name in FACTORS:
                value = own and own[name]
                if own is None and row["status"] in ("new", "lost"):
                    # No page of it was there to be judged: the relevance is no reason.
                    value = figures[other][_key(row)][name] if name == "relevance" else 0.0
                values[f"{name}_{side}"] = value
        found.append(values)
    numbers = {f"{name}_{side}": pl.Float64 for name in FACTORS for side in _SIDES}
    kinds = dict.fromkeys((*_COMPANY, "status"), pl.String) | numbers
    return pl.DataFrame(found, kinds, orient="row")


async def _config(conn: Connection, run_id: UUID) -> PipelineConfig:
    run = await runs.get(conn, run_id)
    assert run is not None
    return PipelineConfig.from_json(run.config)


async def _load(conn: Connection, run_id: UUID, kind: ContentType) -> Estimated:
    config = await _config(conn, run_id)
    sources = await runs.source_runs(conn, run_id)
    results, collected = await scores.inputs(conn, sources, kind)
    traffic = TrafficConfig(
        curve=config.curve,
        ai_overview_factor=config.ai_overview_factor,
        unknown_volume=cast(UnknownVolume, config.unknown_volume),
    )
    return estimate(results, collected, traffic)


def _explained(row: dict[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A company's row with its change and the parts of it, or a note why there are none."""
    factors = {f"{name}_{side}": found[f"{name}_{side}"] for name in FACTORS for side in _SIDES}
    unknown = [
        f"{name.replace('_', ' ')} {side}"
        for name in FACTORS
        for side in _SIDES
        if factors[f"{name}_{side}"] is None
    ]
    note, change = row["differs"], None
    if row["status"] == "not_collected":
        note = "not collected on both sides"
    elif row["comparable"] and unknown:
        note = f"unknown: {', '.join(unknown)}"
    elif row["comparable"]:
        then, now = (row[f"dsi_{side}"] or 0.0 for side in _SIDES)
        change = now - then
    parts = {
        f"part_{name}": found[f"part_{name}"] if change is not None else None for name in _PARTS
    }
    counts = {name: found[name] or 0 for name in COUNTS}
    return {**row, **factors, "change": change, **parts, **counts, "note": note}


def _named(moved: pl.DataFrame, names: Mapping[int, str]) -> pl.DataFrame:
    ids = moved["keyword_id"].to_list()
    return moved.with_columns(pl.Series("keyword", [names.get(each) for each in ids], pl.String))
