"""The scorecard as text: a line per row while it runs, and the page ``docs/reliability.md``."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from harness.figures import Figure

from chaos.scorecard import Row

_HEAD = """# Measured reliability

Written by `make chaos`; do not edit. Auditors outside the code took every figure: the simulator's
call log, its credit ledger and the database. The bound of each figure follows it in brackets.
`make chaos ARGS="--seed {seed}"` repeats this run. The tests run some rows in a short form with a
fixed seed.

Seed {seed}; {passed} of {count} rows passed in {minutes:.0f} minutes; {machine}.

| # | campaign | passes if | measured | |
|---|---|---|---|---|
"""
_SWITCHED_OFF = """
## With the mechanism switched off
Each row was once measured with the mechanism behind its promise switched off. This run did not
repeat that.

| # | switched off, and the result |
|---|---|
"""
_COVERED = """
## Rows that only `make chaos` runs
Other tests cover the promises of these rows. `make test` runs the short form of every other row.

| # | covered by |
|---|---|
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A campaign's figures, or the ``error`` that ended it."""

    row: Row
    figures: tuple[Figure, ...]
    seconds: float
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every figure holds. An error, or no figure at all, is a failure."""
        return self.error is None and bool(self.figures) and all(f.holds for f in self.figures)


def line(outcome: Outcome) -> str:
    """One line for a terminal."""
    result = "pass" if outcome.passed else "FAIL"
    return (
        f"{outcome.row.number:>2} {result} {outcome.seconds:7.1f} s  {outcome.row.test}:"
        f" {_measured(outcome)}"
    )


def document(outcomes: Sequence[Outcome], seed: int) -> str:
    """The page."""
    head = _HEAD.format(
        seed=seed,
        passed=sum(outcome.passed for outcome in outcomes),
        count=len(outcomes),
        minutes=sum(outcome.seconds for outcome in outcomes) / 60,
        machine=f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
    )
    rows = "".join(
        f"| {o.row.number} | {o.row.test} | {o.row.passes} | {_measured(o)}"
        f" | {'pass' if o.passed else '**FAIL**'} |\n"
        for o in outcomes
    )
    switched_off = "".join(f"| {o.row.number} | {o.row.switched_off} |\n" for o in outcomes)
    covered = "".join(
        f"| {o.row.number} | {', '.join(f'`{test}`' for test in o.row.covered_by)} |\n"
        for o in outcomes
        if o.row.covered_by
    )
    return head + rows + _SWITCHED_OFF + switched_off + _COVERED + covered


def _measured(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"failed: {outcome.error}".replace("|", "\\|")
    return "; ".join(map(str, outcome.figures)) or "nothing measured"
