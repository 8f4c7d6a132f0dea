"""The scorecard as text: a line per row while it runs, and the page ``docs/reliability.md``."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from harness.figures import Figure

from chaos.scorecard import Row

_HEAD = """# Reliability, measured

Written by `make chaos`; do not edit. Every figure was taken by an auditor outside the code it
judges: the simulator's call log and credit ledger, and the database. The bound stands behind each
figure. `make chaos ARGS="--seed {seed}"` repeats this campaign; the tests run most rows in a
shorter form with a fixed seed.

Seed {seed}; {passed} of {count} rows passed in {minutes:.0f} minutes; {machine}.

| # | test | passes when | measured | |
|---|---|---|---|---|
"""
_MECHANISMS = """
## What makes it hold
What each row measured when its mechanism was taken away, as it was seen when that was tried; this
run did not try it again.

| # | switched off, and what was seen |
|---|---|
"""
_HELD = """
## Rows that only `make chaos` runs
`make test` runs the short form of every other row. These promises are held by tests of their own.

| # | tests |
|---|---|
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a campaign measured, or the ``error`` that broke it."""

    row: Row
    figures: tuple[Figure, ...]
    seconds: float
    error: str | None = None

    @property
    def passed(self) -> bool:
        """A campaign that broke, or measured nothing, proves nothing."""
        return self.error is None and bool(self.figures) and all(f.holds for f in self.figures)


def line(outcome: Outcome) -> str:
    """One line for a terminal."""
    verdict = "pass" if outcome.passed else "FAIL"
    return (
        f"{outcome.row.number:>2} {verdict} {outcome.seconds:7.1f} s  {outcome.row.test}:"
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
    mechanisms = "".join(f"| {o.row.number} | {o.row.switched_off} |\n" for o in outcomes)
    held = "".join(
        f"| {o.row.number} | {', '.join(f'`{test}`' for test in o.row.covered_by)} |\n"
        for o in outcomes
        if o.row.covered_by
    )
    return head + rows + _MECHANISMS + mechanisms + _HELD + held


def _measured(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"broke off: {outcome.error}".replace("|", "\\|")
    return "; ".join(map(str, outcome.figures)) or "nothing measured"
