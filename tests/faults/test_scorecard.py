"""Rows of the scorecard of ``make chaos``, in a shorter form and with a fixed seed.

Left out are the rows whose promise other tests hold (``Row.covered_by``).
"""

from pathlib import Path

import pytest
from chaos.scorecard import Context, Row, all_rows

from serpline.store.embedded.server import EmbeddedServer

SEED = 20
ROOT = Path(__file__).parents[2]


def _group(row: Row) -> str:
    """Rows that compare with the same undisturbed run stay together; others go by themselves."""
    return "undisturbed" if row.number in (2, 4, 15) else f"row {row.number}"


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=f"{row.number:02}", marks=pytest.mark.xdist_group(_group(row)))
        for row in all_rows()
        if not row.covered_by
    ],
)
async def test_every_figure_keeps_to_its_bound(
    row: Row, postgres: EmbeddedServer, template_database: str, tmp_path: Path
) -> None:
    """What the row measures, by an auditor outside the code, holds."""
    directory = tmp_path / f"row-{row.number:02}"
    directory.mkdir()
    context = Context(SEED, False, directory, postgres, template_database)
    figures = await row.campaign(context)
    assert figures, "nothing was measured"
    failed = [figure for figure in figures if not figure.holds]
    assert [str(figure) for figure in failed] == []


def test_what_holds_a_row_that_is_left_out_is_there() -> None:
    """Each test that stands for the short form of a row exists, and no other row is left out."""
    left_out = [row for row in all_rows() if row.covered_by]
    assert [row.number for row in left_out] == [1, 3, 5, 7, 8, 10, 11, 12, 14, 16, 19, 20, 21]
    for row in left_out:
        for name in row.covered_by:
            path, _, test = name.partition("::")
            assert f"def {test or 'test_'}" in (ROOT / path).read_text(encoding="utf-8"), name
