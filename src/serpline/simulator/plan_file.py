"""Read a fault plan from a YAML or JSON file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from serpline.domain.errors import UserError
from serpline.simulator.faults import parse

PLAN_BYTES_MAX = 10_000_000
_READERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
}


def read_plan(path: Path) -> Any:
    """Read and check the plan of a ``.yaml``, ``.yml`` or ``.json`` file.

    Raises ``UserError``: one line with the file and the position (line and column, or rule, key and
    value).
    """
    source = f"fault plan {path}"
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise UserError(f"{source}: the name must end in {', '.join(_READERS)}")
    try:
        if path.stat().st_size > PLAN_BYTES_MAX:
            raise UserError(f"{source}: larger than {PLAN_BYTES_MAX} bytes")
        plan = read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{source}: {_problem(error)}") from None
    parse(plan, source)
    return plan


def _problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start}: not UTF-8"
    # The rest: a character that YAML forbids, an invalid date, unlimited nesting.
    return " ".join(str(error).split())[:200]
