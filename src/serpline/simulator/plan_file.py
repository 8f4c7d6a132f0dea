"""A fault plan from a file: YAML or JSON, as the file's name says."""

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
    """The checked plan of a ``.yaml``, ``.yml`` or ``.json`` file.

    Raises ``UserError``, one line that names the file and the place in it: line and column, or
    rule, key and value.
    """
    source = f"fault plan {path}"
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise UserError(f"{source}: its name must end in {', '.join(_READERS)}")
    try:
        if path.stat().st_size > PLAN_BYTES_MAX:
            raise UserError(f"{source}: larger than {PLAN_BYTES_MAX} bytes")
        plan = read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{source}: {_what_is_wrong(error)}") from None
    parse(plan, source)
    return plan


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start}: not UTF-8"
    # What is left: a character that YAML forbids, a date that is none, bottomless depth.
    return " ".join(str(error).split())[:200]
