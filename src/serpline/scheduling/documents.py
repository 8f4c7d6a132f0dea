"""A schedule document: one specification, or a list of them."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from serpline.config.documents import read_json
from serpline.domain.errors import UserError
from serpline.scheduling.merging import SPECS_MAX, check_compatible
from serpline.scheduling.spec import ScheduleSpec

_SEVERAL = Annotated[list[ScheduleSpec], Field(min_length=1, max_length=SPECS_MAX)]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a schedule document."""
    return TypeAdapter[Any](ScheduleSpec | _SEVERAL).json_schema()


def read_specs(document: bytes) -> tuple[ScheduleSpec, ...]:
    """Read a JSON document. Raises ``UserError``: one line that names the key and the value."""
    return specs_from_json(read_json(document))


def specs_from_json(given: Any) -> tuple[ScheduleSpec, ...]:
    """Read one specification or a list; an error in a list gives its number (from 1)."""
    if not isinstance(given, list):
        return (ScheduleSpec.from_json(given),)
    if not 1 <= len(given) <= SPECS_MAX:
        raise UserError(f"a schedule has 1 to {SPECS_MAX} specifications, not {len(given)}")
    specs = tuple(_numbered(number, one) for number, one in enumerate(given, 1))
    check_compatible(specs)
    return specs


def _numbered(number: int, given: Any) -> ScheduleSpec:
    try:
        return ScheduleSpec.from_json(given)
    except UserError as error:
        raise UserError(f"specification {number}: {error}") from None
