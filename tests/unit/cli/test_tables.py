"""Tables at the width of a terminal."""

from uuid import UUID

import pytest
from rich.cells import cell_len

from serpline.cli.tables import ID_CHARACTERS, WIDE, Column, Sign, show_table, sparkline

RUN = UUID("0123abcd-0000-4000-8000-000000000000")
COLUMNS = [
    Column("company", drop=0),
    Column("share", drop=3, digits=4, missing=Sign.UNKNOWN),
    Column("curve", drop=1, wraps=False),
    Column("note", drop=2),
    Column("run"),
]
ROW = ["acme.com", 0.25, "a-curve-with-a-long-name", "what happened " * 8, RUN]


def _shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(80, []), (60, ["curve"]), (39, ["curve", "note"]), (20, ["share", "curve", "note"])],
)
def test_the_least_important_columns_are_left_out(
    width: int,
    left_out: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No line is wider than the terminal; text wraps first; a line names what is not shown."""
    monkeypatch.setenv("COLUMNS", str(width))
    show_table(COLUMNS, [ROW], title="DSI of run " * 9)
    lines = _shown(capsys)
    assert max(map(cell_len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert ("not shown" in text) is bool(left_out)
    assert f"not shown: {', '.join(left_out)} (--wide shows all)" in text or not left_out
    assert ("a-curve-with-a-long-name" in text) is ("curve" not in left_out)
    assert f" {str(RUN)[:ID_CHARACTERS]}" in text


@pytest.mark.parametrize(
    ("markets", "shown", "left_out"),
    [(["US", "GB"], ["market", "company"], "note"), (["US"] * 2, ["company"], "market, note")],
)
def test_what_tells_rows_apart_stays(
    markets: list[str],
    shown: list[str],
    left_out: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A column in which rows differ is not left out before one that only describes them."""
    monkeypatch.setenv("COLUMNS", "24")
    columns = [Column("market", drop=1, is_key=True), Column("company"), Column("note", drop=2)]
    show_table(columns, [[market, "acme.example.com", "long " * 4] for market in markets])
    header, *rest = _shown(capsys)
    assert header.split() == shown
    assert " ".join(" ".join(rest).split()).endswith(f"not shown: {left_out} (--wide shows all)")


@pytest.mark.parametrize("by", ["pipe", "flag"])
def test_each_row_is_a_line(
    by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe and with --wide, every column is whole, with the run's whole id."""
    if by == "flag":
        monkeypatch.setenv("COLUMNS", "30")
        token = WIDE.set(True)
    else:
        monkeypatch.delenv("COLUMNS", raising=False)
    try:
        show_table(COLUMNS, [ROW] * 2, title="DSI")
    finally:
        if by == "flag":
            WIDE.reset(token)
    title, header, _, *rows = _shown(capsys)
    assert (title, header.split()) == ("DSI", [each.label for each in COLUMNS])
    assert [row.split()[0] for row in rows] == ["acme.com"] * 2
    assert all(row.rstrip().endswith(f"what happened   {RUN}") for row in rows)


def test_signs_tell_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown, not applicable and none differ; the first two are explained where they occur."""
    columns = [Column("a", missing=Sign.UNKNOWN, digits=2), "b", "c"]
    show_table(columns, [[None, Sign.NOT_APPLICABLE, None]])
    assert _shown(capsys)[2:] == ["?  n/a  –", "? unknown; n/a not applicable"]
    show_table(columns, [[1.0, 2, None]])
    assert _shown(capsys)[2:] == ["1.00  2  –"]


def test_numbers_are_aligned_and_never_0_by_rounding(capsys: pytest.CaptureFixture[str]) -> None:
    """A share too small for its digits is not shown as 0; a change has its sign."""
    columns = [Column("share", digits=2), Column("change", digits=1, signed=True)]
    show_table(columns, [[12.0, 3.0], [0.001, -0.001], [0.0, 1234.5]])
    lines = _shown(capsys)[2:]
    assert [line.split() for line in lines] == [
        ["12.00", "+3.0"],
        ["<0.01", ">-0.1"],
        ["0.00", "+1,234.5"],
    ]
    assert {len(line.rstrip()) for line in lines} == {15}


def test_colours_honour_no_color(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A marked company's row is green in a terminal, and not where NO_COLOR is set."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    green = "\x1b[32m"
    show_table(["company"], [["acme.com"]], styles=["green"])
    assert green in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    show_table(["company"], [["acme.com"]], styles=["green"])
    assert green not in capsys.readouterr().out


def test_a_sparkline_has_a_bar_for_each_value() -> None:
    """The best value is the highest bar; unknown ones have none."""
    assert sparkline([1, 2, None, 8]) == "▁▂·█"
    assert sparkline([1, None, 10], lowest_is_best=True) == "█·▁"
    assert sparkline([5.0, 5.0]) == "▅▅"
    assert sparkline([None, None]) == "··"
