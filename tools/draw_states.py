"""Draw the state machines of ``domain/states.py`` into ``docs/architecture.md``.

``python tools/draw_states.py`` rewrites the diagrams. A test compares them with the dictionaries.
"""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from serpline.domain.states import MACHINES

DOCUMENT = Path(__file__).parents[1] / "docs" / "architecture.md"


def diagram(machine: Mapping[tuple[StrEnum, str], StrEnum]) -> str:
    """A Mermaid state diagram, with edges in the order of the dictionary."""
    edges = [f"    {source} --> {target}: {event}" for (source, event), target in machine.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *edges, "```"])


def drawn(document: str) -> str:
    """The document with every ``<!-- states: NAME -->`` block replaced."""
    for name, machine in MACHINES.items():
        begin, end = f"<!-- states: {name} -->\n", f"\n<!-- end: {name} -->"
        before, found, rest = document.partition(begin)
        if not found:
            raise SystemExit(f"{DOCUMENT.name} has no block for {name}")
        document = before + begin + diagram(machine) + end + rest.partition(end)[2]
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text()))
    sys.stdout.write(f"{DOCUMENT.name}: {len(MACHINES)} diagrams\n")
