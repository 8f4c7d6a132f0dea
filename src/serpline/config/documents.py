"""Read a configuration document: JSON or YAML in UTF-8, with no key given twice in an object."""

import json
import re
import sys
from typing import Any

import yaml

from serpline.config.model import shown
from serpline.domain.errors import UserError

SIZE_BYTES_MAX = 1_000_000
# Python reads no longer ones: the time grows with the square of their length.
_TOO_LONG = f"a number has more than {sys.get_int_max_str_digits()} digits"


def read_json(document: bytes) -> Any:
    """Return the value of a document. Raises ``UserError`` with one line."""
    if len(document) > SIZE_BYTES_MAX:
        raise UserError(f"larger than {SIZE_BYTES_MAX} bytes; is this a configuration?")
    try:
        return json.loads(document.decode("utf-8-sig"), object_pairs_hook=_each_key_once)
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: invalid byte at offset {error.start}") from None
    except RecursionError:
        raise UserError("JSON nested too deeply") from None
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}") from None
    except ValueError:
        raise UserError(_TOO_LONG) from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f"{shown(key)}={shown(value)}: the key is given twice")
        found[key] = value
    return found


def read_yaml(document: bytes) -> Any:
    """Return the value of a YAML document. Raises ``UserError`` with one line.

    Only JSON's types are read: a time of day such as ``10:30`` and a date are text, as in YAML 1.2.
    """
    if len(document) > SIZE_BYTES_MAX:
        raise UserError(f"larger than {SIZE_BYTES_MAX} bytes; is this a configuration?")
    try:
        return yaml.load(document.decode("utf-8-sig"), _Loader)  # noqa: S506  a safe loader
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: invalid byte at offset {error.start}") from None
    except RecursionError:
        raise UserError("YAML nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"not YAML: {place}{error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    except ValueError:
        raise UserError(_TOO_LONG) from None


# A value without a tag, and text. The library's constructors of other tagged values, such as
# ``!!int`` and ``!!timestamp``, raise any exception for text that does not fit.
_TAGS = (None, "!", "tag:yaml.org,2002:str")


class _Loader(yaml.SafeLoader):
    """A safe loader for the types that JSON has, without aliases."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  the library's own attribute

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # of the library
        is_alias = self.check_event(yaml.AliasEvent)
        if is_alias or event.tag not in _TAGS:
            what = "aliases are" if is_alias else f"the tag {shown(event.tag)} is"
            raise yaml.composer.ComposerError(None, None, f"{what} not read", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        pairs = [
            (self.construct_object(key, deep=True), self.construct_object(value, deep=True))
            for key, value in node.value
        ]
        for key, _ in pairs:
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key)} is not text", node.start_mark
                )
        return _each_key_once(pairs)


# YAML 1.2's core schema, which reads what JSON means and leaves everything else text.
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )
