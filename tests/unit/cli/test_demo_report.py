"""The demo's table of figures."""

import pytest

from serpline.cli.demo_report import _show_dsi


def test_a_type_without_figures_is_unknown_not_unranked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """News failed: its cells are unknown. Video was collected: b does not rank in it."""
    place = {"market": "US", "device": "desktop", "coverage": 0.5}
    sources = [{"content_type": "organic"}, {"content_type": "video"}]
    rows = [
        {"company": name, "domain": f"{name}.com", "content_type": kind, "dsi": 1.5, **place}
        | {"sources": sources}
        for name, kind in (
            ("a", "all"), ("a", "organic"), ("a", "video"), ("b", "all"), ("b", "organic"),
        )
    ]  # fmt: skip
    _show_dsi(rows)
    _, _, _, *lines, legend = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert [line.split() for line in lines] == [
        ["a", "a.com", "1.500", "1.500", "?", "1.500", "0.500"],
        ["b", "b.com", "1.500", "1.500", "?", "–", "0.500"],
    ]
    assert legend == "? unknown"
