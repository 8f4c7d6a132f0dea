"""The Digital Share Index, recomputed by hand."""

from dataclasses import asdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.analysis.ctr import get_curve
from serpline.analysis.dsi import SCHEMA, compute_dsi
from serpline.analysis.traffic import TrafficConfig
from serpline.domain.errors import UserError
from serpline.recompute_dsi import recompute

Row = dict[str, Any]
_COLUMNS = {
    "content_type": pl.String,
    "market": pl.String,
    "device": pl.String,
    "keyword_id": pl.Int64,
    "url": pl.String,
    "company": pl.String,
    "position": pl.Int64,
    "volume": pl.Int64,
    "ai_overview": pl.Boolean,
    "relevance": pl.Float64,
}


def _row(company: str, keyword_id: int, position: int, volume: int | None, **other: Any) -> Row:
    """A result; by default US desktop organic at the company's page ``/p``."""
    row: Row = {"content_type": "organic", "market": "US", "device": "desktop"}
    row |= {"company": company, "keyword_id": keyword_id, "position": position, "volume": volume}
    return row | {"url": f"https://{company}/p", "ai_overview": False, "relevance": None} | other


def _results(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=_COLUMNS)


def _collected(count: int, **other: Any) -> pl.DataFrame:
    """Keywords 1 to ``count``, by default of US desktop."""
    columns = {"market": "US", "device": "desktop"} | other
    return pl.DataFrame({"keyword_id": range(1, count + 1)}).with_columns(
        pl.lit(value).alias(name) for name, value in columns.items()
    )


def _by_company(frame: pl.DataFrame) -> dict[str, Row]:
    rows = {row["company"]: row for row in frame.to_dicts()}
    assert len(rows) == frame.height
    return rows


def test_the_figures_of_a_small_landscape_by_hand() -> None:
    """Four keywords, two companies: every component is what a pocket calculator says."""
    frame = _results(
        _row("a.com", 1, 1, 1000, relevance=0.8),
        _row("b.com", 1, 2, 1000, relevance=0.5),
        _row("b.com", 2, 1, 500, ai_overview=True, relevance=0.5),
        _row("a.com", 2, 11, 500, ai_overview=True, url="https://a.com/q", relevance=0.4),
    )
    rows = _by_company(compute_dsi(frame, _collected(4)))
    a, b = rows["a.com"], rows["b.com"]
    # a: 1000 x 28.23 % + 500 x 1.5 % x 0.5; b: 1000 x 15.72 % + 500 x 28.23 % x 0.5.
    assert a["traffic"] == pytest.approx(282.3 + 3.75)
    assert b["traffic"] == pytest.approx(157.2 + 70.575)
    assert a["traffic_total"] == b["traffic_total"] == pytest.approx(513.825)
    assert a["traffic_share"] == pytest.approx(286.05 / 513.825)
    assert a["coverage"] == b["coverage"] == 0.5
    assert a["relevance"] == pytest.approx(0.6)
    assert b["relevance"] == 0.5
    assert (a["relevance_basis"], b["relevance_basis"]) == (2, 1)
    assert a["dsi"] == pytest.approx(100 * 0.5 * 0.556706 * 0.6, abs=1e-4)
    assert b["dsi"] == pytest.approx(100 * 0.5 * 0.443294 * 0.5, abs=1e-4)
    assert (a["rank"], b["rank"]) == (1, 2)


@pytest.mark.parametrize(
    ("second", "state", "unknown", "traffic"),
    [
        (True, "known", 0, 282.3 + 141.15 * 0.5),
        (False, "known", 0, 282.3 + 141.15),
        (None, "partly", 1, 282.3 + 141.15),
    ],
)
def test_an_overview_that_was_not_requested_is_a_missing_input(
    second: bool | None, state: str, unknown: int, traffic: float
) -> None:
    """It takes no clicks and counts as a missing input. Without any request all do."""
    frame = _results(_row("a.com", 1, 1, 1000), _row("a.com", 2, 1, 500, ai_overview=second))
    row = compute_dsi(frame, _collected(2)).to_dicts()[0]
    assert row["traffic"] == pytest.approx(traffic)
    assert (row["ai_overviews"], row["unknown_ai_overview_keywords"]) == (state, unknown)
    assert row["tracked_unknown_ai_overview"] == unknown
    unasked = frame.with_columns(ai_overview=pl.lit(None, pl.Boolean))
    row = compute_dsi(unasked, _collected(2)).to_dicts()[0]
    assert (row["ai_overviews"], row["unknown_ai_overview_keywords"]) == ("unknown", 2)
    news = unasked.with_columns(content_type=pl.lit("news"))
    row = compute_dsi(news, _collected(2)).to_dicts()[0]
    assert (row["ai_overviews"], row["unknown_ai_overview_keywords"]) == ("does not apply", 0)


def test_every_figure_recomputes_from_its_stored_components() -> None:
    """DSI = 100 x coverage x traffic share x relevance, from the columns of its row."""
    frame = _results(
        *(_row(f"c{i % 3}.com", i, i, 7 * i, relevance=i % 3 / 7) for i in range(1, 9))
    )
    for row in compute_dsi(frame, _collected(11)).to_dicts():
        by_hand = 100 * row["coverage"] * row["traffic_share"] * row["relevance"]
        assert row["dsi"] == pytest.approx(by_hand, rel=1e-11)
        assert row["coverage"] == pytest.approx(row["keywords_ranked"] / row["keywords_collected"])
        assert row["traffic_share"] == pytest.approx(row["traffic"] / row["traffic_total"])


def test_the_method_is_stored_beside_the_figure() -> None:
    """Curve, version, factor, treatment of unknown volumes and the proxy mark are columns."""
    config = TrafficConfig("seoclarity_grid", 0.7, "impute")
    rows = compute_dsi(
        _results(
            _row("a.com", 1, 1, 10),
            *(_row("a.com", 1, 1, 10, content_type=t) for t in ("news", "video")),
        ),
        _collected(1),
        config,
    )
    assert rows.schema == SCHEMA
    assert rows["curve"].to_list() == ["seoclarity_grid"] * 3
    assert rows["curve_version"].to_list() == [1, 1, 1]
    assert rows["ai_overview_factor"].to_list() == [0.7] * 3
    assert rows["unknown_volume"].to_list() == ["impute"] * 3
    assert dict(zip(rows["content_type"], rows["proxy"], strict=True)) == {
        "news": True,
        "organic": False,
        "video": True,
    }


def test_several_urls_count_once_for_coverage() -> None:
    """A second URL for the same keyword adds traffic and a result, but no coverage."""
    one = _results(_row("a.com", 1, 1, 10), _row("b.com", 2, 1, 10))
    two = pl.concat([one, _results(_row("a.com", 1, 3, 10, url="https://a.com/second"))])
    before = _by_company(compute_dsi(one, _collected(2)))["a.com"]
    after = _by_company(compute_dsi(two, _collected(2)))["a.com"]
    assert before["coverage"] == after["coverage"] == 0.5
    assert (before["results"], after["results"]) == (1, 2)
    assert after["traffic_share"] > before["traffic_share"]


def test_a_url_counts_once_for_relevance() -> None:
    """A page that ranks for many keywords weighs as much as one that ranks for one."""
    rows = [_row("a.com", i, 1, 10, relevance=1.0) for i in range(1, 10)]
    frame = _results(*rows, _row("a.com", 10, 1, 10, url="https://a.com/q", relevance=0.0))
    row = _by_company(compute_dsi(frame, _collected(10)))["a.com"]
    assert (row["relevance"], row["relevance_basis"]) == (0.5, 2)


def test_keywords_without_results_are_in_the_denominator() -> None:
    """A collected keyword without results lowers every company's coverage."""
    row = _by_company(compute_dsi(_results(_row("a.com", 1, 1, 10)), _collected(8)))["a.com"]
    assert (row["coverage"], row["keywords_ranked"], row["keywords_collected"]) == (0.125, 1, 8)


def test_keywords_not_collected_are_not() -> None:
    """Keywords collected for one content type do not dilute another."""
    frame = _results(_row("a.com", 1, 1, 10), _row("a.com", 1, 1, 10, content_type="news"))
    pages = pl.concat([_collected(4, content_type="organic"), _collected(1, content_type="news")])
    rows = compute_dsi(frame, pages)
    assert dict(zip(rows["content_type"], rows["coverage"], strict=True)) == {
        "news": 1.0,
        "organic": 0.25,
    }


def test_unknown_relevance_makes_the_dsi_unknown() -> None:
    """Without an analysed page relevance and DSI are null, and the results are counted."""
    frame = _results(
        _row("a.com", 1, 1, 10), _row("a.com", 2, 1, 10), _row("b.com", 1, 2, 10, relevance=0.0)
    )
    rows = _by_company(compute_dsi(frame, _collected(2)))
    assert (rows["a.com"]["relevance"], rows["a.com"]["dsi"], rows["a.com"]["rank"]) == (None,) * 3
    assert (rows["a.com"]["relevance_basis"], rows["a.com"]["unanalysed_results"]) == (0, 2)
    # A relevance of 0 is known, and so is the DSI.
    assert (rows["b.com"]["dsi"], rows["b.com"]["rank"]) == (0.0, 1)
    assert rows["a.com"]["traffic_share"] > 0


def test_unknown_volume_is_left_out_and_counted() -> None:
    """Excluded, it enters no sum. A company with nothing else has unknown traffic and DSI."""
    frame = _results(
        _row("a.com", 1, 1, 100, relevance=1.0),
        _row("a.com", 2, 1, None, relevance=1.0),
        _row("b.com", 2, 2, None, relevance=1.0),
    )
    rows = _by_company(compute_dsi(frame, _collected(2)))
    assert rows["a.com"]["traffic"] == pytest.approx(28.23)
    assert (rows["a.com"]["traffic_share"], rows["a.com"]["coverage"]) == (1.0, 1.0)
    assert rows["a.com"]["unknown_volume_keywords"] == 1
    assert rows["b.com"]["unknown_volume_keywords"] == 1
    assert (rows["b.com"]["traffic"], rows["b.com"]["traffic_share"], rows["b.com"]["dsi"]) == (
        None,
    ) * 3


def test_imputed_volume_is_the_markets_median_and_marked() -> None:
    """Imputed, it is the median of the market's known volumes, with each keyword counted once."""
    frame = _results(
        *(_row("a.com", i, 1, volume) for i, volume in ((1, 10), (2, 30), (3, 500))),
        _row("c.com", 3, 2, 500),
        _row("b.com", 4, 1, None),
        _row("b.com", 1, 1, 7000, market="GB"),
        _row("b.com", 2, 1, None, market="FR"),
    )
    pages = pl.concat([_collected(4), _collected(1, market="GB"), _collected(2, market="FR")])
    rows = compute_dsi(frame, pages, TrafficConfig(unknown_volume="impute"))
    b = {row["market"]: row for row in rows.filter(company="b.com").to_dicts()}
    assert (b["US"]["imputed_volume"], b["US"]["unknown_volume_keywords"]) == (30.0, 1)
    assert b["US"]["traffic"] == pytest.approx(30 * 0.2823)
    assert (b["GB"]["imputed_volume"], b["GB"]["unknown_volume_keywords"]) == (None, 0)
    # No volume is known in FR, so nothing can be imputed there.
    assert (b["FR"]["traffic"], b["FR"]["imputed_volume"]) == (None, None)
    a = _by_company(rows.filter(market="US"))["a.com"]
    assert (a["imputed_volume"], a["unknown_volume_keywords"]) == (None, 0)


def test_a_known_volume_of_nought_is_not_unknown() -> None:
    """If all volumes are 0, no company has a share. If only one's is, its share is 0."""
    nothing = compute_dsi(_results(_row("a.com", 1, 1, 0, relevance=1.0)), _collected(1))
    assert (nothing.item(0, "traffic"), nothing.item(0, "traffic_share")) == (0.0, None)
    assert nothing.item(0, "dsi") is None
    frame = _results(_row("a.com", 1, 1, 0, relevance=1.0), _row("b.com", 2, 1, 9, relevance=1.0))
    rows = _by_company(compute_dsi(frame, _collected(2)))
    assert (rows["a.com"]["traffic_share"], rows["a.com"]["dsi"]) == (0.0, 0.0)


def test_positions_beyond_the_curve_are_unknown_and_counted() -> None:
    """In a curve of ten positions the eleventh has unknown traffic: it is counted, not set to 0."""
    frame = _results(_row("a.com", 1, 1, 9, relevance=1.0), _row("b.com", 1, 11, 9, relevance=1.0))
    rows = _by_company(compute_dsi(frame, _collected(1), TrafficConfig("serpvoyager")))
    assert (rows["b.com"]["traffic"], rows["b.com"]["dsi"]) == (None, None)
    assert (rows["a.com"]["beyond_curve_results"], rows["b.com"]["beyond_curve_results"]) == (0, 1)


def test_devices_are_landscapes_of_their_own() -> None:
    """No sum goes over devices: the same page on two devices gives two equal rows."""
    rows = [_row("a.com", 1, 1, 10, device=d, relevance=1.0) for d in ("desktop", "mobile")]
    pages = pl.concat([_collected(1), _collected(1, device="mobile")])
    out = compute_dsi(_results(*rows), pages)
    assert out["device"].to_list() == ["desktop", "mobile"]
    assert out["traffic_total"].to_list() == [pytest.approx(2.823)] * 2
    assert out["dsi"].to_list() == [100.0, 100.0]


def test_ties_go_by_name() -> None:
    """Equal figures rank by the company's name. Unknown ones come last without a rank."""
    frame = _results(
        _row("b.com", 1, 1, 10, relevance=1.0),
        _row("a.com", 2, 1, 10, relevance=1.0),
        _row("0.com", 2, 2, 10),
    )
    rows = compute_dsi(frame, _collected(2))
    assert rows["company"].to_list() == ["a.com", "b.com", "0.com"]
    assert rows["rank"].to_list() == [1, 2, None]


def test_no_results_give_no_rows() -> None:
    """An empty landscape gives an empty frame with the same columns."""
    empty = compute_dsi(_results(), _collected(3))
    assert empty.height == 0
    assert empty.schema == SCHEMA


_COMPANIES = st.sampled_from(["a.com", "b.com", "c.com", "ü.com"])
_VOLUMES = [None, 0, 10, 170, 9900, 123_456_789]
_RELEVANCES = [None, 0.0, 0.1, 1 / 3, 1.0]


@st.composite
def _landscapes(draw: st.DrawFn) -> list[Row]:
    """Results over 12 keywords, 2 markets, 2 devices and 3 content types."""
    volumes = draw(st.lists(st.sampled_from(_VOLUMES), min_size=24, max_size=24))
    relevances = draw(st.lists(st.sampled_from(_RELEVANCES), min_size=5, max_size=5))
    rows = []
    for _ in range(draw(st.integers(1, 40))):
        keyword, second = draw(st.integers(1, 12)), draw(st.booleans())
        company, page = draw(_COMPANIES), draw(st.integers(0, 4))
        rows.append(
            _row(
                company,
                keyword,
                draw(st.integers(1, 40)),
                volumes[keyword - 1 + 12 * second],
                market="GB" if second else "US",
                device=draw(st.sampled_from(["desktop", "mobile"])),
                content_type=draw(st.sampled_from(["organic", "news", "video"])),
                ai_overview=draw(st.booleans()),
                url=f"https://{company}/{page}",
                relevance=relevances[page],
            )
        )
    return rows


def _pages() -> pl.DataFrame:
    return pl.concat(
        [_collected(12, market=m, device=d) for m in ("US", "GB") for d in ("desktop", "mobile")]
    )


_CONFIGS = st.builds(
    TrafficConfig,
    st.sampled_from(["classic", "seoclarity_2021_mobile"]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from(["exclude", "impute"]),
)


@given(_landscapes(), _CONFIGS)
def test_shares_add_up_and_figures_stay_in_range(rows: list[Row], config: TrafficConfig) -> None:
    """Shares sum to 1 in each landscape with traffic; coverage is 0 to 1 and the DSI 0 to 100."""
    out = compute_dsi(_results(*rows), _pages(), config)
    landscapes = out.group_by("content_type", "market", "device").agg(
        pl.col("traffic_share").sum(), pl.col("traffic_total").max(), pl.col("dsi").sum()
    )
    for row in landscapes.to_dicts():
        expected = 1.0 if row["traffic_total"] else 0.0
        assert row["traffic_share"] == pytest.approx(expected, abs=1e-10)
        assert row["dsi"] <= 100 + 1e-8
    assert out["coverage"].is_between(0, 1).all()
    assert out["dsi"].drop_nulls().is_between(0, 100).all()
    unknown = out.filter(pl.col("dsi").is_null())
    assert (unknown["relevance"].is_null() | unknown["traffic_share"].is_null()).all()


@given(st.data(), _landscapes(), _CONFIGS)
def test_the_order_of_rows_makes_no_difference(
    data: st.DataObject, rows: list[Row], config: TrafficConfig
) -> None:
    """Shuffled results and keywords give the same frame, bit for bit."""
    shuffled = data.draw(st.permutations(rows))
    pages = _pages()
    out = compute_dsi(_results(*rows), pages, config)
    assert out.equals(compute_dsi(_results(*shuffled), pages.reverse(), config))


@given(_landscapes(), _CONFIGS, st.lists(st.none() | st.booleans(), min_size=12, max_size=12))
def test_an_independent_script_computes_the_same(
    rows: list[Row], config: TrafficConfig, shown: list[bool | None]
) -> None:
    """``recompute_dsi`` shares no code with what it checks; a tie may differ in the last digit."""
    rows = [row | {"ai_overview": shown[row["keyword_id"] - 1]} for row in rows]
    volumes = {(row["market"], row["keyword_id"]): row["volume"] for row in rows}
    types = sorted({row["content_type"] for row in rows})
    curve = get_curve(config.curve)
    shared = {
        "curve": asdict(curve),
        "ai_overview_factor": config.ai_overview_factor,
        "unknown_volume": config.unknown_volume,
        "weight": 1.0,
    }
    records: list[Row] = []
    for kind in types:
        landscapes = [
            {"content_type": kind, "market": market, "device": device}
            for market in ("US", "GB")
            for device in ("desktop", "mobile")
        ]
        records += [{"record": "method", **landscape, **shared} for landscape in landscapes]
        records += [
            {"record": "page", **landscape, "keyword": no, "ai_overview": shown[no - 1]}
            | {"volume": volumes.get((landscape["market"], no))}
            for landscape in landscapes
            for no in range(1, 13)
        ]
    records += [{"record": "result", **row, "keyword": row["keyword_id"]} for row in rows]
    recomputed = {each[:4]: each for each in recompute(records) if each.content_type != "all"}
    computed = compute_dsi(_results(*rows), _pages(), config).to_dicts()
    assert len(recomputed) == len(computed)
    for row in computed:
        figure = recomputed[row["content_type"], row["market"], row["device"], row["company"]]
        for name in ("keywords_ranked", "coverage", "traffic_share", "relevance", "dsi"):
            assert getattr(figure, name) == pytest.approx(row[name], rel=1e-11, abs=0), name


@given(_landscapes(), _COMPANIES, st.integers(1, 40))
def test_a_second_url_never_changes_coverage(rows: list[Row], company: str, position: int) -> None:
    """Another URL of a company that ranks for the keyword changes no coverage."""
    ranking = [row for row in rows if row["company"] == company]
    extra = [{**row, "url": f"{row['url']}/more", "position": position} for row in ranking]
    columns = ["content_type", "market", "device", "company", "coverage"]
    before = compute_dsi(_results(*rows), _pages()).select(columns)
    after = compute_dsi(_results(*rows, *extra), _pages()).select(columns)
    assert before.sort(columns).equals(after.sort(columns))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"position": 0}, "position 0 is below 1"),
        ({"volume": -1}, "volume -1.0 is negative"),
        ({"relevance": 1.01}, "relevance 1.01 is not in"),
        ({"relevance": float("nan")}, "relevance nan is not in"),
        ({"company": None}, "results frame has nulls in company"),
        ({"keyword_id": 9}, "1 results of keywords not collected"),
        ({"url": "https://a.com/q", "volume": 11}, "1 keywords have two volumes"),
        ({"relevance": 0.4}, "1 URLs have two relevances, such as 'https://a.com/p'"),
    ],
)
def test_frames_that_contradict_themselves_are_refused(other: Row, message: str) -> None:
    """The error names the wrong input's value. It is never used."""
    good = _row("a.com", 1, 1, 10, relevance=0.5)
    with pytest.raises(ValueError, match=message):
        compute_dsi(_results(good, good | other), _collected(2))


def test_missing_columns_are_named() -> None:
    """A frame without a needed column is refused by the column's name."""
    frame = _results(_row("a.com", 1, 1, 10))
    with pytest.raises(ValueError, match="results frame lacks position, volume"):
        compute_dsi(frame.drop("position", "volume"), _collected(1))
    with pytest.raises(ValueError, match="collected frame lacks device"):
        compute_dsi(frame, _collected(1).drop("device"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"curve": "nope"}, "unknown CTR curve 'nope'"),
        ({"ai_overview_factor": 1.5}, "ai_overview_factor 1.5"),
        ({"ai_overview_factor": float("nan")}, "ai_overview_factor nan"),
        ({"unknown_volume": "zero"}, "unknown_volume 'zero'"),
    ],
)
def test_wrong_settings_are_user_errors(wrong: Row, message: str) -> None:
    """The error names an invalid setting and its value."""
    with pytest.raises(UserError, match=message):
        TrafficConfig(**wrong)
