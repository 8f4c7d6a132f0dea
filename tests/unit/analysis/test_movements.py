"""Positions won and lost between two dates."""

import polars as pl

from serpline.analysis.movements import counted, movements

PLACE = ("organic", "US", "desktop")
_RESULT = ["content_type", "market", "device", "keyword_id", "company", "url", "position"]


def _side(
    *results: tuple[int, str, str, int], pages: tuple[int, ...] = (1, 2, 3)
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keyword, company, path and position."""
    rows = [
        (*PLACE, keyword, f"{name}.com", f"https://{name}.com/{path}", position)
        for keyword, name, path, position in results
    ]
    kinds = dict.fromkeys(_RESULT, pl.String) | {"keyword_id": pl.Int64, "position": pl.Int64}
    found = pl.DataFrame(rows, kinds, orient="row")
    return found, pl.DataFrame([(*PLACE, page) for page in pages], _RESULT[:4], orient="row")


def test_the_best_result_moves() -> None:
    """A company's best result counts, with its address; new and lost keywords are named."""
    before = _side((1, "a", "old", 4), (1, "a", "x", 9), (2, "a", "", 11), (3, "b", "", 1))
    after = _side((1, "a", "x", 2), (1, "a", "old", 8), (2, "a", "", 30), (3, "a", "", 10))
    moved = movements(before, after)
    rows = {(row["company"], row["keyword_id"]): row for row in moved.to_dicts()}
    assert {key: row["movement"] for key, row in rows.items()} == {
        ("a.com", 1): "up", ("a.com", 2): "down", ("a.com", 3): "new", ("b.com", 3): "lost",
    }  # fmt: skip
    first = rows["a.com", 1]
    assert (first["position_before"], first["position_after"]) == (4, 2)
    assert (first["url_before"], first["url_after"]) == ("https://a.com/old", "https://a.com/x")
    counts = {row["company"]: row for row in counted(moved).to_dicts()}
    a, b = counts["a.com"], counts["b.com"]
    assert (a["keywords_new"], a["keywords_up"], a["keywords_down"], a["keywords_lost"]) == (
        1, 1, 1, 0,
    )  # fmt: skip
    assert (a["top3_won"], a["top3_lost"], a["top10_won"], a["top10_lost"]) == (1, 0, 1, 0)
    assert (b["keywords_lost"], b["top3_lost"], b["top10_lost"], b["top3_won"]) == (1, 1, 1, 0)


def test_a_missing_page_loses_no_position() -> None:
    """A keyword that one side did not collect is not compared."""
    before = _side((1, "a", "", 1), (2, "a", "", 2))
    after = _side((1, "a", "", 1), pages=(1, 3))
    assert [
        (row["keyword_id"], row["movement"]) for row in movements(before, after).to_dicts()
    ] == [(1, "same")]
