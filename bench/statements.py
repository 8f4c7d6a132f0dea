"""The processor time of each statement, from the server's log.

PostgreSQL logs the processor time of each statement that it parses, binds or executes. So no client
takes part, the statements of the queue's library are included, and waits cost nothing: for a lock,
for a client that reads slowly, or for a busy processor.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOGGED = ("log_statement_stats = on", "log_parameter_max_length = 0")
"""Settings of a database whose statements are logged."""

_BEGINS = re.compile(r"\d{4}-\d\d-\d\d .{,40}? (LOG|DETAIL|STATEMENT):  (.*)", re.DOTALL)
_TAKEN = re.compile(r"\t!\t([0-9.]+) s user, ([0-9.]+) s system, ")
# COPY and similar statements have values in their text.
_VALUE = re.compile(r"'[^']*'|\b\d+\b")


@dataclass(slots=True)
class Cost:
    """A statement's executions, and their total processor time in seconds."""

    calls: int = 0
    seconds: float = 0.0


def costs(log: Path, offset: int) -> dict[str, Cost]:
    """Costs by the statement's text without values, from the log after ``offset`` (bytes)."""
    found: dict[str, Cost] = defaultdict(Cost)
    kind, seconds = "", 0.0
    for part, message in _parts(log, offset):
        if part == "LOG":
            kind, seconds = message.strip(), 0.0
        elif part == "DETAIL" and (taken := _TAKEN.search(message)):
            seconds = float(taken[1]) + float(taken[2])
        elif part == "STATEMENT" and kind.endswith("STATISTICS"):
            cost = found[_VALUE.sub("?", " ".join(message.split()))]
            cost.seconds += seconds
            cost.calls += kind.startswith(("QUERY", "EXECUTE"))
    return found


def _parts(log: Path, offset: int) -> Iterator[tuple[str, str]]:
    """The parts of the log's entries; other lines belong to the part before."""
    name, message = "", ""
    with log.open("rb") as file:
        file.seek(offset)
        for raw in file:
            line = raw.decode("utf-8", "replace")
            if begins := _BEGINS.match(line):
                yield name, message
                name, message = begins[1], begins[2]
            else:
                message += line
    yield name, message
