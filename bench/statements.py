"""What each statement took of the server's processors, from the server's log.

PostgreSQL writes the processor time of each statement it parses, binds or executes. So nothing is
asked of a client, the queue's library is seen, too, and waiting counts for nothing: neither for a
lock, nor for a client that reads slowly, nor for a processor that others use.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOGGED = ("log_statement_stats = on", "log_parameter_max_length = 0")
"""The settings of a database whose statements are to be logged."""

_BEGINS = re.compile(r"\d{4}-\d\d-\d\d .{,40}? (LOG|DETAIL|STATEMENT):  (.*)", re.DOTALL)
_TAKEN = re.compile(r"\t!\t([0-9.]+) s user, ([0-9.]+) s system, ")
# COPY and the like carry their values in their text.
_VALUE = re.compile(r"'[^']*'|\b\d+\b")


@dataclass(slots=True)
class Cost:
    """How often a statement was executed, and the seconds of processor time for it in all."""

    calls: int = 0
    seconds: float = 0.0


def costs(log: Path, offset: int) -> dict[str, Cost]:
    """By the statement's text, without values: what was logged behind ``offset`` (bytes)."""
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
    """The parts of the log's entries; a line that begins none belongs to the one before."""
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
