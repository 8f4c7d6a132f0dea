"""The benchmarks as text: a line per figure while they run, and the page ``docs/benchmarks.md``."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from harness.figures import Figure

_HEAD = """# Measured speed

Written by `make bench`; do not edit. Both sides of a ratio run alternately on one PostgreSQL
server, and the ratio is that of the medians of three rounds. Memory is the peak of a fresh process.
{machine}; {minutes:.0f} minutes.

| measure | figure | measured | bound | |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A measure's figures, or the ``error`` that ended it."""

    name: str
    title: str
    figures: Sequence[Figure]
    notes: Sequence[str]
    seconds: float
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every figure holds. An error, or no figure at all, is a failure."""
        return self.error is None and bool(self.figures) and all(f.holds for f in self.figures)


def lines(outcome: Outcome) -> str:
    """A line per figure, and one per note."""
    rows = [
        f"{'pass' if f.holds else 'FAIL'}  {outcome.name}: {f.name}: {f.value:,.4g}"
        f" ({f.relation} {f.bound:g})"
        for f in outcome.figures
    ]
    if outcome.error is not None:
        rows.append(f"FAIL  {outcome.name}: failed: {outcome.error}")
    rows += [f"      {note}" for note in outcome.notes]
    return "\n".join([*rows, f"      {outcome.seconds:,.0f} s"]) + "\n"


def document(outcomes: Sequence[Outcome]) -> str:
    """The page."""
    head = _HEAD.format(
        machine=f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        minutes=sum(outcome.seconds for outcome in outcomes) / 60,
    )
    rows = "".join(_rows(outcome) for outcome in outcomes)
    notes = "".join(f"- {o.title}: {'; '.join(o.notes)}.\n" for o in outcomes if o.notes)
    return f"{head}{rows}\n## Details\n{notes}"


def _rows(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"| {outcome.title} | failed: {_cell(outcome.error)} | | | **FAIL** |\n"
    return "".join(
        f"| {outcome.title} | {_cell(f.name)} | {f.value:,.4g} | {f.relation} {f.bound:g}"
        f" | {'pass' if f.holds else '**FAIL**'} |\n"
        for f in outcome.figures
    )


def _cell(text: str) -> str:
    """A table would split at a bar, which SQL and errors hold."""
    return text.replace("|", "\\|")
