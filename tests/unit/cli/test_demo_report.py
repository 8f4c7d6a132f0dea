"""The demo's table of figures."""

import pytest

from serpline.cli.demo_report import _show_dsi


def test_a_type_without_figures_is_unknown_not_unranked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """News failed: its cells are unknown. Video was collected: b's cell is empty, not ranked."""
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
    lines = {line.split("│")[1].strip(): line for line in capsys.readouterr().out.splitlines()
             if line.startswith("│")}  # fmt: skip
    shown = {name: [cell.strip() for cell in line.split("│")[3:-1]] for name, line in lines.items()}
    assert shown == {
        "a": ["1.500", "1.500", "–", "1.500", "0.500"],
        "b": ["1.500", "1.500", "–", "", "0.500"],
    }
