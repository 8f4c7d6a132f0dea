"""A schedule document: one specification, or a list of them, as JSON or YAML."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from serpline.config.documents import read_json, read_yaml
from serpline.config.model import all_lines, shown
from serpline.domain.errors import UserError
from serpline.scheduling.frequencies import Frequency, frequency_faults
from serpline.scheduling.merging import SPECS_MAX, check_compatible
from serpline.scheduling.spec import ScheduleSpec

FAULTS_SHOWN_MAX = 20
_SEVERAL = Annotated[list[ScheduleSpec], Field(min_length=1, max_length=SPECS_MAX)]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a schedule document."""
    return TypeAdapter[Any](ScheduleSpec | _SEVERAL).json_schema()


def read_specs(document: bytes, *, is_yaml: bool = False) -> tuple[ScheduleSpec, ...]:
    """Read a document. Raises ``UserError``: one line that names every fault."""
    return specs_from_json(read_yaml(document) if is_yaml else read_json(document))


def specs_from_json(given: Any) -> tuple[ScheduleSpec, ...]:
    """Read one specification or a list. Raises ``UserError``: one line that names every fault.

    Faults in a list give the number of the specification (from 1).
    """
    several = given if isinstance(given, list) else [given]
    if not 1 <= len(several) <= SPECS_MAX:
        raise UserError(f"a schedule has 1 to {SPECS_MAX} specifications, not {len(several)}")
    specs: list[ScheduleSpec] = []
    faults: list[str] = []
    for number, one in enumerate(several, 1):
        found = _read(one)
        if isinstance(found, ScheduleSpec):
            specs.append(found)
            continue
        place = f"specification {number}: " if isinstance(given, list) else ""
        faults += [f"{place}{line}" for line in found]
    _raise_all(faults)
    check_compatible(specs)
    return tuple(specs)


def stored_specs(given: Sequence[Any]) -> tuple[ScheduleSpec, ...]:
    """Read the specifications of a stored schedule, which were checked together before.

    Raises ``UserError`` if this release refuses one: a time zone may have been dropped.
    """
    found = [_read(one) for one in given]
    _raise_all([line for each in found if isinstance(each, list) for line in each])
    return tuple(each for each in found if isinstance(each, ScheduleSpec))


def _raise_all(faults: Sequence[str]) -> None:
    if faults:
        more = len(faults) - FAULTS_SHOWN_MAX
        rest = [f"and {more} more"] if more > 0 else []
        raise UserError("; ".join([*faults[:FAULTS_SHOWN_MAX], *rest]))


def _read(given: Any) -> ScheduleSpec | list[str]:
    if not isinstance(given, Mapping):
        return [f"must be an object, not {shown(given)}"]
    try:
        return ScheduleSpec.model_validate(dict(given))
    except ValidationError as error:
        return [*all_lines(error), *_faults_of_frequency(given, error)]


def _faults_of_frequency(given: Mapping[Any, Any], error: ValidationError) -> list[str]:
    """The faults that the model looks for only once every single value is right."""
    if given.get("frequency") not in list(Frequency):
        return []
    known = {fault["loc"][0] for fault in error.errors(include_url=False) if fault["loc"]}
    faults = [
        fault
        for fault in frequency_faults(Frequency(given["frequency"]), given)
        if fault.get("loc", ())[0] not in known
    ]
    return all_lines(ValidationError.from_exception_data("ScheduleSpec", faults)) if faults else []
