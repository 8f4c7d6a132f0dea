"""The table of what phases need, as the docs show it."""

from pathlib import Path

import pytest

from serpline.domain.names import PhaseName
from serpline.domain.phase_inputs import PHASE_INPUTS
from serpline.domain.phases import PHASE_DEPENDENCIES

DOCS = Path(__file__).parents[3] / "docs"
SHOWN = [phase for phase in PhaseName if phase is not PhaseName.DSI_CALCULATION]


@pytest.mark.parametrize("phase", SHOWN)
def test_the_docs_show_the_table(phase: PhaseName) -> None:
    """The page on figures and that on the architecture have each phase's row."""
    row = PHASE_INPUTS[phase]
    shown = f"| {phase} | {row.need} | {row.sources} | {row.without} |"
    assert shown in (DOCS / "figures.md").read_text(encoding="utf-8")
    reads = ", ".join(f"**{p}**" if need == "needed" else p for p, need in row.reads.items())
    cells = (phase, ", ".join(PHASE_DEPENDENCIES[phase]), reads, row.sources)
    line = "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"
    assert line in (DOCS / "architecture.md").read_text(encoding="utf-8")
