"""Models of configuration objects, and their one-line error messages.

Every message names the path of the key, the value, and what is allowed. ``fault_line`` needs only
the fault itself, so it also formats faults that a web framework collects.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError

from serpline.config.values import Allowed
from serpline.domain.errors import UserError
from serpline.domain.names import nearest, suggestion

_SHOWN_CHARACTERS_MAX = 80
_ONE_OF = "must be one of "
T = TypeVar("T")


class ConfigModel(BaseModel):
    """An object of known keys, each with a description, bounds and a default.

    The constructor raises ``pydantic.ValidationError``; ``from_json`` raises ``UserError``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    # Messages for missing keys where the words of the field would mislead.
    MISSING_KEY_HINTS: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def from_json(cls, given: Any) -> Self:
        """Read the JSON form. Raises ``UserError``: one line that names the key and the value."""
        if not isinstance(given, Mapping):
            raise UserError(f"must be an object, not {shown(given)}")
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise UserError(first_line(error)) from None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that ``from_json`` reads, without keys whose value is None."""
        written = self.model_dump(mode="json", by_alias=True)
        return {key: value for key, value in written.items() if value is not None}

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """Return every accepted key with its field."""
        found = {}
        for name, field in cls.model_fields.items():
            alias = field.validation_alias or name
            for key in alias.choices if isinstance(alias, AliasChoices) else [alias]:
                found[str(key)] = field
        return found

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Replace the library's messages by ours."""
        try:
            return handler(given)
        except ValidationError as error:
            faults = [cls._reword(fault) for fault in error.errors(include_url=False)]
            raise ValidationError.from_exception_data(cls.__name__, faults) from None

    @classmethod
    def _reword(cls, fault: ErrorDetails) -> InitErrorDetails:
        kind, words = fault["type"], fault["msg"]
        if kind in ("extra_forbidden", "string_unicode"):
            # A key that is not text is not in the path; it is the input itself.
            key = str(fault["loc"][-1] if kind == "extra_forbidden" else fault["input"])
            kind, words = "unknown_key", suggestion(key, sorted(cls.keys()))
        elif kind == "missing":
            key = str(fault["loc"][-1])
            kind = "missing_key"
            words = cls.MISSING_KEY_HINTS.get(key) or f"must be {allowed(cls.keys()[key])}"
        elif kind in ("model_type", "dict_type"):
            keys = f" with {', '.join(cls.keys())}" if kind == "model_type" else ""
            kind, words = "must", f"must be an object{keys}"
        error = PydanticCustomError(kind, "{words}", {"words": words})
        return InitErrorDetails(type=error, loc=fault["loc"], input=fault["input"])

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Omit titles (they repeat the keys) and null defaults (they mean "not given")."""
        written = handler(schema)
        for each in handler.resolve_ref_schema(written)["properties"].values():
            each.pop("title", None)
            if each.get("default", ...) is None:
                del each["default"]
        return written


def allowed(field: FieldInfo) -> str:
    """Describe the allowed values of a field."""
    return next(_words([*field.metadata, field.annotation]))


def _words(parts: Sequence[Any]) -> Iterator[str]:
    """Yield the words of the outer type before those of its parts."""
    yield from (part.words for part in parts if isinstance(part, Allowed))
    for part in parts:
        yield from _words(get_args(part))


def read_value(kind: TypeAdapter[T], key: str, value: Any) -> T:
    """Read the single value of ``key``. Raises ``UserError`` with one line."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise UserError(f"{key}{first_line(error)}") from None


def first_line(error: ValidationError) -> str:
    """Format the first fault. Unknown keys come first: they explain missing ones."""
    faults = error.errors(include_url=False)
    return fault_line(min(faults, key=lambda fault: fault["type"] != "unknown_key"))


def all_lines(error: ValidationError) -> list[str]:
    """Format every fault, unknown keys first, without those that follow from a fault inside."""
    faults = error.errors(include_url=False)
    places = [fault["loc"] for fault in faults]
    own = [
        fault
        for fault in faults
        if not any(
            len(place) > len(fault["loc"]) and _is_in(place, fault["loc"]) for place in places
        )
    ]
    in_order = sorted(own, key=lambda fault: fault["type"] != "unknown_key")
    return list(dict.fromkeys(fault_line(fault) for fault in in_order))


def _is_in(place: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(outer) > 0 and place[: len(outer)] == outer


def fault_line(fault: ErrorDetails) -> str:
    """Format a fault in one line: the path of the key, the value, what is allowed."""
    names = [part for part in fault["loc"] if isinstance(part, str)]
    is_key = names[-1:] == ["[key]"]
    path, value = ".".join(names), shown(fault["input"])
    words = _with_nearest(fault["msg"], fault["input"])
    if is_key:
        return f"{_plain('.'.join(names[:-2]))}: key {value}: {words}"
    match fault["type"]:
        case "unknown_key":
            return f"unknown key {shown(path or fault['input'])}={value}: {words}"
        case "missing_key":
            return f"{path} is missing: {words}"
        case "sentence":
            return words
    return f"{_plain(path)}={value}: {words}"


def _with_nearest(words: str, given: Any) -> str:
    """Add the value that was probably meant to the list of all allowed ones."""
    known = words.removeprefix(_ONE_OF).split(", ")
    near = nearest(given, known) if isinstance(given, str) and words.startswith(_ONE_OF) else None
    return words if near is None else f"{words}; did you mean {near}?"


def shown(value: Any) -> str:
    """Format the value on one line, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"


def _plain(path: str) -> str:
    """Show a path without quotes, unless it is long or unprintable."""
    return path if path.isprintable() and len(path) <= _SHOWN_CHARACTERS_MAX else shown(path)
