"""A schedule as a person writes it: a JSON document of one specification, or a list of them."""

import json
from typing import Any

from serpline.domain.errors import UserError
from serpline.scheduling.merging import SPECS_MAX, check_together
from serpline.scheduling.spec import ScheduleSpec
from serpline.scheduling.values import shown

SIZE_BYTES_MAX = 1_000_000


def read_specs(document: bytes) -> tuple[ScheduleSpec, ...]:
    """Read a UTF-8 document. Raises ``UserError``, one line that names the key and the value."""
    if len(document) > SIZE_BYTES_MAX:
        raise UserError(f"{len(document)} bytes: a schedule has at most {SIZE_BYTES_MAX}")
    try:
        given = json.loads(document.decode("utf-8-sig"), object_pairs_hook=_each_key_once)
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: the byte at {error.start} is no part of a character") from None
    except RecursionError:
        raise UserError("not a schedule: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"not JSON: {error}") from None
    return specs_from_json(given)


def specs_from_json(given: Any) -> tuple[ScheduleSpec, ...]:
    """One specification or a list of them; an error in a list says in which (from 1)."""
    if not isinstance(given, list):
        return (ScheduleSpec.from_json(given),)
    if not 1 <= len(given) <= SPECS_MAX:
        raise UserError(f"a schedule has 1 to {SPECS_MAX} specifications, not {len(given)}")
    specs = tuple(_numbered(number, one) for number, one in enumerate(given, 1))
    check_together(specs)
    return specs


def _numbered(number: int, given: Any) -> ScheduleSpec:
    try:
        return ScheduleSpec.from_json(given)
    except UserError as error:
        raise UserError(f"specification {number}: {error}") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f"{shown(key)}={shown(value)}: the key is given twice")
        found[key] = value
    return found
