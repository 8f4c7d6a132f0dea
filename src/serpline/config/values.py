"""Types of configuration values: each has its bounds and names them in its error.

Values are not converted: ``true`` and ``"5"`` are not numbers, ``3.0`` is not a whole number.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    TypeAdapter,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core import core_schema as cs

from serpline.domain.names import PROVIDERS, SEARCHED_TYPES, Device, JobPriority
from serpline.domain.text import composed, is_name, is_storable

BATCH_SIZE_MAX = 15_000
# The largest value that a column of credits can hold.
AMOUNT_LIMIT = 1e12
NAME_CHARACTERS_MAX = 200
_LIST_ITEMS_MAX = 100
_UNLIMITED = "unlimited"
_PRIORITY_WORDS = [member.name.lower() for member in JobPriority]
T = TypeVar("T")


class Allowed:
    """The allowed values, in words. The error message is "must be " and the words."""

    def __init__(self, words: str) -> None:
        self.words = words

    def error(self, hint: str = "") -> PydanticCustomError:
        """The error for a value that is not allowed."""
        return PydanticCustomError("must", "{words}", {"words": f"must be {self.words}{hint}"})


class Must(Allowed):
    """Replace the error message of a value's validation by the words.

    ``schema`` is the validation; by default that of the annotated type.
    """

    def __init__(self, words: str, schema: CoreSchema | None = None) -> None:
        super().__init__(words)
        self.schema = schema

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Wrap the validation of the value."""
        return cs.custom_error_schema(
            self.schema or handler(source), "must", custom_error_message=f"must be {self.words}"
        )


def whole(low: int, high: int) -> Must:
    """A whole number from ``low`` to ``high``."""
    return Must(f"a whole number, {low} to {high}", cs.int_schema(strict=True, ge=low, le=high))


def number(words: str, **bounds: float) -> Must:
    """A finite number; ``bounds`` are ``ge``, ``gt``, ``le`` and ``lt``."""
    schema = cs.float_schema(strict=True, allow_inf_nan=False)
    return Must(f"a number, {words}", cast(CoreSchema, {**schema, **bounds}))


def one_of(members: Sequence[str]) -> Must:
    """A value of an enumeration, read as its member."""
    return Must(f"one of {', '.join(members)}", cs.literal_schema(list(members)))


def _priority(given: Any) -> JobPriority:
    """Read a priority from its word."""
    if isinstance(given, JobPriority):
        return given
    if not isinstance(given, str) or given not in _PRIORITY_WORDS:
        raise ValueError(given)
    return JobPriority[given.upper()]


def searches_per_batch(unlimited: int | None) -> Must:
    """Searches of a provider batch; the word "unlimited" is read as ``unlimited``."""
    size = cs.int_schema(strict=True, ge=1, le=BATCH_SIZE_MAX)
    schema = cs.no_info_wrap_validator_function(
        lambda given, read: unlimited if given == _UNLIMITED else read(given),
        size,
        json_schema_input_schema=cs.union_schema([size, cs.literal_schema([_UNLIMITED])]),
        serialization=cs.plain_serializer_function_ser_schema(
            lambda value: _UNLIMITED if value is None else value, when_used="json"
        ),
    )
    return Must(f'1 to {BATCH_SIZE_MAX}, or "{_UNLIMITED}"', schema)


def _only(test: Callable[[T], bool]) -> AfterValidator:
    """Refuse values that fail ``test``."""

    def check(value: T) -> T:
        if not test(value):
            raise ValueError(value)
        return value

    return AfterValidator(check)


class ListOf(Allowed):
    """A list of at least ``least`` values, without duplicates, in the order of ``members``.

    ``or_one``: a single value is read as a list of one. Without ``members`` any value of the item's
    type is allowed, and the order is the given one.
    """

    def __init__(
        self, members: Sequence[Any], words: str = "", *, least: int = 1, or_one: bool = False
    ) -> None:
        super().__init__(f"a list of {words or ', '.join(members)}{', at least one' * least}")
        self.members, self.least, self.or_one = members, least, or_one

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check the list, then each value, then sort them."""
        bounds = {"min_length": self.least, "max_length": _LIST_ITEMS_MAX}
        items = cast(CoreSchema, {**handler(source), **bounds})
        listed = cs.no_info_before_validator_function(self._list, items)
        return cs.no_info_after_validator_function(self._in_order, listed)

    def _list(self, given: Any) -> Any:
        if self.or_one and isinstance(given, str):
            return [given]
        is_list = isinstance(given, list | tuple | set | frozenset)
        if not is_list or len(given) < self.least:
            raise self.error()
        if len(given) > _LIST_ITEMS_MAX:
            raise self.error(f", at most {_LIST_ITEMS_MAX}, not {len(given)}")
        return given

    def _in_order(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(member for member in self.members or dict.fromkeys(found) if member in found)


class _Omittable:
    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        nullable = handler(source)
        assert nullable["type"] == "nullable"
        given = nullable["schema"]
        unless_none = cs.wrap_serializer_function_ser_schema(
            lambda value, write: None if value is None else write(value), schema=given
        )
        return cast(CoreSchema, {**given, "serialization": unless_none})


# A key that may be omitted, which gives None, but may not be null.
Omittable = Annotated[T | None, _Omittable()]


def read_time(given: Any) -> datetime:
    """Read an ISO 8601 time. Raises ``ValueError``."""
    if isinstance(given, datetime):
        return given
    if not isinstance(given, str):
        raise ValueError(given)
    return datetime.fromisoformat(given)


# Reads both spellings of a letter with an accent as one.
OneSpelling = BeforeValidator(lambda given: composed(given) if isinstance(given, str) else given)
SearchedType = Annotated[str, one_of(SEARCHED_TYPES)]
SearchedDevice = Annotated[Device, one_of(tuple(Device))]
Switch = Annotated[bool, Must("true or false", cs.bool_schema(strict=True))]
Ratio = Annotated[float, number("0 to 1", ge=0, le=1)]
Amount = Annotated[float, number(f"0 or more, below {AMOUNT_LIMIT:.0e}", ge=0, lt=AMOUNT_LIMIT)]
Text = Annotated[
    str,
    Field(strict=True),
    _only(is_storable),
    Must("text without NUL or lone surrogates"),
]
Priority = Annotated[
    JobPriority,
    Must(
        f"one of {', '.join(_PRIORITY_WORDS)}",
        cs.no_info_plain_validator_function(
            _priority, json_schema_input_schema=cs.literal_schema(_PRIORITY_WORDS)
        ),
    ),
    PlainSerializer(lambda priority: priority.name.lower(), return_type=str),
]
CreditLimits = Annotated[
    Mapping[Annotated[str, one_of(PROVIDERS)], Amount],
    Allowed(f"numbers by provider ({', '.join(PROVIDERS)}), each 0 or more"),
]
Name = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=NAME_CHARACTERS_MAX),
    _only(is_name),
    OneSpelling,
    Must(f"1 to {NAME_CHARACTERS_MAX} printable characters, no space at an end"),
]
NAME: TypeAdapter[str] = TypeAdapter(Name)
AwareTime = Annotated[
    datetime,
    BeforeValidator(read_time),
    _only(lambda time: time.tzinfo is not None),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
    Must("an ISO 8601 time with a time zone, such as 2026-01-31T09:00:00Z"),
]
