"""A change of DSI, split over its components."""

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serpline.analysis.decomposition import FACTORS, PARTS, add_parts, share_with_volumes_of
from serpline.analysis.dsi import compute_dsi
from serpline.analysis.traffic import LANDSCAPE, Estimated, TrafficConfig, estimate

PLACE = {"content_type": "organic", "market": "US", "device": "desktop"}
NUMBERS = st.floats(0, 1, allow_subnormal=False)


def _row(before: tuple[float | None, ...], after: tuple[float | None, ...]) -> dict[str, Any]:
    sides = {"before": before, "after": after}
    return {
        f"{name}_{side}": value
        for side, values in sides.items()
        for name, value in zip((*FACTORS, "share_with"), values, strict=True)
    }


def _parts(row: dict[str, Any]) -> dict[str, float | None]:
    frame = pl.DataFrame([row], schema=dict.fromkeys(row, pl.Float64))
    return add_parts(frame).to_dicts()[0]


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[NUMBERS] * 4), st.tuples(*[NUMBERS] * 4))
def test_the_parts_sum_to_the_change(before: tuple[float, ...], after: tuple[float, ...]) -> None:
    """Exactly, zeros included; from after to before each part has the other sign."""
    parts = _parts(_row(before, after))
    change = 100 * (math.prod(after[:3]) - math.prod(before[:3]))
    assert math.fsum(parts[f"part_{name}"] for name in PARTS) == pytest.approx(change, abs=1e-11)
    back = _parts(_row(after, before))
    for name in PARTS:
        assert back[f"part_{name}"] == pytest.approx(-parts[f"part_{name}"], abs=1e-11)


def test_one_factor_that_changes_has_the_whole_change() -> None:
    """If only the coverage doubles, the coverage is why."""
    parts = _parts(_row((0.25, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)))
    assert [parts[f"part_{name}"] for name in PARTS] == [6.25, 0, 0, 0]


def test_the_parts_by_hand() -> None:
    """Two factors double: both effects are averaged over both orders."""
    parts = _parts(_row((0.2, 0.3, 1.0, None), (0.4, 0.6, 1.0, None)))
    # First: 0.2 · 0.3 = 6 points. Second: 0.2 · 0.6 = 12 points.
    assert parts["part_coverage"] == pytest.approx(9.0)
    assert parts["part_traffic_share"] == pytest.approx(9.0)
    assert parts["part_relevance"] == pytest.approx(0.0)
    assert parts["part_positions"] is parts["part_volume"] is None


@pytest.mark.parametrize("unknown", range(3))
def test_an_unknown_component_has_no_split(unknown: int) -> None:
    """Neither of it nor of any other."""
    after = [0.5, 0.5, 0.5, 0.5]
    after[unknown] = None
    parts = _parts(_row((0.0, 0.0, 0.5, 0.0), tuple(after)))
    assert [parts[f"part_{name}"] for name in PARTS] == [None] * 4


VOLUMES = st.lists(st.one_of(st.none(), st.integers(0, 1000)), min_size=3, max_size=3)
POSITIONS = st.lists(st.permutations(range(4)), min_size=3, max_size=3)


@settings(max_examples=8, deadline=None)
@given(VOLUMES, POSITIONS, VOLUMES, POSITIONS, st.sampled_from(["exclude", "impute"]))
def test_figures_of_two_dates(
    volumes: list[int | None],
    orders: list[list[int]],
    later_volumes: list[int | None],
    later_orders: list[list[int]],
    rule: Any,
) -> None:
    """Computed figures split exactly. Equal volumes have no part, nor have equal positions."""
    config = TrafficConfig(unknown_volume=rule)
    sides = [_side(volumes, orders, config), _side(later_volumes, later_orders, config)]
    shares = [share_with_volumes_of(sides[1 - n][1], sides[n][1]) for n in range(2)]
    key = [*LANDSCAPE, "company"]
    frames = []
    for name, (figures, _), share in zip(("before", "after"), sides, shares, strict=True):
        kept = figures.select(*key, "dsi", *FACTORS).join(
            share.cast(dict.fromkeys(LANDSCAPE, pl.String)), on=key
        )
        frames.append(kept.rename({c: f"{c}_{name}" for c in kept.columns if c not in key}))
    rows = add_parts(frames[0].join(frames[1], on=key)).to_dicts()
    assert len(rows) == 4
    for row in rows:
        whole = [row[f"part_{name}"] for name in FACTORS]
        if row["dsi_before"] is None or row["dsi_after"] is None:
            assert whole == [None] * 3
            continue
        change = row["dsi_after"] - row["dsi_before"]
        assert math.fsum(whole) == pytest.approx(change, abs=1e-9)
        split = [row[f"part_{name}"] for name in PARTS]
        if None not in split:
            assert math.fsum(split) == pytest.approx(change, abs=1e-9)
        if volumes == later_volumes:
            assert row["part_volume"] == pytest.approx(0, abs=1e-9)
        if orders == later_orders and row["part_volume"] is not None:
            assert row["part_positions"] == pytest.approx(0, abs=1e-9)


def _side(
    volumes: list[int | None], orders: list[list[int]], config: TrafficConfig
) -> tuple[pl.DataFrame, Estimated]:
    """Figures and estimates of four companies that rank for three keywords."""
    results = [
        {
            **PLACE,
            "keyword_id": keyword,
            "url": f"https://c{company}.com/",
            "company": f"c{company}.com",
            "position": position + 1,
            "volume": volumes[keyword],
            "ai_overview": keyword == 1,
            "relevance": 0.25 * (company + 1),
        }
        for keyword, order in enumerate(orders)
        for position, company in enumerate(order)
    ]
    pages = [{**PLACE, "keyword_id": k, "volume": v} for k, v in enumerate(volumes)]
    frames = (
        pl.DataFrame(results, schema_overrides={"volume": pl.Float64}),
        pl.DataFrame(pages, schema_overrides={"volume": pl.Float64}),
    )
    return compute_dsi(*frames, config), estimate(*frames, config)
